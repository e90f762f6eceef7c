"""What a node keeps for others."""

import pytest

from dynamo.core.ids import NodeId
from dynamo.errors import CodecError, CommitFailed
from dynamo.storage.engine import Put, Table
from dynamo.storage.hints import HintStore
from dynamo.storage.memory_engine import Disk, Fault, MemoryEngine
from tests.unit.storage.samples import A, B, Told, key, state, texts, value

N1, N2, N12 = NodeId("n1"), NodeId("n2"), NodeId("n12")
K = key(b"k")
LONG = key(b"k" * 600)


class Opened:
    """A store and what is under it."""

    def __init__(self, disk: Disk | None = None) -> None:
        self.disk = disk if disk is not None else Disk()
        self.engine = MemoryEngine(self.disk)
        self.store = HintStore(self.engine)

    async def merge(self, target: NodeId, key: bytes, incoming: bytes) -> None:
        told = Told()
        self.store.merge(target, key, incoming, 1_000, told)
        assert await told.error() is None

    async def drop(self, target: NodeId, key: bytes, delivered: bytes) -> None:
        told = Told()
        self.store.drop(target, key, delivered, told)
        assert not told.is_told
        assert await told.error() is None


@pytest.mark.parametrize("key", [K, LONG])
async def test_a_hint_is_kept_by_target_and_key(key: bytes) -> None:
    opened = Opened()
    await opened.merge(N1, key, state(A, b"1"))
    assert opened.store.get(N1, key) == state(A, b"1")
    assert opened.store.get(N2, key) is None
    assert opened.store.get(N12, key) is None
    assert Opened(opened.disk).store.get(N1, key) == state(A, b"1")


async def test_a_second_write_joins_the_hint() -> None:
    opened = Opened()
    await opened.merge(N1, K, state(A, b"1"))
    await opened.merge(N1, K, state(B, b"2"))
    assert texts(opened.store.get(N1, K)) == [value(b"1"), value(b"2")]
    assert opened.store.targets() == {N1: 1}


async def test_a_hint_that_does_not_decode_is_refused() -> None:
    opened = Opened()
    with pytest.raises(CodecError):
        opened.store.merge(N1, K, b"garbage", 1_000, Told())
    assert opened.engine.queued_bytes == 0


async def test_hints_are_scanned_by_target_in_pages() -> None:
    opened = Opened()
    mine = [key(b"%d" % number) for number in range(5)] + [LONG, LONG + b"2"]
    for encoded in mine:
        await opened.merge(N1, encoded, state(A, encoded[-5:]))
        await opened.merge(N12, encoded, state(B, b"other"))
    for limit in (1, 3, 50):
        found: list[tuple[bytes, bytes]] = []
        more = True
        while more:
            page, more = opened.store.scan(N1, found[-1][0] if found else b"", limit)
            assert 0 < len(page) <= limit
            found += page
        assert sorted(found) == sorted((key, state(A, key[-5:])) for key in mine)
    assert opened.store.scan(N2, b"", 5) == ([], False)


async def test_targets_are_counted_and_counted_again_after_a_restart() -> None:
    opened = Opened()
    for number in range(2_500):
        opened.store.merge(N1, key(b"%d" % number), state(A, b"1"), 1_000, lambda error: None)
    await opened.merge(N12, K, state(A, b"1"))
    await opened.merge(N2, K, state(A, b"1"))
    await opened.drop(N2, K, state(A, b"1"))
    assert opened.store.targets() == Opened(opened.disk).store.targets() == {N1: 2_500, N12: 1}


async def test_a_hint_counts_once_it_is_durable() -> None:
    opened = Opened()
    told = Told()
    opened.store.merge(N1, K, state(A, b"1"), 1_000, told)
    assert opened.store.targets() == {}
    await told.error()
    assert opened.store.targets() == {N1: 1}


@pytest.mark.parametrize("failing", [0, 1, 2])
async def test_the_count_is_right_whichever_commit_of_a_key_fails(failing: int) -> None:
    opened = Opened()
    first, dropped, last = Told(), Told(), Told()
    opened.store.merge(N1, K, state(A, b"1"), 1_000, first)
    opened.store.drop(N1, K, state(A, b"1"), dropped)
    opened.store.merge(N1, K, state(B, b"2"), 1_000, last)
    commits = [first, dropped, last]
    opened.engine.fail_next_commit(Fault.FULL, after=failing)
    errors = [await told.error() for told in commits]
    assert [isinstance(error, CommitFailed) for error in errors] == [
        number == failing for number in range(3)
    ]
    assert opened.store.targets() == Opened(opened.disk).store.targets()
    assert opened.store.targets() == ({} if failing == 2 else {N1: 1})


async def test_a_delivered_hint_is_dropped() -> None:
    opened = Opened()
    await opened.merge(N1, K, state(A, b"1"))
    await opened.merge(N2, K, state(A, b"1"))
    await opened.drop(N1, K, state(A, b"1"))
    assert opened.store.get(N1, K) is None
    assert opened.store.get(N2, K) == state(A, b"1")
    assert opened.store.targets() == {N2: 1}


@pytest.mark.parametrize("durable", [True, False])
async def test_a_hint_to_which_more_has_come_stays(durable: bool) -> None:
    opened = Opened()
    await opened.merge(N1, K, state(A, b"1"))
    told = Told()
    opened.store.merge(N1, K, state(B, b"2"), 1_000, told)
    if durable:
        await told.error()
    await opened.drop(N1, K, state(A, b"1"))
    assert texts(opened.store.get(N1, K)) == [value(b"1"), value(b"2")]
    assert opened.store.targets() == {N1: 1}


async def test_dropping_what_is_not_there_is_done_soon() -> None:
    opened = Opened()
    await opened.drop(N1, K, state(A, b"1"))
    assert opened.store.targets() == {}


async def test_what_comes_after_a_drop_starts_anew() -> None:
    opened = Opened()
    await opened.merge(N1, K, state(A, b"1"))
    opened.store.drop(N1, K, state(A, b"1"), lambda error: None)
    await opened.merge(N1, K, state(B, b"2"))
    assert opened.store.get(N1, K) == state(B, b"2")
    assert opened.store.targets() == {N1: 1}


async def test_a_corrupted_hint_is_missing_and_counted_as_corrupted() -> None:
    opened = Opened()
    await opened.merge(N1, K, state(A, b"1"))
    ((place, record),) = opened.disk.scan(Table.HINTS, b"", None, 5)
    opened.disk.apply(Put(Table.HINTS, place, record[::-1]))
    assert opened.store.get(N1, K) is None
    assert opened.store.scan(N1, b"", 5) == ([], False)
    assert opened.store.corrupted == 1
