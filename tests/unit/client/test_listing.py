"""A listing is read however its chunks are cut."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo.client.errors import BadAnswer, Unavailable
from dynamo.client.listing import Listing

STREAM = '{"keys":["a","b}{"]}{"keys":["\\u00e9","ü\\"]}"]} \n{"keys":[]}'.encode()
KEYS = ["a", "b}{", "é", 'ü"]}']


@settings(deadline=None)
@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_chunks_may_be_cut_anywhere(cuts: list[int]) -> None:
    listing = Listing("keys")
    edges = [0, *sorted(cuts), len(STREAM)]
    names = [
        name for start, end in itertools.pairwise(edges) for name in listing.feed(STREAM[start:end])
    ]
    assert names == KEYS
    assert listing.finished


def test_a_listing_is_not_finished_before_its_empty_end() -> None:
    listing = Listing("keys")
    assert list(listing.feed(b'{"keys":["a"]}')) == ["a"]
    assert not listing.finished


def test_names_before_an_error_are_given_out() -> None:
    names = Listing("keys").feed(b'{"keys":["a"]}{"error":"timeout"}')
    assert next(names) == "a"
    with pytest.raises(Unavailable, match="timeout"):
        next(names)


@pytest.mark.parametrize(
    "body",
    [
        b'["a"]}',
        b"<html>}",
        b'{"keys":{}}',
        b'{"keys":[1]}',
        b'{"buckets":["a"]}',
        b"\xff\xff",
    ],
)
def test_what_is_no_listing_is_refused(body: bytes) -> None:
    with pytest.raises(BadAnswer, match="listing"):
        list(Listing("keys").feed(body))


def test_an_object_that_does_not_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynamo.client.listing._OBJECT_CHARACTERS_MAX", 100)
    listing = Listing("keys")
    assert list(listing.feed(b'{"keys":["' + b"a" * 90)) == []
    with pytest.raises(BadAnswer, match="does not end"):
        list(listing.feed(b"a"))
