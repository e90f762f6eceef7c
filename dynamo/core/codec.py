"""Siblings, clocks, contexts and values as bytes, on disk and between nodes.

Encoded siblings begin with their clock, so that replicas are compared by its bytes alone and a
version can be asked for without its values (Dynamo §4.4, §4.7):

    siblings   u32 length of the clock | clock | per live value: u32 length, value
    clock      per actor, sorted: actor (8 bytes) | counter (u64) | live values (u32)
    context    version (1 byte) | per actor, sorted: actor (8 bytes) | counter (u64) | CRC-32
    value      u32 length of the head | head (msgpack: everything but the body) | body

Numbers are big-endian; values stand in the order of the clock, of each actor the newest first.
Equal states have equal bytes, and bytes that are not the encoding of what they say are refused.
A state that knows nothing is b"", as is its clock. The fixed layout is why: it has one form for
each clock, needs no types checked, and took as long as msgpack, which would save five bytes of
twenty.

Every decoder takes any bytes whatever, raises CodecError and nothing else, and needs no more
memory than a small multiple of its input and a fixed bound.
"""

import struct
import zlib
from typing import Final

import msgpack

from dynamo.core.ids import ACTOR_BYTES, Actor
from dynamo.core.siblings import EMPTY, Clock, Context, Entry, Siblings
from dynamo.core.values import Link, Value
from dynamo.errors import BadRequest, CodecError

CONTEXT_COUNTER_MAX = 2**48
"""The highest counter a context may claim.

A client can make one up, and whoever writes with it mints a dot above what it claims. An actor
lives as long as a process: at a million writes a second it comes this far in nine years, so no
true context is refused; and a false one leaves the 64 bits of a counter so much room that no
number of writes can overflow them. It spoils its own key, whose contexts are then refused, and no
other.
"""

CONTEXT_ACTORS_MAX = 4096
"""An actor per start of a replica: thousands of restarts, and 64 KiB for a client to carry."""

VALUE_ENTRIES_MAX = 4096
"""Entries of metadata, of links, and of indexes, each. It bounds what a false head can allocate:
msgpack makes room for the length an array declares, at every level of nesting."""

_MODIFIED_AT_MS_MAX = 2**53  # 285,000 years, and room to be raised
_COUNTER_MAX = 2**63  # of states, that peers send: leaves as much again for minting
_CONTEXT_VERSION = b"\x01"
_CHECKSUM_BYTES = 4

_BAD_ENTRY = "a clock entry out of order or of bounds: actor {!r}, counter {}, {} live values"

_U32 = struct.Struct(">I")
_CLOCK_ENTRY = struct.Struct(f">{ACTOR_BYTES}sQI")
_CONTEXT_ENTRY = struct.Struct(f">{ACTOR_BYTES}sQ")

# Texts hold header bytes decoded with surrogateescape. Reused: a Packer costs more than a packing.
_TEXT_ERRORS: Final = "surrogateescape"
_Pairs = tuple[tuple[str, str], ...]
_Head = tuple[str, str, _Pairs, tuple[Link, ...], _Pairs, int, bool]
_HEAD_TYPES = (str, str, tuple, tuple, tuple, int, bool)
_pack_head = msgpack.Packer(unicode_errors=_TEXT_ERRORS).pack
_TRUE = 0xC3  # what msgpack writes for it
_length_at = _U32.unpack_from
_lengths_at = struct.Struct(">II").unpack_from  # of a value, and of its head


# -- siblings and clocks -------------------------------------------------------------------------


def encode_siblings(state: Siblings) -> bytes:
    """A state as bytes; the same for equal states."""
    if not state.entries:
        return b""
    clock: list[bytes] = []
    values: list[bytes] = []
    for actor, (counter, live) in sorted(state.entries.items()):
        clock.append(_CLOCK_ENTRY.pack(actor, counter, len(live)))
        for value in live:
            values.append(_U32.pack(len(value)))
            values.append(value)
    return b"".join([_U32.pack(len(clock) * _CLOCK_ENTRY.size), *clock, *values])


