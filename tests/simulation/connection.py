"""One TCP connection in memory: two ends, each an asyncio transport, and a pipe either way.

Bytes arrive in order, in other pieces than they were written in. A pipe knows what the kernel
would: bytes under way, the end of the stream, a reset. Its events belong to no process, so they go
on while the sender is frozen or dead; what an end tells its protocol happens in its own process.
"""

import asyncio
import zlib
from collections import deque
from collections.abc import Callable, Iterable

from dynamo.core.ids import Address
from dynamo.rpc.wire import ProtocolFactory
from tests.simulation.links import Cut, Link
from tests.simulation.loop import VirtualLoop
from tests.simulation.process import Process
from tests.simulation.trace import Trace

# What the kernels of both sides hold; a transport's own buffer begins behind it.
KERNEL_BYTES_MAX = 256 * 1024

DEFAULT_HIGH_BYTES = 64 * 1024


class Mark:
    """What travels in a pipe besides bytes."""


FINISH = Mark()
RESET = Mark()

Travelling = bytes | Mark


class Host:
    """A machine, with at most one process that uses the network.

    Attributes:
        name: as in addresses.
        process: what runs there; None if nothing does.
        powered: its kernel answers.
        listening: who accepts connections on a port.
        ends: of the connections that the process has.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.process: Process | None = None
        self.powered = True
        self.listening: dict[int, ProtocolFactory] = {}
        self.ends: list[End] = []
        self._ports_used = 49151

    def next_port(self) -> int:
        """For a connection that this host dials."""
        self._ports_used += 1
        return self._ports_used

    def keep(self, end: "End") -> None:
        """Remember a connection, and forget those that are over."""
        self.ends = [other for other in self.ends if not other.gone]
        self.ends.append(end)


class Pipe:
    """One direction of a connection."""

    def __init__(self, loop: VirtualLoop, link: Link, trace: Trace, name: str) -> None:
        self.receiver: End
        self.sender: End
        self.link = link
        self.bytes_under_way = 0
        self._loop = loop
        self._trace = trace
        self._name = name
        self._queue: deque[tuple[float, Travelling]] = deque()
        self._waiting = False
        self._broken = False

    def send(self, item: Travelling) -> None:
        """Put bytes or a mark on the way; what was sent before it arrives before it."""
        if isinstance(item, bytes):
            self.bytes_under_way += len(item)
        if self._broken and item is not RESET:
            return
        self._queue.append((self._loop.time() + self.link.latency_s(), item))
        if not self._waiting:
            self._wait()

    def stop(self) -> None:
        """What is under way is lost, and what follows as well: a stream with a gap is over.

        A reset still gets through.
        """
        self._broken = True
        self._queue.clear()

    def _wait(self) -> None:
        self._waiting = True
        self._loop.call_at(self._queue[0][0], self._arrive)

    def _arrive(self) -> None:
        """The first in the queue is due."""
        self._waiting = False
        if not self._queue:
            return
        if self.link.cut is Cut.STALL:
            self._waiting = True
            self.link.stalled.append(self._arrive)
            return
        if self.link.cut is Cut.DROP:
            self._trace.mark(f"{self._name} lost")
            self.stop()
            return
        now_s = self._loop.time()
        while self._queue and self._queue[0][0] <= now_s:
            self.receiver.receive(self._queue.popleft()[1])
        if self._queue:
            self._wait()


class End(asyncio.Transport):
    """A transport as asyncio's own over TCP, as far as a protocol can tell.

    Attributes:
        process: whose protocol this is.
        gone: the protocol was told, or never will be, that the connection is over.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        process: Process,
        host: Host,
        out: Pipe,
        here: Address,
        there: Address,
        trace: Trace,
    ) -> None:
        super().__init__({"sockname": tuple(here), "peername": tuple(there)})
        self.process = process
        self.gone = False
        self._loop = loop
        self._host = host
        self._out = out
        self._in: Pipe
        self._trace = trace
        self._name = f"{there}>{here}"
        self._protocol: asyncio.Protocol
        self._inbox = bytearray()
        self._finished = False
        self._reading = True
        self._pumping = False
        self._closing = False
        self._writing_paused = False
        self._low_bytes, self._high_bytes = DEFAULT_HIGH_BYTES // 4, DEFAULT_HIGH_BYTES

    def join(self, pipe: Pipe, protocol: asyncio.Protocol) -> None:
        """Read from `pipe`, for `protocol`."""
        self._in = pipe
        self._protocol = protocol
        protocol.connection_made(self)
        self._pump_soon()

    # -- what a protocol calls ---------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"bytes wanted, got {type(data).__name__}")
        if data and not self._closing:
            self._out.send(bytes(data))
            self._pause_writing()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._reading = False
            if self.get_write_buffer_size() == 0:
                self._finish()

    def abort(self) -> None:
        if not self.gone:
            self._closing = True
            self._out.stop()
            self._out.send(RESET)
            self._lose(None)

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        if not self._closing:
            self._reading = True
            self._pump_soon()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = DEFAULT_HIGH_BYTES if low is None else 4 * low
        self._high_bytes = high
        self._low_bytes = high // 4 if low is None else low
        self._pause_writing()

    def get_write_buffer_size(self) -> int:
        return max(0, self._out.bytes_under_way - KERNEL_BYTES_MAX)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low_bytes, self._high_bytes

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    # -- what the network calls --------------------------------------------------------------------

    def receive(self, item: Travelling) -> None:
        """The kernel got this."""
        if not self._host.powered:
            return
        if self.gone:
            # Nobody has this connection here any more: the kernel says so.
            if isinstance(item, bytes):
                self._out.send(RESET)
        elif isinstance(item, bytes):
            self._inbox += item
            self._pump_soon()
        elif item is FINISH:
            self._finished = True
            self._pump_soon()
        else:
            self.break_off(ConnectionResetError("connection reset by peer"))

    def break_off(self, error: OSError) -> None:
        """The kernel ended the connection: what was not read yet is lost."""
        self._inbox.clear()
        self._out.stop()
        self._closing = True
        self._lose(error)

    def vanish(self, *, silent: bool) -> None:
        """The process is dead, and with it, unless `silent`, its side of the connection is over."""
        if not self.gone:
            self.gone = True
            if silent:
                self._out.stop()
            else:
                self._out.send(RESET if self._inbox else FINISH)

    # -- inside ------------------------------------------------------------------------------------

    def _in_process(self, callback: Callable[..., object], *args: object) -> None:
        self._loop.call_soon(callback, *args, context=self.process.context)

    def _pump_soon(self) -> None:
        if not self._pumping and self._reading and (self._inbox or self._finished):
            self._pumping = True
            self._in_process(self._pump)

    def _pump(self) -> None:
        """Hand over what has arrived, or a part of it."""
        self._pumping = False
        if not self._reading or self._closing:
            return
        if self._inbox:
            data = bytes(self._inbox[: self._in.link.piece(len(self._inbox))])
            del self._inbox[: len(data)]
            self._in.bytes_under_way -= len(data)
            self._trace.mark(f"{self._name} {len(data)} {zlib.crc32(data):08x}")
            self._in.sender.drained()
            self._tell(self._protocol.data_received, data)
            self._pump_soon()
        elif self._finished:
            self._reading = False
            if not self._tell(self._protocol.eof_received):
                self.close()

    def _tell(self, method: Callable[..., object], *args: object) -> object:
        try:
            return method(*args)
        except Exception as error:
            # As asyncio does: a protocol that fails loses its connection, and the loop hears of it.
            message = f"a {type(self._protocol).__name__} failed"
            self._loop.call_exception_handler({"message": message, "exception": error})
            self.abort()
            return True

    def drained(self) -> None:
        """Some of what was under way has been read."""
        if self.get_write_buffer_size() == 0 and self._closing and not self.gone:
            self._finish()
        elif self._writing_paused and self.get_write_buffer_size() <= self._low_bytes:
            self._writing_paused = False
            self._in_process(self._protocol.resume_writing)

    def _pause_writing(self) -> None:
        if not self._writing_paused and self.get_write_buffer_size() > self._high_bytes:
            self._writing_paused = True
            self._protocol.pause_writing()

    def _finish(self) -> None:
        self._out.send(FINISH)
        self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        if not self.gone:
            self.gone = True
            self._reading = False
            self._in_process(self._say_lost, error)

    def _say_lost(self, error: Exception | None) -> None:
        self._protocol.connection_lost(error)
