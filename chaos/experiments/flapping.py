"""E21: the network between two halves comes and goes, again and again."""

from collections.abc import Iterable, Sequence
from typing import Final

from chaos.checkers.telling import Breach, counted, ruled
from chaos.distrust import acquainted
from chaos.experiment import Experiment, TakePlan, crew
from chaos.experiments.counters import rise
from chaos.experiments.half_split import SIDES
from chaos.experiments.measuring import percent_ok
from chaos.experiments.partitions import OPINIONS
from chaos.judgement import Figure, Findings, RuleOutcome, Table
from chaos.links import PAST, CutKind, split
from chaos.modes import Mode
from chaos.recording import Operation, Recording, Take
from chaos.stage import Stage, Traffic
from chaos.windows import Window, broken
from chaos.workloads.registers import Registers

MODES = (Mode(r=2, w=2, sloppy=False), Mode(r=2, w=2, sloppy=True))

FLAPPING_S = 15.0
LEAST_S, MOST_S = 1.0, 2.0
AFTER_S = 2.5

AFTERWARDS: Final = "acquainted at, s"

DIALS: Final = ("peer_dials_total",)
HINTS: Final = ("hints_stored_total",)

DIALS_HZ_MAX: Final = 5.0
"""For each broken link. Pauses between dials double from 50 ms to 1 s, so a cut of one or two
seconds is dialled six or seven times; without pauses it would be thousands."""

CHANGES_MAX: Final = 4.0
"""For each broken link and cut: lost and found again are two; as much again for a busy machine."""

HINTS_MAX: Final = 3.0
"""For each write: one for each of its homes, if all were lost. Tries again must not add to them."""

CALM: Final = "a link that flaps brings no storm"


class Flapping(Experiment):
    """See the attributes."""

    id = "E21"
    name = "flapping"
    title = "The network between two halves comes and goes"
    hypothesis = (
        "A link that flaps costs what its cuts cost, and no more: who lost a peer dials it at"
        " growing intervals, changes its mind once for each change, and keeps a hint for each write"
        " that it could not deliver, not for each try."
    )
    faults = (
        f"For {FLAPPING_S:g} s all links between n1 n2 and n3 n4 n5 are cut for {LEAST_S:g} to"
        f" {MOST_S:g} s and healed for as long, in turn."
    )
    must_hold = (
        f"At most {DIALS_HZ_MAX:g} dials a second for each broken link, {CHANGES_MAX:g} changes of"
        f" opinion for each of them and each cut, {HINTS_MAX:g} hints for each write. Nothing"
        " acknowledged is lost, siblings are exact, replicas converge without a read."
    )
    predicted = "Afterwards every request is answered, as if nothing had been."

    def takes(self, cuts: Sequence[str], seed: int) -> tuple[TakePlan, ...]:
        return tuple(
            TakePlan(
                name=cut,
                title=f"links {cut}, and healed",
                modes=MODES,
                clients=crew(SIDES),
                sides=SIDES,
                cut=cut,
                expected_s=FLAPPING_S + AFTER_S + 12,
            )
            for cut in cuts
        )

    async def perform(self, stage: Stage) -> None:
        registers = [Registers(mode, keys=60, read_fraction=0.5) for mode in stage.plan.modes]
        async with stage.load(*(Traffic(workload=each, rate_hz=80) for each in registers)):
            await stage.last(2, "all is well")
            await _flap(stage)
            stage.say("waiting until the nodes see each other")
            await acquainted(stage.lab)
            stage.figures[AFTERWARDS] = stage.clock_s()
            await stage.last(AFTER_S, "the network stays")

    def conclude(self, recording: Recording) -> Findings:
        takes = recording.takes
        figures = [figure for take in takes for figure in _figures(take)]
        return Findings(
            observed=" ".join(_in_words(take) for take in takes),
            rules=tuple(calm(take) for take in takes),
            figures=tuple(figures),
            tables=(_table(takes),),
        )


async def _flap(stage: Stage) -> None:
    ways, kind = split(list(SIDES.values())), CutKind(stage.plan.cut)
    until_s = stage.clock_s() + FLAPPING_S
    while stage.clock_s() < until_s:
        async with stage.cut(ways, kind, "n1 n2 | n3 n4 n5"):
            await stage.last(stage.dice.uniform(LEAST_S, MOST_S), "the halves lost each other")
        await stage.last(stage.dice.uniform(LEAST_S, MOST_S), "the halves found each other")


