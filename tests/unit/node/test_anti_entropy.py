"""What an exchange costs, between two whole replicas and with every byte of it counted."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence

import pytest

from dynamo.core.codec import encode_siblings
from dynamo.core.ids import Actor, NodeId
from dynamo.core.property_book import PropertyBook
from dynamo.core.ring import Ring, RingMember
from dynamo.core.siblings import EMPTY
from dynamo.errors import BadRequest, DynamoError, ProtocolError
from dynamo.node import anti_entropy, comparison
from dynamo.node.anti_entropy import AntiEntropy
from dynamo.node.cluster_view import ClusterView
from dynamo.node.comparison import TreeAnswers
from dynamo.node.divergence import Divergence
from dynamo.node.pacing import Pacer
from dynamo.node.replica import Replica, Respond
from dynamo.node.stats import Counters
from dynamo.node.writes import OnReply
from dynamo.rpc.failures import to_failed
from dynamo.rpc.frames import FRAME_BYTES_MAX, Encoder
from dynamo.rpc.messages import (
    Held,
    KeysPage,
    ListTreeKeys,
    ReadTrees,
    ReplicaGet,
    ReplicaPut,
    Reply,
    Request,
    TreeDigests,
    TreeKeys,
)
from dynamo.storage.engine import Operation, Put, Table
from dynamo.storage.hints import HintStore
from dynamo.storage.memory_engine import Disk, MemoryEngine
from dynamo.storage.objects import ObjectStore
from dynamo.storage.records import place_of, seal
from dynamo.storage.trees import Trees
from tests.unit.storage.samples import A, B, Told, key

PARTITIONS = 256
N1, N2 = NodeId("n1"), NodeId("n2")
RING = Ring([RingMember(node_id=node, tokens=(t,)) for node, t in ((N1, 0), (N2, 128))], PARTITIONS)

KEYS = [key(b"key-%06d" % number) for number in range(100_000)]


def written(by: Actor) -> bytes:
    return encode_siblings(EMPTY.write(by, b"v" * 100, {}, 0))


OLD, NEW = written(A), encode_siblings(EMPTY.write(A, b"v", {}, 0).write(B, b"w" * 100, {A: 1}, 0))


class Crossed:
    """What went over the wire, both ways.

    Attributes:
        counts: messages, hashes, entries of keys, whole objects.
        bytes: in frames.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.bytes = 0
        self._encoder = Encoder(FRAME_BYTES_MAX)

    def request(self, request: Request) -> None:
        self.counts["messages"] += 1
        self.counts["objects"] += isinstance(request, ReplicaPut)
        self.bytes += len(self._encoder.request(1, request, 2000, 1))

    def reply(self, request: Request, reply: Reply) -> None:
        if isinstance(reply, TreeDigests):
            self.counts["hashes"] += len(reply.digests)
        elif isinstance(reply, TreeKeys):
            self.counts["entries"] += len(reply.keys)
        elif isinstance(request, ReplicaGet):
            self.counts["clocks" if request.version_only else "objects"] += 1
        assert not isinstance(reply, KeysPage)
        self.bytes += len(self._encoder.reply(1, reply))


