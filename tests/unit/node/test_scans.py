"""One partition, scanned by replicas that hold whatever they hold and fail whenever they do."""

import asyncio
import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count, islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo.core.ids import NodeId
from dynamo.core.property_book import PropertyBook
from dynamo.core.quorum import Conflicts, ReadQuorum
from dynamo.core.ring import Ring, RingMember
from dynamo.errors import DeadlineExceeded, PeerLost, QuorumError
from dynamo.node import hinted_keys, scans
from dynamo.node.cluster_view import ClusterView
from dynamo.node.scans import Coverage, Scan
from dynamo.node.writes import OnReply
from dynamo.rpc.messages import Done, KeysPage, ListKeys, Request
from dynamo.storage.records import place_of
from tests.unit.node.replicas import N1, N2, N3, N4, N5
from tests.unit.storage.samples import key

NODES = (N1, N2, N3, N4, N5)
RING = Ring([RingMember(node_id=node, tokens=(t,)) for t, node in enumerate(NODES)], 8)
PREFIX = key(b"k")[:-1]


def _of_the_first_partition(names: Iterable[bytes]) -> Iterator[bytes]:
    return (encoded for encoded in map(key, names) if RING.partition_of(encoded) == 0)


NAMES = [
    *islice(_of_the_first_partition(b"%d" % number for number in count()), 6),
    *islice(_of_the_first_partition(b"k" * 600 + b"%d" % number for number in count()), 4),
]
"""The places of long ones are in the order of their digests."""

Copy = Mapping[bytes, bool]
"""Keys, and whether they are live."""


@dataclass
class Others:
    """Answers soon, from what each node holds, for as long as it does.

    Attributes:
        copies: what each node holds, of its own or of hints.
        answers_left: how many pages each gives before it fails; missing: as many as it takes.
        asked: all requests.
    """

    copies: Mapping[NodeId, Copy]
    answers_left: dict[NodeId, int] = field(default_factory=dict)
    asked: list[tuple[NodeId, ListKeys]] = field(default_factory=list)

    def send(self, node: NodeId, request: Request, timeout_s: float, on_reply: OnReply) -> None:
        assert isinstance(request, ListKeys)
        assert timeout_s > 0
        self.asked.append((node, request))
        left = self.answers_left.get(node, 1)
        if node in self.answers_left:
            self.answers_left[node] = left - 1
        reply = _page(self.copies.get(node, {}), request) if left > 0 else PeerLost("gone")
        asyncio.get_running_loop().call_soon(on_reply, node, reply)


def _page(copy: Copy, request: ListKeys) -> KeysPage:
    prefix = b"a target!" if request.stands_in_for else bytes(2)
    order = functools.partial(place_of, prefix)
    behind = order(request.after) if request.after else b""
    partitions = range(request.partition, request.partition + request.partitions)
    mine = (name for name in copy if RING.partition_of(name) in partitions)
    rest = sorted((name for name in mine if order(name) > behind), key=order)
    some = rest[: request.limit]
    return KeysPage(
        [name for name in some if copy[name]],
        [name for name in some if not copy[name]],
        some[-1] if len(rest) > len(some) else b"",
    )


def coverage(
    others: Others,
    *,
    reachable: tuple[NodeId, ...] = NODES,
    quorum: ReadQuorum | None = None,
    clock_s: Callable[[], float] = lambda: 0.0,
) -> Coverage:
    view = ClusterView(N1, 8, PropertyBook({}, {}))
    view.ring = RING
    view.reachable = set(reachable)
    return Coverage(
        view,
        others.send,
        clock_s,
        prefix=PREFIX,
        quorum=quorum or ReadQuorum(n=3, r=2),
        conflicts=Conflicts.SIBLINGS,
        buckets_only=False,
        deadline_s=10.0,
        replica_timeout_s=1.0,
    )


async def told(scan: Scan) -> tuple[list[bytes], list[bytes]]:
    """All that a scan tells: live keys, contested keys."""
    live: list[bytes] = []
    contested: list[bytes] = []
    while not scan.ended:
        some = await scan.advance()
        live += some.live
        contested += some.contested
    assert len({*live, *contested}) == len(live) + len(contested), "a key was told twice"
    return sorted(live), sorted(contested)


COPIES = st.dictionaries(st.sampled_from(NAMES), st.booleans())


