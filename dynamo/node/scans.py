"""One partition, scanned by its replicas at the same time: whom it asks, how pages are merged.

R of them scan it. Each answers with a page of keys in the order of their places on the disk, and
with the last key it looked at. What all have looked at is told; whoever is not ahead of the others
is asked for its next page. A replica that fails is followed by the next one, which goes on behind
what was told.

    n1   a b c d|          told: up to d, then n1 is asked to go on after d
    n2   a b   d e f|      n2 keeps e and f

While the ring is young, new primaries are still being filled, and there may be several: R of them
could be such that hold nothing yet. Then all primaries that can be reached scan a partition, as a
read asks all, and R of them have to see it through.

A stand-in lists what it holds for the primary in whose place it is, see `hinted_keys`.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from dynamo.core.ids import KEY_BYTES_MAX, NodeId, decode_key
from dynamo.core.quorum import Conflicts, ReadQuorum
from dynamo.core.ring import Slot
from dynamo.errors import CodecError, DeadlineExceeded, DynamoError, QuorumError
from dynamo.node.cluster_view import ClusterView
from dynamo.node.hinted_keys import HintedKeys, Keys
from dynamo.node.writes import OnReply, Send
from dynamo.rpc.messages import KeysPage, ListKeys, Reply
from dynamo.storage.objects import PARTITION_BYTES
from dynamo.storage.records import place_of

PAGE_KEYS = 500

RING_YOUNG_S = 3600.0
"""How long after it changed a ring is young. To fill a node takes minutes; of one so large that it
takes longer, a listing may miss what two of three primaries still lack."""

_ANY_PARTITION = bytes(PARTITION_BYTES)


class Told(NamedTuple):
    """Encoded keys that R replicas have looked at.

    Attributes:
        live: some replica shows a value of them, and none only tombstones.
        contested: some show a value, and some only tombstones.
    """

    live: list[bytes]
    contested: list[bytes]


@dataclass(slots=True)
class Coverage:
    """What one listing wants of all partitions, and whom it can ask.

    Attributes:
        prefix: what the encoded keys begin with.
        quorum: how many replicas scan a partition.
        conflicts: what counts as live.
        buckets_only: no more than one live key of each bucket is wanted.
        asks_all: all primaries that can be reached are to scan, though fewer suffice.
        deadline_s: by the loop's clock.
        ended: nobody waits for it any more.
        failed: who failed to answer; asked again only where nobody else is left.
        hinted: what stand-ins hold.
    """

    view: ClusterView
    send: Send
    clock_s: Callable[[], float]
    prefix: bytes = field(kw_only=True)
    quorum: ReadQuorum = field(kw_only=True)
    conflicts: Conflicts = field(kw_only=True)
    buckets_only: bool = field(kw_only=True)
    asks_all: bool = field(default=False, kw_only=True)
    deadline_s: float = field(kw_only=True)
    replica_timeout_s: float = field(kw_only=True)
    ended: asyncio.Event = field(default_factory=asyncio.Event, kw_only=True)
    failed: set[NodeId] = field(default_factory=set, init=False)
    hinted: HintedKeys = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is sent yet."""
        ring = self.view.ring
        self.hinted = HintedKeys(
            self.request(0), self.ask, self.is_page, ring.partition_of, ring.partitions
        )

    def of_keys(self, prefix: bytes) -> "Coverage":
        """The same of all keys that begin so, for one partition alone."""
        alone = replace(self, prefix=prefix, buckets_only=False)
        alone.hinted.at_once = 1
        return alone

    def request(self, partition: int, after: bytes = b"") -> ListKeys:
        """What to ask of a replica's own copies."""
        return ListKeys(
            partition, self.prefix, after, PAGE_KEYS, self.buckets_only, "", self.conflicts
        )

    def ask(self, node: NodeId, request: ListKeys, on_reply: OnReply) -> bool:
        """Send a request. Returns False, and does not, if it is too late for that."""
        timeout_s = min(self.remaining_s, self.replica_timeout_s)
        if timeout_s <= 0 or self.ended.is_set():
            return False
        self.send(node, request, timeout_s, on_reply)
        return True

    @property
    def remaining_s(self) -> float:
        """How long it may still take."""
        return self.deadline_s - self.clock_s()

    @property
    def needed(self) -> int:
        """How many replicas have to scan a partition."""
        return max(self.quorum.needed, self.quorum.pr)

    def slots(self, partition: int) -> list[Slot]:
        """Who can be asked for a partition now: primaries before stand-ins, this node first."""
        view = self.view
        slots = view.ring.slots(partition, self.quorum.n, view.reachable)
        return sorted(
            (slot for slot in slots if slot.stands_in_for is None or self.quorum.sloppy),
            key=lambda slot: (
                slot.stands_in_for is not None,
                slot.node in self.failed,
                slot.node != view.me,
            ),
        )

    def is_wanted(self, key: bytes) -> bool:
        """Whether these bytes are a key that was asked for."""
        prefix = self.prefix
        if not self.buckets_only:
            return key.startswith(prefix) and 0 < len(key) - len(prefix) <= KEY_BYTES_MAX
        try:
            decode_key(key)
        except CodecError:
            return False
        return key.startswith(prefix)

    def is_page(self, page: KeysPage) -> bool:
        """Whether a page has such keys as were asked for, and not too many."""
        keys, dead, _ = page
        return max(len(keys), len(dead)) <= PAGE_KEYS and all(map(self.is_wanted, keys + dead))


