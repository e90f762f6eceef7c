"""Who is asked before a deleted key is forgotten, and what keeps it from being forgotten."""

import asyncio
import itertools
import random
import tracemalloc
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import replace

import pytest

from dynamo.core.codec import encode_siblings, encode_value
from dynamo.core.ids import Actor, Address, Key, NodeId, encode_key
from dynamo.core.membership import MemberRecord, MemberState
from dynamo.core.property_book import PropertyBook
from dynamo.core.siblings import EMPTY
from dynamo.core.values import Value
from dynamo.errors import BadRequest, CodecError, DynamoError, PeerLost
from dynamo.node import tombstones
from dynamo.node.cluster_view import ClusterView
from dynamo.node.pacing import Pacer
from dynamo.node.stats import Counters
from dynamo.node.tombstone_watch import (
    KEYS_MAX,
    Standing,
    TombstoneAnswers,
    Watch,
    digest_of,
)
from dynamo.node.tombstones import Tombstones
from dynamo.node.writes import OnReply
from dynamo.rpc.messages import (
    Done,
    Reply,
    Request,
    TombstoneAsk,
    TombstoneCollect,
    TombstonesKept,
    TombstoneStands,
)
from dynamo.storage.engine import Table
from dynamo.storage.hints import HintStore
from dynamo.storage.memory_engine import Disk, Fault, MemoryEngine
from dynamo.storage.objects import ObjectStore
from dynamo.storage.tombstones import TombstoneStore

PARTITIONS = 8
A, C = Actor(b"actor--a"), Actor(b"actor--c")
DELETED = encode_siblings(EMPTY.write(A, encode_value(Value(body=b"", deleted=True)), {}, 0))
LIVE = encode_siblings(EMPTY.write(C, encode_value(Value(body=b"x")), {}, 0))

NAMES = [NodeId(f"n{number}") for number in range(1, 6)]


def record(name: NodeId, state: MemberState = MemberState.MEMBER) -> MemberRecord:
    tokens = (NAMES.index(name),) if state is MemberState.MEMBER else ()
    return MemberRecord(
        node_id=name,
        incarnation=1,
        state=state,
        rpc=Address("h", 1),
        http=Address("h", 2),
        weight=1,
        zone="",
        tokens=tokens,
    )


def key_named(name: bytes) -> bytes:
    return encode_key(Key(b"default", b"b", name))


class Member:
    """One node, as far as tombstones go."""

    def __init__(self, name: NodeId, cluster: "Cluster") -> None:
        self.view = ClusterView(name, PARTITIONS, PropertyBook({}, {}))
        for other in NAMES:
            self.view.say(record(other))
            self.view.reachable.add(other)
        self.now_s: Callable[[], float] = lambda: cluster.now_s
        self.disk = Disk()
        self.engine = MemoryEngine(self.disk)
        self.watch = Watch(lambda: self.now_s(), first_number=1, kept_s=1000.0)
        self.list = TombstoneStore(
            self.engine, self._partition_of, lambda: 7, on_change=self.watch.end
        )
        self.objects = ObjectStore(self.engine, self._partition_of, random.Random(1), [self.list])
        self.hints = HintStore(self.engine)
        self.forgotten: list[bytes] = []
        self.answers = TombstoneAnswers(
            self.view,
            self.objects,
            self.hints,
            self.watch,
            lambda: self.now_s(),
            self.forgotten.append,
        )
        self.counters = Counters()
        self.job = Tombstones(
            self.view,
            self.list,
            self.objects,
            cluster.send,
            Pacer(lambda: 0.0, p99_s_max=1.0),
            self.counters,
            lambda: cluster.now_s,
            collects=True,
            settle_s=cluster.settle_s,
            call_timeout_s=1.0,
        )

    def _partition_of(self, key: bytes) -> int:
        return self.view.ring.partition_of(key)

    async def store(self, key: bytes, state: bytes) -> None:
        told: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.objects.merge(key, state, told.set_result)
        assert await told is None

    async def keep_hint(self, key: bytes, state: bytes, target: NodeId) -> None:
        told: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.watch.end(key)
        self.hints.merge(target, key, state, 1, told.set_result)
        await told

    async def deliver_hint(self, key: bytes, state: bytes, target: NodeId) -> None:
        told: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.hints.drop(target, key, state, told.set_result)
        await told

    async def look(self) -> dict[str, int]:
        """One step of the job, without the pause; what is waited for then."""
        await self.job._look_and_collect()
        return {wait.reason: wait.count for wait in self.job.report().waits}


