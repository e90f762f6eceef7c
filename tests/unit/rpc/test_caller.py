"""One dialled connection over a transport in memory."""

import asyncio
import math
from collections.abc import Callable

import pytest

from dynamo.core.ids import NodeId
from dynamo.errors import BadRequest, HandshakeRefused, Overloaded, PeerLost, PeerUnreachable
from dynamo.rpc.caller import Caller, CallerOwner, PeersLimits
from dynamo.rpc.frames import Decoder, Encoder, frame, parse_request
from dynamo.rpc.handshake import HANDSHAKE_S_MAX, hello, refuse, welcome
from dynamo.rpc.messages import Done, Failed, Heartbeat, Held, ReplicaPut
from tests.unit.rpc.harness import (
    N1,
    N2,
    MemoryTransport,
    Outcomes,
    Seen,
    identity,
    tick,
    until,
)

MIB = 2**20
ENCODER = Encoder(MIB)


class Owner(CallerOwner):
    def __init__(self, limits: PeersLimits) -> None:
        self.seen = Seen()
        super().__init__(identity(N1), limits, self.seen.outcome)

    def lost(self, caller: Caller) -> None:
        self.seen.lost(caller.node)


Line = tuple[Caller, MemoryTransport, Owner]


def dialled(limits: PeersLimits | None = None) -> Line:
    owner = Owner(limits or PeersLimits())
    caller = Caller(asyncio.get_running_loop(), owner, N2)
    return caller, MemoryTransport(caller), owner


def connected(limits: PeersLimits | None = None) -> Line:
    caller, transport, owner = dialled(limits)
    caller.data_received(welcome(identity(N2)))
    transport.writes.clear()
    return caller, transport, owner


def sent(transport: MemoryTransport) -> list[int]:
    """Ids of the calls that were written."""
    return [parse_request(body)[0] for body in Decoder(MIB).feed(b"".join(transport.writes))]


def reply(call_id: int) -> bytes:
    return ENCODER.reply(call_id, Done())


async def test_the_hello_leaves_at_once_and_the_welcome_is_waited_for() -> None:
    caller, transport, _ = dialled()
    assert transport.writes == [hello(identity(N1), N2)]
    assert not caller.welcomed.done()
    caller.data_received(welcome(identity(N2)))
    assert caller.welcomed.result() is None
    caller.abort()


async def test_a_refusal_is_told_and_ends_the_connection() -> None:
    caller, transport, _ = dialled()
    caller.data_received(refuse("n2 is of cluster 'books', n1 of 'films'"))
    error = caller.welcomed.result()
    assert isinstance(error, HandshakeRefused)
    assert str(error) == "n2 is of cluster 'books', n1 of 'films'"
    assert transport.is_closing()


async def test_nothing_after_a_refusal_is_read() -> None:
    caller, _, owner = dialled()
    caller.data_received(refuse("no") + frame(b"\x05"))
    assert str(caller.welcomed.result()) == "no"
    assert owner.protocol_errors == 0


async def test_a_connection_given_up_before_it_is_made_ends_when_it_is() -> None:
    caller = Caller(asyncio.get_running_loop(), Owner(PeersLimits()), N2)
    caller.abort()
    transport = MemoryTransport(caller)
    assert transport.is_closing()
    assert transport.writes == []
    await caller.lost


@pytest.mark.parametrize("answer", [frame(b"\x05"), b"HTTP/1.1 400 Bad Request\r\n", bytes(8)])
async def test_nonsense_instead_of_a_welcome_ends_the_connection(answer: bytes) -> None:
    caller, transport, owner = dialled()
    caller.data_received(answer)
    error = caller.welcomed.result()
    assert isinstance(error, PeerUnreachable)
    assert str(error).startswith("n2 at 10.0.0.1:4000 broke the protocol: ")
    assert transport.is_closing()
    assert owner.protocol_errors == 1


async def test_hanging_up_in_the_handshake_is_told() -> None:
    caller, transport, _ = dialled()
    caller.eof_received()
    await tick()
    assert str(caller.welcomed.result()) == "n2 at 10.0.0.1:4000 hung up in the handshake"
    assert transport.is_closing()


async def test_a_welcome_that_comes_too_late_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    caller, transport, _ = dialled()
    loop = asyncio.get_running_loop()
    later_s = loop.time() + HANDSHAKE_S_MAX + 0.1
    with monkeypatch.context() as patch:
        patch.setattr(loop, "time", lambda: later_s)
        caller.data_received(welcome(identity(N2)))
    error = caller.welcomed.result()
    assert isinstance(error, PeerUnreachable)
    assert "greeted after 1.1 s" in str(error)
    assert transport.is_closing()


