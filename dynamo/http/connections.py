"""Connections of clients: what aiohttp's low-level server is told about bounds and bad bytes.

A head is held from its first byte until aiohttp forgets it, which it does when the next one comes.
So the bytes of large heads are counted for as long as their connection lives, and a connection that
had one ends with its answer. Bodies have bounds of their own (`exchange.BodyReader`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.web_protocol import _ErrInfo as Unanswerable
from multidict import CIMultiDict, CIMultiDictProxy

from dynamo.errors import BadRequest, Overloaded, RequestError
from dynamo.http.admission import Admission
from dynamo.http.exchange import Answer
from dynamo.http.framing import WHOLE_BYTES_MAX, method_of_whole

log = logging.getLogger(__name__)

HEADER_LINE_BYTES_MAX = 64 * 1024
"""Riak takes 8 KiB; 300 links, which its clients put into one line, need 15."""

HEADERS_MAX = 1000

HEAD_BYTES_MAX = 256 * 1024
"""Of one head, all lines together. What one read brings is taken whole, so one that ends within the
read that goes beyond this passes."""

HEAD_BYTES_COMMON = 64 * 1024
"""Who holds no more may always do so."""

HEADS_BYTES_MAX = 64 * 2**20
"""Of all heads above the common size, with what their lines cost."""

HEAD_END = b"\r\n\r\n"

LINE_BYTES = 256
"""What a line of a head takes besides its own bytes."""

IDLE_S_MAX = 75.0
"""How long a connection may be silent, or take to send the head of a request."""

UNREAD_S_MAX = 1.0
"""How long the rest of a body that nobody wants is read, so that its sender sees the answer."""

CONNECTIONS_MAX = 8192
"""More are closed at once; an idle one costs 8 KiB, and up to 4 for the last read of it."""

Broken = Callable[[web.BaseRequest, BaseException | None, str], Answer]
"""The answer to what cannot be answered as a request."""

Refusal = Callable[[str], bytes]
"""The whole answer to a request of that method which is refused."""


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: "asyncio.Task[None]",
) -> web.BaseRequest:
    """A request whose headers have each name once: lines of one name are one list."""
    headers = message.headers
    if len(set(headers)) < len(headers):
        message = message._replace(headers=_joined(headers))
    return web.BaseRequest(message, payload, protocol, writer, task, task.get_loop())


def _joined(headers: "CIMultiDictProxy[str]") -> "CIMultiDictProxy[str]":
    joined: CIMultiDict[str] = CIMultiDict()
    for name, value in headers.items():
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return CIMultiDictProxy(joined)


class Connections(web.Server):
    """All connections of clients: aiohttp's low-level server.

    A client that hangs up is not worked for any more: its request is cancelled.

    Attributes:
        head_bytes: held for heads above the common size.
    """

    def __init__(
        self,
        answer: Callable[[web.BaseRequest], Awaitable[Answer]],
        broken: Broken,
        admission: Admission,
        refusal: Refusal,
    ) -> None:
        super().__init__(answer, handler_cancellation=True, request_factory=_request)
        self._broken = broken
        self._admission = admission
        self._refusal = refusal
        self.head_bytes = 0

    def __call__(self) -> web.RequestHandler:
        return Connection(self, self._broken, self._admission, self._refusal)


class Connection(web.RequestHandler):
    """One client's connection.

    Attributes:
        is_worn: it holds a large head, and will until it ends.
    """

    __slots__ = (
        "_admission",
        "_begun_bytes",
        "_body",
        "_broken",
        "_head_bytes",
        "_heads",
        "_is_deaf",
        "_let_in",
        "_read_before",
        "_refusal",
        "_server",
        "is_worn",
    )

    def __init__(
        self, server: Connections, broken: Broken, admission: Admission, refusal: Refusal
    ) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=IDLE_S_MAX,
            lingering_time=UNREAD_S_MAX,
            access_log=None,  # type: ignore[arg-type]  # None is how aiohttp is told "no log"
            logger=log,
            max_line_size=HEADER_LINE_BYTES_MAX,
            max_field_size=HEADER_LINE_BYTES_MAX,
            max_headers=HEADERS_MAX,
            auto_decompress=False,  # a stored encoding is the client's affair
        )
        self._server = server
        self._broken = broken
        self._admission = admission
        self._refusal = refusal
        # What the parser was given last, if that is short; None if it surely holds no part of a
        # request.
        self._read_before: bytes | None = None
        self._let_in = False
        self._heads = 0  # that were whole when something was read last
        self._begun_bytes = 0  # of a head that is not whole yet
        self._head_bytes = 0  # of that and of those before that are not forgotten
        self._body: StreamReader | None = None  # that is on its way
        self.is_worn = False
        self._is_deaf = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if len(self._server.connections) > CONNECTIONS_MAX and self.transport is not None:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._admission.is_busy and self._is_refused(data):
            return
        if self._request_count != self._heads:
            self._catch_up()
        is_short = len(data) <= WHOLE_BYTES_MAX
        self._read_before = data if is_short else b""
        if self._body is not None or self._is_deaf:
            self._read_on(data)
            return
        super().data_received(data)
        whole = self._request_count - self._heads
        if not whole:
            self._head_goes_on(data)
            return
        self._heads += whole
        if not (body := self._messages[-1][1]).is_eof():
            self._body = body
        if self._head_bytes or not is_short:
            self._heads_ended(data, whole)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self.take_let_in():
            self._admission.end()
        self._hold(0)
        super().connection_lost(exc)

    def take_let_in(self) -> bool:
        """Whether the request that came was counted as at work already; for its handler to ask."""
        let_in, self._let_in = self._let_in, False
        return let_in

    # -- heads -----------------------------------------------------------------------------------

    @property
    def is_last(self) -> bool:
        """Whether no request waits behind the one at work, nor a part of one."""
        return not self._messages and not self._begun_bytes

    def _catch_up(self) -> None:
        """Note requests that were not parsed as they were read.

        aiohttp keeps what comes behind a request that asks for another protocol, and parses it once
        that is answered in this one.
        """
        self._heads = self._request_count
        request = self._current_request
        body = self._messages[-1][1] if self._messages else request and request.content
        if body and not body.is_eof():
            self._body = body

    def _read_on(self, data: bytes) -> None:
        """Take more of a body; what follows it in the same read belongs to the next head."""
        body = self._body
        if self._is_deaf or body is None:
            return
        before = body.total_bytes
        super().data_received(data)
        if not body.is_eof():
            return
        self._body = None
        behind = data[min(body.total_bytes - before, len(data)) :]
        if whole := self._request_count - self._heads:
            self._heads += whole
            if not (body := self._messages[-1][1]).is_eof():
                self._body = body
            self._heads_ended(behind, whole)
        else:
            self._head_goes_on(behind)

    def _head_goes_on(self, data: bytes) -> None:
        if not data or self._close or self._force_close:
            return
        self._begun_bytes += len(data)
        self._hold(self._head_bytes + len(data) + LINE_BYTES * data.count(b"\n"))
        if self._begun_bytes > HEAD_BYTES_MAX:
            self._refuse(BadRequest(f"a head has at most {HEAD_BYTES_MAX} bytes"))
        elif self._is_too_much:
            self._refuse(_too_many_heads())

    def _heads_ended(self, data: bytes, whole: int) -> None:
        """So many heads became whole. Needs no call for one that came whole in a short read."""
        messages = self._messages
        body_bytes = sum(messages[-i][1].total_bytes for i in range(1, whole + 1))
        size = max(len(data) - body_bytes, 0)
        largest = size if whole == 1 else max(map(len, data.split(HEAD_END)))
        if self._begun_bytes + largest > HEAD_BYTES_COMMON:
            self.is_worn = True
        self._begun_bytes = 0
        if self._body is None and size > WHOLE_BYTES_MAX:
            # What is behind the last end of a head and its body; no head has an empty line in it.
            ended = data.rfind(HEAD_END) + len(HEAD_END) + messages[-1][1].total_bytes
            self._begun_bytes = max(len(data) - ended, 0)
        is_behind_others = self.is_worn or len(messages) > whole
        held = self._head_bytes if is_behind_others else 0
        self._hold(held + size + LINE_BYTES * data.count(b"\n", 0, size))
        if self._is_too_much:
            for _ in range(whole):
                messages.pop()
            self._refuse(_too_many_heads())

    def _hold(self, size: int) -> None:
        before, self._head_bytes = self._head_bytes, size
        if max(before, size) > HEAD_BYTES_COMMON:
            self._server.head_bytes += _counted(size) - _counted(before)

    @property
    def _is_too_much(self) -> bool:
        is_common = self._head_bytes <= HEAD_BYTES_COMMON
        return not is_common and self._server.head_bytes > HEADS_BYTES_MAX

    def _refuse(self, error: RequestError) -> None:
        """Answer that, after what is at work, and listen no more.

        The rest has no end, so aiohttp reads it for a while: a sender whose bytes nobody reads
        loses the answer.
        """
        self._is_deaf = True
        self._parser = None  # and with it the head
        if self._waiter is not None and not self._messages:
            self._hold(0)
        rest = StreamReader(self, WHOLE_BYTES_MAX, loop=self._loop)
        said = Unanswerable(status=HTTPStatus.BAD_REQUEST, exc=error, message=str(error))
        self._messages.append((said, rest))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- refusals --------------------------------------------------------------------------------

    def _is_refused(self, data: bytes) -> bool:
        """Decide about a request as it is read; if it is refused, answer that without parsing it.

        As it is read, since hundreds are read before the first of their handlers runs. Refusing
        costs 11 us here and 23 in a handler, 7 of both in the kernel; of three times what a node
        can carry, two thirds are refusals.
        """
        transport = self.transport
        # Someone who does not read answers waits for them in the ordinary way.
        if transport is None or transport.get_write_buffer_size() or not self._is_between():
            return False
        method = method_of_whole(data)
        if method is None:
            return False
        if not self._admission.is_closed:
            self._admission.begin()
            self._let_in = True
            return False
        self._next_keepalive_close_time = self._loop.time() + IDLE_S_MAX
        self._read_before = None
        transport.write(self._refusal(method))
        return True

    def _is_between(self) -> bool:
        """Whether no request is at work, and none has begun to come."""
        waiter = self._waiter
        if waiter is None or waiter.done() or self._messages or self._close or self._force_close:
            return False
        return self._read_before is None or method_of_whole(self._read_before) is not None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A client's bad bytes are answered, and no reason to log anything."""
        if status == HTTPStatus.BAD_REQUEST:
            return self._broken(request, exc, message or "")
        return super().handle_error(request, status, exc, message)


def _counted(head_bytes: int) -> int:
    """What of them counts against the bound of all."""
    return head_bytes if head_bytes > HEAD_BYTES_COMMON else 0


def _too_many_heads() -> Overloaded:
    return Overloaded(f"more than {HEADS_BYTES_MAX} bytes of heads are held")
