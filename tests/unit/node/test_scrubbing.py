"""Whatever happened, trees and index become what the objects say, and rot is found unread."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo.core.codec import clock_of
from dynamo.core.ids import Bucket
from dynamo.core.merkle import HashTree, digest_of, leaves_of, position_of
from dynamo.core.ring import Ring
from dynamo.node.pacing import Pacer
from dynamo.node.scrubbing import Scrubbing
from dynamo.storage.engine import Delete, Put, Table
from dynamo.storage.memory_engine import Disk, Fault, MemoryEngine
from dynamo.storage.objects import ObjectStore
from dynamo.storage.records import place_of
from dynamo.storage.trees import Trees
from tests.simulation.loop import simulate
from tests.simulation.world import until
from tests.unit.storage.samples import A, Told, blind, key, state

PARTITIONS = 4
KEYS = [key(b"k%d" % number, bucket) for bucket in (b"three", b"two") for number in range(8)]
LONG = [key(b"k" * 600 + b"%d" % number) for number in range(3)]
RING = Ring((), PARTITIONS)

Roots = dict[tuple[int, int], list[int]]
"""By partition and n what tells one tree from another."""


def n_of(bucket: Bucket) -> int:
    return 2 if bucket.bucket == b"two" else 3


class Kept:
    """A node's objects, trees, and who keeps them right; `crash` begins anew on the same disk."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.dice = random.Random(1)
        self.n_of: Callable[[Bucket], int] = n_of
        self._open()

    def _open(self) -> None:
        self.engine = MemoryEngine(self.disk, delay_s=lambda: 0.0001)
        partition_of = RING.partition_of
        self.trees = Trees(self.engine, PARTITIONS, partition_of, lambda b: self.n_of(b))
        self.store = ObjectStore(self.engine, partition_of, self.dice, [self.trees])
        pacer = Pacer(asyncio.get_running_loop().time, p99_s_max=1)
        pacer.rate = 1e6
        self.scrubbing = Scrubbing(self.trees, self.store, pacer, partitions=PARTITIONS)
        self.task = asyncio.get_running_loop().create_task(self._keep_loaded())

    async def _keep_loaded(self) -> None:
        while True:
            await self.scrubbing.keep_loaded()

    def crash(self, survivors: int) -> None:
        self.task.cancel()
        self.engine.crash(survivors=survivors)
        self._open()

    async def settled(self) -> None:
        """Until all that was begun is done, and the trees are loaded."""
        told = Told()
        self.trees.barrier(told)
        await told.error()
        await until(lambda: not self.trees.unloaded(), within_s=60)

    async def merge(self, name: bytes, incoming: bytes) -> None:
        told = Told()
        self.store.merge(name, incoming, told)
        assert await told.error() is None

    def row(self, table: Table, name: bytes) -> bytes:
        """The place on the disk of the object or of the entry of a key."""
        if table is Table.TREES:
            return self.trees.index.place(name)
        return place_of(RING.partition_of(name).to_bytes(2, "big"), name)

    def in_memory(self) -> Roots:
        return {
            (partition, n): leaves(tree)
            for partition in range(PARTITIONS)
            for n, tree in (self.trees.trees_of(partition) or {}).items()
            if tree.root
        }

    def by_objects(self) -> Roots:
        trees: dict[tuple[int, int], HashTree] = {}
        for partition in range(PARTITIONS):
            for name, held in self.store.keys(partition, b"", b"", 1000)[0]:
                tree = trees.setdefault(
                    (partition, self.trees.n_of(name)), HashTree(leaves_of(PARTITIONS))
                )
                tree.toggle(position_of(name), digest_of(name, clock_of(held)))
        return {of: leaves(tree) for of, tree in trees.items()}

    def indexed(self) -> dict[bytes | None, int | None]:
        return {
            name: digest
            for partition in range(PARTITIONS)
            for _, name, digest in self.trees.index.page(partition, b"", 1000)[0]
        }


def leaves(tree: HashTree) -> list[int]:
    """A few hundred together; the root alone would not tell them apart."""
    step = leaves_of(PARTITIONS) // 256
    return [tree.root, *(tree.digest(first, step) for first in range(0, 256 * step, step))]


