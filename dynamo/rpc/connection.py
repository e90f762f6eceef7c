"""One framed connection, and the set of those that one half of a node's RPC has open.

What both halves share: bytes in become bodies, frames out that are made in one tick of the loop
leave in one write, the first frame is the handshake's, and bad bytes cost the connection. An
`asyncio.Protocol`, not streams: 4 us a call instead of 18.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import cast

from dynamo.errors import ProtocolError
from dynamo.rpc.frames import Body, Decoder
from dynamo.rpc.handshake import HELLO_BYTES_MAX

log = logging.getLogger(__name__)

CLOSE_GRACE_S = 1.0
"""What a closing connection gets to hand over what was written."""

COMPLAINT_PAUSE_S = 60.0
COMPLAINERS_MAX = 256


class Complaints:
    """Logs what is wrong with a peer, once a minute for each at most."""

    def __init__(self) -> None:
        self._last_s: dict[str, float] = {}

    def log(self, message: str, *, peer: str, address: str, reason: str, now_s: float) -> None:
        """Log `message` about `peer`, unless that was done within the last minute."""
        if now_s - self._last_s.get(peer, -COMPLAINT_PAUSE_S) < COMPLAINT_PAUSE_S:
            return
        self._last_s.pop(peer, None)
        if len(self._last_s) >= COMPLAINERS_MAX:
            oldest = next(iter(self._last_s))
            if now_s - self._last_s[oldest] < COMPLAINT_PAUSE_S:
                return  # A stranger under ever new names; it need not fill the log.
            del self._last_s[oldest]
        self._last_s[peer] = now_s
        log.warning(message, extra={"peer": peer, "address": address, "reason": reason})


class Connections:
    """The connections of one half, and what passed over them.

    Attributes:
        bytes_in: read from peers.
        bytes_out: written to peers.
        protocol_errors: connections lost to bad bytes.
        closed: this half is shutting down or shut.
        complaints: what is wrong with peers.
    """

    def __init__(self) -> None:
        self.bytes_in = 0
        self.bytes_out = 0
        self.protocol_errors = 0
        self.closed = False
        self.complaints = Complaints()
        # A dict for its order: a simulation must close connections in the same order every time.
        self._open: dict[Connection, None] = {}

    @property
    def connections(self) -> int:
        """How many are open now, those included whose handshake is under way."""
        return len(self._open)

    def opened(self, connection: "Connection") -> None:
        """`connection` has a transport."""
        self._open[connection] = None

    def ended(self, connection: "Connection") -> None:
        """`connection` has none any more."""
        self._open.pop(connection, None)

    async def close_connections(self) -> None:
        """Close all, and wait until they are gone."""
        connections = list(self._open)
        for connection in connections:
            connection.close()
        await _all_lost(connections)
        for connection in connections:
            connection.abort()
        await _all_lost(connections)


async def _all_lost(connections: Iterable["Connection"]) -> None:
    waiting = [connection.lost for connection in connections if not connection.lost.done()]
    if waiting:
        await asyncio.wait(waiting, timeout=CLOSE_GRACE_S)


class Connection(asyncio.Protocol):
    """Base of both ends of a connection.

    Attributes:
        lost: done once the transport is gone.
        address: where the peer is, for people.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, owner: Connections, frame_bytes_max: int
    ) -> None:
        self._loop = loop
        self._owner = owner
        self._frame_bytes_max = frame_bytes_max
        self._decoder = Decoder(HELLO_BYTES_MAX)
        self._greeted = False
        self._transport: asyncio.Transport | None = None
        self._ended = False
        self._outbox: list[bytes] = []
        self.lost: asyncio.Future[None] = loop.create_future()
        self.address = "?"

    # -- for the two ends to fill in --

    def greet(self, body: Body) -> None:
        """Take the peer's first frame."""
        raise NotImplementedError

    def take(self, bodies: list[Body]) -> None:
        """Take frames after the first."""
        raise NotImplementedError

    def over(self) -> None:
        """The connection is gone."""
        raise NotImplementedError

    # -- what asyncio calls --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        peername = transport.get_extra_info("peername")
        if isinstance(peername, tuple) and len(peername) >= 2:
            self.address = f"{peername[0]}:{peername[1]}"
        self._owner.opened(self)
        if self._ended or self._owner.closed:
            self.abort()

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        self._owner.bytes_in += len(data)
        try:
            bodies = self._decoder.feed(data)
            if bodies and not self._greeted:
                self.greet(bodies.pop(0))
                self._greeted = True
                self._decoder.frame_bytes_max = self._frame_bytes_max
            if bodies and not self._ended:
                self.take(bodies)
        except ProtocolError as error:
            self.broken(error)

    def eof_received(self) -> bool:
        # Nobody here closes one direction only, and a proxy could not pass it on.
        self.abort()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._owner.ended(self)
        if not self.lost.done():
            self.lost.set_result(None)
        self.over()

    # -- out --

    def write(self, frame: bytes) -> None:
        """Send `frame` with all others of this tick."""
        if not self._outbox:
            self._loop.call_soon(self.flush)
        self._outbox.append(frame)

    def flush(self) -> None:
        """Hand what this tick wrote to the transport."""
        outbox = self._outbox
        transport = self._transport
        if not outbox or transport is None or self._ended or transport.is_closing():
            return
        self._outbox = []
        data = outbox[0] if len(outbox) == 1 else b"".join(outbox)
        transport.write(data)
        self._owner.bytes_out += len(data)

    def close(self) -> None:
        """Take nothing more, send what was written, then end."""
        self.flush()
        self._ended = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End now."""
        self._ended = True
        if self._transport is not None:
            self._transport.abort()

    def broken(self, error: ProtocolError) -> None:
        """The peer's bytes make no sense: end, count it, say so."""
        self._owner.protocol_errors += 1
        self._owner.complaints.log(
            "protocol broken",
            peer=self.address.rpartition(":")[0],
            address=self.address,
            reason=str(error),
            now_s=self._loop.time(),
        )
        self.abort()