@settings(max_examples=150, deadline=None)
@given(
    one=COPIES,
    other=COPIES,
    limit=st.integers(1, 4),
    reachable=st.sampled_from([NODES, (N1, N2, N5), (N1, N5), (N4, N5)]),
)
async def test_what_two_replicas_hold_is_told_once(
    one: Copy, other: Copy, limit: int, reachable: tuple[NodeId, ...]
) -> None:
    """Whoever they are: this node before others, primaries before stand-ins."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scans, "PAGE_KEYS", limit)
        first, second = sorted(reachable)[:2]
        others = Others({first: one, second: other})
        found = await told(Scan(0, coverage(others, reachable=reachable)))
    both = [*one.items(), *other.items()]
    live = {name for name, is_live in both if is_live}
    dead = {name for name, is_live in both if not is_live}
    assert found == (sorted(live - dead), sorted(live & dead))
    assert {node for node, _ in others.asked} == {first, second}


@settings(max_examples=150, deadline=None)
@given(
    copy=COPIES,
    limit=st.integers(1, 3),
    answers_left=st.dictionaries(st.sampled_from((N1, N2, N3)), st.integers(0, 5), max_size=1),
)
async def test_a_replica_that_fails_is_followed_by_one_that_goes_on(
    copy: Copy, limit: int, answers_left: dict[NodeId, int]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scans, "PAGE_KEYS", limit)
        others = Others(dict.fromkeys((N1, N2, N3), copy), answers_left)
        found = await told(Scan(0, coverage(others)))
    assert found == (sorted(name for name, is_live in copy.items() if is_live), [])


async def test_a_stand_in_is_asked_for_whom_it_stands_in_and_only_where_it_must() -> None:
    others = Others({})
    await told(Scan(0, coverage(others, reachable=(N1, N4, N5))))
    assert [(node, request.stands_in_for) for node, request in others.asked] == [
        (N1, ""),
        (N4, "n2"),
    ]


@pytest.mark.parametrize(
    ("quorum", "reachable", "what", "got"),
    [
        (ReadQuorum(n=3, r=2, sloppy=False), (N1, N4, N5), "R", 1),
        (ReadQuorum(n=3, r=2), (N4,), "R", 1),
        (ReadQuorum(n=3, r=1, pr=2), (N1, N4, N5), "PR", 1),
        (ReadQuorum(n=3, r=3), (), "R", 0),
    ],
)
async def test_too_few_who_could_be_asked_is_an_error_before_anybody_is(
    quorum: ReadQuorum, reachable: tuple[NodeId, ...], what: str, got: int
) -> None:
    others = Others({})
    with pytest.raises(QuorumError) as caught:
        Scan(0, coverage(others, reachable=reachable, quorum=quorum)).begin()
    assert (caught.value.what, caught.value.got, caught.value.definite) == (what, got, True)
    assert others.asked == []


async def test_too_few_who_last_is_an_error() -> None:
    others = Others({}, {N1: 0, N2: 0})
    with pytest.raises(QuorumError):
        await told(Scan(0, coverage(others)))


async def test_whoever_failed_once_is_not_asked_for_the_next_partition() -> None:
    others = Others({}, {N2: 0})
    of_all = coverage(others)
    await told(Scan(0, of_all))
    others.asked.clear()
    await told(Scan(0, of_all))
    assert [node for node, _ in others.asked] == [N1, N3]


async def test_a_scan_has_a_deadline() -> None:
    now_s = 0.0
    scan = Scan(0, coverage(Others({N1: dict.fromkeys(NAMES, True)}), clock_s=lambda: now_s))
    now_s = 10.0
    with pytest.raises(DeadlineExceeded):
        await scan.advance()


@pytest.mark.parametrize(
    "reply",
    [
        KeysPage([key(b"k", b"elsewhere")], [], b""),
        KeysPage([PREFIX], [], b""),
        KeysPage([], [PREFIX + b"k" * 9000], b""),
        KeysPage([key(b"%d" % number) for number in range(501)], [], b""),
        KeysPage([], [], b"\x00"),
        Done(),
    ],
)
@pytest.mark.parametrize("reachable", [NODES, (N1, N4, N5)])
async def test_an_answer_that_makes_no_sense_is_a_failure(
    reply: KeysPage | Done, reachable: tuple[NodeId, ...]
) -> None:
    others = Others({node: {NAMES[0]: True} for node in NODES})

    def send(node: NodeId, request: Request, timeout_s: float, on_reply: OnReply) -> None:
        if node in (N2, N4):
            on_reply(node, reply)
        else:
            others.send(node, request, timeout_s, on_reply)

    of_all = coverage(others, reachable=reachable)
    of_all.send = send
    assert await told(Scan(0, of_all)) == ([NAMES[0]], [])
    assert of_all.failed


async def test_a_stand_in_with_too_many_hints_for_one_partition_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hinted_keys, "HINTED_BYTES_MAX", 1000)
    monkeypatch.setattr(hinted_keys, "GATHERED_BYTES_MAX", 1000)
    others = Others({N4: dict.fromkeys(NAMES, True)})
    with pytest.raises(QuorumError):
        await told(Scan(0, coverage(others, reachable=(N1, N4))))


@pytest.mark.parametrize(
    ("gathered_bytes_max", "passes"), [(10**6, {1}), (1500, {2, 3, 4, 5, 6, 7, 8})]
)
async def test_hints_of_as_many_partitions_as_there_is_room_for_are_looked_through_once(
    monkeypatch: pytest.MonkeyPatch, gathered_bytes_max: int, passes: set[int]
) -> None:
    monkeypatch.setattr(scans, "PAGE_KEYS", 7)
    monkeypatch.setattr(hinted_keys, "GATHERED_BYTES_MAX", gathered_bytes_max)
    names = dict.fromkeys((key(b"%d" % number) for number in range(200)), True)
    others = Others(dict.fromkeys(NODES, names))
    of_all = coverage(others, reachable=(N4, N5))
    begun = [Scan(partition, of_all) for partition in range(8)]
    for scan in begun[:3]:
        scan.begin()
    found = [name for scan in begun for name in (await told(scan))[0]]
    assert sorted(found) == sorted(names)
    begins = Counter(
        (node, request.stands_in_for)
        for node, request in others.asked
        if request.stands_in_for and not request.after
    )
    assert begins
    assert set(begins.values()) <= passes


async def test_nobody_is_asked_for_hints_once_nobody_waits_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scans, "PAGE_KEYS", 1)
    others = Others(dict.fromkeys(NODES, dict.fromkeys(NAMES, True)))
    of_all = coverage(others, reachable=(N1, N4))
    Scan(0, of_all).begin()
    for _ in range(6):
        await asyncio.sleep(0)
    asked = len(others.asked)
    assert 2 < asked < len(NAMES)
    of_all.ended.set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(others.asked) == asked


async def test_others_have_their_turn_while_a_node_asks_itself_for_many_hints(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scans, "PAGE_KEYS", 1)
    copy = dict.fromkeys(NAMES, True)
    turns = asked_in_this_turn = most = 0

    def turn() -> None:
        nonlocal turns, asked_in_this_turn
        turns, asked_in_this_turn = turns + 1, 0
        if turns < 1000:
            asyncio.get_running_loop().call_soon(turn)

    def send(node: NodeId, request: Request, timeout_s: float, on_reply: OnReply) -> None:
        nonlocal asked_in_this_turn, most
        assert isinstance(request, ListKeys)
        asked_in_this_turn += 1
        most = max(most, asked_in_this_turn)
        on_reply(node, _page(copy, request))

    of_all = coverage(Others({}), reachable=(N1, N4))
    of_all.send = send
    turn()
    assert await told(Scan(0, of_all)) == (sorted(NAMES), [])
    assert most <= 4


async def test_a_page_may_be_full_of_keys_that_are_live_and_dead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scans, "PAGE_KEYS", len(NAMES))

    def send(node: NodeId, request: Request, timeout_s: float, on_reply: OnReply) -> None:
        in_order = sorted(NAMES, key=functools.partial(place_of, bytes(2)))
        asyncio.get_running_loop().call_soon(on_reply, node, KeysPage(in_order, in_order, b""))

    of_all = coverage(Others({}))
    of_all.send = send
    assert await told(Scan(0, of_all)) == ([], sorted(NAMES))


async def test_while_a_ring_is_young_all_primaries_are_asked_and_enough_have_to_last() -> None:
    copies = {N1: {}, N2: {}, N3: dict.fromkeys(NAMES, True)}
    others = Others(copies)
    of_all = coverage(others)
    of_all.asks_all = True
    assert await told(Scan(0, of_all)) == (sorted(NAMES), [])
    assert {node for node, _ in others.asked} == {N1, N2, N3}
    of_all = coverage(Others(copies, {N2: 0}))
    of_all.asks_all = True
    assert await told(Scan(0, of_all)) == (sorted(NAMES), [])
    of_all = coverage(Others(copies, {N3: 0}))
    of_all.asks_all = True
    assert await told(Scan(0, of_all)) == ([], [])
    of_all = coverage(Others(copies, {N2: 0, N3: 0}), quorum=ReadQuorum(n=3, r=2, sloppy=False))
    of_all.asks_all = True
    with pytest.raises(QuorumError):
        await told(Scan(0, of_all))
