"""Where a write's state comes from, and what it may not grow to."""

import asyncio
import random

import pytest

from dynamo.core.codec import decode_siblings, encode_value
from dynamo.core.ids import ACTOR_BYTES, Key, encode_key
from dynamo.core.quorum import Conflicts
from dynamo.core.values import Value
from dynamo.errors import BadRequest, StorageError
from dynamo.node.minting import (
    OBJECT_BYTES_LARGE,
    SIBLINGS_MANY,
    STATE_BYTES_MAX,
    Minting,
    NewValue,
)
from dynamo.storage.memory_engine import Disk, Fault, MemoryEngine
from dynamo.storage.objects import ObjectStore

KEY = encode_key(Key(b"default", b"b", b"k"))


class _Node:
    """A store on a disk that can fail, and a clock to be moved by hand."""

    def __init__(self, *, siblings_max: int = 100) -> None:
        self.now_s = 0.0
        self.engine = MemoryEngine(Disk())
        dice = random.Random(1)
        self.minting = Minting(
            ObjectStore(self.engine, lambda key: 0, dice),
            dice.randbytes,
            lambda: self.now_s,
            siblings_max=siblings_max,
        )

    async def write(self, body: bytes = b"v") -> bytes | None:
        """A blind write to the own copy, and the end of its commit."""
        ended: asyncio.Future[StorageError | None] = asyncio.get_running_loop().create_future()
        state = self.minting.from_own_copy(_new(body), ended.set_result)
        if state is not None:
            await ended
        return state


def _new(body: bytes = b"v") -> NewValue:
    return NewValue(KEY, encode_value(Value(body=body)), {}, Conflicts.SIBLINGS)


def _actors(state: bytes | None) -> set[bytes]:
    assert state is not None
    return set(decode_siblings(state).context())


async def test_dots_of_one_copy_follow_on_each_other() -> None:
    node = _Node()
    assert _actors(await node.write()) == _actors(await node.write())


async def test_write_that_would_make_too_many_siblings_is_refused_and_changes_nothing() -> None:
    node = _Node(siblings_max=3)
    for _ in range(3):
        await node.write()
    for _ in range(2):
        with pytest.raises(BadRequest, match="has 3 siblings, the most is 3"):
            await node.write()


async def test_many_siblings_are_logged_once_before_they_are_too_many(
    caplog: pytest.LogCaptureFixture,
) -> None:
    node = _Node()
    for _ in range(SIBLINGS_MANY - 1):
        await node.write()
    assert not caplog.records
    await node.write()
    await node.write()
    [record] = caplog.records
    assert record.getMessage() == "an object is large"
    assert vars(record)["siblings"] == SIBLINGS_MANY
    assert (vars(record)["bucket"], vars(record)["key"]) == ("b'b'", "b'k'")


async def test_each_write_of_a_large_object_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    node = _Node()
    await node.write(bytes(OBJECT_BYTES_LARGE - 1000))
    assert not caplog.records
    await node.write(bytes(1000))
    assert [vars(record)["siblings"] for record in caplog.records] == [2]
    assert vars(caplog.records[0])["bytes"] >= OBJECT_BYTES_LARGE


async def test_siblings_that_fit_no_frame_together_are_refused() -> None:
    node = _Node()
    large = bytes(STATE_BYTES_MAX // 2)
    await node.write(large)
    with pytest.raises(BadRequest, match="would have"):
        await node.write(large)
    assert await node.write(b"small") is not None


async def test_own_copy_rests_after_a_failed_commit_and_longer_after_the_next() -> None:
    node = _Node()
    for rest_s in (1.0, 2.0, 4.0):
        node.engine.fail_next_commit(Fault.FULL)
        assert await node.write() is not None
        node.now_s += rest_s - 0.01
        assert await node.write() is None
        node.now_s += 0.01
    assert await node.write() is not None, "it is sound again"
    node.engine.fail_next_commit(Fault.FULL)
    await node.write()
    node.now_s += 1.0
    assert await node.write() is not None


async def test_writes_from_nothing_share_an_actor_until_somebody_returns() -> None:
    node = _Node()
    first = _actors(node.minting.from_nothing(_new()))
    assert _actors(node.minting.from_nothing(_new())) == first
    assert {len(actor) for actor in first} == {ACTOR_BYTES}
    node.minting.on_return()
    assert not _actors(node.minting.from_nothing(_new())) & first


async def test_own_copy_ends_what_was_minted_from_nothing() -> None:
    node = _Node()
    first = _actors(node.minting.from_nothing(_new()))
    await node.write()
    assert not _actors(node.minting.from_nothing(_new())) & first
