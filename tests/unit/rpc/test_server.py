"""The answering half: handshakes, requests and their bounds, on sockets and in memory."""

import asyncio
import logging

import msgpack
import pytest

from dynamo.core.ids import Address, NodeId
from dynamo.errors import BadRequest, QuorumError
from dynamo.rpc.failures import FailureCode
from dynamo.rpc.frames import SENT_MS_MAX, Decoder, Encoder, frame, parse_reply
from dynamo.rpc.handshake import Identity, hello, refuse, welcome
from dynamo.rpc.messages import (
    Done,
    Failed,
    Heartbeat,
    Held,
    ReplicaGet,
    ReplicaPut,
    Reply,
    Request,
)
from dynamo.rpc.server import Handle, Respond, Server, ServerLimits
from dynamo.rpc.wire import Listener, ProtocolFactory
from tests.unit.rpc import harness
from tests.unit.rpc.harness import (
    N1,
    N2,
    N3,
    MemoryTransport,
    answer_done,
    identity,
    serving,
    tick,
    until,
)

MIB = 2**20
ENCODER = Encoder(MIB)


class MemoryWire:
    """Gives a server connections that live in memory."""

    factory: ProtocolFactory

    async def dial(self, address: Address, factory: ProtocolFactory) -> None:
        raise OSError("nobody is dialled from here")

    async def listen(self, address: Address, factory: ProtocolFactory) -> Listener:
        self.factory = factory
        return self

    def close(self) -> None:
        pass

    def strange(self, data: bytes) -> MemoryTransport:
        transport = MemoryTransport(self.factory())
        transport.feed(data)
        return transport

    def connect(self, me: Identity | None = None) -> MemoryTransport:
        return self.strange(hello(me or identity(N1), N2))


def request(
    call_id: int, message: Request | None = None, timeout_ms: int = 60_000, sent_ms: int = 0
) -> bytes:
    return ENCODER.request(call_id, message or Heartbeat(), timeout_ms, sent_ms)


def replies(transport: MemoryTransport) -> list[tuple[int, Reply]]:
    """What was answered after the handshake."""
    _, *bodies = Decoder(2 * MIB).feed(b"".join(transport.writes))
    return [parse_reply(body) for body in bodies]


class World:
    """A server and connections to it, all in memory."""

    def __init__(self, handle: Handle, limits: ServerLimits | None = None) -> None:
        self.wire = MemoryWire()
        self.server = Server(
            self.wire, identity(N2), handle, limits=limits or ServerLimits(frame_bytes_max=MIB)
        )
        self.connect = self.wire.connect

    async def __aenter__(self) -> "World":
        await self.server.start(Address("127.0.0.1", 0))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.close()


# -- handshake --


async def test_a_welcome_is_answered_and_requests_are_handled() -> None:
    held = harness.Held()
    async with World(held) as world:
        line = world.connect()
        await tick()
        assert line.writes == [welcome(identity(N2))]
        now_s = asyncio.get_running_loop().time()
        line.feed(request(1, ReplicaGet(b"k", "", False), timeout_ms=2000))
        [(node, message, deadline_s)] = held.requests
        assert (node, message) == (N1, ReplicaGet(b"k", "", False))
        assert deadline_s == pytest.approx(now_s + 2.0, abs=0.5)
        held.answer_all()
        await tick()
        assert replies(line) == [(1, Done())]
        assert world.server.requests_in == 1


async def test_a_stranger_gets_a_sentence_and_the_log_has_it_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with World(answer_done) as world:
        sentence = "n2 is of cluster 'books', n1 of 'films'"
        for _ in range(3):
            line = world.connect(identity(N1, cluster="films"))
            assert line.writes == [refuse(sentence)]
            assert line.is_closing()
        world.connect(identity(N3, cluster="films"))
        await tick()
        assert world.server.refused == 4
        assert world.server.connections == 0
        logged = [record.__dict__ for record in caplog.records]
        assert [(r["msg"], r["address"]) for r in logged] == [
            ("handshake refused", "10.0.0.1:4000")
        ] * 2
        assert logged[0]["reason"] == sentence
        assert logged[1]["reason"] == "n2 is of cluster 'books', n3 of 'films'"


async def test_a_refused_connection_is_not_heard_any_more() -> None:
    held = harness.Held()
    async with World(held) as world:
        line = world.wire.strange(hello(identity(N1), N3) + request(1))
        line.feed(request(2))
        assert held.requests == []


