"""What the pictures show, and that their words do not stand on each other."""

import random
from collections.abc import Iterable, Iterator
from itertools import combinations

import msgspec
import pytest
from matplotlib.transforms import Bbox

from chaos.judgement import CapDot, Lanes, StalenessPoint
from chaos.recording import Edge, Fault, Mark, Operation, Outcome, Take
from chaos.report.charts.availability import availability
from chaos.report.charts.cap_map import cap_map
from chaos.report.charts.convergence import convergence
from chaos.report.charts.lanes import label_of, lanes
from chaos.report.charts.links import links
from chaos.report.charts.operations import Fate, fate_of
from chaos.report.charts.staleness import interval
from chaos.report.charts.timeline import timeline
from chaos.report.notes import NO_NOTES, Notes
from chaos.report.style import Chart, mode_styles, rules
from chaos.report.times import bins_of, broken_span, fault_spans, sides_of
from tests.unit.chaos.report.synthetic import MODES, judgement_of, recording_of

RECORDING, NOTES = recording_of(rate=60)
[TAKE] = RECORDING.takes


@pytest.fixture(autouse=True)
def _looks() -> Iterator[None]:
    with rules():
        yield


def titles(chart: Chart | None) -> list[str]:
    assert chart is not None
    return [axes.get_title(loc="left") for axes in chart.figure.axes]


def boxes(chart: Chart, wanted: Iterable[str]) -> list[tuple[str, Bbox]]:
    """Where those texts are drawn."""
    chart.figure.draw_without_rendering()
    texts = (text for axes in chart.figure.axes for text in axes.texts)
    names = set(wanted)
    return [
        (text.get_text(), text.get_window_extent()) for text in texts if text.get_text() in names
    ]


def overlapping(found: list[tuple[str, Bbox]]) -> list[tuple[str, str]]:
    return [
        (one, other)
        for (one, box), (other, box_of_other) in combinations(found, 2)
        if box.padded(-2).overlaps(box_of_other.padded(-2))
    ]


def fault(kind: str, from_s: float, until_s: float | None) -> Fault:
    ended = None if until_s is None else Edge(from_s=until_s, until_s=until_s)
    began = Edge(from_s=from_s, until_s=from_s)
    return Fault(kind=kind, said=kind, targets=("n1",), began=began, ended=ended)


def with_faults(*faults: Fault, marks: tuple[Mark, ...] = ()) -> Take:
    head = msgspec.structs.replace(TAKE.head, faults=faults, marks=marks)
    return msgspec.structs.replace(TAKE, head=head)


def test_a_timeline_has_a_row_for_each_side_and_each_thing_looked_at() -> None:
    assert titles(timeline(TAKE, NOTES["refuse"])) == [
        "",
        "Latency, side A (n1 n2)",
        "Latency, side B (n3 n4 n5)",
        "Answered, side A (n1 n2)",
        "Answered, side B (n3 n4 n5)",
        "Stale reads a second: an acknowledged write was missed",
        "Hints held, all nodes together",
        "Keys whose replicas differ, of 200 watched",
        "Siblings: most values that one answer showed",
    ]


def test_what_nobody_looked_for_is_left_out() -> None:
    assert not any("Stale" in title for title in titles(timeline(TAKE, NO_NOTES)))
    unseen = msgspec.structs.replace(TAKE, samples=())
    assert not any("Hints" in title for title in titles(timeline(unseen, NO_NOTES)))
    assert convergence(unseen) is None


def test_faults_that_overlap_are_one_span_and_an_open_one_lasts_to_the_end() -> None:
    take = with_faults(fault("kill", 8, None), fault("cut", 2, 4), fault("latency", 3, 5))
    early, late = fault_spans(take)
    assert (early.from_s, early.until_s) == (2, 5)
    assert (late.from_s, late.until_s >= take.head.duration_s) == (8, True)


def test_the_window_of_a_fault_begins_when_the_nodes_know() -> None:
    take = with_faults(fault("cut", 2, 9), marks=(Mark(name="settled", at_s=3.5),))
    window = broken_span(take)
    assert window is not None
    assert (window.from_s, window.until_s) == (3.5, 9)


@pytest.mark.parametrize("duration_s", [0.0, 0.05, 1.0, 20.0, 61.0, 600.0, 100_000.0])
def test_bins_cover_a_take_and_hold_instants_outside_of_it(duration_s: float) -> None:
    bins = bins_of(duration_s)
    assert bins.until_s >= duration_s
    assert [bins.index(-1), bins.index(10 * duration_s + 1)] == [0, bins.count - 1]


def test_many_sides_are_drawn_as_one() -> None:
    sides = [msgspec.structs.replace(one, side=f"s{one.index % 9}") for one in TAKE.operations]
    assert sides_of(msgspec.structs.replace(TAKE, operations=tuple(sides))) == ("",)


def test_flapping_faults_share_a_lane() -> None:
    flaps = [fault("cut", at, at + 0.5) for at in range(1, 19)]
    chart = timeline(with_faults(*flaps), NO_NOTES)
    assert chart is not None
    [row] = [axes for axes in chart.figure.axes if not axes.get_title(loc="left")]
    assert [text.get_text() for text in row.texts] == ["cut: cut (18 times)"]