def in_loop(
    scenario: Callable[[Kept], Coroutine[Any, Any, None]], *, limit_s: float = 3600.0
) -> None:
    async def main() -> None:
        kept = Kept()
        await scenario(kept)
        kept.task.cancel()

    simulate(lambda loop: main(), limit_s=limit_s)


# -- whatever happens ----------------------------------------------------------------------------

keys = st.sampled_from(KEYS + LONG)
actions = st.one_of(
    st.tuples(st.just("write"), keys),
    st.tuples(st.just("merge"), keys),
    st.tuples(st.just("forget"), keys),
    st.tuples(st.just("fail"), st.none()),
    st.tuples(st.just("wait"), st.none()),
    st.tuples(st.just("settle"), st.none()),
    st.tuples(st.just("crash"), st.none()),
    st.tuples(st.just("unload"), st.none()),
    st.tuples(st.just("rot"), keys),
    st.tuples(st.just("rot the entry of"), keys),
)


async def act(kept: Kept, action: tuple[str, bytes | None], turn: int) -> None:
    what, name = action
    if what == "fail":
        kept.engine.fail_next_commit(Fault.FULL)
    elif what == "wait":
        await asyncio.sleep(0)
    elif what == "settle":
        await asyncio.sleep(0.06)
    elif what == "crash":
        kept.crash(survivors=turn % (kept.engine.under_way + 1))
    elif what == "unload":
        kept.trees.unload(range(PARTITIONS))
    elif name is None:
        raise AssertionError(what)
    elif what == "write":
        kept.store.write(name, blind(b"%d" % turn), lambda error: None)
    elif what == "merge":
        kept.store.merge(name, state(A, *[b"x"] * (1 + turn)), lambda error: None)
    elif what == "forget":
        if (newest := kept.store.newest(name)) is not None:
            kept.store.forget(name, newest, lambda error: None)
    else:
        table = Table.OBJECTS if what == "rot" else Table.TREES
        if kept.disk.get(table, kept.row(table, name)) is not None:
            kept.disk.corrupt(table, kept.row(table, name), random.Random(turn))


@given(st.lists(actions, max_size=40))
@settings(max_examples=300)
def test_after_whatever_happened_trees_and_index_are_what_the_objects_say(
    history: list[tuple[str, bytes | None]],
) -> None:
    async def scenario(kept: Kept) -> None:
        for turn, action in enumerate(history):
            await act(kept, action, turn)
        await kept.settled()
        if any(what.startswith("rot") for what, _ in history):
            kept.crash(survivors=0)  # failures on order that have not come about must not now
            await kept.settled()
            for partition in range(PARTITIONS):
                await kept.scrubbing.scrub(partition)
            await asyncio.sleep(0.06)
            await kept.settled()
        assert kept.in_memory() == kept.by_objects()
        held = {
            name: digest_of(name, clock_of(state))
            for partition in range(PARTITIONS)
            for name, state in kept.store.keys(partition, b"", b"", 1000)[0]
        }
        assert kept.indexed() == held

    in_loop(scenario)


# -- one by one ----------------------------------------------------------------------------------


def test_rot_that_nobody_reads_is_found_and_its_entry_goes() -> None:
    async def scenario(kept: Kept) -> None:
        await kept.merge(KEYS[0], state(A, b"x"))
        await kept.settled()
        kept.disk.corrupt(Table.OBJECTS, kept.row(Table.OBJECTS, KEYS[0]), random.Random(1))
        assert kept.in_memory()
        await kept.scrubbing.scrub(RING.partition_of(KEYS[0]))
        await asyncio.sleep(1)
        await kept.settled()
        assert kept.store.corrupted == 1
        assert kept.indexed() == {}
        assert kept.in_memory() == {}

    in_loop(scenario)


@pytest.mark.parametrize("name", [KEYS[0], LONG[0]])
def test_a_rotten_entry_is_written_anew(name: bytes) -> None:
    async def scenario(kept: Kept) -> None:
        await kept.merge(name, state(A, b"x"))
        await kept.settled()
        before = kept.indexed()
        kept.disk.corrupt(Table.TREES, kept.row(Table.TREES, name), random.Random(1))
        kept.crash(survivors=0)
        await kept.settled()
        assert kept.indexed() == before
        assert kept.scrubbing.entries_mended > 0

    in_loop(scenario)


