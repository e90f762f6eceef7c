"""Names and options in the request line."""

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo.client.paths import (
    admin_path,
    bucket_path,
    key_path,
    name_bytes,
    query_text,
)
from dynamo.core.ids import Bucket, Key
from dynamo.errors import BadRequest


def test_the_default_type_has_the_untyped_path() -> None:
    assert key_path(Key(b"default", b"b", b"k")) == "/buckets/b/keys/k"
    assert bucket_path(Bucket(b"default", b"b")) == "/buckets/b"


def test_another_type_is_named() -> None:
    assert key_path(Key(b"multi", b"b", b"k")) == "/types/multi/buckets/b/keys/k"


def test_a_report_always_names_the_type() -> None:
    path = admin_path("locate", Key(b"default", b"b", b"a/b"))
    assert path == "/admin/locate/types/default/buckets/b/keys/a%2Fb"


def test_names_are_quoted_whole() -> None:
    assert (
        key_path(Key(b"default", b"a b", b"a/b+\xc3\xa9")) == "/buckets/a%20b/keys/a%2Fb%2B%C3%A9"
    )


def test_names_of_dots_do_not_look_like_directories() -> None:
    assert key_path(Key(b"default", b".", b"..")) == "/buckets/%2E/keys/%2E%2E"


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=20))
def test_any_bytes_make_one_segment_that_decodes_to_them(key: bytes) -> None:
    segment = key_path(Key(b"default", b"b", key)).removeprefix("/buckets/b/keys/")
    assert "/" not in segment
    assert unquote_to_bytes(segment) == key


def test_a_name_may_be_bytes() -> None:
    assert name_bytes(b"\xff") == b"\xff"


def test_a_lone_surrogate_that_stands_for_no_byte_is_refused() -> None:
    with pytest.raises(BadRequest, match="not a name"):
        name_bytes("\ud800")


@pytest.mark.parametrize(
    "key",
    [Key(b"", b"b", b"k"), Key(b"t", b"", b"k"), Key(b"t", b"b", b""), Key(b"t", b"b" * 401, b"k")],
)
def test_empty_and_overlong_names_are_refused_before_anything_is_sent(key: Key) -> None:
    with pytest.raises(BadRequest):
        key_path(key)
    with pytest.raises(BadRequest):
        admin_path("local", key)


def test_an_empty_bucket_is_refused() -> None:
    with pytest.raises(BadRequest):
        bucket_path(Bucket(b"default", b""))


def test_options_left_out_do_not_show() -> None:
    assert query_text([("r", None), ("pr", 0), ("w", "quorum")]) == "pr=0&w=quorum"


def test_booleans_are_spelled_in_lower_case() -> None:
    assert query_text([("basic_quorum", True), ("notfound_ok", False)]) == (
        "basic_quorum=true&notfound_ok=false"
    )
