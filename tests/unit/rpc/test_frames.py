import contextlib
import itertools
import struct
import tracemalloc

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo.errors import BadRequest, ProtocolError
from dynamo.rpc.frames import (
    LIST_LEN_MAX,
    LISTS_MAX,
    SENT_MS_MAX,
    Decoder,
    Encoder,
    frame,
    parse_reply,
    parse_request,
)
from dynamo.rpc.messages import (
    Done,
    Failed,
    GossipDigest,
    GossipExchange,
    GossipFacts,
    Heartbeat,
    Held,
    ReplicaGet,
    ReplicaPut,
    Reply,
    Request,
)

MIB = 2**20


def requests() -> st.SearchStrategy[Request]:
    small = st.binary(max_size=20)
    return st.one_of(
        st.builds(Heartbeat),
        st.builds(ReplicaPut, small, small, st.text(max_size=5)),
        st.builds(ReplicaGet, small, st.text(max_size=5), st.booleans()),
        st.builds(GossipExchange, st.lists(small, max_size=4), st.lists(small, max_size=4)),
    )


def replies() -> st.SearchStrategy[Reply]:
    small = st.binary(max_size=20)
    return st.one_of(
        st.builds(Done),
        st.builds(Held, small),
        st.builds(GossipDigest, st.lists(small, max_size=4), st.lists(small, max_size=4)),
        st.builds(
            Failed,
            st.integers(0, 9),
            st.text(max_size=9),
            st.text(max_size=2),
            st.integers(0, 5),
            st.integers(0, 5),
            st.booleans(),
            st.integers(0, 5),
            st.text(max_size=9),
        ),
    )


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=30), max_size=8), st.lists(st.integers(0, 400), max_size=30))
def test_bodies_come_out_whole_however_the_stream_is_cut(
    bodies: list[bytes], places: list[int]
) -> None:
    decoder = Decoder(30)
    out = [
        bytes(body)
        for piece in cut(b"".join(map(frame, bodies)), places)
        for body in decoder.feed(piece)
    ]
    assert out == bodies


@settings(max_examples=200)
@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=8))
def test_any_bytes_decode_the_same_in_pieces_as_at_once(data: bytes, places: list[int]) -> None:
    def outcome(pieces: list[bytes]) -> list[bytes] | None:
        decoder = Decoder(300)
        out: list[bytes] = []
        try:
            for piece in pieces:
                out += map(bytes, decoder.feed(piece))
        except ProtocolError:
            return None
        return out

    assert outcome([data]) == outcome(cut(data, places))


@pytest.mark.parametrize("read_before", [0, 1, 3])
def test_a_length_above_the_bound_ends_the_stream_as_soon_as_it_is_read(read_before: int) -> None:
    decoder = Decoder(100)
    length = struct.pack(">I", 101)
    assert decoder.feed(length[:read_before]) == []
    with pytest.raises(ProtocolError, match="a frame of 101 bytes, the most is 100"):
        decoder.feed(length[read_before:])


def test_a_claimed_length_costs_no_memory_until_its_bytes_come() -> None:
    tracemalloc.start()
    try:
        decoders = [Decoder(64 * MIB) for _ in range(100)]
        for decoder in decoders:
            assert decoder.feed(struct.pack(">I", 64 * MIB) + b"x") == []
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MIB


def test_a_large_frame_in_small_pieces_is_copied_a_few_times_only() -> None:
    # Counted, not timed: what is allocated while it grows stays near its size.
    body = bytes(50 * MIB)
    stream = frame(body)
    decoder = Decoder(50 * MIB)
    tracemalloc.start()
    try:
        out = [
            done
            for start in range(0, len(stream), 65536)
            for done in decoder.feed(stream[start : start + 65536])
        ]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert out == [body]
    assert peak < 120 * MIB


def test_the_bound_may_rise_between_frames() -> None:
    decoder = Decoder(4)
    assert decoder.feed(frame(b"1234")) == [b"1234"]
    decoder.frame_bytes_max = 5
    assert decoder.feed(frame(b"12345")) == [b"12345"]


