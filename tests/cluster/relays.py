"""Relays between real nodes, one for each directed link, so that a test can cut just that link.

Node a dials node b at the relay of (a, b); what others dial is another relay. A cut relay ends its
connections and refuses new ones.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from dynamo.config import NodeConfig
from dynamo.core.ids import Address, NodeId

_PIECE_BYTES = 2**18


class Relay:
    """Carries what one node sends to another, and the answers."""

    def __init__(self, port: int, target_port: int) -> None:
        self._port = port
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._pipes: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen, and pass on whatever comes."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)

    async def cut(self) -> None:
        """End all connections, and refuse new ones until the next `open`."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for pipe in list(self._pipes):
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pipes.add(task)
        try:
            with suppress(OSError, asyncio.CancelledError):
                await self._relay(reader, writer)
        finally:
            self._pipes.discard(task)
            writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        ways = [
            asyncio.create_task(_pump(reader, far_writer)),
            asyncio.create_task(_pump(far_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            far_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(_PIECE_BYTES):
        writer.write(piece)
        await writer.drain()


class Mesh:
    """The relays of all links among nodes n1, n2, ..."""

    def __init__(self, nodes: int, *, rpc_base_port: int, relay_base_port: int) -> None:
        """Nothing listens yet.

        Args:
            nodes: how many.
            rpc_base_port: where n1 listens for peers; n2 on the next port, and so on.
            relay_base_port: `nodes` x `nodes` ports from here on are the relays'.
        """
        self._relay_base_port = relay_base_port
        self._names = [NodeId(f"n{i + 1}") for i in range(nodes)]
        self._relays = {
            (source, target): Relay(self._port(source, target), rpc_base_port + position)
            for source in self._names
            for position, target in enumerate(self._names)
            if source != target
        }

    def adjust(self, config: NodeConfig) -> NodeConfig:
        """A node's settings, with which it dials the relays."""
        addresses = {
            target: Address("127.0.0.1", self._port(config.node_id, target))
            for target in self._names
            if target != config.node_id
        }
        return replace(config, peer_addresses=addresses)

    async def open(self) -> None:
        """Let everything through."""
        for relay in self._relays.values():
            await relay.open()

    async def cut(self, sides: Iterable[Iterable[str]]) -> None:
        """Cut all links between nodes of different sides."""
        side_of = {name: number for number, side in enumerate(sides) for name in side}
        for (source, target), relay in self._relays.items():
            if side_of[source] != side_of[target]:
                await relay.cut()

    async def heal(self) -> None:
        """Let everything through again."""
        for relay in self._relays.values():
            await relay.cut()
            await relay.open()

    async def close(self) -> None:
        """End it all."""
        for relay in self._relays.values():
            await relay.cut()

    def _port(self, source: NodeId, target: NodeId) -> int:
        count = len(self._names)
        return self._relay_base_port + count * self._names.index(source) + self._names.index(target)
