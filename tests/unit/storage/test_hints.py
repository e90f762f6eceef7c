"""What a node keeps for others."""

import asyncio
import random

import pytest

from dynamo.core.ids import NodeId
from dynamo.errors import CodecError, CommitFailed, Overloaded
from dynamo.storage import hints
from dynamo.storage.engine import Delete, Table
from dynamo.storage.hint_rows import HintCounts, hint_place, row_place
from dynamo.storage.hints import TARGETS_MAX, HintStore
from dynamo.storage.memory_engine import Disk, Fault, MemoryEngine
from tests.unit.storage.samples import A, B, Told, key, state, texts, value

N1, N2, N12 = NodeId("n1"), NodeId("n2"), NodeId("n12")
K = key(b"k")
LONG = key(b"k" * 600)


class Opened:
    """A store and what is under it."""

    def __init__(
        self, disk: Disk | None = None, *, bytes_max: int = 2**30, queued_bytes_max: int = 2**25
    ) -> None:
        self.disk = disk if disk is not None else Disk()
        self.engine = MemoryEngine(self.disk)
        self.store = HintStore(self.engine, bytes_max=bytes_max, queued_bytes_max=queued_bytes_max)

    def begin_merge(
        self, target: NodeId, key: bytes, incoming: bytes, hinted_at_ms: int = 1_000
    ) -> Told:
        told = Told()
        self.store.merge(target, key, incoming, hinted_at_ms, told)
        return told

    async def merge(
        self, target: NodeId, key: bytes, incoming: bytes, hinted_at_ms: int = 1_000
    ) -> None:
        assert await self.begin_merge(target, key, incoming, hinted_at_ms).error() is None

    async def drop(self, target: NodeId, key: bytes, delivered: bytes) -> None:
        told = Told()
        self.store.drop(target, key, delivered, told)
        assert not told.is_told
        assert await told.error() is None

    async def settle(self) -> None:
        """Let everything happen that can."""
        for _ in range(500):
            await asyncio.sleep(0)

    def order(self, target: NodeId) -> list[bytes]:
        return [row.key for row in self.store.rows(target, 0, 10_000)]


def again(opened: Opened) -> HintStore:
    """The same store as a node finds it that starts now."""
    return HintStore(MemoryEngine(opened.disk))


# -- keeping -------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [K, LONG])
async def test_a_hint_is_kept_by_target_and_key(key: bytes) -> None:
    opened = Opened()
    await opened.merge(N1, key, state(A, b"1"))
    assert opened.store.get(N1, key) == state(A, b"1")
    assert opened.store.get(N2, key) is None
    assert opened.store.get(N12, key) is None
    assert again(opened).get(N1, key) == state(A, b"1")


async def test_a_second_write_joins_the_hint_and_supersedes_it() -> None:
    opened = Opened()
    await opened.merge(N1, K, state(A, b"1"))
    await opened.merge(N1, K, state(B, b"2"))
    assert texts(opened.store.get(N1, K)) == [value(b"1"), value(b"2")]
    assert opened.store.targets() == {N1: 1}
    assert opened.store.counts == HintCounts(stored=2, superseded=1)


async def test_writes_that_wait_together_join_one_after_the_other() -> None:
    opened = Opened()
    tolds = [opened.begin_merge(N1, K, state(actor, b"x")) for actor in (A, B)]
    assert [await told.error() for told in tolds] == [None, None]
    assert len(texts(opened.store.get(N1, K))) == 2
    assert opened.engine.commit_counts.batches == 1
    assert opened.store.counts == HintCounts(stored=2, superseded=1)


async def test_a_write_that_adds_nothing_is_no_hint_more() -> None:
    opened = Opened()
    await opened.merge(N1, K, state(A, b"1", b"2"))
    await opened.merge(N1, K, state(A, b"1", b"2"))
    assert opened.store.counts == HintCounts(stored=1)
    assert opened.engine.commit_counts.batches == 1


