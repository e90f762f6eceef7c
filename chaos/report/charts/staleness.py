"""How soon a write is seen by whoever reads it, beside what the PBS model says (VLDB 2012)."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from chaos.judgement import StalenessCurve, StalenessPoint, Table
from chaos.report.style import (
    MUTED,
    Chart,
    KeyLine,
    ModeStyle,
    Tips,
    beside,
    mode_styles,
    panel,
    sheet,
)
from chaos.report.words import counted, number

_HEIGHT_IN = 3.0
_Z = 1.96
"""Of the interval that holds the truth 19 times in 20."""


def staleness(curves: Sequence[StalenessCurve]) -> Chart | None:
    """None without points."""
    curves = [curve for curve in curves if curve.points]
    if not curves:
        return None
    figure, tips = sheet(_HEIGHT_IN + 0.75), Tips()
    axes = panel(figure, top_in=0.2, height_in=_HEIGHT_IN)
    styles = mode_styles(curve.mode for curve in curves)
    for curve in curves:
        _draw(axes, curve, styles[curve.mode], tips)
    _axes(axes, curves)
    beside(axes, _key(curves, styles))
    return Chart(
        name="staleness",
        heading="How long a write may stay unseen, measured against the model",
        said=f"{_in_words(curves)} Dots are measured, with the interval that holds the truth 19"
        " times in 20; lines are predicted from the delays measured between the nodes (PBS)."
        " A mode whose R + W is above N starts at 100 %.",
        figure=figure,
        tips=tips,
        data=_table(curves),
    )


def interval(point: StalenessPoint) -> tuple[float, float]:
    """Wilson's, in percent."""
    share, reads = point.measured / 100, max(point.reads, 1)
    middle = (share + _Z**2 / (2 * reads)) / (1 + _Z**2 / reads)
    half = _Z / (1 + _Z**2 / reads) * ((share * (1 - share) + _Z**2 / (4 * reads)) / reads) ** 0.5
    return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)


def _in_words(curves: Sequence[StalenessCurve]) -> str:
    points = [point for curve in curves for point in curve.points]
    widest = max(points, key=lambda point: abs(point.measured - point.predicted))
    off = abs(widest.measured - widest.predicted)
    return (
        f"Measured and predicted are {number(off)} points apart at the most,"
        f" {number(widest.after_ms, 'ms')} after the acknowledgement."
    )


def _draw(axes: Axes, curve: StalenessCurve, style: ModeStyle, tips: Tips) -> None:
    after_ms = [point.after_ms for point in curve.points]
    axes.plot(after_ms, [point.predicted for point in curve.points], color=style.colour)
    for point in curve.points:
        low, high = interval(point)
        axes.plot([point.after_ms] * 2, [low, high], color=style.colour, linewidth=0.9, alpha=0.7)
        dot = axes.plot(
            [point.after_ms], [point.measured], style.marker, color=style.colour, markersize=5
        )[0]
        dot.set_clip_on(False)
        tips.on(dot, _in_full(curve.mode, point))


def _in_full(mode: str, point: StalenessPoint) -> str:
    return (
        f"{mode}, {number(point.after_ms, 'ms')} after: {number(point.measured, '%')} of"
        f" {counted(point.reads, 'read')} saw the write, predicted {number(point.predicted, '%')}"
    )


def _axes(axes: Axes, curves: Sequence[StalenessCurve]) -> None:
    points = [point for curve in curves for point in curve.points]
    positive = [point.after_ms for point in points if point.after_ms > 0]
    if positive:
        axes.set_xscale("symlog", linthresh=min(positive), linscale=0.35)
    axes.set_xlim(0, 1.15 * max([1.0, *positive]))
    ticks = sorted({point.after_ms for point in points})
    axes.set_xticks(ticks)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    lowest = min(min(point.measured, point.predicted) for point in points)
    axes.set_ylim(max(0.0, 10 * (lowest // 10)), 101)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    axes.grid(axis="y")
    axes.set_xlabel("milliseconds from the acknowledgement to the read", loc="left")
    axes.set_ylabel("reads that saw the write", loc="top")


def _key(curves: Sequence[StalenessCurve], styles: dict[str, ModeStyle]) -> list[KeyLine]:
    modes = [KeyLine(one.mode, styles[one.mode].sign, styles[one.mode].colour) for one in curves]
    how = [KeyLine(text, ink=MUTED) for text in ("", "dots: measured", "line: predicted")]
    return [*modes, *how]


def _table(curves: Sequence[StalenessCurve]) -> Table:
    return Table(
        title="Staleness",
        said="",
        columns=("mode", "ms after", "measured %", "predicted %", "reads"),
        rows=tuple(
            (
                curve.mode,
                f"{point.after_ms:g}",
                f"{point.measured:.2f}",
                f"{point.predicted:.2f}",
                f"{point.reads:,}",
            )
            for curve in curves
            for point in curve.points
        ),
    )
