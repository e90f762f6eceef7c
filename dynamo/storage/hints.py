"""What a node keeps for others while they are away: hints (Dynamo 4.6).

A hint is a state like any other, kept by target and key: a second write for both joins the first,
and a read through the stand-in is one look-up. Beside the records stands the order in which they
came, which is that of delivery, of eviction and of age.

Changes go to the disk one batch at a time. What comes while one is under way gathers, and the next
is made of all that, on what is on the disk then. So nothing is ever built on a commit that fails
after all, and the ledger, stored in the same batch, is exact in every state that a crash can leave.
The price is that a hint may wait for one commit more than a write of the node's own.

When more is held than may be, the oldest go, a bounded number with each batch: a write does not
fail because others were kept before it.
"""

import asyncio
import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from dynamo.core.codec import decode_siblings
from dynamo.core.ids import NodeId, decode_key
from dynamo.errors import CommitFailed, Corrupted, Overloaded, StorageError
from dynamo.storage.engine import KEY_BYTES_MAX, Engine, OnCommit, Table
from dynamo.storage.hint_batch import Change, HintBatch
from dynamo.storage.hint_rows import (
    LEDGER_PLACE,
    HintRow,
    hint_place,
    prefix_of,
    row_place,
    split_row_place,
    unseal_hint,
    unseal_ledger,
    unseal_row,
)
from dynamo.storage.records import after_prefix

_T = TypeVar("_T")

TARGETS_MAX = 1024
"""For how many nodes hints are kept: a peer cannot fill the memory with names."""

_BATCH_BYTES_MAX = 4 * 2**20
_CHANGE_BYTES = 256
"""What a change that waits holds in memory besides key and state."""

_TRIM_MIN = 64
"""How many hints may go undelivered with one batch; twice those that came with it, if more."""

_OPENING_ROWS = 1000
_ROWS_AT_ONCE = 8

# A listing of one partition looks at hints of all: 2,000 of 1 KiB take 2 ms.
_LISTED_ROWS = 2000
_LISTED_BYTES_MAX = 4 * 2**20


class _Merge(NamedTuple):
    target: NodeId
    key: bytes
    state: bytes
    hinted_at_ms: int
    on_done: OnCommit

    @property
    def size_bytes(self) -> int:
        return len(self.key) + len(self.state) + _CHANGE_BYTES


class _Removal(NamedTuple):
    change: Callable[[HintBatch], None]
    on_done: OnCommit


class HintPage(NamedTuple):
    """Some of the hints for one node.

    Attributes:
        found: encoded keys with their states.
        last: the last key looked at, to go on after; b"" if there are no others.
    """

    found: list[tuple[bytes, bytes]]
    last: bytes


class Held(NamedTuple):
    """What is held for one node."""

    hints: int
    size_bytes: int


@dataclass(slots=True)
class Backlog:
    """What was held at a moment, as far as it is not gone yet.

    A hint that more is joined to is not gone: what it said has not been delivered.

    Attributes:
        left: how many hints, by whom they are for.
        empty: set once there are none.
    """

    until_sequence: int
    left: dict[NodeId, int]
    empty: asyncio.Event = field(default_factory=asyncio.Event)

    def gone(self, row: HintRow) -> None:
        """A hint is held no more."""
        if row.since <= self.until_sequence and row.target in self.left:
            self.left[row.target] -= 1
            if not self.left[row.target]:
                del self.left[row.target]
        if not self.left:
            self.empty.set()


