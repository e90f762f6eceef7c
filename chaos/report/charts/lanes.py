"""A few operations that prove something: a lane for each client, a bar for each operation.

What matters is what was over before what began, so time is stretched where much happens and
shortened where nothing does: the order is exact, and every label has room.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Rectangle

from chaos.judgement import Lanes
from chaos.recording import Action, Operation, Outcome, Take
from chaos.report.style import (
    INK,
    LINE,
    MUTED,
    OUTCOME_COLOURS,
    SHADE,
    WIDTH_IN,
    Chart,
    Tips,
    bare,
    panel,
    sheet,
)
from chaos.report.times import fault_spans
from chaos.report.words import clean, short
from chaos.values import named

_OPERATIONS_MAX = 60
_LEFT_IN = 1.1
_RIGHT_IN = 0.35
_LEVEL_IN = 0.40
_FONT_PT = 8
_LETTER_IN = 0.071
_VALUE_LETTERS_MAX = 16
_VALUES_MAX = 3
_GAP_SHARES = (0.4, 3.0)
"""How short and how long a piece of time may become, measured by the one in the middle."""


@dataclass(frozen=True, slots=True)
class _Clock:
    """Instants, and where they are drawn, between 0 and 1; both rise."""

    instants_s: tuple[float, ...]
    places: tuple[float, ...]

    def place(self, at_s: float) -> float:
        """Where an instant is drawn, be it within or without."""
        after = bisect_right(self.instants_s, at_s)
        if after == 0:
            return 0.0
        if after == len(self.instants_s):
            return 1.0
        begin_s, end_s = self.instants_s[after - 1], self.instants_s[after]
        begin, end = self.places[after - 1], self.places[after]
        return begin + (end - begin) * (at_s - begin_s) / (end_s - begin_s)


@dataclass(frozen=True, slots=True)
class _Bar:
    """An operation and where it stands: in which lane, and on which level of it."""

    operation: Operation
    label: str
    lane: int
    level: int


def lanes(take: Take, shown: Lanes, number: int) -> Chart | None:
    """None if the operations are not in the take."""
    wanted = set(shown.operations) | set(shown.highlight)
    operations = sorted(
        (one for one in take.operations if one.index in wanted), key=lambda one: one.invoked_s
    )[:_OPERATIONS_MAX]
    if not operations:
        return None
    clock = _clock_of(operations)
    width_in = WIDTH_IN - _LEFT_IN - _RIGHT_IN
    bars, levels = _placed(operations, clock, width_in)
    height_in = _LEVEL_IN * sum(levels.values()) + 0.06
    figure, tips = sheet(height_in + 0.75), Tips()
    axes = panel(figure, top_in=0.2, height_in=height_in, left_in=_LEFT_IN, width_in=width_in)
    _draw(axes, take, bars, levels, clock, frozenset(shown.highlight), tips)
    return Chart(
        name=f"{take.name}-lanes-{number}",
        heading=shown.title,
        said=f"{shown.said} A bar lasts from when the request was sent until its outcome was known;"
        " framed bars are the proof. Time runs to the right, its pauses are shortened.",
        figure=figure,
        tips=tips,
    )


def _clock_of(operations: Sequence[Operation]) -> _Clock:
    instants_s = sorted({at for one in operations for at in (one.invoked_s, one.returned_s)})
    gaps_s = [after - before for before, after in pairwise(instants_s)]
    if not gaps_s:
        return _Clock(tuple(instants_s), (0.0,) * len(instants_s))
    middle_s = sorted(gaps_s)[len(gaps_s) // 2]
    least, most = _GAP_SHARES
    steps = [min(most, max(least, gap_s / middle_s)) for gap_s in gaps_s]
    places, total = [0.0], sum(steps)
    for step in steps:
        places.append(places[-1] + step / total)
    return _Clock(tuple(instants_s), tuple(places))


def _placed(
    operations: Sequence[Operation], clock: _Clock, width_in: float
) -> tuple[list[_Bar], dict[int, int]]:
    """Bars, and for each lane how many levels its bars and labels need."""
    clients = sorted({(one.side, one.client) for one in operations})
    lane_of = {client: lane for lane, (_, client) in enumerate(clients)}
    used_in: dict[int, list[float]] = {lane: [] for lane in range(len(clients))}
    bars: list[_Bar] = []
    for operation in operations:
        lane, label = lane_of[operation.client], label_of(operation)
        begin_in = width_in * clock.place(operation.invoked_s)
        end_in = width_in * clock.place(operation.returned_s)
        label_in = min(begin_in, width_in - _LETTER_IN * len(label))
        needed_in = max(end_in, label_in + _LETTER_IN * len(label))
        ends = used_in[lane]
        free = (level for level, end in enumerate(ends) if end <= min(begin_in, label_in))
        level = next(free, len(ends))
        if level == len(ends):
            ends.append(0.0)
        ends[level] = needed_in
        bars.append(_Bar(operation, label, lane, level))
    return bars, {lane: max(1, len(ends)) for lane, ends in used_in.items()}


def label_of(operation: Operation) -> str:
    """What was asked and what came of it, in a few letters."""
    if operation.action is Action.GET:
        text = f"read {_values(operation.shown)}"
    elif operation.action is Action.DELETE:
        text = "delete"
    else:
        text = f"write {value_name(operation.written or '')}"
    if operation.is_write:
        text += " blind" if operation.based_on is None else f" after #{operation.based_on}"
    if operation.outcome is not Outcome.OK:
        text += " ?" if operation.outcome is Outcome.INFO else " ✘"
    return f"#{operation.index} {text}"


def value_name(text: str) -> str:
    """Short, and enough to know it again: its writer and the number of the write."""
    value = named(text)
    if value is None:
        return short(clean(text), _VALUE_LETTERS_MAX)
    return short(clean(f"{value.client}.{value.number}"), _VALUE_LETTERS_MAX)


def _values(shown: Sequence[str] | None) -> str:
    if shown is None:
        return ""
    names = [value_name(text) for text in shown[:_VALUES_MAX]]
    if len(shown) > _VALUES_MAX:
        names.append(f"{len(shown) - _VALUES_MAX} more")
    return f"{{{', '.join(names)}}}" if names else "nothing"


def _draw(
    axes: Axes,
    take: Take,
    bars: Sequence[_Bar],
    levels: dict[int, int],
    clock: _Clock,
    highlight: frozenset[int],
    tips: Tips,
) -> None:
    tops = [sum(levels[below] for below in range(lane)) for lane in range(len(levels))]
    bare(axes)
    axes.set_xlim(-0.005, 1.005)
    axes.set_ylim(sum(levels.values()), 0)
    _shade(axes, take, clock, sum(levels.values()))
    for top in (*tops, sum(levels.values())):
        axes.axhline(top, color=LINE, linewidth=0.8)
    for bar in bars:
        _draw_bar(
            axes, bar, tops[bar.lane] + bar.level, clock, bar.operation.index in highlight, tips
        )
    _draw_contexts(axes, bars, tops, clock)
    _name_lanes(axes, bars, tops, levels)
    _tell_times(axes, clock)


def _shade(axes: Axes, take: Take, clock: _Clock, height: float) -> None:
    begin_s, end_s = clock.instants_s[0], clock.instants_s[-1]
    for span in fault_spans(take):
        if span.until_s >= begin_s and span.from_s <= end_s:
            left, right = clock.place(span.from_s), clock.place(span.until_s)
            axes.add_patch(Rectangle((left, 0), right - left, height, facecolor=SHADE, zorder=-10))


def _draw_bar(axes: Axes, bar: _Bar, top: float, clock: _Clock, proves: bool, tips: Tips) -> None:
    operation = bar.operation
    left, right = clock.place(operation.invoked_s), clock.place(operation.returned_s)
    box = FancyBboxPatch(
        (left, top + 0.56),
        max(right - left, 0.002),
        0.26,
        boxstyle="square,pad=0",
        facecolor=OUTCOME_COLOURS[operation.outcome],
        alpha=None if proves else 0.45,
        edgecolor=INK if proves else "none",
        linewidth=1.6 if proves else 0,
    )
    axes.add_patch(box)
    tips.on(box, _in_full(operation))
    room = 1 - _LETTER_IN * len(bar.label) / (WIDTH_IN - _LEFT_IN - _RIGHT_IN)
    axes.text(
        min(left, max(0.0, room)),
        top + 0.48,
        bar.label,
        fontsize=_FONT_PT,
        va="bottom",
        color=INK,
        fontweight="bold" if proves else "normal",
    )


def _in_full(operation: Operation) -> str:
    text = (
        f"#{operation.index} {operation.client} at {operation.node}: {operation.action}"
        f" {operation.key} in {operation.bucket}, {operation.mode}, {operation.invoked_s:.3f} to"
        f" {operation.returned_s:.3f} s, {operation.outcome}"
    )
    if operation.error:
        text += f": {operation.error}"
    if operation.written is not None:
        text += f"; wrote {operation.written}"
    if operation.shown is not None:
        text += f"; showed {', '.join(operation.shown) or 'nothing'}"
    return text


def _draw_contexts(axes: Axes, bars: Sequence[_Bar], tops: Sequence[int], clock: _Clock) -> None:
    """From whom a write knew what it replaced: a thin line from there."""
    places = {bar.operation.index: bar for bar in bars}
    for bar in bars:
        source = places.get(bar.operation.based_on if bar.operation.based_on is not None else -1)
        if source is None:
            continue
        axes.annotate(
            "",
            xy=(clock.place(bar.operation.invoked_s), tops[bar.lane] + bar.level + 0.69),
            xytext=(
                clock.place(source.operation.returned_s),
                tops[source.lane] + source.level + 0.69,
            ),
            arrowprops={
                "arrowstyle": "->",
                "color": MUTED,
                "linewidth": 0.8,
                "connectionstyle": "arc3,rad=-0.15",
            },
            zorder=-5,
        )


def _name_lanes(
    axes: Axes, bars: Sequence[_Bar], tops: Sequence[int], levels: dict[int, int]
) -> None:
    names = {bar.lane: bar.operation for bar in bars}
    for lane, operation in names.items():
        side = f"\n{operation.side}" if operation.side else ""
        axes.annotate(
            f"{clean(operation.client)}{clean(side) and chr(10) + clean(side)}",
            (0, tops[lane] + levels[lane] / 2),
            xycoords=("axes fraction", "data"),
            xytext=(-8, 0),
            textcoords="offset points",
            ha="right",
            va="center",
        )


def _tell_times(axes: Axes, clock: _Clock) -> None:
    """So many instants as do not touch."""
    last = -1.0
    ticks: list[tuple[float, str]] = []
    for at_s, place in zip(clock.instants_s, clock.places, strict=True):
        if place - last >= 0.06:
            ticks.append((place, f"{at_s:.3f}"))
            last = place
    axes.set_xticks([place for place, _ in ticks], [text for _, text in ticks])
    axes.tick_params(axis="x", length=3)
    axes.set_xlabel("seconds since the take began; pauses are shortened", loc="left")