async def test_a_silent_connection_is_closed() -> None:
    limits = ServerLimits(handshake_timeout_s=0.02)
    async with serving(limits=limits) as (server, wire):
        reader, writer = await asyncio.open_connection(*wire.address)
        await until(lambda: server.connections == 1)
        async with asyncio.timeout(harness.PATIENCE_S):
            assert await reader.read() == b""
        await until(lambda: server.connections == 0)
        writer.close()
        await writer.wait_closed()


async def test_a_connection_that_greeted_may_be_silent() -> None:
    limits = ServerLimits(handshake_timeout_s=0.01)
    async with World(answer_done, limits) as world:
        line = world.connect()
        greeted_at = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() > greeted_at + 0.05)
        assert not line.is_closing()


async def test_a_first_frame_is_small() -> None:
    async with World(answer_done) as world:
        line = world.wire.strange((4097).to_bytes(4, "big"))
        assert line.is_closing()
        assert world.server.protocol_errors == 1


async def test_connections_are_bounded() -> None:
    async with World(answer_done, ServerLimits(connections_max=2)) as world:
        lines = [world.connect(identity(NodeId(f"c{number}"))) for number in range(3)]
        await tick()
        assert [line.is_closing() for line in lines] == [False, False, True]
        assert world.server.connections == 2


# -- requests --


async def test_replies_of_one_tick_leave_in_one_write() -> None:
    held = harness.Held()
    async with World(held) as world:
        line = world.connect()
        await tick()
        line.feed(request(1) + request(2) + request(3))
        await tick()
        held.answer_all()
        await tick()
        assert len(line.writes) == 2
        assert replies(line) == [(1, Done()), (2, Done()), (3, Done())]


async def test_what_a_handler_raises_is_answered_and_the_connection_lives(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def handle(_node: NodeId, message: Request, _deadline_s: float, respond: Respond) -> None:
        match message:
            case ReplicaPut():
                raise QuorumError("W", needed=2, got=1, definite=False)
            case ReplicaGet():
                raise BadRequest("no such thing")
            case Heartbeat():
                respond(Done())
                raise RuntimeError("after the answer")
            case _:
                raise RuntimeError("secret")

    async with World(handle) as world:
        line = world.connect()
        line.feed(request(1, ReplicaPut(b"", b"", "")) + request(2, ReplicaGet(b"", "", False)))
        line.feed(request(3, harness.UNHANDLED) + request(4))
        await tick()
        assert replies(line) == [
            (1, Failed(FailureCode.QUORUM, "W-value unsatisfied: 1/2", "W", 2, 1, False)),
            (2, Failed(FailureCode.BAD_REQUEST, "no such thing", "", 0, 0, True)),
            (3, Failed(FailureCode.OTHER, "n2 failed at a GossipOffer", "", 0, 0, False)),
            (4, Done()),
        ]
        assert not line.is_closing()
    # The store's own errors are answers; others are bugs, and need their traceback.
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert "RuntimeError: secret" in caplog.text


async def test_a_reply_that_cannot_be_sent_is_a_failure_at_the_caller() -> None:
    def handle(_node: NodeId, message: Request, _deadline_s: float, respond: Respond) -> None:
        too_large = isinstance(message, Heartbeat)
        respond(Held(bytes(2 * MIB)) if too_large else Failed(0, "\udc80", "", 0, 0, True))

    async with World(handle) as world:
        line = world.connect()
        line.feed(request(1) + request(2, ReplicaGet(b"", "", False)))
        await tick()
        [(_, first), (_, second)] = replies(line)
        assert isinstance(first, Failed)
        assert first.text.startswith("the reply of n2 cannot be sent: Held takes")
        assert isinstance(second, Failed)
        assert not first.definite
        assert not second.definite


async def test_a_reply_that_is_too_large_is_one_sentence_in_the_log_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def handle(_node: NodeId, _message: Request, _deadline_s: float, respond: Respond) -> None:
        respond(Held(bytes(2 * MIB)))

    async with World(handle) as world:
        line = world.connect()
        line.feed(request(1) + request(2) + request(3))
        await tick()
        assert len(replies(line)) == 3
    [record] = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.WARNING, "a reply cannot be sent")
    assert record.__dict__["reason"].startswith("Held takes")
    assert record.exc_info is None


