"""Additions to a set: read it, add an element of one's own to the union of what is there, write.

The protocol of Kyle Kingsbury's "Call me maybe: Riak" (2013): an acknowledged element that is not
there in the end is a lost update, whoever is to blame. With a lock around each addition nobody
races with anybody, so what is lost even then is not lost to races.
"""

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from itertools import count
from random import Random

from chaos.clients import LabClient
from chaos.modes import Mode
from chaos.workloads.elements import elements, payload
from chaos.workloads.workload import Workload


class SetAdd(Workload):
    """Elements are numbers, each added by one client, once, and tried no second time."""

    def __init__(
        self,
        mode: Mode,
        *,
        keys: int = 1,
        lock: asyncio.Lock | None = None,
        name: str = "set-add",
    ) -> None:
        """Name the objects.

        Args:
            mode: of all requests.
            keys: how many sets.
            lock: held by a client from its read to its write; it reaches everybody at once,
                whatever the network does, which no real lock can. Waiting for it counts as latency.
            name: see `Workload`.
        """
        super().__init__(name, mode, keys=keys)
        self._lock = lock
        self._elements = count(1)

    async def step(self, client: LabClient, dice: Random, intended_s: float) -> None:
        key, element = dice.choice(self.keys), str(next(self._elements))
        async with self._alone():
            reply = await self._get(client, key, dice, intended_s)
            if reply.shown is not None:
                await self._put(
                    client,
                    key,
                    dice,
                    based_on=reply,
                    payload=payload(elements(reply.shown) | {element}),
                )

    def _alone(self) -> AbstractAsyncContextManager[None]:
        return nullcontext() if self._lock is None else self._lock