def test_names_on_the_cap_map_do_not_cover_each_other() -> None:
    dice = random.Random(5)
    names = [f"{kind} {r}/{w}" for kind in ("strict", "sloppy") for r in (1, 2) for w in (1, 2, 3)]
    near = [
        CapDot(mode=name, fault="2|3", unavailable=30 * dice.random(), stale=dice.random(), lost=0)
        for name in names
    ]
    equal = [msgspec.structs.replace(dot, unavailable=0, stale=0) for dot in near]
    for dots in (near, equal):
        chart = cap_map(dots)
        assert chart is not None
        found = boxes(chart, names)
        assert len(found) == len(names)
        assert not overlapping(found)


def test_a_mode_and_its_sister_that_drops_conflicts_share_a_colour_and_not_a_shape() -> None:
    styles = mode_styles(["strict 2/2", "strict 2/2 lww", "sloppy 2/2"])
    assert styles["strict 2/2"].colour == styles["strict 2/2 lww"].colour
    assert styles["strict 2/2"].marker != styles["strict 2/2 lww"].marker
    assert styles["strict 2/2"].colour != styles["sloppy 2/2"].colour


def test_labels_in_lanes_do_not_cover_each_other() -> None:
    shown = Lanes(take="refuse", title="", said="", operations=tuple(range(300, 330)))
    chart = lanes(TAKE, shown, 1)
    assert chart is not None
    found = boxes(chart, [label_of(one) for one in TAKE.operations[300:330]])
    assert len(found) == 30
    assert not overlapping(found)


def test_lanes_of_operations_that_are_not_there_are_no_picture() -> None:
    assert lanes(TAKE, Lanes(take="refuse", title="", said="", operations=(10**6,)), 1) is None


def test_lanes_of_one_moment_are_drawn() -> None:
    one = msgspec.structs.replace(TAKE.operations[0], invoked_s=1.0, returned_s=1.0)
    take = msgspec.structs.replace(TAKE, operations=(one,))
    assert lanes(take, Lanes(take="t", title="", said="", operations=(0,)), 1) is not None


def test_shares_that_are_off_are_framed_and_counted() -> None:
    found = judgement_of(RECORDING).findings.availability
    chart = availability(found)
    assert chart is not None
    assert chart.said.startswith("2 of 20 are further off than they may be")
    [axes] = chart.figure.axes
    assert sum(text.get_text().endswith("✘") for text in axes.texts) == 2
    held = [one for one in found if one.holds]
    calm = availability(held)
    assert calm is not None
    assert calm.said.startswith("All 18 are as predicted")


def test_links_are_known_by_their_name_and_by_the_way_of_their_bytes() -> None:
    for target in ("n1>n3", "n1->n3", "n1->n3 (replies)"):
        cut = msgspec.structs.replace(fault("cut", 4, 9), targets=(target, "n2"))
        chart = links(with_faults(cut))
        assert chart is not None
        assert chart.said.startswith("Hit were 1 directed link and the node n2. 0 bytes came")
        tips = chart.tips.by_gid.values()
        assert [tip for tip in tips if "nothing" not in tip] == [
            "link n1>n3: cut from 4.00 to 9.00 s",
            "node n2: cut from 4.00 to 9.00 s",
        ]


def test_links_that_nobody_looked_at_are_not_called_silent() -> None:
    unseen = [msgspec.structs.replace(one, link_bytes={}) for one in TAKE.samples]
    chart = links(msgspec.structs.replace(TAKE, samples=tuple(unseen)))
    assert chart is not None
    assert "came over" not in chart.said


def test_what_went_through_links_while_they_were_cut_is_told() -> None:
    chart = links(TAKE)
    assert chart is not None
    assert "0 bytes came over links that were cut." in chart.said
    last = TAKE.samples[40]
    leaky = msgspec.structs.replace(
        last, link_bytes={**last.link_bytes, "n1>n3": last.link_bytes["n1>n3"] + 77}
    )
    later = [msgspec.structs.replace(one, link_bytes=leaky.link_bytes) for one in TAKE.samples[41:]]
    samples = (*TAKE.samples[:40], leaky, *later)
    leaked = links(msgspec.structs.replace(TAKE, samples=samples))
    assert leaked is not None
    assert "77 bytes came over links that were cut." in leaked.said


def operation(outcome: Outcome) -> Operation:
    return msgspec.structs.replace(TAKE.operations[0], index=9, outcome=outcome)


def test_the_fate_of_a_request_is_the_worst_that_is_known_of_it() -> None:
    notes = Notes(stale=frozenset({9}), lost=frozenset({9}))
    assert fate_of(operation(Outcome.OK), notes) is Fate.LOST
    assert fate_of(operation(Outcome.OK), Notes(stale=frozenset({9}))) is Fate.STALE
    assert fate_of(operation(Outcome.OK), NO_NOTES) is Fate.SOUND
    assert fate_of(operation(Outcome.FAIL), NO_NOTES) is Fate.FAILED
    assert fate_of(operation(Outcome.INFO), NO_NOTES) is Fate.UNKNOWN


def test_the_interval_of_a_share_is_wide_of_few_reads_and_never_above_all() -> None:
    few = interval(StalenessPoint(after_ms=1, measured=100, predicted=100, reads=10))
    many = interval(StalenessPoint(after_ms=1, measured=100, predicted=100, reads=10_000))
    assert few[0] < 80 < many[0]
    assert few[1] <= 100
    assert many[1] <= 100


def test_every_mode_has_its_strip() -> None:
    chart = timeline(TAKE, NO_NOTES)
    assert chart is not None
    row = next(
        axes for axes in chart.figure.axes if axes.get_title(loc="left").startswith("Answered")
    )
    assert [label.get_text() for label in row.get_yticklabels()] == [mode.name for mode in MODES]
