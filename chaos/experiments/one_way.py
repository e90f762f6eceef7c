"""E4: what one node sends is lost, and what is sent to it arrives."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from chaos.checkers.telling import Breach, counted, ruled
from chaos.experiment import NODES, Experiment, TakePlan, crew
from chaos.experiments.measuring import asked_everywhere
from chaos.experiments.partitions import availability_of, until_known
from chaos.judgement import Availability, Figure, Findings, RuleOutcome, Table
from chaos.links import CutKind, Way, one_way, replies_only, requests_only
from chaos.modes import Mode
from chaos.predictions.availability import WRITE
from chaos.recording import Operation, Outcome, Recording, Take
from chaos.stage import Stage, Traffic
from chaos.windows import broken
from chaos.workloads.registers import Registers

MUTE, OTHERS = "n1", "others"
SIDES = {"mute": (MUTE,), OTHERS: tuple(node for node in NODES if node != MUTE)}

SLOPPY: Final = Mode(r=2, w=2, sloppy=True)
MODES = (Mode(r=2, w=2, sloppy=False), SLOPPY, Mode(r=1, w=3, sloppy=False))

ALL, REPLIES, REQUESTS = "all-lost", "replies-lost", "requests-lost"
SAID: Final[Mapping[str, str]] = {
    ALL: f"all that {MUTE} sends to others is lost",
    REPLIES: f"what {MUTE} replies to others is lost, what it asks them is not",
    REQUESTS: f"what {MUTE} asks others is lost, what it replies to them is not",
}

CUT_S = 6.0

ONCE: Final = "no write took effect twice"


class OneWay(Experiment):
    """See the attributes."""

    id = "E4"
    name = "one-way"
    title = "One node is heard by nobody, and hears all"
    hypothesis = (
        "A link that is dead in one direction is as good as no link, and the nodes find that out:"
        " they ask each other for answers, not for signs of life. Writes of which only the"
        " acknowledgement is lost were done, so their clients are told that nobody knows."
    )
    faults = (
        f"What {MUTE} sends is dropped and what is sent to it arrives, three times: all of it; only"
        " its replies to others; only its requests of them."
    )
    must_hold = (
        "No write takes effect twice, whatever became of its acknowledgement; nothing acknowledged"
        " is lost, what failed for certain is nowhere, siblings are exact, replicas converge."
    )
    predicted = (
        "A node reaches another only if its requests and the replies to them get through. Where"
        " only replies are lost every write of unknown outcome took place. Where only requests are"
        f" lost {MUTE} looks well to the others; what they leave to it and it cannot do, another"
        " home of the key does."
    )

    def takes(self, cuts: Sequence[str], seed: int) -> tuple[TakePlan, ...]:
        return tuple(
            TakePlan(
                name=name,
                title=said,
                modes=MODES,
                clients=crew(SIDES),
                sides=SIDES,
                cut=CutKind.DROP.value,
                expected_s=CUT_S + 11,
            )
            for name, said in SAID.items()
        )

    async def perform(self, stage: Stage) -> None:
        name, kind = stage.plan.name, CutKind(stage.plan.cut)
        registers = [Registers(mode, keys=60, read_fraction=0.3) for mode in stage.plan.modes]
        async with stage.load(*(Traffic(workload=each, rate_hz=80) for each in registers)):
            await stage.last(2, "all is well")
            async with stage.cut(ways_of(name), kind, SAID[name]):
                await stage.noticed()
                await stage.last(CUT_S, SAID[name])
            await stage.last(1.5, "the cut is healed")

    def conclude(self, recording: Recording) -> Findings:
        rows = availability_of(recording, lambda take: ways_of(take.name))
        fates = {take.name: fate(take, _writes(take)) for take in recording.takes}
        return Findings(
            observed=_in_words(fates, rows),
            rules=tuple(
                rule
                for take in recording.takes
                for rule in (asked_everywhere(take, rows), done_once(take))
            ),
            figures=tuple(f for take in recording.takes for f in _figures(take, fates[take.name])),
            availability=rows,
            tables=(_table(recording.takes),),
        )


def ways_of(name: str) -> Collection[Way]:
    """What is cut."""
    ways = one_way([MUTE], NODES)
    return {ALL: ways, REPLIES: replies_only(ways), REQUESTS: requests_only(ways)}[name]


class Fate(NamedTuple):
    """What became of some writes.

    Attributes:
        writes: how many there were.
        refused: of which it is certain that they took no effect.
        unknown: of which their clients know nothing.
        done: how many of the unknown took place: somebody was shown them, or they are there in the
            end. None of them can be gone unseen, for who replaces a write was shown it.
    """

    writes: int
    refused: int
    unknown: int
    done: int

    @property
    def done_percent(self) -> float | None:
        """Of the unknown; None if there are none."""
        return 100 * self.done / self.unknown if self.unknown else None


def fate(take: Take, writes: Iterable[Operation]) -> Fate:
    """What became of these writes of a take."""
    own = list(writes)
    seen = {value.text for state in take.final for value in state.values}
    seen |= {text for operation in take.operations for text in operation.shown or ()}
    unknown = [write for write in own if write.outcome is Outcome.INFO]
    return Fate(
        writes=len(own),
        refused=sum(write.outcome is Outcome.FAIL for write in own),
        unknown=len(unknown),
        done=sum(write.written in seen for write in unknown),
    )


def _writes(take: Take, *, asked: Collection[str] = NODES) -> list[Operation]:
    """The writes that were sent while the ways were cut."""
    window = broken(take)
    operations = window.of(take) if window else ()
    return [op for op in operations if op.is_write and op.node in asked]


def _in_words(fates: Mapping[str, Fate], rows: Sequence[Availability]) -> str:
    answered = {
        row.take: f"{row.measured:.0f} %"
        for row in rows
        if (row.mode, row.side, row.action) == (SLOPPY.name, OTHERS, WRITE)
    }
    silent = fates[REPLIES]
    return (
        f"Where only replies were lost, {silent.unknown} of {counted(silent.writes, 'write')} were"
        f" left unknown, and {silent.done} of these had been done. Of the others' writes with"
        f" {SLOPPY.name}, {answered.get(ALL, 'none')} were answered where all that {MUTE} sent was"
        f" lost, and {answered.get(REQUESTS, 'none')} where only its requests were, though it then"
        " seems to be well and is asked to coordinate what it cannot."
    )


def _figures(take: Take, of: Fate) -> tuple[Figure, ...]:
    return (
        until_known(take),
        Figure(
            label="writes of unknown outcome, of those sent while the ways were cut",
            measured=100 * of.unknown / of.writes if of.writes else None,
            unit="%",
            take=take.name,
        ),
        Figure(
            label="of these, done all the same",
            measured=of.done_percent,
            predicted=100.0 if take.name == REPLIES else None,
            tolerance=2.0 if take.name == REPLIES else None,
            unit="%",
            take=take.name,
        ),
    )


def _table(takes: Sequence[Take]) -> Table:
    found = [
        (take.name, side, fate(take, _writes(take, asked=nodes)))
        for take in takes
        for side, nodes in SIDES.items()
    ]
    return Table(
        title="What became of the writes",
        said="Those sent while the ways were cut. Unknown are those whose acknowledgement did not"
        " come in time: done are those of them that somebody was shown later, or that are there in"
        " the end. A client that takes unknown for failed, and writes again, writes twice.",
        columns=("", "asked", "writes", "refused for certain", "unknown", "of these, done"),
        rows=tuple(
            (name, side, str(of.writes), str(of.refused), str(of.unknown), str(of.done))
            for name, side, of in found
        ),
    )


def done_once(take: Take) -> RuleOutcome:
    """A write that was taken twice would stand beside itself, as two siblings of one text."""
    doubled = [
        (state, text)
        for state in take.final
        for text in sorted({value.text for value in state.values if not value.deleted})
        if sum(value.text == text for value in state.values) > 1
    ]
    writers = {op.written: op.index for op in take.operations if op.written is not None}
    held = sum(len(state.values) for state in take.final)
    return ruled(
        ONCE,
        take,
        kept=f"each of the {counted(held, 'value')} that replicas held in the end is there once",
        broken="values stand beside themselves",
        breaches=[
            Breach(f"{text} is twice in {state.bucket}/{state.key} on {state.node}", where)
            for state, text in doubled
            for where in [(writers[text],) if text in writers else ()]
        ],
        unknown=[] if take.final else ["what the nodes held in the end was not dumped"],
    )
