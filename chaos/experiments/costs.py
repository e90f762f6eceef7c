"""What a mode costs under a fault: requests without an answer, stale reads, lost additions. Pure.

Unanswered are *registers*, whose reads and writes are requests of their own. Lost are additions to
sets, each of them a read and a write of the union: whoever overwrites a register blindly means to.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from chaos.checkers.last_write_wins import lost_updates
from chaos.checkers.missed import by_object
from chaos.checkers.staleness import by_mode, sights
from chaos.checkers.telling import Breach, counted, ruled, told
from chaos.experiments.measuring import TAIL_S, percent_ok
from chaos.judgement import CapDot, RuleOutcome, Table
from chaos.modes import Conflicts, Mode
from chaos.recording import Operation, Take
from chaos.windows import Window, noticed, quiet
from chaos.workloads.elements import SetOutcome, held, set_outcome
from chaos.workloads.workload import PRELOAD

NO_FAULT: Final = "none"

REGISTERS: Final = "registers"
SETS: Final = "set-add"

NOTHING_LOST: Final = "with siblings no acknowledged addition is lost"
NOTHING_STALE: Final = "strict quorums that overlap show every acknowledged write"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one mode under one fault.

    Attributes:
        asked: registers' requests while the fault was known, or while nothing was broken.
        unanswered: percent of these.
        reads: successful reads in that time.
        stale: percent of these.
        added: acknowledged additions to sets, in the whole take.
        lost: how many of these.
    """

    fault: str
    mode: Mode
    asked: int
    unanswered: float
    reads: int
    stale: float
    added: int
    lost: int

    @property
    def lost_percent(self) -> float:
        """Of the acknowledged additions."""
        return 100 * self.lost / self.added if self.added else 0.0

    @property
    def dot(self) -> CapDot:
        """On the CAP map."""
        return CapDot(
            mode=self.mode.name,
            fault=self.fault,
            unavailable=self.unanswered,
            stale=self.stale,
            lost=self.lost_percent,
            requests=self.asked,
        )


def costs(take: Take, fault: str) -> tuple[Cost, ...]:
    """What each mode of a take cost."""
    window = _counted_in(take)
    seen = [
        sight
        for sight in sights(take.operations, take.head.modes)
        if window.from_s <= sight.at_s < window.until_s
    ]
    stale = by_mode(seen)
    return tuple(
        Cost(
            fault=fault,
            mode=mode,
            asked=len(asked),
            unanswered=100 - answered,
            reads=stale[mode.name].reads if mode.name in stale else 0,
            stale=stale[mode.name].percent if mode.name in stale else 0.0,
            added=added,
            lost=lost,
        )
        for mode in take.head.modes
        if (asked := [op for op in _registers(take, window) if op.mode == mode.name])
        and (answered := percent_ok(asked)) is not None
        for added, lost in [_additions(take, mode)]
    )


def only(take: Take, workload: str) -> Take:
    """A take without the operations of other workloads."""
    own = tuple(op for op in take.operations if op.workload == workload)
    return msgspec.structs.replace(take, operations=own)


def _counted_in(take: Take) -> Window:
    known = noticed(take) or quiet(take)
    return known._replace(until_s=known.until_s - TAIL_S)


def _registers(take: Take, window: Window) -> list[Operation]:
    return [op for op in window.of(take) if op.workload == REGISTERS and op.note != PRELOAD]


def _additions(take: Take, mode: Mode) -> tuple[int, int]:
    """Acknowledged, and lost of these."""
    sets = only(take, SETS)
    if mode.conflicts is Conflicts.LWW:
        return lost_updates(sets).by_mode.get(mode.name, (0, 0))
    found = _outcomes(sets, mode)
    return sum(len(one.acknowledged) for one in found), sum(len(one.losses) for one in found)


def _outcomes(sets: Take, mode: Mode) -> list[SetOutcome]:
    objects = by_object(op for op in sets.operations if op.mode == mode.name)
    return [
        set_outcome(operations, held(sets.final, *place)) for place, operations in objects.items()
    ]


# ---- what no fault may cost


def nothing_lost(take: Take) -> RuleOutcome:
    """Every acknowledged addition to a set with siblings is in the union of what is left."""
    sets, operations = only(take, SETS), {op.index: op for op in take.operations}
    modes = [mode for mode in take.head.modes if mode.conflicts is Conflicts.SIBLINGS]
    found = [one for mode in modes for one in _outcomes(sets, mode)]
    added = sum(len(one.acknowledged) for one in found)
    return ruled(
        NOTHING_LOST,
        take,
        kept=f"all {counted(added, 'acknowledged addition')} in {counted(len(modes), 'mode')} are"
        " there in the end",
        broken="acknowledged additions are gone",
        breaches=[
            Breach(f"that of {told(operations[loss.write])}", (loss.write,))
            for one in found
            for loss in one.losses
        ],
        unknown=[] if added else ["nothing was added to any set"],
    )


