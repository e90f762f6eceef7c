"""How replicas became alike again once the network was whole, with nobody reading."""

from collections.abc import Sequence
from typing import Literal

from matplotlib.axes import Axes

from chaos.judgement import Table
from chaos.recording import Sample, Take
from chaos.report.style import (
    INK,
    LOST,
    MUTED,
    OK,
    Chart,
    KeyLine,
    Tips,
    beside,
    panel,
    sheet,
)
from chaos.report.times import until_s
from chaos.report.words import number

_HEIGHT_IN = 2.1
_BEFORE_S = 2.0
_AFTER_SHARE = 1.5


def convergence(take: Take) -> Chart | None:
    """None if nobody looked at the replicas after the healing."""
    healed_s = take.head.mark_s("healed")
    if healed_s is None:
        return None
    looks = [sample for sample in take.samples if sample.divergent is not None]
    if not any(sample.at_s >= healed_s for sample in looks):
        return None
    figure, tips = sheet(_HEIGHT_IN + 0.85), Tips()
    axes = panel(figure, top_in=0.3, height_in=_HEIGHT_IN)
    _draw(axes, take, healed_s, looks, tips)
    return Chart(
        name=f"{take.name}-convergence",
        heading="After the healing, replicas become alike by themselves",
        said=f"{_in_words(take)} Divergent is a key that its homes do not all hold alike; hints are"
        " writes that stand-ins keep for a node until it is back. Both must fall to nothing.",
        figure=figure,
        tips=tips,
        data=_table(looks, healed_s),
    )


def _in_words(take: Take) -> str:
    after_s, most_s = take.head.converged_after_s, take.head.convergence_s_max
    if after_s is None:
        return f"They did not within the {number(most_s, 's')} that they have."
    late = (take.head.mark_s("quiet") or 0) > (take.head.mark_s("healed") or 0)
    since = "once nobody asked any more" if late else "once the network was whole"
    return f"It took {number(after_s, 's')} {since}, of {number(most_s, 's')} that they have."


def _draw(axes: Axes, take: Take, healed_s: float, looks: Sequence[Sample], tips: Tips) -> None:
    points = [(one.at_s - healed_s, float(one.divergent or 0)) for one in looks]
    hints = [(one.at_s - healed_s, _hints(one)) for one in take.samples]
    axes.set_xlim(-_BEFORE_S, _until_s(take, healed_s))
    highest = max([1.0, *(value for _, value in points), *(value for _, value in hints)])
    axes.set_ylim(0, 1.12 * highest)
    axes.grid(axis="y")
    axes.axvline(0, color=MUTED, linewidth=0.8, linestyle=(0, (3, 2)))
    _name(axes, 0, "healed ↓", ha="right")
    for name, series, colour in (("divergent keys", points, LOST), ("hints held", hints, OK)):
        line = axes.step([at for at, _ in series], [n for _, n in series], "-", where="post")[0]
        line.set_color(colour)
        tips.on(line, f"{name}, at most {number(max(n for _, n in series))}")
    _mark_converged(axes, take, healed_s)
    axes.set_xlabel("seconds after the healing", loc="left")
    beside(axes, [KeyLine("divergent keys", "■", LOST), KeyLine("hints held", "■", OK)])


def _mark_converged(axes: Axes, take: Take, healed_s: float) -> None:
    at_s = take.head.mark_s("converged")
    if at_s is None and take.head.converged_after_s is not None:
        at_s = healed_s + take.head.converged_after_s
    if at_s is not None:
        axes.axvline(at_s - healed_s, color=MUTED, linewidth=0.8, linestyle=(0, (3, 2)))
        axes.plot([at_s - healed_s], [0], marker="o", color=INK, clip_on=False, zorder=5)
        early = at_s - healed_s < 0.7 * axes.get_xlim()[1]
        said = "↓ all alike" if early else "all alike ↓"
        _name(axes, at_s - healed_s, said, ha="left" if early else "right")


def _name(axes: Axes, at_s: float, said: str, *, ha: Literal["left", "right"]) -> None:
    axes.annotate(
        said,
        (at_s, 1),
        xycoords=("data", "axes fraction"),
        xytext=(3 if ha == "right" else -3, 2),
        textcoords="offset points",
        ha=ha,
        color=MUTED,
        fontsize=8,
    )


def _until_s(take: Take, healed_s: float) -> float:
    after_s = take.head.converged_after_s
    converged_s = take.head.mark_s("converged") or healed_s
    end_s = until_s(take) - healed_s
    return (
        end_s
        if after_s is None
        else min(end_s, _AFTER_SHARE * max(after_s, converged_s - healed_s) + 1)
    )


def _hints(sample: Sample) -> float:
    return sum(figures.get("hints_held", 0) for figures in sample.nodes.values())


def _table(looks: Sequence[Sample], healed_s: float) -> Table:
    return Table(
        title="Divergent keys",
        said="",
        columns=("seconds after the healing", "divergent keys", "of watched", "hints held"),
        rows=tuple(
            (
                f"{one.at_s - healed_s:.2f}",
                f"{one.divergent:,}",
                f"{one.watched:,}",
                number(_hints(one)),
            )
            for one in looks
            if one.at_s >= healed_s - _BEFORE_S
        ),
    )
