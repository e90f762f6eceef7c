"""What several experiments measure in the same way, from a recording."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from chaos.arrivals import OVERFULL
from chaos.checkers.staleness import sights
from chaos.checkers.telling import Breach, counted, ruled
from chaos.judgement import Availability, RuleOutcome
from chaos.modes import Mode
from chaos.predictions.availability import (
    READ,
    WRITE,
    Reaches,
    asked_in,
    predicted_percent,
    within,
)
from chaos.recording import Action, Operation, Outcome, Recording, Take
from chaos.windows import Window, noticed, unnoticed
from chaos.workloads.workload import PRELOAD

TAIL_S: Final = 0.3
"""The end of a window is left out: what begins there may be answered after it."""

ACTIONS: Final[Mapping[str, Sequence[Action]]] = {
    READ: (Action.GET,),
    WRITE: (Action.PUT, Action.DELETE),
}


def percent_ok(operations: Iterable[Operation]) -> float | None:
    """Percent of requests that were answered; None if there were none."""
    outcomes = [operation.outcome is Outcome.OK for operation in operations]
    return 100 * sum(outcomes) / len(outcomes) if outcomes else None


def quantile_ms(operations: Iterable[Operation], share: float) -> float | None:
    """How long that share of answered requests took at most, in milliseconds."""
    taken = sorted(op.latency_s for op in operations if op.outcome is Outcome.OK)
    return 1000 * taken[min(len(taken) - 1, int(share * len(taken)))] if taken else None


def availability(
    recording: Recording, reaches: Reaches | None = None, *, tail_s: float = TAIL_S
) -> tuple[Availability, ...]:
    """What share of requests each side's clients had answered while a fault was known.

    Args:
        recording: each take of it has one fault, or several that begin and end together.
        reaches: who reached whom; by the take's sides if not given.
        tail_s: of the time before the end of the fault so much is left out.
    """
    return tuple(
        row
        for take in recording.takes
        for mode in take.head.modes
        for side in (*take.head.sides, "roaming")
        for action in ACTIONS
        for reached in (reaches or within(*take.head.sides.values()),)
        if (row := _row(take, mode, side, action, reached, tail_s))
    )


def _row(
    take: Take, mode: Mode, side: str, action: str, reaches: Reaches, tail_s: float
) -> Availability | None:
    def asked(window: Window | None) -> list[Operation]:
        return [
            op
            for op in (window.of(take) if window else ())
            if (op.mode, op.side) == (mode.name, side)
            and op.action in ACTIONS[action]
            and op.error != OVERFULL
        ]

    known = noticed(take)
    counted = asked(known and known._replace(until_s=known.until_s - tail_s))
    measured = percent_ok(counted)
    if measured is None:
        return None
    return Availability(
        take=take.name,
        mode=mode.name,
        side=side,
        action=action,
        measured=measured,
        measured_before=percent_ok(asked(unnoticed(take))),
        predicted=predicted_percent(
            asked_in(counted, action), take.head.placements, mode, action, reaches
        ),
        requests=len(counted),
    )


ASKED: Final = "every mode was asked on every side while the fault was known"


def asked_everywhere(take: Take, rows: Iterable[Availability]) -> RuleOutcome:
    """What nobody asked then, or nobody can foretell, is held against no prediction.

    Args:
        take: with all that was asked in it.
        rows: what `availability` found; those of other takes are left out.
    """
    own = {(row.mode, row.side, row.action): row for row in rows if row.take == take.name}
    asked = {
        (op.mode, op.side, action)
        for op in take.operations
        for action, actions in ACTIONS.items()
        if op.action in actions and op.side in take.head.sides and op.note != PRELOAD
    }
    unknown = [f"no {a} in mode {m} on side {s}" for m, s, a in sorted(asked - own.keys())]
    unforetold = [row for row in own.values() if row.predicted is None]
    if unforetold:
        unknown.append(f"nothing is predicted for {counted(len(unforetold), 'share')} of requests")
    return ruled(
        ASKED,
        take,
        kept=f"{counted(sum(row.requests for row in own.values()), 'request')} make up"
        f" {counted(len(own), 'share')}, of {min((r.requests for r in own.values()), default=0)} at"
        " least",
        broken="",
        breaches=[],
        unknown=unknown or ([] if own else ["nobody asked for anything"]),
    )


def availability_in_words(rows: Sequence[Availability]) -> str:
    """In one sentence: from which mode to which, and how near to the predictions."""
    if not rows:
        return "No request was sent while a fault was known."
    by_mode: dict[str, list[Availability]] = {}
    for row in rows:
        by_mode.setdefault(row.mode, []).append(row)
    shares = [
        f"{mode} {sum(r.measured * r.requests for r in of) / sum(r.requests for r in of):.0f} %"
        for mode, of in by_mode.items()
    ]
    predicted = [abs(row.measured - row.predicted) for row in rows if row.predicted is not None]
    apart = f"; at most {max(predicted):.1f} points from the predictions" if predicted else ""
    return (
        f"While the fault was known, requests were answered as follows: {', '.join(shares)}{apart}."
    )


OVERLAP: Final = "where R + W is above N, no read misses what was acknowledged before"


def overlap_shows_all(take: Take) -> RuleOutcome:
    """Every quorum of readers has a node in common with every quorum of writers (Dynamo 4.5)."""
    strict = {mode.name for mode in take.head.modes if not mode.sloppy and mode.r + mode.w > mode.n}
    seen = sights((op for op in take.operations if op.mode in strict), take.head.modes)
    stale = [sight for sight in seen if sight.is_stale]
    return ruled(
        OVERLAP,
        take,
        kept=f"{counted(len(seen), 'read')} in {', '.join(sorted(strict))} missed nothing that was"
        " acknowledged before they began",
        broken="reads missed what was acknowledged before they began",
        breaches=[
            Breach(
                f"read {sight.operation} ({sight.mode}) missed write {sight.missed[0]},"
                f" acknowledged {1000 * sight.behind_s:.0f} ms before",
                (sight.missed[0], sight.operation),
            )
            for sight in stale
        ],
        unknown=[] if seen else ["nobody read in such a mode"],
    )
