"""E18: how stale a read may be can be computed from the delays of the network."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from math import sqrt
from typing import Final, NamedTuple

import numpy as np

from chaos.checkers.staleness import Sight, sights
from chaos.experiment import NODES, ClientPlan, Experiment, TakePlan
from chaos.experiments.delays import Delays
from chaos.experiments.measuring import overlap_shows_all
from chaos.judgement import (
    Findings,
    RuleOutcome,
    StalenessCurve,
    StalenessPoint,
    Table,
    Verdict,
)
from chaos.links import Link, Stream, Toxic, latency
from chaos.modes import Mode
from chaos.predictions.staleness import Visibility, visibility
from chaos.recording import Operation, Recording, Take
from chaos.stage import Stage, Traffic
from chaos.windows import broken, quiet
from chaos.workloads.looks import Looks, lag_note
from chaos.workloads.traced import Traced

WRITER, TRACER = "writer", "tracer"
READERS: Final = {f"after{lag_ms}": lag_ms / 1000 for lag_ms in (5, 10, 25, 50, 100, 150)}
"""A reader for each time after the acknowledgement."""

RATES_HZ: Final = {
    Mode(r=1, w=1, sloppy=False): 11.0,
    Mode(r=1, w=2, sloppy=False): 11.0,
    Mode(r=2, w=1, sloppy=False): 11.0,
    Mode(r=2, w=2, sloppy=False): 3.0,
}
"""Writes a second, each looked at six times; where R + W is above N there is less to see."""

TRACED: Final = Mode(r=3, w=3, sloppy=False)
TRACED_HZ: Final = 16.0

KEYS: Final = 60
CALM_S: Final = 3.0
DELAYED_S: Final = 75.0

JITTER_MS: Final = 5

APART_MAX: Final = 2.0
ERROR_MAX: Final = 0.8
"""Points."""

OUTSIDE_MS_MAX: Final = 8.0
"""Between client and coordinator, there and back. Half of it is known to belong to either way only
roughly, and the curves rise by half a point each millisecond: a busier machine blurs them."""

TRIALS: Final = 2_000
"""For each way of a write and a read; a point has hundreds of these."""

PREDICTED: Final = "reads are as stale as the delays make them"


class Point(NamedTuple):
    """Reads in one mode, at one time after the acknowledgement.

    Attributes:
        error: standard error of what is measured, in percent, if the prediction is right.
    """

    mode: Mode
    shown: StalenessPoint
    error: float

    @property
    def apart(self) -> float:
        return abs(self.shown.measured - self.shown.predicted)


class Pbs(Experiment):
    """See the attributes."""

    id = "E18"
    name = "pbs"
    title = "Staleness is predictable"
    hypothesis = (
        "Where R + W is not above N a read may miss the last write, but by no whim: how often, so"
        " and so long after the acknowledgement, follows from the delays between the nodes"
        " (Probabilistically Bounded Staleness, VLDB 2012)."
    )
    faults = (
        "Nothing is cut. On each of the 20 links between nodes requests take a time of their own,"
        " from 10 to 200 ms, give or take 5; replies take none. Read repair, anti-entropy and"
        " hinted handoff are off, so nothing but the write itself brings a value to a replica."
    )
    must_hold = (
        "The share of reads that see the write is within 2 points of the prediction at each time"
        " from 5 ms on; with R=2, W=2 no read is stale."
    )
    predicted = (
        "By the WARS model, with the delays that traced requests met meanwhile: a read sees the"
        " write if one of the replicas that answer it had the write when the read came by."
    )

    def takes(self, cuts: Sequence[str], seed: int) -> tuple[TakePlan, ...]:
        return (
            TakePlan(
                name="delayed",
                title="every link has a delay of its own",
                modes=(*RATES_HZ, TRACED),
                clients=tuple(
                    ClientPlan(name=name, side="roaming", nodes=NODES)
                    for name in (WRITER, TRACER, *READERS)
                ),
                node={
                    "read_repair": False,
                    "anti_entropy": False,
                    "hinted_handoff": False,
                    "replica_timeout_s": 1.0,
                },
                expected_s=CALM_S + DELAYED_S + 14,
            ),
        )

    async def perform(self, stage: Stage) -> None:
        looks = [Looks(mode, readers=READERS, keys=KEYS) for mode in RATES_HZ]
        traced = Traced(TRACED)
        await stage.prepare(*looks, traced)
        placements = {(p.bucket, p.key): p for p in stage.placements.values()}
        traced.locate(placements)
        for each in looks:
            each.locate(placements)
        links = sorted(stage.lab.mesh.node_links)
        stage.dice.shuffle(links)
        trace = Traffic(workload=traced, rate_hz=TRACED_HZ, clients=(TRACER,))
        async with stage.load(trace):
            await stage.last(CALM_S, "measuring the ways without delay")
        writes = [
            Traffic(workload=each, rate_hz=RATES_HZ[each.mode], clients=(WRITER,)) for each in looks
        ]
        # The load ends before the delays do: what is under way must not arrive early.
        async with (
            stage.toxic_each("latency", _delays(links), "each link has its delay"),
            stage.load(trace, *writes),
        ):
            await stage.last(DELAYED_S, "writing, and reading 5 to 150 ms after")

    def conclude(self, recording: Recording) -> Findings:
        take = recording.takes[0]
        window = broken(take)
        delayed = [*window.of(take)] if window else []
        delays = Delays.of(quiet(take).of(take), delayed)
        points = _points(take, delayed, delays)
        return Findings(
            observed=_in_words(points),
            rules=(_as_predicted(take, points, delays), overlap_shows_all(take)),
            staleness=tuple(
                StalenessCurve(
                    mode=mode.name, points=tuple(p.shown for p in points if p.mode == mode)
                )
                for mode in RATES_HZ
            ),
            tables=(_of_links(take, delays),),
        )


def _delays(links: Sequence[Link]) -> dict[Link, list[Toxic]]:
    """10 to 200 ms, evenly, so that most of what may happen does."""
    step_ms = 200 / len(links)
    return {
        link: [latency(Stream.UPSTREAM, round(step_ms * number), JITTER_MS)]
        for number, link in enumerate(links, start=1)
    }


# ---- measured and predicted


def _points(take: Take, delayed: Iterable[Operation], delays: Delays) -> list[Point]:
    looks = {op.index: op for op in delayed if op.note.startswith("lag_ms")}
    by_point: dict[tuple[str, str], list[Sight]] = defaultdict(list)
    for sight in sights(take.operations, take.head.modes):
        look = looks.get(sight.operation)
        if look is not None and sight.newest is not None:
            by_point[look.mode, look.note].append(sight)
    expected = _Expected(take, delays)
    return [
        _point(mode, lag_s, seen, [expected.chance(looks[s.operation], s, mode) for s in seen])
        for mode in RATES_HZ
        for lag_s in READERS.values()
        if (seen := by_point[mode.name, lag_note(lag_s)])
    ]


def _point(mode: Mode, lag_s: float, seen: Sequence[Sight], chances: Sequence[float]) -> Point:
    count = len(seen)
    return Point(
        mode=mode,
        shown=StalenessPoint(
            after_ms=1000 * lag_s,
            measured=100 * sum(sight.shows_newest for sight in seen) / count,
            predicted=100 * sum(chances) / count,
            reads=count,
        ),
        error=100 * sqrt(sum(chance * (1 - chance) for chance in chances)) / count,
    )


class _Expected:
    """What the model says of each read: by who wrote, who read, and where the key lives."""

    def __init__(self, take: Take, delays: Delays) -> None:
        self._homes = {(p.bucket, p.key): p.primaries for p in take.head.placements}
        self._nodes = {op.index: op.node for op in take.operations if op.is_write}
        self._delays = delays
        self._dice = np.random.default_rng(0)
        self._visibility = cache(self._computed)

    def chance(self, look: Operation, sight: Sight, mode: Mode) -> float:
        assert sight.newest is not None
        written_at = self._nodes[sight.newest]
        homes = self._homes[look.place]
        curve = self._visibility(written_at, look.node, homes, mode)
        return curve.chance(sight.since_newest_s)

    def _computed(
        self, written_at: str, read_at: str, homes: tuple[str, ...], mode: Mode
    ) -> Visibility:
        return visibility(
            self._delays.writing(written_at, homes, mode.w),
            self._delays.reading(read_at, homes, mode.r),
            self._dice,
            trials=TRIALS,
        )


# ---- what is said


def _as_predicted(take: Take, points: Sequence[Point], delays: Delays) -> RuleOutcome:
    off = [p for p in points if p.apart > APART_MAX]
    verdict = Verdict.PASS
    if doubts := _doubts(take, points, delays):
        verdict = Verdict.INVALID
        said = "; ".join(doubts)
    elif off:
        verdict = Verdict.FAIL
        said = "; ".join(
            f"{p.mode.name}, {p.shown.after_ms:g} ms after: {p.shown.measured:.1f} % of"
            f" {p.shown.reads} reads saw the write, predicted {p.shown.predicted:.1f} %"
            for p in off
        )
    else:
        said = (
            f"{len(points)} points are at most {max(p.apart for p in points):.1f} points from"
            f" their predictions, with a standard error of {max(p.error for p in points):.1f} at"
            " the most"
        )
    return RuleOutcome(rule=PREDICTED, verdict=verdict, said=said, take=take.name)


def _doubts(take: Take, points: Sequence[Point], delays: Delays) -> list[str]:
    """Why measured and predicted cannot be held against each other, if they cannot."""
    found = [] if points else ["nobody looked"]
    looked_at = [mode for mode in take.head.modes if mode in RATES_HZ]
    if unseen := len(looked_at) * len(READERS) - len(points):
        found.append(f"at {unseen} points there was no read")
    if unsure := [p for p in points if p.error > ERROR_MAX]:
        found.append(f"{len(unsure)} of {len(points)} points have too few reads")
    if missing := delays.missing(take.head.nodes):
        found.append(f"{len(missing)} links were hardly measured: {' '.join(missing)}")
    outside_ms = 1000 * float(np.median(delays.answer_s) + np.median(delays.asking_s))
    if outside_ms > OUTSIDE_MS_MAX:
        found.append(
            f"requests took {outside_ms:.1f} ms between client and coordinator: the machine is too"
            " busy for times like these"
        )
    return found


def _in_words(points: Sequence[Point]) -> str:
    by_mode: Mapping[Mode, list[Point]] = {
        mode: [p for p in points if p.mode == mode] for mode in RATES_HZ
    }
    spans = [
        f"R={mode.r}, W={mode.w} {_from_to(own[0].shown.measured, own[-1].shown.measured)}"
        for mode, own in by_mode.items()
        if own
    ]
    if not spans:
        return "No read came at its time."
    return (
        f"From {points[0].shown.after_ms:g} to {points[-1].shown.after_ms:g} ms after the"
        f" acknowledgement the share of reads that saw the write was {', '.join(spans)}; at most"
        f" {max(p.apart for p in points):.1f} points from what the delays predict."
    )


def _from_to(first: float, last: float) -> str:
    return f"{last:.0f} %" if f"{first:.0f}" == f"{last:.0f}" else f"{first:.0f} to {last:.0f} %"


def _of_links(take: Take, delays: Delays) -> Table:
    nodes = take.head.nodes

    def cell(a: str, b: str) -> str:
        samples = delays.came_s.get((a, b))
        return "" if samples is None or a == b else f"{1000 * float(np.median(samples)):.0f}"

    return Table(
        title="How long requests took",
        said="Milliseconds until a read has come from the node of the row to that of the column, as"
        " receipts of traced requests tell; median. The way back took"
        f" {1000 * delays.back_s:.1f} ms. The prediction is computed from these, and not from what"
        " the links were told.",
        columns=("", *nodes),
        rows=tuple((a, *(cell(a, b) for b in nodes)) for a in nodes),
    )
