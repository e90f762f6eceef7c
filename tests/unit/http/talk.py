"""A client that hides nothing: requests as bytes, answers taken apart by hand."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from dynamo.http.app import HttpServer
from tests.unit.http.fake_node import FakeNode

PLAIN = {"Content-Type": "text/plain"}

HeaderLines = Mapping[str, str] | Sequence[tuple[str, str]]


class Told(NamedTuple):
    """An answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Talk:
    """One connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(
        self, method: str, path: str, headers: HeaderLines = (), body: bytes | None = None
    ) -> Told:
        """Send a request and wait for the whole answer."""
        lines = list(headers.items() if isinstance(headers, Mapping) else headers)
        if body is not None:
            lines.append(("Content-Length", str(len(body))))
        head = "".join(f"{name}: {text}\r\n" for name, text in [("Host", "x:1"), *lines])
        self.writer.write(
            f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("utf-8", "surrogateescape")
        )
        self.writer.write(body or b"")
        return await self.hear(bodiless=method == "HEAD")

    async def hear(self, *, bodiless: bool = False) -> Told:
        """The next answer."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("utf-8", "surrogateescape")
        status_line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        status = int(status_line.split(" ")[1])
        headers: dict[str, str] = {}
        for line in lines:
            name, _, text = line.partition(": ")
            assert name.lower() not in headers, f"{name} is sent twice"
            headers[name.lower()] = text
        if bodiless or status in (100, 204, 304):
            return Told(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            return Told(status, headers, await self._chunks())
        return Told(status, headers, await self.reader.readexactly(int(headers["content-length"])))

    async def _chunks(self) -> bytes:
        pieces = []
        while size := int(await self.reader.readline(), 16):
            pieces.append(await self.reader.readexactly(size))
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return b"".join(pieces)

    async def put(self, path: str, body: bytes = b"x", **headers: str) -> Told:
        """Store plain text; `X_Riak_Vclock="..."` is a header."""
        lines = {**PLAIN, **{name.replace("_", "-"): text for name, text in headers.items()}}
        return await self.ask("PUT", path, lines, body)

    async def get(self, path: str, **headers: str) -> Told:
        """Read."""
        lines = {name.replace("_", "-"): text for name, text in headers.items()}
        return await self.ask("GET", path, lines)


@asynccontextmanager
async def connected(server: HttpServer) -> AsyncIterator[Talk]:
    """A connection to `server`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**20)
    try:
        yield Talk(reader, writer)
    finally:
        writer.close()


@asynccontextmanager
async def talking(node: FakeNode | None = None) -> AsyncIterator[Talk]:
    """A server for `node`, and a connection to it."""
    node = node or FakeNode()
    server = HttpServer(node, node.config)
    await server.start()
    try:
        async with connected(server) as talk:
            yield talk
    finally:
        await server.stop()
