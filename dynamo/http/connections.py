"""Connections of clients: what aiohttp's low-level server is told about bounds and bad bytes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from dynamo.http.exchange import Answer

log = logging.getLogger(__name__)

HEADER_LINE_BYTES_MAX = 64 * 1024
"""Riak takes 8 KiB; 300 links, which its clients put into one line, need 15."""

HEADERS_MAX = 1000
IDLE_S_MAX = 75.0
"""How long a connection may be silent, or take to send the head of a request."""

UNREAD_S_MAX = 1.0
"""How long the rest of a body that nobody wants is read, so that its sender sees the answer."""

Broken = Callable[[web.BaseRequest, BaseException | None, str], Answer]


class Connections(web.Server):
    """All connections of clients: aiohttp's low-level server."""

    def __init__(
        self, answer: Callable[[web.BaseRequest], Awaitable[Answer]], broken: Broken
    ) -> None:
        super().__init__(answer)
        self._broken = broken

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, self._broken)


class _Connection(web.RequestHandler):
    """One client's connection."""

    __slots__ = ("_broken",)

    def __init__(self, server: Connections, broken: Broken) -> None:
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
        self._broken = broken

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
