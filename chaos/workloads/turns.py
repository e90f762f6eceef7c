"""Clients add to the same sets in turns: who writes which set in which round is said by a script.

So of two writes it is known which came last, by a clock that all clients share.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import count
from random import Random

from chaos.clients import LabClient
from chaos.modes import Mode
from chaos.workloads.elements import elements, payload
from chaos.workloads.workload import Workload


class Turns(Workload):
    """A step adds an element to the next set of its client; where none is left, it does nothing.

    Streams are sequential, and a round ends with its load: whoever writes in a later one begins
    when all before have their answers.
    """

    def __init__(self, mode: Mode, *, keys: int, name: str = "turns") -> None:
        """Name the objects.

        Args:
            mode: of all requests.
            keys: how many sets.
            name: see `Workload`.
        """
        super().__init__(name, mode, keys=keys)
        self._elements = count(1)
        self._turns: dict[str, deque[str]] = {}

    @property
    def is_over(self) -> bool:
        """Whether nobody has a set left to write in this round."""
        return not any(self._turns.values())

    def begin(self, turns: Mapping[str, Sequence[str]]) -> None:
        """Say which keys each client is to write in the next round, in what order."""
        self._turns = {client: deque(keys) for client, keys in turns.items()}

    async def step(self, client: LabClient, dice: Random, intended_s: float) -> None:
        own = self._turns.get(client.name)
        if not own:
            return
        key, element = own.popleft(), str(next(self._elements))
        reply = await self._get(client, key, dice, intended_s)
        if reply.shown is not None:
            items = elements(reply.shown) | {element}
            await self._put(client, key, dice, based_on=reply, payload=payload(items))
