"""Hints add up: nothing vanishes, nothing comes of nothing, nothing is left."""

import pytest

from chaos.checkers import hints
from chaos.judgement import Verdict
from tests.unit.chaos.checkers.histories import HINTS, Told


def _take(**changes: int) -> Told:
    return Told(head={"hints": {**HINTS, **changes}})


def test_sums_that_agree_pass_with_their_numbers() -> None:
    outcome = hints.check(_take().take())
    assert outcome.verdict is Verdict.PASS
    assert "7 stored, 4 delivered, 3 superseded, 0 expired, 0 held" in outcome.said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stored": 9}, "2 vanished"),
        ({"delivered": 6}, "2 more went than were stored"),
        ({"stored": 8, "held": 1}, "1 are still held in the end"),
        ({"stored": 8, "expired": 1}, "1 went undelivered"),
    ],
)
def test_sums_that_do_not_agree_fail(changes: dict[str, int], said: str) -> None:
    outcome = hints.check(_take(**changes).take())
    assert outcome.verdict is Verdict.FAIL
    assert said in outcome.said


def test_hints_may_expire_where_that_is_what_the_experiment_is_about() -> None:
    take = _take(stored=8, expired=1).take()
    assert hints.check(take, may_expire=True).verdict is Verdict.PASS


def test_with_a_lost_count_some_may_vanish_but_none_come_of_nothing() -> None:
    vanished = hints.check(_take(stored=9).take(), exact=False)
    assert vanished.verdict is Verdict.PASS
    assert "counts were lost with a disk" in vanished.said
    assert hints.check(_take(stored=1).take(), exact=False).verdict is Verdict.FAIL


def test_hints_that_nobody_counted_prove_nothing() -> None:
    outcome = hints.check(Told(head={"hints": {"stored": 0}}).take())
    assert outcome.verdict is Verdict.INVALID
