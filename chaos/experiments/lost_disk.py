"""E11: a node lost its disk; hash trees find what it lacks, and nothing but that is moved."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from chaos.checkers.objects import ending, states_by_place
from chaos.checkers.telling import Breach, ruled
from chaos.errors import ClusterError
from chaos.experiment import NODES, Experiment, TakePlan, crew
from chaos.experiments.counters import MENDED, READ_REPAIRS, rise
from chaos.judgement import Figure, Findings, RuleOutcome, Table
from chaos.modes import Mode
from chaos.recording import Outcome, Recording, Take
from chaos.stage import Stage
from chaos.waiting import until
from chaos.workloads.archive import Archive

QUORUM: Final = Mode(r=2, w=2, sloppy=False)

KEYS: Final = 1000
VALUE_BYTES: Final = 1000
FEW: Final = 12

WIPED, BEHIND = "wiped", "behind"

IDLE_S: Final = 3.0
"""So long it is looked at what nodes tell each other when there is nothing to mend."""

SEEN_S: Final = 1.0
"""So that what was sent before the node is back is seen, and not taken for mending."""

EQUAL_S_MAX: Final = 20.0

MOVED_MAX: Final = 3.0
"""For each key that differs, as many may be moved: more than one home may bring it."""

SHARE_MAX: Final = 0.1
"""Where few keys differ, so much of what a node holds may cross the network."""

ALONE: Final = "anti-entropy did it alone"
PROPORTIONAL: Final = "what is moved is in proportion to what differs"
LITTLE: Final = "what is sent is in proportion to what differs"

COURSE_ROWS_MAX: Final = 24

_SENT: Final = ("peer_bytes_out_total",)
_HANDED_OVER: Final = ("hints_delivered_total",)


class LostDisk(Experiment):
    """See the attributes."""

    id = "E11"
    name = "lost-disk"
    title = "A node lost its disk"
    hypothesis = (
        "Replicas compare hash trees all the time, so a node that lost everything gets it back"
        " though nobody reads, and what crosses the network is what differs, not what there is."
    )
    faults = (
        f"{KEYS} keys lie still. A node is killed, its disk is emptied, and it starts again. A"
        f" second time it keeps its disk, and {FEW} of its keys are replaced while it is away."
        " Hints are not delivered, read repair is switched off, and no client asks for anything."
    )
    must_hold = (
        "All replicas are equal again, by anti-entropy alone; at most three keys are moved for each"
        " that differs, and where few differ, little is sent."
    )
    predicted = (
        "Wiped, it lacks every key that has a home on it, about three of five; else the few. Each"
        " is moved once."
    )

    def takes(self, cuts: Sequence[str], seed: int) -> tuple[TakePlan, ...]:
        node = Random(seed).choice(NODES)
        others = [other for other in NODES if other != node]
        return tuple(
            TakePlan(
                name=name,
                title=title,
                modes=(QUORUM,),
                clients=crew({"others": others}),
                expected_s=24,
                convergence_s_max=60.0,
                node={"hinted_handoff": False, "hint_age_s_max": 1.0, "read_repair": False},
                parameters={"node": node},
            )
            for name, title in (
                (WIPED, "its disk is empty"),
                (BEHIND, f"it missed {FEW} writes"),
            )
        )

    async def perform(self, stage: Stage) -> None:
        node, archive = str(stage.plan.parameters["node"]), Archive(QUORUM, keys=KEYS)
        await stage.prepare(archive)
        nodes = stage.plan.nodes
        if not await until(lambda: stage.lab.observer.all_equal(nodes), within_s=EQUAL_S_MAX):
            raise ClusterError(f"replicas differ {EQUAL_S_MAX:g} s after they were written")
        stage.mark("warm")
        await stage.last(IDLE_S, "nobody asks for anything")
        async with stage.killed(node):
            if stage.plan.name == WIPED:
                await stage.wipe(node)
            else:
                homes = {where.key: where.primaries for where in stage.placements.values()}
                missed = [key for key in archive.keys if node in homes[key]]
                [client, *_] = stage.clients.values()
                await archive.replace(client, stage.dice.sample(missed, FEW), stage.dice)
            await stage.last(SEEN_S, f"{node} is away")

    def conclude(self, recording: Recording) -> Findings:
        found = [_mending(take) for take in recording.takes]
        return Findings(
            observed=" ".join(f"{one.said}." for one in found),
            rules=tuple(
                rule
                for one in found
                for rule in (_alone(one.take), _proportional(one), _little_sent(one))
            ),
            figures=tuple(figure for one in found for figure in _figures(one)),
            tables=tuple(_course(one) for one in found),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mending:
    """How a node got back what it lacked.

    Attributes:
        node: it.
        held: how many keys have a home on it.
        differing: how many of these it lacked, or had an older value of.
        moved: how many keys were moved since it was back, between any nodes.
        sent_bytes: what nodes sent each other meanwhile, less what they send anyway.
        back_s: when it was back.
    """

    take: Take
    node: str
    held: int
    differing: int
    moved: float
    sent_bytes: float
    back_s: float

    @property
    def held_bytes(self) -> int:
        """What the node holds, or held."""
        return self.held * VALUE_BYTES

    @property
    def said(self) -> str:
        """In a sentence."""
        after_s = self.take.head.converged_after_s
        took = "not all in time" if after_s is None else f"in {after_s:.1f} s"
        return (
            f"{self.take.head.title.capitalize()}: of {self.held} keys {self.differing} differed,"
            f" {self.moved:.0f} were moved with {self.sent_bytes / 1000:.0f} kB, {took}"
        )


def _mending(take: Take) -> _Mending:
    kill = next(fault for fault in take.head.faults if fault.kind == "kill")
    [node] = kill.targets
    held = {(p.bucket, p.key) for p in take.head.placements if node in p.primaries}
    wiped = any(fault.kind == "wipe" for fault in take.head.faults)
    missed = {
        operation.place
        for operation in take.operations
        if operation.is_write
        and operation.outcome is not Outcome.FAIL
        and operation.invoked_s > kill.began.from_s
    }
    back_s = kill.began.until_s if kill.ended is None else kill.ended.from_s
    return _Mending(
        take=take,
        node=node,
        held=len(held),
        differing=len(held if wiped else held & missed),
        moved=rise(take, MENDED, back_s),
        sent_bytes=_sent_bytes(take, kill.began.from_s, back_s),
        back_s=back_s,
    )


def _sent_bytes(take: Take, broken_s: float, back_s: float) -> float:
    """What nodes sent each other from the return on, above what they send when all is equal."""
    calm_s = take.head.mark_s("warm") or 0.0
    idle_hz = rise(take, _SENT, calm_s, broken_s) / (broken_s - calm_s)
    looked_s = take.samples[-1].at_s - back_s  # the last look is after convergence
    return max(0.0, rise(take, _SENT, back_s) - idle_hz * looked_s)


def _alone(take: Take) -> RuleOutcome:
    """Nothing else brought a key anywhere; else anti-entropy was not tried."""
    helped = rise(take, (*READ_REPAIRS, *_HANDED_OVER))
    return ruled(
        ALONE,
        take,
        kept="no hint was delivered and no read repaired anything",
        broken="",
        breaches=[],
        unknown=[f"{helped:.0f} keys came as hints or by read repair"] if helped else [],
    )


def _proportional(one: _Mending) -> RuleOutcome:
    ratio = one.moved / one.differing if one.differing else 0.0
    said = (
        f"{one.moved:.0f} keys were moved for {one.differing} that differed, {ratio:.2f} for each"
    )
    return ruled(
        PROPORTIONAL,
        one.take,
        kept=said,
        broken="time more was moved than may be",
        breaches=[Breach(said)] if ratio > MOVED_MAX else [],
        unknown=[*_doubts(one)],
    )


def _doubts(one: _Mending) -> Iterator[str]:
    """Why nothing can be said; that replicas stay apart is for the rule of convergence."""
    if not one.differing:
        yield "nothing differed"
    elif one.moved < one.differing and _are_equal(one.take):
        yield (
            f"all became equal, but of {one.differing} keys that differed only {one.moved:.0f} were"
            " moved: there is another way"
        )


def _are_equal(take: Take) -> bool:
    """Whether all homes of each object held the same in the end, whatever the nodes say."""
    return all(
        ending(place, states, None, QUORUM.n).is_equal
        for place, states in states_by_place(take).items()
    )


def _little_sent(one: _Mending) -> RuleOutcome:
    """What crosses the network is bounded by what differs, and a little for finding it."""
    most_bytes = MOVED_MAX * one.differing * VALUE_BYTES + SHARE_MAX * one.held_bytes
    said = (
        f"{one.sent_bytes / 1000:.0f} kB were sent to mend {one.differing} keys of {VALUE_BYTES}"
        f" bytes, among {one.held_bytes / 1000:.0f} kB on the node"
    )
    return ruled(
        LITTLE,
        one.take,
        kept=said,
        broken=f"time more was sent than {most_bytes / 1000:.0f} kB",
        breaches=[Breach(said)] if one.sent_bytes > most_bytes else [],
    )


def _figures(one: _Mending) -> tuple[Figure, ...]:
    after_s = one.take.head.converged_after_s
    return (
        Figure(
            label="keys moved",
            measured=one.moved,
            predicted=one.differing,
            tolerance=one.differing * (MOVED_MAX - 1),
            take=one.take.name,
        ),
        Figure(
            label="sent since its start, above the usual",
            measured=one.sent_bytes / 1000,
            predicted=one.differing * VALUE_BYTES / 1000,
            unit="kB",
            take=one.take.name,
        ),
        Figure(label="until all was equal", measured=after_s, unit="s", take=one.take.name),
    )


def _course(one: _Mending) -> Table:
    """Second by second, from the return of the node."""
    samples = [s for s in one.take.samples if s.at_s >= one.back_s]
    rows = [
        (
            f"{sample.at_s - one.back_s:.1f}",
            f"{rise(one.take, MENDED, one.back_s, sample.at_s):.0f}",
            "" if sample.divergent is None else f"{sample.divergent} of {sample.watched}",
        )
        for sample in samples
    ]
    return Table(
        title=f"How {one.node} got it back: {one.take.head.title}",
        said=f"{one.differing} keys differed. A sample of all keys is compared on all their homes."
        " A key is moved twice where two homes bring it at once.",
        columns=("s after its start", "keys moved so far", "watched keys that differ"),
        rows=tuple(rows[:COURSE_ROWS_MAX]),
    )
