"""Where the last write wins, losses are counted, and the little that is promised must hold."""

from chaos.checkers import last_write_wins
from chaos.checkers.last_write_wins import lost_updates
from chaos.judgement import RuleOutcome, Verdict
from tests.unit.chaos.checkers.histories import FAIL, INFO, LWW, SIBLINGS, Told, stamped


def _check(told: Told) -> RuleOutcome:
    return last_write_wins.check(told.take())


def test_concurrent_writes_that_the_winner_did_not_know_are_counted_and_no_failure() -> None:
    told = Told(mode=LWW)
    x, y = told.write("x"), told.write("y", by="c2")
    told.ends(stamped(y, 20))
    outcome, updates = _check(told), lost_updates(told.take())
    assert outcome.verdict is Verdict.PASS
    assert "1 of 2 acknowledged writes were lost to it unseen" in outcome.said
    assert (updates.acked, updates.lost, updates.share) == (2, 1, 50.0)
    assert updates.by_place == {("b", "k"): (x.index,)}
    assert updates.by_mode == {LWW.name: (2, 1)}


def test_what_the_winner_knew_is_not_lost_and_what_is_unknown_does_not_count() -> None:
    told = Told(mode=LWW)
    x = told.write("x")
    told.write("never", outcome=INFO)
    told.ends(stamped(told.write("y", after=told.read(x), outcome=INFO), 20))
    updates = lost_updates(told.take())
    assert (updates.acked, updates.lost) == (1, 0)


def test_of_several_values_that_replicas_keep_the_latest_is_what_is_left() -> None:
    told = Told(mode=LWW)
    x, y = told.write("x"), told.write("y", by="c2")
    told.ends(stamped(x, 10), stamped(y, 20))
    assert _check(told).verdict is Verdict.PASS
    assert lost_updates(told.take()).by_place == {("b", "k"): (x.index,)}


def test_a_delete_that_wins_loses_what_it_did_not_know_and_one_that_loses_is_lost() -> None:
    told = Told(mode=LWW)
    x = told.write("x")
    delete = told.delete(after=told.read(x))
    y = told.write("y", by="c2")
    told.ends()
    assert lost_updates(told.take()).by_place == {("b", "k"): (y.index,)}
    told.ends(stamped(y, 30))
    assert lost_updates(told.take()).by_place == {("b", "k"): (x.index, delete.index)}


def test_a_reader_is_shown_one_value() -> None:
    told = Told(mode=LWW)
    x, y = told.write("x"), told.write("y", by="c2")
    read = told.read(x, y)
    told.ends(stamped(y, 20))
    assert (_check(told).verdict, _check(told).evidence) == (Verdict.FAIL, (read.index,))


def test_an_object_that_was_written_and_never_deleted_is_not_empty() -> None:
    told = Told(mode=LWW)
    x = told.write("x")
    assert (_check(told).verdict, _check(told).evidence) == (Verdict.FAIL, (x.index,))


def test_what_is_left_is_a_write_and_not_one_that_failed() -> None:
    told = Told(mode=LWW)
    failed = told.write("x", outcome=FAIL)
    told.ends(stamped(failed, 20))
    assert (_check(told).verdict, _check(told).evidence) == (Verdict.FAIL, (failed.index,))
    told.ends("rubbish")
    assert "ended as 'rubbish', which nobody is known to have written" in _check(told).said


def test_nothing_acknowledged_that_is_still_anywhere_is_later_than_what_is_left() -> None:
    told = Told(mode=LWW)
    x, y = told.write("x"), told.write("y", by="c2")
    told.ends(stamped(x, 10))
    told.ends(stamped(y, 25), on=["n5"])
    outcome = _check(told)
    assert (outcome.verdict, outcome.evidence) == (Verdict.FAIL, (y.index,))
    assert "15 ms later than what is left" in outcome.said


def test_an_object_that_was_not_dumped_is_invalid_and_not_counted() -> None:
    told = Told(mode=LWW)
    told.write("x")
    take = told.take()
    bare = type(take)(head=take.head, operations=take.operations)
    assert last_write_wins.check(bare).verdict is Verdict.INVALID
    assert lost_updates(bare).acked == 0


def test_objects_with_siblings_are_not_its_business() -> None:
    told = Told(mode=SIBLINGS)
    told.write("x")
    assert _check(told).verdict is Verdict.PASS