async def test_a_request_says_how_long_after_the_hello_it_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caller, transport, _ = connected()
    loop = asyncio.get_running_loop()
    later_s = loop.time() + 5.0
    with monkeypatch.context() as patch:
        patch.setattr(loop, "time", lambda: later_s)
        caller.send(Heartbeat(), 5.0, Outcomes())
    await tick()
    [body] = Decoder(MIB).feed(b"".join(transport.writes))
    _, timeout_ms, sent_ms, _ = parse_request(body)
    assert timeout_ms == 5000
    assert sent_ms == pytest.approx(5000, abs=1000)
    caller.abort()


async def test_a_reply_read_after_the_deadline_is_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caller, _, owner = connected()
    outcomes = Outcomes()
    caller.send(Heartbeat(), 5.0, outcomes)
    await tick()
    loop = asyncio.get_running_loop()
    later_s = loop.time() + 6.0
    with monkeypatch.context() as patch:
        # The process stood still: neither the timer nor the reply was seen in time.
        patch.setattr(loop, "time", lambda: later_s)
        caller.data_received(reply(1))
    assert outcomes.kinds == [PeerLost]
    assert owner.replies_late == 1
    caller.abort()


async def test_calls_of_one_tick_leave_in_one_write() -> None:
    caller, transport, owner = connected()
    outcomes = Outcomes()
    for _ in range(5):
        caller.send(Heartbeat(), 5.0, outcomes)
    assert transport.writes == []
    await tick()
    assert len(transport.writes) == 1
    assert sent(transport) == [1, 2, 3, 4, 5]
    caller.send(Heartbeat(), 5.0, outcomes)
    await tick()
    assert len(transport.writes) == 2
    assert owner.requests_out == 6
    assert owner.bytes_out == sum(map(len, transport.writes)) + len(hello(identity(N1), N2))
    caller.abort()


async def test_replies_find_their_calls_in_any_order() -> None:
    caller, _, owner = connected()
    got: list[tuple[int, object]] = []

    def note(number: int) -> Callable[[NodeId, object], None]:
        return lambda _node, outcome: got.append((number, outcome))

    for number in (1, 2, 3):
        caller.send(Heartbeat(), 5.0, note(number))
    await tick()
    failed = Failed(0, "no", "", 0, 0, False)
    caller.data_received(ENCODER.reply(3, Held(b"x")) + ENCODER.reply(1, failed))
    caller.data_received(reply(2))
    assert got == [(3, Held(b"x")), (1, failed), (2, Done())]
    # Heard once for all that came together.
    assert owner.seen.events == [("ok", N2), ("ok", N2)]
    caller.abort()


