import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dynamo.core.figures import named
from dynamo.core.quorum import ReadQuorum
from dynamo.core.siblings import EMPTY, Siblings
from dynamo.errors import (
    BadRequest,
    CodecError,
    CommitFailed,
    DeadlineExceeded,
    OutcomeUnknown,
    Overloaded,
    QuorumError,
    StartupError,
)
from dynamo.http import app, connections, exchange
from dynamo.http.app import HttpServer
from dynamo.node.tracing import Trace
from tests.unit.http.fake_node import FakeCoordinator, FakeNode
from tests.unit.http.talk import PLAIN, connected, talking

K = "/buckets/b/keys/k"
HEAD = f"PUT {K} HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\n"
UNFINISHED = f"{HEAD}Content-Length: 9\r\n\r\nx".encode()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits here for the rest of a body that nobody wants."""
    monkeypatch.setattr(connections, "UNREAD_S_MAX", 0.01)


class SlowCoordinator(FakeCoordinator):
    """Reads wait until they are let go."""

    def __init__(self, node: FakeNode) -> None:
        super().__init__(node.wall_ms)
        self.started = asyncio.Event()
        self.let_go = asyncio.Event()
        self.cancelled = False

    async def get(
        self, key: object, quorum: ReadQuorum, *, timeout_s: float, trace: Trace | None = None
    ) -> Siblings:
        self.started.set()
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return EMPTY


@asynccontextmanager
async def served(node: FakeNode) -> AsyncIterator[HttpServer]:
    server = HttpServer(node, node.config)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


# -- which handler -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("POST", "/ping", 405, "HEAD, GET"),
        ("OPTIONS", K, 405, "HEAD, GET, POST, PUT, DELETE"),
        ("TRACE", K, 405, "HEAD, GET, POST, PUT, DELETE"),
        ("PUT", "/buckets/b/keys", 405, "HEAD, GET"),
        ("POST", "/buckets/b/props", 405, "HEAD, GET, PUT, DELETE"),
        ("DELETE", "/riak/b", 405, "HEAD, GET, PUT"),
        ("DELETE", "/types/multi/props", 405, "HEAD, GET, PUT"),
        ("DELETE", "/admin/members", 405, "HEAD, GET"),
        ("PATCH", K, 501, None),
        ("PATCH", "/nosuch", 404, None),
        ("GET", "/nosuch", 404, None),
        ("GET", f"{K}/b,_,1", 404, None),
    ],
)
async def test_other_methods_and_paths_are_refused_with_a_page(
    method: str, path: str, status: int, allow: str | None
) -> None:
    async with talking() as talk:
        told = await talk.ask(method, path)
        assert (await talk.get("/ping")).status == 200
    assert (told.status, told.headers["content-type"]) == (status, "text/html")
    assert told.headers.get("allow") == allow
    assert told.text.startswith("<html>")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "null"}, 403),
        ({"Origin": "http://x:1"}, 404),
        ({"Referer": "http://x:1/page"}, 404),
        ({"Referer": "http://X:1"}, 404),
        ({"Referer": "http://evil/page"}, 403),
        ({"Referer": "https://x:1/page"}, 403),
        ({"Referer": "http://[x"}, 403),
        ({"Referer": ""}, 403),
    ],
)
async def test_a_foreign_page_cannot_make_a_browser_ask(
    headers: dict[str, str], status: int
) -> None:
    async with talking() as talk:
        assert (await talk.ask("GET", K, headers)).status == status


async def test_a_fragment_is_no_part_of_a_path() -> None:
    async with talking() as talk:
        assert (await talk.get("/ping#x?y")).status == 200


# -- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "text", "acks", "definite"),
    [
        (
            QuorumError("PW", needed=2, got=1, definite=True),
            503,
            "PW-value unsatisfied: 1/2\n",
            "0",
            "true",
        ),
        (
            QuorumError("PW", needed=3, got=1, definite=False, acks=2),
            503,
            "PW-value unsatisfied: 1/3\nstored by 2 nodes; it may still take effect\n",
            "2",
            "false",
        ),
        (
            DeadlineExceeded(acks=1),
            503,
            "request timed out\nstored by 1 node; it may still take effect\n",
            "1",
            "false",
        ),
        (Overloaded("too much waits"), 503, "too much waits\n", "0", "true"),
        (
            OutcomeUnknown("n2 was lost"),
            503,
            "n2 was lost\nstored by no node that is known of; it may still take effect\n",
            "0",
            "false",
        ),
        (CodecError("no value"), 503, "no value\n", "0", "true"),
        (CommitFailed("disk full"), 500, "Error:\ndisk full\n", "0", "false"),
        (RuntimeError("a slip"), 500, "internal error\n", "0", "false"),
    ],
)
async def test_a_failed_write_says_how_far_it_came(
    error: Exception, status: int, text: str, acks: str, definite: str
) -> None:
    node = FakeNode()
    async with talking(node) as talk:
        node.coordinator.error = error
        told = await talk.put(K)
        assert (told.status, told.text) == (status, text)
        assert told.headers["content-type"] == "text/plain"
        assert told.headers.get("retry-after") == ("1" if status == 503 else None)
        assert told.headers["x-dynamo-acks"] == acks
        assert told.headers["x-dynamo-definite"] == definite
        node.coordinator.error = error
        read = await talk.get(K)
        assert (read.status, read.text) == (status, text.partition("stored by")[0])
        assert "x-dynamo-definite" not in read.headers
        assert (await talk.put(K)).status == 204


async def test_a_request_that_is_wrong_is_told_so() -> None:
    node = FakeNode()
    async with talking(node) as talk:
        node.coordinator.error = BadRequest("the key has 100 siblings")
        told = await talk.put(K)
    assert (told.status, told.text) == (400, "the key has 100 siblings\n")


async def test_a_delete_that_misses_its_primaries_is_typed_as_riak_does() -> None:
    node = FakeNode()
    async with talking(node) as talk:
        node.coordinator.error = QuorumError("PW", needed=3, got=2, definite=True)
        told = await talk.ask("DELETE", K)
        assert told.headers["content-type"] == "text/html"
        node.coordinator.error = QuorumError("W", needed=3, got=2, definite=True)
        assert (await talk.ask("DELETE", K)).headers["content-type"] == "text/plain"


async def test_only_the_stores_own_faults_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    node = FakeNode()
    async with talking(node) as talk:
        for error in (QuorumError("R", needed=2, got=1, definite=True), BadRequest("no")):
            node.coordinator.error = error
            await talk.get(K)
        assert caplog.records == []
        node.coordinator.error = RuntimeError("a slip")
        await talk.get(K)
    assert [record.getMessage() for record in caplog.records] == ["a handler failed"]
    assert caplog.records[0].exc_info


async def test_a_stream_that_fails_for_no_known_reason_is_cut_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    node = FakeNode()
    node.listing.error = RuntimeError("a slip")
    async with talking(node) as talk:
        await talk.put(K)
        talk.writer.write(b"GET /buckets/b/keys?keys=stream HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await talk.reader.read()
    assert answer.endswith(b'{"keys":["k"]}\r\n')
    assert [record.exc_info is not None for record in caplog.records] == [True]


async def test_a_node_that_has_not_joined_serves_no_data() -> None:
    node = FakeNode()
    node.serving = False
    async with talking(node) as talk:
        for method, path in [
            ("GET", K),
            ("PUT", K),
            ("POST", "/buckets/b/keys"),
            ("GET", "/buckets/b/props"),
            ("GET", "/buckets?buckets=true"),
        ]:
            told = await talk.ask(method, path, PLAIN, b"x")
            assert (told.status, told.text, told.headers["retry-after"]) == (503, "joining\n", "1")
        assert (await talk.get("/stats")).status == 200
    assert node.coordinator.asked == []


# -- bounds --------------------------------------------------------------------------------------


async def test_requests_at_work_are_bounded() -> None:
    node = FakeNode(requests_in_flight_max=1)
    node.coordinator = slow = SlowCoordinator(node)
    async with served(node) as server, connected(server) as one, connected(server) as other:
        waiting = asyncio.create_task(one.get(K))
        await slow.started.wait()
        told = await other.put(K)
        assert (told.status, told.headers["retry-after"]) == (503, "1")
        assert told.headers["x-dynamo-definite"] == "true"
        assert named(server.figures)["http_refused_total"] == 1
        slow.let_go.set()
        assert (await waiting).status == 404
        assert (await other.put(K)).status == 204


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_refused(chunked: bool) -> None:
    node = FakeNode(object_bytes_max=2**20)
    async with talking(node) as talk:
        framing = "Transfer-Encoding: chunked" if chunked else "Content-Length: 3000000"
        talk.writer.write(
            f"PUT {K} HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\n{framing}\r\n\r\n".encode()
        )
        if chunked:
            talk.writer.write(b"200000\r\n" + b"x" * 0x200000 + b"\r\n")
        told = await talk.hear()
        assert told.status == 413
        assert told.text.startswith("a body has at most 1048576 bytes, got ")
        assert told.headers["connection"] == "close"
    assert node.coordinator.states == {}


async def test_the_largest_object_is_taken() -> None:
    node = FakeNode(object_bytes_max=2**20)
    body = (bytes(range(256)) * 4096)[:-100]
    async with talking(node) as talk:
        assert (await talk.put(K, body)).status == 204
        assert (await talk.get(K)).body == body


@pytest.mark.parametrize(
    "line",
    [
        ("X-Riak-Meta-M", "x" * 1000),
        ("Link", ", ".join(f'</buckets/b/keys/{i}>; riaktag="{"t" * 99}"' for i in range(10))),
        # Each term is stored with its field.
        ("X-Riak-Index-" + "f" * 1000 + "_bin", ", ".join(map(str, range(1000)))),
    ],
    ids=["meta", "links", "indexes"],
)
async def test_what_is_stored_along_with_a_body_counts_as_it_does(line: tuple[str, str]) -> None:
    node = FakeNode(object_bytes_max=2**20)
    body = bytes(100_000) if line[0].startswith("X-Riak-Index") else bytes(2**20 - 500)
    async with talking(node) as talk:
        assert (await talk.put(K, body)).status == 204
        told = await talk.ask("PUT", K, [*PLAIN.items(), line], body)
        assert told.status == 413
        assert told.text.startswith("an object has at most 1048576 bytes, got ")
        assert (await talk.get(K)).body == body


async def test_a_client_may_wait_for_leave_to_send_its_body() -> None:
    async with talking() as talk:
        head = f"PUT {K} HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nExpect: 100-continue\r\n"
        talk.writer.write(f"{head}Content-Length: 2\r\n\r\n".encode())
        assert (await talk.hear()).status == 100
        talk.writer.write(b"hi")
        assert (await talk.hear()).status == 204
        assert (await talk.get(K)).body == b"hi"


async def test_a_client_that_waits_is_not_asked_for_a_body_nobody_wants() -> None:
    async with talking() as talk:
        head = f"PUT {K}?r=x HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nExpect: 100-continue\r\n"
        talk.writer.write(f"{head}Content-Length: 2\r\n\r\n".encode())
        assert (await talk.hear()).status == 400


async def test_a_body_that_does_not_come_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exchange, "BODY_S_MAX", 0.01)
    async with talking() as talk:
        talk.writer.write(UNFINISHED)
        told = await talk.hear()
        assert (told.status, told.headers["connection"]) == (408, "close")


async def test_a_client_that_leaves_in_the_middle_of_a_body_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    node = FakeNode()
    async with served(node) as server:
        async with connected(server) as talk:
            talk.writer.write(UNFINISHED)
            await talk.writer.drain()
        async with connected(server) as talk:
            assert (await talk.get("/ping")).status == 200
    assert node.coordinator.states == {}
    assert caplog.records == []


async def test_a_client_that_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_off = asyncio.Event()
    monkeypatch.setattr(exchange, "SEND_S_MAX", 0.01)
    monkeypatch.setattr(exchange.log, "info", lambda *_, **__: cut_off.set())
    node = FakeNode(object_bytes_max=2**26)
    async with served(node) as server:
        async with connected(server) as talk:
            await talk.put(K, bytes(2**25))
        with socket.create_connection(("127.0.0.1", server.port)) as deaf:
            deaf.sendall(f"GET {K} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await cut_off.wait()


async def test_header_lines_and_counts_are_bounded_generously() -> None:
    links = ", ".join(f'</buckets/b/keys/{i:04}>; riaktag="t"' for i in range(1500))
    many = [(f"X-Riak-Meta-{i}", "x") for i in range(900)]
    async with talking() as talk:
        assert 48_000 < len(links) < 64_000
        assert (await talk.ask("PUT", K, {**PLAIN, "Link": links}, b"x")).status == 204
        assert (await talk.get(K)).headers["link"].count("riaktag") == 1500
        assert (await talk.ask("PUT", K, [*PLAIN.items(), *many], b"x")).status == 204
        assert (await talk.get(K)).headers["x-riak-meta-899"] == "x"
    for headers in ([("Link", "x" * 70_000)], [(f"A{i}", "x") for i in range(1100)]):
        async with talking() as talk:
            told = await talk.ask("GET", K, headers)
            assert (told.status, told.headers["connection"]) == (400, "close")
            assert told.text.startswith("not a request: ")


# -- connections ---------------------------------------------------------------------------------


async def test_requests_sent_ahead_are_answered_in_order() -> None:
    async with talking() as talk:
        for i in range(50):
            talk.writer.write(
                f"PUT /buckets/b/keys/{i}?returnbody=true HTTP/1.1\r\nHost: x\r\n"
                f"Content-Type: a/b\r\nContent-Length: {len(str(i))}\r\n\r\n{i}".encode()
            )
        assert [(await talk.hear()).text for _ in range(50)] == [str(i) for i in range(50)]


@pytest.mark.parametrize(
    ("line", "connection"),
    [("HTTP/1.0\r\n", "close"), ("HTTP/1.0\r\nConnection: keep-alive\r\n", "keep-alive")],
)
async def test_old_clients_are_told_what_becomes_of_the_connection(
    line: str, connection: str
) -> None:
    async with talking() as talk:
        talk.writer.write(f"GET /ping {line}\r\n".encode())
        assert (await talk.hear()).headers["connection"] == connection


async def test_answers_bear_the_date() -> None:
    node = FakeNode()
    async with talking(node) as talk:
        assert (await talk.get("/ping")).headers["date"] == "Wed, 18 Nov 2026 11:06:40 GMT"
        node.now_ms += 1000
        assert (await talk.get("/ping")).headers["date"] == "Wed, 18 Nov 2026 11:06:41 GMT"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"FOO /ping HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 501),
        (b"GET /ping HTTP/9.9\r\nHost: x\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET http://[x/ping HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n", 400),
        (b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET http://x/ping HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    ],
)
async def test_odd_requests_are_answered_and_not_logged(
    data: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with talking() as talk:
        talk.writer.write(data)
        told = await talk.hear()
        assert told.status == status
        assert "Traceback" not in told.text
    assert caplog.records == []


async def test_chunks_that_are_broken_are_a_bad_request(caplog: pytest.LogCaptureFixture) -> None:
    async with talking() as talk:
        talk.writer.write(
            f"PUT {K} HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\n"
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n".encode()
        )
        await talk.writer.drain()
        talk.writer.write(b"zz\r\n")
        assert (await talk.hear()).status == 400
    assert caplog.records == []


# -- life ----------------------------------------------------------------------------------------


async def test_a_taken_port_is_named_in_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        node = FakeNode(http_port=port)
        server = HttpServer(node, node.config)
        with pytest.raises(StartupError, match=f"cannot listen on 127.0.0.1:{port} for HTTP: "):
            await server.start()
        await server.stop()


async def test_a_server_that_never_started_can_be_stopped() -> None:
    node = FakeNode()
    await HttpServer(node, node.config).stop()


async def test_a_request_at_work_ends_before_the_server_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app, "STOP_S_MAX", 600.0)  # so nothing here ends because time ran out
    node = FakeNode()
    node.coordinator = slow = SlowCoordinator(node)
    server = HttpServer(node, node.config)
    await server.start()
    async with connected(server) as talk, connected(server) as idle:
        await idle.get("/ping")
        waiting = asyncio.create_task(talk.get(K))
        await slow.started.wait()
        stopping = asyncio.create_task(server.stop())
        assert await idle.reader.read() == b""
        slow.let_go.set()
        assert (await waiting).status == 404
        await stopping


async def test_a_request_that_does_not_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "STOP_S_MAX", 0.02)
    node = FakeNode()
    node.coordinator = slow = SlowCoordinator(node)
    server = HttpServer(node, node.config)
    await server.start()
    async with connected(server) as talk:
        waiting = asyncio.create_task(talk.get(K))
        await slow.started.wait()
        await server.stop()
        with pytest.raises(asyncio.IncompleteReadError):
            await waiting
    assert slow.cancelled


async def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "IDLE_S_MAX", 0.02)
    async with talking() as talk:
        await talk.get("/ping")
        assert await talk.reader.read() == b""
    async with talking() as talk:
        talk.writer.write(b"GET /ping HTTP/1.1\r\nHo")
        assert await talk.reader.read() == b""
