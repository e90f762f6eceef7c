"""The index is stored with the objects, and the trees follow it, also while they are loaded."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo.core.codec import clock_of
from dynamo.core.merkle import digest_of, position_of
from dynamo.errors import Overloaded
from dynamo.storage.memory_engine import Disk, Fault, MemoryEngine
from dynamo.storage.objects import ObjectStore
from dynamo.storage.trees import Trees
from tests.unit.storage.samples import A, B, Told, blind, key, state

PARTITION = 7
KEYS = [key(b"k%d" % number) for number in range(12)]


class Opened:
    """Objects and their trees, all keys in one partition."""

    def __init__(self, disk: Disk | None = None, *, queued_bytes_max: int = 2**20) -> None:
        self.disk = disk if disk is not None else Disk()
        self.engine = MemoryEngine(self.disk, queued_bytes_max=queued_bytes_max)
        self.trees = Trees(self.engine, 256, lambda key: PARTITION, lambda bucket: 3)
        self.store = ObjectStore(self.engine, lambda key: PARTITION, random.Random(1), [self.trees])

    async def barrier(self) -> None:
        told = Told()
        self.trees.barrier(told)
        assert await told.error() is None

    async def load(self, limit: int = 100) -> None:
        self.trees.begin_load([PARTITION])
        await self.barrier()
        while self.trees.load_page(PARTITION, limit):
            pass

    async def merge(self, name: bytes, incoming: bytes) -> None:
        told = Told()
        self.store.merge(name, incoming, told)
        assert await told.error() is None

    @property
    def root(self) -> int | None:
        trees = self.trees.trees_of(PARTITION)
        return None if trees is None else sum(tree.root for tree in trees.values())

    def by_objects(self) -> int:
        root = 0
        for name, held in self.store.keys(PARTITION, b"", b"", 1000)[0]:
            root ^= digest_of(name, clock_of(held))
        return root


async def test_what_is_written_is_in_the_tree_and_in_the_index_at_once() -> None:
    opened = Opened()
    await opened.load()
    assert opened.root == 0
    incoming = state(A, b"1")
    await opened.merge(KEYS[0], incoming)
    assert opened.root == digest_of(KEYS[0], clock_of(incoming))
    [entry] = opened.trees.index.page(PARTITION, b"", 10)[0]
    assert (entry.key, entry.digest) == (KEYS[0], opened.root)


async def test_a_key_that_changes_leaves_only_its_last_state_in_the_tree() -> None:
    opened = Opened()
    await opened.load()
    await opened.merge(KEYS[0], state(A, b"1"))
    await opened.merge(KEYS[0], state(B, b"2"))
    held = opened.store.get(KEYS[0])
    assert held is not None
    assert opened.root == digest_of(KEYS[0], clock_of(held))


async def test_what_is_forgotten_is_in_neither() -> None:
    opened = Opened()
    await opened.load()
    await opened.merge(KEYS[0], state(A, b"1"))
    told = Told()
    opened.store.forget(KEYS[0], state(A, b"1"), told)
    assert await told.error() is None
    assert opened.root == 0
    assert opened.trees.index.page(PARTITION, b"", 10) == ([], False)


async def test_the_tree_is_the_same_after_a_restart() -> None:
    opened = Opened()
    await opened.load()
    for name in KEYS:
        await opened.merge(name, state(A, b"1"))
    again = Opened(opened.disk)
    assert again.root is None
    await again.load(limit=5)
    assert again.root == opened.root != 0


async def test_a_write_that_is_refused_leaves_the_tree_as_it_was() -> None:
    opened = Opened(queued_bytes_max=2000)
    await opened.load()
    told = Told()
    opened.store.write(KEYS[0], blind(b"1" * 1000), told)
    before = opened.root
    with pytest.raises(Overloaded):
        opened.store.write(KEYS[1], blind(b"2" * 1000), Told())
    assert opened.root == before
    assert await told.error() is None
    assert opened.root == opened.by_objects()


async def test_after_a_failed_commit_there_is_no_tree_until_it_is_loaded_anew() -> None:
    opened = Opened()
    await opened.load()
    await opened.merge(KEYS[0], state(A, b"1"))
    opened.engine.fail_next_commit(Fault.FULL)
    told = Told()
    opened.store.merge(KEYS[1], state(A, b"1"), told)
    assert await told.error() is not None
    assert opened.root is None
    assert PARTITION in opened.trees.unloaded()
    assert opened.trees.take_doubts() == {PARTITION: [KEYS[1]]}
    await opened.load()
    assert opened.root == opened.by_objects() != 0


async def test_a_listing_goes_through_positions_in_order_and_on_from_any_of_them() -> None:
    opened = Opened()
    for name in KEYS:
        await opened.merge(name, state(A, b"1"))
    in_order = sorted(KEYS, key=position_of)
    everything = 0, 2**32 - 1
    whole, more = opened.trees.index.span(PARTITION, *everything, b"", 100)
    assert ([entry.key for entry in whole], more) == (in_order, False)
    after, listed = b"", []
    for _ in KEYS:
        [entry], more = opened.trees.index.span(PARTITION, *everything, after, 1)
        listed.append(entry.key)
        after = opened.trees.index.place(entry.key or b"")
    assert (listed, more) == (in_order, False)
    one = position_of(KEYS[3])
    assert [e.key for e in opened.trees.index.span(PARTITION, one, one, b"", 9)[0]] == [KEYS[3]]
    assert opened.trees.index.span(PARTITION, one, one, opened.trees.index.place(KEYS[3]), 9) == (
        [],
        False,
    )


async def test_a_key_too_long_for_a_place_is_listed_whole() -> None:
    opened = Opened()
    long = key(b"k" * 5000)
    await opened.merge(long, state(A, b"1"))
    assert [entry.key for entry in opened.trees.index.page(PARTITION, b"", 10)[0]] == [long]


actions = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(KEYS)),
    st.tuples(st.just("forget"), st.sampled_from(KEYS)),
    st.tuples(st.just("page"), st.integers(1, 3)),
    st.tuples(st.just("wait"), st.none()),
)


@given(st.lists(actions, max_size=12), st.lists(actions, max_size=60))
@settings(max_examples=400)
def test_a_tree_loaded_with_writes_going_on_is_the_one_of_the_objects(
    before: list[tuple[str, bytes | int | None]], meanwhile: list[tuple[str, bytes | int | None]]
) -> None:
    async def act(opened: Opened, what: str, on: bytes | int | None) -> bool:
        if what == "write" and isinstance(on, bytes):
            opened.store.write(on, blind(b"x"), lambda error: None)
        elif what == "forget" and isinstance(on, bytes):
            if (newest := opened.store.newest(on)) is not None:
                opened.store.forget(on, newest, lambda error: None)
        elif what == "page" and isinstance(on, int):
            return opened.trees.load_page(PARTITION, on)
        await asyncio.sleep(0)
        return True

    async def main() -> None:
        opened = Opened()
        for action in before:
            if action[0] != "page":
                await act(opened, *action)
        opened.trees.begin_load([PARTITION])
        await opened.barrier()
        more = True
        for action in meanwhile:
            if more or action[0] != "page":
                more = await act(opened, *action) and more
        while more:
            more = opened.trees.load_page(PARTITION, 2)
        await opened.barrier()
        assert opened.root == opened.by_objects()

    asyncio.run(main())