class Scan:
    """The scan of one partition.

    Attributes:
        partition: which.
        coverage: what is wanted of it.
        ended: all was told.
    """

    def __init__(self, partition: int, coverage: Coverage) -> None:
        """Nothing is sent yet."""
        self.partition = partition
        self.coverage = coverage
        self.ended = False
        self._copies: list[_Copy] = []
        self._tried: set[NodeId] = set()
        self._told_until = b""
        self._woken = asyncio.Event()

    def begin(self) -> None:
        """Ask for what is wanted next, of all who are not asked already.

        Raises:
            QuorumError: too few are left who can be asked; definite.
            DeadlineExceeded: no time is left.
        """
        coverage = self.coverage
        if coverage.remaining_s <= 0:
            raise DeadlineExceeded(definite=True)
        self._replace_failed()
        for copy in self._copies:
            if copy.has_page or copy.is_asked:
                continue
            copy.is_asked = True
            if copy.slot.stands_in_for is not None:
                coverage.hinted.follow(copy.slot, self.partition, partial(self._on_hints, copy))
            else:
                request = coverage.request(self.partition, copy.after)
                coverage.ask(copy.slot.node, request, partial(self._on_reply, copy))

    @property
    def _is_ready(self) -> bool:
        """Whether there is something to tell."""
        return bool(self._copies) and all(copy.has_page for copy in self._copies)

    async def advance(self) -> Told:
        """What comes next: keys that were not told yet.

        Raises:
            QuorumError: too few replicas answer; definite.
            DeadlineExceeded: not in time.
        """
        while not self._is_ready:
            self._woken.clear()
            self.begin()
            if self._woken.is_set():
                # This node answers itself at once: others would have to wait for the end.
                await asyncio.sleep(0)
            elif not self._is_ready:  # it may be by now, without who failed
                await self._woken.wait()
        await asyncio.sleep(0)  # as above: what comes may have been there before it was asked for
        return self._merge()

    def _replace_failed(self) -> None:
        """See that as many scan as are needed, or all who can be asked."""
        coverage = self.coverage
        self._copies = [copy for copy in self._copies if not copy.has_failed]
        slots = [slot for slot in coverage.slots(self.partition) if slot.node not in self._tried]
        while len(self._copies) < coverage.needed:
            if not slots:
                got = len(self._copies)
                raise QuorumError("R", needed=coverage.needed, got=got, definite=True)
            self._add(slots.pop(0))
        if coverage.asks_all:
            for slot in slots:
                if slot.stands_in_for is None and slot.node not in coverage.failed:
                    self._add(slot)
        primaries = sum(copy.slot.stands_in_for is None for copy in self._copies)
        if primaries < coverage.quorum.pr:
            raise QuorumError("PR", needed=coverage.quorum.pr, got=primaries, definite=True)

    def _add(self, slot: Slot) -> None:
        self._tried.add(slot.node)
        self._copies.append(_Copy(slot, self._told_until))

    def _on_reply(self, copy: "_Copy", _node: NodeId, reply: Reply | DynamoError) -> None:
        copy.take(reply, self.coverage)
        self._note(copy)

    def _on_hints(self, copy: "_Copy", keys: Keys | None) -> None:
        copy.take_hints(keys)
        self._note(copy)

    def _note(self, copy: "_Copy") -> None:
        if copy.has_failed:
            self.coverage.failed.add(copy.slot.node)
        self._woken.set()

    def _merge(self) -> Told:
        """Tell what all have looked at."""
        ends = [copy.last for copy in self._copies if copy.last]
        until = min(ends, key=_order) if ends else None
        live: dict[bytes, None] = {}
        dead: set[bytes] = set()
        for copy in self._copies:
            keys, gone = copy.taken(until)
            live.update(dict.fromkeys(keys))
            dead.update(gone)
        if until is None:
            self.ended = True
        else:
            self._told_until = until
        if dead.isdisjoint(live):
            return Told(list(live), [])
        return Told([key for key in live if key not in dead], [key for key in live if key in dead])