async def test_a_hint_that_does_not_decode_is_refused() -> None:
    opened = Opened()
    for name, encoded in ((K, b"garbage"), (b"garbage", state(A, b"1"))):
        with pytest.raises(CodecError):
            opened.begin_merge(N1, name, encoded)
    assert again(opened).targets() == {}


async def test_hints_are_refused_while_too_much_waits_for_the_disk() -> None:
    opened = Opened(queued_bytes_max=1_000)
    first = opened.begin_merge(N1, K, state(A, b"1" * 2_000))
    with pytest.raises(Overloaded):
        opened.begin_merge(N1, key(b"2"), state(A, b"1"))
    assert await first.error() is None
    await opened.merge(N1, key(b"2"), state(A, b"1"))


async def test_hints_are_kept_for_a_bounded_number_of_nodes() -> None:
    opened = Opened()
    tolds = [
        opened.begin_merge(NodeId(f"n{number}"), K, state(A, b"1")) for number in range(TARGETS_MAX)
    ]
    assert {await told.error() for told in tolds} == {None}
    with pytest.raises(Overloaded):
        opened.begin_merge(NodeId("other"), K, state(A, b"1"))
    await opened.merge(NodeId("n0"), K, state(B, b"2"))


async def test_hints_on_their_way_count_among_the_nodes_they_are_for() -> None:
    opened = Opened()
    opened.engine.fail_next_commit(Fault.FULL)
    tolds = [
        opened.begin_merge(NodeId(f"n{number}"), K, state(A, b"1")) for number in range(TARGETS_MAX)
    ]
    with pytest.raises(Overloaded):
        opened.begin_merge(NodeId("other"), K, state(A, b"1"))
    tolds.append(opened.begin_merge(NodeId("n0"), K, state(B, b"2")))
    assert {type(await told.error()) for told in tolds} == {CommitFailed}
    await opened.merge(NodeId("other"), K, state(A, b"1"))


async def test_what_is_held_is_counted_and_counted_again_after_a_restart() -> None:
    opened = Opened()
    for number in range(2_500):
        opened.begin_merge(N1, key(b"%d" % number), state(A, b"1"))
    await opened.merge(N12, K, state(A, b"1"))
    await opened.merge(N2, K, state(A, b"1"))
    await opened.drop(N2, K, state(A, b"1"))
    for store in (opened.store, again(opened)):
        assert store.targets() == {N1: 2_500, N12: 1}
        assert store.held_for(N12) == (1, len(K) + len(state(A, b"1")))
        assert store.counts == HintCounts(stored=2_502, delivered=1)
    assert opened.store.bytes_held == again(opened).bytes_held > 2_501 * len(state(A, b"1"))


async def test_a_hint_counts_once_it_is_durable() -> None:
    opened = Opened()
    told = opened.begin_merge(N1, K, state(A, b"1"))
    assert opened.store.targets() == {}
    await told.error()
    assert opened.store.targets() == {N1: 1}


async def test_a_hint_speaks_of_its_key_from_the_moment_it_comes_until_it_is_gone() -> None:
    opened = Opened()
    assert not opened.store.speaks_of(K)
    told = opened.begin_merge(N1, K, state(A, b"1"))
    assert opened.store.speaks_of(K)
    await told.error()
    assert opened.store.speaks_of(K)
    assert not opened.store.speaks_of(LONG)
    await opened.drop(N1, K, state(A, b"1"))
    assert not opened.store.speaks_of(K)
    opened.engine.fail_next_commit(Fault.FULL)
    await opened.begin_merge(N1, K, state(A, b"1")).error()
    assert not opened.store.speaks_of(K)


# -- order ---------------------------------------------------------------------------------------


