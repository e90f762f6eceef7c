"""More requests than the node can carry: who is let in, who is refused, and what that costs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dynamo.core.quorum import ReadQuorum
from dynamo.core.siblings import EMPTY, Siblings
from dynamo.http import app, connections
from dynamo.http.app import HttpServer
from dynamo.http.connections import Connection
from dynamo.node.tracing import Trace
from tests.unit.http.fake_node import FakeCoordinator, FakeNode
from tests.unit.http.talk import Talk, Told, connected

K = "/buckets/b/keys/k"
WHOLE_PUT = (
    f"PUT {K} HTTP/1.1\r\nHost: x:1\r\nContent-Type: a/b\r\nContent-Length: 5\r\n\r\nhello".encode()
)

PATIENCE_S = 10.0


class SlowCoordinator(FakeCoordinator):
    """Reads wait until they are let go."""

    def __init__(self, node: FakeNode) -> None:
        super().__init__(node.wall_ms)
        self.let_go = asyncio.Event()
        self.waiting = 0
        self.cancelled = 0

    async def get(
        self, key: object, quorum: ReadQuorum, *, timeout_s: float, trace: Trace | None = None
    ) -> Siblings:
        self.waiting += 1
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.waiting -= 1
        return EMPTY


class Busy:
    """A server whose loop is late, with reads that take for ever.

    Attributes:
        limit: so many requests may be at work.
    """

    def __init__(self, server: HttpServer, coordinator: SlowCoordinator, limit: int) -> None:
        self.server = server
        self.coordinator = coordinator
        self._tasks: list[asyncio.Task[Told]] = []
        server._admission.limit = limit

    async def fill(self, talk: Talk) -> None:
        """Put one request to work on this connection."""
        waiting = self.coordinator.waiting
        self._tasks.append(asyncio.create_task(talk.get(K)))
        await until(lambda: self.coordinator.waiting == waiting + 1)

    async def connection(self, talk: Talk) -> Connection:
        """The server's end of the only connection, once it waits for a request."""
        await talk.get("/ping")
        assert self.server._connections is not None
        [connection] = self.server._connections.connections
        assert isinstance(connection, Connection)
        await until(lambda: connection._waiter is not None)
        # Long ago, as far as this connection is concerned.
        connection._read_before = None
        return connection

    def open(self) -> None:
        """The loop is in time again."""
        self.server._admission.limit = self.server._admission.at_work_max

    def figure(self, name: str) -> float:
        """What the server counts."""
        return next(figure.read() for figure in self.server.figures if figure.name == name)  # type: ignore[return-value]

    async def end(self) -> None:
        """Let the reads go."""
        self.coordinator.let_go.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def until(condition: object) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@asynccontextmanager
async def busy(monkeypatch: pytest.MonkeyPatch, *, limit: int) -> AsyncIterator[Busy]:
    monkeypatch.setattr(app, "BEAT_S", 3600.0)  # the door stays as the test sets it
    monkeypatch.setattr(connections, "UNREAD_S_MAX", 0.01)
    node = FakeNode()
    node.coordinator = coordinator = SlowCoordinator(node)
    server = HttpServer(node, node.config)
    await server.start()
    there = Busy(server, coordinator, limit)
    try:
        yield there
    finally:
        await there.end()
        await server.stop()


