"""Registers: reads and writes of many keys, a request each.

A write is based on what its client was last shown of the key, by a read or by its own last write;
so reads and writes are independent requests, and the availability of each can be measured alone.
"""

from collections.abc import Mapping
from random import Random

from chaos.clients import LabClient
from chaos.modes import Mode
from chaos.workloads.workload import Memory, Workload


class Registers(Workload):
    """Reads and writes in a fixed mix, of keys drawn evenly."""

    def __init__(
        self, mode: Mode, *, keys: int = 200, read_fraction: float = 0.5, name: str = "registers"
    ) -> None:
        """Name the objects.

        Args:
            mode: of all requests.
            keys: how many.
            read_fraction: share of reads, from 0 to 1.
            name: see `Workload`.
        """
        super().__init__(name, mode, keys=keys)
        self._read_fraction = read_fraction
        self._memory = Memory()

    async def prepare(self, clients: Mapping[str, LabClient]) -> None:
        everybody = list(clients.values())
        writers = {key: everybody[n % len(everybody)] for n, key in enumerate(self.keys)}
        self._memory.begin(await self._preload(writers))

    async def step(self, client: LabClient, dice: Random, intended_s: float) -> None:
        key = dice.choice(self.keys)
        reads = dice.random() < self._read_fraction
        if reads or self._memory.must_look(client, key):
            reply = await self._get(client, key, dice, intended_s)
        else:
            reply = await self._put(
                client,
                key,
                dice,
                based_on=self._memory.of(client, key),
                returning=True,
                intended_s=intended_s,
            )
        self._memory.note(client, key, reply)
