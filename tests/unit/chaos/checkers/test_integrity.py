"""Every value that is read is whole, belongs to its key, and was written before."""

from chaos.checkers import integrity
from chaos.judgement import RuleOutcome, Verdict
from tests.unit.chaos.checkers.histories import FAIL, INFO, Told


def _check(told: Told) -> RuleOutcome:
    return integrity.check(told.take())


def test_acknowledged_and_unknown_values_may_be_shown_even_before_their_writers_answer() -> None:
    told = Told()
    x = told.write("x")
    late = told.write("late", outcome=INFO, at=(2.0, 9.0))
    told.read(x, late, at=(1.9, 2.1))
    told.ends(x, late)
    outcome = _check(told)
    assert outcome.verdict is Verdict.PASS
    assert "all 2 values in answers and 6 held by nodes" in outcome.said


def test_a_torn_value_is_found() -> None:
    told = Told()
    x = told.write("x")
    read = told.read((x.written or "")[:-1])
    outcome = _check(told)
    assert (outcome.verdict, outcome.evidence) == (Verdict.FAIL, (read.index,))
    assert "showed no whole value" in outcome.said


def test_a_mixture_of_two_siblings_is_found() -> None:
    told = Told()
    x, y = told.write("xxxx"), told.write("yyyy", by="c2")
    half = (x.written or "")[:8] + (y.written or "")[8:]
    read = told.read(half)
    assert _check(told).evidence == (read.index,)


def test_a_value_of_another_key_is_found() -> None:
    told = Told()
    other = told.write("x", key="other")
    read = told.read(other)
    outcome = _check(told)
    assert outcome.evidence == (read.index,)
    assert "showed a value of the key other" in outcome.said


def test_a_value_that_nobody_wrote_there_is_found() -> None:
    told = Told()
    x = told.write("x")
    told.operations.clear()
    read = told.read(x)
    assert _check(told).evidence == (read.index,)


def test_a_value_whose_write_failed_for_certain_was_not_really_written() -> None:
    told = Told()
    read = told.read(told.write("x", outcome=FAIL))
    assert _check(told).evidence == (read.index,)


def test_a_value_shown_before_it_was_sent_is_found() -> None:
    told = Told()
    x = told.write("x", at=(5.0, 5.1))
    read = told.read(x, at=(4.0, 4.9))
    outcome = _check(told)
    assert outcome.evidence == (read.index,)
    assert "which was only made afterwards" in outcome.said


def test_deleted_is_shown_only_where_somebody_had_begun_to_delete() -> None:
    told = Told()
    x = told.write("x")
    told.delete(after=told.read(x), outcome=INFO, at=(3.0, 9.0))
    told.read(deleted=True, at=(3.5, 3.6))
    assert _check(told).verdict is Verdict.PASS
    early = told.read(deleted=True, at=(2.0, 2.1))
    assert _check(told).evidence == (early.index,)


def test_a_put_that_shows_what_is_there_is_looked_at_too() -> None:
    told = Told()
    put = told.write("x", shows=["rubbish"])
    assert _check(told).evidence == (put.index,)


def test_rubbish_on_a_disk_is_found_on_any_node() -> None:
    told = Told()
    told.ends(told.write("x"))
    told.ends("rubbish", on=["n2", "n5"])
    assert "b/k on n2, n5 is no whole value: 'rubbish'" in _check(told).said


def test_a_take_in_which_nobody_asked_proves_nothing() -> None:
    assert _check(Told()).verdict is Verdict.INVALID