async def test_a_second_answer_is_a_bug_and_is_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    def handle(_node: NodeId, _message: Request, _deadline_s: float, respond: Respond) -> None:
        respond(Done())
        respond(Held(b"again"))

    async with World(handle) as world:
        line = world.connect()
        line.feed(request(1))
        await tick()
        assert replies(line) == [(1, Done())]
    assert "a request was answered twice" in caplog.text


async def test_an_answer_after_the_connection_is_gone_is_harmless() -> None:
    held = harness.Held()
    async with World(held) as world:
        line = world.connect()
        await tick()
        line.feed(request(1) + request(2))
        line.close()
        held.responds.pop()(Done())
        await tick()
        held.answer_all()
        await tick()
        assert line.writes == [welcome(identity(N2))]


async def test_an_expired_request_is_dropped_without_work() -> None:
    held = harness.Held()
    async with World(held) as world:
        line = world.connect()
        line.feed(request(1, timeout_ms=0) + request(2))
        assert len(held.requests) == 1
        held.answer_all()
        await tick()
        assert replies(line) == [(2, Done())]
        assert world.server.requests_expired == 1


async def test_a_request_whose_turn_comes_too_late_is_dropped() -> None:
    held = harness.Held()
    async with World(held, ServerLimits(requests_in_flight_max=1)) as world:
        line = world.connect()
        line.feed(request(1) + request(2, timeout_ms=1) + request(3))
        came_at = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() > came_at + 0.01)
        held.answer_all()
        await until(lambda: held.responds)
        assert len(held.requests) == 2
        assert world.server.requests_expired == 1
        held.answer_all()
        await tick()
        assert [call_id for call_id, _ in replies(line)] == [1, 3]


async def test_a_request_that_was_held_up_on_its_way_is_dropped() -> None:
    held = harness.Held()
    async with World(held) as world:
        line = world.connect()
        greeted_at = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() > greeted_at + 0.02)
        # Both say that they left with the hello; that was 20 ms ago.
        line.feed(request(1, timeout_ms=10, sent_ms=0) + request(2, timeout_ms=60_000, sent_ms=0))
        [(_, _, deadline_s)] = held.requests
        assert deadline_s <= greeted_at + 60.0 + 0.01
        assert world.server.requests_expired == 1


async def test_a_clock_that_runs_ahead_does_not_prolong_a_request() -> None:
    held = harness.Held()
    async with World(held) as world:
        line = world.connect()
        line.feed(request(1, timeout_ms=1000, sent_ms=SENT_MS_MAX))
        [(_, _, deadline_s)] = held.requests
        assert deadline_s <= asyncio.get_running_loop().time() + 1.001


async def test_a_call_id_in_use_costs_the_connection() -> None:
    held = harness.Held()
    async with World(held) as world:
        line = world.connect()
        line.feed(request(1))
        held.answer_all()
        line.feed(request(1))
        assert not line.is_closing()
        line.feed(request(1))
        assert line.is_closing()
        assert world.server.protocol_errors == 1


async def test_a_reply_sent_to_the_server_costs_the_connection() -> None:
    async with World(answer_done) as world:
        line = world.connect()
        line.feed(ENCODER.reply(1, Done()))
        assert line.is_closing()


# -- bounds --


async def test_requests_in_flight_are_bounded_and_reading_goes_on_at_half() -> None:
    held = harness.Held()
    async with World(held, ServerLimits(requests_in_flight_max=4)) as world:
        line = world.connect()
        line.feed(b"".join(request(number) for number in range(1, 8)))
        assert len(held.requests) == 4
        assert not line.reading
        held.responds.pop(0)(Done())
        await tick()
        assert len(held.requests) == 4
        held.responds.pop(0)(Done())
        await tick()
        # Half were free; the backlog filled them again, so nothing new is read.
        assert len(held.requests) == 6
        assert not line.reading
        held.answer_all()
        await tick()
        assert len(held.requests) == 7
        assert line.reading
        held.answer_all()
        await tick()
        assert sorted(call_id for call_id, _ in replies(line)) == list(range(1, 8))


