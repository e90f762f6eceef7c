"""The index of the hash trees on disk: an entry for each object, in the order of the trees.

    place    partition (2 bytes) | position (4 bytes) | encoded key
    record   checksum | digest (8 bytes)

An entry is stored in the batch of its object (`trees.py`). It is the persisted bottom of the trees:
they are loaded from it, and what is below a leaf is listed from it.
"""

from collections.abc import Callable
from typing import NamedTuple

from dynamo.core.merkle import digest_of, position_of
from dynamo.errors import Corrupted
from dynamo.storage.engine import KEY_BYTES_MAX, Delete, Engine, Operation, Put, Table
from dynamo.storage.records import after_prefix, place_of, seal, unseal

_TABLE = Table.TREES

_PARTITION_BYTES = 2
_POSITION_BYTES = 4
_PREFIX_BYTES = _PARTITION_BYTES + _POSITION_BYTES
_DIGEST_BYTES = 8


class Entry(NamedTuple):
    """An entry of the index.

    Attributes:
        place: where it stands.
        key: encoded; None if the record is damaged and the place does not say.
        digest: None if the record is damaged.
    """

    place: bytes
    key: bytes | None
    digest: int | None

    @property
    def partition(self) -> int:
        """Where its key belongs."""
        return int.from_bytes(self.place[:_PARTITION_BYTES], "big")

    @property
    def position(self) -> int:
        """Of its key in the partition's tree."""
        return int.from_bytes(self.place[_PARTITION_BYTES:_PREFIX_BYTES], "big")


class TreeIndex:
    """Reads what is durable of the index. Keys are encoded keys."""

    def __init__(self, engine: Engine, partition_of: Callable[[bytes], int]) -> None:
        """Read the index of an engine."""
        self._engine = engine
        self._partition_of = partition_of

    def place(self, key: bytes) -> bytes:
        """Where the entry of a key is; what listings are ordered by."""
        return place_in(self._partition_of(key), position_of(key), key)

    def page(self, partition: int, after: bytes, limit: int) -> tuple[list[Entry], bool]:
        """Durable entries of a partition behind a place, and whether more follow.

        Args:
            partition: which.
            after: a place in it; b"" for the first page.
            limit: at most this many.

        Raises:
            StorageError: the disk cannot be read.
        """
        return self._scan(after or _prefix(partition), after_prefix(_prefix(partition)), limit)

    def span(
        self, partition: int, first: int, last: int, after: bytes, limit: int
    ) -> tuple[list[Entry], bool]:
        """Durable entries at positions from `first` to `last`, behind the place `after`.

        Raises:
            StorageError: the disk cannot be read.
        """
        start = max(_prefix(partition) + first.to_bytes(_POSITION_BYTES, "big"), after)
        stop = after_prefix(_prefix(partition) + last.to_bytes(_POSITION_BYTES, "big"))
        if stop is not None and start >= stop:
            return [], False
        return self._scan(start, stop, limit)

    def holds(self, key: bytes) -> bool:
        """Whether a key has a durable entry, readable or not.

        Raises:
            StorageError: the disk cannot be read.
        """
        return self._engine.get(_TABLE, self.place(key)) is not None

    def is_right(self, key: bytes, state: bytes | None) -> bool:
        """Whether the durable entry of a key is that of this state.

        Raises:
            StorageError: the disk cannot be read.
        """
        place = self.place(key)
        record = self._engine.get(_TABLE, place)
        if record is None or state is None:
            return record is state
        return _entry(place, record).digest == state_digest(key, state)

    def _scan(self, start: bytes, stop: bytes | None, limit: int) -> tuple[list[Entry], bool]:
        rows = self._engine.scan(_TABLE, start, stop, limit + 2)
        entries = [_entry(place, record) for place, record in rows if place != start]
        return entries[:limit], len(entries) > limit


def place_in(partition: int, position: int, key: bytes) -> bytes:
    """Where the entry of a key is that has this partition and position."""
    prefix = partition << 8 * _POSITION_BYTES | position
    return place_of(prefix.to_bytes(_PREFIX_BYTES, "big"), key)


def state_digest(key: bytes, state: bytes | None) -> int:
    """The digest of a key in an encoded state of this node's own; 0 without one."""
    if not state:
        return 0
    # What `clock_of` does, at half the time, for a state that is known to be one.
    return digest_of(key, state[4 : 4 + int.from_bytes(state[:4], "big")])


def entry_for(place: bytes, key: bytes, digest: int) -> Operation:
    """Stores the entry of a key, whose place this is; with digest 0 it removes it."""
    if not digest:
        return Delete(_TABLE, place)
    return Put(_TABLE, place, seal(place, key, digest.to_bytes(_DIGEST_BYTES, "big")))


def _prefix(partition: int) -> bytes:
    return partition.to_bytes(_PARTITION_BYTES, "big")


def _entry(place: bytes, record: bytes) -> Entry:
    try:
        key, digest = unseal(place, _PREFIX_BYTES, record)
    except Corrupted:
        return Entry(place, place[_PREFIX_BYTES:] if len(place) < KEY_BYTES_MAX else None, None)
    return Entry(place, key, int.from_bytes(digest, "big"))
