"""What is gossiped of bucket types: one that is active wins, and nonsense is none."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo.core.bucket_types import (
    BucketType,
    check_type_name,
    decode_type,
    encode_type,
)
from dynamo.core.fact_json import BODY_BYTES_MAX
from dynamo.core.facts import Fact, FactBook
from dynamo.core.ids import NodeId
from dynamo.core.property_rules import TYPE_DEFAULTS
from dynamo.errors import BadRequest, CodecError

N1, N2 = NodeId("n1"), NodeId("n2")


def made(**properties: object) -> BucketType:
    return BucketType(name=b"t", given=properties, active=False, claimant=N1)


GOOD = encode_type(made(n_val=5), N1, None)


def test_a_type_survives_its_encoding() -> None:
    assert decode_type(GOOD) == made(n_val=5)
    active = made(n_val=5).activated()
    assert decode_type(encode_type(active, N2, GOOD)) == active


def test_a_type_has_the_defaults_of_types_where_it_says_nothing() -> None:
    everything = made(n_val=5).everything
    assert everything == {**TYPE_DEFAULTS, "n_val": 5, "active": False, "claimant": N1}
    assert made(datatype="hll").everything["hll_precision"] == 14
    assert made(datatype="hll", hll_precision=9).everything["hll_precision"] == 9


def test_the_last_creation_wins_until_the_type_is_active() -> None:
    first = encode_type(made(n_val=1), N1, None)
    anew = encode_type(made(n_val=2), N1, first)
    active = encode_type(made(n_val=1).activated(), N1, first)
    later = first
    for _ in range(5):
        later = encode_type(made(n_val=3), N2, later)
    book = FactBook([first, anew, later])
    assert book.get(first.name) == later
    assert book.merge(active)
    assert not book.merge(later)


@pytest.mark.parametrize("name", [b"default", b"any", b"", b"x" * 65, b"\xff"])
def test_some_names_can_be_no_types(name: bytes) -> None:
    with pytest.raises(BadRequest):
        check_type_name(name)
    with pytest.raises(CodecError):
        decode_type(GOOD._replace(name=b"t" + name))


@pytest.mark.parametrize("name", [b"x", b"x" * 64, "ü/ ".encode()])
def test_nearly_any_text_can_be_the_name_of_a_type(name: bytes) -> None:
    check_type_name(name)


def test_properties_that_are_too_large_or_no_json_make_no_type() -> None:
    with pytest.raises(BadRequest, match=f"at most {BODY_BYTES_MAX} bytes"):
        encode_type(made(foo="x" * BODY_BYTES_MAX), N1, None)
    with pytest.raises(BadRequest, match="no JSON"):
        encode_type(made(foo=float("inf")), N1, None)


_BODY = b'{"props":{},"active":false,"claimant":"n1"}'


@pytest.mark.parametrize(
    "fact",
    [
        GOOD._replace(version=b""),
        GOOD._replace(version=b"\2" + GOOD.version[1:]),
        GOOD._replace(version=b"\1" + GOOD.version[1:]),  # the body says that it is not active
        GOOD._replace(version=GOOD.version[:7]),
        GOOD._replace(version=b"\0" + b"\xff" * 6 + b"n1"),
        GOOD._replace(body=b""),
        GOOD._replace(body=b"[]"),
        GOOD._replace(body=b"[" * 100_000),
        GOOD._replace(body=_BODY.replace(b"{}", b"[]")),
        GOOD._replace(body=_BODY.replace(b"{}", b'{"n_val":0}')),
        GOOD._replace(body=_BODY.replace(b"{}", b'{"foo":NaN}')),
        GOOD._replace(body=_BODY.replace(b"{}", b'{"last_write_wins":true}')),
        GOOD._replace(body=_BODY.replace(b"{}", b'{"consistent":true}')),
        GOOD._replace(body=_BODY.replace(b"false", b"0")),
        GOOD._replace(body=_BODY.replace(b"n1", b"-")),
        GOOD._replace(body=_BODY + b" " * BODY_BYTES_MAX),
    ],
)
def test_a_fact_that_tells_of_no_type_is_refused(fact: Fact) -> None:
    assert decode_type(GOOD._replace(body=_BODY)) == made()
    with pytest.raises(CodecError):
        decode_type(fact)


@settings(max_examples=100)
@given(name=st.binary(max_size=6), version=st.binary(max_size=12), body=st.binary(max_size=60))
def test_any_bytes_are_a_type_or_a_codec_error(name: bytes, version: bytes, body: bytes) -> None:
    for fact in (Fact(b"t" + name, version, body), GOOD._replace(body=body)):
        try:
            decode_type(fact)
        except CodecError:
            continue
