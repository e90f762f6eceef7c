"""The dialling end of a connection: calls out, replies in, matched by id.

A call costs no future, no task and no timer: it is an entry in a dict until its reply comes, the
connection ends, or one timer for all of them finds that its time is up.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

from dynamo.core.ids import NodeId
from dynamo.errors import (
    BadRequest,
    HandshakeRefused,
    Overloaded,
    PeerError,
    PeerLost,
    PeerUnreachable,
    ProtocolError,
    RequestError,
)
from dynamo.rpc.connection import Connection, Connections
from dynamo.rpc.frames import FRAME_BYTES_MAX, Body, Encoder, parse_reply
from dynamo.rpc.handshake import HANDSHAKE_S_MAX, Identity, check_answer, hello
from dynamo.rpc.messages import Reply, Request

log = logging.getLogger(__name__)

OnReply = Callable[[NodeId, Reply | PeerError | RequestError], None]
"""Called once with the peer and what came of a call: its reply (`Failed` included); that it was
lost, or never sent; or that a bound here (`Overloaded`) or its size (`BadRequest`) forbade it."""

SWEEP_PAUSE_S = 0.02
"""Calls are given up at most this long after their deadlines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeersLimits:
    """Bounds of the calling half.

    Attributes:
        calls_in_flight_max: unanswered calls on one connection.
        write_buffer_bytes_max: bytes that wait for a peer to read them; one frame may exceed it.
        frame_bytes_max: largest frame in either direction.
        dial_timeout_s: for connecting and the handshake together; at most `HANDSHAKE_S_MAX`. A
            proxy may connect and then say nothing.
    """

    calls_in_flight_max: int = 8192
    write_buffer_bytes_max: int = 64 * 2**20
    frame_bytes_max: int = FRAME_BYTES_MAX
    dial_timeout_s: float = HANDSHAKE_S_MAX


class CallerOwner(Connections):
    """What callers of one node have in common: its counts, and whom it tells what it sees.

    Attributes:
        requests_out: calls sent.
        replies_late: replies to calls that had been given up.
    """

    def __init__(
        self, identity: Identity, limits: PeersLimits, on_outcome: Callable[[NodeId, bool], None]
    ) -> None:
        super().__init__()
        self.identity = identity
        self.limits = limits
        self.on_outcome = on_outcome
        self.encoder = Encoder(limits.frame_bytes_max)
        self.requests_out = 0
        self.replies_late = 0

    def lost(self, caller: "Caller") -> None:
        """The connection of `caller` is gone; its calls will be told next."""
        raise NotImplementedError


