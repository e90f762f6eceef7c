"""Looks: after each acknowledgement of a write, one read at each of some set times.

Each write is read once at each time, by a reader and through a node that nobody else asked for it,
so the reads of one time are independent of each other, and their share of hits is an average.
"""

import asyncio
from collections.abc import Mapping
from random import Random

from chaos.clients import LabClient
from chaos.modes import Mode
from chaos.recording import Placement
from chaos.workloads.workload import Memory, Workload


class Looks(Workload):
    """A step of the writer is a write of a key in turn, and the looks at it.

    A key has one writer, who asks the same home every time; so its versions have one order. Its
    stream may be concurrent: a key whose looks are not over is passed over.
    """

    def __init__(
        self, mode: Mode, *, readers: Mapping[str, float], keys: int, name: str = "looks"
    ) -> None:
        """Name the objects.

        Args:
            mode: of all requests.
            readers: name of each client that reads, and how long after the acknowledgement.
            keys: how many.
            name: see `Workload`.
        """
        super().__init__(name, mode, keys=keys)
        self._lags_s = sorted(readers.items(), key=lambda reader: reader[1])
        self._readers: list[tuple[LabClient, float]] = []
        self._written_at: dict[str, str] = {}
        self._memory = Memory()
        self._rested = list(self.keys)

    async def prepare(self, clients: Mapping[str, LabClient]) -> None:
        self._readers = [(clients[name], lag_s) for name, lag_s in self._lags_s]
        writer = next(one for name, one in clients.items() if name not in dict(self._lags_s))
        self._memory.begin(await self._preload(dict.fromkeys(self.keys, writer)))

    def locate(self, placements: Mapping[tuple[str, str], Placement]) -> None:
        """Be told where the objects belong, by bucket and key; homes take turns at being asked."""
        self._written_at = {
            key: homes[number % len(homes)]
            for number, key in enumerate(self.keys)
            for homes in [placements[self.bucket, key].primaries]
        }

    async def step(self, client: LabClient, dice: Random, intended_s: float) -> None:
        if not self._rested:
            return
        key = self._rested.pop(0)
        reply = await client.put(
            self.mode,
            self.name,
            self.bucket,
            key,
            self._written_at[key],
            based_on=self._memory.of(client, key),
            returning=True,
            intended_s=intended_s,
        )
        self._memory.note(client, key, reply)
        if reply.is_ok:
            await self._look(client, key, dice, client.history.clock_s())
        self._rested.append(key)

    async def _look(self, writer: LabClient, key: str, dice: Random, acknowledged_s: float) -> None:
        others = [node for node in writer.nodes if node != self._written_at[key]]
        async with asyncio.TaskGroup() as group:
            for reader, lag_s in self._readers:
                due_s = acknowledged_s + lag_s
                await asyncio.sleep(due_s - writer.history.clock_s())
                group.create_task(
                    _lane(reader, writer).get(
                        self.mode,
                        self.name,
                        self.bucket,
                        key,
                        dice.choice(others),
                        intended_s=due_s,
                        note=lag_note(lag_s),
                    )
                )


def lag_note(lag_s: float) -> str:
    """What stands in the history beside a read so long after an acknowledgement."""
    return f"lag_ms={lag_s * 1000:g}"


def _lane(reader: LabClient, writer: LabClient) -> LabClient:
    """A name of its own for each of several reads at a time, as the writer has one."""
    number = writer.name.removeprefix(f"{writer.home}.")
    return reader.lane(int(number)) if number.isdecimal() else reader
