"""Shopping carts, Dynamo's own example: put something in, take something out, never be refused.

Siblings are merged by union where they are read (Dynamo 4.4): nothing that was added is lost, and
what was removed in one sibling returns from another.
"""

from itertools import count
from random import Random
from typing import Final

from chaos.clients import LabClient
from chaos.modes import Mode
from chaos.workloads.elements import elements, payload
from chaos.workloads.workload import Workload

ITEMS_MAX: Final = 20
"""A fuller cart is only emptied."""


class Cart(Workload):
    """Items are numbers, each added once."""

    def __init__(
        self, mode: Mode, *, keys: int = 5, remove_fraction: float = 0.3, name: str = "cart"
    ) -> None:
        """Name the objects.

        Args:
            mode: of all requests.
            keys: how many carts.
            remove_fraction: share of steps that take something out of a cart, if there is anything.
            name: see `Workload`.
        """
        super().__init__(name, mode, keys=keys)
        self._remove_fraction = remove_fraction
        self._items = count(1)

    async def step(self, client: LabClient, dice: Random, intended_s: float) -> None:
        key, wants_less = dice.choice(self.keys), dice.random() < self._remove_fraction
        reply = await self._get(client, key, dice, intended_s)
        if reply.shown is None:
            return
        items = elements(reply.shown)
        if items and (wants_less or len(items) >= ITEMS_MAX):
            items -= {dice.choice(sorted(items))}
        else:
            items |= {str(next(self._items))}
        await self._put(client, key, dice, based_on=reply, payload=payload(items))