class Node:
    """One replica, with all that an exchange needs."""

    def __init__(self, me: NodeId, disk: Disk, crossed: Crossed) -> None:
        clock_s = asyncio.get_running_loop().time
        engine = MemoryEngine(disk)
        view = ClusterView(me, PARTITIONS, PropertyBook({}, {}))
        view.ring = RING
        view.reachable = {N1, N2}
        self.counters = Counters()
        self.trees = Trees(engine, PARTITIONS, RING.partition_of, lambda bucket: 3)
        self.objects = ObjectStore(engine, RING.partition_of, random.Random(me), [self.trees])
        self.answers = TreeAnswers(view, self.trees, self.counters)
        hints = HintStore(engine, bytes_max=2**20, queued_bytes_max=2**20)
        self.replica = Replica(self.objects, hints, self.counters, lambda: 0, partitions=PARTITIONS)
        self.peer: Node | Liar | None = None
        self._crossed = crossed
        pacer = Pacer(clock_s, p99_s_max=1)
        pacer.rate = 1e6
        self.anti_entropy = AntiEntropy(
            view,
            self.trees,
            self.answers,
            self.objects,
            self._send,
            pacer,
            self.counters,
            random.Random(1),
            is_serving=lambda: True,
            interval_s=1,
            call_timeout_s=1,
        )

    def _send(self, node: NodeId, request: Request, timeout_s: float, on_reply: OnReply) -> None:
        assert self.peer is not None
        self._crossed.request(request)
        loop = asyncio.get_running_loop()

        def respond(reply: Reply) -> None:
            self._crossed.reply(request, reply)
            loop.call_soon(on_reply, node, reply)

        try:
            self.peer.answer(request, respond)
        except DynamoError as error:
            respond(to_failed(error))

    def answer(self, request: Request, respond: Respond) -> None:
        if isinstance(request, ReadTrees):
            respond(self.answers.read(request))
        elif isinstance(request, ListTreeKeys):
            respond(self.answers.list_keys(request))
        elif isinstance(request, ReplicaGet):
            respond(self.replica.get(request))
        elif isinstance(request, ReplicaPut):
            self.replica.put(request, respond)

    def trees_equal(self, other: "Node") -> bool:
        question = ReadTrees(3, BITS, [1])
        return self.answers.digests(question) == other.answers.digests(question)

    async def load(self) -> None:
        self.trees.begin_load(range(PARTITIONS))
        told = Told()
        self.trees.barrier(told)
        await told.error()
        for partition in range(PARTITIONS):
            while self.trees.load_page(partition, 1000):
                pass

    async def merge(self, name: bytes, state: bytes) -> None:
        told = Told()
        self.objects.merge(name, state, told)
        assert await told.error() is None


def filled(names: Sequence[bytes]) -> Disk:
    """A disk with these keys, as a node leaves it."""
    trees = Trees(MemoryEngine(Disk()), PARTITIONS, RING.partition_of, lambda bucket: 3)
    operations: list[Operation] = []
    for name in names:
        place = place_of(RING.partition_of(name).to_bytes(2, "big"), name)
        operations.append(Put(Table.OBJECTS, place, seal(place, name, OLD)))
        operations += trees.along(name, None, OLD)
    disk = Disk()
    for operation in sorted(operations, key=lambda operation: operation.key):
        disk.apply(operation)
    return disk


async def pair(names: Sequence[bytes]) -> tuple[Node, Node, Crossed]:
    crossed = Crossed()
    disk = filled(names)
    one, other = Node(N1, disk, crossed), Node(N2, disk.copy(), crossed)
    one.peer, other.peer = other, one
    await one.load()
    await other.load()
    return one, other, crossed


async def test_ten_keys_of_a_hundred_thousand_cost_what_ten_keys_cost() -> None:
    one, other, crossed = await pair(KEYS)
    await one.anti_entropy.exchange(N2)
    # Equal replicas: one question and one hash.
    assert crossed.counts == {"messages": 1, "objects": 0, "hashes": 1}
    differing = random.Random(1).sample(KEYS, 10)
    for number, name in enumerate(differing):
        await (one if number % 2 else other).merge(name, NEW)
    crossed.counts.clear()
    crossed.bytes = 0
    assert not await one.anti_entropy.exchange(N2)
    assert all(node.objects.get(name) == NEW for node in (one, other) for name in differing)
    assert crossed.counts["hashes"] <= 200
    assert crossed.counts["entries"] <= 20
    assert crossed.counts["objects"] == 10
    assert crossed.bytes <= 10_000
    crossed.counts.clear()
    assert not await one.anti_entropy.exchange(N2)
    assert not await other.anti_entropy.exchange(N1)
    assert crossed.counts == {"messages": 2, "objects": 0, "hashes": 2}


