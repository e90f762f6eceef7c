"""Whole runs against small servers."""

import asyncio
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from click.testing import CliRunner

from dynamo.bench.cluster import find_processes
from dynamo.bench.command import bench
from dynamo.bench.plan import Node, Plan
from dynamo.bench.run import BenchFailed, Doors, run
from dynamo.errors import ConfigError

Answers = Callable[[web.Request], web.Response]


@asynccontextmanager
async def server(answer: Answers) -> AsyncIterator[Node]:
    async def handler(request: web.Request) -> web.Response:
        await request.read()
        return answer(request)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    made = TestServer(application)
    await made.start_server()
    assert made.port is not None
    try:
        yield Node(host="127.0.0.1", port=made.port)
    finally:
        await made.close()


def a_plan(*nodes: Node) -> Plan:
    return Plan(
        nodes=nodes,
        bucket_type="default",
        bucket="b",
        connections=4,
        rate=None,
        read_fraction=0.5,
        keys=10,
        value_bytes=16,
        contexts=False,
        n_val=None,
        quorums=(),
        duration_s=0.3,
        warmup_s=0.0,
        timeout_s=5.0,
        deadline_s=None,
        preload=False,
        seed=1,
    )


def doors(phases: set[str] | None = None) -> Doors:
    def progress(phase: str, part: float, ok: int) -> None:
        assert 0 <= part <= 1
        if phases is not None:
            phases.add(phase)

    return Doors(now_s=time.perf_counter, own_cpu_s=time.process_time, progress=progress)


