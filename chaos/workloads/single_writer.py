"""One writer for each key, readers everywhere: how stale is what they read?

The writes of a key have one order, and everybody knows it: that of their numbers. So what a read
missed can be counted, in versions and in time (Bailis et al., "Probabilistically Bounded
Staleness").
"""

import asyncio
from collections.abc import Mapping, Sequence
from random import Random

from chaos.clients import LabClient
from chaos.errors import SettingError
from chaos.modes import Mode
from chaos.workloads.workload import Memory, Workload


class SingleWriter(Workload):
    """Writers write their own keys in turn, all others read any.

    Streams of writers are sequential; else a writer would write beside itself.
    """

    def __init__(
        self,
        mode: Mode,
        *,
        writers: Sequence[str],
        keys: int = 8,
        lags_s: Sequence[float] = (),
        name: str = "single-writer",
    ) -> None:
        """Name the objects.

        Args:
            mode: of all requests.
            writers: names of the clients that write; keys are dealt out to them.
            keys: how many; each writer has one at least.
            lags_s: if there are any, each acknowledged write is followed by a read so long after
                it, of another node if the client may ask one; drawn from these, and noted as
                `lag_ms=...`.
            name: see `Workload`.

        Raises:
            SettingError: a writer has no key.
        """
        if not 0 < len(writers) <= keys:
            raise SettingError(f"{name}: {keys} keys for {len(writers)} writers; one each at least")
        super().__init__(name, mode, keys=keys)
        self._own = {
            writer: self.keys[number :: len(writers)] for number, writer in enumerate(writers)
        }
        self._turn = dict.fromkeys(writers, 0)
        self._lags_s = tuple(lags_s)
        self._memory = Memory()

    async def prepare(self, clients: Mapping[str, LabClient]) -> None:
        writers = {key: clients[writer] for writer, own in self._own.items() for key in own}
        self._memory.begin(await self._preload(writers))

    async def step(self, client: LabClient, dice: Random, intended_s: float) -> None:
        if client.home in self._own:
            await self._write(client, dice, intended_s)
        else:
            await self._get(client, dice.choice(self.keys), dice, intended_s)

    async def _write(self, client: LabClient, dice: Random, intended_s: float) -> None:
        own, turn = self._own[client.home], self._turn[client.home]
        self._turn[client.home] = turn + 1
        key, node = own[turn % len(own)], client.draw_node(dice)
        if self._memory.must_look(client, key):
            self._memory.note(client, key, await self._get(client, key, dice, intended_s))
            return
        reply = await client.put(
            self.mode,
            self.name,
            self.bucket,
            key,
            node,
            based_on=self._memory.of(client, key),
            returning=True,
            intended_s=intended_s,
        )
        self._memory.note(client, key, reply)
        if reply.is_ok and self._lags_s:
            await self._look_again(client, dice, key, node)

    async def _look_again(self, client: LabClient, dice: Random, key: str, node: str) -> None:
        """Read what was just written, a while after it was acknowledged."""
        lag_s = dice.choice(self._lags_s)
        others = [other for other in client.nodes if other != node] or [node]
        due_s = client.history.clock_s() + lag_s
        await asyncio.sleep(lag_s)
        await client.get(
            self.mode,
            self.name,
            self.bucket,
            key,
            dice.choice(others),
            intended_s=due_s,
            note=f"lag_ms={lag_s * 1000:g}",
        )