class _Copy:
    """How far one replica has come.

    Attributes:
        slot: who it is.
        after: the last key it looked at.
        is_asked: an answer is awaited.
        has_page: it has told something that can be merged.
        has_failed: it will tell nothing more.
        last: the end of its page; b"" if nothing follows.
    """

    __slots__ = (
        "_begin",
        "_dead",
        "_live",
        "after",
        "has_failed",
        "has_page",
        "is_asked",
        "last",
        "slot",
    )

    def __init__(self, slot: Slot, begin: bytes) -> None:
        """Keys up to `begin` are not wanted."""
        self.slot = slot
        self.after = begin
        self.is_asked = False
        self.has_page = False
        self.has_failed = False
        self.last = b""
        self._begin = begin
        self._live: list[bytes] = []
        self._dead: list[bytes] = []

    def take(self, reply: Reply | DynamoError, coverage: Coverage) -> None:
        """Note what it answered."""
        self.is_asked = False
        if type(reply) is not KeysPage or not self._goes_on(reply, coverage):
            self.has_failed = True
        else:
            self._live, self._dead, self.last = reply
            self.has_page = True

    def _goes_on(self, page: KeysPage, coverage: Coverage) -> bool:
        """Whether a page is one that was asked for; if not, a scan might never end."""
        return coverage.is_page(page) and (not page.last or _order(page.last) > _order(self.after))

    def take_hints(self, keys: Keys | None) -> None:
        """Note all that a stand-in holds."""
        self.is_asked = False
        if keys is None:
            self.has_failed = True
        else:
            self._live, self._dead = map(self._behind, keys)
            self.has_page = True

    def _behind(self, keys: list[bytes]) -> list[bytes]:
        """Those that are wanted, in order."""
        keys = sorted(keys, key=_order)
        return keys[_count_up_to(self._begin, keys) :] if self._begin else keys

    def taken(self, until: bytes | None) -> tuple[list[bytes], list[bytes]]:
        """Give up the keys up to one, or all; live ones and dead ones."""
        live, dead = self._live, self._dead
        if until is None:
            self._live, self._dead = [], []
            return live, dead
        live_end, dead_end = _count_up_to(until, live), _count_up_to(until, dead)
        self._live, self._dead = live[live_end:], dead[dead_end:]
        if self.last and _order(self.last) <= _order(until):
            self.after = self.last
            self.has_page = False
        return live[:live_end], dead[:dead_end]


def _order(key: bytes) -> bytes:
    """Where the place of a key is among those of its partition."""
    return place_of(_ANY_PARTITION, key)


def _count_up_to(key: bytes, keys: list[bytes]) -> int:
    """How many of these keys, which are in order, are not behind one."""
    return bisect_right(keys, _order(key), key=_order)
