"""Places and sealed records."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo.errors import Corrupted
from dynamo.storage.engine import KEY_BYTES_MAX
from dynamo.storage.records import after_prefix, place_of, seal, unseal

PREFIX = b"\x00\x07"
PLAIN_KEY_BYTES_MAX = KEY_BYTES_MAX - 1 - len(PREFIX)

# Around the length where a place is cut, and few different bytes, to find collisions.
keys = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.builds(
        lambda length, tail: b"k" * length + tail,
        st.integers(PLAIN_KEY_BYTES_MAX - 20, KEY_BYTES_MAX + 40),
        st.binary(max_size=20),
    ),
)


@given(keys, st.binary(max_size=100))
def test_what_was_sealed_is_unsealed(key: bytes, payload: bytes) -> None:
    place = place_of(PREFIX, key)
    assert unseal(place, len(PREFIX), seal(place, key, payload)) == (key, payload)


@given(keys, keys)
def test_different_keys_have_different_places(one: bytes, other: bytes) -> None:
    assert (place_of(PREFIX, one) == place_of(PREFIX, other)) == (one == other)


@given(keys)
def test_every_place_fits_the_engine_and_begins_with_its_prefix(key: bytes) -> None:
    place = place_of(PREFIX, key)
    assert len(place) <= KEY_BYTES_MAX
    assert place.startswith(PREFIX + key[:400])


def test_only_a_long_key_is_cut() -> None:
    key = b"k" * PLAIN_KEY_BYTES_MAX
    assert place_of(PREFIX, key) == PREFIX + key
    cut = place_of(PREFIX, key + b"k")
    assert len(cut) == KEY_BYTES_MAX
    assert cut != PREFIX + key + b"k"


@given(keys, st.binary(min_size=1, max_size=50), st.integers(min_value=0), st.integers(1, 255))
def test_a_changed_byte_is_found(key: bytes, payload: bytes, where: int, change: int) -> None:
    place = place_of(PREFIX, key)
    record = bytearray(seal(place, key, payload))
    record[where % len(record)] ^= change
    with pytest.raises(Corrupted, match="checksum"):
        unseal(place, len(PREFIX), bytes(record))


@given(keys, st.binary(max_size=50), st.integers(min_value=0))
def test_a_record_cut_short_is_found(key: bytes, payload: bytes, length: int) -> None:
    place = place_of(PREFIX, key)
    record = seal(place, key, payload)
    with pytest.raises(Corrupted):
        unseal(place, len(PREFIX), record[: length % len(record)])


def test_a_record_of_another_place_is_refused() -> None:
    record = seal(place_of(PREFIX, b"one"), b"one", b"payload")
    with pytest.raises(Corrupted):
        unseal(place_of(PREFIX, b"two"), len(PREFIX), record)


@given(st.binary(max_size=4), st.binary(max_size=6))
def test_after_prefix_parts_what_begins_with_it_from_what_is_behind(
    prefix: bytes, key: bytes
) -> None:
    stop = after_prefix(prefix)
    begins = key.startswith(prefix)
    between = key >= prefix and (stop is None or key < stop)
    assert begins == between
