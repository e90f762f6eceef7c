"""Nothing crashed: no node died by itself, no job failed, and memory did not grow without end."""

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Final

from chaos.checkers.lives import Life, lives
from chaos.checkers.telling import Breach, counted, ruled
from chaos.judgement import Figure, RuleOutcome
from chaos.recording import Take

RULE: Final = "nothing crashed"

_FAILURES: Final = "task_failures_total"

_MIB: Final = 2**20
_LOOKS_MIN: Final = 8
"""With fewer looks at a process, what it took to start cannot be told from growth."""


def check(take: Take) -> RuleOutcome:
    """Look for crashes in logs and for failed jobs in the figures."""
    looks = sum(_FAILURES in figures for life in lives(take.samples) for figures in life.figures)
    return ruled(
        RULE,
        take,
        kept=f"no job failed and no crash was logged, in {counted(looks, 'look')} at"
        f" {counted(len(take.head.nodes), 'node')}",
        broken="signs of a crash",
        breaches=[*_breaches(take)],
        unknown=[] if looks else ["no node was looked at while it ran"],
    )


def memory(take: Take) -> tuple[Figure, ...]:
    """How much each process grew between the second and the last quarter of its life."""
    return tuple(
        Figure(
            label=f"memory gained by {life.node}, {life.began_s:.0f} to {life.ended_s:.0f} s",
            measured=gained_mib,
            unit="MiB",
            take=take.name,
        )
        for life in lives(take.samples)
        if (gained_mib := _gained_mib(life)) is not None
    )


def _breaches(take: Take) -> Iterator[Breach]:
    for problem in take.head.problems:
        yield Breach(problem)
    for life in lives(take.samples):
        failures = max(figures.get(_FAILURES, 0.0) for figures in life.figures)
        if failures:
            yield Breach(f"{counted(int(failures), 'job')} of {life.node} failed")


def _gained_mib(life: Life) -> float | None:
    held = [figures["memory_total"] for figures in life.figures if "memory_total" in figures]
    if len(held) < _LOOKS_MIN:
        return None
    quarter = len(held) // 4
    return _mean_mib(held[-quarter:]) - _mean_mib(held[quarter : 2 * quarter])


def _mean_mib(held: Sequence[float]) -> float:
    return fmean(held) / _MIB
