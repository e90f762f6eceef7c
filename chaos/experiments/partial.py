"""E5: two nodes do not hear each other, and all others hear both."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

from chaos.checkers.telling import Breach, counted, ruled
from chaos.experiment import NODES, Experiment, TakePlan, crew
from chaos.experiments.costs import nothing_stale
from chaos.experiments.counters import MENDED, rise
from chaos.experiments.measuring import asked_everywhere, availability_in_words
from chaos.experiments.partitions import (
    availability_of,
    known,
    stale_figures,
    stale_table,
)
from chaos.judgement import Figure, Findings, RuleOutcome
from chaos.links import CutKind, between, preferred
from chaos.modes import Mode
from chaos.recording import Operation, Outcome, Recording, Take
from chaos.stage import Stage, Traffic
from chaos.waiting import until
from chaos.windows import noticed
from chaos.workloads.registers import Registers
from chaos.workloads.workload import Workload

ONE, OTHER = "n1", "n2"
PAIR = frozenset((ONE, OTHER))
SIDES = {ONE: (ONE,), OTHER: (OTHER,), "both": NODES[2:]}

MODES = (
    Mode(r=2, w=2, sloppy=False),
    Mode(r=2, w=2, sloppy=True),
    Mode(r=1, w=1, sloppy=True),
)

CUT_S = 6.0
RELAYED_S_MAX: Final = 20.0
"""Anti-entropy, once a second here, has to get there in two steps; more is no answer to a cut."""

RELAYED: Final = "replicas converge through others while the cut lasts"

HINTS: Final = ("hints_delivered_total",)
EQUAL: Final = "equal while the cut lasted, after, s: "


class Partial(Experiment):
    """See the attributes."""

    id = "E5"
    name = "partial"
    title = "Two nodes do not hear each other, all others hear both"
    hypothesis = (
        "Two replicas that cannot speak to each other are kept alike by those who can speak to"
        " both: stand-ins hand over their hints, and anti-entropy carries what a third has. Nobody"
        " has to wait for the cut to end."
    )
    faults = (
        f"All links between {ONE} and {OTHER} are cut. Clients write for {CUT_S:g} s more, then"
        " they stop, while the cut lasts on."
    )
    must_hold = (
        f"Within {RELAYED_S_MAX:g} s after the last request all replicas are equal, {ONE} and"
        f" {OTHER} among them, though the two still do not hear each other. Nothing acknowledged is"
        " lost, siblings are exact, strict quorums that overlap are never stale."
    )
    predicted = (
        "From the ring: every key has two homes that hear each other, whoever is asked, so"
        " everything is answered. Sloppy quorums may show a stale value until the hint is there,"
        " strict ones of R=W=2 never do."
    )

    def takes(self, cuts: Sequence[str], seed: int) -> tuple[TakePlan, ...]:
        return (
            TakePlan(
                name="partial",
                title=f"{ONE} and {OTHER} do not hear each other",
                modes=MODES,
                clients=crew(SIDES),
                sides=SIDES,
                cut=preferred(cuts),
                expected_s=CUT_S + 16,
            ),
        )

    async def perform(self, stage: Stage) -> None:
        registers = [Registers(mode, keys=60, read_fraction=0.4) for mode in stage.plan.modes]
        said = f"{ONE} and {OTHER} do not hear each other"
        async with AsyncExitStack() as cut:
            async with stage.load(*(Traffic(workload=each, rate_hz=80) for each in registers)):
                await stage.last(2, "all is well")
                broken = stage.cut(between(ONE, OTHER), CutKind(stage.plan.cut), f"{ONE} | {OTHER}")
                await cut.enter_async_context(broken)
                await stage.noticed()
                await stage.last(CUT_S, said)
            stage.say(f"nobody asks, {said} still: waiting until their replicas are equal")
            await _relayed(stage, registers)

    def conclude(self, recording: Recording) -> Findings:
        [take] = recording.takes
        rows = availability_of(recording, lambda _: between(ONE, OTHER))
        window = noticed(take)
        hinted, mended = (
            rise(take, names, *window) if window else 0.0 for names in (HINTS, MENDED)
        )
        equal = {mode.name: take.head.figures.get(f"{EQUAL}{mode.name}") for mode in MODES}
        took = [s for s in equal.values() if s is not None]
        all_equal = (
            f"{max(took):.1f} s after the last" if len(took) == len(MODES) else "not in time"
        )
        return Findings(
            observed=f"{availability_in_words(rows)} All replicas were equal {all_equal} request,"
            f" with the cut still there: others had delivered {hinted:.0f} hints and anti-entropy"
            f" had brought {mended:.0f} keys.",
            rules=(asked_everywhere(take, rows), relayed(take), nothing_stale(take)),
            figures=(
                *(
                    Figure(label=f"equal after the last request, {mode}", measured=s, unit="s")
                    for mode, s in equal.items()
                ),
                Figure(label="hints delivered while the cut was known", measured=hinted),
                Figure(label="keys that anti-entropy brought meanwhile", measured=mended),
                _most_divergent(take),
                *stale_figures(take),
            ),
            availability=rows,
            tables=(stale_table([take]),),
        )


async def _relayed(stage: Stage, workloads: Sequence[Workload]) -> None:
    """Take down for each mode when all homes of all its objects held the same."""
    begun_s = stage.clock_s()
    left = list(workloads)

    async def none_left() -> bool:
        for workload in tuple(left):
            homes = {place: stage.placements[place].primaries for place in workload.objects()}
            if await stage.lab.observer.divergent(homes, homes) == 0:
                stage.figures[f"{EQUAL}{workload.mode.name}"] = stage.clock_s() - begun_s
                left.remove(workload)
        return not left

    await until(none_left, within_s=RELAYED_S_MAX)


def relayed(take: Take) -> RuleOutcome:
    """Whether replicas became equal with the cut still there, and had anything to be told."""
    late = [mode.name for mode in take.head.modes if f"{EQUAL}{mode.name}" not in take.head.figures]
    told = _to_be_relayed(take)
    return ruled(
        RELAYED,
        take,
        kept=f"both learnt of {counted(len(told), 'write')} that one of them had taken and could"
        " not tell the other",
        broken="modes whose replicas waited for the cut to end",
        breaches=[
            Breach(f"objects in mode {mode} differed for {RELAYED_S_MAX:g} s") for mode in late
        ],
        unknown=[] if told else [f"nothing was written that {ONE} and {OTHER} both must hold"],
    )


def _to_be_relayed(take: Take) -> list[Operation]:
    """Acknowledged writes that reached one of the two while both are homes of the object."""
    shared = {(p.bucket, p.key) for p in take.head.placements if PAIR.issubset(p.primaries)}
    window = known(take)
    return [
        operation
        for operation in (window.of(take) if window else ())
        if operation.is_write
        and operation.outcome is Outcome.OK
        and operation.node in PAIR
        and operation.place in shared
    ]


def _most_divergent(take: Take) -> Figure:
    window = noticed(take)
    seen = [
        sample.divergent
        for sample in take.samples
        if window and window.from_s <= sample.at_s < window.until_s and sample.divergent is not None
    ]
    watched = max((sample.watched for sample in take.samples), default=0)
    return Figure(
        label=f"watched objects that differed at one moment, at most, of {watched}",
        measured=max(seen, default=None),
    )
