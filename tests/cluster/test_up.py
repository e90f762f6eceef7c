"""`dynamo up` and `dynamo serve` as a person runs them."""

import asyncio
import json
import os
import pty
import re
import shlex
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from tests.cluster.harness import dynamo, eventually, free_base_port, is_alive, is_free

pytestmark = pytest.mark.cluster

READY = r"Ctrl-C stops all nodes\.\n"


def pids_in(said: str) -> list[int]:
    return [int(pid) for pid in re.findall(r", process (\d+),", said)]


async def test_what_up_says_to_try_works(tmp_path: Path) -> None:
    base_port = free_base_port(3)
    options = ("--nodes", 3, "--base-port", base_port, "--data-dir", tmp_path / "data")
    async with dynamo("up", *options) as up:
        await up.says(READY)
        assert re.findall(r"(n\d): HTTP on (\S+), peers on (\S+),", up.said) == [
            (f"n{i + 1}", f"http://127.0.0.1:{base_port + i}", f"127.0.0.1:{base_port + 1000 + i}")
            for i in range(3)
        ]
        (write,) = re.findall(r"^  curl -X PUT (.*)$", up.said, re.MULTILINE)
        (read,) = re.findall(r"^  curl (http\S+)$", up.said, re.MULTILINE)
        _, header, _, body, url = shlex.split(write)
        name, text = header.split(": ")
        async with aiohttp.ClientSession() as session:
            written = await session.put(url, data=body.encode(), headers={name: text})
            assert written.status == 204
            for port in range(base_port, base_port + 3):
                answer = await session.get(re.sub(r":\d+/", f":{port}/", read))
                assert (answer.status, await answer.read()) == (200, b"hello")
                assert answer.headers["Content-Type"] == "text/plain"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_up_stops_everything_when_it_is_told_to(
    tmp_path: Path, number: signal.Signals
) -> None:
    base_port = free_base_port(2)
    async with dynamo("up", "--nodes", 2, "--base-port", base_port, "--data-dir", tmp_path) as up:
        await up.says(READY)
        pids = pids_in(up.said)
        assert len(pids) == 2
        assert await up.ends(number) == 0
        assert await up.errors() == ""
    assert f"all stopped; the data stays in {tmp_path}\n" in up.said
    assert [pid for pid in pids if is_alive(pid)] == []
    assert all(is_free(base_port + i) for i in (0, 1, 1000, 1001))


async def test_a_signal_during_the_start_leaves_nothing_behind(tmp_path: Path) -> None:
    options = ("--nodes", 2, "--base-port", free_base_port(2), "--data-dir", tmp_path)
    async with dynamo("up", *options) as up:
        await eventually(
            (tmp_path / "n1" / "log").exists, within_s=30, what="the first node is started"
        )
        assert await up.ends(signal.SIGTERM) == 0
    async with dynamo("up", *options) as again:
        await again.says(READY)
        assert await again.ends(signal.SIGTERM) == 0


async def test_nodes_end_when_up_is_killed(tmp_path: Path) -> None:
    options = ("--nodes", 2, "--base-port", free_base_port(2), "--data-dir", tmp_path)
    async with dynamo("up", *options) as up:
        await up.says(READY)
        pids = pids_in(up.said)
        await up.ends(signal.SIGKILL)
    await eventually(
        lambda: not any(map(is_alive, pids)), within_s=30, what="the nodes end by themselves"
    )
    async with dynamo("up", *options) as again:
        await again.says(READY)
        assert await again.ends(signal.SIGTERM) == 0


async def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    options = ("--nodes", 1, "--data-dir", tmp_path, "--base-port")
    async with dynamo("up", *options, free_base_port(1)) as up:
        await up.says(READY)
        async with dynamo("up", *options, free_base_port(1)) as second:
            assert await second.ends() == 1
            said = await second.errors()
        assert said.startswith(f"Error: {tmp_path} is in use by process {up.process.pid} or nodes")
        assert said.count("\n") == 1
        assert await up.ends(signal.SIGTERM) == 0


async def test_a_taken_port_is_refused(tmp_path: Path) -> None:
    base_port = free_base_port(1)
    with socket.create_server(("127.0.0.1", base_port)):
        async with dynamo("up", "--data-dir", tmp_path, "--base-port", base_port) as up:
            assert await up.ends() == 1
            assert await up.errors() == (
                f"Error: cannot listen on 127.0.0.1:{base_port} for HTTP of n1:"
                " another process has it\n"
            )


async def test_the_death_of_a_node_is_told_with_the_command_that_starts_it_again(
    tmp_path: Path,
) -> None:
    options = ("--nodes", 3, "--base-port", free_base_port(3), "--data-dir", tmp_path)
    async with dynamo("up", *options) as up:
        await up.says(READY)
        os.kill(pids_in(up.said)[1], signal.SIGKILL)
        found = await up.says(
            r"n2 died, ended by SIGKILL; .*\n  start it again with: dynamo (.*)\n"
        )
        await up.says(r"n2 is suspected by all\n")
        async with dynamo(*shlex.split(found.group(1))) as node:
            await node.says(r"node n2 serves HTTP on ")
            await up.says(rf"n2 serves again as process {node.process.pid}, started by hand\n")
            await up.says(r"n2 is up\n")
            assert await up.ends(signal.SIGTERM) == 0
            assert f"n2 still runs as process {node.process.pid}; it was started by" in up.said
            async with dynamo("up", *options) as again:
                assert await again.ends() == 1
                assert await again.errors() == (
                    f"Error: n2 of {tmp_path} runs already, as process {node.process.pid}, which"
                    f" was started by hand; stop it first (kill {node.process.pid})\n"
                )
            assert await node.ends(signal.SIGTERM) == 0