@pytest.mark.parametrize("body", [b"small", bytes(10_000)], ids=["at once", "the long way"])
async def test_a_refused_write_is_told_that_it_had_no_effect_and_when_to_come_again(
    monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    async with busy(monkeypatch, limit=1) as there, connected(there.server) as first:
        await there.fill(first)
        async with connected(there.server) as talk:
            told = await talk.put(K, body)
            assert (told.status, told.text) == (503, "more than 0.5 s of work wait here\n")
            assert told.headers["retry-after"] == "1"
            assert told.headers["x-dynamo-definite"] == "true"
            assert told.headers["x-dynamo-acks"] == "0"
            assert told.headers["content-type"] == "text/plain"
            assert "date" in told.headers
            assert there.coordinator.states == {}
            # The connection is as good as before.
            there.open()
            assert (await talk.put(K, body)).status == 204
        assert there.figure("http_shed") == 1
        assert there.figure("http_refused") == 1


async def test_refused_reads_are_told_in_every_form(monkeypatch: pytest.MonkeyPatch) -> None:
    async with busy(monkeypatch, limit=1) as there, connected(there.server) as first:
        await there.fill(first)
        async with connected(there.server) as talk:
            for method in ("GET", "HEAD", "DELETE"):
                told = await talk.ask(method, K)
                assert told.status == 503
                assert told.headers["retry-after"] == "1"
                assert ("x-dynamo-definite" in told.headers) == (method == "DELETE")
        assert there.figure("node_get_fsm_rejected") == 2
        assert there.figure("node_put_fsm_rejected") == 1


@pytest.mark.parametrize("path", ["/ping", "/stats", "/admin/members"])
async def test_questions_about_the_node_are_answered_however_long_the_queue(
    monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    async with busy(monkeypatch, limit=1) as there, connected(there.server) as first:
        await there.fill(first)
        async with connected(there.server) as talk:
            assert (await talk.get(path)).status == 200


async def test_no_more_are_let_in_than_fit_however_many_come_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with busy(monkeypatch, limit=5) as there:
        talks = [await asyncio.open_connection("127.0.0.1", there.server.port) for _ in range(20)]
        for _, writer in talks:
            writer.write(f"GET {K} HTTP/1.1\r\nHost: x:1\r\n\r\n".encode())
        await until(lambda: there.figure("http_shed") == 15)
        assert there.coordinator.waiting == 5
        assert there.figure("http_requests_in_flight") == 5
        for _, writer in talks:
            writer.close()


@pytest.mark.parametrize("split", range(1, len(WHOLE_PUT), 7))
async def test_a_request_that_comes_in_two_reads_is_refused_as_one(
    monkeypatch: pytest.MonkeyPatch, split: int
) -> None:
    async with busy(monkeypatch, limit=0) as there:
        # The second half may come late on a busy machine, and is read all the same.
        monkeypatch.setattr(connections, "UNREAD_S_MAX", 10.0)
        async with connected(there.server) as talk:
            for _ in range(2):
                talk.writer.write(WHOLE_PUT[:split])
                await until(lambda: there.figure("http_connections") == 1)
                await asyncio.sleep(0.005)  # as a rule the server reads these two apart
                talk.writer.write(WHOLE_PUT[split:])
                assert (await talk.hear()).status == 503
            talk.writer.write(WHOLE_PUT * 3)
            for _ in range(3):
                assert (await talk.hear()).status == 503
            talk.writer.write(WHOLE_PUT)
            assert (await talk.hear()).status == 503
            there.open()
            talk.writer.write(WHOLE_PUT)
            assert (await talk.hear()).status == 204
            assert there.figure("http_requests_in_flight") == 0


async def test_nobody_works_for_a_client_that_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with busy(monkeypatch, limit=5) as there:
        async with connected(there.server) as talk:
            await there.fill(talk)
        await until(lambda: there.coordinator.cancelled == 1)
        await until(lambda: there.figure("http_requests_in_flight") == 0)


async def test_a_client_that_goes_before_its_request_begins_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with busy(monkeypatch, limit=5) as there, connected(there.server) as talk:
        connection = await there.connection(talk)
        connection.data_received(WHOLE_PUT)
        assert there.figure("http_requests_in_flight") == 1
        connection.connection_lost(None)
        assert there.figure("http_requests_in_flight") == 0
        await asyncio.sleep(0)
        assert there.coordinator.asked == []


async def test_the_rest_of_a_request_that_looks_like_another_is_not_taken_for_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with busy(monkeypatch, limit=0) as there, connected(there.server) as talk:
        connection = await there.connection(talk)
        connection.data_received(f"PUT {K} HTTP/1.1\r\nHost: x:1\r\nX-Note: ".encode())
        connection.data_received(f"GET {K} HTTP/1.1\r\nHost-Of: x:1\r\n\r\n".encode())
        told = await talk.hear()
        assert told.status == 503
        assert "x-dynamo-definite" in told.headers  # it was a PUT


async def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS_MAX", 1)
    async with busy(monkeypatch, limit=5) as there, connected(there.server) as talk:
        assert (await talk.get("/ping")).status == 200
        async with connected(there.server) as other:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await other.get("/ping")
        assert (await talk.get("/ping")).status == 200


# -- deadlines -----------------------------------------------------------------------------------


async def test_a_named_timeout_runs_while_the_body_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with busy(monkeypatch, limit=5) as there, connected(there.server) as talk:
        head = f"PUT {K}?timeout=5000 HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\n"
        talk.writer.write(f"{head}Content-Length: 2\r\n\r\nx".encode())
        await until(lambda: there.figure("http_requests_in_flight") == 1)
        await asyncio.sleep(0.02)
        talk.writer.write(b"x")
        assert (await talk.hear()).status == 204
        [(_, _, timeout_s)] = there.coordinator.asked
        assert 0 < timeout_s < 4.99


async def test_a_body_that_takes_longer_than_the_named_timeout_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with busy(monkeypatch, limit=5) as there, connected(there.server) as talk:
        head = f"PUT {K}?timeout=20 HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\n"
        talk.writer.write(f"{head}Content-Length: 2\r\n\r\nx".encode())
        told = await talk.hear()
        assert (told.status, told.text) == (408, "no whole body within 0.02 s\n")
        assert there.coordinator.asked == []
