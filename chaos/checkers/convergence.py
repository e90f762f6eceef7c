"""Replicas converge without reads: some time after all is well they hold the same, by themselves.

Nobody may read meanwhile, or read repair would do the work that hints and anti-entropy are to do.
Hints are gone in the end, and nodes that are no home of an object keep nothing of it.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from chaos.checkers.objects import Ending, Place, ending, states_by_place
from chaos.checkers.telling import Breach, at, counted, ruled
from chaos.judgement import RuleOutcome
from chaos.recording import Action, Operation, ReplicaState, Take

RULE: Final = "replicas converge without reads"


def check(take: Take) -> RuleOutcome:
    """Hold the replicas of every object against each other, and the time that it took."""
    placements = {(p.bucket, p.key): p for p in take.head.placements}
    states = states_by_place(take)
    n = max((mode.n for mode in take.head.modes), default=1)
    asked = {operation.place for operation in take.operations}
    endings = {
        place: ending(place, states.get(place, ()), placements.get(place), n)
        for place in sorted(asked | placements.keys() | states.keys())
    }
    breaches = [*_too_late(take)]
    for place, end in endings.items():
        breaches += _apart(place, end, states.get(place, ()))
    after_s = take.head.converged_after_s
    return ruled(
        RULE,
        take,
        kept=f"all replicas of {counted(len(endings), 'object')} were equal {after_s or 0:.1f} s"
        f" after all was well, of {take.head.convergence_s_max:g} s they may take, and no hint was"
        " left",
        broken="things that should not be so after convergence",
        breaches=breaches,
        unknown=[*_unknown(take, endings.values())],
    )


def _unknown(take: Take, endings: Iterable[Ending]) -> Iterator[str]:
    if not take.final:
        yield "what the nodes held in the end was not dumped"
    else:
        yield from (end.missing for end in endings if end.missing)
    if reads := _reads_meanwhile(take):
        yield (
            f"{counted(len(reads), 'read')} while replicas were to converge by themselves, the"
            f" first by {reads[0].client} at {reads[0].invoked_s:.3f} s: read repair may have"
            " helped"
        )


def _too_late(take: Take) -> Iterator[Breach]:
    after_s, most_s = take.head.converged_after_s, take.head.convergence_s_max
    if after_s is None:
        yield Breach(f"replicas were not seen equal within {most_s:g} s")
    elif after_s > most_s:
        yield Breach(f"it took {after_s:.1f} s and may take {most_s:g} s")


def _apart(place: Place, end: Ending, states: Sequence[ReplicaState]) -> Iterator[Breach]:
    if not end.is_equal:
        held = ", ".join(f"{s.node} {s.digest or 'nothing'}" for s in states if s.primary)
        yield Breach(f"{at(place)} differs between its homes ({held})")
    for state in states:
        if state.hinted_for:
            yield Breach(f"{state.node} keeps a hint of {at(place)} for {state.hinted_for[0]}")
        if not state.primary and state.digest is not None:
            yield Breach(f"{state.node} is no home of {at(place)} and holds it")


def _reads_meanwhile(take: Take) -> list[Operation]:
    """Reads between the moment from which nobody should ask and the convergence."""
    began_s = max(take.head.mark_s(name) or 0.0 for name in ("healed", "quiet"))
    if take.head.mark_s("quiet") is None or take.head.converged_after_s is None:
        return []
    until_s = began_s + take.head.converged_after_s
    return [
        operation
        for operation in take.operations
        if operation.action is Action.GET and began_s < operation.invoked_s < until_s
    ]
