"""Encodings: there and back, one form for each thing, and any bytes refused in the same way."""

import contextlib
import random
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo.core.codec import (
    CONTEXT_ACTORS_MAX,
    CONTEXT_COUNTER_MAX,
    VALUE_ENTRIES_MAX,
    clock_of,
    decode_clock,
    decode_context,
    decode_siblings,
    decode_value,
    encode_context,
    encode_siblings,
    encode_value,
    only_tombstones,
)
from dynamo.core.ids import ACTOR_BYTES, Actor
from dynamo.core.siblings import EMPTY, Clock, Siblings
from dynamo.core.values import Value
from dynamo.errors import BadRequest, CodecError
from dynamo.rpc.messages import MISSING

A, B = Actor(b"actor--a"), Actor(b"actor--b")

DECODERS: list[Callable[[bytes], object]] = [
    decode_siblings,
    clock_of,
    decode_clock,
    decode_context,
    decode_value,
]

actors = st.binary(min_size=ACTOR_BYTES, max_size=ACTOR_BYTES).map(Actor)
entries = st.tuples(st.integers(4, 2**63), st.lists(st.binary(max_size=40), max_size=4).map(tuple))
states = st.dictionaries(actors, entries, max_size=4).map(lambda drawn: Siblings(entries=drawn))
contexts = st.dictionaries(actors, st.integers(1, CONTEXT_COUNTER_MAX), max_size=4)
# What header bytes decode to, whatever they are.
texts = st.binary(max_size=12).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
names = st.binary(max_size=8)
pairs = st.lists(st.tuples(texts, texts), max_size=3).map(tuple)
values = st.builds(
    Value,
    body=st.binary(max_size=40),
    content_type=texts,
    content_encoding=texts,
    meta=pairs,
    links=st.lists(st.tuples(names, names, names), max_size=3).map(tuple),
    indexes=pairs,
    modified_at_ms=st.integers(0, 2**53),
    deleted=st.booleans(),
)


@st.composite
def damaged(draw: st.DrawFn, encodings: st.SearchStrategy[bytes]) -> bytes:
    """An encoding with a piece of it replaced, removed or put in."""
    data = draw(encodings)
    start = draw(st.integers(0, len(data)))
    stop = draw(st.integers(start, min(len(data), start + 4)))
    piece = draw(st.binary(max_size=4) | st.sampled_from([b"\xff" * 4, b"\0" * 8]))
    return data[:start] + piece + data[stop:]


anything = st.one_of(
    st.binary(max_size=80),
    damaged(states.map(encode_siblings)),
    damaged(contexts.map(encode_context)),
    damaged(values.map(encode_value)),
)


# -- there and back ------------------------------------------------------------------------------


@given(states)
def test_siblings_there_and_back(state: Siblings) -> None:
    encoded = encode_siblings(state)
    assert decode_siblings(encoded) == state
    assert decode_clock(clock_of(encoded)) == state.clock()
    of_view = clock_of(memoryview(encoded))
    assert type(of_view) is bytes
    assert of_view == clock_of(encoded)


@given(contexts)
def test_a_context_there_and_back(context: dict[Actor, int]) -> None:
    assert decode_context(encode_context(context)) == context


@given(values)
def test_a_value_there_and_back(value: Value) -> None:
    assert decode_value(encode_value(value)) == value


@given(states, st.randoms(use_true_random=False))
def test_equal_states_have_equal_bytes_in_whatever_order_they_came_about(
    state: Siblings, dice: random.Random
) -> None:
    shuffled = list(state.entries.items())
    dice.shuffle(shuffled)
    again = Siblings(entries=dict(shuffled))
    assert encode_siblings(again) == encode_siblings(state)
    assert encode_context(again.context()) == encode_context(state.context())


@given(states, states)
def test_clocks_have_equal_bytes_if_and_only_if_they_are_equal(a: Siblings, b: Siblings) -> None:
    same = clock_of(encode_siblings(a)) == clock_of(encode_siblings(b))
    assert same is (a.clock() == b.clock())


