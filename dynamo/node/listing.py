"""Listing keys and buckets: every partition is scanned once, by as many replicas as a read asks.

A coverage plan: of each partition R replicas go through their keys at the same time, page by page,
and their pages are merged (`scans`). So with R + W > N whatever was acknowledged is listed, as it
would be read, and a partition costs R scans; N for some time after the ring has changed. A key of
which one replica shows a value and another only a tombstone is settled by a read, and so is one of
which a replica has lost the record: what was deleted is not listed, and what replicas agree upon
costs nothing.

The first pages of the next partitions are asked for ahead. Nothing is read that nobody waits for
otherwise: what is listed goes as fast as it is taken.
"""

import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from dynamo.core.conflicts import shown
from dynamo.core.facts import Fact
from dynamo.core.ids import Bucket, Key, decode_key, encode_bucket
from dynamo.core.quorum import Conflicts, ReadQuorum
from dynamo.core.siblings import Siblings
from dynamo.errors import DeadlineExceeded, Overloaded, QuorumError
from dynamo.node.cluster_view import ClusterView
from dynamo.node.scans import RING_YOUNG_S, Coverage, Scan
from dynamo.node.writes import Send

log = logging.getLogger(__name__)

LOOK_AHEAD = 4
"""Partitions that are asked for their first page ahead: as many round trips in one."""

BATCH_KEYS = 100
"""Fewer names wait for those of the next partition, instead of going out by themselves."""

LISTINGS_MAX = 64
"""Each holds some pages while its client reads: 300 KB of common keys, 40 MB of the longest; and
2 MiB of keys of each stand-in (`hinted_keys`)."""


class Get(Protocol):
    """How to read a key through a quorum."""

    async def __call__(self, key: Key, quorum: ReadQuorum, *, timeout_s: float) -> Siblings:
        """What the answering replicas know of `key` together."""
        ...


class Listing:
    """Answers what keys and buckets there are."""

    def __init__(
        self,
        view: ClusterView,
        send: Send,
        get: Get,
        clock_s: Callable[[], float],
        *,
        replica_timeout_s: float,
    ) -> None:
        self._view = view
        self._send = send
        self._get = get
        self._clock_s = clock_s
        self._replica_timeout_s = replica_timeout_s
        self._at_work = 0
        self._ring = view.ring
        self._ring_changed_s = -math.inf
        view.on_change.append(self._on_fact)

    def _on_fact(self, _fact: Fact) -> None:
        if self._view.ring != self._ring:
            self._ring = self._view.ring
            self._ring_changed_s = self._clock_s()

    async def keys(
        self, bucket: Bucket, quorum: ReadQuorum, conflicts: Conflicts, *, timeout_s: float
    ) -> AsyncIterator[list[bytes]]:
        """The names of all live keys of a bucket, some at a time, each once, in no order.

        Raises:
            BadRequest: the bucket is none.
            QuorumError: too few replicas of some partition answered, or can.
            DeadlineExceeded: not in time.
            Overloaded: too many listings are at work.
        """
        prefix = encode_bucket(bucket)
        coverage = self._coverage(prefix, quorum, conflicts, timeout_s)
        batch: list[bytes] = []
        enough = 1  # the first names go out at once
        with self._one_at_work(coverage):
            for scan in self._scans(coverage):
                while not scan.ended:
                    if len(batch) >= enough:
                        yield batch
                        batch = []
                        enough = BATCH_KEYS
                    told = await scan.advance()
                    batch += [key[len(prefix) :] for key in told.live]
                    for key in told.contested:
                        if await self._is_live(key, coverage):
                            batch.append(key[len(prefix) :])
            if batch:
                yield batch

    async def buckets(
        self, bucket_type: bytes, quorum: ReadQuorum, conflicts: Conflicts, *, timeout_s: float
    ) -> AsyncIterator[list[bytes]]:
        """The names of all buckets of a type that hold live keys, each once, in no order.

        All are looked for by the same quorum and policy, those of the type.

        Raises:
            QuorumError: too few replicas of some partition answered, or can.
            DeadlineExceeded: not in time.
            Overloaded: too many listings are at work.
        """
        prefix = bytes([len(bucket_type)]) + bucket_type
        coverage = self._coverage(prefix, quorum, conflicts, timeout_s, buckets_only=True)
        listed: set[bytes] = set()
        with self._one_at_work(coverage):
            for scan in self._scans(coverage):
                # Replicas that jump on at different keys do not say enough of a bucket together.
                in_doubt: set[bytes] = set()
                while not scan.ended:
                    told = await scan.advance()
                    in_doubt.update(decode_key(key).bucket for key in told.contested)
                    found = {decode_key(key).bucket for key in told.live} - in_doubt - listed
                    listed |= found
                    if found:
                        yield sorted(found)
                for name in sorted(in_doubt - listed):
                    whole = coverage.of_keys(encode_bucket(Bucket(bucket_type, name)))
                    if await self._holds_keys(Scan(scan.partition, whole)):
                        listed.add(name)
                        yield [name]

    @property
    def at_work(self) -> int:
        """How many listings have begun and not ended."""
        return self._at_work

    @contextmanager
    def _one_at_work(self, coverage: Coverage) -> Iterator[None]:
        """Count a listing for as long as it lasts; nobody is asked any more then."""
        if self._at_work >= LISTINGS_MAX:
            raise Overloaded(f"{self._at_work} listings are at work, that is the most")
        self._at_work += 1
        try:
            yield
        finally:
            self._at_work -= 1
            coverage.ended.set()

    def _coverage(
        self,
        prefix: bytes,
        quorum: ReadQuorum,
        conflicts: Conflicts,
        timeout_s: float,
        *,
        buckets_only: bool = False,
    ) -> Coverage:
        return Coverage(
            self._view,
            self._send,
            self._clock_s,
            prefix=prefix,
            quorum=quorum,
            conflicts=conflicts,
            buckets_only=buckets_only,
            asks_all=self._clock_s() - self._ring_changed_s < RING_YOUNG_S,
            deadline_s=self._clock_s() + timeout_s,
            replica_timeout_s=self._replica_timeout_s,
        )

    def _scans(self, coverage: Coverage) -> Iterator[Scan]:
        """Scans of all partitions, the next few of them begun."""
        begun: deque[Scan] = deque()
        for partition in range(self._view.ring.partitions):
            scan = Scan(partition, coverage)
            scan.begin()
            begun.append(scan)
            if len(begun) > LOOK_AHEAD:
                yield begun.popleft()
        while begun:
            yield begun.popleft()

    async def _holds_keys(self, scan: Scan) -> bool:
        """Whether there is a live key in what is scanned."""
        while not scan.ended:
            told = await scan.advance()
            if told.live:
                return True
            for key in told.contested:
                if await self._is_live(key, scan.coverage):
                    return True
        return False

    async def _is_live(self, key: bytes, coverage: Coverage) -> bool:
        """Whether a client would be shown a value of a key about which replicas differ."""
        timeout_s = coverage.remaining_s
        if timeout_s <= 0:
            raise DeadlineExceeded(definite=True)
        try:
            state = await self._get(decode_key(key), coverage.quorum, timeout_s=timeout_s)
        except QuorumError:
            # Whether it is listed nobody can say; it has to be found among a million others.
            log.warning("a listing ends at a key that cannot be read", extra={"key": repr(key)})
            raise
        return any(not value.deleted for _, value in shown(state, coverage.conflicts))
