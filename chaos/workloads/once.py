"""Keys that are written once, each: their values say for good who wrote them, and by what clock."""

from collections.abc import Iterable
from random import Random

from chaos.clients import LabClient
from chaos.modes import Mode
from chaos.workloads.workload import Workload


class Once(Workload):
    """A step writes the next key; when none is left it does nothing."""

    def __init__(self, mode: Mode, *, keys: int, name: str = "once") -> None:
        """Name the objects; arguments as for all workloads."""
        super().__init__(name, mode, keys=keys)
        self._left = dict.fromkeys(self.keys)

    async def step(self, client: LabClient, dice: Random, intended_s: float) -> None:
        for key in [*self._left][:1]:
            del self._left[key]
            await self._put(client, key, dice, based_on=None, intended_s=intended_s)

    async def write(
        self, client: LabClient, node: str, keys: Iterable[str], writes_max: int
    ) -> None:
        """Have a node write some of these keys, of those that nobody wrote yet."""
        for key in [key for key in keys if key in self._left][:writes_max]:
            del self._left[key]
            await client.put(self.mode, self.name, self.bucket, key, node)