def test_nothing_known_is_no_bytes_and_is_what_a_replica_without_the_key_answers() -> None:
    assert encode_siblings(EMPTY) == clock_of(b"") == MISSING == b""
    assert decode_siblings(b"") == EMPTY
    assert decode_clock(b"") == Clock(entries={})


def test_the_bytes_of_siblings_never_change() -> None:
    state = Siblings(entries={B: (2**40, (b"new", b"")), A: (3, ())})
    clock = (
        b"actor--a" + b"\0\0\0\0\0\0\0\x03" + b"\0\0\0\0"
        b"actor--b" + b"\0\0\x01\0\0\0\0\0" + b"\0\0\0\x02"
    )
    encoded = b"\0\0\0\x28" + clock + b"\0\0\0\x03new" + b"\0\0\0\0"
    assert encode_siblings(state) == encoded
    assert clock_of(encoded) == clock


def test_the_bytes_of_a_context_never_change() -> None:
    assert encode_context({B: 258, A: 1}).hex() == (
        "01" + b"actor--a".hex() + "0000000000000001" + b"actor--b".hex() + "0000000000000102"
        "c5dbb4b1"
    )


def test_the_bytes_of_a_value_never_change() -> None:
    value = Value(
        body=b"body",
        content_type="text/plain",
        content_encoding="gzip",
        meta=(("name", "\udcff"),),
        links=((b"b", b"k", b"t"),),
        indexes=(("f_int", "1"),),
        modified_at_ms=1,
        deleted=False,
    )
    head = (
        b"\x97\xaatext/plain\xa4gzip\x91\x92\xa4name\xa1\xff"
        b"\x91\x93\xc4\x01b\xc4\x01k\xc4\x01t\x91\x92\xa5f_int\xa11\x01\xc2"
    )
    assert encode_value(value) == len(head).to_bytes(4) + head + b"body"


# -- any bytes -----------------------------------------------------------------------------------


@settings(max_examples=300)
@given(anything)
def test_every_decoder_takes_any_bytes_and_raises_codec_error_alone(data: bytes) -> None:
    for decode in DECODERS:
        try:
            decode(data)
        except CodecError:
            continue


@settings(max_examples=300)
@given(anything)
def test_what_decodes_as_siblings_or_context_is_the_one_encoding_of_it(data: bytes) -> None:
    with contextlib.suppress(CodecError):
        assert encode_siblings(decode_siblings(data)) == data
    with contextlib.suppress(CodecError):
        assert encode_context(decode_context(data)) == data


@given(states)
def test_siblings_cut_short_or_followed_by_more_are_refused(state: Siblings) -> None:
    encoded = encode_siblings(state)
    for end in range(1, len(encoded)):
        with pytest.raises(CodecError):
            decode_siblings(encoded[:end])
    with pytest.raises(CodecError):
        decode_siblings(encoded + b"\0")


def clock_bytes(*clock: tuple[bytes, int, int]) -> bytes:
    return b"".join(struct.pack(">8sQI", *entry) for entry in clock)


@pytest.mark.parametrize(
    "clock",
    [
        pytest.param(clock_bytes((B, 1, 0), (A, 1, 0)), id="actors out of order"),
        pytest.param(clock_bytes((A, 1, 0), (A, 2, 0)), id="an actor twice"),
        pytest.param(clock_bytes((A, 0, 0)), id="nothing seen"),
        pytest.param(clock_bytes((A, 1, 2)), id="more live than seen"),
        pytest.param(clock_bytes((A, 2**63 + 1, 0)), id="no room to mint"),
        pytest.param(clock_bytes((A, 1, 0))[:-1], id="cut short"),
    ],
)
@pytest.mark.parametrize("values", [0, 2])
def test_a_clock_that_no_state_has_is_refused(clock: bytes, values: int) -> None:
    with pytest.raises(CodecError):
        decode_clock(clock)
    with pytest.raises(CodecError):
        decode_siblings(len(clock).to_bytes(4) + clock + b"\0\0\0\0" * values)


