"""What a node counts: plain numbers, made ready for reading only when someone asks.

Names are Riak's where Riak has the figure (`/stats` is read by tools that know them). "Over the
last minute" is a ring of second-wide buckets; sizes and latencies are counted per half minute, of
which the last two are read.

A new figure is one line: in `Counters` what is counted by adding one, in the list of `Stats` (or of
`operations`, where a part of the node has the number) anything else. Both `/stats` and `/metrics`
show it from then on.
"""

import itertools
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, get_type_hints

from dynamo.core.figures import Buckets, Count, Figure, Gauge, Histogram
from dynamo.core.siblings import Siblings

WINDOW_S = 60

LATENCY_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SIBLINGS_BUCKETS = (0, 1, 2, 3, 5, 10, 20, 50, 100)
OBJECT_BUCKETS_BYTES = tuple(4**power for power in range(4, 14))  # 256 bytes to 64 MiB


@dataclass(slots=True, kw_only=True)
class Counters:
    """Counts since the node started; each says what it counts, as scrapers are told."""

    node_gets: Annotated[int, "reads this node coordinated"] = 0
    node_puts: Annotated[int, "writes this node coordinated"] = 0
    coord_redirs: Annotated[int, "writes forwarded to a node that holds the key"] = 0
    reads_unmet: Annotated[int, "reads that failed their quorum or their deadline"] = 0
    writes_unmet: Annotated[int, "writes that failed their quorum or their deadline"] = 0
    objects_fetched: Annotated[int, "whole objects fetched because versions differed"] = 0
    stand_ins_asked: Annotated[int, "writes sent to a stand-in after a replica failed them"] = 0

    vnode_gets: Annotated[int, "reads this node answered as a replica"] = 0
    vnode_puts: Annotated[int, "writes this node stored as a replica"] = 0
    commits_failed: Annotated[int, "writes that this node could not store"] = 0

    hints_kept_by_coordinator: Annotated[int, "hints kept here for want of a stand-in"] = 0
    hints_rehomed: Annotated[int, "hints of a removed node given to the key's new replicas"] = 0

    read_repairs: Annotated[int, "replicas sent what a read showed them to lack"] = 0
    read_repairs_missing: Annotated[int, "read repairs of replicas without the key"] = 0
    read_repairs_behind: Annotated[int, "read repairs of replicas with an older state"] = 0

    exchanges: Annotated[int, "comparisons with another replica that ended well"] = 0
    exchanges_failed: Annotated[int, "comparisons with another replica that were broken off"] = 0
    exchange_hashes_in: Annotated[int, "tree hashes received from replicas compared with"] = 0
    exchange_hashes_out: Annotated[int, "tree hashes sent to replicas compared with"] = 0
    exchange_keys_compared: Annotated[int, "keys whose states were compared one by one"] = 0
    exchange_keys_pulled: Annotated[int, "keys mended here by a comparison"] = 0
    exchange_keys_pushed: Annotated[int, "keys mended at another replica by a comparison"] = 0
    exchange_keys_failed: Annotated[int, "keys that a comparison found and could not mend"] = 0
    orphans_handed_over: Annotated[int, "keys not of this node's, given to their replicas"] = 0
    tombstones_collected: Annotated[int, "deleted keys forgotten for good"] = 0

    def figures(self) -> list[Figure]:
        """All of them."""
        hints = get_type_hints(type(self), include_extras=True)
        return [
            Count(name, annotated.__metadata__[0], partial(getattr, self, name))
            for name, annotated in hints.items()
        ]


