"""gzip for clients that take it: whole answers and streams, fast rather than small.

What is stored with an encoding of its own, a part of a value, and an answer without a body stay as
they are. What is large is compressed in a thread, since zlib lets go of the interpreter meanwhile;
few are at work at once, and where too many wait already an answer goes out as it is: gzip is a
favour, and nobody is to wait long for it.
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Final

from dynamo.http.reply import VARY, VARY_SIBLINGS, Reply, Stream

LEVEL: Final = 1
"""Of 9. The next ones take up to three times as long, to gain a tenth."""

LOOP_BYTES_MAX: Final = 64 * 1024
"""What is longer goes to a thread: so much holds up the loop for about 1 ms."""

AT_ONCE_MAX: Final = 2
"""Threads. Each holds one answer twice, as it was and as it becomes."""

# 48 KiB for each stream, and 2 us to begin one. The usual 15 and 8 take 256 KiB and 45 us, to gain
# a sixth of what is left of a text.
_WINDOW_BITS: Final = 16 + 13  # 16 asks zlib for the frame of gzip
_MEMORY_LEVEL: Final = 5


WAITING_MAX: Final = 8
"""Large answers at work or waiting for a thread; one of the largest takes a second or two."""

_BODY_AS_IT_IS: Final = frozenset({204, 206, 304})
_ENCODED: Final = "\r\nContent-Encoding: "
_VARY: Final = "\r\nVary: "
_HEAD: Final = "Content-Encoding: gzip\r\n"


class Compressor:
    """Compresses answers."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE_MAX, thread_name_prefix="gzip")
        self._waiting = 0

    def close(self) -> None:
        """Begin nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def compressed(self, reply: Reply | Stream) -> Reply | Stream:
        """The same answer with gzip, where that is fit."""
        if _ENCODED in "\r\n" + reply.head:
            return reply
        if isinstance(reply, Stream):
            return Stream(_varied(reply.head) + _HEAD, self._pieces(reply.chunks))
        if not reply.body or reply.status in _BODY_AS_IT_IS:
            return reply
        if len(reply.body) > LOOP_BYTES_MAX and self._waiting >= WAITING_MAX:
            return reply
        body = await self._packed(_packer(), reply.body, zlib.Z_FINISH)
        return reply._replace(head=_varied(reply.head) + _HEAD, body=body)

    async def _pieces(self, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """One for one, each whole: who reads a stream sees a batch when it was sent."""
        packer = _packer()
        async with aclosing(chunks):
            async for chunk in chunks:
                yield await self._packed(packer, chunk, zlib.Z_SYNC_FLUSH)
        yield packer.flush()

    async def _packed(self, packer: "zlib._Compress", body: bytes, flush: int) -> bytes:
        if len(body) <= LOOP_BYTES_MAX:
            return _pack(packer, body, flush)
        loop = asyncio.get_running_loop()
        self._waiting += 1
        try:
            return await loop.run_in_executor(self._threads, _pack, packer, body, flush)
        finally:
            self._waiting -= 1


def _pack(packer: "zlib._Compress", body: bytes, flush: int) -> bytes:
    return packer.compress(body) + packer.flush(flush)


def _packer() -> "zlib._Compress":
    return zlib.compressobj(LEVEL, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL)


def _varied(head: str) -> str:
    """`head`, saying that the answer is another without `Accept-Encoding`."""
    if _VARY not in "\r\n" + head:
        return head + VARY
    return f"\r\n{head}".replace("\r\nVary: Accept\r\n", f"\r\n{VARY_SIBLINGS}")[2:]
