"""Large answers: how many of them are on their way at once, and what becomes of the others."""

import asyncio
import gc
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from dynamo.core.figures import named
from dynamo.errors import Overloaded
from dynamo.http import app, outgoing
from dynamo.http.app import HttpServer
from dynamo.http.exchange import Answer
from dynamo.http.outgoing import Outgoing
from tests.unit.http.fake_node import FakeNode
from tests.unit.http.talk import Talk, connected

K = "/buckets/b/keys/k"
BODY = bytes(2**24)
PATIENCE_S = 10.0


@asynccontextmanager
async def holding(*, room_for: int) -> AsyncIterator[tuple[HttpServer, Talk]]:
    """A server with a large value, and room for so many answers with it."""
    node = FakeNode(object_bytes_max=2**25)
    server = HttpServer(node, node.config)
    server._outgoing = Outgoing(room_for * len(BODY))
    await server.start()
    try:
        async with connected(server) as talk:
            await talk.put(K, BODY)
            await talk.put(f"{K}small", b"small")
            yield server, talk
    finally:
        await server.stop()


@contextmanager
def deaf(server: HttpServer, head: str = "") -> Iterator[socket.socket]:
    """A client that asks for the value and does not read it."""
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(f"GET {K} HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
        yield client


async def until(condition: object) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def on_the_way(server: HttpServer) -> float:
    return float(named(server.figures)["http_large_answers_bytes"])


async def test_answers_that_nobody_reads_are_bounded_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outgoing, "ROOM_S_MAX", 0.01)
    async with holding(room_for=2) as (server, talk):
        with deaf(server), deaf(server):
            await until(lambda: on_the_way(server) == 2 * len(BODY))
            told = await talk.get(K)
            assert (told.status, told.headers["retry-after"]) == (503, "1")
            assert told.text == "more than 33554432 bytes of answers are on their way\n"
            assert (await talk.get(f"{K}small")).body == b"small"
            assert (await talk.ask("HEAD", K)).headers["content-length"] == str(len(BODY))
        await until(lambda: on_the_way(server) == 0)
        assert (await talk.get(K)).body == BODY
        await until(lambda: on_the_way(server) == 0)


async def test_a_large_answer_waits_for_those_before_it() -> None:
    async with holding(room_for=1) as (server, talk):
        with deaf(server):
            await until(lambda: on_the_way(server) == len(BODY))
            answer = asyncio.create_task(talk.get(K))
            await until(lambda: server._outgoing._line)
        assert (await answer).body == BODY
        await until(lambda: on_the_way(server) == 0)


async def test_a_client_that_leaves_while_it_waits_leaves_no_gap_in_the_line() -> None:
    async with holding(room_for=1) as (server, talk):
        with deaf(server):
            await until(lambda: on_the_way(server) == len(BODY))
            with deaf(server):
                await until(lambda: len(server._outgoing._line) == 1)
                answer = asyncio.create_task(talk.get(K))
                await until(lambda: len(server._outgoing._line) == 2)
            await until(lambda: len(server._outgoing._line) == 1)
        assert (await answer).body == BODY
        await until(lambda: on_the_way(server) == 0)


async def test_a_write_whose_large_answer_finds_no_room_is_done_once_and_in_doubt() -> None:
    async with holding(room_for=1) as (server, talk):
        with deaf(server):
            await until(lambda: on_the_way(server) == len(BODY))
            told = await talk.put(f"{K}?returnbody=true", b"y" * 100_000)
            assert (told.status, told.headers["x-dynamo-definite"]) == (503, "false")
        with_siblings = await talk.get(K, Accept="text/plain")
        assert with_siblings.status == 200


async def test_an_answer_with_gzip_counts_as_large_as_it_is_sent() -> None:
    async with holding(room_for=1) as (server, talk):
        assert (await talk.get(K, Accept_Encoding="gzip")).status == 200
        await until(lambda: on_the_way(server) == 0)
        with deaf(server, "Accept-Encoding: gzip\r\n"):
            await until(lambda: on_the_way(server) == 0)
            assert (await talk.get(K)).status == 200


async def test_an_answer_larger_than_the_bound_goes_alone() -> None:
    room = Outgoing(100)
    assert room.take(300)
    assert not room.take(1)
    room.give_back(300)
    assert room.take(1)


async def test_who_comes_later_does_not_overtake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "ROOM_S_MAX", 0.01)
    room = Outgoing(100)
    assert room.take(60)
    waiting = asyncio.create_task(room.wait(60))
    await asyncio.sleep(0)
    assert not room.take(40)
    with pytest.raises(Overloaded):
        await waiting
    assert room.take(40)
    assert room.on_the_way_bytes == 100


async def test_an_idle_connection_does_not_hold_what_was_sent_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[Answer] = []

    def noted(*args: object) -> Answer:
        answers.append(Answer(*args))  # type: ignore[arg-type]
        return answers[-1]

    monkeypatch.setattr(app, "Answer", noted)
    async with holding(room_for=1) as (server, talk):
        assert (await talk.get(K)).body == BODY
        await until(lambda: on_the_way(server) == 0)
        held = [part for answer in answers for part in gc.get_referents(answer)]
        assert all(sys.getsizeof(part) < 2**20 for part in held if isinstance(part, bytes | tuple))
        assert answers[-1]._reply is None
