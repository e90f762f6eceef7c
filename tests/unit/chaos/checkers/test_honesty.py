"""What failed for certain is never seen again, by anybody, anywhere."""

from chaos.checkers import honesty
from chaos.judgement import RuleOutcome, Verdict
from tests.unit.chaos.checkers.histories import FAIL, INFO, Told


def _check(told: Told) -> RuleOutcome:
    return honesty.check(told.take())


def test_unknown_outcomes_may_surface_or_not() -> None:
    told = Told()
    told.write("failed", outcome=FAIL)
    told.write("never", outcome=INFO)
    late = told.write("late", outcome=INFO, acks=1)
    told.read(late)
    told.ends(late)
    outcome = _check(told)
    assert outcome.verdict is Verdict.PASS
    assert outcome.said == "1 write failed for certain, and none of them was ever seen"


def test_a_failed_write_that_is_read_is_found() -> None:
    told = Told()
    write = told.write("x", outcome=FAIL)
    read = told.read(write)
    outcome = _check(told)
    assert (outcome.verdict, outcome.evidence) == (Verdict.FAIL, (write.index, read.index))


def test_a_failed_write_on_any_disk_is_found() -> None:
    told = Told()
    write = told.write("x", outcome=FAIL)
    told.ends(write, on=["n4"])
    outcome = _check(told)
    assert outcome.evidence == (write.index,)
    assert "failed, and it is on n4" in outcome.said


def test_a_failure_with_replicas_that_hold_it_is_none() -> None:
    told = Told()
    write = told.write("x", outcome=FAIL, acks=1)
    assert _check(told).evidence == (write.index,)


def test_a_text_that_was_stored_at_the_second_try_is_no_failed_one() -> None:
    told = Told()
    told.write("x", outcome=FAIL)
    told.ends(told.write("x", node="n2"))
    assert _check(told).verdict is Verdict.PASS


def test_a_failed_delete_is_found_where_no_other_can_have_been_it() -> None:
    told = Told()
    x = told.write("x")
    delete = told.delete("d1", after=told.read(x), outcome=FAIL)
    read = told.read(deleted=True)
    told.ends(tombstones=1)
    assert _check(told).evidence == (delete.index, read.index)
    told.delete("d2", after=read, outcome=INFO, at=(1.0, 1.1))
    assert _check(told).verdict is Verdict.PASS
