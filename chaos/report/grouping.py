"""Rules as a reader wants them: what broke first, and each rule once, whatever number of takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chaos.judgement import RuleOutcome, Verdict, overall
from chaos.report.words import counted

_ORDER: Final = (Verdict.INVALID, Verdict.FAIL, Verdict.PASS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule and all that came of it.

    Attributes:
        verdict: the worst of them.
        said: of the first of those with that verdict.
        outcomes: the worst first.
    """

    name: str
    verdict: Verdict
    said: str
    outcomes: tuple[RuleOutcome, ...]


def rules_of(outcomes: Sequence[RuleOutcome]) -> tuple[Rule, ...]:
    """Each rule once, the worst first."""
    names = dict.fromkeys(outcome.rule for outcome in outcomes)
    grouped = [_rule(name, [one for one in outcomes if one.rule == name]) for name in names]
    return tuple(sorted(grouped, key=lambda rule: _ORDER.index(rule.verdict)))


def _rule(name: str, outcomes: Sequence[RuleOutcome]) -> Rule:
    worst_first = sorted(outcomes, key=lambda outcome: _ORDER.index(outcome.verdict))
    said = worst_first[0].said
    if len(outcomes) > 1:
        like_it = [one for one in outcomes if one.verdict is worst_first[0].verdict]
        where = "all" if len(like_it) == len(outcomes) else f"{len(like_it)} of"
        said = f"In {where} {counted(len(outcomes), 'take')}, {_place(worst_first[0])}{said}"
    return Rule(
        name=name,
        verdict=overall(outcome.verdict for outcome in outcomes),
        said=said,
        outcomes=tuple(worst_first),
    )


def _place(outcome: RuleOutcome) -> str:
    return f"such as {outcome.take}: " if outcome.take else ""
