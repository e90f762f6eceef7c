"""What clients and cluster went through, from the first second to the last, on one axis of time."""

from collections.abc import Callable, Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from chaos.recording import Operation, Outcome, Sample, Take
from chaos.report.charts.shading import lanes_row, shade
from chaos.report.notes import Notes
from chaos.report.style import (
    ANSWERED,
    INK,
    LINE,
    LOST,
    MUTED,
    OK,
    OUTCOME_COLOURS,
    PAPER,
    STALE,
    Chart,
    KeyLine,
    Row,
    Tips,
    beside,
    stacked,
)
from chaos.report.times import (
    Bins,
    Span,
    answered_by_bin,
    answered_percent,
    bins_of,
    broken_span,
    from_s,
    load_of,
    modes_of,
    of_side,
    quantile,
    side_name,
    sides_of,
    until_s,
)
from chaos.report.words import counted, listed, number

_MARKERS = {Outcome.OK: ".", Outcome.INFO: "^", Outcome.FAIL: "x"}
_SIGNS = {Outcome.OK: "●", Outcome.INFO: "▲", Outcome.FAIL: "✕"}
_SIZES = {Outcome.OK: 2.6, Outcome.INFO: 3.6, Outcome.FAIL: 3.6}
_MEANINGS = {
    Outcome.OK: "answered",
    Outcome.INFO: "unknown",
    Outcome.FAIL: "refused",
}
_LATENCY_S_MIN = 0.0002
_LATENCY_IN = 1.3
_STRIP_IN = 0.21
_CURVE_IN = 0.62


def timeline(take: Take, notes: Notes) -> Chart | None:
    """None if nothing was asked, and nobody looked at the cluster."""
    tips = Tips()
    sides = sides_of(take) if load_of(take) else ()
    measured = [
        *(_latency_row(take, side) for side in sides),
        *(_answered_row(take, side, tips) for side in sides),
        *_curve_rows(take, notes),
    ]
    if not measured:
        return None
    end_s = until_s(take)
    lanes = lanes_row(take, tips)
    rows = [*([lanes] if lanes else []), *measured]
    return Chart(
        name=f"{take.name}-timeline",
        heading="What clients saw, before, during and after the fault"
        if take.head.faults
        else "What clients saw",
        said=f"{_in_words(take)} {_how_to_read(take)}",
        figure=stacked(
            rows, from_s=from_s(take), until_s=end_s, label="seconds since the take began"
        ),
        tips=tips,
    )


def _how_to_read(take: Take) -> str:
    text = (
        "Each dot is a request, placed by when it was sent and how long it took from when it should"
        " have been sent (open loop: a late start counts). Below, the share that was answered, mode"
        " by mode."
    )
    if take.head.faults:
        text += (
            " The tint is the fault; its dark edges are the time that breaking and mending took."
        )
    return text


def _in_words(take: Take) -> str:
    operations, span = load_of(take), broken_span(take)
    if not operations:
        return "Nothing was asked under load; this is what the nodes told."
    if span is None:
        answered = answered_percent(operations, Span(0, until_s(take)))
        return f"{number(answered, '%')} of {counted(len(operations), 'request')} were answered."
    shares = [
        f"{number(answered_percent(of_side(operations, side), span), '%')} on "
        f"{side_name(take, side)}"
        if side
        else number(answered_percent(operations, span), "%")
        for side in sides_of(take)
    ]
    return f"While the fault lasted and the nodes knew of it, answered were {listed(shares)}."


def _latency_row(take: Take, side: str) -> Row:
    operations = of_side(load_of(take), side)

    def draw(axes: Axes) -> None:
        axes.set_yscale("log")
        shade(axes, take)
        axes.grid(axis="y")
        for outcome in Outcome:
            _scatter(axes, [one for one in operations if one.outcome is outcome], outcome)
        _latency_axis(axes, [one.latency_s for one in operations])
        beside(axes, _key_of_outcomes(operations))

    return Row(f"Latency, {side_name(take, side)}", _LATENCY_IN, draw)


