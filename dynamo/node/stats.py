"""What a node counts: plain numbers, made ready for reading only when someone asks.

Names are Riak's where Riak has the figure (`/stats` is read by tools that know them). "Over the
last minute" is a ring of second-wide buckets; latencies of that minute go to an HDR histogram per
half minute, of which the last two are read.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

from hdrh.histogram import HdrHistogram

WINDOW_S = 60
LATENCY_US_MAX = 120_000_000


@dataclass(slots=True, kw_only=True)
class Counters:
    """Counts since the node started.

    Attributes:
        node_gets: reads this node coordinated.
        node_puts: writes this node coordinated.
        vnode_gets: reads this node answered as a replica.
        vnode_puts: writes this node stored as a replica.
        read_repairs: replicas that were sent what a read showed them to lack.
        coord_redirs: writes forwarded to a node that holds the key.
        reads_unmet: reads that failed their quorum or their deadline.
        writes_unmet: writes that failed their quorum or their deadline.
        hints_stored: writes kept for another node.
        hints_delivered: hints that their target has confirmed.
        stand_ins_asked: writes sent to a stand-in after a replica failed them.
        commits_failed: writes that this node could not store.
        objects_fetched: whole objects fetched because versions differed.
    """

    node_gets: int = 0
    node_puts: int = 0
    vnode_gets: int = 0
    vnode_puts: int = 0
    read_repairs: int = 0
    coord_redirs: int = 0
    reads_unmet: int = 0
    writes_unmet: int = 0
    hints_stored: int = 0
    hints_delivered: int = 0
    stand_ins_asked: int = 0
    commits_failed: int = 0
    objects_fetched: int = 0


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


class RecentLatency:
    """Latencies of the last half to whole minute.

    Values gather in a list first: writing to the histogram one by one costs 2 us each, in a batch
    the request does not wait for it.
    """

    BATCH = 512

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._pending: list[int] = []
        self._half_minute = int(clock_s()) // 30
        self._current = HdrHistogram(1, LATENCY_US_MAX, 2)
        self._previous = HdrHistogram(1, LATENCY_US_MAX, 2)

    def add(self, latency_s: float) -> None:
        """One more."""
        self._pending.append(int(latency_s * 1e6))
        if len(self._pending) >= self.BATCH:
            self._flush()

    def _flush(self) -> None:
        half_minute = int(self._clock_s()) // 30
        if half_minute != self._half_minute:
            skipped = half_minute > self._half_minute + 1
            self._previous = HdrHistogram(1, LATENCY_US_MAX, 2) if skipped else self._current
            self._current = HdrHistogram(1, LATENCY_US_MAX, 2)
            self._half_minute = half_minute
        for latency_us in self._pending:
            self._current.record_value(min(max(latency_us, 1), LATENCY_US_MAX))
        self._pending.clear()

    def summary(self) -> dict[str, int]:
        """Mean and percentiles in microseconds; zeros if nothing happened."""
        self._flush()
        both = HdrHistogram(1, LATENCY_US_MAX, 2)
        both.add(self._previous)
        both.add(self._current)
        if both.get_total_count() == 0:
            return dict.fromkeys(("mean", "median", "95", "99", "100"), 0)
        return {
            "mean": int(both.get_mean_value()),
            "median": int(both.get_value_at_percentile(50)),
            "95": int(both.get_value_at_percentile(95)),
            "99": int(both.get_value_at_percentile(99)),
            "100": int(both.get_max_value()),
        }


class Stats:
    """All that one node counts."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self.counters = Counters()
        self.gets = RecentCount(clock_s)
        self.puts = RecentCount(clock_s)
        self.get_latency = RecentLatency(clock_s)
        self.put_latency = RecentLatency(clock_s)

    def read(self) -> dict[str, int | float | str | list[str]]:
        """Everything by its public name: `_total` since the start, the bare name over a minute."""
        named: dict[str, int | float | str | list[str]] = {
            f"{field.name}_total": getattr(self.counters, field.name)
            for field in fields(self.counters)
        }
        named["node_gets"] = self.gets.total()
        named["node_puts"] = self.puts.total()
        for kind, latency in (("get", self.get_latency), ("put", self.put_latency)):
            for name, value in latency.summary().items():
                named[f"node_{kind}_fsm_time_{name}"] = value
        return named
