"""What a read should have shown and did not: the question behind staleness and sessions.

Somebody is entitled to see a write: everybody to one acknowledged before, its writer to his own, a
reader to what he saw already. A read *missed* it if it shows neither that write nor anything that
may have replaced it. In doubt nothing is missed, so what is counted is never too much:

* Siblings: replaced is what is below something shown (`causality`, the possible order), and what
  may be below a deletion that began before the read returned, for deletions do not show beside
  values and are forgotten in the end. But where a value that is certainly below the write is still
  shown, the write was missed whatever was deleted. A deletion itself is missed in this way only.

* Last write wins: a concurrent write may have won, so a write is missed only if all that is shown
  was *known before* it began: acknowledged, or shown to anybody. Nothing shown is as good as any
  deletion that was not known before. Clients cannot see clocks: where these are so wrong that the
  later write loses, the reads that do not show it are counted as well, and rightly so for who
  wrote it.
"""

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import ClassVar, Protocol

from chaos.checkers.causality import Causality
from chaos.modes import Conflicts, Mode
from chaos.recording import Action, Operation, Outcome

Place = tuple[str, str]
"""Bucket and key."""


class Replaced(Protocol):
    """What one object's reads may leave out.

    Attributes:
        keeps_one: it never has siblings.
    """

    keeps_one: ClassVar[bool]

    def missed(self, read: Operation, expected: Iterable[Operation]) -> list[Operation]:
        """Which of these writes a read missed.

        Args:
            read: successful, of this object.
            expected: writes to this object that whoever read was entitled to see.
        """
        ...


def by_object(operations: Iterable[Operation]) -> dict[Place, list[Operation]]:
    """The operations on each object, in the order given; objects by name."""
    objects: dict[Place, list[Operation]] = defaultdict(list)
    for operation in operations:
        objects[operation.place].append(operation)
    return {place: objects[place] for place in sorted(objects)}


def replaced(operations: Sequence[Operation], modes: Iterable[Mode]) -> Replaced:
    """What may be left out of reads of one object.

    Args:
        operations: all of that object.
        modes: those of the take. An object whose operations name none of them keeps siblings.
    """
    conflicts = {mode.name: mode.conflicts for mode in modes}
    if any(conflicts.get(operation.mode) is Conflicts.LWW for operation in operations):
        return ReplacedByTheLast(operations)
    return ReplacedByContext(operations)


def is_read(operation: Operation) -> bool:
    """Whether it says what was there."""
    return (
        operation.action is Action.GET
        and operation.outcome is Outcome.OK
        and operation.shown is not None
    )


def acknowledged(operations: Iterable[Operation]) -> list[Operation]:
    """The writes that surely took place, by the instant at which that was known."""
    writes = (op for op in operations if op.is_write and op.outcome is Outcome.OK)
    return sorted(writes, key=lambda write: write.returned_s)


class ReplacedByContext:
    """One object that keeps siblings."""

    keeps_one: ClassVar[bool] = False

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._causality = causality = Causality(operations)
        deletes = sorted(
            (op for op in causality.writes if _is_deletion(op)), key=lambda delete: delete.invoked_s
        )
        self._deletes_s = [delete.invoked_s for delete in deletes]
        self._deleted = list(
            accumulate(
                (causality.possible_ancestors(delete.index) for delete in deletes),
                frozenset.union,
                initial=frozenset[int](),
            )
        )
        self._past: dict[int, frozenset[int]] = {}

    def missed(self, read: Operation, expected: Iterable[Operation]) -> list[Operation]:
        """See `Replaced`."""
        covered = self._causality.possibly_covered(read.index)
        deleted = self._deleted[bisect_right(self._deletes_s, read.returned_s)]
        shown = [self._causality.writers_of(text) for text in read.shown or ()]
        return [
            write
            for write in expected
            if write.index not in covered
            and (
                self._is_above(write, shown) or not (_is_deletion(write) or write.index in deleted)
            )
        ]

    def _is_above(self, write: Operation, shown: Iterable[tuple[int, ...]]) -> bool:
        """Whether it certainly replaced a text that is shown, whichever writer stored that."""
        if write.index not in self._past:
            self._past[write.index] = self._causality.certain_ancestors(write.index)
        return any(writers and self._past[write.index].issuperset(writers) for writers in shown)


class ReplacedByTheLast:
    """One object of which only the last write stays."""

    keeps_one: ClassVar[bool] = True

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._known_s = _known_s(operations)
        self._deletes = [op for op in operations if _is_deletion(op)]
        self._texts = {op.written for op in operations if op.action is Action.PUT}

    def missed(self, read: Operation, expected: Iterable[Operation]) -> list[Operation]:
        """See `Replaced`."""
        texts = [text for text in read.shown or () if text in self._texts]
        if read.shown and not texts:
            return []  # what nobody wrote was written at no time
        if texts:
            known_s = max(self._known_s.get(text, math.inf) for text in texts)
            return [w for w in expected if w.written not in texts and known_s < w.invoked_s]
        return [w for w in expected if not _is_deletion(w) and not self._may_be_deleted(w, read)]

    def _may_be_deleted(self, write: Operation, read: Operation) -> bool:
        return any(
            delete.invoked_s <= read.returned_s and not _is_before(delete, write)
            for delete in self._deletes
        )


def _known_s(operations: Iterable[Operation]) -> dict[str, float]:
    """By text, when it was first known to be stored: acknowledged, or shown."""
    known_s: dict[str, float] = {}
    for operation in operations:
        if operation.outcome is not Outcome.OK:
            continue
        own = () if operation.action is not Action.PUT else (operation.written,)
        for text in (*own, *(operation.shown or ())):
            if text is not None:
                known_s[text] = min(known_s.get(text, math.inf), operation.returned_s)
    return known_s


def _is_before(write: Operation, other: Operation) -> bool:
    return write.outcome is Outcome.OK and write.returned_s < other.invoked_s


def _is_deletion(operation: Operation) -> bool:
    """Whether it may have deleted something."""
    return operation.action is Action.DELETE and operation.outcome is not Outcome.FAIL
