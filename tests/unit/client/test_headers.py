"""A value as header lines and back."""

import pytest

from dynamo.client.errors import BadAnswer
from dynamo.client.headers import read_context, read_value, write_headers
from dynamo.client.values import Context
from dynamo.core.values import Value
from dynamo.errors import BadRequest

EVERYTHING = Value(
    body=b"body",
    content_type='text/plain; charset="x"',
    content_encoding="gzip",
    meta=(("color", "Blue"), ("two-words", "a, b")),
    links=((b"people", b"a/b", b"friend"), (b"b", b"k,", b"t t")),
    indexes=(("age_int", "3"), ("age_int", "4"), ("name_bin", "x,y")),
)
LINES = {
    "content-type": 'text/plain; charset="x"',
    "content-encoding": "gzip",
    "x-riak-vclock": "AQI=",
    "x-riak-meta-color": "Blue",
    "x-riak-meta-two-words": "a, b",
    "x-riak-index-age_int": "3, 4",
    "x-riak-index-name_bin": "x,y",
    "link": (
        '</buckets/people/keys/a%2Fb>; riaktag="friend", </buckets/b/keys/k%2C>; riaktag="t%20t"'
    ),
}


def test_all_that_travels_with_a_value_has_its_line() -> None:
    assert write_headers(EVERYTHING, Context(b"\1\2")) == LINES


def test_lines_become_the_same_value() -> None:
    assert read_value(LINES, b"body") == EVERYTHING
    assert read_context(LINES) == Context(b"\1\2")


def test_a_bare_value_needs_a_content_type_only() -> None:
    assert write_headers(Value(body=b"", content_type="a/b"), None) == {"content-type": "a/b"}
    assert read_value({"content-type": "a/b"}, b"") == Value(body=b"", content_type="a/b")
    assert read_context({}) is None


def test_the_link_of_the_bucket_itself_is_none() -> None:
    link = '</buckets/b/keys/k+1>; riaktag="t", </buckets/b>; rel="up"'
    value = read_value({"content-type": "a/b", "link": link}, b"")
    assert value.links == ((b"b", b"k 1", b"t"),)


def test_the_time_of_change_is_read() -> None:
    headers = {"content-type": "a/b", "last-modified": "Fri, 20 Nov 2026 06:32:13 GMT"}
    assert read_value(headers, b"").modified_at_ms == 1795156333_000


def test_a_tombstone_is_a_value_that_is_deleted() -> None:
    headers = {"x-riak-deleted": "true", "last-modified": "Fri, 20 Nov 2026 06:32:13 GMT"}
    assert read_value(headers, b"") == Value(body=b"", modified_at_ms=1795156333_000, deleted=True)


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({}, "Content-Type"),
        ({"content-type": "a/b", "last-modified": "yesterday"}, "Last-Modified"),
        ({"content-type": "a/b", "link": "nonsense"}, "Link"),
        ({"content-type": "a/b", "link": '</else/b/keys/k>; riaktag="t"'}, "Link"),
    ],
)
def test_lines_that_cannot_be_read_are_named(headers: dict[str, str], text: str) -> None:
    with pytest.raises(BadAnswer, match=text):
        read_value(headers, b"")


def test_a_context_that_is_no_base64_is_named() -> None:
    with pytest.raises(BadAnswer, match="X-Riak-Vclock"):
        read_context({"x-riak-vclock": "%%%"})


@pytest.mark.parametrize(
    "value",
    [
        Value(body=b"", content_type="a/b\r\nX-Evil: 1"),
        Value(body=b"", meta=(("a", "b\0"),)),
        Value(body=b"", meta=(("a b", "c"),)),
        Value(body=b"", meta=(("a:", "c"),)),
        Value(body=b"", meta=(("a", "\udcff"),)),
        Value(body=b"", indexes=(("f\n", "1"),)),
    ],
)
def test_what_cannot_stand_in_a_header_is_refused(value: Value) -> None:
    with pytest.raises(BadRequest, match="header"):
        write_headers(value, None)