def nothing_stale(take: Take) -> RuleOutcome:
    """Where R + W > N and stand-ins do not count, a read meets a replica that has the write."""
    operations = {op.index: op for op in take.operations}
    modes = [mode for mode in take.head.modes if not mode.sloppy and mode.r + mode.w > mode.n]
    names = {mode.name for mode in modes}
    seen = [s for s in sights(take.operations, take.head.modes) if s.mode in names]
    return ruled(
        NOTHING_STALE,
        take,
        kept=f"none of {counted(len(seen), 'read')} in {counted(len(modes), 'mode')} with R + W > N"
        " missed a write that had been acknowledged before",
        broken="reads missed what had been acknowledged before",
        breaches=[
            Breach(
                f"{told(operations[sight.operation])} in mode {sight.mode} missed"
                f" {told(operations[sight.missed[0]])}",
                (sight.operation, *sight.missed),
            )
            for sight in seen
            if sight.is_stale
        ],
    )


# ---- in words


def tables(found: Sequence[Cost]) -> tuple[Table, ...]:
    """A table for each kind of cost: modes downwards, faults across."""
    return (
        _table(
            found,
            "Requests without an answer, %",
            "Of the registers' reads and writes, from when the nodes knew of the fault until it was"
            " over: so this is the price of the partition itself, not of finding out.",
            lambda cost: f"{cost.unanswered:.1f}",
        ),
        _table(
            found,
            "Stale reads, %",
            "Of the successful reads in the same time: those that missed a write which had been"
            " acknowledged before the read began. Who is never answered is never stale.",
            lambda cost: f"{cost.stale:.1f}" if cost.reads else "no read",
        ),
        _table(
            found,
            "Lost additions, % of those acknowledged",
            "Elements added to a set by reading it and writing the union, acknowledged, and not in"
            " the set at the end of the take. With siblings both of two concurrent sets are kept;"
            " the last write drops one of them, also where two clients merely race.",
            lambda cost: f"{cost.lost_percent:.1f} of {cost.added}" if cost.added else "none added",
        ),
    )


def _table(found: Sequence[Cost], title: str, said: str, cell: Callable[[Cost], str]) -> Table:
    faults = tuple(dict.fromkeys(cost.fault for cost in found))
    modes = tuple(dict.fromkeys(cost.mode.name for cost in found))
    cells = {(cost.mode.name, cost.fault): cell(cost) for cost in found}
    rows = ((mode, *(cells.get((mode, fault), "") for fault in faults)) for mode in modes)
    return Table(title=title, said=said, columns=("mode", *faults), rows=tuple(rows))


def in_words(found: Sequence[Cost]) -> str:
    """Who refused most and least, who was stale most, who lost what; one sentence."""
    broken = [cost for cost in found if cost.fault != NO_FAULT]
    if not broken:
        return "No request was sent while a fault was known."
    refusing, answering = _extreme(broken, max), _extreme(broken, min)
    stale = max(broken, key=lambda cost: cost.stale)
    lost = max(broken, key=lambda cost: cost.lost_percent)
    kept = [cost for cost in broken if cost.mode.conflicts is Conflicts.SIBLINGS]
    return (
        f"Over all faults, {refusing[0]} left {refusing[1]:.0f} % of requests unanswered and"
        f" {answering[0]} only {answering[1]:.0f} %; {stale.mode.name} showed {stale.stale:.0f} %"
        f" of reads stale ({stale.fault}); {lost.mode.name} lost {lost.lost_percent:.0f} % of"
        f" acknowledged additions ({lost.fault}), and modes that keep siblings lost"
        f" {sum(cost.lost for cost in kept)} of {sum(cost.added for cost in kept)}."
    )


def _extreme(found: Sequence[Cost], which: Callable[..., str]) -> tuple[str, float]:
    """The mode that left most or fewest requests unanswered, over all faults, and the percent."""
    asked: dict[str, int] = {}
    unanswered: dict[str, float] = {}
    for cost in found:
        name = cost.mode.name
        asked[name] = asked.get(name, 0) + cost.asked
        unanswered[name] = unanswered.get(name, 0.0) + cost.unanswered * cost.asked
    shares = {name: unanswered[name] / asked[name] for name in asked}
    mode = which(shares, key=lambda name: shares[name])
    return mode, shares[mode]
