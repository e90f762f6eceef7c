"""What became of the elements of sets and the items of carts, by the history and the end. Pure.

A value's payload lists its elements. Concurrent values are one set: their union (Dynamo 4.4, where
the cart is the example). What a write added or removed follows from what it was based on.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from chaos.recording import Operation, Outcome, ReplicaState
from chaos.values import named

_BETWEEN = ","


def payload(elements: Iterable[str]) -> str:
    """Elements as a value carries them."""
    return _BETWEEN.join(sorted(elements))


def elements(values: Iterable[str]) -> frozenset[str]:
    """The union of what values carry; what is no whole value of this lab carries nothing."""
    known = filter(None, map(named, values))
    return frozenset(e for value in known if value.payload for e in value.payload.split(_BETWEEN))


def held(states: Iterable[ReplicaState], bucket: str, key: str) -> frozenset[str]:
    """The values that any home of an object holds."""
    return frozenset(
        value.text
        for state in states
        if state.primary and (state.bucket, state.key) == (bucket, key)
        for value in state.values
        if not value.deleted
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one write changed of what its client had been shown.

    Attributes:
        write: the operation.
        added: what was not shown to it and is written.
        removed: what was shown to it and is not written.
    """

    write: Operation
    added: frozenset[str]
    removed: frozenset[str]


def changes(operations: Iterable[Operation]) -> Iterator[Change]:
    """The writes of sets, and what each changed.

    Args:
        operations: of one object, in the order of `index`, all of them.
    """
    shown: dict[int, frozenset[str]] = {}
    for operation in operations:
        if operation.shown is not None:
            shown[operation.index] = elements(operation.shown)
        if operation.written is not None:
            before = frozenset[str]()
            if operation.based_on is not None:
                before = shown.get(operation.based_on, before)
            after = elements((operation.written,))
            yield Change(write=operation, added=after - before, removed=before - after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """An element whose write was acknowledged and which is not there.

    Attributes:
        element: the element.
        write: index of the write that added it.
        missed_by: index of the first successful read, begun after the acknowledgement, that did not
            show it; None if there was none.
        hidden_by: index of the write whose value that read showed in its place; None if not known.
    """

    element: str
    write: int
    missed_by: int | None = None
    hidden_by: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetOutcome:
    """What became of a set to which elements were only ever added.

    Attributes:
        sent: elements whose write was sent.
        acknowledged: those that were acknowledged.
        survivors: what is there in the end.
        losses: see `lost`, in the order in which they were written.
    """

    sent: frozenset[str]
    acknowledged: frozenset[str]
    survivors: frozenset[str]
    losses: tuple[Loss, ...]

    @property
    def lost(self) -> frozenset[str]:
        """Acknowledged, and not there."""
        return self.acknowledged - self.survivors

    @property
    def unacknowledged(self) -> frozenset[str]:
        """There, although nobody was told so."""
        return self.survivors - self.acknowledged

    @property
    def acknowledged_percent(self) -> float:
        """Of those that were sent."""
        return 100 * len(self.acknowledged) / len(self.sent) if self.sent else 0.0

    @property
    def lost_percent(self) -> float:
        """Of those that were acknowledged."""
        return 100 * len(self.lost) / len(self.acknowledged) if self.acknowledged else 0.0


def set_outcome(operations: Iterable[Operation], values: Iterable[str]) -> SetOutcome:
    """What became of a set.

    Args:
        operations: of one object, in the order of `index`, all of them.
        values: what is there in the end.
    """
    history = list(operations)
    adds = {element: change.write for change in changes(history) for element in change.added}
    acknowledged = {e for e, write in adds.items() if write.outcome is Outcome.OK}
    survivors = elements(values)
    lost = sorted(acknowledged - survivors, key=lambda e: adds[e].index)
    return SetOutcome(
        sent=frozenset(adds),
        acknowledged=frozenset(acknowledged),
        survivors=survivors,
        losses=tuple(_losses(history, {e: adds[e] for e in lost})),
    )


def _losses(operations: list[Operation], lost: dict[str, Operation]) -> Iterator[Loss]:
    """Who noticed first, and what was there instead."""
    writers = {op.written: op.index for op in operations if op.written is not None}
    reads = [(op, elements(op.shown)) for op in operations if not op.is_write and op.shown]
    for element, write in lost.items():
        missed = next(
            (
                read
                for read, shown in reads
                if read.invoked_s > write.returned_s and element not in shown
            ),
            None,
        )
        hidden_by = None
        if missed is not None and missed.shown:
            hidden_by = writers.get(missed.shown[0])
        yield Loss(
            element=element,
            write=write.index,
            missed_by=None if missed is None else missed.index,
            hidden_by=hidden_by,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CartOutcome:
    """What became of a cart: items are added, and others removed by writing the rest.

    Attributes:
        added: items whose adding was acknowledged.
        removed: items whose removal was acknowledged.
        lost: added, never asked to be removed, and not there.
        returned: removed, and there all the same. Where carts are merged by union they may be: a
            concurrent cart still had them (Dynamo 4.4: "deleted items can resurface").
    """

    added: frozenset[str]
    removed: frozenset[str]
    lost: frozenset[str]
    returned: frozenset[str]


def cart_outcome(operations: Iterable[Operation], values: Iterable[str]) -> CartOutcome:
    """What became of a cart.

    Args:
        operations: of one object, in the order of `index`, all of them.
        values: what is there in the end.
    """
    added, removed, perhaps_removed = set[str](), set[str](), set[str]()
    for change in changes(operations):
        if change.write.outcome is Outcome.OK:
            added |= change.added
            removed |= change.removed
        if change.write.outcome is not Outcome.FAIL:
            perhaps_removed |= change.removed
    there = elements(values)
    return CartOutcome(
        added=frozenset(added),
        removed=frozenset(removed),
        lost=frozenset(added - perhaps_removed - there),
        returned=frozenset(removed & there),
    )