def test_a_clock_may_claim_any_number_of_live_values_without_filling_memory() -> None:
    clock = clock_bytes((A, 2**32, 2**32 - 1))
    assert decode_clock(clock).missing_from(Clock(entries={})) == 2**32 - 1
    with pytest.raises(CodecError):
        decode_siblings(len(clock).to_bytes(4) + clock + b"\0\0\0\0" * 2)


@pytest.mark.parametrize("encoded", [b"\0", b"\0\0\0\0", b"\0\0\0\0\0", b"\0\0\0\x15" + b"x" * 20])
def test_the_clock_of_what_has_none_is_refused(encoded: bytes) -> None:
    with pytest.raises(CodecError):
        clock_of(encoded)


# -- contexts from clients -----------------------------------------------------------------------


def sealed(payload: bytes) -> bytes:
    return payload + zlib.crc32(payload).to_bytes(4)


def context_bytes(*context: tuple[bytes, int]) -> bytes:
    return sealed(b"\x01" + b"".join(struct.pack(">8sQ", *entry) for entry in context))


def test_the_highest_counter_and_the_most_actors_a_context_may_have() -> None:
    highest = [(A, CONTEXT_COUNTER_MAX)]
    assert decode_context(context_bytes(*highest)) == dict(highest)
    most = [(Actor(n.to_bytes(8)), 1) for n in range(CONTEXT_ACTORS_MAX)]
    assert decode_context(context_bytes(*most)) == dict(most)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\0\0\0\0", id="a checksum of nothing"),
        pytest.param(context_bytes((A, CONTEXT_COUNTER_MAX + 1)), id="a counter too high"),
        pytest.param(context_bytes((A, 0)), id="no dot of an actor"),
        pytest.param(context_bytes((B, 1), (A, 1)), id="actors out of order"),
        pytest.param(context_bytes((A, 1), (A, 1)), id="an actor twice"),
        pytest.param(
            context_bytes(*[(n.to_bytes(8), 1) for n in range(CONTEXT_ACTORS_MAX + 1)]),
            id="too many actors",
        ),
        pytest.param(sealed(b"\x02"), id="a version to come"),
        pytest.param(sealed(b"\x01actor"), id="half an actor"),
        pytest.param(bytes.fromhex("6bce60606060cc60ca05521c4ab6"), id="of another store"),
    ],
)
def test_a_context_that_this_store_never_gave_is_refused(data: bytes) -> None:
    with pytest.raises(CodecError):
        decode_context(data)


def test_a_context_with_any_bit_turned_or_any_end_cut_is_refused() -> None:
    data = encode_context({A: 5, B: 77})
    for position in range(len(data) * 8):
        turned = bytearray(data)
        turned[position // 8] ^= 1 << position % 8
        with pytest.raises(CodecError):
            decode_context(bytes(turned))
    for end in range(len(data)):
        with pytest.raises(CodecError):
            decode_context(data[:end])


# -- values --------------------------------------------------------------------------------------


def value_bytes(*head: object) -> bytes:
    packed: bytes = msgpack.packb(head)
    return len(packed).to_bytes(4) + packed + b"body"


FIELDS: list[object] = ["type", "", [], [], [], 0, False]


def test_a_head_of_the_right_fields_is_a_value() -> None:
    assert decode_value(value_bytes(*FIELDS)) == Value(body=b"body", content_type="type")


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        (0, b"type"),
        (1, None),
        (2, {}),
        (2, [["name"]]),
        (2, [["name", b"text"]]),
        (2, [[b"name", "text"]]),
        (2, ["ab"]),
        (3, [["b", "k", "t"]]),
        (3, [[b"b", b"k"]]),
        (3, [b"bkt"]),
        (4, "field"),
        (4, [["field", 1]]),
        (4, [msgpack.ExtType(1, b"ab")]),
        (5, True),
        (5, 1.5),
        (6, 0),
        (6, msgpack.Timestamp(1)),
    ],
)
def test_a_head_with_a_field_of_another_type_is_refused(field: int, wrong: object) -> None:
    with pytest.raises(CodecError):
        decode_value(value_bytes(*[*FIELDS[:field], wrong, *FIELDS[field + 1 :]]))


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xc0",
        msgpack.packb(FIELDS[:6]),
        msgpack.packb([*FIELDS, 0]),
        msgpack.packb(FIELDS) + b"\0",
        msgpack.packb(FIELDS)[:-1],
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\xc7\0\xff",
        b"\xd6\xff\0\0\0\0",
        b"\x81\x90\x90",
    ],
)
def test_a_head_that_is_none_is_refused(head: bytes) -> None:
    with pytest.raises(CodecError):
        decode_value(len(head).to_bytes(4) + head)


