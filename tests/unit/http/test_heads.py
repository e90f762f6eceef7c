"""Heads that are large, many, or never whole: what a node holds of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from dynamo.http import connections
from dynamo.http.app import HttpServer
from dynamo.http.connections import HEAD_BYTES_COMMON, HEAD_BYTES_MAX
from tests.unit.http.fake_node import FakeNode
from tests.unit.http.talk import PLAIN, Talk, connected, talking

K = "/buckets/b/keys/k"
BEGINNING = f"PUT {K} HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\n".encode()
READ_BYTES_MAX = 256 * 1024
"""What asyncio reads at once."""

PATIENCE_S = 10.0


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits here for the rest of a request that is answered already."""
    monkeypatch.setattr(connections, "UNREAD_S_MAX", 0.01)


def lines(size: int, name: str = "X-Riak-Meta-M") -> bytes:
    """Header lines of so many bytes."""
    count, rest = divmod(size, 50_000)
    sizes = [50_000] * count + [rest]
    return b"".join(
        f"{name}{i}: ".encode() + b"x" * (n - len(name) - 10) + b"\r\n"
        for i, n in enumerate(sizes)
        if n > len(name) + 10
    )


@asynccontextmanager
async def serving() -> AsyncIterator[HttpServer]:
    node = FakeNode()
    server = HttpServer(node, node.config)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def held(server: HttpServer) -> int:
    """Bytes of large heads."""
    assert server._connections is not None
    return server._connections.head_bytes


async def until(condition: object) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110
            await asyncio.sleep(0.001)


# -- one -----------------------------------------------------------------------------------------


async def test_a_head_that_does_not_end_is_refused_and_the_connection_closed() -> None:
    async with serving() as server, connected(server) as talk:
        talk.writer.write(BEGINNING + lines(HEAD_BYTES_MAX + READ_BYTES_MAX))
        told = await talk.hear()
        assert (told.status, told.headers["connection"]) == (431, "close")
        assert told.text == "a head has at most 262144 bytes\n"
        assert await talk.reader.read() == b""
        await until(lambda: held(server) == 0)


async def test_small_pieces_of_a_head_add_up() -> None:
    async with talking() as talk:
        talk.writer.write(BEGINNING)
        answer = asyncio.create_task(talk.hear())
        for i in range(2 * (HEAD_BYTES_MAX + READ_BYTES_MAX) // 1000):
            talk.writer.write(f"X-Riak-Meta-{i}: ".encode() + b"x" * 900 + b"\r\n")
            await asyncio.sleep(0)
            if answer.done():
                break
        assert (await answer).status == 431


async def test_a_head_of_nearly_the_largest_size_is_taken_and_its_connection_ends() -> None:
    async with serving() as server, connected(server) as talk:
        large = lines(HEAD_BYTES_MAX - 1000)
        talk.writer.write(BEGINNING + large + b"Content-Length: 1\r\n\r\nx")
        told = await talk.hear()
        # aiohttp holds a head until the next one comes, and nobody knows when that is.
        assert (told.status, told.headers["connection"]) == (204, "close")
        assert await talk.reader.read() == b""
        await until(lambda: held(server) == 0)


async def test_a_head_of_a_common_size_does_not_end_its_connection() -> None:
    links = ", ".join(f'</buckets/b/keys/{i:030}>; riaktag="t"' for i in range(300))
    assert 15_000 < len(links) < HEAD_BYTES_COMMON
    async with serving() as server, connected(server) as talk:
        for _ in range(50):
            told = await talk.ask("PUT", K, {**PLAIN, "Link": links}, b"x" * 10_000)
            assert (told.status, told.headers.get("connection")) == (204, None)
        assert held(server) == 0


@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_are_no_heads(chunked: bool) -> None:
    body = b"x\r\n\r\n" * 200_000
    node = FakeNode(object_bytes_max=2**21)
    async with talking(node) as talk:
        for _ in range(3):
            if chunked:
                pieces = [body[i : i + 70_000] for i in range(0, len(body), 70_000)]
                framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
                talk.writer.write(BEGINNING + b"Transfer-Encoding: chunked\r\n\r\n" + framed)
                talk.writer.write(b"0\r\n\r\n")
                told = await talk.hear()
            else:
                told = await talk.put(K, body)
            assert (told.status, told.headers.get("connection")) == (204, None)


async def test_what_follows_a_body_is_a_head_again() -> None:
    node = FakeNode(object_bytes_max=2**21)
    async with talking(node) as talk:
        put = BEGINNING + b"Content-Length: 1000000\r\n\r\n" + bytes(1_000_000)
        talk.writer.write(put + put + BEGINNING + lines(HEAD_BYTES_MAX + 2 * READ_BYTES_MAX))
        assert [(await talk.hear()).status for _ in range(3)] == [204, 204, 431]


async def test_requests_sent_ahead_in_one_piece_do_not_end_their_connection() -> None:
    one = BEGINNING + b"X-Riak-Meta-M: " + b"x" * 900 + b"\r\nContent-Length: 1\r\n\r\nx"
    async with serving() as server, connected(server) as talk:
        for _ in range(3):
            talk.writer.write(one * 100)
            for _ in range(100):
                told = await talk.hear()
                assert (told.status, told.headers.get("connection")) == (204, None)


# -- all -----------------------------------------------------------------------------------------


async def _begin(stack: AsyncExitStack, server: HttpServer, beginning: bytes) -> Talk:
    talk = await stack.enter_async_context(connected(server))
    talk.writer.write(beginning)
    return talk


async def test_unfinished_heads_of_all_connections_are_bounded_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "HEADS_BYTES_MAX", 500_000)
    async with serving() as server, AsyncExitStack() as stack:
        beginning = BEGINNING + lines(150_000)
        first = await _begin(stack, server, beginning)
        for i in (1, 2, 3):
            await until(lambda i=i: held(server) > i * 140_000)
            if i < 3:
                await _begin(stack, server, beginning)
        beyond = await _begin(stack, server, beginning)
        told = await beyond.hear()
        assert (told.status, told.headers["connection"]) == (503, "close")
        assert told.text == "more than 500000 bytes of heads are held\n"
        assert (told.headers["retry-after"], told.headers["x-dynamo-definite"]) == ("1", "true")
        # What is common is let in all the same, in whatever pieces it comes.
        common = await _begin(stack, server, BEGINNING + lines(20_000))
        common.writer.write(b"Content-Length: 1\r\n\r\nx")
        assert (await common.hear()).status == 204
        first.writer.write(b"Content-Length: 1\r\n\r\nx")
        assert (await first.hear()).status == 204


