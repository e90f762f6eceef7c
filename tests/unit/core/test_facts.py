"""The book of facts: exchanges in any order end in equal books."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo.core.facts import (
    FACT_BYTES_MAX,
    NAME_BYTES_MAX,
    PIECE_BYTES_MAX,
    PIECE_FACTS_MAX,
    Fact,
    FactBook,
    Trade,
    decode_fact,
    encode_fact,
    first_piece,
    is_piece,
)
from dynamo.errors import CodecError, ProtocolError

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


_MANY = st.lists(
    st.builds(
        Fact,
        name=st.integers(0, 40).map(lambda number: b"p%d" % number),
        version=st.binary(min_size=1, max_size=1),
        body=st.binary(max_size=30),
    ),
    max_size=40,
)


def exchange(one: FactBook, other: FactBook, bytes_max: int) -> int:
    """Let two books trade to the end; returns how many pieces that took."""
    trade = Trade(one, *other.digest(), bytes_max=bytes_max)
    pieces = 0
    while any(piece := trade.next_piece()):
        given, wanted = piece
        for encoded in given:
            other.merge(decode_fact(encoded))
        known = (other.get(name) for name in wanted)
        answer = first_piece((fact for fact in known if fact is not None), bytes_max)
        facts = [decode_fact(encoded) for encoded in answer]
        for fact in facts:
            one.merge(fact)
        trade.got(fact.name for fact in facts)
        for sent in (given, answer):
            assert len(sent) <= 1 or sum(map(len, sent)) <= bytes_max
        pieces += 1
    return pieces


@given(_MANY, _MANY, st.integers(1, 2000))
def test_an_exchange_in_pieces_brings_both_books_to_the_union(
    mine: list[Fact], theirs: list[Fact], bytes_max: int
) -> None:
    one, other = FactBook(mine), FactBook(theirs)
    assert exchange(one, other, bytes_max) <= len(one) + len(other)
    assert set(one) == set(other) == set(FactBook([*mine, *theirs]))
    assert one.hash == other.hash
    assert one.size_bytes == sum(len(field) for fact in one for field in fact)


def test_an_exchange_broken_off_is_gone_on_with_by_the_next() -> None:
    facts = [Fact(b"p%d" % number, b"1", bytes(100)) for number in range(50)]
    one, other = FactBook(facts[:25]), FactBook(facts[25:])
    trade = Trade(one, *other.digest(), bytes_max=1000)
    for encoded in trade.next_piece()[0]:
        other.merge(decode_fact(encoded))
    assert 25 < len(other) < 50
    exchange(one, other, 1000)
    assert one.hash == other.hash == FactBook(facts).hash


def test_what_others_told_meanwhile_is_not_asked_for() -> None:
    facts = [Fact(b"p%d" % number, b"1", b"x") for number in range(3)]
    one = FactBook()
    trade = Trade(one, *FactBook(facts).digest())
    one.merge(facts[1])
    assert trade.next_piece() == ([], [b"p0", b"p2"])


def test_members_are_told_of_before_all_else() -> None:
    facts = [Fact(name, b"1", b"x") for name in (b"tt", b"pb", b"ma", b"pa", b"mb")]
    given, _ = Trade(FactBook(facts), [], []).next_piece()
    assert [decode_fact(encoded).name[:1] for encoded in given] == [b"m", b"m", b"p", b"p", b"t"]


def test_a_book_that_does_not_give_what_it_named_ends_the_exchange() -> None:
    trade = Trade(FactBook(), [b"p1", b"p2"], [b"12345678"] * 2)
    assert trade.next_piece() == ([], [b"p1", b"p2"])
    with pytest.raises(ProtocolError, match="2 facts were named, and are not given"):
        trade.got([b"p3"])


def test_a_piece_is_bounded_in_facts_and_bytes_and_is_one_at_the_least() -> None:
    small = [Fact(b"p%d" % number, b"1", b"") for number in range(PIECE_FACTS_MAX + 1)]
    assert len(first_piece(small)) == PIECE_FACTS_MAX
    large = [Fact(b"p%d" % number, b"1", bytes(200_000)) for number in range(9)]
    assert len(first_piece(large)) == PIECE_BYTES_MAX // 200_000
    assert len(first_piece(large, bytes_max=10)) == 1
    assert is_piece(first_piece(large))
    assert not is_piece([encode_fact(fact) for fact in large])
    assert not is_piece([encode_fact(fact) for fact in small])


@given(_FACTS, _FACTS)
def test_hashes_differ_where_books_do(mine: list[Fact], theirs: list[Fact]) -> None:
    one, other = FactBook(mine), FactBook(theirs)
    assert (one.hash == other.hash) == (set(one) == set(other))


def test_equal_books_give_and_want_nothing() -> None:
    book = FactBook([Fact(b"ma", b"1", b"x")])
    assert Trade(book, *book.digest()).next_piece() == ([], [])


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