def _in_words(take: Take) -> str:
    window = _flapping(take)
    dials, changes, hints = (rise(take, names, *window) for names in (DIALS, OPINIONS, HINTS))
    answered = percent_ok(window.of(take)) or 0.0
    return (
        f"{PAST[CutKind(take.head.cut)].capitalize()}: {counted(len(take.head.faults), 'cut')} in"
        f" {window.until_s - window.from_s:.0f} s, {answered:.0f} % of requests answered meanwhile,"
        f" {dials:.0f} dials, {changes:.0f} changes of opinion, {hints:.0f} hints; all equal"
        f" {_seconds(take.head.converged_after_s)} after the last request."
    )


def _seconds(seconds: float | None) -> str:
    return "not in time" if seconds is None else f"{seconds:.1f} s"


def _flapping(take: Take) -> Window:
    """From the first cut until a little after the last, when counters have been looked at."""
    window = broken(take)
    assert window is not None, "a take of this experiment has cuts"
    return window._replace(until_s=take.head.figures.get(AFTERWARDS, window.until_s))


def _figures(take: Take) -> tuple[Figure, ...]:
    window = _flapping(take)
    lasted_s = window.until_s - window.from_s
    links, cuts = len(take.head.faults[0].targets), len(take.head.faults)
    dials, changes, hints = (rise(take, names, *window) for names in (DIALS, OPINIONS, HINTS))

    def figure(label: str, measured: float, unit: str = "") -> Figure:
        return Figure(label=label, measured=measured, unit=unit, take=take.name)

    return (
        figure("cuts", cuts),
        figure("dials for each broken link, a second", dials / links / lasted_s, "/s"),
        figure("changes of opinion, for each broken link and cut", changes / links / cuts),
        figure("hints stored, for each write", hints / max(len(_writes(take, window)), 1)),
        figure("hints stored, a second", hints / lasted_s, "/s"),
        Figure(
            label="requests answered once the nodes had seen each other again",
            measured=percent_ok(_afterwards(take)),
            predicted=100.0,
            tolerance=1.0,
            unit="%",
            take=take.name,
        ),
    )


def _writes(take: Take, window: Window) -> list[Operation]:
    return [operation for operation in window.of(take) if operation.is_write]


def _afterwards(take: Take) -> Iterable[Operation]:
    from_s = take.head.figures.get(AFTERWARDS, take.head.duration_s)
    return Window(from_s, take.head.duration_s).of(take)


def calm(take: Take) -> RuleOutcome:
    """Hold what the nodes did against what the cuts gave them reason to do."""
    window = _flapping(take)
    lasted_s = window.until_s - window.from_s
    links, cuts = len(take.head.faults[0].targets), len(take.head.faults)
    writes = len(_writes(take, window))
    found = (
        ("dials", rise(take, DIALS, *window), DIALS_HZ_MAX * links * lasted_s),
        ("changes of opinion", rise(take, OPINIONS, *window), CHANGES_MAX * links * cuts),
        ("hints stored", rise(take, HINTS, *window), HINTS_MAX * writes),
    )
    told = "; ".join(f"{count:.0f} {name}, of {most:.0f} at most" for name, count, most in found)
    unmoved = [name for name, count, _ in found[:2] if not count]
    return ruled(
        CALM,
        take,
        kept=f"in {counted(cuts, 'cut')} of {counted(links, 'link')} each: {told}",
        broken="counts above what the cuts explain",
        breaches=[
            Breach(f"{count:.0f} {name}, of {most:.0f} at most")
            for name, count, most in found
            if count > most
        ],
        unknown=[f"the nodes counted no {name}, though links came and went" for name in unmoved],
    )


def _table(takes: Sequence[Take]) -> Table:
    def answered(take: Take, mode: Mode, windows: Iterable[Window]) -> str:
        asked = [op for w in windows for op in w.of(take) if op.mode == mode.name]
        percent = percent_ok(asked)
        return "" if percent is None else f"{percent:.0f} of {len(asked)}"

    return Table(
        title="Requests answered, %",
        said="By when they were sent. A cut that is shorter than it takes to suspect a silent peer"
        " costs more than one that is known: requests wait for answers that do not come.",
        columns=("links", "mode", "while cut", "while healed in between", "afterwards"),
        rows=tuple(
            (
                take.name,
                mode.name,
                answered(take, mode, _cut(take)),
                answered(take, mode, _healed(take)),
                answered(take, mode, [Window(_flapping(take).until_s, take.head.duration_s)]),
            )
            for take in takes
            for mode in take.head.modes
        ),
    )


def _cut(take: Take) -> list[Window]:
    return [
        Window(fault.began.until_s, fault.ended.from_s)
        for fault in take.head.faults
        if fault.ended is not None
    ]


def _healed(take: Take) -> list[Window]:
    cuts = _cut(take)
    ends = [*(cut.from_s for cut in cuts[1:]), _flapping(take).until_s]
    return [Window(cut.until_s, end_s) for cut, end_s in zip(cuts, ends, strict=True)]
