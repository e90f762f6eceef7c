"""The door to the network: dialling and listening, as asyncio knows them.

Production uses `TcpWire`; a simulation hands in one whose connections live in memory and whose
delays come from a seed. Everything above this door (framing, handshakes, calls) is the same code.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from dynamo.core.ids import Address

ProtocolFactory = Callable[[], asyncio.Protocol]


class Listener(Protocol):
    """A port that is listened on."""

    def close(self) -> None:
        """Take no more connections; those that exist stay."""
        ...


class Wire(Protocol):
    """Opens connections as `asyncio.Transport` under protocols that the caller makes."""

    async def dial(self, address: Address, factory: ProtocolFactory) -> None:
        """Connect; `connection_made` of the new protocol has run when this returns.

        Raises:
            OSError: refused, unreachable, or the name does not resolve.
        """
        ...

    async def listen(self, address: Address, factory: ProtocolFactory) -> Listener:
        """Accept connections, each with a protocol of its own.

        Raises:
            OSError: the address is taken or not ours.
        """
        ...


class TcpWire:
    """The real network."""

    async def dial(self, address: Address, factory: ProtocolFactory) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(factory, address.host, address.port)

    async def listen(self, address: Address, factory: ProtocolFactory) -> Listener:
        loop = asyncio.get_running_loop()
        return await loop.create_server(factory, address.host, address.port, backlog=1024)
