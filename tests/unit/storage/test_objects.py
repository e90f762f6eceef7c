"""What a node holds of its own, written by itself and merged from others."""

import itertools
from typing import Any

import pytest

from dynamo.core.codec import decode_siblings, encode_siblings
from dynamo.core.siblings import EMPTY
from dynamo.errors import CodecError, CommitFailed, Overloaded
from dynamo.storage.memory_engine import Fault
from tests.unit.storage.samples import (
    TOMBSTONE,
    A,
    B,
    Opened,
    Told,
    blind,
    deleted,
    key,
    state,
    texts,
    value,
    within,
)

K = key(b"k")
LONG = b"k" * 600


# -- writes --------------------------------------------------------------------------------------


async def test_a_write_is_read_once_it_is_durable() -> None:
    opened = Opened()
    told = Told()
    encoded = opened.store.write(K, blind(b"1"), told)
    assert texts(encoded) == [value(b"1")]
    assert opened.store.get(K) is None
    assert await told.error() is None
    assert opened.store.get(K) == encoded


@pytest.mark.parametrize("name", [b"k", LONG])
async def test_what_was_written_is_there_after_a_restart(name: bytes) -> None:
    before = Opened()
    encoded = await before.write(key(name), blind(b"1"))
    assert Opened(before.disk).store.get(key(name)) == encoded


async def test_writes_of_a_key_in_one_group_build_on_each_other() -> None:
    opened = Opened()
    first, second = Told(), Told()
    context = decode_siblings(opened.store.write(K, blind(b"1"), first)).context()
    opened.store.write(K, blind(b"2"), second)
    last = await opened.write(K, within(context, b"3"))
    assert first.is_told
    assert second.is_told
    assert texts(last) == [value(b"2"), value(b"3")]
    assert opened.store.get(K) == last


async def test_a_write_builds_on_the_group_under_way_too() -> None:
    opened = Opened()
    first = Told()
    engine = opened.engine
    opened.store.write(K, blind(b"1"), first)
    assert await first.error() is None
    opened.store.write(K, blind(b"2"), Told())
    assert texts(await opened.write(K, blind(b"3"))) == [value(b"1"), value(b"2"), value(b"3")]
    assert engine.queued_bytes == 0


async def test_an_update_that_changes_nothing_is_told_and_not_stored() -> None:
    opened = Opened()
    encoded = await opened.write(K, blind(b"1"))
    told = Told()
    assert opened.store.write(K, lambda siblings, actor, floor: siblings, told) == encoded
    assert opened.engine.queued_bytes == 0
    assert not told.is_told
    assert await told.error() is None


async def test_a_write_that_is_refused_leaves_nothing_behind() -> None:
    opened = Opened(queued_bytes_max=1000)
    told = Told()
    opened.store.write(K, blind(b"1" * 1000), told)
    with pytest.raises(Overloaded):
        opened.store.write(K, blind(b"2"), Told())
    with pytest.raises(Overloaded):
        opened.store.merge(K, state(A, b"3"), Told())
    assert await told.error() is None
    assert texts(await opened.write(K, blind(b"4"))) == sorted([value(b"1" * 1000), value(b"4")])


async def test_a_failing_update_leaves_nothing_behind() -> None:
    opened = Opened()

    def refuse(*_: object) -> Any:
        raise ValueError("too many siblings")

    with pytest.raises(ValueError, match="too many siblings"):
        opened.store.write(K, refuse, Told())
    assert texts(await opened.write(K, blind(b"1"))) == [value(b"1")]


async def test_a_failed_write_survives_in_one_that_was_built_on_it() -> None:
    opened = Opened()
    opened.engine.fail_next_commit(Fault.FULL)
    first = Told()
    opened.store.write(K, blind(b"1"), first)
    await opened.write(K, blind(b"2"))
    assert isinstance(await first.error(), CommitFailed)
    assert texts(opened.store.get(K)) == [value(b"1"), value(b"2")]


async def test_after_a_failed_write_the_state_is_the_durable_one_again() -> None:
    opened = Opened()
    durable = await opened.write(K, blind(b"1"))
    opened.engine.fail_next_commit(Fault.FULL)
    failing = Told()
    opened.store.write(K, blind(b"2"), failing)
    assert isinstance(await failing.error(), CommitFailed)
    assert opened.store.get(K) == durable
    assert texts(await opened.write(K, blind(b"3"))) == [value(b"1"), value(b"3")]


# -- merges --------------------------------------------------------------------------------------


async def test_the_first_state_is_kept_as_it_came() -> None:
    opened = Opened()
    await opened.merge(K, state(A, b"1"))
    assert opened.store.get(K) == state(A, b"1")


async def test_concurrent_states_become_siblings() -> None:
    opened = Opened()
    await opened.merge(K, state(A, b"1"))
    await opened.merge(K, state(B, b"2"))
    assert texts(opened.store.get(K)) == [value(b"1"), value(b"2")]


async def test_a_newer_state_replaces_an_older_and_never_the_reverse() -> None:
    opened = Opened()
    old = EMPTY.write(A, value(b"1"), {}, 0)
    new = encode_siblings(old.write(B, value(b"2"), old.context(), 0))
    await opened.merge(K, encode_siblings(old))
    await opened.merge(K, new)
    assert opened.store.get(K) == new
    opened.store.merge(K, encode_siblings(old), Told())
    assert opened.engine.queued_bytes == 0
    await opened.merge(K, encode_siblings(old))
    assert opened.store.get(K) == new