async def test_a_replica_with_nothing_gets_everything_at_the_cost_of_a_few_hashes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As if there were many more keys: listings of several pages, and several exchanges.
    monkeypatch.setattr(comparison, "KEYS_PAGE_MAX", 100)
    monkeypatch.setattr(anti_entropy, "KEYS_MAX", 1000)
    one, other, crossed = await pair([])
    for start in range(0, 3000, 500):
        await asyncio.gather(*(one.merge(name, OLD) for name in KEYS[start : start + 500]))
    rounds = 1
    while await other.anti_entropy.exchange(N1):
        rounds += 1
    assert rounds == 4
    assert all(other.objects.get(name) == OLD for name in KEYS[:3000])
    assert crossed.counts["objects"] == 3000
    assert crossed.counts["hashes"] < 100
    assert crossed.counts["entries"] < 3500
    assert one.trees_equal(other)


@pytest.mark.parametrize("seed", range(5))
async def test_however_small_the_messages_two_replicas_end_equal(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bound in ("NODES_MAX", "LISTED_NODES_MAX", "KEYS_PAGE_MAX"):
        monkeypatch.setattr(comparison, bound, 3)
    monkeypatch.setattr(comparison, "_BREADTH_MAX", 40)
    monkeypatch.setattr(anti_entropy, "KEYS_MAX", 20)
    dice = random.Random(seed)
    # All in two partitions, and so below the same nodes.
    names = [name for name in KEYS if RING.partition_of(name) in (3, 200)]
    one, other, _ = await pair(dice.sample(names, 300))
    for node in (one, other):
        for name in dice.sample(names, 60):
            await node.merge(name, dice.choice([OLD, NEW, written(B)]))
    rounds = 0
    while not one.trees_equal(other):
        await one.anti_entropy.exchange(N2)
        rounds += 1
        assert rounds < 30
    for name in names:
        assert one.objects.get(name) == other.objects.get(name)


@pytest.mark.parametrize("seed", range(5))
async def test_a_comparison_in_small_pages_names_the_keys_that_differ_and_no_others(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "KEYS_PAGE_MAX", 3)
    dice = random.Random(seed)
    names = [name for name in KEYS if RING.partition_of(name) == 3]
    one, other, _ = await pair([])
    for name in names[:200]:
        await one.merge(name, OLD)
    for name in [*dice.sample(names[:200], 190), *names[200:210]]:
        await other.merge(name, dice.choice([OLD, OLD, OLD, NEW]))
    found = [
        difference.key
        async for page in one.anti_entropy._comparison(N2, 3).differences()
        for difference in page
    ]
    assert len(found) == len(set(found))
    assert set(found) == {n for n in names if one.objects.get(n) != other.objects.get(n)}


BITS = comparison.bits_of(range(PARTITIONS), PARTITIONS)


@pytest.mark.parametrize(
    "request_",
    [
        ReadTrees(0, BITS, [1]),
        ReadTrees(10**9, BITS, [1]),
        ReadTrees(3, BITS[1:], [1]),
        ReadTrees(3, b"", []),
        ReadTrees(3, BITS, [0]),
        ReadTrees(3, BITS, [-1]),
        ReadTrees(3, BITS, [2**19]),
        ReadTrees(3, BITS, [1] * 257),
        ListTreeKeys(3, BITS, [2**64], b"", 10),
        ListTreeKeys(3, BITS, [1] * 129, b"", 10),
        ListTreeKeys(3, BITS, [1], b"", 0),
        ListTreeKeys(3, BITS, [1], b"", 1001),
        ListTreeKeys(-3, BITS, [1], b"", 10),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(
    request_: ReadTrees | ListTreeKeys,
) -> None:
    node, _, _ = await pair(KEYS[:10])
    with pytest.raises(BadRequest):
        node.answer(request_, lambda reply: None)


async def test_a_listing_from_a_key_that_is_none_or_of_nowhere_is_an_empty_one() -> None:
    node, _, _ = await pair(KEYS[:10])
    for after in (b"\xff" * 9000, b"\0", KEYS[20]):
        page = node.answers.list_keys(ListTreeKeys(3, BITS, [1], after, 10))
        assert len(page.keys) <= 10
    assert node.answers.list_keys(ListTreeKeys(3, BITS, [], b"", 10)) == TreeKeys([], [], b"")


class Liar:
    """Answers all questions with the same."""

    def __init__(self, digests: TreeDigests, keys: TreeKeys) -> None:
        self._replies: dict[type, Reply] = {ReadTrees: digests, ListTreeKeys: keys}
        self.asked = 0

    def answer(self, request: Request, respond: Respond) -> None:
        self.asked += 1
        respond(self._replies.get(type(request), Held(b"nonsense")))


@pytest.mark.parametrize(
    "digests", [[], [1], [1, 2], [-(2**63)], [0]], ids=["none", "one", "two", "negative", "zero"]
)
@pytest.mark.parametrize(
    "keys",
    [
        TreeKeys([], [], b""),
        TreeKeys([b"k"], [], b""),
        TreeKeys([b"", b"\xff" * 99], [1, 2], b""),
        TreeKeys([], [], KEYS[0]),
        TreeKeys([KEYS[0]] * 3, [1, 2, 3], KEYS[5]),
    ],
)
@pytest.mark.parametrize("absent", [b"", BITS, bytes(32), b"\1", b"\xff" * 100])
async def test_a_peer_that_answers_nonsense_ends_the_exchange_and_nothing_else(
    digests: list[int], keys: TreeKeys, absent: bytes
) -> None:
    node, _, _ = await pair(KEYS[:10])
    liar = Liar(TreeDigests(digests, absent, [3, -1, 0, 2**63, *range(5)]), keys)
    node.peer = liar
    before = [node.objects.get(name) for name in KEYS[:10]]
    await node.anti_entropy.exchange(N2)
    assert liar.asked < 1000
    assert [node.objects.get(name) for name in KEYS[:10]] == before


@pytest.mark.parametrize("absent", [b"\1", bytes(31), bytes(33), b"\xff" * 2**20])
async def test_a_peer_that_names_other_partitions_than_there_are_gives_no_answer(
    absent: bytes,
) -> None:
    node, _, _ = await pair(KEYS[:10])
    node.peer = Liar(TreeDigests([1], absent, [3]), TreeKeys([], [], b""))
    with pytest.raises(ProtocolError, match="no answer to 1 nodes"):
        await anext(node.anti_entropy._comparison(N2, 3).differences())


@pytest.mark.parametrize("absent", [bytes(31), bytes(33)])
async def test_a_report_counts_a_replica_as_silent_that_names_other_partitions_than_there_are(
    absent: bytes,
) -> None:
    node, other, _ = await pair(KEYS[:10])

    class Padded(Liar):
        """Answers what is right, and one thing that cannot be."""

        def answer(self, request: Request, respond: Respond) -> None:
            assert isinstance(request, ReadTrees)
            respond(other.answers.read(request)._replace(absent=absent))

    node.peer = Padded(TreeDigests([], b"", []), TreeKeys([], [], b""))
    view = ClusterView(N1, PARTITIONS, PropertyBook({}, {}))
    view.ring = RING

    def send(to: NodeId, request: Request, timeout_s: float, on_reply: OnReply) -> None:
        if to == N2:
            node._send(to, request, timeout_s, on_reply)
        else:
            node.answer(request, lambda reply: on_reply(to, reply))

    divergence = Divergence(view, node.trees, send, random.Random(1), call_timeout_s=1.0)
    report = await divergence.report(keys_max=10, timeout_s=10.0)
    assert {tuple(compared.silent) for compared in report.partitions} == {(N2,)}
