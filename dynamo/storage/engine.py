"""The port to the disk: an ordered map of bytes, several tables, atomic durable batches.

Adapters: `lmdb_engine.py` for real, `memory_engine.py` for simulations and tests. Everything above
sees only what this file promises.
"""

import enum
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from dynamo.errors import StorageError


class Table(enum.Enum):
    """The tables of a node. The value is the name on disk and never changes."""

    META = "meta"
    OBJECTS = "objects"
    HINTS = "hints"
    HINT_ORDER = "hint_order"
    TREES = "trees"
    TOMBSTONES = "tombstones"


class Put(NamedTuple):
    """Set `key` to `value`."""

    table: Table
    key: bytes
    value: bytes


class Delete(NamedTuple):
    """Remove `key`, which may be absent."""

    table: Table
    key: bytes


Operation = Put | Delete


class CommitCounts(NamedTuple):
    """What became durable since the engine was opened.

    Attributes:
        groups: flushes to the disk.
        batches: calls of `Engine.commit`; over `groups`, how many shared a flush.
        bytes_written: of keys and values; what the disk's own structure adds is not counted.
    """

    groups: int
    batches: int
    bytes_written: int


OnCommit = Callable[[StorageError | None], None]
"""Called once on the event loop: None if the batch is durable, the error if it is not stored."""

KEY_BYTES_MAX = 511
"""LMDB's limit; the port has it too, so that a simulation meets it."""


class Engine(Protocol):
    """What a node needs of its disk. All methods are called on the event loop and return at once.

    Promises:
        * A batch is all or nothing, and batches become durable in the order of `commit` calls.
        * Reads see committed batches only: what a read returned survives a crash.
        * `on_commit` never runs inside `commit`. After it ran without error the batch is durable
          (to the degree the adapter was told: "fsync" or "os").
        * After a failed flush to disk no later batch succeeds: what the disk lost is unknown.
        * A batch that did not fit (disk full, map full) fails alone; later ones may succeed.
    """

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The committed value, or None.

        Raises:
            StorageError: the disk cannot be read.
        """
        ...

    def scan(
        self,
        table: Table,
        start: bytes,
        stop: bytes | None,
        limit: int,
        bytes_max: int | None = None,
    ) -> list[tuple[bytes, bytes]]:
        """Committed pairs with start <= key < stop (None: to the end), in order, at most `limit`.

        There are fewer, but one at least if there are any, where the values before the last have
        more than `bytes_max` together.

        Raises:
            StorageError: the disk cannot be read.
        """
        ...

    def count(self, table: Table) -> int:
        """How many committed pairs a table has, without looking at them.

        Raises:
            StorageError: the disk cannot be read.
        """
        ...

    def commit(self, batch: Sequence[Operation], on_commit: OnCommit) -> None:
        """Store `batch` atomically and durably, then call `on_commit`.

        Raises:
            Overloaded: the queue of batches is full; nothing was taken.
        """
        ...

    @property
    def queued_bytes(self) -> int:
        """Bytes of batches that are not durable yet."""
        ...

    @property
    def commit_counts(self) -> CommitCounts:
        """What became durable so far."""
        ...

    @property
    def failure(self) -> StorageError | None:
        """Why nothing can be stored any more until the node is started anew; None while it can."""
        ...

    async def close(self) -> None:
        """Finish what was taken, then release the directory. No calls afterwards."""
        ...