async def test_a_long_backlog_answered_at_once_is_worked_off() -> None:
    gate: list[Respond] = []

    def handle(_node: NodeId, message: Request, _deadline_s: float, respond: Respond) -> None:
        if isinstance(message, ReplicaPut):
            gate.append(respond)
        else:
            respond(Done())

    async with World(handle, ServerLimits(requests_in_flight_max=1)) as world:
        line = world.connect()
        line.feed(request(1, ReplicaPut(b"", b"", "")))
        line.feed(b"".join(request(number) for number in range(2, 3000)))
        assert not line.reading
        gate.pop()(Done())
        await tick()
        await tick()
        assert len(replies(line)) == 2999
        assert line.reading


async def test_a_peer_that_does_not_read_is_not_read() -> None:
    handled: list[Request] = []

    def handle(_node: NodeId, message: Request, _deadline_s: float, respond: Respond) -> None:
        handled.append(message)
        respond(Done())

    async with World(handle) as world:
        line = world.connect()
        line.protocol.pause_writing()
        assert not line.reading
        line.feed(request(1) + request(2))
        assert handled == []
        line.protocol.resume_writing()
        await tick()
        await tick()
        assert len(handled) == 2
        assert line.reading


async def test_replies_of_one_turn_are_bounded_and_the_rest_is_answered_in_later_ones() -> None:
    handled: list[Request] = []

    def handle(_node: NodeId, message: Request, _deadline_s: float, respond: Respond) -> None:
        handled.append(message)
        respond(Held(bytes(1000)))

    limits = ServerLimits(frame_bytes_max=MIB, reply_buffer_bytes_max=10_000)
    async with World(handle, limits) as world:
        line = world.connect()
        await tick()
        line.feed(b"".join(request(number) for number in range(1, 101)))
        assert len(handled) == 10
        assert not line.reading
        await until(lambda: len(replies(line)) == 100)
        assert max(map(len, line.writes)) < 11_000
        await until(lambda: line.reading)
        assert [call_id for call_id, _ in replies(line)] == list(range(1, 101))


async def test_what_waits_to_be_read_leaves_less_room_for_replies() -> None:
    handled: list[Request] = []

    def handle(_node: NodeId, message: Request, _deadline_s: float, respond: Respond) -> None:
        handled.append(message)
        respond(Held(bytes(1000)))

    limits = ServerLimits(frame_bytes_max=MIB, reply_buffer_bytes_max=10_000)
    async with World(handle, limits) as world:
        line = world.connect()
        line.unread_bytes = 8_000
        await tick()
        line.feed(b"".join(request(number) for number in range(1, 11)))
        assert len(handled) == 2
        line.unread_bytes = 10_000
        await until(lambda: len(replies(line)) == 10)
        await until(lambda: line.reading)


async def test_bad_bytes_in_a_backlog_cost_the_connection() -> None:
    held = harness.Held()
    async with World(held, ServerLimits(requests_in_flight_max=1)) as world:
        line = world.connect()
        line.feed(request(1) + frame(b"\xc1") + request(2))
        assert not line.is_closing()
        held.answer_all()
        await tick()
        assert line.is_closing()
        assert len(held.requests) == 1


# -- one connection for a node --


async def test_a_new_connection_takes_over_with_its_first_request() -> None:
    async with World(answer_done) as world:
        old = world.connect()
        old.feed(request(1))
        late_hello = world.connect()
        new = world.connect()
        other = world.connect(identity(N3))
        other.feed(request(1))
        assert not old.is_closing()
        new.feed(request(1))
        assert old.is_closing()
        await tick()
        assert not any(line.is_closing() for line in (late_hello, new, other))
        new.feed(request(2))
        await tick()
        assert [call_id for call_id, _ in replies(new)] == [1, 2]


async def test_a_connection_that_comes_while_closing_is_closed() -> None:
    async with World(answer_done) as world:
        await world.server.close()
        assert world.connect().is_closing()
        await tick()
        assert world.server.connections == 0


async def test_close_sends_what_was_answered_and_leaves_nothing() -> None:
    held = harness.Held()
    async with serving(held) as (server, wire):
        reader, writer = await asyncio.open_connection(*wire.address)
        writer.write(hello(identity(N1), N2))
        await reader.readexactly(len(welcome(identity(N2))))
        writer.write(request(1))
        await until(lambda: held.responds)
        held.answer_all()
        await server.close()
        assert await reader.read() == ENCODER.reply(1, Done())
        assert server.connections == 0
        writer.close()
        await writer.wait_closed()


def test_hello_of_this_version_is_a_list_with_the_version_first() -> None:
    assert msgpack.unpackb(hello(identity(N1), N2)[4:])[0] == 3
