"""What was replaced or deleted, as anybody knows, does not come back."""

from chaos.checkers import resurrection
from chaos.judgement import RuleOutcome, Verdict
from tests.unit.chaos.checkers.histories import INFO, Told


def _check(told: Told) -> RuleOutcome:
    return resurrection.check(told.take())


def test_what_an_acknowledged_write_replaced_is_gone() -> None:
    told = Told()
    x = told.write("x")
    y = told.write("y", after=told.read(x))
    told.ends(y)
    assert _check(told).verdict is Verdict.PASS
    told.ends(x)
    outcome = _check(told)
    assert (outcome.verdict, outcome.evidence) == (Verdict.FAIL, (x.index, y.index))
    assert "put 0 of c1 (1.000 s) is back in b/k after put 2 of c1" in outcome.said


def test_what_an_acknowledged_delete_removed_is_gone() -> None:
    told = Told()
    x = told.write("x")
    delete = told.delete(after=told.read(x))
    told.ends(x)
    assert _check(told).evidence == (x.index, delete.index)


def test_who_was_shown_a_later_value_has_seen_the_earlier_gone() -> None:
    told = Told()
    x = told.write("x")
    y = told.write("y", after=told.read(x), outcome=INFO)
    told.ends(x)
    assert _check(told).verdict is Verdict.PASS
    seen = told.read(y, by="c2")
    assert _check(told).evidence == (x.index, seen.index)


def test_who_was_shown_deleted_has_seen_it_gone_though_the_delete_never_returned() -> None:
    told = Told()
    x = told.write("x")
    told.delete(after=told.read(x), outcome=INFO)
    told.ends(x)
    assert _check(told).verdict is Verdict.PASS
    seen = told.read(deleted=True, by="c2")
    assert _check(told).evidence == (x.index, seen.index)


def test_deleted_may_have_been_another_delete() -> None:
    told = Told()
    x, y = told.write("x"), told.write("y", by="c2")
    told.delete("d1", after=told.read(x), outcome=INFO)
    told.delete("d2", after=told.read(y), outcome=INFO)
    told.read(deleted=True)
    told.ends(x)
    assert _check(told).verdict is Verdict.PASS


def test_a_read_that_missed_a_value_has_not_seen_it_gone() -> None:
    told = Told()
    x = told.write("x")
    told.read(by="c2")
    told.ends(x)
    assert _check(told).verdict is Verdict.PASS


def test_a_text_that_was_stored_again_has_not_come_back() -> None:
    told = Told()
    x = told.write("x", outcome=INFO)
    told.write("y", after=told.read(x))
    told.ends(told.write("x", node="n2"))
    assert _check(told).verdict is Verdict.PASS


def test_a_new_value_after_a_delete_is_no_return() -> None:
    told = Told()
    x = told.write("x")
    told.delete(after=told.read(x))
    told.ends(told.write("y", after=told.read(deleted=True)))
    assert _check(told).verdict is Verdict.PASS


def test_a_replica_that_is_behind_brings_nothing_back() -> None:
    told = Told()
    x = told.write("x")
    told.ends(told.write("y", after=told.read(x)))
    told.ends(x, on=["n2"])
    assert _check(told).verdict is Verdict.PASS


def test_without_a_dump_nothing_is_said() -> None:
    told = Told()
    told.write("x")
    take = told.take()
    outcome = resurrection.check(type(take)(head=take.head, operations=take.operations))
    assert outcome.verdict is Verdict.INVALID