@pytest.mark.parametrize("incoming", [state(A, b"1"), b""])
async def test_what_is_held_already_is_not_stored_again(incoming: bytes) -> None:
    opened = Opened()
    await opened.merge(K, state(A, b"1"))
    told = Told()
    opened.store.merge(K, incoming, told)
    assert opened.engine.queued_bytes == 0
    assert not told.is_told
    assert await told.error() is None


async def test_what_is_on_its_way_to_the_disk_is_told_when_it_is_there() -> None:
    opened = Opened()
    first, second = Told(), Told()
    opened.store.merge(K, state(A, b"1"), first)
    queued_bytes = opened.engine.queued_bytes
    opened.store.merge(K, state(A, b"1"), second)
    assert opened.engine.queued_bytes == queued_bytes
    await first.error()
    assert second.is_told
    assert opened.store.get(K) == state(A, b"1")


async def test_what_fails_on_its_way_to_the_disk_is_told_to_all_who_wait_for_it() -> None:
    opened = Opened()
    opened.engine.fail_next_commit(Fault.FULL)
    first, second, third = Told(), Told(), Told()
    opened.store.merge(K, state(A, b"1"), first)
    opened.store.merge(K, state(A, b"1"), second)
    opened.store.merge(K, state(B, b"2"), third)
    assert isinstance(await first.error(), CommitFailed)
    assert isinstance(await second.error(), CommitFailed)
    assert await third.error() is None
    assert texts(opened.store.get(K)) == [value(b"1"), value(b"2")]


async def test_a_tombstone_is_a_value_like_others() -> None:
    opened = Opened()
    await opened.merge(K, deleted(A))
    assert texts(opened.store.get(K)) == [TOMBSTONE]


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("cut", [1, 4, 5, 20, 30])
async def test_a_state_that_does_not_decode_is_refused(held: bool, cut: int) -> None:
    opened = Opened()
    if held:
        await opened.merge(K, state(A, b"1"))
    bad = state(B, b"2")[:-cut] if cut < 30 else b"garbage, as it may come from a peer"
    with pytest.raises(CodecError):
        opened.store.merge(K, bad, Told())
    assert opened.store.get(K) == (state(A, b"1") if held else None)
    assert opened.engine.queued_bytes == 0


async def test_a_key_that_does_not_decode_is_refused() -> None:
    opened = Opened()
    with pytest.raises(CodecError):
        opened.store.merge(b"no key", state(A, b"1"), Told())
    assert opened.engine.queued_bytes == 0


# -- losses --------------------------------------------------------------------------------------


numbers = itertools.count()


async def actor_of_a_write(opened: Opened) -> bytes:
    name = b"new%d" % next(numbers)
    (actor,) = decode_siblings(await opened.write(key(name), blind(b"1"))).entries
    return actor


async def test_the_actor_stays_while_nothing_is_lost() -> None:
    opened = Opened()
    assert await actor_of_a_write(opened) == await actor_of_a_write(opened)


async def test_every_start_has_an_actor_of_its_own() -> None:
    opened = Opened()
    assert await actor_of_a_write(opened) != await actor_of_a_write(Opened(opened.disk))


async def test_a_failed_commit_changes_the_actor() -> None:
    opened = Opened()
    before = await actor_of_a_write(opened)
    opened.engine.fail_next_commit(Fault.FULL)
    failing = Told()
    opened.store.merge(K, state(A, b"1"), failing)
    await failing.error()
    assert await actor_of_a_write(opened) != before


@pytest.mark.parametrize("access", ["get", "merge", "write", "keys", "buckets"])
async def test_a_corrupted_record_is_missing_counted_and_changes_the_actor(access: str) -> None:
    opened = Opened()
    await opened.write(K, blind(b"1"))
    before = await actor_of_a_write(opened)
    opened.corrupt(K)
    match access:
        case "get":
            assert opened.store.get(K) is None
        case "merge":
            await opened.merge(K, state(A, b"2"))
            assert opened.store.get(K) == state(A, b"2")
        case "write":
            (actor,) = decode_siblings(await opened.write(K, blind(b"2"))).entries
            assert actor != before
        case "keys":
            assert K not in dict(opened.store.keys(7, b"", b"", 10)[0])
        case "buckets":
            assert dict(opened.store.buckets(7, b"", b"", 10, lambda state: True)[0])[K] == b""
    assert opened.store.corrupted == 1
    assert await actor_of_a_write(opened) != before


async def test_a_corrupted_record_is_lost_once_until_it_is_replaced() -> None:
    opened = Opened()
    await opened.write(K, blind(b"1"))
    opened.corrupt(K)
    opened.store.get(K)
    actor = await actor_of_a_write(opened)
    opened.store.get(K)
    assert await actor_of_a_write(opened) == actor
    assert opened.store.corrupted == 1
    await opened.merge(K, state(A, b"2"))
    opened.corrupt(K)
    opened.store.get(K)
    assert await actor_of_a_write(opened) != actor
    assert opened.store.corrupted == 2
