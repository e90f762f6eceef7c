"""One batch of changes to hints: what is read for it, what it stores, and what it adds up to.

It is made on what is on the disk at that moment, each change on those before it, and is stored or
fails as one, the ledger with it: so the ledger is never ahead of the hints, nor behind them. Of a
hint that rots away, record, row or both, the ledger tells when its row goes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from dynamo.core.codec import clock_of, decode_siblings, encode_siblings
from dynamo.core.ids import NodeId
from dynamo.errors import Corrupted
from dynamo.storage.engine import Delete, Engine, Operation, Put, Table
from dynamo.storage.hint_rows import (
    LEDGER_PLACE,
    HintCounts,
    HintRow,
    hint_place,
    prefix_of,
    row_place,
    seal_hint,
    seal_ledger,
    seal_row,
    unseal_hint,
    unseal_row,
)
from dynamo.storage.records import after_prefix

_ROWS_AT_ONCE = 256


class Change(NamedTuple):
    """A hint before and after a batch; None where there is none."""

    before: HintRow | None
    after: HintRow | None


@dataclass(slots=True)
class _Entry:
    """A place that the batch has looked at.

    Attributes:
        is_there: it has a record, readable or not.
        before: the row of that.
        row: what it will have.
        state: likewise.
    """

    is_there: bool
    before: HintRow | None
    row: HintRow | None
    state: bytes


class HintBatch:
    """Changes that are stored together.

    Attributes:
        counts: the ledger after them.
        sequence: the last that was given.
        corrupted: records and rows that could not be read.
    """

    def __init__(self, engine: Engine, counts: HintCounts, sequence: int) -> None:
        """Nothing has changed yet."""
        self.counts = counts
        self.sequence = sequence
        self.corrupted = 0
        self._engine = engine
        self._counts_before = counts
        self._entries: dict[bytes, _Entry] = {}
        self._mended: dict[bytes, Operation] = {}
        self._records_lost: dict[bytes, Operation] = {}
        self._rows_lost: list[HintRow] = []

    # -- changes ---------------------------------------------------------------------------------

    def merge(self, target: NodeId, key: bytes, incoming: bytes, hinted_at_ms: int) -> None:
        """Join a state to the hint, which moves to the end, unless it holds all of that already.

        Raises:
            StorageError: the disk cannot be read.
        """
        entry = self._entry(target, key)
        state, since = incoming, self.sequence + 1
        if entry.row is not None:
            merged = _joined(entry.state, incoming)
            if merged is None:
                return
            state, since = merged, entry.row.since
            self._count(superseded=1)
        self.sequence += 1
        entry.row = HintRow(target, self.sequence, since, hinted_at_ms, len(key) + len(state), key)
        entry.state = state
        self._count(stored=1)

    def deliver(self, target: NodeId, key: bytes, delivered: bytes) -> None:
        """Drop a hint that its target has, unless more has come since.

        Raises:
            StorageError: the disk cannot be read.
        """
        entry = self._entry(target, key)
        if entry.row is not None and entry.state == delivered:
            entry.row = None
            self._count(delivered=1)

    def expire(self, row: HintRow) -> None:
        """Drop a hint undelivered, unless the batch has changed it.

        Raises:
            StorageError: the disk cannot be read.
        """
        entry = self._entry(row.target, row.key)
        if entry.row is not None and entry.row.sequence == row.sequence:
            entry.row = None
            self._count(expired=1)

    def look_at(self, target: NodeId, key: bytes) -> None:
        """Drop a hint if its record cannot be read: what cannot be delivered is in the way.

        Raises:
            StorageError: the disk cannot be read.
        """
        self._entry(target, key)

    def mend_row(self, target: NodeId, sequence: int) -> None:
        """Write a row anew that cannot be read, by the record that it belongs to.

        Where that cannot be read either, both go.

        Raises:
            StorageError: the disk cannot be read.
        """
        place = row_place(target, sequence)
        if place in self._mended:
            return
        sealed = self._engine.get(Table.HINT_ORDER, place)
        if sealed is None or _readable_row(place, sealed) is not None:
            return
        self.corrupted += 1
        row = self._row_of_record(target, sequence)
        if row is not None:
            self._mended[place] = Put(Table.HINT_ORDER, place, seal_row(row))
        else:
            self._mended[place] = Delete(Table.HINT_ORDER, place)
            self._count(expired=1)
            self._rows_lost.append(HintRow(target, sequence, sequence, 0, 0, b""))
            self._drop_records_without_rows(target)

    def _count(
        self, *, stored: int = 0, delivered: int = 0, superseded: int = 0, expired: int = 0
    ) -> None:
        counts = self.counts
        self.counts = HintCounts(
            counts.stored + stored,
            counts.delivered + delivered,
            counts.superseded + superseded,
            counts.expired + expired,
        )

    # -- what comes of them ----------------------------------------------------------------------

    def operations(self) -> list[Operation]:
        """What to store; nothing if nothing changes."""
        operations = [*self._mended.values(), *self._records_lost.values()]
        for place, entry in self._entries.items():
            if entry.is_there and entry.row is not None and entry.row == entry.before:
                continue
            if entry.before is not None:
                before = entry.before
                operations.append(
                    Delete(Table.HINT_ORDER, row_place(before.target, before.sequence))
                )
            if entry.row is not None:
                row = entry.row
                operations.append(Put(Table.HINTS, place, seal_hint(row, entry.state)))
                operations.append(
                    Put(Table.HINT_ORDER, row_place(row.target, row.sequence), seal_row(row))
                )
            elif entry.is_there:
                operations.append(Delete(Table.HINTS, place))
        if self.counts != self._counts_before:
            operations.append(Put(Table.META, LEDGER_PLACE, seal_ledger(self.counts)))
        return operations

    def changes(self) -> Iterator[Change]:
        """What was held and what will be, place by place."""
        for row in self._rows_lost:
            yield Change(row, None)
        for entry in self._entries.values():
            if entry.before != entry.row:
                yield Change(entry.before, entry.row)

    # -- what is there ---------------------------------------------------------------------------

    def _entry(self, target: NodeId, key: bytes) -> _Entry:
        place = hint_place(target, key)
        entry = self._entries.get(place)
        if entry is None:
            entry = self._entries[place] = self._read(target, key, place)
        return entry

    def _read(self, target: NodeId, key: bytes, place: bytes) -> _Entry:
        record = self._engine.get(Table.HINTS, place)
        if record is None:
            return _Entry(False, None, None, b"")
        try:
            row, state = unseal_hint(place, record)
        except Corrupted:
            self.corrupted += 1
            before = self._row_of_key(target, key)
            if before is not None:
                self._count(expired=1)
            return _Entry(True, before, None, b"")
        return _Entry(True, row, row, state)

    def _row_of_key(self, target: NodeId, key: bytes) -> HintRow | None:
        """The row of a hint whose record cannot tell; one by one, as it hardly ever happens."""
        for place, sealed in self._all(Table.HINT_ORDER, target):
            row = _readable_row(place, sealed)
            if row is not None and row.key == key:
                return row
        return None

    def _row_of_record(self, target: NodeId, sequence: int) -> HintRow | None:
        """The row that a record should have; one by one, as it hardly ever happens."""
        for place, record in self._all(Table.HINTS, target):
            try:
                row, _ = unseal_hint(place, record)
            except Corrupted:
                continue
            if row.sequence == sequence:
                return row
        return None

    def _drop_records_without_rows(self, target: NodeId) -> None:
        """Nothing leads to them any more; the ledger tells of them by their rows."""
        found = self._all(Table.HINT_ORDER, target)
        rows = [_readable_row(place, sealed) for place, sealed in found]
        places = {hint_place(target, row.key) for row in rows if row is not None}
        for place, record in self._all(Table.HINTS, target):
            if place not in places and not _is_readable(place, record):
                self._records_lost[place] = Delete(Table.HINTS, place)

    def _all(self, table: Table, target: NodeId) -> Iterator[tuple[bytes, bytes]]:
        prefix = prefix_of(target)
        start, stop = prefix, after_prefix(prefix)
        while True:
            found = self._engine.scan(table, start, stop, _ROWS_AT_ONCE)
            if not found or found[-1][0] == start:
                return
            yield from (pair for pair in found if pair[0] != start)
            start = found[-1][0]


def _readable_row(place: bytes, sealed: bytes) -> HintRow | None:
    try:
        return unseal_row(place, sealed)
    except Corrupted:
        return None


def _is_readable(place: bytes, record: bytes) -> bool:
    try:
        unseal_hint(place, record)
    except Corrupted:
        return False
    return True


def _joined(held: bytes, incoming: bytes) -> bytes | None:
    """Two states as one; None if the first holds all of the second."""
    if clock_of(held) == clock_of(incoming):
        return None
    ours, theirs = decode_siblings(held), decode_siblings(incoming)
    if theirs.merge(ours) is theirs:
        return incoming
    merged = ours.merge(theirs)
    return None if merged is ours else encode_siblings(merged)
