"""Takes around sets and carts, by hand: who read which, wrote what, and what was left of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from chaos.modes import Mode
from chaos.recording import (
    Action,
    Fault,
    HeldValue,
    Operation,
    Outcome,
    ReplicaState,
    Sample,
    Take,
)
from chaos.values import Named
from chaos.workloads.elements import payload
from tests.unit.chaos.checkers.histories import HOMES, NODES, Told, fault, placed, text_of


class Kept(NamedTuple):
    """One set, or cart."""

    mode: Mode
    bucket: str = "b"
    key: str = "k"


class Client(NamedTuple):
    """Where somebody stands, and whom he asks."""

    side: str
    node: str


CLIENTS = {f"c{n}": Client("A" if n < 3 else "B", f"n{n}") for n in range(1, 6)}


@dataclass(kw_only=True)
class Sets:
    """A take that is being made up; an operation lasts 10 ms and begins when it is told to."""

    modes: tuple[Mode, ...]
    clients: Mapping[str, Client] = field(default_factory=lambda: CLIENTS)
    faults: tuple[Fault, ...] = (fault("cut", 10.0, 20.0, "n1>n3"),)
    operations: list[Operation] = field(default_factory=list)
    states: list[ReplicaState] = field(default_factory=list)
    samples: tuple[Sample, ...] = ()
    head: dict[str, object] = field(default_factory=dict)

    def read(self, of: Kept, by: str, at_s: float, *shown: Operation) -> Operation:
        return self._add(Action.GET, of, by, at_s, shown=tuple(map(text_of, shown)))

    def refused(self, of: Kept, by: str, at_s: float) -> Operation:
        """A read that was not answered."""
        return self._add(Action.GET, of, by, at_s, outcome=Outcome.INFO)

    def write(
        self,
        of: Kept,
        by: str,
        at_s: float,
        items: str,
        *,
        after: Operation | None = None,
        outcome: Outcome = Outcome.OK,
    ) -> Operation:
        number = len(self.operations)
        text = str(Named(key=of.key, client=by, number=number, payload=payload(items.split())))
        return self._add(Action.PUT, of, by, at_s, written=text, after=after, outcome=outcome)

    def adds(
        self, of: Kept, by: str, at_s: float, items: str, *shown: Operation, last_s: float = 0.02
    ) -> Operation:
        """Read what is there and write this instead, half of the time after that."""
        seen = self.read(of, by, at_s, *shown)
        return self.write(of, by, at_s + last_s / 2, items, after=seen if seen.shown else None)

    def ends(self, of: Kept, *writes: Operation, stamped_ms: Sequence[int] = ()) -> None:
        """What all homes hold, and when that was written by the clock; the first by default."""
        stamps = stamped_ms or range(len(writes), 0, -1)
        values = tuple(
            HeldValue(text=text_of(write), modified_at_ms=at_ms)
            for write, at_ms in zip(writes, stamps, strict=True)
        )
        self.states += [
            ReplicaState(
                node=node, bucket=of.bucket, key=of.key, primary=True, digest="d", values=values
            )
            for node in HOMES
        ]

    def take(self) -> Take:
        places = sorted({operation.place for operation in self.operations})
        told = Told(
            head={
                "modes": self.modes,
                "sides": {"A": NODES[:2], "B": NODES[2:]},
                "faults": self.faults,
                "placements": tuple(
                    msgspec.structs.replace(placed(key), bucket=bucket) for bucket, key in places
                ),
                **self.head,
            }
        )
        return msgspec.structs.replace(
            told.take(),
            operations=tuple(self.operations),
            samples=self.samples,
            final=tuple(self.states),
        )

    def _add(
        self,
        action: Action,
        of: Kept,
        by: str,
        at_s: float,
        *,
        outcome: Outcome = Outcome.OK,
        shown: tuple[str, ...] | None = None,
        written: str | None = None,
        after: Operation | None = None,
    ) -> Operation:
        operation = Operation(
            index=len(self.operations),
            workload="made up",
            mode=of.mode.name,
            client=by,
            side=self.clients[by].side,
            node=self.clients[by].node,
            action=action,
            bucket=of.bucket,
            key=of.key,
            intended_s=at_s,
            invoked_s=at_s,
            returned_s=at_s + 0.01,
            outcome=outcome,
            shown=shown,
            written=written,
            based_on=None if after is None else after.index,
        )
        self.operations.append(operation)
        return operation
