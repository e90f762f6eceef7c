"""The calling half against real servers on loopback sockets."""

import asyncio
import gc
import logging
import random
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from dynamo.core.ids import Address, NodeId
from dynamo.errors import (
    BadRequest,
    DynamoError,
    HandshakeRefused,
    Overloaded,
    PeerLost,
    PeerUnreachable,
)
from dynamo.rpc.caller import PeersLimits
from dynamo.rpc.messages import Done, Failed, Heartbeat, Held, ReplicaGet, ReplicaPut, Request
from dynamo.rpc.peers import REDIAL_S_MAX, REDIAL_S_MIN, Peers
from dynamo.rpc.server import Respond, ServerLimits
from dynamo.rpc.wire import ProtocolFactory, TcpWire
from tests.unit.rpc import harness
from tests.unit.rpc.harness import (
    N1,
    N2,
    N3,
    Outcomes,
    Seen,
    connect,
    identity,
    peering,
    serving,
    tick,
    until,
)


class HastyPeers(Peers):
    """Pauses between dials are noted and not made."""

    pauses_s: list[float]

    def pause_s(self, redial_s: float) -> float:
        self.__dict__.setdefault("pauses_s", []).append(redial_s)
        return 0.0


@asynccontextmanager
async def swallowing() -> AsyncIterator[Address]:
    """Connects and then says nothing, as a proxy before a dead link does."""
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _r, writer: writers.append(writer), "127.0.0.1", 0)
    try:
        yield Address(*server.sockets[0].getsockname()[:2])
    finally:
        server.close()
        for writer in writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
        await server.wait_closed()


async def refused_address() -> Address:
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    address = Address(*server.sockets[0].getsockname()[:2])
    server.close()
    await server.wait_closed()
    return address


# -- calls --


async def test_a_call_dials_and_is_answered() -> None:
    def handle(_node: NodeId, message: Request, _deadline_s: float, respond: Respond) -> None:
        assert isinstance(message, ReplicaGet)
        respond(Held(message.key * 2))

    async with serving(handle) as (server, wire), peering({N2: wire.address}) as peers:
        assert await peers.call(N2, ReplicaGet(b"k", "", False), 5.0) == Held(b"kk")
        assert peers.connected == {N2}
        assert (peers.requests_out, server.requests_in) == (1, 1)
        assert (peers.connections, server.connections) == (1, 1)
        assert peers.bytes_out == server.bytes_in > 0
        assert peers.bytes_in == server.bytes_out > 0


async def test_many_calls_share_one_connection_and_few_writes() -> None:
    held = harness.Held()
    async with serving(held) as (server, wire), peering({N2: wire.address}) as peers:
        await connect(peers, N2)
        outcomes = Outcomes()
        for _ in range(500):
            peers.send(N2, ReplicaPut(b"k", bytes(1000), ""), 5.0, outcomes)
        await until(lambda: len(held.responds) == 500)
        held.responds.reverse()
        held.answer_all()
        await until(lambda: len(outcomes) == 500)
        assert set(outcomes.all) == {Done()}
        assert server.connections == 1


async def test_a_failed_reply_is_a_reply() -> None:
    failed = Failed(1, "no", "", 0, 0, True)
    async with (
        serving(lambda _n, _m, _d, respond: respond(failed)) as (_, wire),
        peering({N2: wire.address}) as peers,
    ):
        assert await peers.call(N2, Heartbeat(), 5.0) == failed


async def test_a_large_value_arrives_whole() -> None:
    value = random.Random(1).randbytes(20 * 2**20)

    def handle(_node: NodeId, message: Request, _deadline_s: float, respond: Respond) -> None:
        assert isinstance(message, ReplicaPut)
        respond(Held(message.state))

    async with serving(handle) as (_, wire), peering({N2: wire.address}) as peers:
        assert await peers.call(N2, ReplicaPut(b"k", value, ""), 10.0) == Held(value)


async def test_send_without_a_connection_fails_soon() -> None:
    async with serving() as (_, wire), peering({N2: wire.address}) as peers:
        outcomes = Outcomes()
        peers.send(N2, Heartbeat(), 5.0, outcomes)
        assert outcomes.all == []
        await tick()
        assert outcomes.kinds == [PeerUnreachable]
        assert str(outcomes.all[0]) == "n2 is being dialled"
        await until(lambda: peers.connected == {N2})


