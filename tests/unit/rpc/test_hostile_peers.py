"""Any bytes on a node's port, and any bytes from a node that was dialled: the others go on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo.core.ids import Address
from dynamo.errors import PeerError
from dynamo.rpc.frames import Encoder, frame
from dynamo.rpc.handshake import hello, welcome
from dynamo.rpc.messages import Done, Heartbeat, Held, ReplicaPut
from tests.unit.rpc.harness import (
    N1,
    N2,
    N3,
    PATIENCE_S,
    connect,
    identity,
    peering,
    serving,
    until,
)

ENCODER = Encoder(2**20)
HELLO = hello(identity(N3), N2)
PUT = ENCODER.request(1, ReplicaPut(b"key", b"state" * 10, ""), 1000, 0)


def streams() -> st.SearchStrategy[bytes]:
    """Bytes that get more or less far: noise, noise after a hello, damaged requests."""
    noise = st.binary(max_size=200)
    bodies = st.binary(max_size=60).map(frame)
    damaged = st.tuples(st.integers(0, len(PUT) - 1), st.binary(max_size=3)).map(
        lambda change: PUT[: change[0]] + change[1] + PUT[change[0] + 1 :]
    )
    cut = st.integers(0, len(PUT)).map(lambda end: PUT[:end])
    after_hello = st.lists(st.one_of(noise, bodies, damaged, cut), min_size=1, max_size=4)
    return st.one_of(noise, bodies, after_hello.map(lambda parts: HELLO + b"".join(parts)))


async def throw(address: Address, data: bytes) -> None:
    """Send `data`, hang up, and see the other side do so too."""
    reader, writer = await asyncio.open_connection(*address)
    with contextlib.suppress(ConnectionError):
        writer.write(data)
        writer.write_eof()
        async with asyncio.timeout(PATIENCE_S):
            await reader.read()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@settings(max_examples=40, deadline=None)
@given(st.lists(streams(), min_size=5, max_size=15))
def test_no_bytes_on_the_port_disturb_other_connections(thrown: list[bytes]) -> None:
    async def scenario() -> None:
        async with serving() as (server, wire), peering({N2: wire.address}) as peers:
            await connect(peers, N2)
            for data in thrown:
                await throw(wire.address, data)
                assert await peers.call(N2, Heartbeat(), PATIENCE_S) == Done()
            await until(lambda: server.connections == 1)
            assert peers.dials == 1
            assert len(asyncio.all_tasks()) == 2

    asyncio.run(scenario())


@asynccontextmanager
async def answering(data: bytes) -> AsyncIterator[Address]:
    """A listener that says `data` to whoever connects, whatever it hears."""
    writers: list[asyncio.StreamWriter] = []

    def connected(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(data)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield Address(*server.sockets[0].getsockname()[:2])
    finally:
        server.close()
        for writer in writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        await server.wait_closed()


@settings(max_examples=40, deadline=None)
@given(
    st.booleans(),
    st.one_of(
        st.binary(max_size=100),
        st.binary(max_size=40).map(frame),
        st.integers(0, 3).map(lambda call_id: ENCODER.reply(call_id, Held(b"x"))),
    ),
)
def test_no_answer_of_a_peer_disturbs_calls_to_others(greets: bool, data: bytes) -> None:
    async def scenario() -> None:
        said = welcome(identity(N3)) + data if greets else data
        async with (
            serving() as (_, wire),
            answering(said) as strange,
            peering({N2: wire.address, N3: strange}) as peers,
        ):
            await until(lambda: N2 in peers.connected)
            with contextlib.suppress(PeerError):
                await peers.call(N3, Heartbeat(), 0.05)
            assert await peers.call(N2, Heartbeat(), PATIENCE_S) == Done()

    asyncio.run(scenario())


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: n2\r\n\r\n", b"\x16\x03\x01\x02\x00"])
async def test_a_wrong_kind_of_client_is_named_in_the_log_once(
    data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as (server, wire):
        for _ in range(3):
            await throw(wire.address, data)
        await until(lambda: server.protocol_errors == 3)
    [record] = caplog.records
    assert record.__dict__["msg"] == "protocol broken"
    assert record.__dict__["address"].startswith("127.0.0.1:")
    assert "the most is 4096" in record.__dict__["reason"]


async def test_many_connections_that_say_nothing_do_not_hinder_a_node() -> None:
    async with serving() as (server, wire), peering({N2: wire.address}) as peers:
        silent = [await asyncio.open_connection(*wire.address) for _ in range(200)]
        assert await peers.call(N2, Heartbeat(), PATIENCE_S) == Done()
        await until(lambda: server.connections == 201)
        for _, writer in silent:
            writer.close()
            await writer.wait_closed()
        await until(lambda: server.connections == 1)


async def test_a_torn_frame_costs_nothing_but_its_connection() -> None:
    async with serving() as (server, wire), peering({N2: wire.address}, identity(N1)) as peers:
        for end in range(0, len(PUT), 7):
            await throw(wire.address, HELLO + PUT[:end])
        assert await peers.call(N2, Heartbeat(), PATIENCE_S) == Done()
        assert server.requests_in == 1
