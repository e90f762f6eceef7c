"""Faults and moments on an axis of time, the same in every picture."""

from typing import Final

from matplotlib.axes import Axes

from chaos.recording import Fault, Take
from chaos.report.style import EDGE, FAULT_COLOURS, INK, MUTED, SHADE, Row, Tips
from chaos.report.times import Span, fault_spans, span_of, until_s
from chaos.report.words import clean, counted, number, short

_SHOWN_MARKS: Final[dict[str, str]] = {
    "settled": "nodes know",
    "healed": "healed",
    "converged": "all alike",
}
"""Moments that get a line, and what stands beside it."""

_LANES_MAX = 7
_LANE_IN = 0.23
_LETTERS_MAX = 80
_NEAR_SHARE = 0.09
_MOMENT_PT = 11.0


def shade(axes: Axes, take: Take) -> None:
    """A tint where anything was broken, darker at its edges, and lines at the moments."""
    tint(axes, take)
    for name in _SHOWN_MARKS:
        at_s = take.head.mark_s(name)
        if at_s is not None:
            axes.axvline(at_s, color=MUTED, linewidth=0.8, linestyle=(0, (3, 2)), zorder=-8)


def tint(axes: Axes, take: Take) -> None:
    """Only the tint and its edges."""
    for span in fault_spans(take):
        axes.axvspan(span.from_s, span.until_s, facecolor=SHADE, edgecolor="none", zorder=-10)
    for fault in take.head.faults:
        for edge in (fault.began, fault.ended):
            if edge is not None:
                axes.axvspan(edge.from_s, edge.until_s, color=EDGE, linewidth=0.8, zorder=-9)


def lanes_row(take: Take, tips: Tips) -> Row | None:
    """A lane for each thing that was broken, and above it the names of the moments."""
    lanes = _lanes(take.head.faults)
    if not lanes:
        return None

    def draw(axes: Axes) -> None:
        axes.set_ylim(len(lanes), 0)
        axes.set_yticks([len(lanes) / 2], ["what was broken"])
        axes.spines["left"].set_visible(False)
        axes.tick_params(bottom=False, left=False, labelcolor=INK)
        tint(axes, take)
        for number_, faults in enumerate(lanes.values()):
            _draw_lane(axes, faults, number_, until_s(take), tips)
        _name_moments(axes, take)

    return Row("", _LANE_IN * len(lanes) + 0.04, draw)


def _lanes(faults: tuple[Fault, ...]) -> dict[str, list[Fault]]:
    by_words: dict[str, list[Fault]] = {}
    by_kind: dict[str, list[Fault]] = {}
    for fault in faults:
        by_words.setdefault(f"{fault.kind} {fault.said}", []).append(fault)
        by_kind.setdefault(fault.kind, []).append(fault)
    return by_words if len(by_words) <= _LANES_MAX else by_kind


def _draw_lane(axes: Axes, faults: list[Fault], lane: int, end_s: float, tips: Tips) -> None:
    colour = FAULT_COLOURS.get(faults[0].kind, MUTED)
    for fault in faults:
        span = span_of(fault, end_s)
        length_s = max(span.until_s - span.from_s, 0.002 * end_s)
        bar = axes.barh(lane + 0.5, length_s, left=span.from_s, height=0.66, color=colour)[0]
        bar.set_alpha(0.35)
        tips.on(bar, f"{fault.kind}: {fault.said}, {_lasting(fault)}")
    _name_lane(axes, faults, lane, end_s)


def _name_lane(axes: Axes, faults: list[Fault], lane: int, end_s: float) -> None:
    said = {fault.said for fault in faults}
    text = f"{faults[0].kind}: {faults[0].said}" if len(said) == 1 else faults[0].kind
    if len(faults) > 1:
        text += f" ({counted(len(faults), 'time')})"
    first = span_of(faults[0], end_s)
    right = first.from_s > 0.5 * end_s
    axes.annotate(
        short(clean(text), _LETTERS_MAX),
        (span_of(faults[-1], end_s).until_s if right else first.from_s, lane + 0.5),
        xytext=(-4 if right else 4, 0),
        textcoords="offset points",
        ha="right" if right else "left",
        va="center",
        fontsize=8,
        color=INK,
    )


def _lasting(fault: Fault) -> str:
    began = f"from {_instant(Span(fault.began.from_s, fault.began.until_s))}"
    if fault.ended is None:
        return f"{began} to the end"
    return f"{began} to {_instant(Span(fault.ended.from_s, fault.ended.until_s))}"


def _instant(span: Span) -> str:
    width_ms = 1000 * (span.until_s - span.from_s)
    return f"{span.until_s:.2f} s (which took {number(width_ms, 'ms')})"


def _name_moments(axes: Axes, take: Take) -> None:
    last_s, raised = -1.0, False
    for name, said in _SHOWN_MARKS.items():
        at_s = take.head.mark_s(name)
        if at_s is not None:
            near = last_s >= 0 and at_s - last_s < _NEAR_SHARE * until_s(take)
            raised = near and not raised
            last_s = at_s
            axes.annotate(
                f"{said} ↓",
                (at_s, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, _MOMENT_PT if raised else 2),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=8,
                color=MUTED,
            )