def _scatter(axes: Axes, operations: Sequence[Operation], outcome: Outcome) -> None:
    axes.plot(
        [operation.invoked_s for operation in operations],
        [max(operation.latency_s, _LATENCY_S_MIN) for operation in operations],
        linestyle="none",
        marker=_MARKERS[outcome],
        markersize=_SIZES[outcome],
        markeredgewidth=0.8 if outcome is Outcome.FAIL else 0,
        color=OUTCOME_COLOURS[outcome],
        alpha=0.45 if outcome is Outcome.OK else 0.7,
        rasterized=True,  # thousands of shapes would make the page slow and large
    )


def _latency_axis(axes: Axes, latencies_s: Iterable[float]) -> None:
    highest_s = max(latencies_s, default=1.0)
    axes.set_ylim(_LATENCY_S_MIN, max(1.5, 1.6 * highest_s))
    axes.yaxis.set_major_locator(LogLocator(base=10))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _duration(value)))


def _duration(value_s: float) -> str:
    return f"{value_s:g} s" if value_s >= 1 else f"{1000 * value_s:g} ms"


def _key_of_outcomes(operations: Sequence[Operation]) -> list[KeyLine]:
    key: list[KeyLine] = []
    for outcome in Outcome:
        latencies_s = [one.latency_s for one in operations if one.outcome is outcome]
        if latencies_s:
            text = f"{_MEANINGS[outcome]}: {len(latencies_s):,}"
            key.append(KeyLine(text, _SIGNS[outcome], OUTCOME_COLOURS[outcome]))
            key.append(KeyLine(_quantiles(latencies_s), " ", ink=MUTED))
    return key


def _quantiles(latencies_s: Sequence[float]) -> str:
    p50_s, p99_s = quantile(latencies_s, 0.5), quantile(latencies_s, 0.99)
    assert p50_s is not None
    assert p99_s is not None
    return f"p50 {_rounded(p50_s)}, p99 {_rounded(p99_s)}"


def _rounded(value_s: float) -> str:
    return number(value_s, "s") if value_s >= 1 else number(1000 * value_s, "ms")


def _answered_row(take: Take, side: str, tips: Tips) -> Row:
    operations, modes = of_side(load_of(take), side), modes_of(take)
    bins, span = bins_of(until_s(take)), broken_span(take) or Span(0, until_s(take))

    def draw(axes: Axes) -> None:
        axes.set_ylim(len(modes), 0)
        axes.set_yticks([place + 0.5 for place in range(len(modes))], modes)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.spines["left"].set_visible(False)
        shares = [
            answered_by_bin([one for one in operations if one.mode == mode], bins) for mode in modes
        ]
        _strips(axes, shares, bins)
        shade(axes, take)
        for place, mode in enumerate(modes):
            asked = [one for one in operations if one.mode == mode]
            _write_share(axes, place, number(answered_percent(asked, span), "%"))
            _say_phases(axes, place, mode, asked, span, tips)
        axes.annotate(
            "during the fault" if take.head.faults else "in all",
            (1, 1),
            xycoords="axes fraction",
            xytext=(8, 5),
            textcoords="offset points",
            fontsize=8,
            color=MUTED,
        )

    return Row(f"Answered, {side_name(take, side)}", _STRIP_IN * len(modes), draw)


def _strips(axes: Axes, shares: list[list[float | None]], bins: Bins) -> None:
    image = axes.imshow(
        [[float("nan") if share is None else share for share in row] for row in shares],
        cmap=ANSWERED,
        vmin=0,
        vmax=100,
        aspect="auto",
        interpolation="nearest",
        extent=(0, bins.until_s, len(shares), 0),
        zorder=-7,
    )
    image.set_rasterized(True)
    for place in range(1, len(shares)):
        axes.axhline(place, color=PAPER, linewidth=1.5)


