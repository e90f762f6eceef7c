"""A long listing from real nodes: whole, each key once, in bounded memory, whatever happens."""

import asyncio
import re
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dynamo.client.listing import Listing
from dynamo.cluster import RPC_PORT_OFFSET, LocalCluster
from dynamo.core.ids import NodeId
from dynamo.node_process import NodeProcess
from dynamo.settings import Settings, write
from tests.cluster.harness import Command, dynamo, free_base_port

pytestmark = pytest.mark.cluster

KEYS = 100_000
CONNECTIONS = 96
AT_ONCE = 20

IN_THE_MIDDLE = KEYS // 10
"""So many keys are read before something happens; the buffers in between hold few more."""

GROWTH_BYTES_MAX = 8 * 2**20
"""Of what a node holds in memory; all names in one list are more than that."""


def name_of(number: int) -> str:
    return f"customers/{number:06}/what-they-put-into-their-basket"


async def store(urls: Sequence[str]) -> None:
    """Store all keys, many requests in one segment: the quickest way there is over HTTP."""
    await asyncio.gather(
        *(
            _store(urls[lane % len(urls)], range(lane, KEYS, CONNECTIONS))
            for lane in range(CONNECTIONS)
        )
    )


async def _store(url: str, numbers: Sequence[int]) -> None:
    reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
    try:
        for start in range(0, len(numbers), AT_ONCE):
            left = list(numbers[start : start + AT_ONCE])
            while left:
                left = await _refused(reader, writer, left)
                if left:
                    await asyncio.sleep(0.5)  # as `Retry-After` asks, or nearly
    finally:
        writer.close()


async def _refused(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, numbers: Sequence[int]
) -> list[int]:
    """Store some keys; which of them the node had too much to do for."""
    writer.write(b"".join(map(_put, numbers)))
    refused = []
    for number in numbers:
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 204"):
            assert head.startswith(b"HTTP/1.1 503"), head
            [size] = re.findall(rb"Content-Length: (\d+)", head)
            await reader.readexactly(int(size))
            refused.append(number)
    return refused


def _put(number: int) -> bytes:
    key = name_of(number).replace("/", "%2F")
    return (
        f"PUT /buckets/b/keys/{key} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
        f"Content-Length: 5\r\n\r\nvalue"
    ).encode()


class Stream:
    """A listing that comes no faster than it is read.

    Attributes:
        names: those that came, in order.
    """

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.names: list[str] = []
        self._reader = reader
        self._listing = Listing("keys")

    async def read(self, count: int = KEYS) -> None:
        """Read until so many came, or all there are."""
        while len(self.names) < count and not self._listing.finished:
            size = int(await self._reader.readline(), 16)
            self.names += self._listing.feed(await self._reader.readexactly(size))
            await self._reader.readexactly(2)

    async def ends_whole(self) -> None:
        """Read the rest; each key was there, once."""
        while not self._listing.finished:
            await self.read(len(self.names) + 1)
        assert len(self.names) == len(set(self.names)), "a key was listed twice"
        assert len(self.names) == KEYS
        assert set(self.names) == {name_of(number) for number in range(KEYS)}


@asynccontextmanager
async def listing(url: str) -> AsyncIterator[Stream]:
    """All keys from a node, through a narrow pipe: what is not read is not sent."""
    pipe = socket.socket()
    pipe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    pipe.setblocking(False)
    host, port = urlsplit(url).hostname, urlsplit(url).port
    await asyncio.get_running_loop().sock_connect(pipe, (host, port))
    reader, writer = await asyncio.open_connection(sock=pipe, limit=16 * 1024)
    writer.write(b"GET /buckets/b/keys?keys=stream HTTP/1.1\r\nHost: x\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    try:
        yield Stream(reader)
    finally:
        writer.close()


def memory_bytes(node: NodeProcess) -> int:
    """What a node holds in memory, without what it has mapped of its files."""
    status = Path(f"/proc/{node.pid}/status").read_text()
    [kib] = re.findall(r"RssAnon:\s+(\d+) kB", status)
    return int(kib) * 1024


async def list_in_little_memory(asked: NodeProcess) -> None:
    """List everything, and look now and then at what that takes."""
    async with listing(asked.url) as warming:
        await warming.ends_whole()
    before = memory_bytes(asked)
    most = before
    async with listing(asked.url) as stream:
        for count in range(0, KEYS, KEYS // 20):
            await stream.read(count)
            most = max(most, memory_bytes(asked))
        await stream.ends_whole()
    assert most - before < GROWTH_BYTES_MAX


def settings_of_another(first: NodeProcess, base_port: int, directory: Path) -> Path:
    """The settings file of a fourth node."""
    config = replace(
        first.config,
        node_id=NodeId("n4"),
        data_dir=directory / "data",
        http_port=base_port + 3,
        rpc_port=base_port + 3 + RPC_PORT_OFFSET,
    )
    directory.mkdir()
    path = directory / "node.toml"
    write(Settings(cluster=first._settings.cluster, node=config), path)
    return path


async def test_a_hundred_thousand_keys_are_listed_whole_while_nodes_join_die_and_return(
    tmp_path: Path,
) -> None:
    base_port = free_base_port(4)
    async with LocalCluster(tmp_path / "three", nodes=3, base_port=base_port) as cluster:
        first, second, third = cluster.nodes.values()
        await store(cluster.urls)
        await list_in_little_memory(first)

        path = settings_of_another(first, base_port, tmp_path / "fourth")
        async with listing(second.url) as stream, dynamo("serve", "--config", path) as fourth:
            await stream.read(IN_THE_MIDDLE)
            await fourth.says("serves")
            async with listing(f"http://127.0.0.1:{base_port + 3}") as of_the_newcomer:
                await stream.ends_whole()
                await of_the_newcomer.ends_whole()
            await _list_while_one_dies_and_returns(first, third)
            await _leave(fourth)


async def _list_while_one_dies_and_returns(asked: NodeProcess, victim: NodeProcess) -> None:
    async with listing(asked.url) as stream:
        await stream.read(IN_THE_MIDDLE)
        await victim.kill()
        await stream.ends_whole()
    async with listing(asked.url) as stream:
        await stream.read(IN_THE_MIDDLE)
        await victim.restart()
        async with listing(victim.url) as of_the_returned:
            await stream.ends_whole()
            await of_the_returned.ends_whole()


async def _leave(command: Command) -> None:
    assert await command.ends(signal.SIGTERM) == 0
