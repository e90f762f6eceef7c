"""What is left is exactly what nobody replaced: nothing less and nothing more."""

import pytest

from chaos.checkers import sibling_sets
from chaos.judgement import RuleOutcome, Verdict
from tests.unit.chaos.checkers.histories import FAIL, INFO, Told


def _check(told: Told) -> RuleOutcome:
    return sibling_sets.check(told.take())


def test_all_blind_writes_are_siblings_and_so_is_what_surfaced_late() -> None:
    told = Told()
    x, y = told.write("x"), told.write("y", by="c2")
    late = told.write("late", outcome=INFO)
    told.write("never", outcome=INFO)
    told.ends(late, y, x)
    outcome = _check(told)
    assert outcome.verdict is Verdict.PASS
    assert outcome.said == (
        "1 object ended with exactly the values that nobody had replaced, 3 at most"
    )


def test_a_sibling_that_is_missing_is_named() -> None:
    told = Told()
    x, y = told.write("x"), told.write("y", by="c2")
    told.ends(y)
    outcome = _check(told)
    assert (outcome.verdict, outcome.evidence) == (Verdict.FAIL, (x.index,))


def test_of_a_chain_that_is_missing_only_the_last_should_be_there() -> None:
    told = Told()
    x = told.write("x")
    y = told.write("y", after=told.read(x))
    assert _check(told).evidence == (y.index,)


def test_a_write_that_an_acknowledged_one_replaced_is_a_false_sibling() -> None:
    told = Told()
    x = told.write("x")
    y = told.write("y", after=told.read(x))
    told.ends(x, y)
    outcome = _check(told)
    assert (outcome.verdict, outcome.evidence) == (Verdict.FAIL, (x.index,))
    assert "is kept in b/k, but was replaced" in outcome.said


def test_a_write_that_an_unknown_one_replaced_is_a_false_sibling_only_if_that_is_there() -> None:
    told = Told()
    x = told.write("x")
    y = told.write("y", after=told.read(x), outcome=INFO)
    told.ends(x)
    assert _check(told).verdict is Verdict.PASS
    told.ends(x, y)
    assert _check(told).evidence == (x.index,)


def test_a_put_that_shows_more_than_itself_covers_that_too() -> None:
    told = Told()
    x = told.write("x")
    y = told.write("y", by="c2", shows=[x, "?"])
    z = told.write("z", by="c2", after=y)
    told.ends(z)
    assert _check(told).verdict is Verdict.PASS


def test_a_context_that_covered_unseen_siblings_is_found_out_by_their_absence() -> None:
    told = Told()
    x = told.write("x")
    y = told.write("y", by="c2")
    own = told.write("z", by="c2", after=told.read(y, by="c2"), shows=["z?"])
    last = told.write("last", by="c2", after=own)
    told.ends(last)
    assert _check(told).evidence == (x.index,)


def test_a_failed_write_is_nowhere() -> None:
    told = Told()
    x = told.write("x", outcome=FAIL)
    told.ends(x)
    outcome = _check(told)
    assert (outcome.verdict, outcome.evidence) == (Verdict.FAIL, (x.index,))
    assert "failed for certain" in outcome.said


def test_a_value_nobody_wrote_is_nowhere() -> None:
    told = Told()
    told.ends(told.write("x"), "from nowhere")
    assert "'from nowhere' is in b/k, but was written by nobody" in _check(told).said


def test_a_text_stored_twice_is_kept_as_long_as_either_may_stand() -> None:
    told = Told()
    x = told.write("x", outcome=INFO)
    y = told.write("y", after=told.read(x))
    again = told.write("x", node="n2")
    told.ends(x, y)
    assert _check(told).verdict is Verdict.PASS
    told.ends(y)
    assert _check(told).evidence == (again.index,)


@pytest.mark.parametrize("tombstones", [0, 1])
def test_a_delete_leaves_a_tombstone_or_nothing_beside_a_concurrent_write(tombstones: int) -> None:
    told = Told()
    x = told.write("x")
    seen = told.read(x)
    y = told.write("y", by="c2")
    told.delete(after=seen)
    told.ends(y, tombstones=tombstones)
    assert _check(told).verdict is Verdict.PASS
    told.ends(x, y, tombstones=tombstones)
    assert _check(told).evidence == (x.index,)
    told.ends(tombstones=tombstones)
    assert _check(told).evidence == (y.index,)


def test_a_tombstone_tells_that_a_delete_of_unknown_outcome_was_applied() -> None:
    told = Told()
    x = told.write("x")
    told.delete(after=told.read(x), outcome=INFO)
    told.ends(x)
    assert _check(told).verdict is Verdict.PASS
    told.ends(x, tombstones=1)
    assert _check(told).evidence == (x.index,)


def test_a_tombstone_of_one_of_two_deletes_removes_what_both_replaced() -> None:
    told = Told()
    x, y = told.write("x"), told.write("y", by="c2")
    told.delete("d1", after=told.read(x), outcome=INFO)
    told.delete("d2", after=told.read(x, y), outcome=INFO)
    told.ends(y, tombstones=1)
    assert _check(told).verdict is Verdict.PASS
    told.ends(x, y, tombstones=1)
    assert _check(told).evidence == (x.index,)


def test_there_are_no_more_tombstones_than_deletes() -> None:
    told = Told()
    x = told.write("x")
    told.delete(after=told.read(x), outcome=FAIL)
    told.ends(x, tombstones=1)
    assert "b/k has 1 tombstone of 0 deletes" in _check(told).said


def test_replicas_that_differ_are_left_to_the_rule_of_convergence() -> None:
    told = Told()
    x = told.write("x")
    y = told.write("y", after=told.read(x))
    told.ends(y)
    told.ends(x, on=["n3"])
    outcome = _check(told)
    assert outcome.verdict is Verdict.PASS
    assert "left out: 1 object whose replicas differ" in outcome.said