def test_an_entry_whose_key_rots_goes_and_its_object_gets_it_again() -> None:
    async def scenario(kept: Kept) -> None:
        await kept.settled()
        for name in KEYS:
            await kept.merge(name, state(A, b"1"))
        place = kept.row(Table.TREES, KEYS[0])
        record = kept.disk.get(Table.TREES, place)
        assert record is not None
        kept.disk.apply(Delete(Table.TREES, place))
        kept.disk.apply(Put(Table.TREES, place[:3] + bytes([place[3] ^ 4]) + place[4:], record))
        kept.trees.unload(range(PARTITIONS))
        await kept.settled()
        assert kept.disk.get(Table.TREES, place) == record
        assert kept.in_memory() == kept.by_objects()

    in_loop(scenario)


def test_an_object_and_its_entry_that_are_both_rotten_both_go() -> None:
    async def scenario(kept: Kept) -> None:
        await kept.merge(KEYS[0], state(A, b"x"))
        await kept.settled()
        for table in (Table.OBJECTS, Table.TREES):
            kept.disk.corrupt(table, kept.row(table, KEYS[0]), random.Random(1))
        kept.crash(survivors=0)
        await kept.settled()
        assert (kept.indexed(), kept.in_memory()) == ({}, {})

    in_loop(scenario)


def test_objects_older_than_the_index_get_their_entries_at_the_first_start() -> None:
    async def scenario(kept: Kept) -> None:
        for name in KEYS + LONG:
            await kept.merge(name, state(A, b"x"))
        await kept.settled()
        before = kept.indexed(), kept.in_memory()
        for place, _ in kept.disk.scan(Table.TREES, b"", None, 1000):
            kept.disk.apply(Delete(Table.TREES, place))
        for place, _ in kept.disk.scan(Table.META, b"", None, 1000):
            kept.disk.apply(Delete(Table.META, place))
        kept.crash(survivors=0)
        await kept.settled()
        assert (kept.indexed(), kept.in_memory()) == before
        # And only then: the next start takes the index as it is.
        mended = kept.scrubbing.entries_mended
        kept.crash(survivors=0)
        await kept.settled()
        assert (mended, kept.scrubbing.entries_mended) == (len(KEYS + LONG), 0)

    in_loop(scenario)


def test_an_entry_without_an_object_goes() -> None:
    async def scenario(kept: Kept) -> None:
        await kept.merge(KEYS[0], state(A, b"x"))
        await kept.settled()
        place = kept.row(Table.OBJECTS, KEYS[0])
        kept.disk.apply(Delete(Table.OBJECTS, place))
        await kept.scrubbing.scrub(RING.partition_of(KEYS[0]))
        await asyncio.sleep(1)
        await kept.settled()
        assert kept.indexed() == {}
        assert kept.in_memory() == {}

    in_loop(scenario)


def test_keys_move_to_other_trees_when_their_bucket_gets_another_n() -> None:
    async def scenario(kept: Kept) -> None:
        await kept.merge(KEYS[0], state(A, b"x"))
        await kept.settled()
        assert {n for _, n in kept.in_memory()} == {3}
        kept.n_of = lambda bucket: 5
        kept.trees.properties_changed()
        await asyncio.sleep(1)
        await kept.settled()
        assert {n for _, n in kept.in_memory()} == {5} == set(kept.trees.ns())

    in_loop(scenario)


def test_a_change_of_properties_that_changes_no_n_loads_nothing() -> None:
    async def scenario(kept: Kept) -> None:
        await kept.merge(KEYS[0], state(A, b"x"))
        await kept.settled()
        kept.trees.properties_changed()
        assert kept.trees.unloaded() == []

    in_loop(scenario)


def test_the_walk_reads_everything_by_itself() -> None:
    async def scenario(kept: Kept) -> None:
        for name in KEYS:
            await kept.merge(name, state(A, b"x"))
        kept.disk.corrupt(Table.OBJECTS, kept.row(Table.OBJECTS, KEYS[3]), random.Random(1))
        await kept.scrubbing.walk()
        assert kept.store.corrupted == 1
        assert asyncio.get_running_loop().time() > 86_000

    in_loop(scenario, limit_s=100_000)
