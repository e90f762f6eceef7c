"""The delays of a network, from traced requests; and the journeys that are predicted from them.

A receipt tells how long a replica took: there and back. Where only the way there is delayed, the
way back is half of what both take without any delay, and the rest is the way there.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Final, NamedTuple, Self

import numpy as np

from chaos.predictions.staleness import NO_TIME, Reading, Seconds, Writing
from chaos.recording import Action, Operation, Outcome
from chaos.workloads.traced import took_s

Pair = tuple[str, str]
"""Who coordinates, and a replica."""

_FEWEST: Final = 5
"""Samples of a way; fewer say little of it."""


class Delays(NamedTuple):
    """What was measured.

    Attributes:
        written_s: W, until a write is durable at a replica, by coordinator and replica.
        came_s: R, until a read has come to a replica.
        back_s: A and S, from a replica back to the coordinator.
        answer_s: from the coordinator of a write back to its client.
        asking_s: from the client of a read to its coordinator.
    """

    written_s: dict[Pair, Seconds]
    came_s: dict[Pair, Seconds]
    back_s: float
    answer_s: Seconds
    asking_s: Seconds

    @classmethod
    def of(cls, undelayed: Iterable[Operation], delayed: Sequence[Operation]) -> Self:
        """Measure.

        Args:
            undelayed: from a time in which nothing was delayed.
            delayed: from the time that is to be predicted, with requests between nodes delayed.
        """
        both = [t for op in _answered(undelayed, Action.GET) for t in _away(op).values()]
        back_s = median(both) / 2 if both else 0.0
        writes, reads = (list(_answered(delayed, kind)) for kind in (Action.PUT, Action.GET))
        return cls(
            written_s=_samples(writes, back_s),
            came_s=_samples(reads, back_s),
            back_s=back_s,
            answer_s=_outside(writes),
            asking_s=_outside(reads),
        )

    def missing(self, nodes: Sequence[str]) -> list[str]:
        """Ways between nodes that were hardly measured."""
        return [
            f"{a}>{b}"
            for a in nodes
            for b in nodes
            if a != b
            and min(len(of.get((a, b), ())) for of in (self.written_s, self.came_s)) < _FEWEST
        ]

    def writing(self, coordinator: str, homes: Sequence[str], w: int) -> Writing:
        """How a write through this home travels."""
        return Writing(
            there_s=[self.written_s.get((coordinator, home), NO_TIME) for home in homes],
            back_s=self._back(coordinator, homes),
            w=w,
            answer_s=self.answer_s,
        )

    def reading(self, coordinator: str, homes: Sequence[str], r: int) -> Reading:
        """How a read through this node travels; it asks itself for the object, or the first."""
        return Reading(
            there_s=[self.came_s.get((coordinator, home), NO_TIME) for home in homes],
            back_s=self._back(coordinator, homes),
            r=r,
            asking_s=self.asking_s,
            object_from=homes.index(coordinator) if coordinator in homes else 0,
        )

    def _back(self, coordinator: str, homes: Sequence[str]) -> list[Seconds]:
        away = np.full(1, self.back_s)
        return [NO_TIME if home == coordinator else away for home in homes]


def _answered(operations: Iterable[Operation], kind: Action) -> Iterable[Operation]:
    return (
        op
        for op in operations
        if op.action is kind and op.outcome is Outcome.OK and took_s(op.note)
    )


def _away(operation: Operation) -> dict[str, float]:
    """What other nodes than the coordinator took."""
    return {node: t for node, t in took_s(operation.note).items() if node != operation.node}


def _samples(operations: Iterable[Operation], back_s: float) -> dict[Pair, Seconds]:
    """Ways there. On its own node a read takes next to nothing, and a write a commit."""
    found: dict[Pair, list[float]] = defaultdict(list)
    for operation in operations:
        for node, t in took_s(operation.note).items():
            if node != operation.node:
                found[operation.node, node].append(max(t - back_s, 0.0))
            elif operation.is_write:
                found[operation.node, node].append(t)
    return {pair: np.asarray(samples) for pair, samples in found.items()}


def _outside(operations: Iterable[Operation]) -> Seconds:
    """Half of what a request took beyond its slowest replica: the way from its client, or back."""
    beyond = [
        max(op.returned_s - op.invoked_s - max(took_s(op.note).values()), 0.0) / 2
        for op in operations
    ]
    return np.asarray(beyond or [0.0])
