"""Races: one write of a key, and readers who ask for it again and again while it is under way.

Each race has a key of its own, written once before. The writer asks one of its homes, always the
same node, and the readers ask the others: who sees the new value, and who, after that, still the
old one?
"""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import cycle
from random import Random
from typing import Final

from chaos.clients import LabClient
from chaos.errors import SettingError
from chaos.modes import Mode
from chaos.recording import Placement
from chaos.workloads.workload import Memory, Workload

READS_AFTER: Final = 2
"""What a reader still asks for once the write has returned."""

READS_MAX: Final = 20
"""Of one reader; a write that hangs must not fill the history."""


class Races(Workload):
    """A step of the writer is a race; its stream is sequential, so there is one at a time."""

    def __init__(
        self,
        mode: Mode,
        *,
        readers: Sequence[str],
        written_at: str,
        keys: int,
        name: str = "races",
    ) -> None:
        """Name the objects.

        Args:
            mode: of all requests.
            readers: names of the clients that read; whoever has the stream writes.
            written_at: the node that is asked to write.
            keys: how many; those that have a home there are raced for.
            name: see `Workload`.
        """
        super().__init__(name, mode, keys=keys)
        self._written_at = written_at
        self._reader_names = tuple(readers)
        self._readers: tuple[LabClient, ...] = ()
        self._read_at: list[tuple[str, list[str]]] = []
        self._memory = Memory()

    async def prepare(self, clients: Mapping[str, LabClient]) -> None:
        self._readers = tuple(clients[name] for name in self._reader_names)
        writer = next(one for name, one in clients.items() if name not in self._reader_names)
        self._memory.begin(await self._preload(dict.fromkeys(self.keys, writer)))

    def locate(self, placements: Mapping[tuple[str, str], Placement]) -> None:
        """Be told where the objects belong, by bucket and key.

        Raises:
            SettingError: no key has the homes that a race needs.
        """
        homes = {key: placements[self.bucket, key].primaries for key in self.keys}
        self._read_at = [
            (key, [node for node in nodes if node != self._written_at])
            for key, nodes in homes.items()
            if self._written_at in nodes and len(nodes) > 1
        ]
        if not self._read_at:
            raise SettingError(
                f"{self.name}: no key can be written at one home and read at another"
            )

    async def step(self, client: LabClient, dice: Random, intended_s: float) -> None:
        if not self._read_at:
            return
        key, nodes = self._read_at.pop()
        written = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            turns = cycle(dice.sample(nodes, len(nodes)))
            for reader, node in zip(self._readers, turns, strict=False):
                group.create_task(self._read_until(written, reader, key, node))
            await self._write(client, key, intended_s)
            written.set()

    async def _write(self, client: LabClient, key: str, intended_s: float) -> None:
        await client.put(
            self.mode,
            self.name,
            self.bucket,
            key,
            self._written_at,
            based_on=self._memory.of(client, key),
            intended_s=intended_s,
        )

    async def _read_until(
        self, written: asyncio.Event, reader: LabClient, key: str, node: str
    ) -> None:
        """Read, over and over, until a little after the write has returned."""
        after = 0
        for _ in range(READS_MAX):
            after += written.is_set()
            await reader.get(self.mode, self.name, self.bucket, key, node)
            if after == READS_AFTER:
                return