async def test_whole_heads_count_as_long_as_they_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADS_BYTES_MAX", 500_000)
    async with serving() as server, AsyncExitStack() as stack:
        unfinished = BEGINNING + lines(150_000) + b"Content-Length: 2\r\n\r\nx"
        waiting = []
        for i in (1, 2, 3):
            waiting.append(await _begin(stack, server, unfinished))
            await until(lambda i=i: held(server) > i * 140_000)
        beyond = await _begin(stack, server, unfinished)
        assert (await beyond.hear()).status == 503
        for talk in waiting:
            talk.writer.write(b"x")
            assert (await talk.hear()).status == 204
        await until(lambda: held(server) == 0)


async def test_many_short_lines_count_for_more_than_their_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "HEADS_BYTES_MAX", 600_000)
    async with serving() as server, AsyncExitStack() as stack:
        many = BEGINNING + b"".join(b"a%d: x\r\n" % i for i in range(990))
        for i in (1, 2):
            await _begin(stack, server, many)
            await until(lambda i=i: held(server) > i * 200_000)
        assert (await (await _begin(stack, server, many)).hear()).status == 503


async def test_what_is_held_is_let_go_with_the_connection() -> None:
    async with serving() as server:
        async with connected(server) as talk:
            talk.writer.write(BEGINNING + lines(200_000))
            await until(lambda: held(server) > 150_000)
        await until(lambda: held(server) == 0)


UPGRADE = b"GET /ping HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\nHost: x:1\r\n\r\n"


@pytest.mark.parametrize("body_bytes", [1, 100, 300_000])
@pytest.mark.parametrize("in_one", [True, False])
async def test_requests_behind_one_for_another_protocol_are_answered_as_all_others(
    in_one: bool, body_bytes: int
) -> None:
    put = (
        f"PUT {K} HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Length: {body_bytes}\r\n\r\n"
    )
    async with talking() as talk:
        for _ in range(2):
            talk.writer.write(UPGRADE + (put.encode() if in_one else b""))
            assert (await talk.hear()).status == 200
            talk.writer.write((b"" if in_one else put.encode()) + b"x" * body_bytes)
            assert (await talk.hear()).status == 204
            talk.writer.write(f"GET {K} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert len((await talk.hear()).body) == body_bytes
