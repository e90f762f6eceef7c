"""Handoff: what goes out, in which order, how much at once, and when it is dropped."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo.core.ids import Address, NodeId
from dynamo.core.membership import MemberRecord, MemberState
from dynamo.core.property_book import PropertyBook
from dynamo.errors import BadRequest, DynamoError, Overloaded, PeerLost
from dynamo.node.cluster_view import ClusterView
from dynamo.node.handoff import BATCH, BATCH_BYTES, WAITERS_MAX, Handoff, HintAge
from dynamo.node.pacing import Pacer
from dynamo.node.stats import Counters
from dynamo.node.tasks import Tasks
from dynamo.rpc.failures import to_failed
from dynamo.rpc.messages import Done, Failed, ReplicaPut
from dynamo.storage.hints import HintStore
from dynamo.storage.memory_engine import Disk, MemoryEngine
from tests.unit.node.replicas import N1, N2, N3, N4, Replicas
from tests.unit.storage.samples import A, B, Told, key, state

OVERLOADED = to_failed(Overloaded("too much to do"))


class Pace(Pacer):
    """A gate that stands open, and counts.

    Attributes:
        admitted: units.
    """

    def __init__(self) -> None:
        super().__init__(lambda: 0.0, p99_s_max=1.0)
        self.admitted = 0

    async def admit(self, units: int = 1) -> None:
        self.admitted += units


class Holder:
    """A node that keeps hints; other nodes answer when the test says so."""

    def __init__(self, *, delivers: bool = True, interval_s: float = 60.0) -> None:
        self.replicas = Replicas()
        self.view = ClusterView(N1, 8, PropertyBook({}, {}))
        self.store = HintStore(MemoryEngine(Disk()))
        self.pace = Pace()
        self.tasks = Tasks(tasks_max=100)
        self.counters = Counters()
        self.serves = True
        self.now_s = 0.0
        self.now_ms = 1_000
        self.handoff = Handoff(
            self.view,
            self.store,
            self.replicas.send,
            self.pace,
            self.tasks,
            self.counters,
            lambda: self.now_s,
            lambda: self.now_ms,
            serving=lambda: self.serves,
            delivers=delivers,
            interval_s=interval_s,
            replica_timeout_s=1.0,
            hint_age_s_max=1_000.0,
        )

    async def keep(self, target: NodeId, *names: bytes, text: bytes = b"x") -> None:
        tolds = [Told() for _ in names]
        for name, told in zip(names, tolds, strict=True):
            self.store.merge(target, key(name), state(A, text), self.now_ms, told)
        assert [await told.error() for told in tolds] == [None] * len(names)

    def know(self, *nodes: NodeId, state: MemberState = MemberState.MEMBER) -> None:
        for number, node in enumerate(nodes):
            record = MemberRecord(
                node_id=node,
                incarnation=1,
                state=state,
                rpc=Address("h", 1),
                http=Address("h", 2),
                weight=1,
                zone="",
                tokens=(number,) if state is MemberState.MEMBER else (),
            )
            self.view.learn(record.to_fact())

    async def sent(self, count: int) -> list[tuple[NodeId, bytes]]:
        """To whom which keys are on their way, once there are so many."""
        await self.quiet()
        assert len(self.replicas.asked) == count
        return [
            (node, request.key)
            for node, request, _ in self.replicas.asked
            if isinstance(request, ReplicaPut)
        ]

    async def quiet(self) -> None:
        """Let everything happen that can without an answer."""
        for _ in range(50):
            await asyncio.sleep(0)

    def answer_all(self, reply: Done | Failed | DynamoError) -> None:
        for node in self.replicas.names():
            self.replicas.answer(node, reply)

    async def held(self) -> dict[NodeId, int]:
        await self.quiet()
        return self.store.targets()


@contextlib.asynccontextmanager
async def holding(
    *, delivers: bool = True, reachable: Sequence[NodeId] = (), interval_s: float = 60.0
) -> AsyncIterator[Holder]:
    holder = Holder(delivers=delivers, interval_s=interval_s)
    holder.view.reachable.update(reachable)
    try:
        yield holder
    finally:
        await holder.tasks.close()


def start(holder: Holder) -> None:
    holder.tasks.repeat(holder.handoff.step, "handoff")


NAMES = [b"%03d" % number for number in range(200)]


async def test_hints_go_out_in_order_a_bounded_number_at_once_each_paced() -> None:
    async with holding(reachable=[N2]) as holder:
        await holder.keep(N2, *NAMES)
        start(holder)
        assert await holder.sent(BATCH) == [(N2, key(name)) for name in NAMES[:BATCH]]
        holder.answer_all(Done())
        assert await holder.sent(BATCH) == [(N2, key(name)) for name in NAMES[BATCH : 2 * BATCH]]
        assert holder.pace.admitted == 2 * BATCH
        assert await holder.held() == {N2: len(NAMES) - BATCH}


async def test_large_hints_go_out_fewer_at_once() -> None:
    async with holding(reachable=[N2]) as holder:
        await holder.keep(N2, *NAMES[:9], text=b"x" * (BATCH_BYTES // 3))
        start(holder)
        assert len(await holder.sent(2)) == 2
        holder.answer_all(Done())
        assert await holder.sent(2) == [(N2, key(name)) for name in NAMES[2:4]]


async def test_a_hint_is_dropped_when_its_target_has_it_and_not_before() -> None:
    async with holding(reachable=[N2]) as holder:
        await holder.keep(N2, b"1", b"2")
        start(holder)
        await holder.sent(2)
        assert await holder.held() == {N2: 2}
        holder.replicas.answer(N2, Done())
        assert await holder.held() == {N2: 1}
        assert holder.store.counts.delivered == 1


async def test_a_hint_that_more_came_to_meanwhile_stays() -> None:
    async with holding(reachable=[N2]) as holder:
        await holder.keep(N2, b"1")
        start(holder)
        await holder.sent(1)
        told = Told()
        holder.store.merge(N2, key(b"1"), state(B, b"y"), 1_000, told)
        await told.error()
        holder.answer_all(Done())
        assert await holder.held() == {N2: 1}
        assert holder.store.counts.delivered == 0


@pytest.mark.parametrize("reply", [PeerLost("gone"), OVERLOADED, Overloaded("full")])
async def test_a_target_that_is_lost_or_has_too_much_to_do_is_left_alone(
    reply: Failed | DynamoError,
) -> None:
    async with holding(reachable=[N2]) as holder:
        await holder.keep(N2, *NAMES)
        start(holder)
        await holder.sent(BATCH)
        for _ in range(BATCH - 1):
            holder.replicas.answer(N2, Done())
        holder.replicas.answer(N2, reply)
        assert await holder.sent(0) == []
        assert await holder.held() == {N2: len(NAMES) - BATCH + 1}
        holder.view.on_return[0]()
        assert await holder.sent(BATCH) == [
            (N2, key(name)) for name in [NAMES[BATCH - 1], *NAMES[BATCH : 2 * BATCH - 1]]
        ]


async def test_a_hint_that_is_refused_keeps_none_behind_it_waiting() -> None:
    async with holding(reachable=[N2]) as holder:
        await holder.keep(N2, b"1", b"2", b"3")
        start(holder)
        await holder.sent(3)
        holder.replicas.answer(N2, to_failed(BadRequest("no")))
        holder.answer_all(Done())
        assert await holder.held() == {N2: 1}
        assert holder.store.get(N2, key(b"1")) is not None


async def test_a_slow_target_keeps_no_other_waiting() -> None:
    async with holding(reachable=[N2, N3]) as holder:
        await holder.keep(N2, b"1")
        await holder.keep(N3, *NAMES)
        start(holder)
        await holder.sent(1 + BATCH)
        for _ in range(BATCH):
            holder.replicas.answer(N3, Done())
        await holder.sent(1 + BATCH)
        assert holder.replicas.names().count(N2) == 1


async def test_nothing_goes_to_who_cannot_be_reached_nor_where_handoff_is_off() -> None:
    async with holding(delivers=False, reachable=[N2]) as holder:
        await holder.keep(N2, b"1")
        start(holder)
        assert await holder.sent(0) == []
    async with holding(reachable=[N3]) as holder:
        await holder.keep(N2, b"1")
        start(holder)
        assert await holder.sent(0) == []


async def test_hints_grow_old_also_where_handoff_is_off() -> None:
    async with holding(delivers=False, interval_s=0.001) as holder:
        await holder.keep(N2, b"1")
        start(holder)
        await holder.quiet()
        holder.now_s += 1_001.0
        holder.now_ms += 1_001_000
        backlog = holder.store.backlog()
        await asyncio.wait_for(backlog.empty.wait(), 5)
        assert holder.store.counts.expired == 1


async def test_a_clock_on_the_wall_that_is_set_right_expires_nothing() -> None:
    async with holding(delivers=False, interval_s=0.001) as holder:
        await holder.keep(N2, b"1")
        start(holder)
        for _ in range(20):
            await holder.quiet()
            holder.now_ms += 30 * 86_400_000
            holder.handoff._news.set()
        assert await holder.held() == {N2: 1}


def test_no_hint_is_too_old_before_the_process_is() -> None:
    age = HintAge(100.0)
    assert [age.before_ms(now_s, 10**12) for now_s in (5.0, 50.0, 104.9)] == [None] * 3
    assert age.before_ms(105.0, 10**12) is not None


@given(jumps=st.lists(st.tuples(st.floats(0.1, 60.0), st.integers(-200_000, 200_000)), max_size=60))
def test_whatever_the_wall_shows_no_hint_is_too_old_before_its_time(
    jumps: list[tuple[float, int]],
) -> None:
    """And once it has shown the truth for long enough, ages are what it says."""
    age, now_s, ahead_ms = HintAge(100.0), 1_000.0, 0
    hints: list[tuple[float, int]] = []  # when each was taken, and its stamp
    calm = [(1.0, 0)] * 202
    for passed_s, jump_ms in [*jumps, *calm]:
        now_s += passed_s
        ahead_ms += jump_ms
        wall_ms = int(now_s * 1000) + ahead_ms
        before_ms = age.before_ms(now_s, wall_ms)
        if before_ms is not None:
            assert all(now_s - at_s >= 99.99 for at_s, stamp in hints if stamp < before_ms)
        hints.append((now_s, wall_ms))
    assert before_ms is not None
    assert abs(before_ms - (wall_ms - 100_000)) <= 2


# -- removed nodes ---------------------------------------------------------------------------------


async def test_hints_of_a_removed_node_are_dropped_when_all_who_hold_the_key_have_them() -> None:
    async with holding(reachable=[N1, N2, N3]) as holder:
        holder.know(N1, N2, N3)
        holder.know(N4, state=MemberState.REMOVED)
        await holder.keep(N4, b"1")
        start(holder)
        assert sorted(await holder.sent(3)) == [(node, key(b"1")) for node in (N1, N2, N3)]
        holder.replicas.answer(N1, Done())
        holder.replicas.answer(N3, Done())
        assert await holder.held() == {N4: 1}
        holder.replicas.answer(N2, Done())
        assert await holder.held() == {}
        assert (holder.store.counts.delivered, holder.counters.hints_rehomed) == (1, 1)


async def test_hints_of_a_removed_node_stay_when_one_does_not_take_them() -> None:
    async with holding(reachable=[N1, N2, N3]) as holder:
        holder.know(N1, N2, N3)
        holder.know(N4, state=MemberState.REMOVED)
        await holder.keep(N4, b"1")
        start(holder)
        await holder.sent(3)
        holder.replicas.answer(N2, OVERLOADED)
        holder.answer_all(Done())
        assert await holder.held() == {N4: 1}


@pytest.mark.parametrize("why", ["one is away", "no news yet"])
async def test_hints_of_a_removed_node_wait_until_all_who_should_have_them_are_there(
    why: str,
) -> None:
    async with holding(reachable=[N1, N2]) as holder:
        holder.know(N1, N2, N3)
        holder.know(N4, state=MemberState.REMOVED)
        await holder.keep(N4, b"1")
        if why == "no news yet":
            holder.view.reachable.add(N3)
            holder.serves = False
        start(holder)
        assert await holder.sent(0) == []
        assert await holder.held() == {N4: 1}


# -- waiting ---------------------------------------------------------------------------------------


async def test_waiting_makes_the_holder_look_at_once() -> None:
    async with holding() as holder:
        await holder.keep(N2, b"1")
        start(holder)
        await holder.sent(0)
        holder.view.reachable.add(N2)
        waiting = asyncio.ensure_future(holder.handoff.wait(5.0))
        await holder.sent(1)
        holder.answer_all(Done())
        assert await waiting == (1, {})


async def test_waiting_ends_with_its_time_and_tells_what_is_left() -> None:
    async with holding() as holder:
        await holder.keep(N2, b"1", b"2")
        assert await holder.handoff.wait(0.001) == (2, {N2: 2})


async def test_a_bounded_number_may_wait() -> None:
    async with holding() as holder:
        await holder.keep(N2, b"1")
        waiting = [asyncio.ensure_future(holder.handoff.wait(60.0)) for _ in range(WAITERS_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await holder.handoff.wait(60.0)
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert await holder.handoff.wait(0.001) == (1, {N2: 1})
