"""When a request is due, and what it does."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo.bench.schedule import TICK_S, Choice, ClosedLoop, EveryKeyOnce, Mix, OpenLoop


def test_a_closed_loop_is_due_now_until_the_end() -> None:
    pace = ClosedLoop(end_s=10.0)
    assert [pace.next(now_s) for now_s in (3.0, 3.0, 9.9, 10.0, 11.0)] == [
        3.0,
        3.0,
        9.9,
        None,
        None,
    ]


def test_an_open_loop_is_due_at_fixed_instants() -> None:
    pace = OpenLoop(rate=10.0, start_s=100.0, end_s=101.0)
    assert pace.next(100.0) == 100.0
    assert pace.next(100.05) is None
    assert pace.next(100.1) == 100.1


def test_a_request_that_is_late_counts_from_when_it_was_due() -> None:
    pace = OpenLoop(rate=10.0, start_s=100.0, end_s=101.0)
    assert [pace.next(100.25) for _ in range(4)] == [100.0, 100.1, 100.2, None]


def test_a_request_may_go_a_tick_early_and_then_counts_from_its_sending() -> None:
    pace = OpenLoop(rate=10.0, start_s=100.0, end_s=101.0)
    pace.next(100.0)
    early_s = 100.1 - TICK_S / 2
    assert pace.next(early_s) == early_s


def test_nothing_is_due_after_the_end_and_what_was_due_is_counted() -> None:
    pace = OpenLoop(rate=10.0, start_s=100.0, end_s=101.0)
    assert [pace.next(100.35) for _ in range(5)] == [100.0, 100.1, 100.2, 100.3, None]
    assert pace.next(101.0) is None
    assert pace.never_sent() == 6


@settings(deadline=None, max_examples=50)
@given(st.floats(1, 10_000), st.lists(st.floats(0, 0.1), max_size=200))
def test_an_open_loop_hands_out_what_was_due_and_no_more(rate: float, steps: list[float]) -> None:
    pace = OpenLoop(rate=rate, start_s=0.0, end_s=1e9)
    now_s, given = 0.0, []
    for step in steps:
        now_s += step
        began_s = pace.next(now_s)
        if began_s is not None:
            assert began_s <= now_s
            given.append(began_s)
    assert given == sorted(given)
    assert len(given) <= (now_s + TICK_S) * rate + 1


def test_a_mix_is_the_same_for_the_same_seed() -> None:
    choices = [
        [mix.next() for _ in range(100)]
        for mix in (Mix(keys=50, read_fraction=0.5, dice=Random(seed)) for seed in (1, 1, 2))
    ]
    assert choices[0] == choices[1] != choices[2]


def test_a_mix_has_the_share_of_reads_it_should_and_reaches_every_key() -> None:
    mix = Mix(keys=20, read_fraction=0.25, dice=Random(1))
    choices = [mix.next() for _ in range(4000)]
    reads = sum(not choice.is_write for choice in choices if choice is not None)
    assert 900 < reads < 1100
    assert {choice.key for choice in choices if choice is not None} == set(range(20))


def test_a_mix_can_be_all_reads_or_all_writes() -> None:
    for read_fraction, is_write in ((1.0, False), (0.0, True)):
        mix = Mix(keys=3, read_fraction=read_fraction, dice=Random(1))
        assert {choice.is_write for choice in (mix.next() for _ in range(100)) if choice} == {
            is_write
        }


def test_every_key_is_written_once_and_again_if_it_failed() -> None:
    work = EveryKeyOnce(keys=3)
    assert [work.next() for _ in range(4)] == [Choice(True, key) for key in range(3)] + [None]
    work.failed(Choice(True, 1))
    assert [work.next(), work.next()] == [Choice(True, 1), None]
