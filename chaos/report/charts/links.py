"""Every directed link between nodes from first to last: what was cut, and what flowed."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from chaos.recording import Fault, Take
from chaos.report.style import (
    FAIL,
    FAULT_COLOURS,
    INK,
    LINE,
    MUTED,
    SHADE,
    Chart,
    KeyLine,
    Tips,
    bare,
    beside,
    panel,
    sheet,
)
from chaos.report.times import Span, quantile, span_of, until_s
from chaos.report.words import counted, listed, number

_DIRECTED = re.compile(r"(?P<source>[^>]+?)-?>(?P<target>\S+)")
_NODES_MAX = 9
_LEFT_IN = 0.9
_TOP_IN = 0.38
_WIDTH_IN = 7.6
_ROW_IN_MAX = 0.62
_GAP = 0.07
_USUAL_SHARE = 0.9
_STATE_COLOURS: Final[dict[str, str]] = {"paused": "#5b8db8", "stopped": "#7a0177", "died": FAIL}


def links(take: Take) -> Chart | None:
    """None if neither links nor nodes were looked at."""
    nodes = _in_order_of_sides(take)
    flows = _flows(take)
    if not 1 < len(nodes) <= _NODES_MAX or not (flows or take.head.faults):
        return None
    tips = Tips()
    rows = len(nodes) + len(_clients(take.head.faults, nodes))
    row_in = min(_ROW_IN_MAX, 4.6 / rows)
    figure = sheet(_TOP_IN + row_in * rows + 0.15)
    axes = panel(
        figure, top_in=_TOP_IN, height_in=row_in * rows, left_in=_LEFT_IN, width_in=_WIDTH_IN
    )
    _draw(axes, take, nodes, flows, tips)
    return Chart(
        name=f"{take.name}-links",
        heading="Which links were broken, when, and what still came over them",
        said=f"{_in_words(take)} A row asks and a column answers; time runs from left to right in"
        " each cell. The line is what came back, on one scale for all; the tint is what was done"
        " to the bytes from row to column. On the diagonal stands the node itself.",
        figure=figure,
        tips=tips,
    )


def _in_order_of_sides(take: Take) -> tuple[str, ...]:
    ordered = [node for nodes in take.head.sides.values() for node in nodes]
    return tuple(dict.fromkeys([*ordered, *take.head.nodes]))


def _clients(faults: Sequence[Fault], nodes: Sequence[str]) -> tuple[str, ...]:
    """Clients whose links were broken; the others would be rows without a word."""
    sources = {pair[0] for fault in faults for pair in _pairs(fault)}
    return tuple(sorted(sources - set(nodes)))


def _pairs(fault: Fault) -> frozenset[tuple[str, str]]:
    """Who was kept from whom, be it named as a link `n1>n2` or as a way of bytes `n1->n2`."""
    found = (_DIRECTED.match(target) for target in fault.targets)
    return frozenset((one["source"], one["target"]) for one in found if one is not None)


def _flows(take: Take) -> dict[str, list[tuple[float, float]]]:
    """Bytes in a second on each link, at the middle of every two looks."""
    flows: dict[str, list[tuple[float, float]]] = {}
    for before, after in pairwise(take.samples):
        lasted_s = after.at_s - before.at_s
        if lasted_s <= 0:
            continue
        for link, total in after.link_bytes.items():
            grown = total - before.link_bytes.get(link, 0)
            at_s = (before.at_s + after.at_s) / 2
            flows.setdefault(link, []).append((at_s, max(0, grown) / lasted_s))
    return flows


def _in_words(take: Take) -> str:
    pairs = {pair for fault in take.head.faults for pair in _pairs(fault)}
    nodes_hit = sorted(
        {target for fault in take.head.faults for target in fault.targets if ">" not in target}
    )
    hit = []
    if pairs:
        hit.append(counted(len(pairs), "directed link"))
    if nodes_hit:
        hit.append(f"the {'node' if len(nodes_hit) == 1 else 'nodes'} {listed(nodes_hit)}")
    return f"Hit were {listed(hit)}.{_leaked(take)}" if hit else "Nothing was broken."


def _leaked(take: Take) -> str:
    """How much came over links while they were cut, as far as that was looked at."""
    spans = [_within(fault, until_s(take)) for fault in take.head.faults]
    leaked: int | None = None
    for fault, span in zip(take.head.faults, spans, strict=True):
        looks = [one.link_bytes for one in take.samples if span.holds(one.at_s)]
        names = [f"{source}>{target}" for source, target in _pairs(fault)]
        if fault.kind != "cut" or len(looks) < 2 or not any(name in looks[0] for name in names):
            continue
        grown = (looks[-1].get(name, 0) - looks[0].get(name, 0) for name in names)
        leaked = (leaked or 0) + sum(grown)
    return "" if leaked is None else f" {counted(leaked, 'byte')} came over links that were cut."


def _within(fault: Fault, end_s: float) -> Span:
    """While it was there for certain."""
    return Span(fault.began.until_s, end_s if fault.ended is None else fault.ended.from_s)


def _draw(
    axes: Axes,
    take: Take,
    nodes: Sequence[str],
    flows: Mapping[str, list[tuple[float, float]]],
    tips: Tips,
) -> None:
    bare(axes)
    sources = (*nodes, *_clients(take.head.faults, nodes))
    axes.set_xlim(0, len(nodes))
    axes.set_ylim(len(sources), 0)
    highest = _usual(flows)
    for row, source in enumerate(sources):
        for column, target in enumerate(nodes):
            cell = _Cell(axes, column, row, until_s(take))
            faults = [one for one in take.head.faults if _hits(one, source, target)]
            name = source if source == target else f"{source}>{target}"
            cell.frame(tips, _history(take, name, faults))
            cell.tint(faults)
            if source == target:
                cell.node(take, source)
            else:
                cell.flow(flows.get(name, []), highest)
    _name(axes, sources, nodes)
    _divide(axes, take, nodes)
    beside(axes, _key(take, highest))


def _usual(flows: Mapping[str, list[tuple[float, float]]]) -> float:
    """What few pieces of time surpass: one burst shall not flatten all the others."""
    flowing = [flow for points in flows.values() for _, flow in points if flow > 0]
    return quantile(flowing, _USUAL_SHARE) or 0.0


def _hits(fault: Fault, source: str, target: str) -> bool:
    return source in fault.targets if source == target else (source, target) in _pairs(fault)


class _Cell:
    """The place of one link: a square of its own, with time from left to right."""

    def __init__(self, axes: Axes, column: int, row: int, end_s: float) -> None:
        self._axes = axes
        self._column = column
        self._row = row
        self._end_s = end_s

    def frame(self, tips: Tips, said: str) -> None:
        box = self._box(Span(0, self._end_s), facecolor="none", edgecolor=LINE, linewidth=0.8)
        # Nothing is painted inside, yet the pointer shall find it.
        box.set_facecolor((0, 0, 0, 0.004))
        box.set_zorder(5)
        tips.on(box, said)

    def tint(self, faults: Sequence[Fault]) -> None:
        for fault in faults:
            colour = FAULT_COLOURS.get(fault.kind, MUTED)
            self._box(span_of(fault, self._end_s), facecolor=colour, alpha=0.30, linewidth=0)

    def node(self, take: Take, node: str) -> None:
        """What its process was doing, as often as somebody looked."""
        whole = Span(0, self._end_s)
        self._box(whole, facecolor=SHADE, linewidth=0, zorder=-1)
        for before, after in pairwise(take.samples):
            colour = _STATE_COLOURS.get(before.states.get(node, ""))
            if colour is not None:
                self._box(Span(before.at_s, after.at_s), facecolor=colour, linewidth=0)
        self._axes.text(
            self._column + 0.5, self._row + 0.5, node, ha="center", va="center", color=MUTED
        )

    def flow(self, points: Sequence[tuple[float, float]], highest: float) -> None:
        if not points or not highest:
            return
        floor = self._row + 1 - _GAP
        self._axes.plot(
            [self._x(at_s) for at_s, _ in points],
            [floor - 0.9 * (1 - 2 * _GAP) * min(1.0, flow / highest) for _, flow in points],
            color=INK,
            linewidth=0.8,
        )

    def _box(self, span: Span, **looks: object) -> Rectangle:
        left, right = self._x(max(0.0, span.from_s)), self._x(min(self._end_s, span.until_s))
        box = Rectangle((left, self._row + _GAP), right - left, 1 - 2 * _GAP)
        box.set(**looks)
        self._axes.add_patch(box)
        return box

    def _x(self, at_s: float) -> float:
        return self._column + _GAP / 2 + (1 - _GAP) * at_s / self._end_s


def _history(take: Take, name: str, faults: Sequence[Fault]) -> str:
    spans = [(fault.kind, span_of(fault, until_s(take))) for fault in faults]
    said = [f"{kind} from {span.from_s:.2f} to {span.until_s:.2f} s" for kind, span in spans]
    what = "link" if ">" in name else "node"
    return f"{what} {name}: {', '.join(said) if said else 'nothing was done to it'}"


def _name(axes: Axes, sources: Sequence[str], nodes: Sequence[str]) -> None:
    for row, source in enumerate(sources):
        axes.annotate(
            f"{source} →",
            (0, row + 0.5),
            xytext=(-6, 0),
            textcoords="offset points",
            ha="right",
            va="center",
        )
    for column, node in enumerate(nodes):
        axes.annotate(
            f"→ {node}",
            (column + 0.5, 0),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
        )


def _divide(axes: Axes, take: Take, nodes: Sequence[str]) -> None:
    """A heavier line between the sides of the cut."""
    border = 0
    for members in list(take.head.sides.values())[:-1]:
        border += len(members)
        axes.plot([0, len(nodes)], [border, border], color=MUTED, linewidth=1.2)
        axes.plot([border, border], [0, len(nodes)], color=MUTED, linewidth=1.2)


def _key(take: Take, highest: float) -> list[KeyLine]:
    kinds = dict.fromkeys(fault.kind for fault in take.head.faults)
    key = [KeyLine(kind, "■", FAULT_COLOURS.get(kind, MUTED)) for kind in kinds]
    states = {state for sample in take.samples for state in sample.states.values()}
    shown = sorted(states & set(_STATE_COLOURS))
    key += [KeyLine(state, "■", _STATE_COLOURS[state]) for state in shown]
    if highest:
        full = f"top: {number(highest / 1024, 'KiB/s')} or more"
        key += [KeyLine("answers", "—"), KeyLine(full, " ", ink=MUTED)]
    return key
