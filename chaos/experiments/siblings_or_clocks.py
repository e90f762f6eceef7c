"""E6: what clocks throw away and siblings keep."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from chaos.checkers.telling import Breach, counted, ruled, told
from chaos.experiment import NODES, ClientPlan, Experiment, TakePlan
from chaos.experiments.additions import Additions, Overwritten, additions, called
from chaos.judgement import Figure, Findings, Lanes, RuleOutcome, Table
from chaos.links import CutKind, preferred, split
from chaos.modes import Conflicts, Mode
from chaos.recording import Operation, Outcome, Recording, Take
from chaos.stage import Stage, Traffic
from chaos.windows import broken
from chaos.workloads.elements import Loss, elements
from chaos.workloads.set_add import SetAdd

SIDES: Final = {"A": NODES[:2], "B": NODES[2:]}

LOAD_S: Final = 12.0
CUT_S: Final = LOAD_S / 2
RATE_HZ: Final = 25.0
"""Of all five clients together, to each set."""

KEPT: Final = "siblings lose no acknowledged addition"
LOST: Final = "last write wins loses acknowledged additions"


class Variant(NamedTuple):
    """One way to keep the set; each has a set of its own.

    Attributes:
        is_locked: each addition is made under a lock that no partition stops.
    """

    mode: Mode
    is_locked: bool = False

    @property
    def name(self) -> str:
        """As tables have it, e.g. `last write wins, sloppy 2/2, with a lock`."""
        return called(self.mode) + ", with a lock" * self.is_locked

    @property
    def workload(self) -> SetAdd:
        """Whoever makes it anew gets the same place, but another lock."""
        if self.is_locked:
            return SetAdd(self.mode, lock=asyncio.Lock(), name="set-add-locked")
        return SetAdd(self.mode)

    @property
    def place(self) -> tuple[str, str]:
        """Bucket and key of its set."""
        return self.workload.bucket, self.workload.keys[0]


SLOPPY: Final = Mode(r=2, w=2, sloppy=True, conflicts=Conflicts.LWW)
STRICT: Final = Mode(r=2, w=2, sloppy=False, conflicts=Conflicts.LWW)

VARIANTS: Final = (
    Variant(SLOPPY),
    Variant(SLOPPY, is_locked=True),
    Variant(STRICT),
    Variant(STRICT, is_locked=True),
    Variant(Mode(r=1, w=1, sloppy=True)),
    Variant(Mode(r=2, w=2, sloppy=True)),
)

Found = Mapping[Variant, Additions]


class SiblingsOrClocks(Experiment):
    """See the attributes.

    The protocol is that of Kyle Kingsbury's "Call me maybe: Riak" (2013).
    """

    id = "E6"
    name = "siblings-or-clocks"
    title = "What clocks throw away and siblings keep"
    hypothesis = (
        "Where the last write by the clock wins, acknowledged additions to a set are lost: in a"
        " partition, and whenever two clients race, even with clocks that agree; a perfect lock"
        " stops the races and not the partition. Where both of two concurrent sets are kept as"
        " siblings, and readers join them, none is lost."
    )
    faults = (
        "Five clients, one for each node, add elements to the same set: read it, add one, write it."
        " From a quarter to three quarters of the time n1 n2 are cut off from n3 n4 n5."
    )
    must_hold = "With siblings every acknowledged addition is in the set in the end."
    predicted = (
        "Siblings lose nothing and answer both sides. Last write wins with a sloppy quorum loses"
        " the additions of one side of the cut, and those that raced; with a strict quorum one side"
        " is refused instead, and the races remain unless a lock prevents them."
    )

    def takes(self, cuts: Sequence[str], seed: int) -> tuple[TakePlan, ...]:
        return (
            TakePlan(
                name=preferred(cuts),
                title="five clients, and a set for each way to keep it",
                modes=tuple(dict.fromkeys(variant.mode for variant in VARIANTS)),
                clients=tuple(
                    ClientPlan(name=f"c{node[1:]}", side=side, nodes=(node,))
                    for side, nodes in SIDES.items()
                    for node in nodes
                ),
                sides=SIDES,
                cut=preferred(cuts),
                expected_s=LOAD_S + 7,
            ),
        )

    async def perform(self, stage: Stage) -> None:
        kind, ways = CutKind(stage.plan.cut), split(list(SIDES.values()))
        sets = [variant.workload for variant in VARIANTS]
        async with stage.load(
            *(
                Traffic(workload=each, rate_hz=RATE_HZ, sequential=True, at_random=True)
                for each in sets
            )
        ):
            await stage.last(LOAD_S / 4, "all add to the same sets, nothing is broken")
            async with stage.cut(ways, kind, "n1 n2 | n3 n4 n5"):
                begun_s = stage.clock_s()
                await stage.noticed()
                left_s = max(1.0, CUT_S - (stage.clock_s() - begun_s))
                await stage.last(left_s, "each side adds to what it sees of the sets")
            await stage.last(LOAD_S / 4, "the cut is healed, one line of writes goes on")

    def conclude(self, recording: Recording) -> Findings:
        [take] = recording.takes
        found = {each: additions(take, each.place, each.mode) for each in VARIANTS}
        return Findings(
            observed=_in_words(found),
            rules=(_kept(take, found), _lost(take, found)),
            figures=tuple(_figure(take, *each) for each in found.items()),
            lanes=tuple(_lanes(take, found)),
            tables=(_table(found), _reasons(found)),
        )


def _with(found: Found, conflicts: Conflicts) -> dict[Variant, Additions]:
    return {variant: of for variant, of in found.items() if variant.mode.conflicts is conflicts}


# ---- rules


def _kept(take: Take, found: Found) -> RuleOutcome:
    operations = {operation.index: operation for operation in take.operations}
    kept = _with(found, Conflicts.SIBLINGS)
    added = sum(len(of.outcome.acknowledged) for of in kept.values())
    return ruled(
        KEPT,
        take,
        kept=f"all {counted(added, 'acknowledged addition')} to {counted(len(kept), 'set')} are in"
        " them in the end",
        broken="acknowledged additions are gone",
        breaches=[
            Breach(f"{loss.element}, by {told(operations[loss.write])}", _shown_by(loss))
            for of in kept.values()
            for loss in of.outcome.losses
        ],
        unknown=[*_untried(take, kept)],
    )


def _shown_by(loss: Loss) -> tuple[int, ...]:
    return (loss.write,) if loss.missed_by is None else (loss.write, loss.missed_by)


def _lost(take: Take, found: Found) -> RuleOutcome:
    """The hypothesis, for sloppy quorums: with strict ones all depends on who races with whom."""
    sloppy = {v: of for v, of in _with(found, Conflicts.LWW).items() if v.mode.sloppy}
    return ruled(
        LOST,
        take,
        kept="; ".join(
            f"{variant.name}: {_share(of.outcome.lost, of.outcome.acknowledged)}"
            for variant, of in sloppy.items()
        ),
        broken="sets without siblings lost nothing, against the hypothesis",
        breaches=[
            Breach(f"{variant.name}: none of {len(of.outcome.acknowledged)}")
            for variant, of in sloppy.items()
            if not of.outcome.lost
        ],
        unknown=[*_untried(take, sloppy)],
    )


def _untried(take: Take, found: Iterable[Variant]) -> Iterator[str]:
    """Sets to which not both sides added while they could not hear each other."""
    window = broken(take)
    for variant in found:
        sides = {
            op.side
            for op in (window.of(take) if window else ())
            if op.place == variant.place and op.is_write and op.outcome is Outcome.OK
        }
        if missing := sorted(set(take.head.sides) - sides):
            yield f"{variant.name}: nothing was added on side {' or '.join(missing)} of the cut"


# ---- what is shown


def _share(lost: frozenset[str], acknowledged: frozenset[str]) -> str:
    share = 100 * len(lost) / len(acknowledged) if acknowledged else 0.0
    return f"{len(lost)} of {len(acknowledged)} are gone ({share:.0f} %)"


def _in_words(found: Found) -> str:
    clocks = "; ".join(
        f"{variant.name}: {_share(of.outcome.lost, of.outcome.acknowledged)}"
        for variant, of in _with(found, Conflicts.LWW).items()
    )
    kept = _with(found, Conflicts.SIBLINGS).values()
    lost = sum(len(of.outcome.lost) for of in kept)
    added = sum(len(of.outcome.acknowledged) for of in kept)
    most = max(of.siblings_max for of in kept)
    return (
        f"Of {added} additions acknowledged with siblings {lost} were lost, and no answer showed"
        f" more than {counted(most, 'sibling')}. Without: {clocks}."
    )


def _figure(take: Take, variant: Variant, of: Additions) -> Figure:
    keeps = variant.mode.conflicts is Conflicts.SIBLINGS
    return Figure(
        label=f"acknowledged additions lost, {variant.name}",
        measured=of.outcome.lost_percent,
        predicted=0.0 if keeps else None,
        tolerance=0.0 if keeps else None,
        unit="%",
        take=take.name,
    )


def _table(found: Found) -> Table:
    return Table(
        title="What became of the elements",
        said="Tried: a client set out to add one; if it cannot read the set it writes nothing."
        " Lost: acknowledged, and not in the set in the end. Found: in the set, though nobody was"
        " told so. The lock is perfect: it reaches everybody whatever the network does, and the"
        " wait for it counts as latency; no real lock could do that.",
        columns=(
            "set",
            "tried",
            "acknowledged",
            "survivors",
            "lost",
            "found",
            "acknowledged, %",
            "lost, %",
            "siblings at most",
        ),
        rows=tuple(
            (
                variant.name,
                str(of.tried),
                str(len(of.outcome.acknowledged)),
                str(len(of.outcome.survivors)),
                str(len(of.outcome.lost)),
                str(len(of.outcome.unacknowledged)),
                f"{of.acknowledged_percent:.1f}",
                f"{of.outcome.lost_percent:.1f}",
                str(of.siblings_max),
            )
            for variant, of in found.items()
        ),
    )


def _reasons(found: Found) -> Table:
    return Table(
        title="Why they are gone",
        said="Whoever adds an element writes the whole set as he read it. Where two do that at a"
        " time, or on two sides of a cut, each writes a set without the other's element, and the"
        " clock keeps one of the two sets. In a race the loser loses one element. By the cut one"
        " side loses all that it added, for the write that hid the first of these hid what was"
        " built on it as well; and so it goes on until the nodes have found each other again.",
        columns=("set", "lost", "by the cut", "in a race", "the write that hid most"),
        rows=tuple(
            (
                variant.name,
                str(len(of.outcome.lost)),
                str(sum(not one.is_race for one in of.overwritten)),
                str(sum(one.is_race for one in of.overwritten)),
                _worst(of.overwritten),
            )
            for variant, of in _with(found, Conflicts.LWW).items()
        ),
    )


def _worst(overwritten: Sequence[Overwritten]) -> str:
    if not overwritten:
        return "none"
    by_index = {one.by.index: one.by for one in overwritten}
    [(index, hidden)] = Counter(one.by.index for one in overwritten).most_common(1)
    by = by_index[index]
    return f"{told(by)} on side {by.side} hid {hidden}"


def _lanes(take: Take, found: Found) -> Iterator[Lanes]:
    """One loss of each kind, where it can be seen best."""
    for variant, is_race in ((VARIANTS[1], False), (VARIANTS[0], True)):
        lost = [one for one in found[variant].overwritten if one.is_race is is_race]
        first = next((one for one in lost if one.write == one.rival and one.fork), None)
        if first is not None:
            yield _drawn(take, variant, first)


def _drawn(take: Take, variant: Variant, one: Overwritten) -> Lanes:
    own = [op for op in take.operations if op.place == variant.place]
    read, blind = _read_of(own, one.write), _read_of(own, one.by)
    noticed = next((op for op in own if _misses(op, one)), None)
    shown = (one.fork, read, one.write, blind, one.by, noticed)
    how = "in a race" if one.is_race else "by the cut"
    return Lanes(
        take=take.name,
        title=f"{variant.name}: how an element was lost {how}",
        said=_story(one, read, blind, noticed),
        operations=tuple(sorted(op.index for op in shown if op is not None)),
        highlight=tuple(op.index for op in (one.write, blind, one.by) if op is not None),
    )


def _story(
    one: Overwritten,
    read: Operation | None,
    blind: Operation | None,
    noticed: Operation | None,
) -> str:
    write, by = one.write, one.by
    why = (
        "each had begun before the other was done"
        if one.is_race
        else f"{by.client} was on side {by.side} of the cut and {write.client} on side {write.side}"
    )
    end = (
        f" #{noticed.index} of {noticed.client}, at {noticed.invoked_s:.3f} s, is the first read on"
        f" side {write.side} that does not show element {one.element} any more."
        if noticed is not None
        else ""
    )
    return (
        f"{write.client} read the set{_number(read)}, added element {one.element} (#{write.index})"
        f" and was told at {write.returned_s:.3f} s that it is stored. {by.client} read the set"
        f"{_number(blind)} without that element and wrote #{by.index} in its place: {why}. In the"
        f" end the clock chose the line of writes that goes on from #{by.index}.{end}"
    )


def _read_of(operations: Iterable[Operation], write: Operation) -> Operation | None:
    """What its client asked before a write."""
    before = [op for op in operations if op.client == write.client and op.index < write.index]
    return before[-1] if before else None


def _misses(operation: Operation, one: Overwritten) -> bool:
    """Whether it is a later read on the side of who added the element, and does not show it."""
    return (
        not operation.is_write
        and operation.side == one.write.side
        and operation.invoked_s > one.write.returned_s
        and operation.shown is not None
        and one.element not in elements(operation.shown)
    )


def _number(read: Operation | None) -> str:
    return "" if read is None else f" (#{read.index})"