class Caller(Connection):
    """A connection this node dialled.

    Attributes:
        node: who was dialled.
        welcomed: done when the handshake is: None if we are in, otherwise why we are not.
        announced: others were told that this connection is up.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, owner: CallerOwner, node: NodeId) -> None:
        super().__init__(loop, owner, owner.limits.frame_bytes_max)
        self._caller_owner = owner
        self._encoder = owner.encoder
        self._calls_max = owner.limits.calls_in_flight_max
        self.node = node
        self.announced = False
        self.welcomed: asyncio.Future[PeerError | None] = loop.create_future()
        # Call id -> what to call, and until when. Ids up to _written_id were handed to the wire.
        self._calls: dict[int, tuple[OnReply, float]] = {}
        self._last_id = 0
        self._written_id = 0
        self._sweep_at_s = math.inf
        self._sweep: asyncio.TimerHandle | None = None
        self._outbox_bytes = 0
        self._room_bytes = owner.limits.write_buffer_bytes_max
        self._hello_s = 0.0

    # -- handshake --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._hello_s = self._loop.time()
        self.write(hello(self._caller_owner.identity, self.node))
        self.flush()

    def greet(self, body: Body) -> None:
        try:
            check_answer(body, self.node)
        except HandshakeRefused as error:
            self._settle(error)
            self.abort()
            return
        took_s = self._loop.time() - self._hello_s
        if took_s <= HANDSHAKE_S_MAX:
            self._settle(None)
            return
        # This process stood still, or its timer for the dial would have ended it.
        self._settle(PeerUnreachable(f"{self.node} at {self.address} greeted after {took_s:.3g} s"))
        self.abort()

    def broken(self, error: ProtocolError) -> None:
        self._settle(PeerUnreachable(f"{self.node} at {self.address} broke the protocol: {error}"))
        super().broken(error)

    def _settle(self, outcome: PeerError | None) -> None:
        if not self.welcomed.done():
            self.welcomed.set_result(outcome)

    # -- calls --

    def send(self, request: Request, timeout_s: float, on_reply: OnReply) -> None:
        """Call the peer; `on_reply` is called once, later, whatever happens."""
        if (
            self._ended
            or timeout_s <= 0
            or len(self._calls) >= self._calls_max
            or (self._outbox_bytes >= self._room_bytes and self._is_full())
        ):
            self._loop.call_soon(self._deliver, on_reply, self._obstacle(timeout_s))
            return
        call_id = self._last_id + 1
        now_s = self._loop.time()
        sent_ms = int((now_s - self._hello_s) * 1000)
        try:
            frame = self._encoder.request(call_id, request, int(timeout_s * 1000) or 1, sent_ms)
        except BadRequest as error:
            # Its traceback holds what was too large, for as long as anybody keeps the error.
            self._loop.call_soon(self._deliver, on_reply, error.with_traceback(None))
            return
        self._last_id = call_id
        self._caller_owner.requests_out += 1
        deadline_s = now_s + timeout_s
        self._calls[call_id] = (on_reply, deadline_s)
        self.write(frame)
        self._outbox_bytes += len(frame)
        if deadline_s < self._sweep_at_s:
            self._sweep_by(deadline_s)

    def flush(self) -> None:
        super().flush()
        if not self._outbox:
            self._written_id = self._last_id
            self._outbox_bytes = 0
            self._measure()

    def _is_full(self) -> bool:
        """Whether too much waits for the peer to read it, looked up anew."""
        self._measure()
        return self._outbox_bytes >= self._room_bytes

    def _measure(self) -> None:
        if self._transport is not None:
            waiting_bytes = self._transport.get_write_buffer_size()
            self._room_bytes = self._caller_owner.limits.write_buffer_bytes_max - waiting_bytes

    def _obstacle(self, timeout_s: float) -> PeerError | RequestError:
        if self._ended:
            return PeerUnreachable(f"the connection to {self.node} has ended")
        if timeout_s <= 0:
            return PeerUnreachable(f"no time was left to ask {self.node}")
        return Overloaded(
            f"{len(self._calls)} calls to {self.node} are unanswered,"
            f" {self._outbox_bytes + self._transport_bytes()} bytes unread"
        )

    def _transport_bytes(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def take(self, bodies: list[Body]) -> None:
        now_s = self._loop.time()
        for body in bodies:
            call_id, reply = parse_reply(body)
            call = self._calls.pop(call_id, None)
            if call is not None:
                # An old answer to a process that stood still is no answer: it may have read the
                # value that has been deleted and forgotten since.
                on_reply, until_s = call
                self._deliver(on_reply, reply if now_s < until_s else self._too_late())
            elif 0 < call_id <= self._written_id:
                self._caller_owner.replies_late += 1
            else:
                raise ProtocolError(f"a reply to call {call_id}, which was never made")
        self._caller_owner.on_outcome(self.node, True)

    def _deliver(self, on_reply: OnReply, outcome: Reply | PeerError | RequestError) -> None:
        try:
            on_reply(self.node, outcome)
        except Exception:
            # The other calls of this connection have nothing to do with it.
            log.exception("a reply could not be handled", extra={"peer": self.node})

    # -- the end of calls --

    def _sweep_by(self, deadline_s: float) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        self._sweep_at_s = max(deadline_s, self._loop.time() + SWEEP_PAUSE_S)
        self._sweep = self._loop.call_at(self._sweep_at_s, self._give_up_expired)

    def _give_up_expired(self) -> None:
        self._sweep = None
        self._sweep_at_s = math.inf
        now_s = self._loop.time()
        expired = [call_id for call_id, (_, until_s) in self._calls.items() if until_s <= now_s]
        given_up = [self._calls.pop(call_id)[0] for call_id in expired]
        if self._calls:
            self._sweep_by(min(until_s for _, until_s in self._calls.values()))
        if given_up:
            self._caller_owner.on_outcome(self.node, False)
        for on_reply in given_up:
            self._deliver(on_reply, PeerLost(f"{self.node} did not answer in time"))

    def _too_late(self) -> PeerLost:
        self._caller_owner.replies_late += 1
        return PeerLost(f"{self.node} did not answer in time")

    def over(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        self._settle(PeerUnreachable(f"{self.node} at {self.address} hung up in the handshake"))
        self._caller_owner.lost(self)
        calls, self._calls = self._calls, {}
        if calls:
            self._caller_owner.on_outcome(self.node, False)
        for call_id, (on_reply, _) in calls.items():
            self._deliver(on_reply, self._loss(call_id))

    def _loss(self, call_id: int) -> PeerError:
        if call_id > self._written_id:
            return PeerUnreachable(f"the connection to {self.node} ended before the call was sent")
        return PeerLost(f"the connection to {self.node} ended before it answered")
