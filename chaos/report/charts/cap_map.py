"""What a choice costs: availability to the right, consistency upwards, an arrow for the fault."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from chaos.judgement import CapDot, Table
from chaos.report.style import INK, MUTED, Chart, ModeStyle, Tips, mode_styles, panel, sheet
from chaos.report.words import clean, counted, number

QUIET: Final = "none"

_PANEL_IN = 4.15
_LEFT_IN = 0.75
_GAP_IN = 0.95
_TOP_IN = 0.45
_HEIGHT_IN = 3.3
_ROW_IN = 4.35
_LABEL_PT = 11.5
_LETTER_PT = 5.3
_CEILINGS: Final = (2, 5, 10, 15, 20, 25, 30, 40, 50, 75)
_DOT_PT = 5.0
_SIGN_PT = 8.0
_STEPS = 24
_SISTER = " lww"
_HIDING_COST = 1000.0
_CROSSING_COST = 6.0
_NEAR = 0.035
"""Dots nearer to each other than this share of the axes are named together."""


_Box = tuple[float, float, float, float]
"""Left, low, right and top edge, in points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """Dots that lie together, and where their names go; shares of the axes."""

    dots: tuple[CapDot, ...]
    x: float
    y: float


def cap_map(dots: Sequence[CapDot]) -> Chart | None:
    """None without dots; a panel for each fault, and one axis of harm for all of them."""
    if not dots:
        return None
    quiet = {dot.mode: dot for dot in dots if dot.fault == QUIET}
    faults = tuple(dict.fromkeys(dot.fault for dot in dots if dot.fault != QUIET)) or (QUIET,)
    rows = -(-len(faults) // 2)
    figure, tips = sheet(_ROW_IN * rows), Tips()
    styles = mode_styles(dot.mode for dot in dots)
    highest = _ceiling(dots)
    wide_in = _PANEL_IN if len(faults) > 1 else 2 * _PANEL_IN + _GAP_IN
    for place, fault in enumerate(faults):
        axes = panel(
            figure,
            top_in=_ROW_IN * (place // 2) + _TOP_IN,
            height_in=_HEIGHT_IN,
            left_in=_LEFT_IN + (place % 2) * (wide_in + _GAP_IN),
            width_in=wide_in,
        )
        shown = [dot for dot in dots if dot.fault == fault]
        _prepare(axes, fault, highest)
        for dot in shown:
            _draw(axes, dot, quiet.get(dot.mode), styles[dot.mode], tips)
        _label(axes, shown, quiet, styles, highest, wide_in)
    return Chart(
        name="cap-map",
        heading="The CAP map: what each choice pays when the network breaks",
        said=f"{_in_words(dots)} To the right: requests without an answer. Upwards: reads that"
        " missed an acknowledged write, or acknowledged writes that were lost, whichever is more."
        " Each arrow begins where the mode is without a fault; bottom left is the best place.",
        figure=figure,
        tips=tips,
        data=_table(dots),
    )


def harm(dot: CapDot) -> float:
    """Stale or lost, whichever is the larger share."""
    return max(dot.stale, dot.lost)


def _ceiling(dots: Sequence[CapDot]) -> float:
    highest = max(harm(dot) for dot in dots)
    return next((top for top in _CEILINGS if highest <= 0.85 * top), 105)


def _in_words(dots: Sequence[CapDot]) -> str:
    broken = [dot for dot in dots if dot.fault != QUIET] or list(dots)
    refusing = max(broken, key=lambda dot: dot.unavailable)
    wrong = max(broken, key=harm)
    text = (
        f"{refusing.mode} left {number(refusing.unavailable, '%')} of requests unanswered"
        f" ({refusing.fault}), the most of all"
    )
    if harm(wrong) == 0:
        return f"{text}; no mode showed or lost anything wrongly."
    what = "lost" if wrong.lost >= wrong.stale else "showed stale"
    return f"{text}; {wrong.mode} {what} {number(harm(wrong), '%')} ({wrong.fault})."


def _prepare(axes: Axes, fault: str, highest: float) -> None:
    axes.set_title("without a fault" if fault == QUIET else clean(fault), pad=8)
    axes.set_xlim(-3, 103)
    axes.set_ylim(-0.03 * highest, highest)
    axes.grid()
    axes.set_axisbelow(True)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    axes.set_xlabel("requests without an answer  →  less available", loc="left")
    axes.set_ylabel("stale or lost  →  less consistent", loc="bottom")
    for x, y, ha, va, said in (
        (0.985, 0.12, "right", "bottom", "rather silent\nthan wrong"),
        (0.06, 0.98, "left", "top", "rather wrong\nthan silent"),
        (0.985, 0.98, "right", "top", "pays twice"),
    ):
        axes.text(
            x,
            y,
            said,
            transform=axes.transAxes,
            ha=ha,
            va=va,
            fontsize=8.6,
            color=MUTED,
            style="italic",
        )


def _draw(axes: Axes, dot: CapDot, quiet: CapDot | None, style: ModeStyle, tips: Tips) -> None:
    here = (dot.unavailable, harm(dot))
    if quiet is not None and quiet is not dot:
        there = (quiet.unavailable, harm(quiet))
        axes.plot(*there, style.marker, markersize=4, markerfacecolor="none", color=style.colour)
        axes.annotate(
            "",
            xy=here,
            xytext=there,
            arrowprops={
                "arrowstyle": "-|>",
                "color": style.colour,
                "alpha": 0.55,
                "linewidth": 1.1,
                "shrinkA": 3,
                "shrinkB": 4,
            },
        )
    point = axes.plot(
        *here, style.marker, markersize=7.5, color=style.colour, clip_on=False, zorder=4
    )[0]
    tips.on(point, _in_full(dot))


def _in_full(dot: CapDot) -> str:
    return (
        f"{dot.mode}, fault: {dot.fault}: {number(dot.unavailable, '%')} unanswered,"
        f" {number(dot.stale, '%')} of reads stale, {number(dot.lost, '%')} of acknowledged writes"
        f" lost ({counted(dot.requests, 'request')})"
    )


def _label(
    axes: Axes,
    dots: Sequence[CapDot],
    quiet: Mapping[str, CapDot],
    styles: Mapping[str, ModeStyle],
    highest: float,
    width_in: float,
) -> None:
    """Names beside the dots, one below the other where dots lie together, and none on another."""
    width_pt, height_pt = 72 * width_in, 72 * _HEIGHT_IN
    room = (width_pt, height_pt)
    taken = _occupied(dots, highest, room)
    crossing = _arrows(dots, quiet, highest, room)
    for group in _groups(dots, highest):
        lines = _lines(group.dots, styles)
        signs_pt = _SIGN_PT * max(len(line.signs) for line in lines)
        wide = _LETTER_PT * max(len(line.text) for line in lines) + signs_pt
        high = _LABEL_PT * len(lines)
        x_pt, y_pt = group.x * width_pt, group.y * height_pt
        left_pt, low_pt = _best_place(
            x_pt, y_pt, wide, high, room=room, taken=taken, crossing=crossing
        )
        taken.append((left_pt, low_pt, left_pt + wide, low_pt + high))
        for number_, line in enumerate(lines):
            top_pt = low_pt + high - _LABEL_PT * number_
            _write(axes, line.signs, left_pt, top_pt - 1.5, line.colour, size=6.5)
            _write(axes, line.text, left_pt + signs_pt, top_pt, INK)
        _lead(axes, (x_pt, y_pt), (left_pt, low_pt, left_pt + wide, low_pt + high))


class _Line(NamedTuple):
    """A name, with the shapes of the dots that it stands for; none beside a lonely dot."""

    signs: str
    text: str
    colour: str


def _lines(dots: Sequence[CapDot], styles: Mapping[str, ModeStyle]) -> list[_Line]:
    """A line for each dot, or for a mode and its last-write-wins sister together."""
    modes = {dot.mode for dot in dots}
    lines = []
    for dot in dots:
        style, sister = styles[dot.mode], f"{dot.mode}{_SISTER}"
        if sister in modes:
            signs = f"{style.sign}{styles[sister].sign}"
            lines.append(_Line(signs, f"{dot.mode}, also{_SISTER}", style.colour))
        elif not (dot.mode.endswith(_SISTER) and dot.mode.removesuffix(_SISTER) in modes):
            lines.append(_Line(style.sign if len(dots) > 1 else "", dot.mode, style.colour))
    return lines


def _write(
    axes: Axes, text: str, left_pt: float, top_pt: float, colour: str, *, size: float = 8.6
) -> None:
    axes.annotate(
        text,
        (0, 0),
        xycoords="axes fraction",
        xytext=(left_pt, top_pt),
        textcoords="offset points",
        va="top",
        fontsize=size,
        color=colour,
    )


def _groups(dots: Sequence[CapDot], highest: float) -> list[_Named]:
    groups: list[list[CapDot]] = []
    for dot in sorted(dots, key=lambda dot: (dot.unavailable, harm(dot), dot.mode)):
        x, y = _share(dot, highest)
        for group in groups:
            near_x, near_y = _share(group[0], highest)
            if abs(x - near_x) <= _NEAR and abs(y - near_y) <= _NEAR:
                group.append(dot)
                break
        else:
            groups.append([dot])
    found = []
    for group in groups:
        x, y = _share(group[0], highest)
        found.append(_Named(dots=tuple(group), x=x, y=y))
    return found


def _share(dot: CapDot, highest: float) -> tuple[float, float]:
    return (dot.unavailable + 3) / 106, (harm(dot) / highest + 0.03) / 1.03


def _occupied(dots: Sequence[CapDot], highest: float, room: tuple[float, float]) -> list[_Box]:
    """Where no name may go: the words in the corners, and the dots."""
    wide, high = room
    boxes = [
        (wide - 82, 26.0, wide, 56.0),
        (0.0, high - 30, 92.0, high),
        (wide - 60, high - 18, wide, high),
    ]
    for dot in dots:
        x, y = _share(dot, highest)
        x, y = x * wide, y * high
        boxes.append((x - _DOT_PT, y - _DOT_PT, x + _DOT_PT, y + _DOT_PT))
    return boxes


def _best_place(
    x: float,
    y: float,
    wide: float,
    high: float,
    *,
    room: tuple[float, float],
    taken: Sequence[_Box],
    crossing: Sequence[_Box],
) -> tuple[float, float]:
    """Left and low edge, in points, of a free place near the dot, off the arrows if possible."""
    candidates = [
        (left, low)
        for left in (x + 9, x - 9 - wide, x - wide / 2, x + 24, x - 24 - wide)
        for low in (y - high / 2 + step * 4.0 for step in range(-45, 46))
        if 0 <= left <= room[0] - wide + 20 and 1 <= low <= room[1] - high
    ]
    if not candidates:
        return max(0.0, x - wide), y

    def cost(place: tuple[float, float]) -> float:
        box = (*place, place[0] + wide, place[1] + high)
        hidden = sum(_touch(box, other) for other in taken)
        crossed = sum(_touch(box, step) for step in crossing)
        return _distance((x, y), box) + _HIDING_COST * hidden + _CROSSING_COST * crossed

    return min(candidates, key=cost)


def _arrows(
    dots: Sequence[CapDot], quiet: Mapping[str, CapDot], highest: float, room: tuple[float, float]
) -> list[_Box]:
    """Small boxes along the arrows: a name may lie there if it must."""
    boxes = []
    for dot in dots:
        if dot.mode not in quiet:
            continue
        (from_x, from_y), (to_x, to_y) = _share(quiet[dot.mode], highest), _share(dot, highest)
        for step in range(_STEPS + 1):
            x = (from_x + (to_x - from_x) * step / _STEPS) * room[0]
            y = (from_y + (to_y - from_y) * step / _STEPS) * room[1]
            boxes.append((x - 1, y - 1, x + 1, y + 1))
    return boxes


def _distance(dot: tuple[float, float], box: _Box) -> float:
    """From a dot to the middle of the near side of a text; right of the dot is best."""
    left, low, right, top = box
    across = max(left - dot[0], dot[0] - right, 0.0)
    return across + abs((low + top) / 2 - dot[1]) + (0 if left > dot[0] else 12)


def _touch(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _lead(axes: Axes, dot: tuple[float, float], box: _Box) -> None:
    """A line to names that had to go elsewhere."""
    left, low, right, top = box
    if low - 4 <= dot[1] <= top + 4:
        return
    edge = min(max(dot[0], left), right)
    near = low if low > dot[1] else top
    axes.annotate(
        "",
        xy=dot,
        xycoords="axes points",
        xytext=(edge, near),
        textcoords="axes points",
        arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.5, "alpha": 0.5},
    )


def _table(dots: Sequence[CapDot]) -> Table:
    return Table(
        title="The CAP map",
        said="",
        columns=("fault", "mode", "unanswered %", "stale reads %", "lost writes %", "requests"),
        rows=tuple(
            (
                dot.fault,
                dot.mode,
                f"{dot.unavailable:.1f}",
                f"{dot.stale:.2f}",
                f"{dot.lost:.2f}",
                f"{dot.requests:,}",
            )
            for dot in dots
        ),
    )
