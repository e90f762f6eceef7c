import asyncio
from typing import cast

import pytest
from aiohttp import web

from dynamo.errors import Overloaded
from dynamo.http.exchange import BodyReader
from dynamo.http.reply import Reply


class Arriving:
    """A body on its way, and the request it belongs to."""

    headers: dict[str, str]
    transport = None

    def __init__(self, announced: int | None) -> None:
        self.content = self
        self.content_length = announced
        self.headers = {}
        self.wanted = asyncio.Event()
        self._pieces: asyncio.Queue[bytes | Exception] = asyncio.Queue()

    def is_eof(self) -> bool:
        return False

    async def readany(self) -> bytes:
        self.wanted.set()
        piece = await self._pieces.get()
        if isinstance(piece, Exception):
            raise piece
        return piece

    async def send(self, piece: bytes | Exception) -> None:
        """Returns when it was read and more is wanted."""
        await self.wanted.wait()
        self.wanted.clear()
        self._pieces.put_nowait(piece)
        await self.wanted.wait()

    def end(self) -> None:
        self._pieces.put_nowait(b"")

    def read_by(self, reader: BodyReader) -> "asyncio.Task[bytes | Reply]":
        return asyncio.create_task(reader.read(cast("web.BaseRequest", self)))


async def test_bodies_on_their_way_are_bounded_together() -> None:
    reader = BodyReader(body_bytes_max=100, reading_bytes_max=150)
    one, other, late, unannounced = (Arriving(n) for n in (100, 90, 90, None))
    reading_one = one.read_by(reader)
    await one.send(b"x" * 60)
    reading_other = other.read_by(reader)
    await other.wanted.wait()
    with pytest.raises(Overloaded):
        await Arriving(91).read_by(reader)
    one.end()
    assert await reading_one == b"x" * 60
    reading_late = late.read_by(reader)
    await late.send(b"y" * 90)
    with pytest.raises(Overloaded):
        await Arriving(61).read_by(reader)
    reading = unannounced.read_by(reader)
    await unannounced.send(b"z" * 60)
    other._pieces.put_nowait(b"w")
    with pytest.raises(Overloaded):
        await reading_other
    late.end()
    unannounced.end()
    assert (await reading_late, await reading) == (b"y" * 90, b"z" * 60)
    assert reader._reading_bytes == 0


async def test_a_body_that_breaks_off_is_a_bad_request_and_frees_its_place() -> None:
    reader = BodyReader(body_bytes_max=100, reading_bytes_max=100)
    broken = Arriving(100)
    reading = broken.read_by(reader)
    await broken.send(b"x" * 50)
    broken._pieces.put_nowait(ConnectionResetError())
    answer = await reading
    assert isinstance(answer, Reply)
    assert (answer.status, answer.close) == (400, True)
    assert reader._reading_bytes == 0


async def test_a_body_without_a_length_is_cut_off_at_the_bound() -> None:
    reader = BodyReader(body_bytes_max=100, reading_bytes_max=1000)
    endless = Arriving(None)
    reading = endless.read_by(reader)
    await endless.send(b"x" * 100)
    endless._pieces.put_nowait(b"x")
    answer = await reading
    assert isinstance(answer, Reply)
    assert (answer.status, answer.close) == (413, True)
