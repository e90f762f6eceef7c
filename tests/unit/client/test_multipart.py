"""Siblings are taken apart byte for byte."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo.client.errors import BadAnswer
from dynamo.client.multipart import boundary_of, split_parts

TWO = (
    b"\r\n--XyZ\r\nContent-Type: text/plain\r\nEtag: 1\r\n\r\nA"
    b"\r\n--XyZ\r\nContent-Type: application/json\r\nX-Riak-Meta-Who: bob\r\n\r\n{}"
    b"\r\n--XyZ--\r\n"
)
PARTS = [
    ({"content-type": "text/plain", "etag": "1"}, b"A"),
    ({"content-type": "application/json", "x-riak-meta-who": "bob"}, b"{}"),
]


def test_parts_come_with_their_headers_in_lower_case() -> None:
    assert split_parts(TWO, "XyZ") == PARTS


def test_the_line_end_before_the_first_boundary_may_be_missing() -> None:
    assert split_parts(TWO[2:], "XyZ") == PARTS


def test_the_last_line_end_may_be_missing() -> None:
    assert split_parts(TWO[:-2], "XyZ") == PARTS


def test_repeated_headers_are_joined() -> None:
    body = b"\r\n--b\r\nx-riak-index-f_int: 1\r\nX-Riak-Index-f_int: 2\r\n\r\n\r\n--b--"
    assert split_parts(body, "b") == [({"x-riak-index-f_int": "1, 2"}, b"")]


def test_a_part_may_have_no_headers() -> None:
    assert split_parts(b"\r\n--b\r\n\r\nx\r\n--b--\r\n", "b") == [({}, b"x")]


def test_a_boundary_that_goes_on_is_part_of_the_body() -> None:
    body = b"\r\n--b\r\n\r\n1\r\n--bb\r\n2\r\n--b--"
    assert split_parts(body, "b") == [({}, b"1\r\n--bb\r\n2")]


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from([b"\r", b"\n", b"-", b"--", b"\0", b":"])), min_size=1))
def test_bodies_of_line_ends_and_dashes_come_back_whole(pieces: list[list[bytes]]) -> None:
    bodies = [b"".join(body) for body in pieces]
    text = b"".join(b"\r\n--bound\r\na: b\r\n\r\n" + body for body in bodies) + b"\r\n--bound--\r\n"
    assert split_parts(text, "bound") == [({"a": "b"}, body) for body in bodies]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\r\n--b--\r\n",
        b"\r\n--b\r\n\r\nx",
        b"\r\n--b\r\n\r\nx\r\n--b",
        b"\r\n--b\r\n\r\nx\r\n--b--rest",
        b"before\r\n--b\r\n\r\nx\r\n--b--",
        b"\r\n--b\r\nno end\r\n--b--",
        b"\r\n--b\r\nno colon\r\n\r\nx\r\n--b--",
        b"\r\n--other\r\n\r\nx\r\n--other--",
    ],
)
def test_what_is_cut_short_or_malformed_is_refused(body: bytes) -> None:
    with pytest.raises(BadAnswer):
        split_parts(body, "b")


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/mixed; boundary=XyZ",
        "multipart/mixed;boundary=XyZ",
        'Multipart/Mixed; charset=x; boundary="XyZ"',
    ],
)
def test_the_boundary_is_found(content_type: str) -> None:
    assert boundary_of(content_type) == "XyZ"


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "multipart/mixed", "text/plain; boundary=b"]
)
def test_siblings_without_a_boundary_are_refused(content_type: str) -> None:
    with pytest.raises(BadAnswer, match="siblings come as"):
        boundary_of(content_type)