async def test_hints_are_delivered_in_the_order_in_which_they_came() -> None:
    opened = Opened()
    mine = [key(b"%d" % number) for number in (5, 3, 9, 1)] + [LONG, LONG + b"2"]
    for encoded in mine:
        await opened.merge(N1, encoded, state(A, b"1"))
        await opened.merge(N12, encoded, state(B, b"other"))
    assert opened.order(N1) == mine
    for limit in (1, 3, 50):
        found: list[bytes] = []
        after = 0
        while rows := opened.store.rows(N1, after, limit):
            assert len(rows) <= limit
            found += [row.key for row in rows]
            after = rows[-1].sequence
        assert found == mine
    assert opened.store.rows(N2, 0, 5) == []


async def test_a_hint_that_more_is_joined_to_moves_to_the_end_also_after_a_restart() -> None:
    opened = Opened()
    for name in (b"1", b"2", b"3"):
        await opened.merge(N1, key(name), state(A, b"x"))
    opened = Opened(opened.disk)
    await opened.merge(N1, key(b"1"), state(B, b"y"))
    assert opened.order(N1) == [key(b"2"), key(b"3"), key(b"1")]


# -- delivery ------------------------------------------------------------------------------------


async def test_a_delivered_hint_is_dropped() -> None:
    opened = Opened()
    await opened.merge(N1, K, state(A, b"1"))
    await opened.merge(N2, K, state(A, b"1"))
    await opened.drop(N1, K, state(A, b"1"))
    assert opened.store.get(N1, K) is None
    assert opened.order(N1) == []
    assert opened.store.get(N2, K) == state(A, b"1")
    assert opened.store.targets() == {N2: 1}
    assert opened.store.counts == HintCounts(stored=2, delivered=1)


@pytest.mark.parametrize("durable", [True, False])
async def test_a_hint_to_which_more_has_come_stays(durable: bool) -> None:
    opened = Opened()
    await opened.merge(N1, K, state(A, b"1"))
    told = opened.begin_merge(N1, K, state(B, b"2"))
    if durable:
        await told.error()
        await opened.drop(N1, K, state(A, b"1"))
        assert opened.store.counts == HintCounts(stored=2, superseded=1)
    else:
        # What is dropped goes before what comes in the same commit.
        await opened.drop(N1, K, state(A, b"1"))
        assert opened.store.counts == HintCounts(stored=2, delivered=1)
    assert value(b"2") in texts(opened.store.get(N1, K))
    assert opened.store.targets() == {N1: 1}


async def test_dropping_what_is_not_there_is_done_soon() -> None:
    opened = Opened()
    await opened.drop(N1, K, state(A, b"1"))
    assert opened.store.targets() == {}
    assert opened.store.counts == HintCounts()


# -- failing disks -------------------------------------------------------------------------------


async def test_nothing_of_a_commit_that_failed_counts() -> None:
    opened = Opened()
    await opened.merge(N1, K, state(A, b"1"))
    opened.engine.fail_next_commit(Fault.FULL)
    told = opened.begin_merge(N1, K, state(B, b"2"))
    assert isinstance(await told.error(), CommitFailed)
    assert opened.store.get(N1, K) == state(A, b"1")
    assert opened.store.counts == again(opened).counts == HintCounts(stored=1)
    await opened.merge(N1, K, state(B, b"3"))
    assert texts(opened.store.get(N1, K)) == [value(b"1"), value(b"3")]


async def test_on_a_full_disk_what_is_delivered_goes_without_what_comes() -> None:
    opened = Opened()
    await opened.merge(N1, K, state(A, b"1"))
    opened.engine.fail_next_commit(Fault.FULL)
    assert isinstance(await opened.begin_merge(N2, K, state(A, b"1")).error(), CommitFailed)
    opened.engine.fail_next_commit(Fault.FULL, after=1)
    refused = opened.begin_merge(N2, K, state(A, b"1"))
    await opened.drop(N1, K, state(A, b"1"))
    assert isinstance(await refused.error(), CommitFailed)
    assert opened.store.targets() == {}
    assert opened.store.counts == HintCounts(stored=1, delivered=1)


