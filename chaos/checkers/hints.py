"""Hints are conserved: what was stored for others was delivered, joined to a later one, or expired.

In the end none is held, and unless an experiment aims at it none expires.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from chaos.checkers.telling import Breach, ruled
from chaos.judgement import RuleOutcome
from chaos.recording import Take

RULE: Final = "hints are conserved"

_NAMES: Final = ("stored", "delivered", "superseded", "expired", "held")


def check(take: Take, *, exact: bool = True, may_expire: bool = False) -> RuleOutcome:
    """Add up what became of hints.

    Args:
        take: with its sums over all nodes.
        exact: whether every hint was counted to its end. A node that loses its disk loses hints
            and their count with it: then no more can be asked than that nothing came of none.
        may_expire: the experiment makes hints so old or so many that some go undelivered.
    """
    hints = take.head.hints
    unknown = [name for name in _NAMES if name not in hints]
    sums = ", ".join(f"{hints.get(name, 0)} {name}" for name in _NAMES)
    kept = f"hints: {sums}; stored is the sum of the others"
    if not exact:
        kept = (
            f"hints: {sums}; counts were lost with a disk, so only that stored is not less than the"
            " sum of the others was looked at"
        )
    return ruled(
        RULE,
        take,
        kept=kept,
        broken="sums of hints are wrong",
        breaches=[] if unknown else [*_breaches(hints, sums, exact, may_expire)],
        unknown=[f"hints were not counted: {', '.join(unknown)}"] if unknown else [],
    )


def _breaches(
    hints: Mapping[str, int], sums: str, exact: bool, may_expire: bool
) -> Iterator[Breach]:
    unaccounted = hints["stored"] - sum(hints[name] for name in _NAMES[1:])
    if unaccounted < 0:
        yield Breach(f"{-unaccounted} more went than were stored ({sums})")
    if unaccounted > 0 and exact:
        yield Breach(f"{unaccounted} vanished ({sums})")
    if hints["held"]:
        yield Breach(f"{hints['held']} are still held in the end")
    if hints["expired"] and not may_expire:
        yield Breach(f"{hints['expired']} went undelivered")
