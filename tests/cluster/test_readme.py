"""Every command that the README shows is run here, as it stands there, against a fresh cluster.

What it prints has to be what the README says below it, where `...` stands for anything: on a line
of its own for any lines, within a line for a part of it.
"""

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from dynamo.cluster import LocalCluster
from tests.cluster.harness import free_base_port

README = Path(__file__).parents[2] / "README.md"

pytestmark = pytest.mark.cluster


_BLOCK = r"^<!-- {mark} -->\n```\w+\n(.*?)^```\n"
_SHOWN = r"(?:\n<!-- shows(, parts in any order)? -->\n```text\n(.*?)^```\n)"


class Trial(NamedTuple):
    """A block to try.

    Attributes:
        shown: what the README says that it prints.
        in_any_order: `shown` is lines of it, and not all.
    """

    commands: str
    shown: str
    in_any_order: bool

    def is_shown_by(self, said: str) -> bool:
        """Whether `said` is what the README says."""
        said = said.replace("\r", "").rstrip("\n")
        lines = self.shown.splitlines()
        if self.in_any_order:
            return all(re.search(rf"^{_pattern(line)}$", said, re.M) for line in lines)
        return re.fullmatch("\n".join(map(_pattern, lines)), said) is not None


def _pattern(line: str) -> str:
    if line == "...":
        return r"[\s\S]*?"
    return ".*?".join(map(re.escape, line.split("...")))


def _trials(mark: str) -> list[Trial]:
    found = re.findall(_BLOCK.format(mark=mark) + _SHOWN, README.read_text(), re.M | re.S)
    return [Trial(commands, shown, bool(order)) for commands, order, shown in found]


def _blocks(mark: str) -> list[str]:
    """The code blocks under `<!-- mark -->`."""
    return re.findall(_BLOCK.format(mark=mark), README.read_text(), re.M | re.S)


def _moved(text: str, base_port: int) -> str:
    """`text` for a cluster that listens elsewhere than on the default ports."""
    return re.sub(
        r"127\.0\.0\.1:(8\d{3})",
        lambda found: f"127.0.0.1:{base_port + int(found[1]) - 8098}",
        text,
    )


async def _run(*command: str, base_port: int) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "DYNAMO_NODES": f"http://127.0.0.1:{base_port}",
        },
    )
    async with asyncio.timeout(60):
        said, errors = await process.communicate()
    assert process.returncode == 0, f"{command[-1]}\n{said.decode()}{errors.decode()}"
    return said.decode()


async def test_what_the_readme_shows_does_what_it_says(tmp_path: Path) -> None:
    base_port = free_base_port(3)
    async with LocalCluster(tmp_path / "data", nodes=3, base_port=base_port):
        for trial in _trials("try"):
            commands = _moved(trial.commands, base_port)
            said = await _run("bash", "-euo", "pipefail", "-c", commands, base_port=base_port)
            assert trial.is_shown_by(said), f"{commands}prints\n{said}and not\n{trial.shown}"
        for trial in _trials("try python"):
            script = _moved(trial.commands, base_port)
            said = await _run(sys.executable, "-c", script, base_port=base_port)
            assert trial.is_shown_by(said), f"{script}prints\n{said}and not\n{trial.shown}"


@pytest.mark.parametrize("mark", ["try", "try python"])
def test_every_block_to_try_says_what_it_prints(mark: str) -> None:
    assert [trial.commands for trial in _trials(mark)] == _blocks(mark) != []


def test_what_is_printed_otherwise_than_shown_is_told_apart() -> None:
    trial = Trial("", "HTTP/1.1 200 OK\n...\nETag: ...\n...\nhello\n", in_any_order=False)
    said = "HTTP/1.1 200 OK\r\nDate: now\r\nETag: x\r\n\r\nhello"
    assert trial.is_shown_by(said)
    for old, new in (("200 OK", "204 No Content"), ("hello", "hello!"), ("ETag", "Tag")):
        assert not trial.is_shown_by(said.replace(old, new))
    assert not trial.is_shown_by(f"{said}\nmore")
    parts = Trial("", "milk\nbread\n", in_any_order=True)
    assert parts.is_shown_by("a\nbread\nb\nmilk\n")
    assert not parts.is_shown_by("a\nbread\nb\nmilky\n")


def test_readme_states_one_command_that_starts_a_cluster_and_one_that_tests() -> None:
    (tests,) = _blocks("test command")
    assert tests.strip().endswith(
        ".venv/bin/pytest -n 2 -m 'not chaos' && .venv/bin/pytest -m chaos"
    )
    starts = re.findall(r"^python3 -m venv .*dynamo up$", README.read_text(), re.M)
    assert len(starts) == 1