async def test_closing_finishes_what_was_taken() -> None:
    opened = Opened()
    tolds = [
        opened.begin_merge(N1, key(b"%d" % number), state(A, b"x" * 2**20)) for number in range(10)
    ]
    await opened.store.close()
    assert all(told.is_told for told in tolds)
    assert again(opened).targets() == {N1: 10}


# -- limits --------------------------------------------------------------------------------------


async def test_when_full_the_oldest_go_whoever_they_are_for_and_the_write_succeeds() -> None:
    size_bytes = len(key(b"000")) + len(state(A, b"x" * 100))
    opened = Opened(bytes_max=10 * size_bytes)
    for number in range(100):
        target = (N1, N2)[number % 2]
        await opened.merge(target, key(b"%03d" % number), state(A, b"x" * 100))
    await opened.settle()
    assert opened.order(N1) == [key(b"%03d" % number) for number in range(90, 100, 2)]
    assert opened.order(N2) == [key(b"%03d" % number) for number in range(91, 100, 2)]
    assert opened.store.bytes_held == 10 * size_bytes
    assert opened.store.counts == HintCounts(stored=100, expired=90)


async def test_a_great_excess_goes_by_and_by() -> None:
    opened = Opened()
    for number in range(1_000):
        opened.begin_merge(N1, key(b"%03d" % number), state(A, b"x"))
    await opened.settle()
    opened = Opened(opened.disk, bytes_max=1)
    await opened.merge(N1, K, state(A, b"x"))
    assert opened.store.hints_held > 900
    await opened.settle()
    assert opened.store.targets() == {}
    assert opened.store.counts == HintCounts(stored=1_001, expired=1_001)


async def test_hints_past_their_age_go_undelivered() -> None:
    opened = Opened()
    for number in range(300):
        opened.begin_merge(N1, key(b"%03d" % number), state(A, b"x"), hinted_at_ms=number)
    await opened.settle()
    await opened.merge(N1, key(b"000"), state(B, b"y"), hinted_at_ms=300)
    opened.store.expire(200)
    await opened.settle()
    assert opened.order(N1) == [*(key(b"%03d" % number) for number in range(200, 300)), key(b"000")]
    assert opened.store.counts == HintCounts(stored=301, superseded=1, expired=199)


# -- waiting -------------------------------------------------------------------------------------


async def test_a_backlog_is_empty_when_all_that_was_held_is_gone_however() -> None:
    opened = Opened()
    await opened.merge(N1, key(b"1"), state(A, b"x"))
    await opened.merge(N2, key(b"2"), state(A, b"x"), hinted_at_ms=0)
    backlog = opened.store.backlog()
    await opened.merge(N1, key(b"3"), state(A, b"x"))
    assert backlog.left == {N1: 1, N2: 1}
    await opened.drop(N1, key(b"3"), state(A, b"x"))
    await opened.drop(N1, key(b"1"), state(A, b"x"))
    assert backlog.left == {N2: 1}
    assert not backlog.empty.is_set()
    opened.store.expire(1)
    await backlog.empty.wait()
    opened.store.forget(backlog)


async def test_a_hint_that_more_is_joined_to_is_waited_for_until_it_is_gone_itself() -> None:
    opened = Opened()
    await opened.merge(N1, K, state(A, b"x"))
    backlog = opened.store.backlog()
    await opened.merge(N1, K, state(B, b"y"))
    assert not backlog.empty.is_set()
    joined = opened.store.get(N1, K)
    assert joined is not None
    await opened.drop(N1, K, joined)
    assert backlog.empty.is_set()


async def test_a_backlog_of_nothing_is_empty() -> None:
    assert Opened().store.backlog().empty.is_set()


# -- what cannot be read -------------------------------------------------------------------------


def rot(opened: Opened, table: Table, place: bytes) -> None:
    record = opened.disk.get(table, place)
    assert record is not None
    opened.disk.corrupt(table, place, random.Random(1))