def decode_siblings(encoded: bytes) -> Siblings:
    """The inverse of `encode_siblings`.

    Raises:
        CodecError: no state has these bytes.
    """
    if not encoded:
        return EMPTY
    clock = clock_of(encoded)
    at = _U32.size + len(clock)
    entries: dict[Actor, Entry] = {}
    before = b""
    try:
        for actor, counter, live in _CLOCK_ENTRY.iter_unpack(clock):
            if actor <= before or not live <= counter <= _COUNTER_MAX or not counter:
                raise CodecError(_BAD_ENTRY.format(actor, counter, live))
            before = actor
            values: list[bytes] = []
            for _ in range(live):
                start = at + _U32.size
                at = start + _U32.unpack_from(encoded, at)[0]
                values.append(encoded[start:at])
            entries[actor] = (counter, tuple(values))
    except struct.error as error:
        raise CodecError(f"encoded siblings are cut short: {error}") from error
    if at != len(encoded):
        raise CodecError(f"encoded siblings of {at} bytes in {len(encoded)}")
    return Siblings(entries=entries)


def clock_of(encoded: bytes | memoryview) -> bytes:
    """The clock of encoded siblings, without decoding anything: equal states, equal clocks.

    Raises:
        CodecError: too short to be encoded siblings.
    """
    if len(encoded) == 0:
        return b""
    if len(encoded) > _U32.size:
        (size,) = _U32.unpack_from(encoded)
        clock = bytes(encoded[_U32.size : _U32.size + size])
        if 0 < size == len(clock):
            return clock
    raise CodecError(f"no clock in {bytes(encoded[:32])!r}")


def decode_clock(clock: bytes) -> Clock:
    """The clock that `clock_of` cut out.

    Raises:
        CodecError: no clock has these bytes.
    """
    entries: dict[Actor, tuple[int, int]] = {}
    before = b""
    try:
        for actor, counter, live in _CLOCK_ENTRY.iter_unpack(clock):
            if actor <= before or not live <= counter <= _COUNTER_MAX or not counter:
                raise CodecError(_BAD_ENTRY.format(actor, counter, live))
            before = actor
            entries[actor] = (counter, counter - live)
    except struct.error as error:
        raise CodecError(f"a clock of {len(clock)} bytes") from error
    return Clock(entries=entries)


def only_tombstones(encoded: bytes) -> bool:
    """Whether encoded siblings have values and all of them are tombstones, without decoding any.

    It looks where `encode_value` leaves `deleted`: in the last byte of each head. Any bytes have an
    answer, and what is not the encoding of a value is no tombstone.
    """
    end = len(encoded)
    try:
        at: int = _U32.size + _length_at(encoded)[0]
        while True:
            size, head = _lengths_at(encoded, at)
            # The value begins behind its length, the head behind its own.
            if encoded[at + 7 + head] != _TRUE or not 0 < head <= size - _U32.size:
                return False
            at += _U32.size + size
            if at >= end:
                return at == end
    except (struct.error, IndexError):
        return False


# -- contexts ------------------------------------------------------------------------------------


def encode_context(context: Context) -> bytes:
    """A context as the bytes a client is given, to hand back untouched."""
    payload = b"".join(
        [_CONTEXT_VERSION, *[_CONTEXT_ENTRY.pack(*entry) for entry in sorted(context.items())]]
    )
    return payload + zlib.crc32(payload).to_bytes(_CHECKSUM_BYTES)