class Cluster:
    """Five nodes that hear each other at once.

    Attributes:
        asked: how often each node was asked.
        before: done before this node is asked for this time; it may answer instead.
        collects: who was told to collect, in order.
    """

    def __init__(self, *, settle_s: float = 0.0) -> None:
        self.settle_s = settle_s
        self.now_s = 0.0
        self.asked: Counter[NodeId] = Counter()
        self.before: dict[tuple[NodeId, int], Callable[[], object]] = {}
        self.collects: list[NodeId] = []
        self.members = {name: Member(name, self) for name in NAMES}
        self.key = key_named(b"k")
        self.primaries = self.members[NAMES[0]].view.preference_list(self.key, 3).primaries
        self.others = [name for name in NAMES if name not in self.primaries]
        self._pending: set[asyncio.Task[None]] = set()

    @property
    def owner(self) -> Member:
        return self.members[self.primaries[0]]

    def send(self, node: NodeId, request: Request, timeout_s: float, on_reply: OnReply) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(node, request, on_reply))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _answer(self, node: NodeId, request: Request, on_reply: OnReply) -> None:
        member = self.members[node]
        try:
            if isinstance(request, TombstoneAsk):
                self.asked[node] += 1
                before = self.before.get((node, self.asked[node]))
                done = before() if before is not None else None
                if isinstance(done, Coroutine):
                    await done
                if isinstance(done, DynamoError | Done | TombstoneStands):
                    on_reply(node, done)
                else:
                    on_reply(node, member.answers.stand(request))
            elif isinstance(request, TombstoneCollect):
                self.collects.append(node)
                member.answers.collect(request, lambda reply: on_reply(node, reply))
        except DynamoError as error:
            on_reply(node, error)

    async def delete(self) -> None:
        for name in self.primaries:
            await self.members[name].store(self.key, DELETED)

    def holders(self) -> list[NodeId]:
        return [name for name, one in self.members.items() if one.objects.get(self.key)]


async def deleted_everywhere(*, settle_s: float = 0.0) -> Cluster:
    cluster = Cluster(settle_s=settle_s)
    await cluster.delete()
    return cluster


# -- what is collected ---------------------------------------------------------------------------


async def test_a_key_that_all_primaries_hold_as_deleted_is_forgotten_the_asking_node_last() -> None:
    cluster = await deleted_everywhere()
    assert await cluster.owner.look() == {}
    assert cluster.holders() == []
    assert cluster.owner.counters.tombstones_collected == 1
    assert set(cluster.asked.values()) == {3}
    assert set(cluster.asked) == set(NAMES)
    assert sorted(cluster.collects) == sorted(cluster.primaries)
    assert cluster.collects[-1] == cluster.primaries[0]


async def test_nobody_but_the_owner_collects() -> None:
    cluster = await deleted_everywhere()
    for name in NAMES:
        if name != cluster.primaries[0]:
            assert await cluster.members[name].look() == {}
    assert not cluster.asked
    assert len(cluster.holders()) == 3


async def test_what_was_not_looked_at_yet_is_told_as_such() -> None:
    cluster = await deleted_everywhere()
    report = cluster.owner.job.report()
    assert (report.held, report.owned, report.oldest_ms) == (1, 1, None)
    assert [(wait.reason, wait.count) for wait in report.waits] == [("not looked at yet", 1)]
    another = cluster.members[cluster.primaries[1]].job.report()
    assert (another.held, another.owned, another.waits) == (1, 0, [])
    cluster.owner.view.reachable.discard(cluster.others[0])
    await cluster.owner.look()
    assert cluster.owner.job.report().oldest_ms == 7


async def test_whoever_is_asked_forgets_what_it_minted_from_nothing() -> None:
    cluster = await deleted_everywhere()
    await cluster.owner.look()
    assert all(one.forgotten == [cluster.key] * 3 for one in cluster.members.values())


async def test_an_entry_whose_key_is_not_deleted_is_struck_out() -> None:
    cluster = await deleted_everywhere()
    place = cluster.owner.disk.scan(Table.TOMBSTONES, b"", None, 1)[0][0]
    entry = cluster.owner.disk.get(Table.TOMBSTONES, place)
    await cluster.owner.store(
        cluster.key, encode_siblings(EMPTY.write(Actor(b"B" * 8), b"", {}, 0))
    )
    assert cluster.owner.list.held == 0
    cluster.owner.disk._keys[Table.TOMBSTONES].append(place)
    cluster.owner.disk._values[Table.TOMBSTONES][place] = entry or b""
    await cluster.owner.look()
    assert not cluster.asked
    await cluster.owner.store(key_named(b"other"), LIVE)  # behind it on the way to the disk
    report = cluster.owner.job.report()
    assert (report.held, report.owned, report.waits) == (0, 0, [])