async def test_a_call_waits_for_a_dial_no_longer_than_its_timeout() -> None:
    async with swallowing() as address, peering({N2: address}) as peers:
        with pytest.raises(PeerUnreachable, match="n2 is being dialled"):
            await peers.call(N2, Heartbeat(), 0.02)


async def test_a_call_that_no_one_waits_for_does_no_harm(
    caplog: pytest.LogCaptureFixture,
) -> None:
    held = harness.Held()
    async with serving(held) as (_, wire), peering({N2: wire.address}) as peers:
        await connect(peers, N2)
        call = asyncio.ensure_future(peers.call(N2, Heartbeat(), 5.0))
        await until(lambda: held.responds)
        call.cancel()
        await asyncio.wait([call])
        held.answer_all()
        other = asyncio.ensure_future(peers.call(N2, Heartbeat(), 5.0))
        await until(lambda: held.responds)
        held.answer_all()
        assert await other == Done()
    assert caplog.records == []


async def test_a_call_without_an_answer_is_lost_at_its_deadline() -> None:
    seen = Seen()
    async with (
        serving(harness.Held()) as (_, wire),
        peering({N2: wire.address}, seen=seen) as peers,
    ):
        await connect(peers, N2)
        with pytest.raises(PeerLost, match="n2 did not answer in time"):
            await peers.call(N2, Heartbeat(), 0.02)
        assert peers.connected == {N2}
        assert seen.events == [("connected", N2), ("bad", N2)]


async def test_too_many_calls_are_overload() -> None:
    limits = PeersLimits(calls_in_flight_max=3)
    async with (
        serving(harness.Held()) as (_, wire),
        peering({N2: wire.address}, limits=limits) as peers,
    ):
        await connect(peers, N2)
        for _ in range(3):
            peers.send(N2, Heartbeat(), 5.0, Outcomes())
        with pytest.raises(Overloaded):
            await peers.call(N2, Heartbeat(), 5.0)


# -- directions --


async def test_requests_travel_only_over_connections_that_their_sender_dialled() -> None:
    asked: list[tuple[str, NodeId]] = []

    def handler(me: str) -> Callable[[NodeId, Request, float, Respond], None]:
        def handle(node: NodeId, _message: Request, _deadline_s: float, respond: Respond) -> None:
            asked.append((me, node))
            respond(Done())

        return handle

    nowhere = await refused_address()
    async with (
        serving(handler("n1"), identity(N1)) as (server1, _),
        serving(handler("n2"), identity(N2)) as (server2, wire2),
        # n1 can dial n2, n2 cannot dial n1.
        peering({N2: wire2.address}, identity(N1)) as peers1,
        peering({N1: nowhere}, identity(N2)) as peers2,
    ):
        await connect(peers1, N2)
        assert await peers1.call(N2, Heartbeat(), 5.0) == Done()
        with pytest.raises(PeerUnreachable):
            await peers2.call(N1, Heartbeat(), 5.0)
        assert asked == [("n2", N1)]
        assert (server1.requests_in, server2.requests_in) == (0, 1)
        assert server1.connections == 0


# -- handshakes --


