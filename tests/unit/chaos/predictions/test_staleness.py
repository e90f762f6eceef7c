"""Probabilistically bounded staleness, held against closed forms and known tables."""

from collections.abc import Sequence
from math import exp

import numpy as np
import pytest

from chaos.predictions.staleness import (
    NO_TIME,
    Reading,
    Seconds,
    Visibility,
    Writing,
    chance_of_missing,
    chance_of_missing_versions,
    legs,
    pooled,
    visibility,
)

MS = 1e-3


def _dice() -> np.random.Generator:
    return np.random.default_rng(18)


def _exponential(mean_s: float, seed: int) -> Seconds:
    return np.random.default_rng(seed).exponential(mean_s, 50_000)


def _same(samples: Seconds, count: int = 3) -> Sequence[Seconds]:
    return (samples,) * count


def _wars(r: int, w: int) -> Visibility:
    fast = _same(_exponential(1 * MS, 1))
    slow = _same(_exponential(10 * MS, 2))
    return visibility(
        Writing(there_s=slow, back_s=fast, w=w),
        Reading(there_s=fast, back_s=fast, r=r),
        _dice(),
        trials=40_000,
    )


@pytest.mark.parametrize(
    ("n", "r", "w", "chance"),
    [(3, 1, 1, 2 / 3), (3, 1, 2, 1 / 3), (3, 2, 1, 1 / 3), (3, 2, 2, 0), (3, 1, 3, 0)],
)
def test_random_quorums_miss_a_write_as_counted(n: int, r: int, w: int, chance: float) -> None:
    assert chance_of_missing(n, r, w) == pytest.approx(chance)
    assert chance_of_missing_versions(n, r, w, 2) == pytest.approx(chance**2)


@pytest.mark.parametrize(
    ("r", "w", "chances"),
    [
        (1, 1, (0.42, 0.65, 0.78, 0.997)),
        (1, 2, (0.71, 0.83, 0.90, 0.998)),
        (2, 1, (0.76, 0.91, 0.97, 1.0)),
        (2, 2, (1.0, 1.0, 1.0, 1.0)),
    ],
)
def test_the_model_agrees_with_the_known_table(r: int, w: int, chances: tuple[float, ...]) -> None:
    curve = _wars(r, w)
    for after_ms, chance in zip((0, 5, 10, 50), chances, strict=True):
        assert curve.chance(after_ms * MS) == pytest.approx(chance, abs=0.01)


def test_one_replica_read_at_once_is_as_consistent_as_its_delay_says() -> None:
    slow = _exponential(10 * MS, 3)
    writing = Writing(there_s=(NO_TIME, slow), back_s=(NO_TIME, slow), w=1)
    reading = Reading(there_s=(slow, NO_TIME), back_s=(slow, NO_TIME), r=1)
    curve = visibility(writing, reading, _dice())
    for after_ms in (0, 5, 20):
        expected = 1 - exp(-after_ms / 10)
        error = 4 * max(curve.standard_error(after_ms * MS), 0.002)
        assert curve.chance(after_ms * MS) == pytest.approx(expected, abs=error)


def test_the_same_node_writes_and_reads_without_delay() -> None:
    slow = _exponential(10 * MS, 3)
    writing = Writing(there_s=(NO_TIME, slow, slow), back_s=(NO_TIME, slow, slow), w=1)
    reading = Reading(there_s=(NO_TIME, slow, slow), back_s=(NO_TIME, slow, slow), r=1)
    assert visibility(writing, reading, _dice()).chance(0) == 1


def test_the_way_of_answer_and_question_is_time_gained() -> None:
    slow = np.full(1, 10 * MS)
    writing = Writing(there_s=(NO_TIME, slow), back_s=(NO_TIME, slow), w=1, answer_s=np.full(1, MS))
    reading = Reading(
        there_s=(slow, NO_TIME), back_s=(slow, NO_TIME), r=1, asking_s=np.full(1, 2 * MS)
    )
    curve = visibility(writing, reading, _dice(), trials=10)
    assert curve.chance(6.9 * MS) == 0
    assert curve.chance(7.1 * MS) == 1


def test_a_read_that_waits_for_the_object_counts_who_answers_meanwhile() -> None:
    delays = (np.full(1, 1 * MS), np.full(1, 5 * MS), np.full(1, 9 * MS))
    writing = Writing(there_s=(np.full(1, 1.0), NO_TIME, np.full(1, 1.0)), back_s=delays, w=1)

    def chance(object_from: int | None, patience_s: float = 0.02) -> float:
        reading = Reading(
            there_s=delays,
            back_s=delays,
            r=1,
            object_from=object_from,
            patience_s=patience_s,
        )
        return visibility(writing, reading, _dice(), trials=10).chance(0)

    assert chance(None) == 0
    assert chance(0) == 0
    assert chance(1) == 1
    assert chance(2) == 1
    assert chance(2, patience_s=1 * MS) == 0
    assert chance(2, patience_s=7 * MS) == 1, "it answered while the object was fetched elsewhere"


def test_an_object_that_is_fetched_may_be_newer_than_the_clock_that_was_answered() -> None:
    late, fast, slow = np.full(1, 0.5), np.full(1, 1 * MS), np.full(1, 1.0)
    writing = Writing(there_s=(late, NO_TIME), back_s=(late, NO_TIME), w=1)
    reading = Reading(there_s=(fast, slow), back_s=(fast, slow), r=1, object_from=1)
    curve = visibility(writing, reading, _dice(), trials=10)
    # The clock is asked for after 1 ms; the object after 2 + 20 + 1 ms.
    assert curve.chance(0.476) == 0
    assert curve.chance(0.478) == 1


def test_curves_of_several_objects_are_pooled() -> None:
    early, late = Visibility(np.full(30, 0.0)), Visibility(np.full(10, 1.0))
    both = pooled((late, early))
    assert both.trials == 40
    assert both.chance(0.5) == 0.75
    assert both.mean_chance((0.5, 2.0)) == pytest.approx(0.875)
    assert both.standard_error(0.5) == pytest.approx((0.75 * 0.25 / 40) ** 0.5)


def test_legs_are_the_directed_links_of_a_coordinator() -> None:
    out, home = np.full(2, 1 * MS), np.full(2, 2 * MS)
    there_s, back_s = legs({("n1", "n2"): out, ("n2", "n1"): home}, "n1", ("n1", "n2"))
    assert there_s[0] is NO_TIME
    assert there_s[1] is out
    assert back_s[1] is home


def test_the_same_seed_gives_the_same_curve() -> None:
    one, other = _wars(1, 1), _wars(1, 1)
    assert np.array_equal(one.visible_after_s, other.visible_after_s)
