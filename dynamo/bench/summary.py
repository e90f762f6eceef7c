"""What a run showed: percentiles, rates, failures, CPU per operation. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from hdrh.histogram import HdrHistogram

from dynamo.bench.tally import OperationTally, Tally

_LATENCY_US_MAX = 3_600_000_000
_DIGITS = 3  # an HDR histogram with three digits is right to 0.1 %


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """Percentiles of successful requests, in milliseconds."""

    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationSummary:
    """The answers to one kind of request.

    Attributes:
        ok: successes in time.
        late: successes that came after the deadline, if there is one.
        statuses: how many answers had which status.
        failures: how many requests got no answer, by reason.
        latencies: None if none succeeded.
    """

    ok: int
    late: int
    failed: int
    ok_per_s: float
    latencies: Latencies | None
    statuses: Mapping[int, int]
    failures: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuUse:
    """Seconds of CPU used in the measured time; as `Cpu`, not yet per operation."""

    node_pids: tuple[int, ...]
    nodes_s: float | None
    unknown: str
    load_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """CPU time of the measured seconds, per operation that succeeded.

    Attributes:
        node_pids: the node processes counted.
        nodes_us: all of them together; None if that is not known.
        unknown: why it is not known; "" if it is.
        load_us: the process that made the load.
    """

    node_pids: tuple[int, ...]
    nodes_us: float | None
    unknown: str
    load_us: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Second:
    """One second of the measured time, by when the answers came."""

    second: int
    ok: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All a run showed.

    Attributes:
        duration_s: the measured time.
        never_sent: requests of an open loop that were due and found no free connection.
        dials_failed: connections that did not come about, by reason; nothing was sent on them.
        rss_bytes_max: the most memory that was seen of each node process.
    """

    duration_s: float
    ok: int
    late: int
    failed: int
    never_sent: int
    ok_per_s: float
    operations: Mapping[str, OperationSummary]
    dials_failed: Mapping[str, int]
    cpu: Cpu
    rss_bytes_max: Mapping[int, int]
    seconds: tuple[Second, ...]


def summarize(
    tally: Tally,
    *,
    duration_s: float,
    never_sent: int,
    cpu: CpuUse,
    rss_bytes_max: Mapping[int, int],
) -> Summary:
    """Put together what a tally and the CPU clocks say about `duration_s` of load."""
    operations = {
        str(operation): _operation(answers, duration_s) for operation, answers in tally.operations()
    }
    ok = sum(operation.ok for operation in operations.values())
    us_per_operation = 1e6 / max(1, ok)
    return Summary(
        duration_s=duration_s,
        ok=ok,
        late=sum(operation.late for operation in operations.values()),
        failed=sum(operation.failed for operation in operations.values()),
        never_sent=never_sent,
        ok_per_s=ok / duration_s,
        operations=operations,
        dials_failed=dict(tally.dials_failed),
        cpu=Cpu(
            node_pids=cpu.node_pids,
            nodes_us=None if cpu.nodes_s is None else cpu.nodes_s * us_per_operation,
            unknown=cpu.unknown,
            load_us=cpu.load_s * us_per_operation,
        ),
        rss_bytes_max=dict(rss_bytes_max),
        seconds=_seconds(tally, duration_s),
    )


def _operation(answers: OperationTally, duration_s: float) -> OperationSummary:
    counts = answers.latency_counts()
    ok = sum(counts.values())
    statuses = {status: count for status, count in enumerate(answers.statuses) if count}
    return OperationSummary(
        ok=ok,
        late=answers.late,
        failed=sum(statuses.values()) - ok - answers.late + answers.failures.total(),
        ok_per_s=ok / duration_s,
        latencies=_latencies(counts) if ok else None,
        statuses=statuses,
        failures=dict(answers.failures),
    )


def _latencies(counts: Mapping[int, int]) -> Latencies:
    histogram = HdrHistogram(1, _LATENCY_US_MAX, _DIGITS)
    for latency_us, count in counts.items():
        histogram.record_value(min(max(latency_us, 1), _LATENCY_US_MAX), count)

    def percentile_ms(percentile: float) -> float:
        return float(histogram.get_value_at_percentile(percentile)) / 1000

    return Latencies(
        mean_ms=float(histogram.get_mean_value()) / 1000,
        p50_ms=percentile_ms(50),
        p90_ms=percentile_ms(90),
        p99_ms=percentile_ms(99),
        p999_ms=percentile_ms(99.9),
        max_ms=max(counts) / 1000,
    )


def _seconds(tally: Tally, duration_s: float) -> tuple[Second, ...]:
    # Answers to the last requests may come after the end, and count where they came.
    last = max([ceil(duration_s) - 1, *tally.ok_by_second, *tally.failed_by_second])
    return tuple(
        Second(
            second=second,
            ok=tally.ok_by_second[second],
            failed=tally.failed_by_second[second],
        )
        for second in range(last + 1)
    )
