"""The list of deleted keys, against what the objects say."""

import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dynamo.core.codec import decode_siblings, encode_siblings, only_tombstones
from dynamo.core.ids import Actor
from dynamo.core.siblings import EMPTY, Siblings
from dynamo.storage.engine import Put, Table
from dynamo.storage.memory_engine import Disk, Fault, MemoryEngine
from dynamo.storage.objects import ObjectStore
from dynamo.storage.tombstones import Tombstone, TombstoneStore
from tests.unit.storage.samples import TOMBSTONE, A, Told, blind, deleted, key, state, within

K = key(b"k")
LONG = key(b"k" * 600)


class Listed:
    """Objects and the list of the deleted ones, spread over two partitions."""

    def __init__(self, disk: Disk | None = None) -> None:
        self.disk = disk if disk is not None else Disk()
        self.engine = MemoryEngine(self.disk)
        self.now_ms = 1000
        self.changed: list[bytes] = []
        self.list = TombstoneStore(
            self.engine, self.partition_of, lambda: self.now_ms, self.changed.append
        )
        self.store = ObjectStore(self.engine, self.partition_of, random.Random(), [self.list])

    @staticmethod
    def partition_of(key: bytes) -> int:
        return 65535 if len(key) > 500 else key[-1] % 2

    async def merge(self, key: bytes, state: bytes) -> None:
        told = Told()
        self.store.merge(key, state, told)
        await told.error()

    async def forget(self, key: bytes, state: bytes) -> None:
        told = Told()
        assert self.store.forget(key, state, told)
        await told.error()

    def listed(self) -> dict[bytes, int]:
        found: dict[bytes, int] = {}
        for partition in self.list.partitions():
            after, more = b"", True
            while more:
                page, after = self.list.page(partition, after, 1)
                assert all(self.partition_of(one.key) == partition for one in page)
                found.update(page)
                more = after != b""
        return found


@pytest.mark.parametrize("name", [K, LONG])
async def test_a_key_is_listed_from_its_deletion_to_its_next_value_or_its_end(name: bytes) -> None:
    listed = Listed()
    await listed.merge(name, state(A, b"1"))
    assert listed.listed() == {}
    await listed.merge(name, deleted(Actor(b"actor--b")))
    assert listed.listed() == {}, "a sibling is live"
    told = Told()
    gone = listed.store.write(
        name,
        lambda held, actor, floor: held.write(actor, TOMBSTONE, held.context(), floor),
        told,
    )
    assert listed.listed() == {}, "nothing is durable yet"
    await told.error()
    assert listed.listed() == {name: 1000}
    assert Listed(listed.disk).listed() == {name: 1000}
    await listed.forget(name, gone)
    assert listed.listed() == {}
    assert listed.list.held == 0


async def test_a_deleted_key_that_is_written_anew_is_no_longer_listed() -> None:
    listed = Listed()
    await listed.merge(K, deleted(A))
    assert listed.list.held == 1
    told = Told()
    listed.store.write(K, blind(b"new"), told)
    await told.error()
    assert listed.list.held == 0


async def test_every_change_of_a_key_is_told() -> None:
    listed = Listed()
    await listed.merge(K, state(A, b"1"))
    await listed.merge(K, state(A, b"1"))
    assert listed.changed == [K], "the second changed nothing"
    told = Told()
    context = decode_siblings(listed.store.get(K) or b"").context()
    listed.store.write(K, within(context, b"2"), told)
    await told.error()
    assert listed.changed == [K, K]


async def test_pages_follow_on_each_other_and_stay_in_their_partition() -> None:
    listed = Listed()
    names = [key(b"k%02d" % number) for number in range(20)]
    for name in names:
        await listed.merge(name, deleted(A))
    assert listed.list.partitions() == [0, 1]
    first, after = listed.list.page(0, b"", 7)
    second, end = listed.list.page(0, after, 7)
    assert [one.key for one in first + second] == names[::2]
    assert (len(first), end) == (7, b"")
    whole, end = listed.list.page(0, b"", 10)
    assert (len(whole), end) == (10, b"")


async def test_an_entry_that_makes_no_sense_is_left_out() -> None:
    listed = Listed()
    await listed.merge(LONG, deleted(A))
    [(place, entry)] = listed.disk.scan(Table.TOMBSTONES, b"", None, 2)
    listed.disk.apply(Put(Table.TOMBSTONES, place, entry[:-1]))
    assert listed.list.page(65535, b"", 5) == ([], b"")


