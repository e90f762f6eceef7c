"""How a rule says what it found: one sentence with numbers, and few operations that show it."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from chaos.judgement import RuleOutcome, Verdict
from chaos.recording import Operation, Take

TOLD_MAX: Final = 3
"""So many of what was found are told in words; of the rest, how many there are."""

EVIDENCE_MAX: Final = 8


class Breach(NamedTuple):
    """One thing that must not be.

    Attributes:
        said: what is wrong, in words that stand for themselves.
        operations: indexes of those that show it.
    """

    said: str
    operations: tuple[int, ...] = ()


def ruled(
    rule: str,
    take: Take,
    *,
    kept: str,
    broken: str,
    breaches: Sequence[Breach],
    unknown: Sequence[str] = (),
) -> RuleOutcome:
    """The outcome of a rule.

    Args:
        rule: its name.
        take: where.
        kept: what to say if there is no breach.
        broken: what the breaches are, to follow their number: `acknowledged writes are lost`.
        breaches: what was found.
        unknown: what could not be looked at, in words; if there is any, nothing is concluded.
    """
    found = f"{len(breaches)} {broken}: {_few([breach.said for breach in breaches])}"
    said = found if breaches else kept
    verdict = Verdict.FAIL if breaches else Verdict.PASS
    if unknown:
        said = f"{_few(unknown)}; besides, {found}" if breaches else _few(unknown)
        verdict = Verdict.INVALID
    evidence = dict.fromkeys(index for breach in breaches for index in breach.operations)
    return RuleOutcome(
        rule=rule,
        take=take.name,
        verdict=verdict,
        said=said,
        evidence=tuple(evidence)[:EVIDENCE_MAX],
    )


def told(operation: Operation) -> str:
    """An operation, so that it can be found again: `put 12 of c1 (1.204 s)`."""
    return (
        f"{operation.action} {operation.index} of {operation.client} ({operation.invoked_s:.3f} s)"
    )


def at(place: tuple[str, str]) -> str:
    """An object's name, by bucket and key."""
    return "/".join(place)


def counted(number: int, noun: str) -> str:
    """`1 read`, `2 reads`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _few(sentences: Sequence[str]) -> str:
    more = len(sentences) - TOLD_MAX
    listed = "; ".join(sentences[:TOLD_MAX])
    return f"{listed}; and {more} more" if more > 0 else listed