class RecentCount:
    """How often something happened in the last minute."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._seconds = [-1] * WINDOW_S
        self._counts = [0] * WINDOW_S

    def add(self) -> None:
        """It happened."""
        second = int(self._clock_s())
        slot = second % WINDOW_S
        if self._seconds[slot] != second:
            self._seconds[slot] = second
            self._counts[slot] = 0
        self._counts[slot] += 1

    def total(self) -> int:
        """The count of the last minute."""
        oldest = int(self._clock_s()) - WINDOW_S
        return sum(
            count
            for second, count in zip(self._seconds, self._counts, strict=True)
            if second > oldest
        )


class Distribution:
    """How large something was: in the last half to whole minute, and since the start.

    A value is only put on a list. Lists are counted by the batch, which takes 0.3 us a value:
    one by one it would take 1.2 us.
    """

    BATCH = 512

    def __init__(
        self,
        clock_s: Callable[[], float],
        bounds: tuple[float, ...],
        *,
        unit: float = 1,
    ) -> None:
        """Nothing happened yet.

        Args:
            clock_s: tells minutes apart.
            bounds: sizes to count by since the start, ascending.
            unit: the least difference that is looked at. Sizes of the last minute are told in it.
        """
        self._clock_s = clock_s
        self._bounds = bounds
        self._up_to = [0] * len(bounds)
        self._count = 0
        self._total = 0.0
        self._pending: list[float] = []
        self._half_minute = int(clock_s()) // 30
        self._half_unit = unit / 2
        self._units = 1 / unit
        self._current: Counter[int] = Counter()
        self._previous: Counter[int] = Counter()

    def add(self, value: float) -> None:
        """One more."""
        self._pending.append(value)
        if len(self._pending) >= self.BATCH:
            self._flush()

    def _flush(self) -> None:
        half_minute = int(self._clock_s()) // 30
        if half_minute != self._half_minute:
            skipped = half_minute > self._half_minute + 1
            self._previous = Counter() if skipped else self._current
            self._current = Counter()
            self._half_minute = half_minute
        values = self._pending
        values.sort()
        self._count += len(values)
        self._total += sum(values)
        # A clock of whole milliseconds gives differences that miss the bounds by a hair.
        for place, bound in enumerate(self._bounds):
            self._up_to[place] += bisect_right(values, bound + self._half_unit)
        self._current.update([_told_apart(round(value * self._units)) for value in values])
        values.clear()

    def buckets(self) -> Buckets:
        """All since the start."""
        self._flush()
        up_to = tuple(zip(self._bounds, self._up_to, strict=True))
        return Buckets(up_to, self._count, self._total)

    def recent(self) -> dict[str, int]:
        """Mean and percentiles of the last minute; zeros if nothing happened."""
        self._flush()
        # Already counted as coarsely as an HDR histogram would; to fill one takes 7 ms of the loop.
        counts = sorted((self._previous + self._current).items())
        total = sum(times for _, times in counts)
        if not total:
            return dict.fromkeys(("mean", "median", "95", "99", "100"), 0)
        up_to = list(itertools.accumulate(times for _, times in counts))

        def percentile(percent: float) -> int:
            return counts[bisect_left(up_to, total * percent / 100)][0]

        return {
            "mean": sum(value * times for value, times in counts) // total,
            "median": percentile(50),
            "95": percentile(95),
            "99": percentile(99),
            "100": counts[-1][0],
        }


class RecentLatency(Distribution):
    """How long requests took, in seconds; those of the last minute in microseconds."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        super().__init__(clock_s, LATENCY_BUCKETS_S, unit=1e-6)


def _told_apart(value: int) -> int:
    """The smallest value that is taken for the same: two digits count, which are 8 bits.

    There are few of these, so counting them takes little memory, however many values there were.
    """
    dropped = value.bit_length() - 8
    return value >> dropped << dropped if dropped > 0 else value


class Stats:
    """All that one node counts.

    Attributes:
        counters: by adding one.
        gets: reads of the last minute.
        puts: writes of the last minute.
        gets_at_work: reads that have begun and not ended.
        puts_at_work: writes likewise.
        get_latency: of reads, in seconds, whatever came of them.
        put_latency: of writes, likewise.
        figures: what is counted here, declared.
    """

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self.counters = Counters()
        self.gets = RecentCount(clock_s)
        self.puts = RecentCount(clock_s)
        self.gets_at_work = 0
        self.puts_at_work = 0
        self.get_latency = RecentLatency(clock_s)
        self.put_latency = RecentLatency(clock_s)
        self._siblings = Distribution(clock_s, SIBLINGS_BUCKETS)
        self._object_bytes = Distribution(clock_s, OBJECT_BUCKETS_BYTES)
        self.figures: list[Figure] = [
            *self.counters.figures(),
            Gauge("node_get_fsm_active", "reads at work now", lambda: self.gets_at_work),
            Gauge("node_put_fsm_active", "writes at work now", lambda: self.puts_at_work),
            _histogram("get_seconds", "time a read took", self.get_latency, "node_get_fsm_time"),
            _histogram("put_seconds", "time a write took", self.put_latency, "node_put_fsm_time"),
            _histogram(
                "read_siblings",
                "values of a key that was read, tombstones among them; 0 if it was never written",
                self._siblings,
                "node_get_fsm_siblings",
            ),
            _histogram(
                "read_object_bytes",
                "bytes of all values of a key that was read",
                self._object_bytes,
                "node_get_fsm_objsize",
            ),
        ]

    def answered(self, state: Siblings) -> None:
        """A read was answered with `state`."""
        sizes = [len(value) for _, values in state.entries.values() for value in values]
        self._siblings.add(len(sizes))
        if sizes:
            self._object_bytes.add(sum(sizes))

    def recent_counts(self) -> dict[str, int]:
        """What happened in the last minute, by the names of `/stats`; Prometheus rates counts."""
        return {"node_gets": self.gets.total(), "node_puts": self.puts.total()}


def _histogram(name: str, help: str, sizes: Distribution, recent_name: str) -> Histogram:
    return Histogram(name, help, sizes.buckets, recent_name, sizes.recent)
