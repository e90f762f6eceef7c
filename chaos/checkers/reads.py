"""What reads were worth, mode by mode: how stale they were, and which sessions they broke.

Nothing of it is a rule: R + W up to N promises neither fresh reads nor sessions. It is what a
choice of R and W costs those who read.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from chaos.checkers.sessions import Guarantee, sessions
from chaos.checkers.staleness import Staleness, by_mode, sights
from chaos.judgement import Table
from chaos.recording import Take

TITLE: Final = "What reads were worth"

_SAID: Final = (
    "A read is stale if it misses a write that was acknowledged before it was sent: how many of"
    " those (k), and how long before the oldest of them was acknowledged (t), each as median and"
    " most of the stale reads. The last columns are what single clients may notice: a read that"
    " misses a write of one's own, or something one had seen before. Of the whole take, the times"
    " before and after the fault included."
)

_COLUMNS: Final = (
    *("take", "mode", "reads", "stale, %", "k", "t, s"),
    *(f"against {guarantee}, %" for guarantee in Guarantee),
)


def table(takes: Sequence[Take]) -> Table | None:
    """A row for each take and mode that was read in; None if none was."""
    rows = tuple(row for take in takes for row in _rows(take))
    return Table(title=TITLE, said=_SAID, columns=_COLUMNS, rows=rows) if rows else None


def _rows(take: Take) -> Iterator[tuple[str, ...]]:
    modes = take.head.modes
    kept = sessions(take.operations, modes)
    for mode, found in by_mode(sights(take.operations, modes)).items():
        broken = (f"{kept.percent(mode, guarantee):.1f}" for guarantee in Guarantee)
        yield take.name, mode, str(found.reads), f"{found.percent:.1f}", *_depths(found), *broken


def _depths(found: Staleness) -> tuple[str, str]:
    if not found.stale:
        return "", ""
    k, t = found.versions, found.behind_s
    return f"{k.median:g}, {k.most:g}", f"{t.median:.2f}, {t.most:.2f}"