class Store:
    """The least a store must do, and what it was asked."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.requests: list[tuple[str, str]] = []

    def __call__(self, request: web.Request) -> web.Response:
        self.requests.append((request.method, request.path_qs))
        if request.method == "PUT":
            self.held.add(request.path)
            return web.Response(status=204)
        return web.Response(status=200 if request.path in self.held else 404)


async def test_a_run_writes_the_keys_then_mixes_reads_and_writes() -> None:
    store, phases = Store(), set[str]()
    async with server(store) as node:
        summary = await run(replace(a_plan(node), preload=True), doors(phases), ())
    assert {f"/buckets/b/keys/key{number:08d}" for number in range(10)} == store.held
    assert summary.failed == 0
    assert summary.operations["read"].statuses.keys() == {200}
    assert summary.operations["write"].ok > 0
    assert summary.ok == sum(second.ok for second in summary.seconds)
    assert phases == {"preload", "load"}


async def test_an_open_loop_sends_no_more_than_its_rate() -> None:
    async with server(Store()) as node:
        summary = await run(replace(a_plan(node), rate=100.0), doors(), ())
    assert summary.ok > 8  # more than each connection sends by itself
    assert summary.ok + summary.never_sent == 30


async def test_a_preload_goes_on_after_failures() -> None:
    store, refused = Store(), iter(range(7))

    def balky(request: web.Request) -> web.Response:
        if request.method == "PUT" and next(refused, None) is not None:
            return web.Response(status=503)
        return store(request)

    async with server(balky) as node:
        await run(replace(a_plan(node), preload=True, read_fraction=1.0), doors(), ())
    assert len(store.held) == 10


async def test_a_preload_that_is_refused_stops_at_once_with_what_the_server_says() -> None:
    def refuse(request: web.Request) -> web.Response:
        return web.Response(status=404, text="Unknown bucket type: nope\n")

    async with server(refuse) as node:
        plan = replace(a_plan(node), preload=True, timeout_s=600.0)
        with pytest.raises(BenchFailed) as caught:
            await run(plan, doors(), ())
    assert str(caught.value) == (
        "preload: the server refuses the writes with 404: Unknown bucket type: nope"
    )


async def test_a_preload_of_which_the_nodes_go_away_ends() -> None:
    store = Store()

    def going_away(request: web.Request) -> web.Response:
        if len(store.held) < 5:
            return store(request)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with server(going_away) as node:
        plan = replace(a_plan(node), preload=True, timeout_s=0.5)
        with pytest.raises(BenchFailed, match=r"5 of 10 keys written, .*connection lost: \d+"):
            await run(plan, doors(), ())


async def test_nodes_that_are_silent_are_not_asked_for_their_processes_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dynamo.bench.cluster.ANSWERS_S", 0.05)
    hung_up = asyncio.Event()

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        hung_up.set()

    silent = await asyncio.start_server(swallow, "127.0.0.1", 0)
    node = Node(host="127.0.0.1", port=silent.sockets[0].getsockname()[1])
    async with silent:
        found = await find_processes(a_plan(node))
        await hung_up.wait()
    assert found.unknown == "the nodes did not tell theirs within 0.05 s"


async def test_a_connection_whose_end_is_never_reported_does_not_keep_the_load(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dynamo.bench.load.CLOSE_S", 0.05)
    monkeypatch.setattr("dynamo.bench.connection.Connection.connection_lost", lambda *_: None)
    async with server(Store()) as node, asyncio.timeout(30):
        summary = await run(a_plan(node), doors(), (os.getpid(),))
    assert summary.ok > 0


async def test_a_preload_that_gets_nowhere_says_why() -> None:
    plan = replace(a_plan(Node(host="127.0.0.1", port=unused_port())), preload=True, timeout_s=0.1)
    with pytest.raises(BenchFailed, match=r"0 of 10 keys written, .*refused: \d+"):
        await run(plan, doors(), ())


async def test_a_dead_node_costs_dials_and_no_requests() -> None:
    async with server(Store()) as node:
        dead = Node(host="127.0.0.1", port=unused_port())
        summary = await run(a_plan(dead, node), doors(), ())
    assert summary.failed == 0
    assert summary.ok > 0
    assert summary.dials_failed["refused"] > 0


async def test_a_silent_node_costs_timeouts() -> None:
    silent = await asyncio.start_server(_swallow, "127.0.0.1", 0)
    node = Node(host="127.0.0.1", port=silent.sockets[0].getsockname()[1])
    async with silent:
        summary = await run(replace(a_plan(node), timeout_s=0.05), doors(), (os.getpid(),))
    failures = [operation.failures for operation in summary.operations.values()]
    assert {reason for failure in failures for reason in failure} == {"timeout"}
    assert summary.ok == 0


async def test_a_node_that_hangs_up_is_left_alone_for_a_while() -> None:
    def hang_up(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with server(hang_up) as node:
        summary = await run(a_plan(node), doors(), (os.getpid(),))
    failed = sum(each.failures["connection lost"] for each in summary.operations.values())
    assert 0 < failed < 40


async def _swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def test_n_val_is_set_before_anything_else() -> None:
    store = Store()
    async with server(store) as node:
        await run(replace(a_plan(node), n_val=5), doors(), ())
    assert store.requests[0] == ("PUT", "/buckets/b/props")


async def test_an_n_val_that_cannot_be_set_is_an_error() -> None:
    def refuse(request: web.Request) -> web.Response:
        return web.Response(status=400, text="not this one")

    async with server(refuse) as node:
        dead = Node(host="127.0.0.1", port=unused_port())
        with pytest.raises(ConfigError, match="answered 400: not this one"):
            await run(replace(a_plan(dead, node), n_val=5), doors(), ())


async def test_processes_are_found_only_if_all_members_tell_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    members: list[dict[str, str]] = []
    pids = {"one": 100, "two": 200}
    monkeypatch.setattr("dynamo.bench.cluster.cpu_s", lambda pids: 1.0)

    def node_named(name: str) -> Answers:
        def answer(request: web.Request) -> web.Response:
            if request.path == "/admin/members":
                return web.json_response({"members": members})
            return web.json_response({"os_pid": pids[name]} if name in pids else {})

        return answer

    async with server(node_named("one")) as one, server(node_named("two")) as two:
        members.extend({"http": str(node)} for node in (one, two))
        assert (await find_processes(a_plan(one))).pids == (100, 200)

        members.append({"http": f"127.0.0.1:{unused_port()}"})
        assert (await find_processes(a_plan(one))).pids == (100, 200)

        pids.pop("two")
        found = await find_processes(a_plan(one))
        assert (found.pids, found.unknown) == ((), f"node {two} does not tell its process")

        members.insert(0, {"http": "192.0.2.1:8098"})
        found = await find_processes(a_plan(one))
        assert found.unknown == "node 192.0.2.1:8098 is on another machine"


async def test_a_server_without_members_has_no_processes() -> None:
    async with server(Store()) as node:
        found = await find_processes(a_plan(node))
    assert (found.pids, found.unknown) == ((), "no node tells its members")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def server_in_a_thread() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


SHORT = ["--connections=2", "--duration-s=0.2", "--warmup-s=0", "--keys=5"]


def test_the_command_prints_json_and_a_table() -> None:
    with server_in_a_thread() as url:
        result = CliRunner().invoke(bench, ["--node", url, *SHORT, "--r=1", "--json", "-"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["plan"]["quorums"] == [["r", "1"]]
    assert document["result"]["ok"] > 0
    assert "CPU per operation" in result.stderr


@pytest.mark.parametrize("where", ["none/result.json", ""])
def test_a_result_that_cannot_be_written_prevents_the_run(tmp_path: Path, where: str) -> None:
    path = tmp_path / where
    url = f"http://127.0.0.1:{unused_port()}"
    result = CliRunner().invoke(bench, ["--node", url, *SHORT, "--json", str(path)])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: cannot write {path}: ")
    assert result.stderr.count("\n") == 1


def test_the_environment_may_name_the_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    with server_in_a_thread() as url:
        monkeypatch.setenv("DYNAMO_NODES", f"{url},{url}")
        result = CliRunner().invoke(bench, [*SHORT, "--json", "-"])
    assert len(json.loads(result.stdout)["plan"]["nodes"]) == 2


def test_the_command_fails_if_nothing_worked() -> None:
    url = f"http://127.0.0.1:{unused_port()}"
    options = ["--node", url, *SHORT, "--timeout-s=0.2"]
    result = CliRunner().invoke(bench, [*options, "--no-preload"])
    assert result.exit_code == 1
    assert "no request succeeded" in result.stderr
    result = CliRunner().invoke(bench, options)
    assert result.exit_code == 1
    assert "preload: 0 of 5 keys written" in result.stderr


def test_the_command_takes_node_lists() -> None:
    with server_in_a_thread() as one, server_in_a_thread() as two:
        nodes = ["--node", f"{one},{two}", "--node", one]
        result = CliRunner().invoke(bench, [*nodes, *SHORT, "--json", "-"])
    assert len(json.loads(result.stdout)["plan"]["nodes"]) == 3


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--node", "here"], "should look like http://127.0.0.1:8098"),
        (["--cpu-of", "x"], "not process ids"),
        (["--read-fraction", "2"], "0<=x<=1"),
        (["--rate", "0"], "x>0"),
        (["--rate", "nan"], "is not a finite number"),
        (["--duration-s", "inf"], "is not a finite number"),
        (["--warmup-s", "nan"], "is not a finite number"),
        (["--timeout-s", "inf"], "is not a finite number"),
        (["--read-fraction", "nan"], "is not a finite number"),
        (["--node", ""], "a node is empty"),
        (["--node", ","], "a node is empty"),
        (["--node", "http://a:1,,http://b:1"], "a node is empty"),
        (["--cpu-of", "1,,2"], "not process ids"),
        (["--cpu-of", "-1"], "not process ids"),
        (["--r", "most"], "neither a number nor one, quorum, all or default"),
        (["--node-confirms", "-1"], "neither a number nor one, quorum, all or default"),
    ],
)
def test_wrong_options_are_refused_in_words(options: list[str], text: str) -> None:
    result = CliRunner().invoke(bench, options)
    assert result.exit_code == 2
    assert text in result.stderr
