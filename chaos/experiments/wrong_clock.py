"""E9: the clock of one node is wrong."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from chaos.checkers.missed import by_object
from chaos.checkers.telling import Breach, at, counted, ruled, told
from chaos.experiment import NODES, ClientPlan, Experiment, TakePlan
from chaos.experiments.additions import Additions, additions, called, left
from chaos.judgement import Figure, Findings, Lanes, RuleOutcome, Table
from chaos.links import PAST, CutKind, preferred, split
from chaos.modes import Conflicts, Mode
from chaos.recording import Fault, Operation, Outcome, Placement, Recording, Take
from chaos.stage import Stage, Traffic
from chaos.waiting import until
from chaos.workloads.turns import Turns

SIDES: Final = {"A": NODES[:2], "B": NODES[2:]}
WRONG, RIGHT = SIDES["A"]
SLOW, NEAR, FAR = "slow", "near", "far"

OFF_S: Final = -30.0

SEEN: Final = Mode(r=1, w=3, sloppy=False, conflicts=Conflicts.LWW)
LAST: Final = Mode(r=2, w=2, sloppy=True, conflicts=Conflicts.LWW)
SIBLINGS: Final = Mode(r=2, w=2, sloppy=True)

KEYS: Final = 50
RATE_HZ: Final = 40.0
ROUND_S_MAX: Final = 10.0

KEPT: Final = "siblings lose no acknowledged addition, whatever the clocks say"
ORDERED: Final = "who has seen a value writes a later one, whatever its clock says"
TRUSTED: Final = "a wrong clock makes nobody suspect a node"


class Later(NamedTuple):
    """The later of two writes to a key.

    Attributes:
        before: the one that was acknowledged before it began.
        stays: it is what readers are shown in the end.
    """

    write: Operation
    before: Operation
    stays: bool


class WrongClock(Experiment):
    """See the attributes.

    The later of two writes is known by the clock of the lab, which all clients share.
    """

    id = "E9"
    name = "wrong-clock"
    title = "The clock of one node is half a minute slow"
    hypothesis = (
        "Only whoever lets the last write win depends on clocks. A write through a node whose clock"
        " is slow loses against an earlier one that the node has not seen, until its clock has"
        " passed the time of that. Siblings lose nothing, and nobody takes the node for dead."
    )
    faults = (
        f"{WRONG} restarts with a clock that is {-OFF_S:g} s slow. First all is connected; then n1"
        " n2 are cut off from n3 n4 n5, and clients on both sides write the same keys in turns."
    )
    must_hold = (
        "Siblings lose no addition. A write through the slow node replaces what the node has seen,"
        " though its clock is behind that. While only the clock is wrong, every node takes all"
        " others to be up."
    )
    predicted = (
        "Across the cut, of the writes that came last none through the slow node stays and all"
        " through the others do. Connected, all through the slow node stay: it stamps them later"
        " than what it replaces."
    )

    def takes(self, cuts: Sequence[str], seed: int) -> tuple[TakePlan, ...]:
        return (
            TakePlan(
                name=preferred(cuts),
                title=f"{WRONG} is {-OFF_S:g} s slow, links {PAST[CutKind(preferred(cuts))]}",
                modes=(LAST, SIBLINGS, SEEN),
                clients=(
                    ClientPlan(name=SLOW, side="A", nodes=(WRONG,)),
                    ClientPlan(name=NEAR, side="A", nodes=(RIGHT,)),
                    ClientPlan(name=FAR, side="B", nodes=SIDES["B"]),
                ),
                sides=SIDES,
                cut=preferred(cuts),
                expected_s=22,
            ),
        )

    async def perform(self, stage: Stage) -> None:
        kind, ways = CutKind(stage.plan.cut), split(list(SIDES.values()))
        seen = Turns(SEEN, keys=KEYS)
        torn = [Turns(LAST, keys=KEYS), Turns(SIBLINGS, keys=KEYS)]
        await stage.prepare(seen, *torn)
        shares = {each: _dealt(stage, each) for each in (seen, *torn)}
        async with stage.clock_off(WRONG, OFF_S):
            await stage.noticed()
            all_keys = {each: {FAR: each.keys} for each in (seen, *torn)}
            await _round(stage, "all is connected", all_keys)
            own = (*shares[seen].slow_last, *shares[seen].slow_first)
            await _round(stage, f"{WRONG} replaces what it has seen", {seen: {SLOW: own}})
            async with stage.cut(ways, kind, "n1 n2 | n3 n4 n5"):
                await stage.noticed()
                first = {each: shares[each].first for each in torn}
                await _round(stage, "each key is written on one side of the cut", first)
                last = {each: shares[each].last for each in torn}
                await _round(stage, "and later on the other", last)
            await stage.last(1.5, "the cut is healed, the clock is still wrong")

    def conclude(self, recording: Recording) -> Findings:
        [take] = recording.takes
        [_, cut] = take.head.faults
        torn, seen = _later(take, LAST, cut), _later(take, SEEN)
        return Findings(
            observed=_in_words(torn, seen, _additions(take, SIBLINGS)),
            rules=(_kept(take), _ordered(take, seen), _trusted(take, cut)),
            figures=tuple(_figures(take, torn, seen)),
            lanes=tuple(_lanes(take, torn)),
            tables=(_table(torn, seen), _losses(take)),
        )


class _Shares(NamedTuple):
    """Keys by who is to write them last across the cut."""

    slow_last: tuple[str, ...]
    slow_first: tuple[str, ...]
    near_last: tuple[str, ...]

    @property
    def first(self) -> dict[str, tuple[str, ...]]:
        """Who writes what first."""
        return {FAR: (*self.slow_last, *self.near_last), SLOW: self.slow_first}

    @property
    def last(self) -> dict[str, tuple[str, ...]]:
        """Who writes what after that."""
        return {SLOW: self.slow_last, NEAR: self.near_last, FAR: self.slow_first}


def _dealt(stage: Stage, turns: Turns) -> _Shares:
    """Deal out the keys, so that the node that is asked is a home and writes itself."""
    homes = {place.key: place.primaries for place in _placed(stage, turns)}
    slow = [key for key in turns.keys if WRONG in homes[key]]
    near = [key for key in turns.keys if WRONG not in homes[key] and RIGHT in homes[key]]
    return _Shares(tuple(slow[::2]), tuple(slow[1::2]), tuple(near))


def _placed(stage: Stage, turns: Turns) -> Iterator[Placement]:
    return (place for place in stage.placements.values() if place.bucket == turns.bucket)


async def _round(
    stage: Stage, saying: str, turns: Mapping[Turns, Mapping[str, Sequence[str]]]
) -> None:
    """Let clients write their keys; it is over when all have their answers."""

    async def is_over() -> bool:
        return all(each.is_over for each in turns)

    for each, keys in turns.items():
        each.begin(keys)
    async with stage.load(
        *(
            Traffic(workload=each, rate_hz=RATE_HZ, clients=(client,), sequential=True)
            for each, keys in turns.items()
            for client in keys
        )
    ):
        stage.say(saying)
        await until(is_over, within_s=ROUND_S_MAX)


def _later(take: Take, mode: Mode, fault: Fault | None = None) -> tuple[Later, ...]:
    """The last write of each key that was written by two clients, of which one came later.

    Args:
        take: with what was left in the end.
        mode: whose keys.
        fault: only what was written while it lasted counts.
    """
    own = [op for op in take.operations if op.mode == mode.name]
    found = []
    for place, operations in by_object(own).items():
        acked = [
            op
            for op in operations
            if op.is_write and op.outcome is Outcome.OK and (fault is None or _is_in(op, fault))
        ]
        if len(acked) < 2 or acked[-2].client == acked[-1].client:
            continue
        before, last = acked[-2:]
        if before.returned_s < last.invoked_s:
            texts = left(take, place, mode.conflicts)
            found.append(Later(last, before, texts == {last.written}))
    return tuple(found)


def _is_in(operation: Operation, fault: Fault) -> bool:
    ended_s = float("inf") if fault.ended is None else fault.ended.from_s
    return fault.began.until_s <= operation.invoked_s and operation.returned_s <= ended_s


def _by(client: str, later: Sequence[Later]) -> list[Later]:
    return [one for one in later if one.write.client == client]


def _stays_percent(later: Sequence[Later]) -> float | None:
    return 100 * sum(one.stays for one in later) / len(later) if later else None


# ---- rules


def _kept(take: Take) -> RuleOutcome:
    found = _additions(take, SIBLINGS)
    added = sum(len(one.outcome.acknowledged) for one in found)
    return ruled(
        KEPT,
        take,
        kept=f"all {counted(added, 'acknowledged addition')} to {counted(len(found), 'set')} are in"
        " them in the end",
        broken="acknowledged additions are gone",
        breaches=[
            Breach(f"{loss.element}, by put {loss.write}", (loss.write,))
            for one in found
            for loss in one.outcome.losses
        ],
        unknown=[] if added else ["nothing was added to any set"],
    )


def _ordered(take: Take, seen: Sequence[Later]) -> RuleOutcome:
    """All homes had the earlier write, so the node with the slow clock had it as well."""
    slow = _by(SLOW, seen)
    return ruled(
        ORDERED,
        take,
        kept=f"all {counted(len(slow), 'write')} through {WRONG} replaced what {WRONG} had seen,"
        f" though by its clock that was to come only in {-OFF_S:g} s",
        broken="later writes lost against what their node had seen",
        breaches=[
            Breach(
                f"{told(one.write)} to {at(one.write.place)} after {told(one.before)}",
                (one.before.index, one.write.index),
            )
            for one in slow
            if not one.stays
        ],
        unknown=[] if slow else [f"nobody replaced anything through {WRONG}"],
    )


def _trusted(take: Take, cut: Fault) -> RuleOutcome:
    """From when all knew that the node was back until the cut: nobody was missed."""
    settled_s = min((m.at_s for m in take.head.marks if m.name == "settled"), default=None)
    samples = [
        sample
        for sample in take.samples
        if settled_s is not None and settled_s <= sample.at_s <= cut.began.from_s
    ]
    looks = [(s.at_s, node, seen["up"]) for s in samples for node, seen in s.nodes.items()]
    return ruled(
        TRUSTED,
        take,
        kept=f"in {counted(len(looks), 'look')} at a node while nothing but the clock was wrong,"
        f" each took all {len(take.head.nodes)} to be up",
        broken="times a node took another for dead because of a clock",
        breaches=[
            Breach(f"{node} took {up:.0f} of {len(take.head.nodes)} for up at {at_s:.1f} s")
            for at_s, node, up in looks
            if up < len(take.head.nodes)
        ],
        unknown=[] if looks else ["nobody looked while nothing but the clock was wrong"],
    )


def _additions(take: Take, mode: Mode) -> list[Additions]:
    places = by_object(op for op in take.operations if op.mode == mode.name)
    return [additions(take, place, mode) for place in places]


# ---- what is shown


def _rows(torn: Sequence[Later], seen: Sequence[Later]) -> Iterator[tuple[str, list[Later], float]]:
    """The groups of later writes, in words, and what percent of each should stay."""
    yield f"connected, through {WRONG} (slow)", _by(SLOW, seen), 100.0
    yield f"across the cut, through {WRONG} (slow)", _by(SLOW, torn), 0.0
    yield f"across the cut, through {RIGHT} beside it", _by(NEAR, torn), 100.0
    yield f"across the cut, through {' '.join(SIDES['B'])}", _by(FAR, torn), 100.0


def _figures(take: Take, torn: Sequence[Later], seen: Sequence[Later]) -> Iterator[Figure]:
    for said, later, predicted in _rows(torn, seen):
        yield Figure(
            label=f"later writes that stay: {said}",
            measured=_stays_percent(later),
            predicted=predicted,
            tolerance=0.0,
            unit="%",
            take=take.name,
        )


def _table(torn: Sequence[Later], seen: Sequence[Later]) -> Table:
    return Table(
        title="Which of two writes stays, where the last should win",
        said="Each key was written by one client and, once that was acknowledged, by another. The"
        " later write stays if the clock of its node is right. It also stays if its node has seen"
        " the earlier one, for a node stamps what it writes later than what it replaces. It is lost"
        " if neither is so.",
        columns=("the later write came", "keys", "it stays", "the earlier one stays"),
        rows=tuple(
            (
                said,
                str(len(later)),
                str(sum(one.stays for one in later)),
                str(sum(not one.stays for one in later)),
            )
            for said, later, _ in _rows(torn, seen)
        ),
    )


def _losses(take: Take) -> Table:
    return Table(
        title="What became of the additions",
        said="Every write adds an element to what was read. Where one of two sets is dropped its"
        " element goes with it, whichever clock is right: right clocks only decide which one.",
        columns=("sets", "acknowledged", "lost", "lost, %"),
        rows=tuple(
            (
                called(mode),
                str(added),
                str(lost),
                f"{100 * lost / added:.1f}" if added else "-",
            )
            for mode in (LAST, SIBLINGS, SEEN)
            for found in [_additions(take, mode)]
            for added in [sum(len(one.outcome.acknowledged) for one in found)]
            for lost in [sum(len(one.outcome.lost) for one in found)]
        ),
    )


def _in_words(torn: Sequence[Later], seen: Sequence[Later], siblings: Sequence[Additions]) -> str:
    cut, connected = _by(SLOW, torn), _by(SLOW, seen)
    others = [one for one in torn if one.write.client != SLOW]
    lost = sum(len(one.outcome.lost) for one in siblings)
    added = sum(len(one.outcome.acknowledged) for one in siblings)
    return (
        f"Across the cut {sum(one.stays for one in cut)} of {counted(len(cut), 'later write')}"
        f" through the slow node stayed, and {sum(one.stays for one in others)} of {len(others)}"
        f" through the others; connected, {sum(one.stays for one in connected)} of"
        f" {len(connected)} through the slow node. Siblings lost {lost} of"
        f" {counted(added, 'addition')}."
    )


def _lanes(take: Take, torn: Sequence[Later]) -> Iterator[Lanes]:
    lost = next((one for one in _by(SLOW, torn) if not one.stays), None)
    if lost is None:
        return
    write, before = lost.write, lost.before
    own = [op for op in take.operations if op.place == write.place]
    yield Lanes(
        take=take.name,
        title=f"How the later write of {write.key} lost",
        said=f"{before.client} wrote #{before.index} on side {before.side} and was told at"
        f" {before.returned_s:.3f} s that it is stored. {write.client} wrote #{write.index} through"
        f" {write.node} on side {write.side}, {write.invoked_s - before.returned_s:.1f} s later."
        f" {write.node} had not seen the other, and its clock was {-OFF_S:g} s behind: when both"
        f" met, #{before.index} bore the later time and stayed.",
        operations=tuple(op.index for op in own),
        highlight=(before.index, write.index),
    )
