"""What a hint looks like on the disk: its record, its row in the order of delivery, and the ledger.

    HINTS        target | encoded key    ->   sequence | since | hinted at | state
    HINT_ORDER   target | sequence       ->   since | hinted at | size | encoded key
    META         "hints"                 ->   stored | delivered | superseded | expired

A target is its name with the name's length before it, so that all hints for one node are one range
in either table. Numbers have 8 bytes. Each record has exactly one row, and both carry a checksum.
"""

from struct import Struct
from typing import Final, NamedTuple

from dynamo.core.ids import NodeId
from dynamo.errors import Corrupted
from dynamo.storage.records import place_of, seal, unseal

LEDGER_PLACE: Final = b"hints"

_SEQUENCE_BYTES = 8
_HEAD = Struct(">QQQ")
_ROW = Struct(">QQQ")
_LEDGER = Struct(">QQQQ")


class HintRow(NamedTuple):
    """A hint without its state.

    Attributes:
        target: for whom it is.
        sequence: its place in the order of delivery. A hint that more is joined to moves to the
            end; no two ever have the same.
        since: the sequence of the first write in it. Until it is gone so is nothing of that write.
        hinted_at_ms: when the last write in it came, by the clock on the wall.
        size_bytes: of key and state.
        key: encoded.
    """

    target: NodeId
    sequence: int
    since: int
    hinted_at_ms: int
    size_bytes: int
    key: bytes


class HintCounts(NamedTuple):
    """What became of the hints of a data directory, since it was made.

    In every state of the disk: stored = delivered + superseded + expired + those that are held.

    Attributes:
        stored: writes that were kept for another node and added something.
        delivered: hints that their target has confirmed to have durably.
        superseded: hints that a later write for the same target and key was joined to.
        expired: hints that went undelivered: too old, too many, or no longer readable.
    """

    stored: int = 0
    delivered: int = 0
    superseded: int = 0
    expired: int = 0


def prefix_of(target: NodeId) -> bytes:
    """What all places of a target's hints begin with, and no others."""
    name = target.encode()
    return bytes([len(name)]) + name


def hint_place(target: NodeId, key: bytes) -> bytes:
    """Where the record of a hint is."""
    return place_of(prefix_of(target), key)


def row_place(target: NodeId, sequence: int) -> bytes:
    """Where the row of a hint is."""
    return prefix_of(target) + sequence.to_bytes(_SEQUENCE_BYTES, "big")


def seal_hint(row: HintRow, state: bytes) -> bytes:
    """The record of a hint."""
    head = _HEAD.pack(row.sequence, row.since, row.hinted_at_ms)
    return seal(hint_place(row.target, row.key), row.key, head + state)


def unseal_hint(place: bytes, record: bytes) -> tuple[HintRow, bytes]:
    """A hint and its state, from the record found at `place`.

    Raises:
        Corrupted: this is not what was sealed for that place.
    """
    prefix_bytes = 1 + place[0]
    key, payload = unseal(place, prefix_bytes, record)
    sequence, since, hinted_at_ms = _HEAD.unpack_from(payload)
    state = payload[_HEAD.size :]
    target = NodeId(place[1:prefix_bytes].decode())
    size_bytes = len(key) + len(state)
    return HintRow(target, sequence, since, hinted_at_ms, size_bytes, key), state


def seal_row(row: HintRow) -> bytes:
    """The row of a hint."""
    payload = _ROW.pack(row.since, row.hinted_at_ms, row.size_bytes) + row.key
    return seal(row_place(row.target, row.sequence), b"", payload)


def unseal_row(place: bytes, sealed: bytes) -> HintRow:
    """A hint without its state, from the row found at `place`.

    Raises:
        Corrupted: this is not what was sealed for that place.
    """
    _, payload = unseal(place, len(place), sealed)
    since, hinted_at_ms, size_bytes = _ROW.unpack_from(payload)
    target, sequence = split_row_place(place)
    return HintRow(target, sequence, since, hinted_at_ms, size_bytes, payload[_ROW.size :])


def split_row_place(place: bytes) -> tuple[NodeId, int]:
    """Target and sequence of the row at `place`."""
    target = NodeId(place[1:-_SEQUENCE_BYTES].decode())
    return target, int.from_bytes(place[-_SEQUENCE_BYTES:], "big")


def seal_ledger(counts: HintCounts) -> bytes:
    """The counts as they are kept."""
    return seal(LEDGER_PLACE, b"", _LEDGER.pack(*counts))


def unseal_ledger(sealed: bytes | None, *, held: int) -> HintCounts:
    """The counts that were kept. Where there are none to be read, those held are all there were."""
    try:
        if sealed is not None:
            return HintCounts(*_LEDGER.unpack(unseal(LEDGER_PLACE, 0, sealed)[1]))
    except Corrupted:
        pass
    return HintCounts(stored=held)
