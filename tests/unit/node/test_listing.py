"""Listings over replicas that do not agree."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from dynamo.core.codec import decode_siblings, encode_siblings, encode_value
from dynamo.core.ids import DEFAULT_BUCKET_TYPE, Bucket, Key, NodeId, encode_key
from dynamo.core.property_book import PropertyBook
from dynamo.core.quorum import Conflicts, ReadQuorum
from dynamo.core.ring import Ring, RingMember
from dynamo.core.siblings import EMPTY, Siblings
from dynamo.core.values import Value
from dynamo.errors import DynamoError, Overloaded
from dynamo.node import listing as listings
from dynamo.node.cluster_view import ClusterView
from dynamo.node.listing import LOOK_AHEAD, Listing
from dynamo.node.replica import Replica
from dynamo.node.stats import Counters
from dynamo.node.writes import OnReply
from dynamo.rpc.messages import ListKeys, Request
from dynamo.storage.hints import HintStore
from dynamo.storage.memory_engine import Disk, MemoryEngine
from dynamo.storage.objects import ObjectStore
from tests.unit.node.replicas import N1, N2, N3
from tests.unit.storage.samples import TOMBSTONE, A, B, Told

R2 = ReadQuorum(n=3, r=2)
PARTITIONS = 16
MINE = Bucket(DEFAULT_BUCKET_TYPE, b"b")

LIVE = EMPTY.write(A, encode_value(Value(body=b"x", modified_at_ms=1)), {}, 0)
DEAD = LIVE.write(A, TOMBSTONE, LIVE.context(), 0)
REVIVED = DEAD.write(B, encode_value(Value(body=b"y", modified_at_ms=2)), DEAD.context(), 0)


class Three:
    """Three replicas that hold what they are given, and a listing at the first.

    Attributes:
        asked: which partitions the second was asked for.
        read: the keys that were read to settle what they are.
    """

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.read: list[bytes] = []
        self._objects = {node: self._store() for node in (N1, N2, N3)}
        self._replicas = {
            node: Replica(
                objects,
                HintStore(MemoryEngine(Disk())),
                Counters(),
                lambda: 0,
                partitions=PARTITIONS,
            )
            for node, objects in self._objects.items()
        }
        view = ClusterView(N1, PARTITIONS, PropertyBook({}, {}))
        view.ring = Ring(
            [RingMember(node_id=node, tokens=(i,)) for i, node in enumerate((N1, N2, N3))],
            PARTITIONS,
        )
        view.reachable = {N1, N2}
        self._view = view
        self.listing = Listing(view, self.send, self.get, lambda: 0.0, replica_timeout_s=1.0)

    def _store(self) -> ObjectStore:
        return ObjectStore(MemoryEngine(Disk()), lambda key: key[-1] % PARTITIONS, random.Random(1))

    async def hold(
        self, name: bytes, one: Siblings, other: Siblings = EMPTY, bucket: bytes = b"b"
    ) -> None:
        """Let the first replica hold one state of a key, and the second another."""
        encoded = encode_key(Key(DEFAULT_BUCKET_TYPE, bucket, name))
        for node, state in ((N1, one), (N2, other)):
            if state.entries:
                told = Told()
                self._objects[node].merge(encoded, encode_siblings(state), told)
                assert await told.error() is None

    def send(self, node: NodeId, request: Request, timeout_s: float, on_reply: OnReply) -> None:
        assert isinstance(request, ListKeys)
        if node == N2:
            self.asked.append(request.partition)
        try:
            reply = self._replicas[node].list_keys(request)
        except DynamoError as error:
            asyncio.get_running_loop().call_soon(on_reply, node, error)
        else:
            asyncio.get_running_loop().call_soon(on_reply, node, reply)

    async def get(self, key: Key, quorum: ReadQuorum, *, timeout_s: float) -> Siblings:
        assert (quorum, timeout_s) == (R2, 10.0)
        self.read.append(key.key)
        known = EMPTY
        for objects in self._objects.values():
            known = known.merge(decode_siblings(objects.get(encode_key(key)) or b""))
        return known

    def pages(self) -> AsyncIterator[list[bytes]]:
        return self.listing.keys(MINE, R2, Conflicts.SIBLINGS, timeout_s=10.0)

    async def keys(self) -> list[bytes]:
        return sorted([name async for page in self.pages() for name in page])

    async def buckets(self) -> list[bytes]:
        pages = self.listing.buckets(DEFAULT_BUCKET_TYPE, R2, Conflicts.SIBLINGS, timeout_s=10.0)
        return [name async for page in pages for name in page]


async def test_only_what_replicas_disagree_about_is_read() -> None:
    three = Three()
    await three.hold(b"agreed", LIVE, LIVE)
    await three.hold(b"known to one", LIVE)
    await three.hold(b"known to the other", EMPTY, LIVE)
    await three.hold(b"gone", DEAD, DEAD)
    await three.hold(b"gone, says one", DEAD, LIVE)
    await three.hold(b"revived, says one", DEAD, REVIVED)
    assert await three.keys() == [
        b"agreed",
        b"known to one",
        b"known to the other",
        b"revived, says one",
    ]
    assert sorted(three.read) == [b"gone, says one", b"revived, says one"]


async def test_buckets_are_listed_that_hold_a_live_key() -> None:
    three = Three()
    await three.hold(b"k", LIVE, LIVE, b"agreed")
    await three.hold(b"k", DEAD, DEAD, b"gone")
    await three.hold(b"k", DEAD, LIVE, b"gone, says one")
    await three.hold(b"k", LIVE, DEAD, b"gone, says the other")
    await three.hold(b"k", REVIVED, DEAD, b"revived, says one")
    assert sorted(await three.buckets()) == [b"agreed", b"revived, says one"]


async def test_a_bucket_is_listed_though_its_first_key_is_one_that_only_some_know_to_be_gone() -> (
    None
):
    """Who thinks it live has jumped on, and said nothing of the key that is."""
    three = Three()
    await three.hold(b"1k", LIVE, DEAD)
    await three.hold(b"2k", LIVE)
    assert await three.buckets() == [b"b"]


async def test_a_bucket_is_not_listed_for_a_key_that_another_jumped_over() -> None:
    three = Three()
    await three.hold(b"1k", DEAD, LIVE)
    await three.hold(b"2k", LIVE, DEAD)
    assert await three.buckets() == []


async def test_no_more_is_asked_ahead_than_a_few_partitions() -> None:
    three = Three()
    for number in range(PARTITIONS):
        await three.hold(bytes([number]), LIVE, LIVE)
    pages = three.pages()
    first = await anext(pages)
    asked = len(three.asked)
    assert len(first) < asked <= len(first) + LOOK_AHEAD + 1 < PARTITIONS
    assert len(first) + len([name async for page in pages for name in page]) == PARTITIONS


async def test_no_more_listings_are_at_work_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listings, "LISTINGS_MAX", 1)
    three = Three()
    await three.hold(b"k", LIVE, LIVE)
    at_work = three.listing.keys(MINE, R2, Conflicts.SIBLINGS, timeout_s=10.0)
    await anext(at_work)
    with pytest.raises(Overloaded):
        await three.keys()
    assert [page async for page in at_work] == []
    assert await three.keys() == [b"k"]


def _written_at(time_ms: int, *, deleted: bool = False) -> bytes:
    return encode_value(Value(body=b"", modified_at_ms=time_ms, deleted=deleted))


async def test_where_the_newest_counts_a_copy_that_holds_a_value_and_a_tombstone_is_settled() -> (
    None
):
    """By itself each shows the opposite of what both together show."""
    value = EMPTY.write(A, _written_at(5), {}, 0)
    tombstone = EMPTY.write(B, _written_at(8, deleted=True), {}, 0)
    behind = tombstone.write(B, _written_at(3, deleted=True), tombstone.context(), 0)
    three = Three()
    await three.hold(b"shown, by a clock that is behind", value.merge(tombstone), behind)
    value = EMPTY.write(A, _written_at(10), {}, 0)
    behind = value.write(A, _written_at(4), value.context(), 0)
    await three.hold(b"gone, by a clock that is behind", value.merge(tombstone), behind)
    for conflicts in (Conflicts.LATEST, Conflicts.LAST_WRITE_WINS):
        pages = three.listing.keys(MINE, R2, conflicts, timeout_s=10.0)
        assert [name async for page in pages for name in page] == [
            b"shown, by a clock that is behind"
        ]
        names = three.listing.buckets(DEFAULT_BUCKET_TYPE, R2, conflicts, timeout_s=10.0)
        assert [name async for page in names for name in page] == [b"b"]