# -- what keeps it -------------------------------------------------------------------------------


async def test_a_node_that_cannot_be_reached_is_waited_for_and_nobody_is_asked() -> None:
    cluster = await deleted_everywhere()
    cluster.owner.view.reachable.discard(cluster.others[0])
    assert await cluster.owner.look() == {f"{cluster.others[0]} cannot be reached": 1}
    assert not cluster.asked
    [wait] = cluster.owner.job.report().waits
    assert wait.keys == [Key(b"default", b"b", b"k")]


async def test_a_node_that_joins_is_asked_as_well() -> None:
    cluster = await deleted_everywhere()
    joiner = replace(record(NAMES[0], MemberState.JOINING), node_id=NodeId("n9"))
    cluster.owner.view.say(joiner)
    assert await cluster.owner.look() == {"n9 cannot be reached": 1}


async def test_a_removed_node_is_not_asked_once_all_know() -> None:
    cluster = await deleted_everywhere()
    gone = cluster.others[0]
    for name in NAMES:
        if name not in (gone, cluster.others[1]):
            cluster.members[name].view.say(record(gone).removed())
    assert await cluster.owner.look() == {f"{cluster.others[1]} has other news of the cluster": 1}
    cluster.members[cluster.others[1]].view.say(record(gone).removed())
    before = cluster.asked[gone]
    assert await cluster.owner.look() == {}
    assert cluster.asked[gone] == before


async def test_a_replica_without_it_or_with_another_state_is_waited_for() -> None:
    cluster = Cluster()
    second, third = cluster.primaries[1:]
    for name in (cluster.primaries[0], third):
        await cluster.members[name].store(cluster.key, DELETED)
    assert await cluster.owner.look() == {f"{second} does not hold it": 1}
    await cluster.members[second].store(cluster.key, LIVE)
    assert await cluster.owner.look() == {f"{second} holds another state": 1}
    assert len(cluster.holders()) == 3


async def test_a_copy_at_a_node_that_is_no_replica_is_waited_for() -> None:
    cluster = await deleted_everywhere()
    other = cluster.others[0]
    await cluster.members[other].store(cluster.key, LIVE)
    assert await cluster.owner.look() == {f"{other} holds a copy that is not its": 1}


async def test_a_hint_at_any_node_is_waited_for() -> None:
    cluster = await deleted_everywhere()
    other, target = cluster.others
    await cluster.members[other].keep_hint(cluster.key, LIVE, target)
    assert await cluster.owner.look() == {f"{other} keeps a hint": 1}


async def test_a_copy_that_is_not_durable_yet_is_waited_for() -> None:
    cluster = await deleted_everywhere()
    other = cluster.primaries[1]
    member = cluster.members[other]

    def begin_to_store() -> None:
        more = EMPTY.write(Actor(b"actor--b"), encode_value(Value(body=b"", deleted=True)), {}, 0)
        member.objects.merge(cluster.key, encode_siblings(more), lambda error: None)

    cluster.before[other, 1] = begin_to_store
    assert await cluster.owner.look() == {f"{other} is storing it": 1}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (PeerLost("gone"), "did not answer"),
        (Done(), "did not answer"),
        (TombstoneStands(b"", 0, [], []), "answered nonsense"),
        (TombstoneStands(b"", 0, [b"", b""], [1, 1]), "answered nonsense"),
        (TombstoneStands(b"other", 0, [b""], [1]), "has other news of the cluster"),
    ],
)
async def test_an_answer_that_is_none_is_waited_for(answer: Reply, reason: str) -> None:
    cluster = await deleted_everywhere()
    other = cluster.others[0]
    cluster.before[other, 1] = lambda: answer
    assert await cluster.owner.look() == {f"{other} {reason}": 1}


async def test_an_obstacle_of_a_kind_not_known_here_is_one_all_the_same() -> None:
    cluster = await deleted_everywhere()
    other = cluster.others[0]
    facts = cluster.owner.view.facts.hash
    cluster.before[other, 1] = lambda: TombstoneStands(facts, 0, [b""], [-77])
    assert await cluster.owner.look() == {f"{other} has an obstacle": 1}


