"""Writes without a context: each is concurrent with all others, and must stay beside them.

Siblings that nobody settles pile up until the store refuses more. So each side settles its keys now
and then: a client reads, and writes with the context of what it was shown.
"""

from random import Random
from typing import Final

from chaos.clients import LabClient
from chaos.modes import Mode
from chaos.workloads.workload import Workload

UNSETTLED_MAX: Final = 8
"""Blind writes of one side to a key before it settles it: with three sides below 30 siblings."""


class Blind(Workload):
    """Blind writes of few keys."""

    def __init__(self, mode: Mode, *, keys: int = 4, name: str = "blind") -> None:
        """Name the objects.

        Args:
            mode: of all requests.
            keys: how many.
            name: see `Workload`.
        """
        super().__init__(name, mode, keys=keys)
        self._unsettled: dict[tuple[str, str], int] = {}

    async def step(self, client: LabClient, dice: Random, intended_s: float) -> None:
        key = dice.choice(self.keys)
        whose = (client.side, key)
        # Counted when it is sent: a write that fails may be there all the same.
        unsettled = self._unsettled.get(whose, 0)
        if unsettled < UNSETTLED_MAX:
            self._unsettled[whose] = unsettled + 1
            await self._put(client, key, dice, based_on=None, intended_s=intended_s)
            return
        reply = await self._get(client, key, dice, intended_s)
        if not reply.is_ok:
            return
        settled = await self._put(client, key, dice, based_on=reply)
        if settled.is_ok:
            self._unsettled[whose] = 0