@pytest.mark.parametrize("length", [1, VALUE_ENTRIES_MAX, 40_000, 2**32 - 1])
def test_a_head_of_arrays_in_arrays_is_refused_in_bounded_memory(length: int) -> None:
    head = (b"\xdd" + length.to_bytes(4)) * 20_000
    data = len(head).to_bytes(4) + head
    tracemalloc.start()
    try:
        with pytest.raises(CodecError):
            decode_value(data)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 40_000_000


def test_a_head_longer_than_the_value_is_refused() -> None:
    with pytest.raises(CodecError):
        decode_value(b"\xff\xff\xff\xff" + msgpack.packb(FIELDS))


@pytest.mark.parametrize("sort", ["meta", "links", "indexes"])
def test_a_value_with_more_entries_than_could_be_read_back_is_refused(sort: str) -> None:
    entry: tuple[object, ...] = (b"b", b"k", b"t") if sort == "links" else ("name", "text")
    most = Value(body=b"", **{sort: (entry,) * VALUE_ENTRIES_MAX})  # type: ignore[arg-type]
    assert decode_value(encode_value(most)) == most
    more = Value(body=b"", **{sort: (entry,) * (VALUE_ENTRIES_MAX + 1)})  # type: ignore[arg-type]
    with pytest.raises(BadRequest):
        encode_value(more)


def test_a_value_that_cannot_be_packed_leaves_nothing_behind_for_the_next() -> None:
    with pytest.raises(UnicodeEncodeError):
        encode_value(Value(body=b"", content_type="begun", content_encoding="\ud800"))
    value = Value(body=b"next")
    assert decode_value(encode_value(value)) == value


# -- tombstones ----------------------------------------------------------------------------------

value_lists = st.lists(values.map(encode_value), max_size=4).map(tuple)
valued_entries = st.tuples(st.integers(4, 2**63), value_lists)
valued_states = st.dictionaries(actors, valued_entries, max_size=3).map(
    lambda drawn: Siblings(entries=drawn)
)


@given(valued_states)
def test_tombstones_are_told_without_decoding(state: Siblings) -> None:
    deleted = [decode_value(value).deleted for _, value in state.dots()]
    assert only_tombstones(encode_siblings(state)) is (bool(deleted) and all(deleted))


@given(st.one_of(anything, damaged(valued_states.map(encode_siblings))))
def test_whether_any_bytes_are_tombstones_has_an_answer(data: bytes) -> None:
    assert only_tombstones(data) in (True, False)


@given(states)
def test_values_that_are_none_are_no_tombstones_or_decode_as_such(state: Siblings) -> None:
    if only_tombstones(encode_siblings(state)):
        with contextlib.suppress(CodecError):
            assert all(decode_value(value).deleted for _, value in state.dots())


def test_a_state_without_values_is_no_tombstone() -> None:
    assert not only_tombstones(b"")
    assert not only_tombstones(encode_siblings(EMPTY.supersede({A: 3})))