async def test_a_look_has_an_end_and_the_next_is_at_those_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tombstones, "KEYS_MAX", 2)
    cluster = Cluster(settle_s=0.001)
    owner, (keeper, target) = cluster.owner, cluster.others
    partition = owner._partition_of(cluster.key)
    names = (key_named(b"k%d" % number) for number in itertools.count())
    for key in itertools.islice((k for k in names if owner._partition_of(k) == partition), 6):
        for name in cluster.primaries:
            await cluster.members[name].store(key, DELETED)
    for one in owner.list.page(partition, b"", 2)[0]:
        await cluster.members[keeper].keep_hint(one.key, LIVE, target)

    def take_long() -> None:
        cluster.now_s += 1.0

    cluster.before = {(NAMES[0], question): take_long for question in range(1, 20)}
    hinted = {f"{keeper} keeps a hint": 2}
    assert await owner.look() == hinted | {"not looked at yet": 4}
    assert await owner.look() == {"not looked at yet": 4}
    assert await owner.look() == {"not looked at yet": 2}
    assert await owner.look() == hinted


# -- between the questions -----------------------------------------------------------------------


@pytest.mark.parametrize("question", [2, 3])
async def test_a_hint_that_came_and_went_between_two_questions_begins_it_anew(
    question: int,
) -> None:
    cluster = await deleted_everywhere()
    other, target = cluster.others
    member = cluster.members[other]

    async def come_and_go() -> None:
        await member.keep_hint(cluster.key, LIVE, target)
        await member.deliver_hint(cluster.key, LIVE, target)

    cluster.before[other, question] = come_and_go
    assert await cluster.owner.look() == {"something came for it meanwhile": 1}
    assert len(cluster.holders()) == 3
    assert await cluster.owner.look() == {}
    assert cluster.holders() == []


async def test_a_hint_that_is_not_durable_yet_is_waited_for() -> None:
    cluster = await deleted_everywhere()
    other, target = cluster.others
    member = cluster.members[other]
    cluster.before[other, 1] = lambda: member.hints.merge(
        target, cluster.key, LIVE, 1, lambda error: None
    )
    assert await cluster.owner.look() == {f"{other} keeps a hint": 1}


@pytest.mark.parametrize("question", [2, 3])
async def test_a_copy_that_came_and_went_between_two_questions_begins_it_anew(
    question: int,
) -> None:
    cluster = await deleted_everywhere()
    member = cluster.members[cluster.others[0]]

    async def come_and_go() -> None:
        await member.store(cluster.key, LIVE)
        told: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        assert member.objects.forget(cluster.key, LIVE, told.set_result)
        await told

    cluster.before[cluster.others[0], question] = come_and_go
    assert await cluster.owner.look() == {"something came for it meanwhile": 1}


async def test_a_new_value_that_comes_after_the_last_question_is_kept() -> None:
    cluster = await deleted_everywhere()
    second = cluster.primaries[1]
    member = cluster.members[second]
    new = encode_siblings(EMPTY.write(Actor(b"actor--b"), b"", {}, 0))
    collect = member.answers.collect

    def written_before(request: TombstoneCollect, respond: Callable[[Reply], None]) -> None:
        member.objects.merge(cluster.key, new, lambda error: None)
        collect(request, respond)

    member.answers.collect = written_before  # type: ignore[method-assign]
    assert await cluster.owner.look() == {"not all have dropped it yet": 1}
    assert {second, cluster.primaries[0]} <= set(cluster.holders())


async def test_a_change_of_the_cluster_between_two_questions_begins_it_anew() -> None:
    cluster = await deleted_everywhere()

    def restart() -> None:
        for one in cluster.members.values():
            one.view.say(replace(record(NAMES[4]), incarnation=2))

    cluster.before[NAMES[0], 2] = restart
    assert sum((await cluster.owner.look()).values()) == 1
    assert len(cluster.holders()) == 3
    assert await cluster.owner.look() == {}


async def test_a_node_whose_clock_stood_still_begins_it_anew() -> None:
    cluster = await deleted_everywhere(settle_s=0.001)
    stood_still = cluster.members[cluster.others[0]]
    stood_still.now_s = lambda: 5.0
    for name in NAMES:
        for question in (1, 2, 3):
            cluster.before[name, question] = lambda: setattr(cluster, "now_s", cluster.now_s + 1)
    assert await cluster.owner.look() == {f"{cluster.others[0]} stood still meanwhile": 1}
    assert len(cluster.holders()) == 3


# -- answers -------------------------------------------------------------------------------------


