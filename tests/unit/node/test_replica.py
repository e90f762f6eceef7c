"""What a replica lists, and what it refuses."""

import asyncio
import random

import pytest

from dynamo.core.codec import decode_value, encode_siblings, encode_value
from dynamo.core.quorum import Conflicts
from dynamo.core.siblings import EMPTY
from dynamo.core.values import Value
from dynamo.errors import BadRequest, CodecError, Corrupted
from dynamo.node.replica import Replica
from dynamo.node.stats import Counters
from dynamo.rpc.messages import Done, KeysPage, ListKeys, ReplicaGet, ReplicaPut, Reply
from dynamo.storage.engine import Table
from dynamo.storage.hints import HintStore
from dynamo.storage.memory_engine import Disk, MemoryEngine
from dynamo.storage.objects import ObjectStore
from dynamo.storage.records import place_of
from tests.unit.storage.samples import A, key, state

LISTED = ListKeys(0, b"", b"", 10, False, "", Conflicts.SIBLINGS)


def replica() -> Replica:
    engine = MemoryEngine(Disk())
    objects = ObjectStore(engine, lambda key: 0, random.Random(1))
    return Replica(objects, HintStore(engine), Counters(), lambda: 0, partitions=8)


async def store(holder: Replica, request: ReplicaPut) -> None:
    stored: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    holder.put(request, stored.set_result)
    assert await stored == Done()


@pytest.mark.parametrize("partition", [-1, 8, 70_000])
async def test_partitions_that_do_not_exist_are_not_listed(partition: int) -> None:
    with pytest.raises(BadRequest, match="no partition"):
        replica().list_keys(LISTED._replace(partition=partition))


@pytest.mark.parametrize(
    "request_",
    [
        LISTED._replace(limit=0),
        LISTED._replace(limit=1001),
        LISTED._replace(policy=7),
        LISTED._replace(stands_in_for="No Node"),
    ],
)
async def test_listings_that_make_no_sense_are_refused(request_: ListKeys) -> None:
    with pytest.raises(BadRequest):
        replica().list_keys(request_)


@pytest.mark.parametrize("stands_in_for", ["", "n2"])
@pytest.mark.parametrize("buckets_only", [False, True])
async def test_a_page_tells_live_keys_and_dead_ones(
    stands_in_for: str, *, buckets_only: bool
) -> None:
    holder = replica()
    tombstone = encode_value(Value(body=b"", modified_at_ms=2, deleted=True))
    one = EMPTY.write(A, encode_value(Value(body=b"x", modified_at_ms=1)), {}, 0)
    states = {
        key(b"1"): one.write(A, tombstone, one.context(), 0),
        key(b"2"): one.write(A, tombstone, {}, 0),
        key(b"3"): one,
    }
    for name, held in states.items():
        await store(holder, ReplicaPut(name, encode_siblings(held), stands_in_for))
    request = LISTED._replace(stands_in_for=stands_in_for, buckets_only=buckets_only)
    rest = [key(b"2")] if buckets_only and not stands_in_for else [key(b"2"), key(b"3")]
    told = holder.list_keys(request)
    assert (told.keys, told.dead) == (rest, [key(b"1")])
    newest = holder.list_keys(request._replace(policy=Conflicts.LATEST))
    assert (newest.keys, newest.dead) == ([key(b"2"), key(b"3")], [key(b"1"), key(b"2")])


async def holding_rot(names: list[bytes], rotten: list[bytes]) -> Replica:
    disk = Disk()
    engine = MemoryEngine(disk)
    objects = ObjectStore(engine, lambda key: 0, random.Random(1))
    holder = Replica(objects, HintStore(engine), Counters(), lambda: 0, partitions=8)
    for name in names:
        await store(holder, ReplicaPut(name, state(A, b"x"), ""))
    for name in rotten:
        disk.corrupt(Table.OBJECTS, place_of(bytes(2), name), random.Random(1))
    return holder


@pytest.mark.parametrize("limit", [1, 2, 3, 10])
@pytest.mark.parametrize("met_before", [False, True])
@pytest.mark.parametrize("buckets_only", [False, True])
async def test_a_key_whose_record_cannot_be_read_is_live_and_dead(
    limit: int, *, met_before: bool, buckets_only: bool
) -> None:
    """Each in a bucket of its own, so that none is jumped over."""
    names = [key(b"k", b"%d" % number) for number in range(6)]
    rotten = [names[number] for number in (0, 2, 3, 5)]
    holder = await holding_rot(names, rotten)
    request = LISTED._replace(limit=limit, buckets_only=buckets_only)
    if met_before:
        for name in rotten:
            with pytest.raises(Corrupted):
                holder.get(ReplicaGet(name, "", False))
    found: list[bytes] = []
    dead: list[bytes] = []
    for _ in range(10):
        page = holder.list_keys(request)
        assert len({*page.keys, *page.dead}) <= limit
        found += page.keys
        dead += page.dead
        if not page.last:
            break
        request = request._replace(after=page.last)
    assert (found, dead) == (names, rotten)


@pytest.mark.parametrize("buckets_only", [False, True])
async def test_a_replica_that_does_not_know_which_keys_it_lost_lists_none(
    *, buckets_only: bool
) -> None:
    names = [key(b"k" * 600), key(b"x")]
    holder = await holding_rot(names, names[:1])
    with pytest.raises(Corrupted):
        holder.list_keys(LISTED._replace(buckets_only=buckets_only))
    await store(holder, ReplicaPut(names[0], state(A, b"x"), ""))
    listed = holder.list_keys(LISTED)
    assert sorted(listed.keys) == sorted(names)


async def test_hints_are_listed_in_pages_of_their_partition() -> None:
    engine = MemoryEngine(Disk())
    objects = ObjectStore(engine, lambda key: key[-1] % 2, random.Random(1))
    holder = Replica(objects, HintStore(engine), Counters(), lambda: 0, partitions=8)
    names = sorted(key(b"%02d" % number) for number in range(40))
    for name in names:
        await store(holder, ReplicaPut(name, state(A, b"x"), "n2"))
    found: list[bytes] = []
    page = holder.list_keys(LISTED._replace(partition=1, limit=7, stands_in_for="n2"))
    while page.last:
        assert len(page.keys) <= 7
        found += page.keys
        page = holder.list_keys(
            LISTED._replace(partition=1, limit=7, stands_in_for="n2", after=page.last)
        )
    assert found + page.keys == [name for name in names if name[-1] % 2]
    assert holder.list_keys(LISTED._replace(stands_in_for="n3")) == KeysPage([], [], b"")


@pytest.mark.parametrize("modified_at_ms", [-1, 2**53 + 1])
def test_a_value_of_an_impossible_time_is_none(modified_at_ms: int) -> None:
    with pytest.raises(CodecError, match="of the time"):
        decode_value(encode_value(Value(body=b"x", modified_at_ms=modified_at_ms)))