async def test_a_callback_that_fails_does_not_cost_the_other_calls(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caller, _, _ = connected()
    outcomes = Outcomes()

    def broken(_node: NodeId, _outcome: object) -> None:
        raise RuntimeError("bug")

    caller.send(Heartbeat(), 5.0, broken)
    caller.send(Heartbeat(), 5.0, outcomes)
    await tick()
    caller.data_received(reply(1) + reply(2))
    assert outcomes.all == [Done()]
    assert "a reply could not be handled" in caplog.text
    caller.abort()


async def test_an_expired_call_is_lost_and_its_late_reply_is_dropped() -> None:
    caller, _, owner = connected()
    short, long = Outcomes(), Outcomes()
    caller.send(Heartbeat(), 30.0, long)
    caller.send(Heartbeat(), 0.01, short)
    await until(lambda: short.all)
    assert short.kinds == [PeerLost]
    assert str(short.all[0]) == "n2 did not answer in time"
    assert owner.seen.events == [("bad", N2)]
    caller.data_received(reply(2) + reply(1))
    assert len(short) == 1
    assert long.all == [Done()]
    assert owner.replies_late == 1
    caller.abort()


async def test_calls_expire_by_their_own_deadlines_whatever_their_order() -> None:
    caller, _, _ = connected()
    order: list[float] = []

    def note(timeout_s: float) -> Callable[[NodeId, object], None]:
        return lambda _node, _outcome: order.append(timeout_s)

    for timeout_s in (0.15, 0.01, 0.08):
        caller.send(Heartbeat(), timeout_s, note(timeout_s))
    await until(lambda: len(order) == 3)
    assert order == [0.01, 0.08, 0.15]
    caller.abort()


async def test_one_timer_serves_all_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    caller, _, _ = connected()
    loop = asyncio.get_running_loop()
    armed: list[float] = []
    call_at = loop.call_at

    def counted(when: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        armed.append(when)
        return call_at(when, callback)

    outcomes = Outcomes()
    with monkeypatch.context() as patch:
        patch.setattr(loop, "call_at", counted)
        for _ in range(100):
            caller.send(Heartbeat(), 0.05, outcomes)
    assert len(armed) == 1
    await until(lambda: len(outcomes) == 100)
    caller.abort()


async def test_calls_that_were_written_are_lost_and_others_unreachable_when_it_ends() -> None:
    caller, transport, owner = connected()
    written, kept = Outcomes(), Outcomes()
    caller.send(Heartbeat(), 5.0, written)
    await tick()
    caller.send(Heartbeat(), 5.0, kept)
    caller.eof_received()
    await tick()
    assert len(transport.writes) == 1
    assert written.kinds == [PeerLost]
    assert kept.kinds == [PeerUnreachable]
    # Whoever decides what to do next hears first that the peer is gone.
    assert owner.seen.events == [("lost", N2), ("bad", N2)]


async def test_nothing_is_called_inside_send() -> None:
    caller, _, _ = connected(PeersLimits(calls_in_flight_max=1, frame_bytes_max=1000))
    outcomes = Outcomes()
    caller.send(Heartbeat(), 0.0, outcomes)
    caller.send(ReplicaPut(b"k", bytes(70_000), ""), 5.0, outcomes)
    caller.send(Heartbeat(), 5.0, Outcomes())
    caller.send(Heartbeat(), 5.0, outcomes)
    caller.abort()
    caller.send(Heartbeat(), 5.0, outcomes)
    assert outcomes.all == []
    await tick()
    assert outcomes.kinds == [PeerUnreachable, BadRequest, Overloaded, PeerUnreachable]
    assert all(error.definite for error in outcomes.all)  # type: ignore[union-attr]


async def test_calls_in_flight_are_bounded() -> None:
    caller, transport, _ = connected(PeersLimits(calls_in_flight_max=2))
    outcomes = Outcomes()
    for _ in range(3):
        caller.send(Heartbeat(), 5.0, outcomes)
    await tick()
    assert sent(transport) == [1, 2]
    assert str(outcomes.all[0]).startswith("2 calls to n2 are unanswered")
    caller.data_received(reply(1))
    caller.send(Heartbeat(), 5.0, outcomes)
    await tick()
    assert sent(transport) == [1, 2, 3]
    caller.abort()


async def test_what_a_peer_does_not_read_is_bounded() -> None:
    caller, transport, _ = connected(PeersLimits(write_buffer_bytes_max=1000))
    outcomes = Outcomes()
    put = ReplicaPut(b"k", bytes(600), "")
    for _ in range(3):
        caller.send(put, 5.0, outcomes)
    await tick()
    assert sent(transport) == [1, 2]
    assert outcomes.kinds == [Overloaded]
    transport.unread_bytes = 1200
    caller.send(put, 5.0, outcomes)
    await tick()
    caller.send(put, 5.0, outcomes)
    await tick()
    # The first of these found the room of the flush before; then the transport was asked.
    assert outcomes.kinds == [Overloaded, Overloaded]
    transport.unread_bytes = 0
    caller.send(put, 5.0, outcomes)
    await tick()
    assert sent(transport) == [1, 2, 3, 4]
    caller.abort()


async def test_one_frame_may_be_larger_than_the_bound_of_what_waits() -> None:
    caller, transport, _ = connected(PeersLimits(write_buffer_bytes_max=1000))
    caller.send(ReplicaPut(b"k", bytes(5000), ""), 5.0, Outcomes())
    await tick()
    assert sent(transport) == [1]
    caller.abort()


@pytest.mark.parametrize("call_id", [0, -1, 2, 2**63])
async def test_a_reply_to_a_call_never_made_costs_the_connection(call_id: int) -> None:
    caller, transport, owner = connected()
    outcomes = Outcomes()
    caller.send(Heartbeat(), 5.0, outcomes)
    await tick()
    caller.data_received(reply(call_id))
    assert transport.is_closing()
    assert owner.protocol_errors == 1
    await tick()
    assert outcomes.kinds == [PeerLost]


async def test_replies_before_bad_bytes_count_and_later_ones_do_not() -> None:
    caller, transport, _ = connected()
    outcomes = Outcomes()
    for _ in range(3):
        caller.send(Heartbeat(), 5.0, outcomes)
    await tick()
    caller.data_received(reply(1) + frame(b"\xc1") + reply(2))
    caller.data_received(reply(3))
    await tick()
    assert outcomes.kinds == [Done, PeerLost, PeerLost]
    assert transport.is_closing()


async def test_a_callback_may_send_and_may_end_the_connection() -> None:
    caller, transport, _ = connected()
    outcomes = Outcomes()

    def again(_node: NodeId, _outcome: object) -> None:
        caller.send(Heartbeat(), 5.0, outcomes)
        caller.abort()
        caller.send(Heartbeat(), 5.0, outcomes)

    caller.send(Heartbeat(), 5.0, again)
    await tick()
    caller.data_received(reply(1))
    await tick()
    assert outcomes.kinds == [PeerUnreachable, PeerUnreachable]
    assert sent(transport) == [1]


async def test_no_timer_is_left_behind() -> None:
    caller, _, _ = connected()
    caller.send(Heartbeat(), 1000.0, Outcomes())
    handle = caller._sweep
    assert handle is not None
    caller.abort()
    await tick()
    assert handle.cancelled()
    idle, _, _ = connected()
    assert idle._sweep_at_s == math.inf
    idle.abort()
