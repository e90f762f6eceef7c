"""What a node counts, and what it tells of it."""

from collections.abc import Sequence
from dataclasses import fields, replace

from hypothesis import given
from hypothesis import strategies as st

from dynamo.core.figures import Count, Histogram, named
from dynamo.core.ids import Actor
from dynamo.core.siblings import EMPTY, Siblings
from dynamo.node.stats import Counters, Distribution, RecentLatency, Stats


class _Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def _state(*values: bytes) -> Siblings:
    return Siblings(entries={Actor(b"actor_n1"): (len(values), values)})


def _histogram(stats: Stats, name: str) -> Histogram:
    return next(f for f in stats.figures if isinstance(f, Histogram) and f.name == name)


def test_every_count_is_a_figure_with_a_help_of_its_own() -> None:
    figures = Counters().figures()
    assert [figure.name for figure in figures] == [field.name for field in fields(Counters)]
    assert all(isinstance(figure, Count) and " " in figure.help for figure in figures)
    assert len({figure.help for figure in figures}) == len(figures)


def test_a_figure_tells_what_is_counted_now() -> None:
    stats = Stats(_Clock())
    before = named(stats.figures)
    stats.counters.hints_rehomed += 3
    after = named(stats.figures)
    assert (before["hints_rehomed_total"], after["hints_rehomed_total"]) == (0, 3)
    assert {name for name in after if after[name] != before[name]} == {"hints_rehomed_total"}


def test_reading_changes_no_count() -> None:
    stats = Stats(_Clock())
    stats.get_latency.add(0.25)
    stats.answered(_state(b"value"))
    counted = replace(stats.counters)
    first = named(stats.figures), [_histogram(stats, "get_seconds").read()]
    second = named(stats.figures), [_histogram(stats, "get_seconds").read()]
    assert first == second
    assert stats.counters == counted


def test_what_happened_in_the_last_minute_has_names_without_total() -> None:
    clock = _Clock()
    stats = Stats(clock)
    stats.gets.add()
    stats.puts.add()
    clock.now_s += 59
    stats.gets.add()
    assert stats.recent_counts() == {"node_gets": 2, "node_puts": 1}
    clock.now_s += 2
    assert stats.recent_counts() == {"node_gets": 1, "node_puts": 0}


def test_latencies_are_told_in_seconds_since_the_start_and_in_microseconds_of_late() -> None:
    stats = Stats(_Clock())
    for _ in range(4):
        stats.get_latency.add(0.0005)
    stats.get_latency.add(2.0)
    read = _histogram(stats, "get_seconds").read()
    assert dict(read.up_to)[0.0005] == 4  # a bound is part of its bucket
    assert dict(read.up_to)[1] == 4
    assert dict(read.up_to)[2.5] == 5
    assert (read.values, round(read.total, 6)) == (5, 2.002)
    recent = named(stats.figures)
    assert recent["node_get_fsm_time_median"] in range(496, 505)
    assert recent["node_get_fsm_time_100"] in range(1_980_000, 2_020_000)
    assert recent["node_put_fsm_time_100"] == 0


def test_a_latency_that_misses_a_bound_by_less_than_the_clock_tells_is_within_it() -> None:
    latency = RecentLatency(_Clock())
    for started_s in range(1000):
        latency.add((started_s / 7 + 0.005) - started_s / 7)
    assert dict(latency.buckets().up_to)[0.005] == 1000
    assert dict(latency.buckets().up_to)[0.0025] == 0


def test_a_read_is_told_by_its_siblings_and_their_bytes() -> None:
    stats = Stats(_Clock())
    stats.answered(EMPTY)
    stats.answered(_state(b"123"))
    stats.answered(_state(b"1" * 200, b"2" * 200, b"3" * 200))
    siblings = _histogram(stats, "read_siblings").read()
    assert dict(siblings.up_to)[0] == 1
    assert dict(siblings.up_to)[1] == dict(siblings.up_to)[2] == 2
    assert dict(siblings.up_to)[3] == 3
    assert (siblings.values, siblings.total) == (3, 4)
    sizes = _histogram(stats, "read_object_bytes").read()
    assert (dict(sizes.up_to)[256], dict(sizes.up_to)[1024]) == (1, 2)
    assert (sizes.values, sizes.total) == (2, 603), "what is not there has no size"
    recent = named(stats.figures)
    assert (recent["node_get_fsm_siblings_median"], recent["node_get_fsm_siblings_100"]) == (1, 3)
    assert recent["node_get_fsm_objsize_100"] in range(595, 606)


def test_riak_s_names_for_distributions_are_all_there() -> None:
    names = named(Stats(_Clock()).figures).keys()
    for what in ("get_fsm_time", "put_fsm_time", "get_fsm_siblings", "get_fsm_objsize"):
        for how in ("mean", "median", "95", "99", "100"):
            assert f"node_{what}_{how}" in names


def test_a_minute_later_nothing_is_recent_and_nothing_is_forgotten() -> None:
    clock = _Clock()
    latency = RecentLatency(clock)
    latency.add(0.1)
    assert latency.recent()["100"] > 0
    clock.now_s += 30
    assert latency.recent()["100"] > 0
    clock.now_s += 61
    assert set(latency.recent().values()) == {0}
    assert latency.buckets().values == 1
    latency.add(0.1)
    assert latency.recent()["100"] > 0
    clock.now_s += 61
    assert set(latency.recent().values()) == {0}, "whether or not it was looked at in between"


@given(st.lists(st.integers(0, 2000), max_size=2 * Distribution.BATCH + 2))
def test_buckets_count_every_value_once(values: Sequence[int]) -> None:
    distribution = Distribution(_Clock(), (0, 1, 10, 1000))
    for value in values:
        distribution.add(value)
    read = distribution.buckets()
    for bound, up_to in read.up_to:
        assert up_to == len([value for value in values if value <= bound])
    assert (read.values, read.total) == (len(values), sum(values))


@given(st.lists(st.integers(0, 10**9), min_size=1))
def test_the_recent_largest_is_right_within_a_hundredth(values: Sequence[int]) -> None:
    distribution = Distribution(_Clock(), ())
    for value in values:
        distribution.add(value)
    assert abs(distribution.recent()["100"] - max(values)) <= max(values) / 100


def test_a_value_beyond_all_bounds_is_counted_and_told() -> None:
    distribution = Distribution(_Clock(), (1,))
    distribution.add(10**6)
    assert distribution.buckets() == (((1, 0),), 1, 10**6)
    assert distribution.recent()["100"] in range(990_000, 1_000_001)
