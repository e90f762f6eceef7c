"""What share of requests was answered, mode by mode and side by side, over what was predicted."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from chaos.judgement import Availability, Table
from chaos.report.style import (
    ANSWERED,
    FAIL,
    INK,
    MUTED,
    WIDTH_IN,
    Chart,
    Tips,
    bare,
    panel,
    sheet,
)
from chaos.report.words import NOTHING, counted, number

_CELL_IN = 0.38
_NAMES_IN = 1.35
_HEAD_IN = 0.72
_GAP_IN = 0.25
_COLUMN_IN = 0.70
_DARK = 55.0


def availability(found: Sequence[Availability]) -> Chart | None:
    """None if nothing was measured; takes stand side by side, as far as there is room."""
    if not found:
        return None
    takes = tuple(dict.fromkeys(one.take for one in found))
    modes = tuple(dict.fromkeys(one.mode for one in found))
    shelves = _shelves(found, takes)
    height_in = _HEAD_IN + _CELL_IN * len(modes) + _GAP_IN
    figure, tips = sheet(height_in * len(shelves)), Tips()
    for number_, shelf in enumerate(shelves):
        left_in = _NAMES_IN
        for place, take in enumerate(shelf):
            cells = [one for one in found if one.take == take]
            columns = _columns(cells)
            width_in = _COLUMN_IN * len(columns)
            top_in = height_in * number_ + _HEAD_IN
            box = {"height_in": _CELL_IN * len(modes), "width_in": width_in}
            axes = panel(figure, top_in=top_in, left_in=left_in, **box)
            _draw(axes, cells, modes, columns, tips, named=place == 0)
            axes.set_title(take, pad=36)
            left_in += width_in + _GAP_IN
    return Chart(
        name="availability",
        heading="Who was answered while the fault lasted: measured over predicted",
        said=f"{_in_words(found)} Each cell, in percent: measured, and below it what"
        " the ring of this cluster predicts for the very keys that were asked for. The darker, the"
        " fewer were answered. Counted from when the nodes knew of the fault.",
        figure=figure,
        tips=tips,
        data=_table(found),
    )


def _in_words(found: Sequence[Availability]) -> str:
    predicted = [one for one in found if one.predicted is not None]
    if not predicted:
        return f"{counted(len(found), 'share')}, without a prediction."
    off = [one for one in predicted if not one.holds]
    widest = max(abs(one.measured - (one.predicted or 0)) for one in predicted)
    if off:
        return f"{len(off)} of {len(predicted)} are further off than they may be (framed, ✘)."
    return f"All {len(predicted)} are as predicted, the furthest {number(widest)} points off."


def _columns(cells: Sequence[Availability]) -> tuple[tuple[str, str], ...]:
    sides = tuple(dict.fromkeys(one.side for one in cells))
    actions = tuple(dict.fromkeys(one.action for one in cells))
    seen = {(one.side, one.action) for one in cells}
    return tuple((side, act) for side in sides for act in actions if (side, act) in seen)


def _shelves(found: Sequence[Availability], takes: Sequence[str]) -> list[list[str]]:
    shelves: list[list[str]] = [[]]
    used_in = _NAMES_IN
    for take in takes:
        columns = _columns([one for one in found if one.take == take])
        width_in = _COLUMN_IN * len(columns) + _GAP_IN
        if shelves[-1] and used_in + width_in > WIDTH_IN:
            shelves.append([])
            used_in = _NAMES_IN
        shelves[-1].append(take)
        used_in += width_in
    return shelves


def _draw(
    axes: Axes,
    cells: Sequence[Availability],
    modes: Sequence[str],
    columns: Sequence[tuple[str, str]],
    tips: Tips,
    *,
    named: bool,
) -> None:
    bare(axes)
    axes.set_xlim(0, len(columns))
    axes.set_ylim(len(modes), 0)
    for cell in cells:
        _draw_cell(
            axes, cell, columns.index((cell.side, cell.action)), modes.index(cell.mode), tips
        )
    for column, (side, action) in enumerate(columns):
        place = (column + 0.5, 0)
        _write(axes, f"{side}\n{action}s", place, (0, 4), va="bottom", color=MUTED)
    if named:
        for row, mode in enumerate(modes):
            _write(axes, mode, (0, row + 0.5), (-8, 0), ha="right")


def _write(
    axes: Axes,
    text: str,
    at: tuple[float, float],
    offset_pt: tuple[float, float],
    *,
    ha: str = "center",
    va: str = "center",
    color: str = INK,
) -> None:
    axes.annotate(text, at, xytext=offset_pt, textcoords="offset points", ha=ha, va=va, color=color)


def _draw_cell(axes: Axes, cell: Availability, column: int, row: int, tips: Tips) -> None:
    off = not cell.holds
    box = Rectangle(
        (column + 0.02, row + 0.03),
        0.96,
        0.94,
        facecolor=ANSWERED(cell.measured / 100),
        edgecolor=FAIL if off else "none",
        linewidth=2 if off else 0,
    )
    axes.add_patch(box)
    tips.on(box, _in_full(cell))
    # Cells keep their colours in the dark, so their texts must, too.
    colour = "#ffffff" if cell.measured < 100 - _DARK - 15 else "#10161d"
    sign = " ✘" if off else ""
    _write(axes, f"{number(cell.measured)}{sign}", (column + 0.5, row + 0.5), (0, 4), color=colour)
    below = NOTHING if cell.predicted is None else f"pred. {number(cell.predicted)}"
    axes.annotate(
        below,
        (column + 0.5, row + 0.5),
        xytext=(0, -6.5),
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=7.6,
        color=colour,
    )


def _in_full(cell: Availability) -> str:
    text = (
        f"{cell.mode}, side {cell.side}, {cell.action}s: {number(cell.measured, '%')} of"
        f" {counted(cell.requests, 'request')}, predicted {number(cell.predicted, '%')}"
    )
    if cell.measured_before is not None:
        text += f"; before the nodes knew: {number(cell.measured_before, '%')}"
    return text


def _table(found: Sequence[Availability]) -> Table:
    return Table(
        title="Availability",
        said="",
        columns=(
            "take",
            "mode",
            "side",
            "action",
            "measured %",
            "predicted %",
            "may differ by",
            "requests",
            "before the nodes knew %",
        ),
        rows=tuple(
            (
                one.take,
                one.mode,
                one.side,
                f"{one.action}s",
                f"{one.measured:.1f}{'' if one.holds else ' ✘'}",
                NOTHING if one.predicted is None else f"{one.predicted:.1f}",
                NOTHING if one.predicted is None else number(one.tolerance),
                f"{one.requests:,}",
                NOTHING if one.measured_before is None else f"{one.measured_before:.1f}",
            )
            for one in found
        ),
    )
