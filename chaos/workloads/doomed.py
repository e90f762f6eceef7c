"""Keys with a fate: which of them a script deletes, and which it writes again, while others read.

A fate comes over all keys that have it at once, and each change is based on a read.
"""

import asyncio
import enum
from collections.abc import Awaitable, Callable, Collection, Mapping
from random import Random
from typing import Final

from chaos.clients import LabClient, Reply
from chaos.errors import ClusterError
from chaos.modes import Mode
from chaos.workloads.workload import Workload

LOOK: Final = "look"
"""The note of reads that look what a node shows of a key."""

_LANES: Final = 4
_TRIES: Final = 4

Change = Callable[[LabClient, str], Awaitable[Reply | None]]
"""What a client does to a key; None if there was nothing to do."""


class Fate(enum.StrEnum):
    """What becomes of a key; the value says it in a table."""

    GONE = "deleted"
    ANEW = "deleted, and written again at once"
    KEPT = "written, never deleted"


class Doomed(Workload):
    """A step reads a key; the rest is for the script to do."""

    def __init__(self, mode: Mode, *, each: int = 10, name: str = "doomed") -> None:
        """Name the objects.

        Args:
            mode: of all requests.
            each: how many keys have each fate.
            name: see `Workload`.
        """
        super().__init__(name, mode, keys=each * len(Fate))
        fates = list(Fate)
        self._fates = {key: fates[number % len(fates)] for number, key in enumerate(self.keys)}

    def of(self, *fates: Fate) -> tuple[str, ...]:
        """The keys that have one of these fates."""
        return tuple(key for key, fate in self._fates.items() if fate in fates)

    async def prepare(self, clients: Mapping[str, LabClient]) -> None:
        writer = next(iter(clients.values()))
        await self._preload(dict.fromkeys(self.keys, writer))

    async def step(self, client: LabClient, dice: Random, intended_s: float) -> None:
        await self._get(client, dice.choice(self.keys), dice, intended_s)

    async def delete(self, client: LabClient, keys: Collection[str], dice: Random) -> None:
        """Delete what a read shows of these keys.

        Raises:
            ClusterError: a key cannot be deleted.
        """

        async def of(lane: LabClient, key: str) -> Reply | None:
            seen = await self._get(lane, key, dice)
            if not seen.is_ok:
                return seen
            return await self._delete(lane, key, dice, based_on=seen) if seen.shown else None

        await self._each(client, keys, of)

    async def write(self, client: LabClient, keys: Collection[str], dice: Random) -> None:
        """Write these keys, in place of what a read shows of them, if it shows anything.

        Raises:
            ClusterError: a key cannot be written.
        """

        async def of(lane: LabClient, key: str) -> Reply:
            seen = await self._get(lane, key, dice)
            return await self._put(lane, key, dice, based_on=seen) if seen.is_ok else seen

        await self._each(client, keys, of)

    async def look(self, client: LabClient, keys: Collection[str]) -> None:
        """Read these keys at every node that the client may ask."""

        async def at(lane: LabClient, node: str) -> None:
            for key in keys:
                await lane.get(self.mode, self.name, self.bucket, key, node, note=LOOK)

        lanes = enumerate(client.nodes, start=1)
        await asyncio.gather(*(at(client.lane(number), node) for number, node in lanes))

    async def _each(self, client: LabClient, keys: Collection[str], change: Change) -> None:
        """Change each key, several at a time, and again where that fails."""

        async def some(lane: LabClient, its_keys: Collection[str]) -> None:
            for key in its_keys:
                if not await _is_done(lane, key, change):
                    raise ClusterError(f"{key} of {self.bucket} could not be changed as planned")

        dealt = [list(keys)[number::_LANES] for number in range(_LANES)]
        await asyncio.gather(*(some(client.lane(n), of) for n, of in enumerate(dealt, start=1)))


async def _is_done(lane: LabClient, key: str, change: Change) -> bool:
    for _ in range(_TRIES):
        reply = await change(lane, key)
        if reply is None or reply.is_ok:
            return True
    return False