class HintStore:
    """States kept for other nodes. Keys are encoded keys.

    Attributes:
        counts: the ledger; durable.
        corrupted: how many records and rows could not be read, and were mended or dropped.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        bytes_max: int = 2**30,
        queued_bytes_max: int = 32 * 2**20,
    ) -> None:
        """Serve the hints of an engine; looks through their order once.

        Args:
            engine: where they are.
            bytes_max: of keys and states; of more, the oldest go.
            queued_bytes_max: hints are refused while that much waits for the disk, whoever's it is.
                Best less than the engine's own bound: under load hints make way for the rest.

        Raises:
            StorageError: the disk cannot be read.
        """
        self.corrupted = 0
        self._engine = engine
        self._bytes_max = bytes_max
        self._queued_bytes_max = queued_bytes_max
        self._held: dict[NodeId, Held] = {}
        self._bytes_held = 0
        self._sequence = 0
        self._look_through()
        self._durable_sequence = self._sequence
        self.counts = unseal_ledger(engine.get(Table.META, LEDGER_PLACE), held=self.hints_held)
        self._merges: list[_Merge] = []
        self._removals: list[_Removal] = []
        self._gathered_bytes = 0
        # Keys and targets of hints that are not durable yet.
        self._coming: Counter[bytes] = Counter()
        self._coming_for: Counter[NodeId] = Counter()
        self._expires_before_ms: int | None = None
        self._is_busy = False
        self._has_failed = False
        self._is_closing = False
        self._idle: asyncio.Future[None] | None = None
        self._backlogs: list[Backlog] = []
        # What cannot be read is dealt with once, however often it is met before.
        self._unreadable: set[bytes] = set()

    def _look_through(self) -> None:
        """Count what is held; a row that cannot be read counts as one of no size."""
        start = b""
        while found := self._engine.scan(Table.HINT_ORDER, start, None, _OPENING_ROWS):
            for place, sealed in found:
                target, sequence = split_row_place(place)
                self._sequence = max(self._sequence, sequence)
                try:
                    self._hold(target, 1, unseal_row(place, sealed).size_bytes)
                except Corrupted:
                    self._hold(target, 1, 0)
            start = found[-1][0] + b"\x00"

    # -- what is held ----------------------------------------------------------------------------

    def targets(self) -> dict[NodeId, int]:
        """For whom there are hints, and how many."""
        return {target: held.hints for target, held in self._held.items()}

    @property
    def hints_held(self) -> int:
        """How many there are."""
        return sum(held.hints for held in self._held.values())

    @property
    def bytes_held(self) -> int:
        """Of keys and states."""
        return self._bytes_held

    def held_for(self, target: NodeId) -> Held:
        """What is held for one node."""
        return self._held.get(target, Held(0, 0))

    def get(self, target: NodeId, key: bytes) -> bytes | None:
        """The durable hint of a key, encoded; None if there is none that can be read.

        Raises:
            StorageError: the disk cannot be read.
        """
        place = hint_place(target, key)
        record = self._engine.get(Table.HINTS, place)
        if record is None:
            return None
        try:
            return unseal_hint(place, record)[1]
        except Corrupted:
            self._mend(place, lambda batch: batch.look_at(target, key))
            return None

    def speaks_of(self, key: bytes) -> bool:
        """Whether there is a hint of a key for anybody, those on their way to the disk included.

        Raises:
            StorageError: the disk cannot be read.
        """
        # One that cannot be read will never be delivered, and goes.
        return key in self._coming or any(
            self.get(target, key) is not None for target in self._held
        )

    def rows(self, target: NodeId, after: int, limit: int) -> list[HintRow]:
        """Durable hints for one target, in the order of delivery, without their states.

        Rows that cannot be read are left out until they are mended.

        Args:
            target: for whom.
            after: the sequence of the last row of the page before; 0 for the first page.
            limit: at most this many, at least one. There are no more where none are found.

        Raises:
            StorageError: the disk cannot be read.
        """
        rows: list[HintRow] = []
        start, stop = row_place(target, after + 1), after_prefix(prefix_of(target))
        while not rows:
            found = self._engine.scan(Table.HINT_ORDER, start, stop, limit)
            if not found:
                break
            for place, sealed in found:
                try:
                    rows.append(unseal_row(place, sealed))
                except Corrupted:
                    self._mend_row(place)
            start = row_place(target, split_row_place(found[-1][0])[1] + 1)
        return rows

    def keys(
        self,
        target: NodeId,
        bucket: bytes,
        after: bytes,
        limit: int,
        is_wanted: Callable[[bytes], bool],
    ) -> HintPage:
        """Durable hints for one target, in the order of their places.

        A page is bounded by what it looks at, wanted or not, so it may be empty and others follow.
        Hints that cannot be read are left out; whoever is to deliver them mends them.

        Args:
            target: for whom.
            bucket: the encoded bucket; b"" for all.
            after: the last key of the page before; b"" for the first page.
            limit: at most this many, at least one.
            is_wanted: whether an encoded key is.

        Raises:
            StorageError: the disk cannot be read.
        """
        prefix = prefix_of(target)
        start = hint_place(target, after) if after else prefix + bucket
        stop = after_prefix(prefix + bucket)
        found: list[tuple[bytes, bytes]] = []
        last = b""
        while not last and (records := self._records_behind(start, stop)):
            for place, record in records:
                if len(place) < KEY_BYTES_MAX and not is_wanted(place[len(prefix) :]):
                    last = place[len(prefix) :]
                    continue
                try:
                    row, state = unseal_hint(place, record)
                except Corrupted:
                    continue
                last = row.key
                if is_wanted(last):
                    found.append((last, state))
                    if len(found) == limit:
                        return HintPage(found, last)
            start = records[-1][0]
        return HintPage(found, last)

    def _records_behind(self, start: bytes, stop: bytes | None) -> list[tuple[bytes, bytes]]:
        """Some records at places behind `start` and before `stop`; none if there are none."""
        scan = self._engine.scan
        records = scan(Table.HINTS, start, stop, _LISTED_ROWS, _LISTED_BYTES_MAX)
        if len(records) == 1 and records[0][0] == start:
            # It took all the room there was, and has been seen already.
            records = scan(Table.HINTS, start, stop, 2)
        return records[1:] if records and records[0][0] == start else records

    def backlog(self) -> Backlog:
        """What is held now, to be waited for; give it back with `forget`."""
        backlog = Backlog(self._durable_sequence, self.targets())
        if not backlog.left:
            backlog.empty.set()
        self._backlogs.append(backlog)
        return backlog

    def forget(self, backlog: Backlog) -> None:
        """Nobody waits for it any more."""
        self._backlogs.remove(backlog)

    # -- what changes ----------------------------------------------------------------------------

    def merge(
        self, target: NodeId, key: bytes, incoming: bytes, hinted_at_ms: int, on_done: OnCommit
    ) -> None:
        """Join a state to the hint, and call `on_done` once what came is durable here.

        Raises:
            CodecError: `incoming` or `key` does not decode; nothing was stored.
            Overloaded: too much waits for the disk, or for too many nodes; nothing was stored.
        """
        # Decoded though it is stored as it is: what does not decode now never will.
        decode_siblings(incoming)
        decode_key(key)
        merge = _Merge(target, key, incoming, hinted_at_ms, on_done)
        queued_bytes = self._engine.queued_bytes + self._gathered_bytes
        if queued_bytes and queued_bytes + merge.size_bytes > self._queued_bytes_max:
            raise Overloaded(f"{queued_bytes} bytes wait for the disk: too many for a hint more")
        if not self._has_room_for(target):
            raise Overloaded(f"hints are kept for {TARGETS_MAX} nodes already, which is the most")
        self._gathered_bytes += merge.size_bytes
        self._coming[key] += 1
        self._coming_for[target] += 1
        self._merges.append(merge)
        self._begin_soon()

    def _has_room_for(self, target: NodeId) -> bool:
        if target in self._held or target in self._coming_for:
            return True
        return len(self._held.keys() | self._coming_for.keys()) < TARGETS_MAX

    def drop(self, target: NodeId, key: bytes, delivered: bytes, on_done: OnCommit) -> None:
        """Forget a hint whose target has it; it stays if more has come since.

        `on_done` is called once the hint is durably gone, or soon if it stays.
        """
        self._remove(lambda batch: batch.deliver(target, key, delivered), on_done)

    def expire(self, before_ms: int) -> None:
        """Begin to drop what was hinted before a time of the wall's clock, the oldest first."""
        if self._held:
            self._expires_before_ms = before_ms
            self._begin_soon()

    async def close(self) -> None:
        """Finish what was taken; what is too much goes after the next start.

        No changes afterwards.
        """
        self._is_closing = True
        if self._is_busy:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle

    def _remove(self, change: Callable[[HintBatch], None], on_done: OnCommit) -> None:
        self._removals.append(_Removal(change, on_done))
        self._begin_soon()

    def _mend_row(self, place: bytes) -> None:
        target, sequence = split_row_place(place)
        self._mend(place, lambda batch: batch.mend_row(target, sequence))

    def _mend(self, place: bytes, change: Callable[[HintBatch], None]) -> None:
        """See to what cannot be read, soon; after a restart if this store is closing."""
        if place not in self._unreadable and not self._is_closing:
            self._unreadable.add(place)
            self._remove(change, _ignore)

    # -- batches ---------------------------------------------------------------------------------

    def _begin_soon(self) -> None:
        assert not self._is_closing, "a change after close"
        if not self._is_busy:
            self._is_busy = True
            # Soon, not now: what this turn of the loop brings besides goes along.
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        """Make a batch of what has gathered, and send it to the disk."""
        removals, self._removals = self._removals, []
        # On a full disk what is to go may still find room, without what is to come.
        merges = [] if self._has_failed and removals else self._take_merges()
        self._has_failed = False
        batch = HintBatch(self._engine, self.counts, self._sequence)

        def ended(error: StorageError | None) -> None:
            self._ended(batch, removals, merges, error)

        try:
            for removal in removals:
                removal.change(batch)
            for target, key, state, hinted_at_ms, _ in merges:
                batch.merge(target, key, state, hinted_at_ms)
            self._trim(batch, max(_TRIM_MIN, 2 * len(merges)))
            self._sequence = batch.sequence
            operations = batch.operations()
            if operations:
                self._engine.commit(operations, ended)
            else:
                ended(None)
        except Overloaded as error:
            ended(CommitFailed(str(error)))
        except StorageError as error:
            ended(error)

    def _take_merges(self) -> list[_Merge]:
        """As many as one batch may have, from the front."""
        taken_bytes = count = 0
        for merge in self._merges:
            if count and taken_bytes + merge.size_bytes > _BATCH_BYTES_MAX:
                break
            taken_bytes += merge.size_bytes
            count += 1
        taken, self._merges = self._merges[:count], self._merges[count:]
        self._gathered_bytes -= taken_bytes
        return taken

    def _trim(self, batch: HintBatch, rows_max: int) -> None:
        """Drop the oldest while there is too much, or they are too old."""
        excess_bytes = self._bytes_held - self._bytes_max
        before_ms = self._expires_before_ms
        if excess_bytes <= 0 and before_ms is None:
            return
        count = 0
        for row in itertools.islice(self._oldest(), rows_max):
            if excess_bytes <= 0 and (before_ms is None or row.hinted_at_ms >= before_ms):
                break
            batch.expire(row)
            excess_bytes -= row.size_bytes
            count += 1
        if count < rows_max:
            self._expires_before_ms = None

    def _oldest(self) -> Iterator[HintRow]:
        """All hints in the order in which they came."""
        return heapq.merge(
            *(self._rows_of(target) for target in sorted(self._held)), key=_sequence_of
        )

    def _rows_of(self, target: NodeId) -> Iterator[HintRow]:
        after = 0
        while rows := self.rows(target, after, _ROWS_AT_ONCE):
            yield from rows
            after = rows[-1].sequence

    def _ended(
        self,
        batch: HintBatch,
        removals: Sequence[_Removal],
        merges: Sequence[_Merge],
        error: StorageError | None,
    ) -> None:
        """A batch is stored, or nothing of it is and nothing of it counts."""
        self._unreadable.clear()
        self._has_failed = error is not None
        for merge in merges:
            _count_down(self._coming, merge.key)
            _count_down(self._coming_for, merge.target)
        trims = error is None and batch.counts != self.counts
        if error is None:
            self.counts = batch.counts
            self.corrupted += batch.corrupted
            self._durable_sequence = batch.sequence
            for change in batch.changes():
                self._changed(change)
        self._rest_or_go_on(trims=trims)
        _tell([change.on_done for change in removals], error)
        _tell([change.on_done for change in merges], error)

    def _rest_or_go_on(self, *, trims: bool) -> None:
        is_too_much = self._bytes_held > self._bytes_max or self._expires_before_ms is not None
        if self._merges or self._removals or (trims and is_too_much and not self._is_closing):
            asyncio.get_running_loop().call_soon(self._begin)
            return
        self._is_busy = False
        if self._idle is not None:
            self._idle.set_result(None)

    def _changed(self, change: Change) -> None:
        before, after = change
        if before is not None:
            self._hold(before.target, -1, -before.size_bytes)
        if after is not None:
            self._hold(after.target, 1, after.size_bytes)
        if before is not None and (after is None or after.since > before.since):
            for backlog in self._backlogs:
                backlog.gone(before)

    def _hold(self, target: NodeId, hints: int, size_bytes: int) -> None:
        held = self.held_for(target)
        held = Held(held.hints + hints, held.size_bytes + size_bytes)
        self._bytes_held += size_bytes
        self._held[target] = held
        if not held.hints:
            self._bytes_held -= held.size_bytes  # what rows that had to be mended left over
            del self._held[target]


def _sequence_of(row: HintRow) -> int:
    return row.sequence


def _count_down(counts: Counter[_T], counted: _T) -> None:
    counts[counted] -= 1
    if not counts[counted]:
        del counts[counted]


def _ignore(error: StorageError | None) -> None:
    """Whatever it was about is met again."""


def _tell(followers: Sequence[OnCommit], error: StorageError | None) -> None:
    for follower in followers:
        try:
            follower(error)
        except Exception as failure:  # the others must hear of theirs
            asyncio.get_running_loop().call_exception_handler(
                {"message": "on_done raised", "exception": failure}
            )
