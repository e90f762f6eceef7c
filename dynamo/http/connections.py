"""Connections of clients: what aiohttp's low-level server is told about bounds and bad bytes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy

from dynamo.http.admission import Admission
from dynamo.http.exchange import Answer
from dynamo.http.framing import WHOLE_BYTES_MAX, method_of_whole

log = logging.getLogger(__name__)

HEADER_LINE_BYTES_MAX = 64 * 1024
"""Riak takes 8 KiB; 300 links, which its clients put into one line, need 15."""

HEADERS_MAX = 1000
IDLE_S_MAX = 75.0
"""How long a connection may be silent, or take to send the head of a request."""

UNREAD_S_MAX = 1.0
"""How long the rest of a body that nobody wants is read, so that its sender sees the answer."""

CONNECTIONS_MAX = 8192
"""More are closed at once; an idle one costs 8 KiB, and up to 4 for the last read of it."""

Broken = Callable[[web.BaseRequest, BaseException | None, str], Answer]

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

    def __call__(self) -> web.RequestHandler:
        return Connection(self, self._broken, self._admission, self._refusal)


class Connection(web.RequestHandler):
    """One client's connection."""

    __slots__ = ("_admission", "_broken", "_let_in", "_read_before", "_refusal", "_server")

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

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if len(self._server.connections) > CONNECTIONS_MAX and self.transport is not None:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._admission.is_busy and self._is_refused(data):
            return
        self._read_before = data if len(data) <= WHOLE_BYTES_MAX else b""
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self.take_let_in():
            self._admission.end()
        super().connection_lost(exc)

    def take_let_in(self) -> bool:
        """Whether the request that came was counted as at work already; for its handler to ask."""
        let_in, self._let_in = self._let_in, False
        return let_in

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