@given(requests(), st.integers(0, 2**63), st.integers(0, 2**31), st.integers(0, 2**40))
def test_a_request_survives_the_wire(
    request: Request, call_id: int, timeout_ms: int, sent_ms: int
) -> None:
    [body] = Decoder(MIB).feed(Encoder(MIB).request(call_id, request, timeout_ms, sent_ms))
    assert parse_request(body) == (call_id, timeout_ms, sent_ms, request)
    assert type(parse_request(body)[3]) is type(request)


@given(replies(), st.integers(0, 2**63))
def test_a_reply_survives_the_wire(reply: Reply, call_id: int) -> None:
    [body] = Decoder(MIB).feed(Encoder(MIB).reply(call_id, reply))
    assert parse_reply(body) == (call_id, reply)
    assert type(parse_reply(body)[1]) is type(reply)


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_any_body_is_a_message_or_a_protocol_error(body: bytes) -> None:
    for parse in (parse_request, parse_reply):
        with contextlib.suppress(ProtocolError):
            parse(body)


@settings(max_examples=300)
@given(requests(), st.integers(0, 10**6), st.integers(0, 255), st.booleans())
def test_a_damaged_request_is_a_request_or_a_protocol_error(
    request: Request, place: int, byte: int, drop: bool
) -> None:
    body = bytearray(Encoder(MIB).request(7, request, 1000, 0)[4:])
    place %= len(body)
    body[place : place + 1] = b"" if drop else bytes([byte])
    try:
        parsed = parse_request(bytes(body))
    except ProtocolError:
        return
    assert type(parsed[0]) is int
    assert type(parsed[1]) is int
    assert parsed[1] >= 0
    assert type(parsed[2]) is int
    assert parsed[2] >= 0