async def test_a_hint_that_cannot_be_read_is_missing_and_goes() -> None:
    opened = Opened()
    await opened.merge(N1, K, state(A, b"1"))
    await opened.merge(N1, key(b"2"), state(A, b"2"))
    rot(opened, Table.HINTS, hint_place(N1, K))
    for _ in range(2):
        assert opened.store.get(N1, K) is None
    await opened.settle()
    assert opened.order(N1) == [key(b"2")]
    assert opened.store.corrupted == 1
    assert opened.store.counts == HintCounts(stored=2, expired=1)
    assert again(opened).targets() == opened.store.targets() == {N1: 1}


async def test_a_write_replaces_a_hint_that_cannot_be_read() -> None:
    opened = Opened()
    await opened.merge(N1, K, state(A, b"1"))
    rot(opened, Table.HINTS, hint_place(N1, K))
    backlog = opened.store.backlog()
    await opened.merge(N1, K, state(B, b"2"))
    assert opened.store.get(N1, K) == state(B, b"2")
    assert opened.store.counts == HintCounts(stored=2, expired=1)
    assert opened.order(N1) == [K]
    assert backlog.empty.is_set()


async def test_a_row_that_cannot_be_read_is_mended_by_its_record() -> None:
    opened = Opened()
    keys = [key(b"1"), key(b"2"), key(b"3")]
    for encoded in keys:
        await opened.merge(N1, encoded, state(A, b"x"))
    rot(opened, Table.HINT_ORDER, row_place(N1, 2))
    opened = Opened(opened.disk)
    assert opened.order(N1) == [keys[0], keys[2]]
    await opened.settle()
    assert opened.order(N1) == keys
    assert opened.store.targets() == {N1: 3}
    assert opened.store.counts == HintCounts(stored=3)


async def test_a_ledger_that_cannot_be_read_begins_anew_with_what_is_held() -> None:
    opened = Opened()
    await opened.merge(N1, K, state(A, b"1"))
    await opened.merge(N1, K, state(B, b"2"))
    rot(opened, Table.META, b"hints")
    assert again(opened).counts == HintCounts(stored=1)


@pytest.mark.parametrize("first", ["row", "record", "merge"])
async def test_a_hint_whose_record_and_row_rot_is_accounted_for_once(first: str) -> None:
    opened = Opened()
    await opened.merge(N1, K, state(A, b"1"))
    rot(opened, Table.HINTS, hint_place(N1, K))
    rot(opened, Table.HINT_ORDER, row_place(N1, 1))

    def look(what: str) -> None:
        if what == "row":
            opened.order(N1)
        elif what == "record":
            opened.store.get(N1, K)
        else:
            opened.begin_merge(N1, K, state(B, b"2"))

    for what in sorted(("row", "record", "merge"), key=lambda what: what != first):
        look(what)
        await opened.settle()
    assert opened.store.counts == HintCounts(stored=2, expired=1)
    assert opened.store.targets() == {N1: 1}
    assert opened.order(N1) == [K]


def rot_whole(opened: Opened, encoded: bytes, sequence: int) -> None:
    rot(opened, Table.HINTS, hint_place(N1, encoded))
    rot(opened, Table.HINT_ORDER, row_place(N1, sequence))


async def test_a_record_that_rots_with_its_row_goes_with_it_and_no_other_does() -> None:
    opened = Opened()
    keys = [LONG, K, key(b"3"), key(b"4")]
    for encoded in keys:
        await opened.merge(N1, encoded, state(A, b"x"))
    rot_whole(opened, LONG, 1)
    rot_whole(opened, K, 2)
    rot(opened, Table.HINT_ORDER, row_place(N1, 3))
    rot(opened, Table.HINTS, hint_place(N1, keys[3]))
    opened.order(N1)
    await opened.settle()
    assert opened.order(N1) == keys[2:]
    places = [place for place, _ in opened.disk.scan(Table.HINTS, b"", None, 10)]
    assert places == [hint_place(N1, encoded) for encoded in keys[2:]]
    assert opened.store.get(N1, keys[3]) is None
    await opened.settle()
    assert opened.store.counts == HintCounts(stored=4, expired=3)
    assert again(opened).targets() == opened.store.targets() == {N1: 1}


