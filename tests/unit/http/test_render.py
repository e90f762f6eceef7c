import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo.client.headers import read_value, write_headers
from dynamo.client.multipart import split_parts
from dynamo.core.ids import Actor, Dot
from dynamo.core.values import Value
from dynamo.http.render import (
    base62,
    http_date,
    index_lines,
    link_line,
    siblings_multipart,
    siblings_tag,
    siblings_text,
    value_lines,
    vtag,
)
from dynamo.http.routes import Style, Target

A = Dot(Actor(b"actor__a"), 1)
B = Dot(Actor(b"actor__b"), 1)
HERE = Target(bucket=b"b", key=b"k")
AT_MS = 1_795_000_000_999


def test_a_vtag_names_its_dot_and_fits_into_a_url() -> None:
    assert vtag(A) == vtag(Dot(Actor(b"actor__a"), 1))
    tags = {vtag(Dot(actor, counter)) for actor in (A.actor, B.actor) for counter in range(1, 500)}
    assert len(tags) == 998
    assert all(re.fullmatch("[0-9a-f]{16}", tag) for tag in tags)


def test_the_tag_of_all_siblings_is_never_the_tag_of_one() -> None:
    name = A.actor + (1).to_bytes(8, "big")
    assert siblings_tag(name) != vtag(A)


@given(number=st.integers(0, 2**161 - 1))
def test_names_are_of_one_length_and_letters(number: int) -> None:
    assert re.fullmatch("[0-9A-Za-z]{27}", base62(number, 27))


@pytest.mark.parametrize(
    ("at_ms", "date"),
    [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (AT_MS, "Wed, 18 Nov 2026 11:06:40 GMT"),
        (10**30, "Thu, 01 Jan 1970 00:00:00 GMT"),
    ],
)
def test_dates_are_in_whole_seconds(at_ms: int, date: str) -> None:
    assert http_date(at_ms) == date


def test_links_are_one_line_in_the_style_of_the_path() -> None:
    links = ((b"b", b"k 1", b"t"), (b"x,y", b"\xff", b"u/v"))
    assert link_line(HERE, links) == (
        'Link: </buckets/b>; rel="up", </buckets/b/keys/k+1>; riaktag="t",'
        ' </buckets/x%2Cy/keys/%FF>; riaktag="u%2Fv"'
    )
    old = link_line(HERE._replace(style=Style.OLD), links[:1])
    assert old == 'Link: </riak/b>; rel="up", </riak/b/k+1>; riaktag="t"'
    typed = HERE._replace(style=Style.TYPES, bucket_type=b"t")
    assert link_line(typed, links) == link_line(HERE, links)


def test_a_value_says_what_it_is() -> None:
    value = Value(
        body=b"x",
        content_type="text/plain;  charset=X",
        content_encoding="gzip",
        meta=(("color", "Blue"), ("empty", "")),
        indexes=(("a_int", "1"), ("a_int", "2"), ("b_bin", "x")),
    )
    assert value_lines(value, HERE) == (
        'Content-Type: text/plain;  charset=X\r\nLink: </buckets/b>; rel="up"\r\n'
        "Content-Encoding: gzip\r\nX-Riak-Meta-color: Blue\r\nX-Riak-Meta-empty: \r\n"
    )
    assert index_lines(value) == "x-riak-index-a_int: 1, 2\r\nx-riak-index-b_bin: x\r\n"


def test_siblings_in_plain_text_are_their_tags() -> None:
    assert siblings_text([A, B]) == f"Siblings:\n{vtag(A)}\n{vtag(B)}\n".encode()


def test_siblings_in_parts_begin_and_end_to_the_byte() -> None:
    siblings = [
        (A, Value(body=b"one", content_type="text/plain", modified_at_ms=AT_MS)),
        (B, Value(body=b"", modified_at_ms=AT_MS, deleted=True)),
    ]
    assert siblings_multipart(siblings, HERE, "XyZ").decode() == (
        "\r\n--XyZ\r\n"
        'Content-Type: text/plain\r\nLink: </buckets/b>; rel="up"\r\n'
        f"Etag: {vtag(A)}\r\nLast-Modified: Wed, 18 Nov 2026 11:06:40 GMT\r\n\r\none"
        "\r\n--XyZ\r\n"
        'Content-Type: application/octet-stream\r\nLink: </buckets/b>; rel="up"\r\n'
        "X-Riak-Deleted: true\r\n"
        f"Etag: {vtag(B)}\r\nLast-Modified: Wed, 18 Nov 2026 11:06:40 GMT\r\n\r\n"
        "\r\n--XyZ--\r\n"
    )


_TOKENS = st.from_regex(r"[a-z0-9_]{1,8}", fullmatch=True)
_TEXTS = st.from_regex(r"[!-~\u00e9]([ -~\u00e9]{0,8}[!-~\u00e9])?", fullmatch=True)
_VALUES = st.builds(
    Value,
    body=st.binary(max_size=40),
    content_type=st.from_regex(r"[a-z]{1,5}/[a-z]{1,5}(; charset=[a-z]{1,5})?", fullmatch=True),
    content_encoding=st.sampled_from(["", "gzip"]),
    meta=st.lists(st.tuples(_TOKENS, _TEXTS), max_size=3, unique_by=lambda e: e[0]).map(tuple),
    links=st.lists(st.tuples(*[st.binary(min_size=1, max_size=5)] * 3), max_size=3).map(tuple),
    modified_at_ms=st.integers(0, 10**10).map(lambda at_s: at_s * 1000),
)


@settings(max_examples=30)
@given(values=st.lists(_VALUES, min_size=2, max_size=4))
def test_parts_are_taken_apart_to_what_they_were(values: list[Value]) -> None:
    siblings = [(Dot(A.actor, i + 1), value) for i, value in enumerate(values)]
    body = siblings_multipart(siblings, HERE, "boundary0boundary")
    parts = split_parts(body, "boundary0boundary")
    assert [read_value(headers, part) for headers, part in parts] == values
    assert write_headers(values[0], None)
