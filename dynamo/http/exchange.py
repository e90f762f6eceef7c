"""Bodies in and answers out: the two places where a client can keep us waiting, and their bounds.

An answer is written as ready-made bytes past aiohttp's header dictionary: that halves what a
request costs (18 us against 28 with everything else the same).
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from http import HTTPStatus
from math import inf
from typing import Final

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

from dynamo.errors import Overloaded
from dynamo.http.reply import Reply, Stream, text

log = logging.getLogger(__name__)

BODY_S_MAX = 120.0
"""A body arrives in this time or not at all: 50 MiB of it at 3.5 Mbit/s."""

SEND_S_MAX = 60.0
"""So long a client may leave what was sent to it unread, per piece of it."""

_SEND_BYTES_AHEAD: Final = 64 * 1024  # where asyncio and uvloop ask a writer to pause

_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus
}
_BODILESS: Final = frozenset({204, 304})


class BodyReader:
    """Reads the bodies of requests, all together within a bound of bytes."""

    def __init__(self, *, body_bytes_max: int, reading_bytes_max: int) -> None:
        """Nothing is read yet.

        Args:
            body_bytes_max: largest body taken.
            reading_bytes_max: of all bodies that are on their way at the same moment.
        """
        self._body_bytes_max = body_bytes_max
        self._reading_bytes_max = reading_bytes_max
        self._reading_bytes = 0

    async def read(self, request: web.BaseRequest, *, within_s: float = inf) -> bytes | Reply:
        """The whole body, or the answer to give instead.

        Args:
            request: whose body.
            within_s: how long the client may take, if that is less than `BODY_S_MAX`.

        Raises:
            Overloaded: too many bytes are on their way already.
        """
        content = request.content
        if content.is_eof():
            body = content.read_nowait()
            return body if len(body) <= self._body_bytes_max else self._too_large(len(body))
        announced = request.content_length
        if announced is not None and announced > self._body_bytes_max:
            return self._too_large(announced)
        if announced is not None and self._reading_bytes + announced > self._reading_bytes_max:
            raise self._overloaded()
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body_s_max = min(within_s, BODY_S_MAX)
        try:
            async with asyncio.timeout(body_s_max):
                return await self._collect(request)
        except TimeoutError:
            return text(408, f"no whole body within {body_s_max:g} s\n")._replace(close=True)
        except (ConnectionError, web.RequestPayloadError):
            return text(400, "the body broke off\n")._replace(close=True)

    async def _collect(self, request: web.BaseRequest) -> bytes | Reply:
        pieces: list[bytes] = []
        size = 0
        try:
            while piece := await request.content.readany():
                size += len(piece)
                self._reading_bytes += len(piece)
                pieces.append(piece)
                if size > self._body_bytes_max:
                    return self._too_large(size)
                if self._reading_bytes > self._reading_bytes_max:
                    raise self._overloaded()
        finally:
            self._reading_bytes -= size
        return b"".join(pieces)

    def _too_large(self, size: int) -> Reply:
        sentence = f"a body has at most {self._body_bytes_max} bytes, got {size}\n"
        return text(413, sentence)._replace(close=True)

    def _overloaded(self) -> Overloaded:
        return Overloaded(f"more than {self._reading_bytes_max} bytes of bodies are on their way")


def whole(method: str, reply: Reply, stamp: str) -> bytes:
    """All bytes of an answer to a request of HTTP/1.1, on a connection that stays."""
    status, head, body, _ = reply
    lines = f"{_STATUS_LINES[status]}{head}Content-Length: {len(body)}\r\n{stamp}\r\n"
    return lines.encode("utf-8", "surrogateescape") + (b"" if method == "HEAD" else body)


class Answer(web.StreamResponse):
    """A reply on its way out.

    It takes the place of aiohttp's response but none of its state: the base class's constructor
    fills what only its own `prepare` and `write_eof` read, and both are replaced here.
    """

    def __init__(
        self,
        request: web.BaseRequest,
        reply: Reply | Stream,
        stamp: str,
        gone: Callable[[], None] | None = None,
    ) -> None:
        """Nothing is sent yet.

        Args:
            request: what is answered.
            reply: how.
            stamp: header lines that all answers of this second have.
            gone: called when it is sent, or never will be.
        """
        self._request = request
        self._reply: Reply | Stream | None = reply
        self._stamp = stamp
        self._gone = gone
        closes = type(reply) is Reply and reply.close
        # Without chunks only the end of the connection tells where a stream ends.
        if type(reply) is Stream and request.version < HttpVersion11:
            closes = True
        self._keeps_alive = request.keep_alive and not closes

    @property
    def keep_alive(self) -> bool:
        """Whether the connection is good for another request."""
        return self._keeps_alive

    def end_connection(self) -> None:
        """Let the connection end with this answer."""
        self._keeps_alive = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Nothing to prepare."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Send it all."""
        # aiohttp keeps this object until the connection's next answer, or its end.
        reply, self._reply = self._reply, None
        try:
            if type(reply) is Reply:
                await self._send_whole(reply)
            elif type(reply) is Stream:
                await self._send_stream(reply)
        finally:
            if self._gone is not None:
                self._gone()

    async def _send_whole(self, reply: Reply) -> None:
        status, head, body, _ = reply
        if status in _BODILESS:
            length, body = "", b""
        else:
            length = f"Content-Length: {len(body)}\r\n"
            if self._request.method == "HEAD":
                body = b""
        transport = self._request.transport
        if transport is None:
            return
        lines = self._head_bytes(status, head + length)
        if len(body) > _SEND_BYTES_AHEAD:
            transport.write(lines)
            transport.write(body)
        else:
            transport.write(lines + body)
        if transport.get_write_buffer_size() > _SEND_BYTES_AHEAD:
            await self._drain(transport)

    async def _send_stream(self, stream: Stream) -> None:
        transport = self._request.transport
        chunked = self._request.version >= HttpVersion11
        async with aclosing(stream.chunks):
            if transport is None:
                return
            framing = "Transfer-Encoding: chunked\r\n" if chunked else ""
            transport.write(self._head_bytes(200, stream.head + framing))
            if self._request.method == "HEAD":
                return
            async for chunk in stream.chunks:
                if transport.is_closing():
                    return
                transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                if transport.get_write_buffer_size() > _SEND_BYTES_AHEAD:
                    await self._drain(transport)
            if chunked:
                transport.write(b"0\r\n\r\n")

    def _head_bytes(self, status: int, head: str) -> bytes:
        keeps_alive = self._keeps_alive
        if not keeps_alive:
            connection = "Connection: close\r\n"
        else:
            old = self._request.version == HttpVersion10
            connection = "Connection: keep-alive\r\n" if old else ""
        lines = f"{_STATUS_LINES[status]}{head}{self._stamp}{connection}\r\n"
        return lines.encode("utf-8", "surrogateescape")

    async def _drain(self, transport: asyncio.Transport) -> None:
        try:
            async with asyncio.timeout(SEND_S_MAX):
                await self._request.writer.drain()
        except TimeoutError:
            log.info("client reads too slowly", extra={"peer": self._request.remote})
            transport.abort()
