"""What a node keeps for others while they are away: hints (Dynamo §4.6).

A place is the target's name (with its length before it) and the encoded key: all hints for one
target are one contiguous range, delivered from front to back, and a read through the stand-in is
one look-up. A hint is a state like any other, so a second write for the same target and key joins
the first. Before the state stand 8 bytes: when the newest write in it was hinted, in ms.
"""

from collections import Counter

from dynamo.core.ids import NodeId
from dynamo.storage.engine import Engine, OnCommit, Table
from dynamo.storage.records import after_prefix, place_of
from dynamo.storage.states import Page, States

_HINTED_AT_BYTES = 8
_COUNTING_ROWS = 1000


class HintStore:
    """States kept for other nodes. Keys are encoded keys."""

    def __init__(self, engine: Engine) -> None:
        """Serve the hints of an engine; counts those that are there.

        Args:
            engine: where they are.

        Raises:
            StorageError: the disk cannot be read.
        """
        self._counts = _counted(engine)
        self._states = States(
            engine,
            Table.HINTS,
            prefix_bytes=_prefix_bytes,
            head_bytes=_HINTED_AT_BYTES,
            # Nothing to do: nothing is minted from a hint.
            on_loss=lambda: None,
            on_count=self._count,
        )

    @property
    def corrupted(self) -> int:
        """How many records were found corrupted, and then treated as missing."""
        return self._states.corrupted

    def targets(self) -> dict[NodeId, int]:
        """For whom there are hints, and how many."""
        return dict(self._counts)

    def get(self, target: NodeId, key: bytes) -> bytes | None:
        """The durable hint of a key, encoded; None if there is none that can be read.

        Raises:
            StorageError: the disk cannot be read.
        """
        return self._states.committed(_place(target, key))

    def merge(
        self, target: NodeId, key: bytes, incoming: bytes, hinted_at_ms: int, on_done: OnCommit
    ) -> None:
        """Join a state to the hint, and call `on_done` once what came is durable here.

        Raises:
            CodecError: `incoming` or `key` does not decode; nothing was stored.
            Overloaded: too much waits for the disk; nothing was stored.
            StorageError: the disk cannot be read.
        """
        head = hinted_at_ms.to_bytes(_HINTED_AT_BYTES, "big")
        self._states.merge(_place(target, key), key, incoming, head, on_done)

    def scan(self, target: NodeId, after: bytes, limit: int) -> Page:
        """Hints for one target, in the order of delivery.

        Args:
            target: for whom.
            after: the last key of the page before; b"" for the first page.
            limit: at most this many, at least one.

        Raises:
            StorageError: the disk cannot be read.
        """
        prefix = _prefix(target)
        return self._states.scan(place_of(prefix, after), after_prefix(prefix), limit)

    def drop(self, target: NodeId, key: bytes, delivered: bytes, on_done: OnCommit) -> None:
        """Forget a hint that was delivered; it stays if more has come since, durable or not.

        `on_done` is called once the hint is durably gone, or soon if it stays.

        Raises:
            Overloaded: too much waits for the disk; the hint stays.
            StorageError: the disk cannot be read.
        """
        self._states.drop(_place(target, key), key, delivered, on_done)

    def _count(self, place: bytes, change: int) -> None:
        target = _target(place)
        self._counts[target] += change
        if not self._counts[target]:
            del self._counts[target]


def _counted(engine: Engine) -> Counter[NodeId]:
    counts: Counter[NodeId] = Counter()
    start = b""
    while rows := engine.scan(Table.HINTS, start, None, _COUNTING_ROWS):
        counts.update(_target(place) for place, _ in rows if place != start)
        if rows[-1][0] == start:
            break
        start = rows[-1][0]
    return counts


def _prefix(target: NodeId) -> bytes:
    name = target.encode()
    return bytes([len(name)]) + name


def _prefix_bytes(place: bytes) -> int:
    return 1 + place[0]


def _target(place: bytes) -> NodeId:
    return NodeId(place[1 : _prefix_bytes(place)].decode())


def _place(target: NodeId, key: bytes) -> bytes:
    return place_of(_prefix(target), key)
