"""One partition, scanned by R of its replicas at the same time: whom it asks, how pages are merged.

Each replica answers with a page of keys in the order of their places on the disk, and with the last
key it looked at. What all have looked at is told; whoever is not ahead of the others is asked for
its next page. A replica that fails is followed by the next one, which goes on behind what was told.

    n1   a b c d|          told: up to d, then n1 is asked to go on after d
    n2   a b   d e f|      n2 keeps e and f

A stand-in lists what it holds for the primary in whose place it is. Hints have places of another
length, so that long keys may stand in another order there: all hints of the partition are gathered
first, which are few.
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
from dynamo.node.writes import Send
from dynamo.rpc.messages import KeysPage, ListKeys, Reply
from dynamo.storage.hint_rows import prefix_of
from dynamo.storage.objects import PARTITION_BYTES
from dynamo.storage.records import place_of

PAGE_KEYS = 500

HINTED_BYTES_MAX = 16 * 2**20
"""Of keys that a stand-in lists of one partition; of 256, that is 4 GiB of keys in all."""

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
        deadline_s: by the loop's clock.
        failed: who failed to answer; asked again only where nobody else is left.
    """

    view: ClusterView
    send: Send
    clock_s: Callable[[], float]
    prefix: bytes = field(kw_only=True)
    quorum: ReadQuorum = field(kw_only=True)
    conflicts: Conflicts = field(kw_only=True)
    buckets_only: bool = field(kw_only=True)
    deadline_s: float = field(kw_only=True)
    replica_timeout_s: float = field(kw_only=True)
    failed: set[NodeId] = field(default_factory=set, init=False)

    def of_keys(self, prefix: bytes) -> "Coverage":
        """The same of all keys that begin so."""
        return replace(self, prefix=prefix, buckets_only=False)

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

    def timeout_s(self) -> float:
        """How long the next request may take.

        Raises:
            DeadlineExceeded: no time is left.
        """
        remaining_s = self.deadline_s - self.clock_s()
        if remaining_s <= 0:
            raise DeadlineExceeded(definite=True)
        return min(remaining_s, self.replica_timeout_s)


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
        timeout_s = self.coverage.timeout_s()
        self._replace_failed()
        for copy in self._copies:
            if copy.has_page or copy.is_asked:
                continue
            copy.is_asked = True
            self.coverage.send(
                copy.slot.node,
                copy.request(self.partition, self.coverage),
                timeout_s,
                partial(self._on_reply, copy),
            )

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
            if not self._woken.is_set():
                await self._woken.wait()
        # This node answers itself at once: without this, others would have to wait for the end.
        await asyncio.sleep(0)
        return self._merge()

    def _replace_failed(self) -> None:
        """See that as many scan as are needed."""
        coverage = self.coverage
        self._copies = [copy for copy in self._copies if not copy.has_failed]
        slots = [slot for slot in coverage.slots(self.partition) if slot.node not in self._tried]
        while len(self._copies) < coverage.needed:
            if not slots:
                got = len(self._copies)
                raise QuorumError("R", needed=coverage.needed, got=got, definite=True)
            slot = slots.pop(0)
            self._tried.add(slot.node)
            self._copies.append(_Copy(slot, self._told_until))
        primaries = sum(copy.slot.stands_in_for is None for copy in self._copies)
        if primaries < coverage.quorum.pr:
            raise QuorumError("PR", needed=coverage.quorum.pr, got=primaries, definite=True)

    def _on_reply(self, copy: "_Copy", node: NodeId, reply: Reply | DynamoError) -> None:
        copy.take(reply, self.coverage)
        if copy.has_failed:
            self.coverage.failed.add(node)
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
        is_asked: an answer is awaited.
        has_page: it has told something that can be merged.
        has_failed: it will tell nothing more.
        last: the end of its page; b"" if nothing follows.
    """

    __slots__ = (
        "_after",
        "_begin",
        "_dead",
        "_hinted_bytes",
        "_live",
        "_prefix",
        "has_failed",
        "has_page",
        "is_asked",
        "last",
        "slot",
    )

    def __init__(self, slot: Slot, begin: bytes) -> None:
        """Keys up to `begin` are not wanted."""
        target = slot.stands_in_for
        self.slot = slot
        self.is_asked = False
        self.has_page = False
        self.has_failed = False
        self.last = b""
        self._begin = begin
        self._after = begin if target is None else b""
        self._prefix = _ANY_PARTITION if target is None else prefix_of(target)
        self._live: list[bytes] = []
        self._dead: list[bytes] = []
        self._hinted_bytes = 0

    def request(self, partition: int, coverage: Coverage) -> ListKeys:
        """What to ask it next."""
        return ListKeys(
            partition,
            coverage.prefix,
            self._after,
            PAGE_KEYS,
            coverage.buckets_only,
            self.slot.stands_in_for or "",
            coverage.conflicts,
        )

    def take(self, reply: Reply | DynamoError, coverage: Coverage) -> None:
        """Note what it answered."""
        self.is_asked = False
        if type(reply) is not KeysPage or not self._goes_on(reply, coverage):
            self.has_failed = True
        elif self.slot.stands_in_for is None:
            self._live, self._dead, self.last = reply
            self.has_page = True
        else:
            self._gather(reply)

    def _goes_on(self, page: KeysPage, coverage: Coverage) -> bool:
        """Whether a page is one that was asked for; if not, a scan might never end."""
        keys = page.keys + page.dead
        if len(keys) > PAGE_KEYS or not all(map(coverage.is_wanted, keys)):
            return False
        place = partial(place_of, self._prefix)
        return not page.last or place(page.last) > place(self._after)

    def _gather(self, page: KeysPage) -> None:
        self._live += page.keys
        self._dead += page.dead
        self._hinted_bytes += sum(map(len, page.keys)) + sum(map(len, page.dead))
        self._after = page.last
        if self._hinted_bytes > HINTED_BYTES_MAX:
            self.has_failed = True
        elif not page.last:
            self._live = self._behind(self._live)
            self._dead = self._behind(self._dead)
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
            self._after = self.last
            self.has_page = False
        return live[:live_end], dead[:dead_end]


def _order(key: bytes) -> bytes:
    """Where the place of a key is among those of its partition."""
    return place_of(_ANY_PARTITION, key)


def _count_up_to(key: bytes, keys: list[bytes]) -> int:
    """How many of these keys, which are in order, are not behind one."""
    return bisect_right(keys, _order(key), key=_order)
