"""The rules that hold for every take, whatever was broken in it."""

from collections.abc import Callable, Sequence
from typing import Final

from chaos.checkers import (
    convergence,
    health,
    hints,
    honesty,
    integrity,
    last_write_wins,
    lost_writes,
    resurrection,
    sibling_sets,
    witness,
)
from chaos.judgement import RuleOutcome
from chaos.modes import Conflicts
from chaos.recording import Take

_OF_SIBLINGS: Final[Sequence[Callable[[Take], RuleOutcome]]] = (
    lost_writes.check,
    sibling_sets.check,
    resurrection.check,
)
_OF_ALL: Final[Sequence[Callable[[Take], RuleOutcome]]] = (
    convergence.check,
    integrity.check,
    honesty.check,
)


def standard(take: Take, *, hints_may_expire: bool = False) -> tuple[RuleOutcome, ...]:
    """The outcome of every rule that has something to look at in a take.

    Args:
        take: with what was left in the end.
        hints_may_expire: see `hints.check`.

    Raises:
        RecordingError: an operation has a mode that the take does not know.
    """
    asked = {operation.mode for operation in take.operations}
    conflicts = {mode.conflicts for mode in take.head.modes if mode.name in asked}
    outcomes = [witness.probes_passed(take), witness.check(take)]
    if Conflicts.SIBLINGS in conflicts:
        outcomes += [check(take) for check in _OF_SIBLINGS]
    if Conflicts.LWW in conflicts:
        outcomes.append(last_write_wins.check(take))
    outcomes += [check(take) for check in _OF_ALL]
    is_counted = not any(fault.kind == "wipe" for fault in take.head.faults)
    outcomes.append(hints.check(take, exact=is_counted, may_expire=hints_may_expire))
    outcomes.append(health.check(take))
    return tuple(outcomes)
