"""E24: a cut under load is healed, and all that was missed is brought back while clients ask on."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from chaos.checkers.telling import Breach, counted, ruled
from chaos.experiment import NODES, Experiment, TakePlan, crew
from chaos.experiments.counters import MENDED, rise
from chaos.experiments.measuring import TAIL_S, availability, percent_ok, quantile_ms
from chaos.judgement import Figure, Findings, RuleOutcome, Table
from chaos.links import CutKind, split
from chaos.modes import Mode
from chaos.recording import Operation, Outcome, Recording, Take
from chaos.stage import Stage, Traffic
from chaos.waiting import until
from chaos.windows import Window, quiet
from chaos.workloads.registers import Registers
from chaos.workloads.workload import PRELOAD

SLOPPY: Final = Mode(r=2, w=2, sloppy=True)
SIDES: Final = {"A": NODES[:2], "B": NODES[2:]}

RATE_HZ: Final = 250
"""Clients, nodes and proxies share two cores, and recovery is to come on top."""

CUT_S: Final = 8.0
"""Once it is known; finding out takes two seconds."""

STORM_S: Final = 10.0
DRAINED_S_MAX: Final = 30.0
"""For hints under load. Who recovers gives way to clients, so a busy machine takes its time."""

TIMES_PROMISED: Final = 3.0
"""What recovery may make of the 99th percentile. A figure and no rule: with clients, nodes and
proxies on the same two cores it says as much of the machine as of the store."""

ANSWERED_MIN: Final = 99.0
LEFT_SHARE_MAX: Final = 0.02

SERVED: Final = "clients are served while the cluster recovers"
DRAINED: Final = "recovery does not wait for silence"

DELIVERED: Final = ("hints_delivered_total",)


class HealStorm(Experiment):
    """See the attributes."""

    id = "E24"
    name = "heal-storm"
    title = "All that was missed comes back while clients ask on"
    hypothesis = (
        "When a cut is healed, hints and anti-entropy bring back what each side missed. They take"
        " what clients leave: requests are answered throughout, and recovery ends under load."
    )
    faults = (
        "All links between n1 n2 and n3 n4 n5 are dropped for about ten seconds of writes to many"
        " keys, and healed; the load goes on."
    )
    must_hold = (
        f"In the {STORM_S:g} s after the cut {ANSWERED_MIN:g} % of requests are answered; hints are"
        f" delivered within {DRAINED_S_MAX:g} s, while clients ask on; nothing is lost."
    )
    predicted = (
        f"The 99th percentile is at most {TIMES_PROMISED:g} times what it was before the cut, on a"
        " machine that has nothing else to do."
    )

    def takes(self, cuts: Sequence[str], seed: int) -> tuple[TakePlan, ...]:
        return (
            TakePlan(
                name="storm",
                title="a cut healed under load",
                modes=(SLOPPY,),
                clients=crew(SIDES),
                sides=SIDES,
                cut=CutKind.DROP.value,
                expected_s=CUT_S + STORM_S + 17,
            ),
        )

    async def perform(self, stage: Stage) -> None:
        registers = Registers(SLOPPY, keys=600, read_fraction=0.4)
        ways = split(list(SIDES.values()))
        async with stage.load(Traffic(workload=registers, rate_hz=RATE_HZ)):
            await stage.last(4, f"{RATE_HZ} requests a second, all is well")
            async with stage.cut(ways, CutKind.DROP, "n1 n2 | n3 n4 n5"):
                await stage.noticed()
                await stage.last(CUT_S, "both sides write, and keep hints for the other")
            await stage.last(STORM_S + 0.5, "the cut is healed: hints and differences are mended")
            await until(lambda: _none_held(stage), within_s=DRAINED_S_MAX - STORM_S)
            await stage.last(1.5, "hints are delivered; clients ask on, so that it is seen")

    def conclude(self, recording: Recording) -> Findings:
        [take] = recording.takes
        calm, storm = _asked(take, quiet(take)), _asked(take, _storm(take))
        before_ms, after_ms = quantile_ms(calm, 0.99), quantile_ms(storm, 0.99)
        times = after_ms / before_ms if before_ms and after_ms else None
        seconds = [*_by_second(take)]
        most = max((second.keys_hz for second in seconds), default=0.0)
        held, drained_s = _held_at(take, _storm(take).from_s), _drained_after_s(take)
        drained = "not in time" if drained_s is None else f"in {drained_s:.1f} s"
        return Findings(
            observed=f"{held:.0f} hints were held when the cut was healed, and delivered {drained},"
            f" up to {most:.0f} keys a second. Meanwhile {percent_ok(storm) or 0:.1f} % of requests"
            f" were answered, 99 of 100 within {after_ms or 0:.0f} ms; before the cut it was"
            f" {before_ms or 0:.0f} ms.",
            rules=(_served(take, storm), _drained(take)),
            figures=(
                Figure(label="p99 before the cut", measured=before_ms, unit="ms"),
                Figure(
                    label=f"p99 in the {STORM_S:g} s after the cut", measured=after_ms, unit="ms"
                ),
                Figure(
                    label=f"p99 after, times before (promised is {TIMES_PROMISED:g} at most)",
                    measured=times,
                ),
                Figure(label="hints held when it was healed", measured=held),
                Figure(label="until they were delivered", measured=drained_s, unit="s"),
                Figure(label="keys brought back in a second, at most", measured=most),
            ),
            availability=availability(recording),
            tables=(_table(seconds),),
        )


def _storm(take: Take) -> Window:
    """From when the cut was healed."""
    healed_s = take.head.mark_s("healed") or 0.0
    quiet_s = take.head.mark_s("quiet") or take.head.duration_s
    return Window(healed_s, min(healed_s + STORM_S, quiet_s - TAIL_S))


def _under_load(take: Take) -> Window:
    """From when the cut was healed for as long as clients asked."""
    return Window(_storm(take).from_s, take.head.mark_s("quiet") or take.head.duration_s)


def _asked(take: Take, window: Window) -> list[Operation]:
    return [operation for operation in window.of(take) if operation.note != PRELOAD]


# ---- hints


def _hints_held(take: Take, from_s: float, until_s: float) -> list[tuple[float, float]]:
    """When somebody looked, and how many hints all nodes held then."""
    return [
        (sample.at_s, sum(seen.get("hints_held", 0.0) for seen in sample.nodes.values()))
        for sample in take.samples
        if from_s <= sample.at_s <= until_s and len(sample.nodes) == len(take.head.nodes)
    ]


def _held_at(take: Take, at_s: float) -> float:
    """How many were held by the last look before an instant."""
    return next((held for _, held in reversed(_hints_held(take, 0.0, at_s))), 0.0)


def _drained_after_s(take: Take) -> float | None:
    """How long after the cut hardly any was left, while clients still asked."""
    window = _under_load(take)
    most = LEFT_SHARE_MAX * _held_at(take, window.from_s)
    looks = _hints_held(take, window.from_s, window.until_s)
    return next((at_s - window.from_s for at_s, held in looks if held <= most), None)


async def _none_held(stage: Stage) -> bool:
    figures = await stage.lab.observer.figures(stage.plan.nodes)
    return not any(seen["hints_held"] for seen in figures.values())


# ---- second by second


@dataclass(frozen=True, slots=True, kw_only=True)
class _Second:
    """What was seen in one second of the recovery.

    Attributes:
        number: from 0, the second in which the cut was healed.
        held: hints at its end.
        delivered_hz: hints delivered, a second.
        mended_hz: keys that anti-entropy brought, a second.
    """

    number: int
    held: float
    delivered_hz: float
    mended_hz: float
    asked: Sequence[Operation]

    @property
    def keys_hz(self) -> float:
        """All that was brought back, a second."""
        return self.delivered_hz + self.mended_hz


def _by_second(take: Take) -> Iterator[_Second]:
    storm = _under_load(take)
    for number in range(int(storm.until_s - storm.from_s)):
        second = Window(storm.from_s + number, storm.from_s + number + 1)
        yield _Second(
            number=number,
            held=_held_at(take, second.until_s),
            delivered_hz=rise(take, DELIVERED, *second),
            mended_hz=rise(take, MENDED, *second),
            asked=_asked(take, second),
        )


def _table(seconds: Iterable[_Second]) -> Table:
    return Table(
        title="The recovery, second by second",
        said="From the moment the cut was healed: what is brought back, and what clients see of it"
        " meanwhile. Counters are looked at twice a second, so a second here is about one.",
        columns=(
            "second",
            "hints held",
            "hints delivered",
            "keys mended by anti-entropy",
            "answered, %",
            "p50, ms",
            "p99, ms",
        ),
        rows=tuple(
            (
                str(second.number),
                f"{second.held:.0f}",
                f"{second.delivered_hz:.0f}",
                f"{second.mended_hz:.0f}",
                f"{percent_ok(second.asked) or 0:.1f}",
                f"{quantile_ms(second.asked, 0.5) or 0:.1f}",
                f"{quantile_ms(second.asked, 0.99) or 0:.1f}",
            )
            for second in seconds
        ),
    )


# ---- rules


def _served(take: Take, storm: Sequence[Operation]) -> RuleOutcome:
    answered = percent_ok(storm)
    failed = [op.index for op in storm if op.outcome is not Outcome.OK]
    said = f"{answered or 0:.2f} % of {counted(len(storm), 'request')} were answered"
    return ruled(
        SERVED,
        take,
        kept=f"after the cut was healed {said}",
        broken="windows in which recovery came before clients",
        breaches=[Breach(said, tuple(failed))]
        if answered is not None and answered < ANSWERED_MIN
        else [],
        unknown=[] if storm else ["nobody asked after the cut"],
    )


def _drained(take: Take) -> RuleOutcome:
    window, after_s = _under_load(take), _drained_after_s(take)
    held, left = _held_at(take, window.from_s), _held_at(take, window.until_s)
    lasted_s = window.until_s - window.from_s
    return ruled(
        DRAINED,
        take,
        kept=f"of {held:.0f} hints at most {LEFT_SHARE_MAX * held:.0f} were left {after_s or 0:.1f}"
        " s after the cut was healed, while clients asked on",
        broken="recoveries did not end under load",
        breaches=[Breach(f"of {held:.0f} hints {left:.0f} were left after {lasted_s:.0f} s of it")]
        if after_s is None
        else [],
        unknown=[] if held else ["no hint was held when the cut was healed"],
    )