@pytest.mark.parametrize(
    ("cluster", "fingerprint", "name", "sentence"),
    [
        ("films", "partitions=256", N1, "n2 is of cluster 'books', n1 of 'films'"),
        (
            "books",
            "partitions=64",
            N1,
            "n2 has the cluster settings 'partitions=256', n1 has 'partitions=64'",
        ),
        ("books", "partitions=256", N3, "n3 dialled n2, but n9 listens there"),
    ],
)
async def test_both_sides_say_why_one_is_refused(
    cluster: str,
    fingerprint: str,
    name: NodeId,
    sentence: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    listener = identity(NodeId("n9")) if "n9" in sentence else identity(N2)
    me = identity(name, cluster, fingerprint)
    seen = Seen()
    async with (
        serving(me=listener) as (server, wire),
        peering({N2: wire.address}, me, seen, kind=HastyPeers) as peers,
    ):
        with pytest.raises(HandshakeRefused) as refused:
            await peers.call(N2, Heartbeat(), 5.0)
        assert str(refused.value) == sentence
        assert refused.value.definite
        await until(lambda: peers.dials_failed > 3)
        outcomes = Outcomes()
        peers.send(N2, Heartbeat(), 5.0, outcomes)
        await tick()
        assert outcomes.kinds == [HandshakeRefused]
        assert set(seen.events) == {("bad", N2)}
        assert server.requests_in == 0
        assert server.refused > 3
    logged = {(record.name, record.__dict__["reason"]) for record in caplog.records}
    assert logged == {("dynamo.rpc.connection", sentence)}
    assert len(caplog.records) == 2
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


async def test_another_protocol_version_is_refused_on_both_sides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old = harness.hello_of_version(7)
    async with serving() as (server, wire):
        monkeypatch.setattr("dynamo.rpc.caller.hello", lambda _me, _wanted: old)
        async with peering({N2: wire.address}) as peers:
            with pytest.raises(
                HandshakeRefused,
                match=r"^n2 speaks protocol version 3, the node that dials it version 7$",
            ):
                await peers.call(N2, Heartbeat(), 5.0)
        assert server.refused >= 1


# -- losing and regaining a connection --


async def test_the_end_of_a_connection_loses_its_calls_at_once() -> None:
    held, seen = harness.Held(), Seen()
    async with serving(held) as (server, wire), peering({N2: wire.address}, seen=seen) as peers:
        await connect(peers, N2)
        outcomes = Outcomes()
        for _ in range(10):
            peers.send(N2, Heartbeat(), 600.0, outcomes)
        await until(lambda: len(held.responds) == 10)
        await server.close()
        await until(lambda: len(outcomes) == 10)
        assert set(outcomes.kinds) == {PeerLost}
        assert not any(
            outcome.definite for outcome in outcomes.all if isinstance(outcome, DynamoError)
        )
        assert N2 not in peers.connected
        assert seen.events[:3] == [("connected", N2), ("lost", N2), ("bad", N2)]


async def test_a_returning_node_is_connected_to_again() -> None:
    seen = Seen()
    async with serving() as (_, wire), peering({N2: wire.address}, seen=seen) as peers:
        await connect(peers, N2)
    assert wire.port
    async with peering({N2: wire.address}, seen=seen) as peers:
        peers.keep([N2])
        await until(lambda: peers.dials_failed >= 2)
        async with serving(wire=wire):
            await until(lambda: peers.connected == {N2})
            assert await peers.call(N2, Heartbeat(), 5.0) == Done()
        await until(lambda: not peers.connected)
        async with serving(wire=wire):
            await until(lambda: peers.connected == {N2})
            assert await peers.call(N2, Heartbeat(), 5.0) == Done()


async def test_pauses_between_dials_grow_to_a_second() -> None:
    async with peering({N2: await refused_address()}, kind=HastyPeers) as peers:
        assert isinstance(peers, HastyPeers)
        peers.keep([N2])
        await until(lambda: peers.dials_failed >= 8)
        assert peers.pauses_s[:7] == [0.05, 0.1, 0.2, 0.4, 0.8, REDIAL_S_MAX, REDIAL_S_MAX]


async def test_a_connection_that_ends_at_once_does_not_shorten_the_pauses() -> None:
    async with serving() as (_, wire), peering({N2: wire.address}, kind=HastyPeers) as peers:
        assert isinstance(peers, HastyPeers)
        for _ in range(4):
            await connect(peers, N2)
            peers.reset(N2)
        assert peers.pauses_s[:3] == [0.05, 0.1, 0.2]


async def test_pauses_are_spread() -> None:
    async with peering({}) as peers:
        pauses = {peers.pause_s(REDIAL_S_MIN) for _ in range(20)}
        assert len(pauses) == 20
        assert all(REDIAL_S_MIN / 2 <= pause_s <= REDIAL_S_MIN for pause_s in pauses)


async def test_reset_loses_the_calls_and_dials_anew() -> None:
    held, seen = harness.Held(), Seen()
    async with serving(held) as (_, wire), peering({N2: wire.address}, seen=seen) as peers:
        await connect(peers, N2)
        outcomes = Outcomes()
        peers.send(N2, Heartbeat(), 600.0, outcomes)
        await until(lambda: held.responds)
        peers.reset(N2)
        assert peers.connected == set()
        await until(lambda: outcomes.all)
        assert outcomes.kinds == [PeerLost]
        await until(lambda: peers.connected == {N2})
        assert [event for event in seen.events if event[0] != "bad"] == [
            ("connected", N2),
            ("lost", N2),
            ("connected", N2),
        ]
        peers.reset(N3)


async def test_after_a_loss_the_reason_is_the_loss_and_not_an_older_one() -> None:
    addresses = {N2: await refused_address()}
    async with serving() as (_, wire), peering(addresses) as peers:
        with pytest.raises(PeerUnreachable, match=r"^nobody listens for n2 at 127\.0\.0\.1:\d+$"):
            await peers.call(N2, Heartbeat(), 5.0)
        addresses[N2] = wire.address
        await until(lambda: peers.connected == {N2})
        peers.reset(N2)
        outcomes = Outcomes()
        peers.send(N2, Heartbeat(), 5.0, outcomes)
        await tick()
        assert str(outcomes.all[0]) == "the connection to n2 has ended"


async def test_a_dial_into_silence_is_given_up() -> None:
    limits = PeersLimits(dial_timeout_s=0.05)
    async with swallowing() as address, peering({N2: address}, limits=limits) as peers:
        with pytest.raises(PeerUnreachable, match=r"did not greet back within 0.05 s"):
            await peers.call(N2, Heartbeat(), 5.0)
        await until(lambda: peers.dials >= 3)
        assert peers.connections <= 1


async def test_the_address_is_looked_up_for_every_dial() -> None:
    addresses: dict[NodeId, Address] = {}
    async with serving() as (_, wire), peering(addresses) as peers:
        peers.keep([N2])
        with pytest.raises(PeerUnreachable, match="no address is known for n2"):
            await peers.call(N2, Heartbeat(), 5.0)
        addresses[N2] = await refused_address()
        await until(lambda: peers.dials_failed >= 3)
        addresses[N2] = wire.address
        await until(lambda: peers.connected == {N2})


async def test_an_address_that_makes_no_sense_costs_a_dial_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class PickyWire(TcpWire):
        async def dial(self, address: Address, factory: ProtocolFactory) -> None:
            if address.port > 65535:
                raise OverflowError("port must be 0-65535")
            await super().dial(address, factory)

    addresses = {N2: Address("127.0.0.1", 70_000)}
    async with serving() as (_, wire), peering(addresses, wire=PickyWire()) as peers:
        with pytest.raises(PeerUnreachable, match="n2 cannot be dialled: port must be 0-65535"):
            await peers.call(N2, Heartbeat(), 5.0)
        addresses[N2] = wire.address
        await until(lambda: peers.connected == {N2})
    assert "a dial failed" in caplog.text


# -- which connections there are --


async def test_keep_holds_connections_to_its_nodes_and_no_others() -> None:
    seen = Seen()
    async with (
        serving(me=identity(N2)) as (_, wire2),
        serving(me=identity(N3)) as (server3, wire3),
        peering({N2: wire2.address, N3: wire3.address}, seen=seen, kind=HastyPeers) as peers,
    ):
        peers.keep([N1, N2, N3])
        await until(lambda: peers.connected == {N2, N3})
        outcomes = Outcomes()
        peers.send(N3, Heartbeat(), 5.0, outcomes)
        peers.keep([N2])
        assert peers.connected == {N2}
        await until(lambda: server3.connections == 0)
        assert outcomes.kinds == [PeerUnreachable]
        assert ("lost", N3) in seen.events
        assert peers.connections == 1
        for _ in range(10):
            assert await peers.call(N2, Heartbeat(), 5.0) == Done()
        assert peers.dials == 2


async def test_what_is_sent_to_a_node_that_is_not_wanted_fails_and_dials_nobody() -> None:
    async with serving() as (_, wire), peering({N2: wire.address}) as peers:
        await connect(peers, N2)
        peers.keep([])
        outcomes = Outcomes()
        peers.send(N2, Heartbeat(), 5.0, outcomes)
        with pytest.raises(PeerUnreachable, match="no connection to n2 is wanted"):
            await peers.call(N2, Heartbeat(), 5.0)
        assert outcomes.kinds == [PeerUnreachable]
        await until(lambda: peers.connections == 0)
        assert peers.dials == 1
        await connect(peers, N2)


async def test_a_node_dropped_while_it_is_dialled_stays_dropped() -> None:
    async with swallowing() as address, peering({N2: address}) as peers:
        peers.keep([N2])
        peers.keep([])
        peers.keep([N2])
        await until(lambda: peers.connections == 1)
        peers.keep([])
        await until(lambda: peers.connections == 0)
        assert peers.dials == 1


async def test_the_view_of_connected_nodes_is_live() -> None:
    async with serving() as (_, wire), peering({N2: wire.address}) as peers:
        view = peers.connected
        assert N2 not in view
        await connect(peers, N2)
        assert N2 in view


async def test_a_hook_that_fails_does_not_cost_the_link(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Seen):
        def connected(self, node: NodeId) -> None:
            super().connected(node)
            raise RuntimeError("bug")

        def lost(self, node: NodeId) -> None:
            super().lost(node)
            raise RuntimeError("bug")

    seen = Failing()
    async with serving() as (_, wire), peering({N2: wire.address}, seen=seen) as peers:
        await connect(peers, N2)
        peers.reset(N2)
        await until(lambda: len(seen.events) == 3)
        assert await peers.call(N2, Heartbeat(), 5.0) == Done()
    assert "a hook failed" in caplog.text


async def test_a_link_that_failed_is_made_anew_on_need(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Seen):
        def outcome(self, node: NodeId, ok: bool) -> None:
            if not ok:
                raise RuntimeError("bug")

    addresses: dict[NodeId, Address] = {}
    async with serving() as (_, wire), peering(addresses, seen=Failing()) as peers:
        peers.keep([N2])
        await until(lambda: "a link failed" in caplog.text)
        addresses[N2] = wire.address
        assert await peers.call(N2, Heartbeat(), 5.0) == Done()


# -- closing --


async def test_close_ends_everything_and_later_calls_fail() -> None:
    held, outcomes = harness.Held(), Outcomes()
    async with (
        serving(held) as (_, wire),
        peering({N2: wire.address, N3: await refused_address()}) as peers,
    ):
        peers.keep([N2, N3])
        await until(lambda: peers.connected == {N2})
        peers.send(N2, Heartbeat(), 600.0, outcomes)
        await until(lambda: held.responds)
        await peers.close()
        assert outcomes.kinds == [PeerLost]
        assert peers.connections == 0
        assert peers.connected == set()
        with pytest.raises(PeerUnreachable, match="shutting down"):
            await peers.call(N2, Heartbeat(), 5.0)
        peers.keep([N2])
        await tick()
        assert [t for t in asyncio.all_tasks() if t.get_name().startswith("link")] == []


async def test_close_during_a_dial_leaves_nothing() -> None:
    class SlowWire(TcpWire):
        async def dial(self, address: Address, factory: ProtocolFactory) -> None:
            await super().dial(address, factory)
            await asyncio.Event().wait()

    async with serving() as (server, wire):
        async with peering({N2: wire.address}, wire=SlowWire()) as peers:
            peers.keep([N2])
            await until(lambda: server.connections == 1)
        await until(lambda: peers.connections == 0)
        await until(lambda: server.connections == 0)


async def test_a_server_that_is_slow_to_read_is_not_sent_without_bound() -> None:
    held = harness.Held()
    limits = PeersLimits(write_buffer_bytes_max=2**20)
    async with (
        serving(held, limits=ServerLimits(requests_in_flight_max=1)) as (_, wire),
        peering({N2: wire.address}, limits=limits) as peers,
    ):
        await connect(peers, N2)
        outcomes = Outcomes()
        put = ReplicaPut(b"k", bytes(2**18), "")
        for _ in range(200):
            peers.send(N2, put, 600.0, outcomes)
            await tick()
            if outcomes.all:
                break
        assert outcomes.kinds == [Overloaded]


async def test_more_replies_than_a_server_may_hold_arrive_all_the_same() -> None:
    def handle(_node: NodeId, _message: Request, _deadline_s: float, respond: Respond) -> None:
        respond(Held(bytes(2**17)))

    limits = ServerLimits(reply_buffer_bytes_max=2**20)
    async with serving(handle, limits=limits) as (_, wire), peering({N2: wire.address}) as peers:
        await connect(peers, N2)
        outcomes = Outcomes()
        for _ in range(300):
            peers.send(N2, Heartbeat(), 600.0, outcomes)
        await until(lambda: len(outcomes) == 300)
        assert set(outcomes.kinds) == {Held}


async def test_a_request_that_is_too_large_is_not_kept_in_memory_by_its_error() -> None:
    state = bytes(2 * 2**20)
    limits = PeersLimits(frame_bytes_max=2**20)
    gc.disable()  # nobody is to have to look for it
    try:
        async with serving() as (_, wire), peering({N2: wire.address}, limits=limits) as peers:
            await connect(peers, N2)
            holders = sys.getrefcount(state)
            with suppress(BadRequest):
                await peers.call(N2, ReplicaPut(b"k", state, ""), 10.0)
                raise AssertionError("it was sent")
            await tick()
            assert sys.getrefcount(state) == holders
    finally:
        gc.enable()
