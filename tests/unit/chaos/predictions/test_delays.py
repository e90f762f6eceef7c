"""How late bytes come that are delayed one by one, in order: the formula against the process."""

from random import Random

import pytest

from chaos.predictions.delays import median_ms, percent_within


def lateness_ms(rate_hz: float, chunks: int = 20_000) -> list[float]:
    """What a delay of 200±100 ms does to a stream, chunk by chunk."""
    dice, now_ms, free_ms, found = Random(1), 0.0, 0.0, []
    for _ in range(chunks):
        now_ms += dice.expovariate(rate_hz / 1000)
        free_ms = max(free_ms, now_ms + dice.uniform(100, 300))
        found.append(free_ms - now_ms)
    return sorted(found)


@pytest.mark.parametrize("rate_hz", [1, 10, 50, 200])
def test_the_median_is_that_of_a_stream_which_is_delayed_chunk_by_chunk(rate_hz: float) -> None:
    seen = lateness_ms(rate_hz)
    assert median_ms(200, 100, rate_hz) == pytest.approx(seen[len(seen) // 2], abs=5)


@pytest.mark.parametrize("late_ms", [120, 180, 240, 290])
def test_so_is_every_other_share(late_ms: float) -> None:
    seen = lateness_ms(50)
    share = 100 * sum(each <= late_ms for each in seen) / len(seen)
    assert percent_within(late_ms, 200, 100, 50) == pytest.approx(share, abs=1.5)


def test_where_hardly_anything_is_sent_the_median_is_the_delay() -> None:
    assert median_ms(200, 100, 0.001) == pytest.approx(200, abs=0.5)


def test_nothing_comes_before_the_least_delay_and_all_by_the_greatest() -> None:
    assert percent_within(99, 200, 100, 10) == 0
    assert percent_within(300, 200, 100, 10) == 100
