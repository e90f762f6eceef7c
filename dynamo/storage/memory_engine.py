"""An engine in memory, for simulations and tests: the promises of the port and faults on order.

A `Disk` outlives the engines opened on it one after the other, as a disk outlives processes; a
simulation may copy it, bring a copy back (a restored backup), wipe it, fill it up, flip bits on it
or let it lie. An engine moves batches to it in groups, as the real one does: all that gathered
while the last group was under way become durable together, after a delay of the simulation's
choice.

Where LMDB stores a group all or nothing, a crash here may keep any part of the group that the port
allows: whoever gets along with this disk gets along with that one.
"""

import asyncio
import enum
import itertools
import random
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Sequence

from dynamo.errors import CommitFailed, StorageError
from dynamo.storage.commits import Commit, CommitQueue
from dynamo.storage.engine import CommitCounts, OnCommit, Operation, Put, Table


class Disk:
    """Tables of durable pairs.

    Attributes:
        full: every batch is refused, deletions too: LMDB needs new pages for those as well, and
            on a full disk has them mostly, not always.
    """

    def __init__(self) -> None:
        self.full = False
        self._kept: Disk | None = None  # what a power cut leaves of a disk that lies
        self._values: dict[Table, dict[bytes, bytes]] = {table: {} for table in Table}
        self._keys: dict[Table, list[bytes]] = {table: [] for table in Table}  # sorted

    def copy(self) -> "Disk":
        """All that is on it now, on a disk of its own."""
        copy = Disk()
        copy.restore(self)
        return copy

    def restore(self, source: "Disk") -> None:
        """Hold what `source` holds and nothing else, for certain."""
        self._kept = None
        self._values = {table: dict(values) for table, values in source._values.items()}
        self._keys = {table: list(keys) for table, keys in source._keys.items()}

    def wipe(self) -> None:
        """Hold nothing."""
        self.restore(Disk())

    def lie(self) -> None:
        """From now on, keep only in a cache what is said to be durable."""
        if self._kept is None:
            self._kept = self.copy()

    def lose_tail(self) -> None:
        """Lose power: of a disk that lied, all since it began to; afterwards it is honest."""
        if self._kept is not None:
            self.restore(self._kept)

    def corrupt(self, table: Table, key: bytes, dice: random.Random) -> None:
        """Let a bit of a stored value flip; there must be one."""
        value = bytearray(self._values[table][key])
        bit = dice.randrange(len(value) * 8)
        value[bit // 8] ^= 1 << bit % 8
        self._values[table][key] = bytes(value)

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The value of a key, or None."""
        return self._values[table].get(key)

    def scan(
        self, table: Table, start: bytes, stop: bytes | None, limit: int
    ) -> list[tuple[bytes, bytes]]:
        """At most `limit` pairs with start <= key < stop, in order."""
        keys, values = self._keys[table], self._values[table]
        first = bisect_left(keys, start)
        end = len(keys) if stop is None else bisect_left(keys, stop)
        return [(key, values[key]) for key in keys[first : min(end, first + limit)]]

    def count(self, table: Table) -> int:
        """How many pairs there are."""
        return len(self._keys[table])

    def store(self, batch: Sequence[Operation]) -> bool:
        """Do all operations in order, or none if the disk is full; returns whether it did."""
        if self.full:
            return False
        for operation in batch:
            self.apply(operation)
        return True

    def apply(self, operation: Operation) -> None:
        """Do it, full or not."""
        keys, values = self._keys[operation.table], self._values[operation.table]
        key = operation.key
        if isinstance(operation, Put):
            if key not in values:
                insort(keys, key)
            values[key] = operation.value
        elif values.pop(key, None) is not None:
            del keys[bisect_left(keys, key)]


class Fault(enum.Enum):
    """How a commit fails.

    FULL: the batch does not fit; others may.
    FLUSH: the disk did not take what was written to it: this group and all later ones fail.
    """

    FULL = enum.auto()
    FLUSH = enum.auto()


class MemoryEngine:
    """An `Engine` over a `Disk`."""

    def __init__(
        self,
        disk: Disk,
        *,
        delay_s: Callable[[], float] = lambda: 0.0,
        queued_bytes_max: int = 64 * 2**20,
    ) -> None:
        """Open the disk; no other engine may be open on it.

        Args:
            disk: what is durable.
            delay_s: how long the next group takes, in seconds.
            queued_bytes_max: as for the real engine.
        """
        self._disk = disk
        self._delay_s = delay_s
        self._queue = CommitQueue(queued_bytes_max)
        self._next_step: asyncio.Handle | None = None  # None: no group is under way
        self._under_way: list[Commit] = []
        self._faults: deque[Fault | None] = deque()  # one per batch to come
        self._failure: CommitFailed | None = None
        self._is_closing = False
        self._idle: asyncio.Future[None] | None = None

    @property
    def failure(self) -> StorageError | None:
        return self._failure

    def get(self, table: Table, key: bytes) -> bytes | None:
        return self._disk.get(table, key)

    def scan(
        self,
        table: Table,
        start: bytes,
        stop: bytes | None,
        limit: int,
        bytes_max: int | None = None,
    ) -> list[tuple[bytes, bytes]]:
        rows = self._disk.scan(table, start, stop, limit)
        if bytes_max is None:
            return rows
        before = itertools.accumulate((len(value) for _, value in rows), initial=0)
        return [row for row, size in zip(rows, before, strict=False) if size <= bytes_max]

    def count(self, table: Table) -> int:
        return self._disk.count(table)

    def commit(self, batch: Sequence[Operation], on_commit: OnCommit) -> None:
        assert not self._is_closing, "commit after close"
        self._queue.add(batch, on_commit)
        if self._next_step is None:
            self._next_step = asyncio.get_running_loop().call_soon(self._start_group)

    @property
    def queued_bytes(self) -> int:
        return self._queue.queued_bytes

    @property
    def commit_counts(self) -> CommitCounts:
        return self._queue.counts

    async def close(self) -> None:
        self._is_closing = True
        if self._next_step is not None:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle

    @property
    def under_way(self) -> int:
        """How many commits are on their way to the disk, and may survive a crash now.

        Those of a group that failed stay under way: what reached the disk of it is unknown.
        """
        return len(self._under_way)

    def crash(self, survivors: int = 0) -> None:
        """End as a process that is killed: what is not durable is lost, and nobody is told.

        Args:
            survivors: how many commits had reached the disk, the first of those under way.
        """
        if self._next_step is not None:
            self._next_step.cancel()
        self._is_closing = True
        for commit in self._under_way[:survivors]:
            self._disk.store(commit.batch)

    def fail_next_commit(self, fault: Fault, *, after: int = 0) -> None:
        """Let the next batch that comes to the disk fail, `after` others; again, one behind it."""
        self._faults.extend([*[None] * after, fault])

    def _start_group(self) -> None:
        group = self._queue.take()
        if self._failure is None:
            self._under_way = group
        delay_s = self._delay_s()
        if delay_s > 0:
            loop = asyncio.get_running_loop()
            self._next_step = loop.call_later(delay_s, self._end_group, group)
        else:
            self._end_group(group)

    def _end_group(self, group: Sequence[Commit]) -> None:
        errors = self._store(group)
        if self._failure is None:
            self._under_way = []
        if self._queue:
            self._next_step = asyncio.get_running_loop().call_soon(self._start_group)
        else:
            self._next_step = None
            if self._idle is not None:
                self._idle.set_result(None)
        self._queue.end(group, errors)

    def _store(self, group: Sequence[Commit]) -> list[StorageError | None]:
        faults = [self._faults.popleft() if self._faults else None for _ in group]
        if Fault.FLUSH in faults:
            self._failure = CommitFailed("the disk failed to flush")
        if self._failure is not None:
            return [self._failure] * len(group)
        errors: list[StorageError | None] = []
        for commit, fault in zip(group, faults, strict=True):
            is_stored = fault is not Fault.FULL and self._disk.store(commit.batch)
            errors.append(None if is_stored else CommitFailed("the disk is full"))
        return errors