def _write_share(axes: Axes, place: int, text: str) -> None:
    axes.annotate(
        text,
        (1, place + 0.5),
        xycoords=("axes fraction", "data"),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        fontsize=8.6,
        color=INK,
    )


def _say_phases(
    axes: Axes, place: int, mode: str, operations: Sequence[Operation], span: Span, tips: Tips
) -> None:
    """A bar that cannot be seen, for the pointer to rest on."""
    end_s = axes.get_xlim()[1]
    phases = {
        "before": Span(0, span.from_s),
        "meanwhile": span,
        "after": Span(span.until_s, end_s),
    }
    shares = {name: answered_percent(operations, phase) for name, phase in phases.items()}
    said = [f"{name} {number(share, '%')}" for name, share in shares.items() if share is not None]
    bar = axes.barh(place + 0.5, end_s, height=1, alpha=0)[0]
    tips.on(bar, f"{mode}, answered: {', '.join(said)}")


def _curve_rows(take: Take, notes: Notes) -> list[Row]:
    rows = [
        _stale_row(take, notes.stale) if notes.stale is not None and load_of(take) else None,
        _sampled_row(take, "Hints held, all nodes together", _hints_held, OK),
        _sampled_row(take, _divergent_title(take), _divergent, LOST),
        _siblings_row(take),
    ]
    return [row for row in rows if row is not None]


def _divergent_title(take: Take) -> str:
    watched = max((sample.watched for sample in take.samples), default=0)
    return f"Keys whose replicas differ, of {watched:,} watched"


def _hints_held(sample: Sample) -> float | None:
    held = [figures["hints_held"] for figures in sample.nodes.values() if "hints_held" in figures]
    return sum(held) if held else None


def _divergent(sample: Sample) -> float | None:
    return sample.divergent


def _sampled_row(
    take: Take, title: str, value_of: Callable[[Sample], float | None], colour: str
) -> Row | None:
    points = [(sample.at_s, value_of(sample)) for sample in take.samples]
    known = [(at_s, value) for at_s, value in points if value is not None]
    if not known:
        return None
    return Row(title, _CURVE_IN, lambda axes: _curve(axes, take, known, colour))


def _stale_row(take: Take, stale: frozenset[int]) -> Row:
    bins = bins_of(until_s(take))
    counts = [0] * bins.count
    for operation in load_of(take):
        counts[bins.index(operation.invoked_s)] += operation.index in stale
    points = [(bin_ * bins.step_s, count / bins.step_s) for bin_, count in enumerate(counts)]
    points.append((bins.until_s, points[-1][1]))
    return Row(
        "Stale reads a second: an acknowledged write was missed",
        _CURVE_IN,
        lambda axes: _curve(axes, take, points, STALE),
    )


def _siblings_row(take: Take) -> Row | None:
    bins = bins_of(until_s(take))
    most: list[int] = [0] * bins.count
    for operation in load_of(take):
        index = bins.index(operation.returned_s)
        most[index] = max(most[index], len(operation.shown or ()))
    if max(most) < 2:
        return None
    points = [(bin_ * bins.step_s, float(count)) for bin_, count in enumerate(most)]
    points.append((bins.until_s, points[-1][1]))
    return Row(
        "Siblings: most values that one answer showed",
        _CURVE_IN,
        lambda axes: _curve(axes, take, points, INK),
    )


def _curve(axes: Axes, take: Take, points: Sequence[tuple[float, float]], colour: str) -> None:
    at_s, values = [at for at, _ in points], [value for _, value in points]
    highest = max(values)
    axes.set_ylim(0, 1.12 * highest or 1)
    axes.set_yticks([0, highest] if highest else [0])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    shade(axes, take)
    axes.fill_between(at_s, values, step="post", color=colour, alpha=0.18, linewidth=0)
    axes.step(at_s, values, where="post", color=colour)
    axes.axhline(0, color=LINE, linewidth=0.8)
    said = (f"at most {number(highest)}", f"last {number(values[-1])}")
    beside(axes, [KeyLine(text, ink=MUTED) for text in said])