HOSTILE = {
    "nothing": b"",
    "a number": b"\x01",
    "bytes of the right length": msgpack.packb(b"\x01\x02\x03\x04"),
    "a map": msgpack.packb({1: 2, 3: 4, 5: 6, 7: 8}),
    "a map inside": msgpack.packb([1, 2, 3, 0, [b"k", b"s", {}]])[:-1] + b"\x81\x01\x02",
    "a list as a map's key": b"\x94\x81\x90\x01\x02\x03\x90",
    "an extension": msgpack.packb([1, 2, 1000, 0, [b"k", msgpack.ExtType(5, b"xx"), ""]]),
    "an empty extension": msgpack.packb([1, 2, 1000, 0, [b"k", msgpack.ExtType(5, b""), ""]]),
    "a timestamp": msgpack.packb([1, 2, 1000, 0, [b"k", msgpack.Timestamp(1, 1), ""]]),
    "bad UTF-8": b"\x95\x01\x02\xcd\x03\xe8\x00\x93\xc4\x01k\xc4\x01s\xa2\xff\xfe",
    "too much": msgpack.packb([1, 1, 1000, 0, []]) + b"\x00",
    "too little": msgpack.packb([1, 2, 1000, 0, [b"k", b"s", ""]])[:-1],
    "a reserved byte": b"\xc1",
    "deep nesting": b"\x91" * 100_000,
    "deep nesting, nearly": b"\x91" * 1000 + b"\x90",
    "a list of 2**32-1": b"\xdd\xff\xff\xff\xff" * 12,
    "bytes of 2**32-1": b"\x95\x01\x02\x03\x00\xc6\xff\xff\xff\xff",
    "text of 2**32-1": b"\x95\x01\x02\x03\x00\xdb\xff\xff\xff\xff",
    "a map of 2**32-1": b"\xdf\xff\xff\xff\xff",
    "an extension of 2**32-1": b"\xc9\xff\xff\xff\xff\x01",
    "id is a text": msgpack.packb(["1", 1, 1000, 0, []]),
    "id is a boolean": msgpack.packb([True, 1, 1000, 0, []]),
    "timeout is negative": msgpack.packb([1, 1, -1, 0, []]),
    "timeout is a fraction": msgpack.packb([1, 1, 1.5, 0, []]),
    "time of sending is negative": msgpack.packb([1, 1, 1000, -1, []]),
    "time of sending is out of this world": msgpack.packb([1, 1, 1000, SENT_MS_MAX + 1, []]),
    "time of sending is a fraction": msgpack.packb([1, 1, 1000, 1.5, []]),
    "time of sending is missing": msgpack.packb([1, 1, 1000, []]),
    "number is a boolean": msgpack.packb([1, True, 1000, 0, []]),
    "number is a list": msgpack.packb([1, [], 1000, 0, []]),
    "unknown number": msgpack.packb([1, 99, 1000, 0, []]),
    "a reply": msgpack.packb([1, 64, 1000, 0, []]),
    "fields are missing": msgpack.packb([1, 2, 1000, 0, [b"k"]]),
    "fields are no list": msgpack.packb([1, 2, 1000, 0, b"kst"]),
    "a field of another type": msgpack.packb([1, 2, 1000, 0, ["k", b"s", ""]]),
    "an item of another type": msgpack.packb([1, 6, 1000, 0, [[b"f", 1], []]]),
    "a list as an item": msgpack.packb([1, 6, 1000, 0, [[b"f", [b""]], []]]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_request_is_one_protocol_error(name: str) -> None:
    with pytest.raises(ProtocolError) as error:
        parse_request(HOSTILE[name])
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_reply_is_one_protocol_error(name: str) -> None:
    with pytest.raises(ProtocolError):
        parse_reply(HOSTILE[name])


@pytest.mark.parametrize("filler", [0, 2 * LIST_LEN_MAX])
def test_a_map_is_refused_before_it_is_built(filler: int) -> None:
    body = msgpack.packb([1, 2, 1000, 0, [bytes(filler), {1: 2}, ""]])
    with pytest.raises(ProtocolError, match="max_map_len"):
        parse_request(body)


def test_a_request_is_no_reply() -> None:
    with pytest.raises(ProtocolError, match="Heartbeat is not a reply"):
        parse_reply(msgpack.packb([1, 1, []]))


def test_many_empty_lists_are_stopped_before_they_fill_the_memory() -> None:
    # One byte each in the frame, 56 in memory.
    many = b"\xdc\xff\xff" + b"\x90" * 65_535
    body = b"\x95\x01\x06\xcd\x03\xe8\x00\x92" + (b"\xdc\x00\x40" + many * 64) * 2
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match=f"more than {LISTS_MAX} lists"):
            parse_request(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * MIB


def test_a_list_above_its_bound_is_not_made_room_for() -> None:
    claimed = struct.pack(">I", LIST_LEN_MAX + 1)
    body = (
        b"\x95\x01\x06\xcd\x03\xe8\x00\x92\xdd"
        + claimed
        + b"\xc4\x00" * (LIST_LEN_MAX + 1)
        + b"\x90"
    )
    with pytest.raises(ProtocolError, match="max_array_len"):
        parse_request(body)


def test_the_longest_list_passes_in_both_directions() -> None:
    facts = GossipFacts([b""] * LIST_LEN_MAX)
    assert parse_reply(Encoder(MIB).reply(1, facts)[4:]) == (1, facts)


def test_an_encoder_refuses_what_its_reader_would() -> None:
    encoder = Encoder(MIB)
    with pytest.raises(
        BadRequest, match=r"ReplicaPut takes 10485\d\d bytes between nodes, the most"
    ):
        encoder.request(1, ReplicaPut(b"k", bytes(MIB), ""), 1000, 0)
    with pytest.raises(BadRequest, match="GossipFacts has a list of 65537, the most is 65536"):
        encoder.reply(1, GossipFacts([b""] * (LIST_LEN_MAX + 1)))


def test_an_encoder_goes_on_after_what_it_could_not_pack() -> None:
    encoder = Encoder(MIB)
    good = encoder.request(2, Heartbeat(), 1000, 0)
    with pytest.raises(ValueError, match="surrogates not allowed"):
        encoder.request(1, ReplicaPut(b"k" * 100, b"s", "\udc80"), 1000, 0)
    with pytest.raises(BadRequest):
        encoder.request(1, ReplicaPut(b"k", bytes(2 * MIB), ""), 1000, 0)
    assert encoder.request(2, Heartbeat(), 1000, 0) == good
