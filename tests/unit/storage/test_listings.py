"""Keys and buckets of a partition, in pages."""

import random
from functools import partial
from typing import Any

import pytest

from dynamo.core.conflicts import Liveness, liveness
from dynamo.core.quorum import Conflicts
from dynamo.storage.memory_engine import Disk, MemoryEngine
from dynamo.storage.objects import ObjectStore
from tests.unit.storage.samples import A, Opened, Told, deleted, key, state

K = key(b"k")
SIBLINGS = Conflicts.SIBLINGS
LONG = b"k" * 600


def buckets(opened: Opened) -> Any:
    """How to list its buckets, where all siblings are shown."""
    return partial(opened.store.buckets, shows_value=shows_value)


def shows_value(encoded: bytes) -> bool:
    return liveness(encoded, SIBLINGS) is Liveness.LIVE


def bucket(name: bytes) -> bytes:
    return key(b"k", name)[:-1]


async def with_keys(*keys: bytes) -> Opened:
    opened = Opened()
    for encoded in keys:
        await opened.merge(encoded, state(A, encoded[-5:]))
    return opened


def listed(scan: Any, bucket: bytes, limit: int) -> list[bytes]:
    """All pages one after the other."""
    found: list[bytes] = []
    more = True
    while more:
        after = found[-1] if found else b""
        page, more = scan(7, bucket, after, limit)
        assert 0 < len(page) <= limit or (not page and not more and not found)
        found += [key for key, _ in page]
    return found


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
async def test_the_keys_of_a_bucket_are_listed_in_pages(limit: int) -> None:
    names = [b"%d" % number for number in range(5)]
    long_names = [LONG, LONG + b"1", LONG + b"2"]
    mine = [key(name, b"mine") for name in names + long_names]
    others = [key(name, other) for name in names for other in (b"min", b"mine2", b"minf", b"\xff")]
    opened = await with_keys(*mine, *others)
    found = listed(opened.store.keys, bucket(b"mine"), limit)
    assert found[:5] == mine[:5]
    assert sorted(found) == sorted(mine)
    assert len(listed(opened.store.keys, b"", limit)) == len(mine) + len(others)
    assert opened.store.keys(8, b"", b"", limit) == ([], False)


async def test_a_listing_brings_the_states_along() -> None:
    opened = await with_keys(K)
    assert opened.store.keys(7, b"", b"", 5) == ([(K, state(A, K[-5:]))], False)


@pytest.mark.parametrize("limit", [1, 2, 50])
async def test_buckets_are_listed_by_a_key_of_each(limit: int) -> None:
    names = [b"a", b"ab", b"b", b"\xff", b"\xff\xff"]
    keys = [key(b"%d" % number, name) for name in names for number in range(4)]
    opened = await with_keys(*keys)
    wanted = [key(b"0", name) for name in (b"a", b"b", b"\xff", b"ab", b"\xff\xff")]
    assert listed(buckets(opened), b"", limit) == wanted


@pytest.mark.parametrize("limit", [1, 2, 50])
async def test_a_bucket_whose_first_keys_are_deleted_is_listed_by_its_first_live_one(
    limit: int,
) -> None:
    opened = await with_keys(key(b"3", b"a"), key(b"4", b"a"), key(b"1", b"b"))
    for number in (b"1", b"2"):
        await opened.merge(key(number, b"a"), deleted(A))
    found = listed(buckets(opened), b"", limit)
    assert found == [key(b"1", b"a"), key(b"2", b"a"), key(b"3", b"a"), key(b"1", b"b")]


async def test_the_last_partition_is_listed_to_its_end() -> None:
    engine = MemoryEngine(Disk())
    store = ObjectStore(engine, lambda key: 65535, random.Random())
    told = Told()
    store.merge(K, state(A, b"1"), told)
    await told.error()
    assert [key for key, _ in store.keys(65535, b"", b"", 5)[0]] == [K]
    assert [key for key, _ in store.buckets(65535, b"", b"", 5, lambda state: True)[0]] == [K]


async def test_a_page_of_large_objects_ends_early() -> None:
    opened = Opened(queued_bytes_max=2**30)
    body = b"v" * 2**20
    keys = [key(b"%02d" % number) for number in range(12)]
    for encoded in keys:
        await opened.merge(encoded, state(A, body))
    page, more = opened.store.keys(7, b"", b"", 1000)
    assert 4 <= len(page) < 8
    assert more
    assert listed(opened.store.keys, b"", 1000) == keys


async def test_a_page_of_buckets_of_large_objects_ends_early() -> None:
    opened = Opened(queued_bytes_max=2**30)
    for number in range(12):
        await opened.merge(key(b"k", bucket=b"%02d" % number), state(A, b"v" * 2**20))
    page, more = buckets(opened)(7, b"", b"", 1000)
    assert 4 <= len(page) < 8
    assert more
