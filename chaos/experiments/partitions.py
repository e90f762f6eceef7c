"""What experiments with cuts of odd shapes share: who reaches whom, and what it cost. Pure."""

from collections.abc import Callable, Collection, Sequence
from typing import Final

import msgspec

from chaos.checkers.staleness import Sight, by_mode, by_mode_and_side, sights, within
from chaos.experiments.counters import rise
from chaos.experiments.measuring import ACTIONS, TAIL_S, availability, percent_ok
from chaos.judgement import Availability, Figure, Table
from chaos.links import CutKind, Way, unanswered
from chaos.predictions.availability import Reaches, all_but, asked_in, predicted_percent
from chaos.recording import Operation, Recording, Take
from chaos.windows import Window, noticed

OPINIONS: Final = ("opinions_changed_total",)

_LOOKS_MIN: Final = 3

Shape = Callable[[Take], Collection[Way]]
"""What was cut in a take."""


def reaching(take: Take, ways: Collection[Way]) -> Reaches:
    """Who reached whom while these ways were cut as the take has it."""
    return all_but(unanswered(ways, CutKind(take.head.cut)))


def availability_of(recording: Recording, shape: Shape) -> tuple[Availability, ...]:
    """As `measuring.availability`, where each take has a cut of its own."""
    return tuple(
        row
        for take in recording.takes
        for row in availability(
            msgspec.structs.replace(recording, takes=(take,)), reaching(take, shape(take))
        )
    )


def known(take: Take) -> Window | None:
    """While every node knew whom it reached, but for the very end."""
    window = noticed(take)
    return window and window._replace(until_s=window.until_s - TAIL_S)


def by_coordinator(take: Take, ways: Collection[Way], action: str) -> Table:
    """What share of requests each node could answer, beside what the ring predicts for them."""
    window, reaches = known(take), reaching(take, ways)
    asked = [
        operation
        for operation in (window.of(take) if window else ())
        if operation.action in ACTIONS[action]
    ]

    def cell(node: str, mode: str) -> str:
        own = [op for op in asked if (op.node, op.mode) == (node, mode)]
        return _beside(own, take, mode, action, reaches)

    modes = [mode.name for mode in take.head.modes]
    return Table(
        title=f"{action.capitalize()}s by who was asked ({take.name})",
        said="Percent answered / percent predicted, while the cut was known. The nodes see"
        " different parts of the cluster, so what one cannot answer another can.",
        columns=("asked", "reaches", *modes),
        rows=tuple(
            (node, _reached(node, take, reaches), *(cell(node, mode) for mode in modes))
            for node in take.head.nodes
        ),
    )


def _beside(
    own: Sequence[Operation], take: Take, mode_name: str, action: str, reaches: Reaches
) -> str:
    [mode] = [mode for mode in take.head.modes if mode.name == mode_name]
    measured = percent_ok(own)
    predicted = predicted_percent(
        asked_in(own, action), take.head.placements, mode, action, reaches
    )
    return "" if measured is None or predicted is None else f"{measured:.0f} / {predicted:.0f}"


def _reached(node: str, take: Take, reaches: Reaches) -> str:
    return " ".join(o for o in take.head.nodes if o == node or reaches(node, o))


def stale_table(takes: Sequence[Take]) -> Table:
    """How many percent of the reads on each side were stale while the cut was known."""
    shares = {
        (take.name, *group): f"{one.percent:.1f} of {one.reads}"
        for take in takes
        for group, one in by_mode_and_side(_seen(take)).items()
    }
    columns = [(take.name, side) for take in takes for side in take.head.sides]
    modes = dict.fromkeys(mode.name for take in takes for mode in take.head.modes)
    return Table(
        title="Stale reads, %",
        said="Of the reads that were answered while the cut was known: those that missed a write"
        " which had been acknowledged before, on whatever side.",
        columns=("mode", *(f"{side} ({take})" for take, side in columns)),
        rows=tuple(
            (mode, *(shares.get((take, mode, side), "no read") for take, side in columns))
            for mode in modes
        ),
    )


def stale_figures(take: Take) -> tuple[Figure, ...]:
    """The same, for all sides together."""
    return tuple(
        Figure(label=f"stale reads, {mode}", measured=of.percent, unit="%", take=take.name)
        for mode, of in by_mode(_seen(take)).items()
    )


def _seen(take: Take) -> Sequence[Sight]:
    window = known(take)
    return within(sights(take.operations, take.head.modes), *window) if window else ()


def changes_a_minute(take: Take) -> float | None:
    """How often a node changed its opinion of another while it should have had no reason to.

    Per node and minute, on average, between the looks that were taken while all knew of the cut;
    None if there were too few. A look takes its time, so the first may be of what was before.
    """
    window = noticed(take)
    looks_s = [s.at_s for s in take.samples if window and window.from_s <= s.at_s < window.until_s]
    if len(looks_s) < _LOOKS_MIN:
        return None
    _, from_s, *_, until_s = looks_s
    changed = rise(take, OPINIONS, from_s, until_s)
    return 60 * changed / (until_s - from_s) / len(take.head.nodes)


def until_known(take: Take) -> Figure:
    """From the cut until every node acted on it."""
    window, begun_s = noticed(take), take.head.faults[0].began.until_s
    return Figure(
        label="until every node went by whom it reached",
        measured=None if window is None else window.from_s - begun_s,
        unit="s",
        take=take.name,
    )