async def test_too_many_keys_or_keys_that_are_none_are_refused() -> None:
    answers = Cluster().owner.answers
    key = key_named(b"k")
    with pytest.raises(BadRequest):
        answers.stand(TombstoneAsk([key] * (KEYS_MAX + 1)))
    with pytest.raises(CodecError):
        answers.stand(TombstoneAsk([b"no key"]))
    for request in (
        TombstoneCollect([key] * (KEYS_MAX + 1), [b""] * (KEYS_MAX + 1)),
        TombstoneCollect([key], []),
    ):
        with pytest.raises(BadRequest):
            answers.collect(request, lambda reply: None)


async def test_of_a_value_only_its_clock_is_looked_at_and_it_is_read_once() -> None:
    cluster = Cluster()
    member, key = cluster.owner, cluster.key
    small, large = (
        encode_siblings(EMPTY.write(A, encode_value(Value(body=body)), {}, 0))
        for body in (b"x", b"x" * 2**20)
    )
    assert digest_of(small) == digest_of(large) != digest_of(None)
    await member.store(key, large)
    reads: list[bytes] = []
    get = member.engine.get

    def counted_get(table: Table, key: bytes) -> bytes | None:
        reads.append(key)
        return get(table, key)

    member.engine.get = counted_get  # type: ignore[method-assign]
    stands = member.answers.stand(TombstoneAsk([key]))
    assert stands.digests == [digest_of(small)]
    assert len(reads) == 1


async def collect(member: Member, keys: list[bytes], digests: list[bytes]) -> Reply:
    told: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    member.answers.collect(TombstoneCollect(keys, digests), told.set_result)
    return await told


async def test_only_tombstones_are_forgotten_whoever_asks_and_each_once() -> None:
    cluster = Cluster()
    member, key = cluster.owner, cluster.key
    assert await collect(member, [], []) == TombstonesKept([])
    assert await collect(member, [b"no key"], [b""]) == TombstonesKept([b"no key"])
    assert await collect(member, [key], [b""]) == TombstonesKept([key])
    await member.store(key, LIVE)
    assert await collect(member, [key], [digest_of(LIVE)]) == TombstonesKept([key])
    assert member.objects.get(key) == LIVE
    deleted = key_named(b"other")
    await member.store(deleted, DELETED)
    assert await collect(member, [deleted], [digest_of(LIVE)]) == TombstonesKept([deleted])
    twice = [deleted, deleted]
    assert await collect(member, twice, [digest_of(DELETED)] * 2) == TombstonesKept([])
    assert member.objects.get(deleted) is None


async def test_a_key_that_the_disk_does_not_drop_is_kept() -> None:
    cluster = await deleted_everywhere()
    member = cluster.owner
    member.engine.fail_next_commit(Fault.FULL)
    kept = await collect(member, [cluster.key], [digest_of(DELETED)])
    assert kept == TombstonesKept([cluster.key])
    assert member.objects.get(cluster.key) == DELETED


# -- watches -------------------------------------------------------------------------------------


def test_a_watch_keeps_its_number_until_something_comes() -> None:
    watch = Watch(lambda: 0.0, first_number=5, kept_s=10.0)
    assert [watch.number(b"a"), watch.number(b"b"), watch.number(b"a")] == [5, 6, 5]
    watch.end(b"a")
    watch.end(b"unknown")
    assert [watch.number(b"a"), watch.number(b"b")] == [7, 6]


def test_a_watch_that_nobody_asks_for_ends() -> None:
    now_s = 0.0
    watch = Watch(lambda: now_s, first_number=1, kept_s=10.0)
    assert watch.number(b"a") == 1
    assert watch.number(b"b") == 2
    now_s = 9.0
    assert watch.number(b"a") == 1
    now_s = 10.0
    assert watch.number(b"a") == 1
    assert len(watch) == 1
    assert watch.number(b"b") == 3


def test_watches_are_bounded_and_those_there_are_go_on() -> None:
    watch = Watch(lambda: 0.0, first_number=1, kept_s=10.0, watched_max=2)
    assert [watch.number(key) for key in (b"a", b"b", b"c")] == [1, 2, Standing.FULL]
    assert watch.number(b"a") == 1


def test_a_watch_over_a_long_key_takes_no_more_than_one_over_a_short_one() -> None:
    watch = Watch(lambda: 0.0, first_number=1, kept_s=10.0)
    tracemalloc.start()
    try:
        for number in range(1000):
            watch.number(b"%04d" % number + bytes(8192))
        taken_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(watch) == 1000
    assert taken_bytes < 500_000
