"""The book of facts: exchanges in any order end in equal books."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo.core.facts import (
    FACT_BYTES_MAX,
    NAME_BYTES_MAX,
    Fact,
    FactBook,
    decode_fact,
    encode_fact,
)
from dynamo.errors import CodecError

_FACTS = st.lists(
    st.builds(
        Fact,
        name=st.sampled_from([b"ma", b"mb", b"pc"]),
        version=st.binary(min_size=1, max_size=2),
        body=st.binary(max_size=2),
    ),
    max_size=12,
)


def test_higher_version_replaces_lower_and_not_the_other_way() -> None:
    book = FactBook()
    assert book.merge(Fact(b"ma", b"\x02", b"new"))
    assert not book.merge(Fact(b"ma", b"\x01", b"old"))
    assert not book.merge(Fact(b"ma", b"\x02", b"new"))
    assert book.get(b"ma") == Fact(b"ma", b"\x02", b"new")


@given(_FACTS, st.randoms())
def test_books_are_equal_whatever_the_order(facts: list[Fact], random: st.DrawFn) -> None:
    shuffled = list(facts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = FactBook(facts), FactBook(shuffled)
    assert set(one) == set(other)
    assert one.hash == other.hash


@given(_FACTS, _FACTS)
def test_one_exchange_brings_both_books_to_the_union(mine: list[Fact], theirs: list[Fact]) -> None:
    one, other = FactBook(mine), FactBook(theirs)
    offered, wanted = one.compare(*other.digest())
    for fact in offered:
        other.merge(fact)
    for name in wanted:
        fact_or_none = other.get(name)
        assert fact_or_none is not None
        one.merge(fact_or_none)
    assert set(one) == set(other) == set(FactBook([*mine, *theirs]))
    assert one.hash == other.hash


@given(_FACTS, _FACTS)
def test_hashes_differ_where_books_do(mine: list[Fact], theirs: list[Fact]) -> None:
    one, other = FactBook(mine), FactBook(theirs)
    assert (one.hash == other.hash) == (set(one) == set(other))


def test_comparison_offers_and_wants_nothing_between_equal_books() -> None:
    book = FactBook([Fact(b"ma", b"1", b"x")])
    assert book.compare(*book.digest()) == ([], [])


@given(st.builds(Fact, name=st.binary(min_size=2), version=st.binary(), body=st.binary()))
def test_fact_survives_its_encoding(fact: Fact) -> None:
    assert decode_fact(encode_fact(fact)) == fact


@given(st.binary(max_size=200))
def test_any_bytes_are_a_fact_or_refused(data: bytes) -> None:
    try:
        fact = decode_fact(data)
    except CodecError:
        return
    assert isinstance(fact, Fact)


def test_fact_beyond_its_limit_is_refused() -> None:
    with pytest.raises(CodecError, match="at most"):
        decode_fact(encode_fact(Fact(b"mx", b"1", bytes(FACT_BYTES_MAX))))


@pytest.mark.parametrize("name", [b"", b"x", b"x" * (NAME_BYTES_MAX + 1)])
def test_fact_with_a_name_too_short_or_too_long_is_refused(name: bytes) -> None:
    with pytest.raises(CodecError):
        decode_fact(encode_fact(Fact(name, b"1", b"")))
