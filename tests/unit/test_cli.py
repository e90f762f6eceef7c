"""The command line: what it explains, refuses, and how errors leave it."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from dynamo.ask import Target
from dynamo.cli import main
from dynamo.printing import Exit

COMMANDS = (
    "bench",
    "bucket-type",
    "delete",
    "divergence",
    "get",
    "hints",
    "locate",
    "put",
    "serve",
    "status",
    "tombstones",
    "up",
)


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, arguments, input=stdin)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Target, dict[str, object]]]:
    """What reaches `dynamo.ask`, without a cluster to ask."""
    calls: list[tuple[Target, dict[str, object]]] = []

    async def put(target: Target, body: bytes, **how: object) -> Exit:
        calls.append((target, {"body": body, **how}))
        return Exit.DONE

    async def get(target: Target, **how: object) -> Exit:
        calls.append((target, how))
        return Exit.SIBLINGS

    monkeypatch.setattr("dynamo.ask.put", put)
    monkeypatch.setattr("dynamo.ask.get", get)
    monkeypatch.setattr("dynamo.ask.delete", get)
    return calls


# -- help ----------------------------------------------------------------------------------------


def test_the_help_names_every_command() -> None:
    listed = run("--help").output
    assert [name for name in COMMANDS if f"\n  {name} " not in listed] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    shown = run(command, "--help")
    assert shown.exit_code == 0
    assert f"    dynamo {command} " in shown.output or f"    dynamo {command}\n" in shown.output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(command: str) -> None:
    found = main.get_command(click.Context(main), command)
    assert found is not None
    options = [param for param in found.params if isinstance(param, click.Option)]
    assert [option.name for option in options if not option.help] == []


def test_python_m_dynamo_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dynamo", "nonsense"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "No such command 'nonsense'" in done.stderr


# -- errors --------------------------------------------------------------------------------------


def test_a_wrong_setting_is_one_sentence_and_status_1(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_text("[node]\nhtpp_port = 1\n")
    done = run("up", "--config", str(path))
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr == (
        f'Error: {path}: the setting "htpp_port" in [node] is unknown;'
        " the nearest known is http_port in [node]\n"
    )


def test_a_directory_that_cannot_be_made_is_one_sentence_and_status_1(tmp_path: Path) -> None:
    none = tmp_path / "none"
    done = run("up", "--data-dir", str(none / "data"))
    assert done.exit_code == 1
    assert done.stderr == f"Error: cannot use {none / 'data'}: there is no directory {none}\n"


def test_a_base_port_without_room_is_refused(tmp_path: Path) -> None:
    done = run("up", "--data-dir", str(tmp_path / "d"), "--base-port", "65000", "--nodes", "3")
    assert done.exit_code == 1
    assert "base port 65000" in done.stderr
    assert "from 1 to 64533" in done.stderr


def test_a_node_that_is_not_there_is_one_sentence_and_status_1() -> None:
    # Nobody listens on port 1 of a loopback address.
    done = run("get", "--node", "http://127.0.0.1:1", "b", "k")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert "127.0.0.1:1" in done.stderr


def test_a_node_url_that_is_none_is_refused() -> None:
    done = run("status", "--node", "ftp://h")
    assert done.exit_code == 1
    assert "ftp://h" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("put", "b", "k"),
        ("put", "b", "k", "v", "--file", __file__),
        ("get", "b", "k", "-r", "most"),
        ("get", "b"),
        ("get", "--node", "", "b", "k"),
        ("get", "--node", "h:1,,g:2", "b", "k"),
        ("get", "--timeout-s", "nan", "b", "k"),
        ("get", "--timeout-s", "inf", "b", "k"),
        ("up", "--nodes", "0"),
        ("up", "--base-port", "x"),
        ("serve",),
    ],
)
def test_wrong_usage_has_status_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


# -- what reaches the cluster --------------------------------------------------------------------


def test_the_outcome_is_the_exit_status(asked: list[object]) -> None:
    assert run("get", "b", "k").exit_code == Exit.SIBLINGS
    assert len(asked) == 1


def test_a_key_is_asked_for_where_and_as_it_was_said(
    asked: list[tuple[Target, dict[str, object]]],
) -> None:
    run("get", "--node", "h:1,g:0", "--node", "http://i:2", "--type", "t", "-r", "2", "b", "k")
    (target, how) = asked[0]
    assert target.urls == ["http://h:1", "http://g:0", "http://i:2"]
    assert (target.bucket_type, target.bucket, target.key) == ("t", "b", "k")
    assert how == {"r": 2, "as_json": False, "trace": None}


@pytest.mark.parametrize(
    "command", [("get", "b", "k"), ("put", "b", "k", "v"), ("delete", "b", "k")]
)
def test_a_receipt_is_asked_for_where_it_does_not_mix_with_the_value(
    asked: list[tuple[Target, dict[str, object]]], command: tuple[str, ...]
) -> None:
    run(*command, "--trace")
    trace = asked[0][1]["trace"]
    assert isinstance(trace, Console)
    assert trace.stderr


def test_the_environment_may_name_the_nodes(
    asked: list[tuple[Target, dict[str, object]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYNAMO_NODES", "h:1 http://i:2")
    run("get", "b", "k")
    assert asked[0][0].urls == ["http://h:1", "http://i:2"]


def test_a_value_on_the_command_line_is_text(
    asked: list[tuple[Target, dict[str, object]]],
) -> None:
    run("put", "b", "k", "grün", "-w", "all", "--context", "AA==")
    assert asked[0][1] == {
        "body": "grün".encode(),
        "content_type": "text/plain; charset=utf-8",
        "context": "AA==",
        "w": "all",
        "trace": None,
    }


def test_a_value_may_come_from_standard_input(
    asked: list[tuple[Target, dict[str, object]]],
) -> None:
    run("put", "b", "k", "-", stdin=b"\xff\n")
    assert asked[0][1]["body"] == b"\xff\n"
    assert asked[0][1]["content_type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("name", "options", "content_type"),
    [
        ("a.png", (), "image/png"),
        ("a.unheard-of", (), "application/octet-stream"),
        ("a.png", ("--content-type", "x/y"), "x/y"),
    ],
)
def test_a_file_has_the_type_that_its_name_says(
    asked: list[tuple[Target, dict[str, object]]],
    tmp_path: Path,
    name: str,
    options: tuple[str, ...],
    content_type: str,
) -> None:
    (tmp_path / name).write_bytes(b"\x89PNG")
    run("put", "b", "k", "--file", str(tmp_path / name), *options)
    assert (asked[0][1]["body"], asked[0][1]["content_type"]) == (b"\x89PNG", content_type)


def test_serving_a_node_loads_neither_tables_nor_the_client() -> None:
    program = "import dynamo.cli, dynamo.serve, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "dynamo.node.node" in done.stdout.split()
    needless = {"rich", "dynamo.client.client", "dynamo.bench.command", "hypothesis"}
    assert needless & set(done.stdout.split()) == set()


def test_options_before_a_command_of_hints_are_refused_instead_of_forgotten() -> None:
    done = run("hints", "--node", "http://127.0.0.1:1", "wait")
    assert done.exit_code == 2
    assert "options go after `wait`" in done.stderr


def test_waiting_for_hints_explains_itself_with_an_example() -> None:
    shown = run("hints", "wait", "--help")
    assert shown.exit_code == 0
    assert "    dynamo hints wait\n" in shown.output