async def test_a_hint_that_cannot_be_read_speaks_of_nothing_and_goes() -> None:
    opened = Opened()
    await opened.merge(N1, K, state(A, b"1"))
    await opened.merge(N1, key(b"2"), state(A, b"2"))
    rot(opened, Table.HINTS, hint_place(N1, K))
    opened.disk.apply(Delete(Table.HINT_ORDER, row_place(N1, 1)))
    opened = Opened(opened.disk)
    assert not opened.store.speaks_of(K)
    await opened.settle()
    assert opened.disk.get(Table.HINTS, hint_place(N1, K)) is None
    assert opened.order(N1) == [key(b"2")]


async def test_a_row_that_rots_is_accounted_for_once_however_often_it_is_met() -> None:
    opened = Opened()
    await opened.merge(N1, K, state(A, b"1"))
    await opened.merge(N1, key(b"2"), state(A, b"2"))
    rot(opened, Table.HINTS, hint_place(N1, K))
    rot(opened, Table.HINT_ORDER, row_place(N1, 1))

    def look() -> None:
        opened.order(N1)

    opened.store.merge(N1, key(b"3"), state(A, b"3"), 1_000, lambda _: look())
    await asyncio.sleep(0)  # its batch is under way: what is found now waits for the next
    opened.order(N1)
    await opened.settle()
    assert opened.store.counts == HintCounts(stored=3, expired=1)
    assert opened.store.targets() == {N1: 2}


# -- listing ---------------------------------------------------------------------------------------


def listed(opened: Opened, target: NodeId, bucket: bytes) -> list[bytes]:
    """All pages one after the other."""
    page = opened.store.keys(target, bucket, b"", 100, lambda key: True)
    found = page.found
    while page.last:
        page = opened.store.keys(target, bucket, page.last, 100, lambda key: True)
        found += page.found
    assert all(opened.store.get(target, key) == state for key, state in found)
    return [key for key, _ in found]


@pytest.mark.parametrize("rows", [1, 2, 3, 2000])
async def test_hints_for_a_node_are_listed_by_bucket(
    monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(hints, "_LISTED_ROWS", rows + 1)
    opened = Opened()
    long = [LONG, LONG + b"1", LONG + b"2"]
    mine = [key(b"%d" % number, b"mine") for number in range(4)]
    for name in [*mine, *long]:
        await opened.merge(N1, name, state(A, name[-5:]))
    await opened.merge(N2, key(b"other", b"mine"), state(A, b"1"))
    await opened.merge(N12, key(b"another", b"mine"), state(A, b"1"))
    assert listed(opened, N1, key(b"k", b"mine")[:-1]) == mine
    assert sorted(listed(opened, N1, b"")) == sorted(mine + long)
    wanted = opened.store.keys(N1, b"", b"", 100, lambda name: name == mine[0])
    assert [name for name, _ in wanted.found] in ([], [mine[0]])


async def test_a_page_of_large_hints_ends_early() -> None:
    opened = Opened()
    names = [key(b"%02d" % number) for number in range(12)]
    for name in names:
        await opened.merge(N1, name, state(A, b"v" * 2**20))
    assert 4 <= len(opened.store.keys(N1, b"", b"", 100, lambda key: True).found) < 8
    assert listed(opened, N1, b"") == names


async def test_hints_that_cannot_be_read_are_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "_LISTED_ROWS", 2)
    opened = Opened()
    names = [key(b"%d" % number) for number in range(6)]
    for name in names:
        await opened.merge(N1, name, state(A, b"1"))
    for name in names[1:4]:
        opened.disk.corrupt(Table.HINTS, hint_place(N1, name), random.Random(1))
    assert listed(opened, N1, b"") == [names[0], *names[4:]]
