"""Keys that are written, deleted and written again, always with the context of what was shown.

What was deleted must not come back, and what was written after a delete must not go with it.
"""

from random import Random

from chaos.clients import LabClient
from chaos.modes import Mode
from chaos.workloads.workload import Workload


class Deletes(Workload):
    """A step reads; what is there it deletes or replaces, what is not it writes."""

    def __init__(
        self, mode: Mode, *, keys: int = 6, delete_fraction: float = 0.6, name: str = "deletes"
    ) -> None:
        """Name the objects.

        Args:
            mode: of all requests.
            keys: how many.
            delete_fraction: of the steps that find something, how many delete it.
            name: see `Workload`.
        """
        super().__init__(name, mode, keys=keys)
        self._delete_fraction = delete_fraction

    async def step(self, client: LabClient, dice: Random, intended_s: float) -> None:
        key, deletes = dice.choice(self.keys), dice.random() < self._delete_fraction
        reply = await self._get(client, key, dice, intended_s)
        if reply.shown and deletes:
            await self._delete(client, key, dice, based_on=reply)
        elif reply.is_ok:
            await self._put(client, key, dice, based_on=reply)
