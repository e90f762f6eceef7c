"""Which of a node's keys are deleted, and since when: a list beside the objects.

An entry stands at its object's place, in a table of its own, so that a partition's tombstones are
found without reading its objects. It is stored and removed in the batch that changes the object.

    entry    since when, in ms (8 bytes) | encoded key    the key only where the place is cut

Wherever the objects hold a tombstone there is an entry. There may be one too many after commits
that failed (a batch goes by the one before it, which may never reach the disk) and after a record
was found corrupted; who looks at an entry sees that, and strikes it out.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from dynamo.core.codec import only_tombstones
from dynamo.storage.engine import KEY_BYTES_MAX, Delete, Engine, OnCommit, Operation, Put, Table
from dynamo.storage.records import after_prefix, place_of

_PARTITION_BYTES = 2
_SINCE_BYTES = 8


class Tombstone(NamedTuple):
    """A deleted key.

    Attributes:
        key: encoded.
        since_ms: when it was stored as such here, by the clock on the wall.
    """

    key: bytes
    since_ms: int


class TombstoneStore:
    """The list of one node's tombstones, a companion of its objects. Keys are encoded keys."""

    def __init__(
        self,
        engine: Engine,
        partition_of: Callable[[bytes], int],
        wall_ms: Callable[[], int],
        on_change: Callable[[bytes], None],
    ) -> None:
        """Serve the list that an engine holds.

        Args:
            engine: where it is.
            partition_of: the partition of an encoded key.
            wall_ms: the time of day.
            on_change: told of every key whose state is about to change here, deleted or not.
        """
        self._engine = engine
        self._partition_of = partition_of
        self._wall_ms = wall_ms
        self._on_change = on_change

    @property
    def held(self) -> int:
        """How many there are.

        Raises:
            StorageError: the disk cannot be read.
        """
        return self._engine.count(Table.TOMBSTONES)

    def partitions(self) -> list[int]:
        """Where there are any, in order.

        Raises:
            StorageError: the disk cannot be read.
        """
        found: list[int] = []
        start: bytes | None = b""
        while start is not None and (rows := self._engine.scan(Table.TOMBSTONES, start, None, 1)):
            prefix = rows[0][0][:_PARTITION_BYTES]
            found.append(int.from_bytes(prefix, "big"))
            start = after_prefix(prefix)
        return found

    def page(self, partition: int, after: bytes, limit: int) -> tuple[list[Tombstone], bytes]:
        """Tombstones of a partition, in the order of their places.

        Args:
            partition: which.
            after: what the page before answered; b"" for the first page.
            limit: look at so many entries at most; those that make no sense are left out.

        Returns:
            The tombstones, and where to go on; b"" if these were the last.

        Raises:
            StorageError: the disk cannot be read.
        """
        prefix = partition.to_bytes(_PARTITION_BYTES, "big")
        stop = after_prefix(prefix)
        rows = self._engine.scan(Table.TOMBSTONES, after or prefix, stop, limit + 2)
        if rows and rows[0][0] == after:
            del rows[0]
        more = len(rows) > limit
        found = [_tombstone(place, entry) for place, entry in rows[:limit]]
        return [one for one in found if one is not None], rows[limit - 1][0] if more else b""

    def strike(self, key: bytes, on_done: OnCommit) -> None:
        """Remove an entry that is one too many: nothing of the key is on its way to the disk.

        Raises:
            Overloaded: too much waits for the disk; nothing was removed.
        """
        self._engine.commit([Delete(Table.TOMBSTONES, self._place(key))], on_done)

    # -- as a companion --------------------------------------------------------------------------

    def along(self, key: bytes, before: bytes | None, after: bytes | None) -> Sequence[Operation]:
        """The entry that goes with a change."""
        if after is not None and only_tombstones(after):
            # Also where there was one before: its commit may have failed.
            place = self._place(key)
            return (Put(Table.TOMBSTONES, place, self._entry(place, key)),)
        if before is not None and only_tombstones(before):
            return (Delete(Table.TOMBSTONES, self._place(key)),)
        return ()

    def changed(self, key: bytes, before: bytes | None, after: bytes | None) -> None:
        """Tell who wants to know."""
        self._on_change(key)

    def remembers(self, key: bytes) -> bool:
        """An entry may be one too many, so it proves nothing."""
        return False

    def in_doubt(self, place: bytes) -> None:
        """There may be an entry too many now; nobody need act before it is looked at."""

    def _place(self, key: bytes) -> bytes:
        return place_of(self._partition_of(key).to_bytes(_PARTITION_BYTES, "big"), key)

    def _entry(self, place: bytes, key: bytes) -> bytes:
        since = self._wall_ms().to_bytes(_SINCE_BYTES, "big")
        return since + key if len(place) == KEY_BYTES_MAX else since


def _tombstone(place: bytes, entry: bytes) -> Tombstone | None:
    """What an entry says; None if it is not what was stored there."""
    is_cut = len(place) == KEY_BYTES_MAX
    key = entry[_SINCE_BYTES:] if is_cut else place[_PARTITION_BYTES:]
    if is_cut and place_of(place[:_PARTITION_BYTES], key) != place:
        return None
    return Tombstone(key, int.from_bytes(entry[:_SINCE_BYTES], "big"))
