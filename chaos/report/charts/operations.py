"""Every request as one point, by what became of it: where in time the harm was, and how much."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final

from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.ticker import FuncFormatter

from chaos.recording import Operation, Outcome, Take
from chaos.report.charts.shading import shade
from chaos.report.notes import Notes
from chaos.report.style import (
    FAIL,
    INFO,
    LINE,
    LOST,
    SOUND,
    STALE,
    Chart,
    KeyLine,
    Row,
    beside,
    stacked,
)
from chaos.report.times import Bins, from_s, load_of, modes_of, until_s
from chaos.report.words import clean, counted, listed

_COLUMNS_MAX = 220
_HEIGHT_IN_MAX = 6.5
_ROW_IN_MAX = 0.95


class Fate(StrEnum):
    """What became of a request, as far as it can be known in the end; worst first."""

    LOST = "acknowledged, yet lost"
    STALE = "stale"
    FAILED = "refused"
    UNKNOWN = "unknown"
    SOUND = "as it should be"


_COLOURS: Final[dict[Fate, str]] = {
    Fate.LOST: LOST,
    Fate.STALE: STALE,
    Fate.FAILED: FAIL,
    Fate.UNKNOWN: INFO,
    Fate.SOUND: SOUND,
}
_FATES: Final = tuple(Fate)
_PALETTE = ListedColormap([_COLOURS[fate] for fate in _FATES])


def operations(take: Take, notes: Notes) -> Chart | None:
    """None if nothing was asked."""
    load = load_of(take)
    if not load:
        return None
    fates = {one.index: fate_of(one, notes) for one in load}
    bins = Bins(until_s(take) / _COLUMNS_MAX, _COLUMNS_MAX)
    modes = modes_of(take)
    row_in = min(_ROW_IN_MAX, _HEIGHT_IN_MAX / len(modes))
    rows = [
        _row(take, mode, [one for one in load if one.mode == mode], fates, bins, row_in)
        for mode in modes
    ]
    return Chart(
        name=f"{take.name}-operations",
        heading="Every request as a point: where the harm is, and how much of it",
        said=f"{_in_words(fates.values(), notes)} Reads are above the line, writes below it; what"
        " was asked at one moment is stacked, the worst next to the line.",
        figure=stacked(
            rows, from_s=from_s(take), until_s=until_s(take), label="seconds since the take began"
        ),
    )


def fate_of(operation: Operation, notes: Notes) -> Fate:
    """What the outcome and the checkers' notes make of it."""
    if notes.lost and operation.index in notes.lost:
        return Fate.LOST
    if notes.stale and operation.index in notes.stale:
        return Fate.STALE
    if operation.outcome is Outcome.FAIL:
        return Fate.FAILED
    return Fate.UNKNOWN if operation.outcome is Outcome.INFO else Fate.SOUND


def _in_words(fates: Iterable[Fate], notes: Notes) -> str:
    found = list(fates)
    harmed = [f"{found.count(fate):,} {fate.lower()}" for fate in _FATES[:-1] if found.count(fate)]
    text = f"Of {counted(len(found), 'request')}, {listed(harmed) if harmed else 'none'} "
    text += "were harmed." if not harmed else "stand out."
    if notes.stale is None:
        text += " Nobody looked for stale reads here."
    return text


def _row(
    take: Take,
    mode: str,
    operations: Sequence[Operation],
    fates: Mapping[int, Fate],
    bins: Bins,
    row_in: float,
) -> Row:
    reads = _stacks([one for one in operations if not one.is_write], fates, bins)
    writes = _stacks([one for one in operations if one.is_write], fates, bins)
    above = max(map(len, reads), default=0)
    below = max(map(len, writes), default=0)

    def draw(axes: Axes) -> None:
        axes.set_ylim(-below - 0.5, above + 0.5)
        _paint(axes, _image(reads, writes, above, below), bins, above, below)
        shade(axes, take)
        axes.axhline(0, color=LINE, linewidth=1)
        _side_words(axes, above, below)
        beside(axes, _key([fates[one.index] for one in operations]))

    return Row(clean(mode), row_in, draw)


def _stacks(
    operations: Sequence[Operation], fates: Mapping[int, Fate], bins: Bins
) -> list[list[int]]:
    """For each bin the fates of its requests, the worst first."""
    stacks: list[list[int]] = [[] for _ in range(bins.count)]
    for operation in operations:
        stacks[bins.index(operation.invoked_s)].append(_FATES.index(fates[operation.index]))
    return [sorted(stack) for stack in stacks]


def _image(
    reads: Sequence[Sequence[int]], writes: Sequence[Sequence[int]], above: int, below: int
) -> list[list[float]]:
    """Rows from the top: reads grow up from the line, writes down."""
    blank = float("nan")
    upper = [
        [stack[level] if level < len(stack) else blank for stack in reads]
        for level in reversed(range(above))
    ]
    lower = [
        [stack[level] if level < len(stack) else blank for stack in writes]
        for level in range(below)
    ]
    return upper + lower


def _paint(axes: Axes, image: list[list[float]], bins: Bins, above: int, below: int) -> None:
    axes.imshow(
        image,
        cmap=_PALETTE,
        vmin=-0.5,
        vmax=len(_FATES) - 0.5,
        aspect="auto",
        interpolation="nearest",
        extent=(0, bins.until_s, -below, above),
        rasterized=True,
    )
    axes.set_ylim(-below - 0.5, above + 0.5)


def _side_words(axes: Axes, above: int, below: int) -> None:
    axes.set_yticks([above / 2, -below / 2], ["reads", "writes"])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: "reads" if value >= 0 else "writes")
    )


def _key(fates: Sequence[Fate]) -> list[KeyLine]:
    return [
        KeyLine(f"{fate}: {fates.count(fate):,}", "■", _COLOURS[fate])
        for fate in _FATES
        if fate in fates
    ]
