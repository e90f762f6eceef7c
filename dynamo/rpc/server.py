"""The answering half of a node's RPC: connections that peers dialled, requests in, replies out.

It never sends a request. Its handler is called in the loop and answers at once or later (a write
answers when it is durable), each request by itself: replies leave in the order they are made.
Whatever a peer sends costs at most its connection.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from dynamo.core.ids import Address, NodeId
from dynamo.errors import BadRequest, DynamoError, ProtocolError, RequestError
from dynamo.rpc.connection import Connection, Connections
from dynamo.rpc.failures import to_failed
from dynamo.rpc.frames import FRAME_BYTES_MAX, Body, Encoder, parse_request
from dynamo.rpc.handshake import Identity, judge, refuse, welcome
from dynamo.rpc.messages import Reply, Request
from dynamo.rpc.transit import Transit
from dynamo.rpc.wire import Listener, Wire

log = logging.getLogger(__name__)

Respond = Callable[[Reply], None]
"""To be called once, now or later; harmless when the connection has gone meanwhile."""

Handle = Callable[[NodeId, Request, float, Respond], None]
"""Who asks, what, until when (loop time), and how to answer. What it raises is answered for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """Bounds of the answering half.

    Attributes:
        requests_in_flight_max: unanswered requests of one connection; it is not read meanwhile.
        reply_buffer_bytes_max: bytes that wait for a peer to read them; no more of its requests
            are read or handled meanwhile.
        frame_bytes_max: largest frame in either direction.
        handshake_timeout_s: for a new connection to say who it is. It bounds what strangers cost;
            how old a hello may be is the dialler's to bound (`HANDSHAKE_S_MAX`).
        connections_max: more are closed at once.
    """

    requests_in_flight_max: int = 1024
    reply_buffer_bytes_max: int = 64 * 2**20
    frame_bytes_max: int = FRAME_BYTES_MAX
    handshake_timeout_s: float = 5.0
    connections_max: int = 4096


DEFAULT_LIMITS = ServerLimits()


class Server(Connections):
    """Listens for peers and has their requests handled.

    Attributes:
        requests_in: requests handed to the handler.
        requests_expired: requests whose time was up before their turn came, be it that they waited
            here or were held up on their way; nobody waits for an answer, so there is none.
        refused: diallers that were told to go away.
    """

    def __init__(
        self,
        wire: Wire,
        identity: Identity,
        handle: Handle,
        *,
        limits: ServerLimits = DEFAULT_LIMITS,
    ) -> None:
        super().__init__()
        self.identity = identity
        self.handle = handle
        self.limits = limits
        self.encoder = Encoder(limits.frame_bytes_max)
        self.requests_in = 0
        self.requests_expired = 0
        self.refused = 0
        self._wire = wire
        self._listener: Listener | None = None
        self._speaking: dict[NodeId, _Answerer] = {}

    async def start(self, address: Address) -> None:
        """Listen.

        Raises:
            OSError: the address is taken or not ours.
        """
        loop = asyncio.get_running_loop()
        self._listener = await self._wire.listen(address, lambda: _Answerer(loop, self))

    async def close(self) -> None:
        """Stop listening, end all connections and wait until they are gone."""
        self.closed = True
        if self._listener is not None:
            self._listener.close()
        await self.close_connections()

    def speaks(self, node: NodeId, connection: "_Answerer") -> None:
        """`connection` carried its first request: an older one of the same node is forgotten.

        A dialler has one connection to a peer. One that it gave up behind a cut may look alive from
        here for ever; but a late hello on it must not end the one in use, so the hello does not
        count, the first request does.
        """
        older = self._speaking.get(node)
        self._speaking[node] = connection
        if older is not None:
            older.abort()

    def silent(self, node: NodeId, connection: "_Answerer") -> None:
        """`connection` is gone."""
        if self._speaking.get(node) is connection:
            del self._speaking[node]


