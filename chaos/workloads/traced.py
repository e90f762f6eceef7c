"""Traced requests: reads and writes that ask for a receipt, which tells what each replica took.

They measure the delays of a network as requests meet them, beside whatever else is going on.
"""

from collections.abc import Mapping
from itertools import cycle
from random import Random
from typing import Final

from chaos.clients import LabClient
from chaos.modes import Mode
from chaos.recording import Placement
from chaos.workloads.workload import Memory, Workload
from dynamo.core.receipts import Account, Receipt

_TOOK: Final = "took_ms"


class Traced(Workload):
    """A step reads a key through any node, or writes it through any of its homes, in turn."""

    def __init__(self, mode: Mode, *, keys: int = 40, name: str = "traced") -> None:
        """Name the objects; what matters of the mode is how conflicts are settled."""
        super().__init__(name, mode, keys=keys)
        self._homes: dict[str, tuple[str, ...]] = {}
        self._memory = Memory()
        self._turns = cycle((key, writes) for writes in (True, False) for key in self.keys)

    async def prepare(self, clients: Mapping[str, LabClient]) -> None:
        everybody = list(clients.values())
        writers = {key: everybody[n % len(everybody)] for n, key in enumerate(self.keys)}
        self._memory.begin(await self._preload(writers))

    def locate(self, placements: Mapping[tuple[str, str], Placement]) -> None:
        """Be told where the objects belong, by bucket and key."""
        self._homes = {key: placements[self.bucket, key].primaries for key in self.keys}

    async def step(self, client: LabClient, dice: Random, intended_s: float) -> None:
        key, writes = next(self._turns)
        receipts: list[Receipt] = []
        if writes:
            reply = await client.put(
                self.mode,
                self.name,
                self.bucket,
                key,
                dice.choice(self._homes[key]),
                based_on=self._memory.of(client, key),
                returning=True,
                intended_s=intended_s,
                on_receipt=receipts.append,
            )
        else:
            reply = await client.get(
                self.mode,
                self.name,
                self.bucket,
                key,
                client.draw_node(dice),
                intended_s=intended_s,
                on_receipt=receipts.append,
            )
        self._memory.note(client, key, reply)
        for receipt in receipts:
            account = receipt.write if writes else receipt.read
            if account is not None:
                client.history.remark(reply.index, _told(account))


def _told(account: Account) -> str:
    """How long each replica took, as it stands in the history."""
    took = [
        f"{answer.node}={answer.took_ms:g}"
        for answer in account.replicas
        if answer.took_ms is not None and answer.stands_in_for is None
    ]
    return f"{_TOOK} {' '.join(took)}"


def took_s(note: str) -> dict[str, float]:
    """How long each replica took, by the note of a traced operation; empty of any other."""
    what, _, told = note.partition(" ")
    if what != _TOOK:
        return {}
    answers = (answer.partition("=") for answer in told.split())
    return {node: float(ms) / 1000 for node, _, ms in answers}