async def test_an_entry_is_there_though_the_commit_before_it_failed() -> None:
    listed = Listed()
    listed.engine.fail_next_commit(Fault.FULL)
    await listed.merge(K, deleted(A))
    assert listed.listed() == {}
    first, second = Told(), Told()
    listed.engine.fail_next_commit(Fault.FULL)
    once = decode_siblings(deleted(A))
    twice = once.write(A, TOMBSTONE, {}, 0)
    listed.store.merge(K, encode_siblings(once), first)
    listed.now_ms = 2000
    listed.store.merge(K, encode_siblings(twice), second)
    assert await first.error() is not None
    assert await second.error() is None
    assert listed.list.page(listed.partition_of(K), b"", 5) == ([Tombstone(K, 2000)], b"")


async def test_an_actor_that_others_know_higher_dots_of_writes_no_more_where_it_forgot() -> None:
    listed = Listed()
    actor = await actor_of_a_write(listed)
    made_up = encode_siblings(EMPTY.write(actor, TOMBSTONE, {actor: 10**6}, 0))
    await listed.merge(K, made_up)
    await listed.forget(K, made_up)
    assert await actor_of_a_write(listed) != actor


async def test_an_actor_forgets_its_own_tombstones_and_goes_on() -> None:
    listed = Listed()
    actor = await actor_of_a_write(listed)
    told = Told()
    gone = listed.store.write(
        K, lambda held, who, floor: held.write(who, TOMBSTONE, {}, floor), told
    )
    await told.error()
    await listed.forget(K, gone)
    assert await actor_of_a_write(listed) == actor


async def actor_of_a_write(listed: Listed) -> Actor:
    """Who mints now; the write is of a key that nobody wrote before."""
    told = Told()
    written = listed.store.write(key(b"x%d" % len(listed.changed)), blind(b"x"), told)
    await told.error()
    [actor] = decode_siblings(written).entries
    return actor


# -- against the objects -------------------------------------------------------------------------

KEYS = [key(b"1"), key(b"2"), LONG]
some_key = st.sampled_from(KEYS)


class ListAndObjects(RuleBasedStateMachine):
    """Writes, deletions and drops on a disk that fails, crashes and goes back."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.listed = Listed()
        self.backup = Disk()
        self.numbers = iter(range(10**9))

    def on_loop(self, do: Callable[[], Any]) -> Any:
        async def doing() -> Any:
            return do()

        return self.loop.run_until_complete(doing())

    @rule(key=some_key, blindly=st.booleans(), deletes=st.booleans())
    def write(self, key: bytes, blindly: bool, deletes: bool) -> None:
        value = TOMBSTONE if deletes else b"%d" % next(self.numbers)

        def update(held: Siblings, actor: Actor, floor: int) -> Siblings:
            return held.write(actor, value, {} if blindly else held.context(), floor)

        self.on_loop(lambda: self.listed.store.write(key, update, lambda error: None))

    @rule(key=some_key)
    def forget(self, key: bytes) -> None:
        newest = self.listed.store.newest(key)
        if newest is not None and only_tombstones(newest):
            assert self.on_loop(lambda: self.listed.store.forget(key, newest, lambda error: None))

    @rule()
    def settle(self) -> None:
        async def settled() -> None:
            told = self.loop.create_future()
            self.listed.engine.commit((), told.set_result)
            await told

        self.loop.run_until_complete(settled())

    @rule(after=st.integers(0, 3))
    def fill_disk(self, after: int) -> None:
        self.listed.engine.fail_next_commit(Fault.FULL, after=after)

    @rule()
    def crash(self) -> None:
        self.listed.engine.crash()
        self.listed = Listed(self.listed.disk)

    @rule()
    def back_up(self) -> None:
        self.backup = self.listed.disk.copy()

    @rule()
    def crash_and_restore(self) -> None:
        self.listed.engine.crash()
        self.listed.disk.restore(self.backup)
        self.listed = Listed(self.listed.disk)

    @invariant()
    def no_tombstone_is_left_out_and_entries_too_many_can_be_told(self) -> None:
        stored = {name for name in KEYS if only_tombstones(self.listed.store.get(name) or b"")}
        listed = set(self.listed.listed())
        assert stored <= listed
        assert self.listed.list.held == len(listed)

    def teardown(self) -> None:
        self.settle()
        self.crash()  # with what would have failed next
        store = self.listed.store
        for name in self.listed.listed():
            if not only_tombstones(store.get(name) or b""):
                self.on_loop(partial(self.listed.list.strike, name, lambda error: None))
        self.settle()
        stored = {name for name in KEYS if only_tombstones(store.get(name) or b"")}
        assert set(self.listed.listed()) == stored
        self.listed.engine.crash()
        self.loop.close()


TestListAndObjects = ListAndObjects.TestCase
TestListAndObjects.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
