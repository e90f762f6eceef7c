"""Names and the bytes of keys: unambiguous, grouped by bucket, and refused when they are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo.core.ids import (
    BUCKET_BYTES_MAX,
    BUCKET_TYPE_BYTES_MAX,
    KEY_BYTES_MAX,
    Bucket,
    Key,
    decode_key,
    encode_bucket,
    encode_key,
    is_node_id,
)
from dynamo.errors import BadRequest, CodecError

# Few letters, so that names are often prefixes of one another; bytes that look like lengths too.
names = st.lists(st.sampled_from([b"a", b"b", b"\0", b"\1"]), min_size=1, max_size=4).map(b"".join)
keys = st.builds(Key, names, names, names)
buckets = st.builds(Bucket, names, names)


@pytest.mark.parametrize("text", ["a", "0", "node-1", "n_1.example.org", "a" * 64])
def test_a_node_id_may_be(text: str) -> None:
    assert is_node_id(text)


@pytest.mark.parametrize(
    "text", ["", "-a", ".a", "_a", "A", "a b", "a/b", "a\n", "é", "a" * 65, "node:1"]
)
def test_a_node_id_may_not_be(text: str) -> None:
    assert not is_node_id(text)


@given(keys)
def test_a_key_there_and_back(key: Key) -> None:
    assert decode_key(encode_key(key)) == key


@given(keys, keys)
def test_different_keys_have_different_bytes(one: Key, other: Key) -> None:
    assert (encode_key(one) == encode_key(other)) is (one == other)


@given(keys, buckets)
def test_the_bytes_of_a_bucket_begin_its_own_keys_and_no_others(key: Key, bucket: Bucket) -> None:
    own = (key.bucket_type, key.bucket) == bucket
    assert encode_key(key).startswith(encode_bucket(bucket)) is own


def test_the_bytes_of_a_key_never_change() -> None:
    assert encode_key(Key(b"default", b"users", b"ann")) == b"\x07default\x00\x05usersann"


@given(st.binary(max_size=24) | st.builds(lambda k, cut: encode_key(k)[:cut], keys, st.integers(0)))
def test_any_bytes_are_the_one_encoding_of_a_key_or_refused(data: bytes) -> None:
    try:
        key = decode_key(data)
    except CodecError:
        return
    assert encode_key(key) == data


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x07default\x00\x05users", id="no key"),
        pytest.param(b"\x07default\x00\x00key", id="no bucket"),
        pytest.param(b"\x00\x00\x05userskey", id="no type"),
        pytest.param(b"\x07default\x00\x09users", id="a bucket longer than the bytes"),
        pytest.param(b"\xffdefault", id="a type longer than the bytes"),
        pytest.param(b"\x07default\x00", id="half a length"),
    ],
)
def test_what_is_no_key_is_refused(data: bytes) -> None:
    with pytest.raises(CodecError):
        decode_key(data)


def test_the_longest_names_make_a_key() -> None:
    key = Key(b"t" * BUCKET_TYPE_BYTES_MAX, b"b" * BUCKET_BYTES_MAX, b"k" * KEY_BYTES_MAX)
    assert decode_key(encode_key(key)) == key


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(Key(b"", b"b", b"k"), id="no type"),
        pytest.param(Key(b"t", b"", b"k"), id="no bucket"),
        pytest.param(Key(b"t", b"b", b""), id="no key"),
        pytest.param(Key(b"t" * (BUCKET_TYPE_BYTES_MAX + 1), b"b", b"k"), id="type too long"),
        pytest.param(Key(b"t", b"b" * (BUCKET_BYTES_MAX + 1), b"k"), id="bucket too long"),
        pytest.param(Key(b"t", b"b", b"k" * (KEY_BYTES_MAX + 1)), id="key too long"),
    ],
)
def test_a_name_that_is_empty_or_too_long_is_refused(key: Key) -> None:
    with pytest.raises(BadRequest):
        encode_key(key)
