"""Batches on their way to the disk, as both engines keep them: bounded, in order, in groups.

One group is under way at a time; what comes meanwhile gathers and goes together as the next (group
commit): under load one flush serves hundreds of writes, without load a write waits for nobody.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from dynamo.errors import Overloaded, StorageError
from dynamo.storage.engine import KEY_BYTES_MAX, CommitCounts, OnCommit, Operation, Put

_OPERATION_BYTES = 256
"""What an operation holds in memory besides its key and value: tuples, objects, a callback."""


class Commit(NamedTuple):
    """One call of `Engine.commit`."""

    batch: Sequence[Operation]
    on_commit: OnCommit
    size: int


class CommitQueue:
    """Commits that are not done yet.

    Attributes:
        queued_bytes: how much they hold, those under way included.
    """

    def __init__(self, bytes_max: int) -> None:
        """Take up to `bytes_max`, or one commit if that alone is larger."""
        self.queued_bytes = 0
        self._groups = 0
        self._batches = 0
        self._bytes_written = 0
        self._bytes_max = bytes_max
        self._gathered: list[Commit] = []

    def __bool__(self) -> bool:
        return bool(self._gathered)

    @property
    def counts(self) -> CommitCounts:
        """What ended well so far."""
        return CommitCounts(self._groups, self._batches, self._bytes_written)

    def add(self, batch: Sequence[Operation], on_commit: OnCommit) -> None:
        """Gather a commit for the next group.

        Raises:
            Overloaded: there is no room for it.
        """
        size = 0
        for operation in batch:
            assert 0 < len(operation.key) <= KEY_BYTES_MAX, operation.key
            size += _OPERATION_BYTES + len(operation.key)
            if isinstance(operation, Put):
                size += len(operation.value)
        if self.queued_bytes and self.queued_bytes + size > self._bytes_max:
            raise Overloaded(
                f"{self.queued_bytes} bytes wait for the disk, the most is {self._bytes_max}"
            )
        self.queued_bytes += size
        self._gathered.append(Commit(batch, on_commit, size))

    def take(self) -> list[Commit]:
        """All that has gathered: the next group."""
        group, self._gathered = self._gathered, []
        return group

    def end(self, group: Sequence[Commit], errors: Sequence[StorageError | None]) -> None:
        """Tell each commit of the group how it went, in order."""
        self._count(group, errors)
        for commit, error in zip(group, errors, strict=True):
            self.queued_bytes -= commit.size
            try:
                commit.on_commit(error)
            except Exception as failure:  # the others must hear of theirs
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "on_commit raised", "exception": failure}
                )

    def _count(self, group: Sequence[Commit], errors: Sequence[StorageError | None]) -> None:
        written = [
            size - _OPERATION_BYTES * len(batch)
            for (batch, _, size), error in zip(group, errors, strict=True)
            if error is None
        ]
        if written:
            self._groups += 1
            self._batches += len(written)
            self._bytes_written += sum(written)
