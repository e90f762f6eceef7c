"""An engine in memory, for simulations and tests: the promises of the port and faults on order.

A `Disk` outlives the engines opened on it one after the other, as a disk outlives processes; a
simulation may copy it, bring a copy back (a restored backup) or wipe it in between. An engine
moves batches to it in groups, as the real one does: all that gathered while the last group was
under way become durable together, after a delay of the simulation's choice.
"""

import asyncio
import enum
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Sequence

from dynamo.errors import CommitFailed, StorageError
from dynamo.storage.commits import Commit, CommitQueue
from dynamo.storage.engine import OnCommit, Operation, Put, Table


class Disk:
    """Tables of durable pairs."""

    def __init__(self) -> None:
        self._values: dict[Table, dict[bytes, bytes]] = {table: {} for table in Table}
        self._keys: dict[Table, list[bytes]] = {table: [] for table in Table}  # sorted

    def copy(self) -> "Disk":
        """All that is on it now, on a disk of its own."""
        copy = Disk()
        copy.restore(self)
        return copy

    def restore(self, source: "Disk") -> None:
        """Hold what `source` holds and nothing else."""
        self._values = {table: dict(values) for table, values in source._values.items()}
        self._keys = {table: list(keys) for table, keys in source._keys.items()}

    def wipe(self) -> None:
        """Hold nothing."""
        self.restore(Disk())

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

    def apply(self, operation: Operation) -> None:
        """Do it."""
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
        self, table: Table, start: bytes, stop: bytes | None, limit: int
    ) -> list[tuple[bytes, bytes]]:
        return self._disk.scan(table, start, stop, limit)

    def commit(self, batch: Sequence[Operation], on_commit: OnCommit) -> None:
        assert not self._is_closing, "commit after close"
        self._queue.add(batch, on_commit)
        if self._next_step is None:
            self._next_step = asyncio.get_running_loop().call_soon(self._start_group)

    @property
    def queued_bytes(self) -> int:
        return self._queue.queued_bytes

    async def close(self) -> None:
        self._is_closing = True
        if self._next_step is not None:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle

    def crash(self) -> None:
        """End as a process that is killed: what is not durable is lost, and nobody is told."""
        if self._next_step is not None:
            self._next_step.cancel()
        self._is_closing = True

    def fail_next_commit(self, fault: Fault, *, after: int = 0) -> None:
        """Let the next batch that comes to the disk fail, `after` others; again, one behind it."""
        self._faults.extend([*[None] * after, fault])

    def _start_group(self) -> None:
        group = self._queue.take()
        delay_s = self._delay_s()
        if delay_s > 0:
            loop = asyncio.get_running_loop()
            self._next_step = loop.call_later(delay_s, self._end_group, group)
        else:
            self._end_group(group)

    def _end_group(self, group: Sequence[Commit]) -> None:
        errors = self._store(group)
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
            if fault is Fault.FULL:
                errors.append(CommitFailed("the disk is full"))
                continue
            for operation in commit.batch:
                self._disk.apply(operation)
            errors.append(None)
        return errors