async def test_up_ends_when_no_node_is_left(tmp_path: Path) -> None:
    options = ("--nodes", 2, "--base-port", free_base_port(2), "--data-dir", tmp_path)
    async with dynamo("up", *options) as up:
        await up.says(READY)
        for pid in pids_in(up.said):
            os.kill(pid, signal.SIGKILL)
        assert await up.ends() == 1
        assert "no node is left\n" in up.said


async def test_a_terminal_shows_a_table(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    base_port = free_base_port(2)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dynamo", "up", "--nodes", "2"),
        *("--base-port", str(base_port), "--data-dir", str(tmp_path)),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
        start_new_session=True,
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    seen = ""

    def table_is_there() -> bool:
        nonlocal seen
        with suppress(BlockingIOError):
            seen += os.read(ours, 65536).decode()
        return re.search(r"others say.*n2 .*serving.*up: 1 of 1", seen, re.DOTALL) is not None

    await eventually(table_is_there, within_s=60, what=f"a table in {seen!r}")
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(60):
        assert await process.wait() == 0
    os.close(ours)


async def test_one_node_serves_in_the_foreground(tmp_path: Path) -> None:
    base_port = free_base_port(1)
    settings = tmp_path / "node.toml"
    settings.write_text(
        f'[node]\nnode_id = "n1"\ndata_dir = "data"\nlog_format = "json"\n'
        f"http_port = {base_port}\nrpc_port = {base_port + 1000}\n"
    )
    async with dynamo("serve", "--config", settings) as node:
        await node.says(
            f"node n1 serves HTTP on http://127.0.0.1:{base_port},"
            f" peers on 127.0.0.1:{base_port + 1000}\n"
        )
        async with dynamo("status", "--node", f"127.0.0.1:{base_port}", "--json") as status:
            assert await status.ends() == 0
        assert [member["node"] for member in json.loads(status.said)["members"]] == ["n1"]
        assert await node.ends(signal.SIGTERM) == 0
        lines = (await node.errors()).splitlines()
    assert {json.loads(line)["node"] for line in lines} == {"n1"}
    assert json.loads(lines[-1])["message"] == "stopped"


async def test_serve_refuses_a_port_that_is_taken(tmp_path: Path) -> None:
    base_port = free_base_port(1)
    settings = tmp_path / "node.toml"
    settings.write_text(
        f'[node]\nnode_id = "n1"\ndata_dir = "data"\nlog_level = "error"\n'
        f"http_port = {base_port}\nrpc_port = {base_port + 1000}\n"
    )
    for port, purpose in ((base_port, "for HTTP"), (base_port + 1000, "for peers")):
        with socket.create_server(("127.0.0.1", port)):
            async with dynamo("serve", "--config", settings) as node:
                assert await node.ends() == 1
                said = await node.errors()
        assert said.startswith(f"Error: cannot listen on 127.0.0.1:{port} {purpose}: ")
        assert said.count("\n") == 1


async def test_a_key_is_written_read_located_and_deleted_from_the_command_line(
    tmp_path: Path,
) -> None:
    base_port = free_base_port(2)
    node = ("--node", f"http://127.0.0.1:{base_port}")

    async def run(*arguments: object) -> tuple[int, str]:
        async with dynamo(*arguments) as command:
            return await command.ends(), command.said

    options = ("--nodes", 2, "--base-port", base_port, "--data-dir", tmp_path)
    async with dynamo("up", *options) as up:
        await up.says(READY)
        assert await run("get", *node, "fruit", "apple") == (4, "")
        assert await run("put", *node, "fruit", "apple", "red") == (0, "")
        assert await run("get", *node, "fruit", "apple") == (0, "red")
        status, located = await run("locate", *node, "fruit", "apple", "--json")
        assert status == 0
        assert {holder["node"] for holder in json.loads(located)["primaries"]} == {"n1", "n2"}
        assert await run("delete", *node, "fruit", "apple") == (0, "")
        assert await run("get", *node, "fruit", "apple") == (4, "")
        assert await up.ends(signal.SIGTERM) == 0


async def test_one_node_does_what_its_banner_says(tmp_path: Path) -> None:
    base_port = free_base_port(1)
    options = ("--nodes", 1, "--base-port", base_port, "--data-dir", tmp_path)
    async with dynamo("up", *options) as up:
        await up.says(READY)
        assert "Try, in another terminal, a write and a read:" in up.said
        assert "another:" not in up.said
        url = f"http://127.0.0.1:{base_port}/buckets/b/keys/k"
        async with aiohttp.ClientSession() as session:
            assert (await session.put(url, data=b"hello")).status == 204
            answer = await session.get(url)
            assert (answer.status, await answer.read()) == (200, b"hello")
        assert await up.ends(signal.SIGTERM) == 0


async def test_up_without_room_for_its_output_ends_in_one_sentence(tmp_path: Path) -> None:
    options = ("--nodes", "1", "--base-port", str(free_base_port(1)), "--data-dir", str(tmp_path))
    for arguments in (("up", *options), ("--help",)):
        full = os.open("/dev/full", os.O_WRONLY)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dynamo", *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=full,
            stderr=asyncio.subprocess.PIPE,
        )
        os.close(full)
        _, errors = await process.communicate()
        assert process.returncode == 1
        assert errors == b"Error: cannot write the output: No space left on device\n"