def decode_context(data: bytes) -> Context:
    """The inverse of `encode_context`, for bytes a client sent.

    The checksum tells accidents (a context cut short, of another store, of another encoding) from
    contexts; it is no proof against a client that makes one up.

    Raises:
        CodecError: not a context of this store, or one that claims more than any can.
    """
    payload = data[:-_CHECKSUM_BYTES]
    if not payload or zlib.crc32(payload) != int.from_bytes(data[-_CHECKSUM_BYTES:]):
        raise CodecError(f"not a context of this store ({len(data)} bytes)")
    if payload[:1] != _CONTEXT_VERSION:
        raise CodecError(f"a context of unknown version {payload[0]}")
    count, rest = divmod(len(payload) - 1, _CONTEXT_ENTRY.size)
    if rest or count > CONTEXT_ACTORS_MAX:
        raise CodecError(f"a context of {len(data)} bytes, at most {CONTEXT_ACTORS_MAX} actors")
    context: dict[Actor, int] = {}
    before = b""
    for actor, counter in _CONTEXT_ENTRY.iter_unpack(memoryview(payload)[1:]):
        if actor <= before:
            raise CodecError("the actors of a context are not in order")
        if not 0 < counter <= CONTEXT_COUNTER_MAX:
            raise CodecError(f"a context claims counter {counter}, at most {CONTEXT_COUNTER_MAX}")
        context[Actor(actor)] = counter
        before = actor
    return context


# -- values --------------------------------------------------------------------------------------


def encode_value(value: Value) -> bytes:
    """A value as bytes.

    Raises:
        BadRequest: too many entries of metadata, links or indexes.
    """
    if max(len(value.meta), len(value.links), len(value.indexes)) > VALUE_ENTRIES_MAX:
        raise BadRequest(f"more than {VALUE_ENTRIES_MAX} metadata entries, links or index entries")
    head: _Head = (
        value.content_type,
        value.content_encoding,
        value.meta,
        value.links,
        value.indexes,
        value.modified_at_ms,
        value.deleted,
    )
    # The body stays outside of msgpack, whose buffer would keep the size of the largest one.
    packed: bytes = _pack_head(head)
    return b"".join((_U32.pack(len(packed)), packed, value.body))


def decode_value(data: bytes) -> Value:
    """The inverse of `encode_value`.

    Raises:
        CodecError: not an encoded value.
    """
    try:
        body_start = _U32.size + _U32.unpack_from(data)[0]
    except struct.error as error:
        raise CodecError(f"an encoded value of {len(data)} bytes") from error
    if body_start > len(data):
        raise CodecError(f"the head of an encoded value ends at {body_start} of {len(data)} bytes")
    content_type, content_encoding, meta, links, indexes, modified_at_ms, deleted = _decode_head(
        data[_U32.size : body_start]
    )
    return Value(
        body=data[body_start:],
        content_type=content_type,
        content_encoding=content_encoding,
        meta=meta,
        links=links,
        indexes=indexes,
        modified_at_ms=modified_at_ms,
        deleted=deleted,
    )


def _decode_head(data: bytes) -> _Head:
    try:
        # Maps and extensions have no place in a head, so none is even built.
        head: _Head = msgpack.unpackb(
            data,
            use_list=False,
            unicode_errors=_TEXT_ERRORS,
            max_array_len=VALUE_ENTRIES_MAX,
            max_map_len=0,
            max_ext_len=0,
        )
    except ValueError as error:
        raise CodecError(f"the head of an encoded value is no msgpack: {error}") from error
    if type(head) is not tuple or tuple(map(type, head)) != _HEAD_TYPES:
        raise CodecError(f"not the fields of a value: {head!r:.80}")
    _, _, meta, links, indexes, modified_at_ms, _ = head
    if not 0 <= modified_at_ms <= _MODIFIED_AT_MS_MAX:
        raise CodecError(f"a value of the time {modified_at_ms}")
    if (
        (meta and not all(map(_is_pair, meta)))
        or (links and not all(map(_is_link, links)))
        or (indexes and not all(map(_is_pair, indexes)))
    ):
        raise CodecError("an entry of metadata, links or indexes is not of the texts it should be")
    return head


def _is_pair(entry: object) -> bool:
    return type(entry) is tuple and len(entry) == 2 and type(entry[0]) is type(entry[1]) is str


def _is_link(entry: object) -> bool:
    return type(entry) is tuple and len(entry) == 3 and all(type(name) is bytes for name in entry)