class _Answerer(Connection):
    """One connection that a peer dialled."""

    def __init__(self, loop: asyncio.AbstractEventLoop, server: Server) -> None:
        super().__init__(loop, server, server.limits.frame_bytes_max)
        self._server = server
        self._in_flight_max = server.limits.requests_in_flight_max
        # For replies before the next flush; the last may be larger than what is left of it.
        self._room_bytes = server.limits.reply_buffer_bytes_max
        self._node: NodeId | None = None
        self._transit = Transit(0.0)
        self._handshake: asyncio.TimerHandle | None = None
        self._spoke = False
        # Requests not yet handled and when they came; at most those of one read.
        self._backlog: deque[tuple[float, Body]] = deque()
        self._in_flight: set[int] = set()
        self._paused = False
        self._unread = False
        self._resuming = False

    # -- handshake --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        limits = self._server.limits
        if self._server.connections > limits.connections_max:
            self.abort()
        if self._transport is not None and not self._ended:
            self._transport.set_write_buffer_limits(high=limits.reply_buffer_bytes_max)
            self._handshake = self._loop.call_later(limits.handshake_timeout_s, self.abort)

    def greet(self, body: Body) -> None:
        identity = self._server.identity
        node, refusal, incompatible = judge(identity, body)
        if self._handshake is not None:
            self._handshake.cancel()
        if not refusal:
            self._node = node
            self._transit = Transit(self._loop.time())
            self.write(welcome(identity))
            return
        self._server.refused += 1
        self._server.complaints.log(
            "handshake refused",
            peer=f"{node} {self.address.rpartition(':')[0]}",
            address=self.address,
            reason=refusal,
            now_s=self._loop.time(),
        )
        self.write(refuse(refusal, incompatible=incompatible))
        self.close()

    # -- requests --

    def take(self, bodies: list[Body]) -> None:
        now_s = self._loop.time()
        self._backlog.extend([(now_s, body) for body in bodies])
        self._work()
        self._steer()

    def _work(self) -> None:
        """Handle what came, as far as the bounds allow."""
        backlog, in_flight, most = self._backlog, self._in_flight, self._in_flight_max
        try:
            while (
                backlog
                and len(in_flight) < most
                and self._room_bytes > 0
                and not self._unread
                and not self._ended
            ):
                self._handle(*backlog.popleft())
        except ProtocolError as error:
            self.broken(error)

    def _is_full(self) -> bool:
        return len(self._in_flight) >= self._in_flight_max or self._is_unread()

    def _is_unread(self) -> bool:
        return self._unread or self._room_bytes <= 0

    def _handle(self, came_s: float, body: Body) -> None:
        call_id, timeout_ms, sent_ms, request = parse_request(body)
        if call_id in self._in_flight:
            raise ProtocolError(f"call id {call_id} is in use")
        deadline_s = self._transit.sent_s(came_s, sent_ms) + timeout_ms / 1000
        if deadline_s <= self._loop.time():
            self._server.requests_expired += 1
            return
        node = self._node
        assert node is not None
        if not self._spoke:
            self._spoke = True
            self._server.speaks(node, self)
        self._in_flight.add(call_id)
        self._server.requests_in += 1
        try:
            self._server.handle(node, request, deadline_s, partial(self._respond, call_id))
        except Exception as error:
            self._fail(call_id, request, error)

    def _respond(self, call_id: int, reply: Reply) -> None:
        if call_id not in self._in_flight:
            assert self._ended, "a request was answered twice"
            return
        self._in_flight.discard(call_id)
        try:
            frame = self._server.encoder.reply(call_id, reply)
        except Exception as error:
            frame = self._unsent(call_id, error)
        self._room_bytes -= len(frame)
        self.write(frame)
        if self._paused:
            self._steer()

    def _unsent(self, call_id: int, error: Exception) -> bytes:
        """The frame that takes the place of one that cannot be made."""
        if isinstance(error, BadRequest):  # too large, by its own words
            self._server.complaints.log(
                "a reply cannot be sent",
                peer=str(self._node),
                address=self.address,
                reason=str(error),
                now_s=self._loop.time(),
            )
        else:
            log.error("a reply cannot be sent", extra={"peer": self._node}, exc_info=error)
        text = f"the reply of {self._server.identity.node_id} cannot be sent: {error}"
        return self._server.encoder.reply(call_id, to_failed(RequestError(text)))

    def _fail(self, call_id: int, request: Request, error: Exception) -> None:
        if not isinstance(error, DynamoError):
            kind = type(request).__name__
            log.error(
                "a request could not be handled",
                extra={"peer": self._node, "request": kind},
                exc_info=error,
            )
            error = RequestError(f"{self._server.identity.node_id} failed at a {kind}")
        if call_id in self._in_flight:
            self._respond(call_id, to_failed(error))

    # -- not reading faster than answering --

    def flush(self) -> None:
        super().flush()
        if self._transport is None or self._ended:
            return
        waiting_bytes = self._transport.get_write_buffer_size()
        # One reply always: that the transport is full it says itself.
        self._room_bytes = max(self._server.limits.reply_buffer_bytes_max - waiting_bytes, 1)
        if self._paused:
            self._steer()

    def pause_writing(self) -> None:
        self._unread = True
        self._steer()

    def resume_writing(self) -> None:
        self._unread = False
        self._steer()

    def _steer(self) -> None:
        """Stop reading, or see to it that reading goes on, by what is unanswered and unread now."""
        if self._ended or self._transport is None:
            return
        if not self._paused:
            if self._backlog or self._is_full():
                self._paused = True
                self._transport.pause_reading()
        elif not self._resuming and not self._is_unread() and self._is_half_free():
            # Not from here: this may be called by a handler that is at work on the backlog.
            self._resuming = True
            self._loop.call_soon(self._resume)

    def _is_half_free(self) -> bool:
        # Half, so that reading is not switched off and on with every request.
        return len(self._in_flight) <= self._in_flight_max // 2

    def _resume(self) -> None:
        self._resuming = False
        self._work()
        if self._paused and not self._backlog and not self._is_full():
            self._paused = False
            if not self._ended and self._transport is not None:
                self._transport.resume_reading()

    def over(self) -> None:
        if self._handshake is not None:
            self._handshake.cancel()
        self._backlog.clear()
        self._in_flight.clear()
        if self._node is not None:
            self._server.silent(self._node, self)
