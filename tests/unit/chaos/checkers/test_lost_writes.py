"""Acknowledged writes are there or were replaced knowingly; everything else is lost."""

import pytest

from chaos.checkers import lost_writes
from chaos.errors import RecordingError
from chaos.judgement import Verdict
from tests.unit.chaos.checkers.histories import FAIL, HOMES, INFO, LWW, OK, Told


def _verdict(told: Told) -> Verdict:
    return lost_writes.check(told.take()).verdict


def test_blind_writes_at_the_same_time_must_all_be_there() -> None:
    told = Told()
    x, y = told.write("x", by="c1"), told.write("y", by="c2")
    told.ends(y, x)
    assert _verdict(told) is Verdict.PASS
    told.ends(y)
    outcome = lost_writes.check(told.take())
    assert outcome.verdict is Verdict.FAIL
    assert outcome.evidence == (x.index,)
    assert outcome.said == "1 of 2 acknowledged writes are lost: put 0 of c1 (1.000 s) to b/k"


def test_a_write_may_be_replaced_by_one_that_knew_it_even_at_second_hand() -> None:
    told = Told()
    x = told.write("x")
    y = told.write("y", after=told.read(x), outcome=INFO)
    z = told.write("z", by="c2", after=told.read(y, by="c2"))
    told.ends(z)
    assert _verdict(told) is Verdict.PASS


def test_a_later_write_that_did_not_know_it_replaces_nothing() -> None:
    told = Told()
    x = told.write("x")
    told.ends(told.write("y", after=told.read()))
    assert lost_writes.check(told.take()).evidence == (x.index,)


def test_a_context_given_out_before_a_write_does_not_cover_it() -> None:
    told = Told()
    old = told.write("old")
    stale = told.read(old, by="c2")
    x = told.write("x", after=told.read(old))
    told.ends(told.write("y", by="c2", after=stale))
    assert lost_writes.check(told.take()).evidence == (x.index,)


def test_what_is_unknown_or_failed_need_not_be_there_and_may_be() -> None:
    told = Told()
    told.write("failed", outcome=FAIL)
    surfaced = told.write("late", outcome=INFO)
    told.write("never", outcome=INFO)
    told.ends(surfaced)
    assert _verdict(told) is Verdict.PASS


def test_a_deleted_write_is_not_lost_though_the_tombstone_is_forgotten() -> None:
    told = Told()
    x = told.write("x")
    told.delete(after=told.read(x))
    told.ends()
    assert _verdict(told) is Verdict.PASS


def test_a_delete_of_which_nothing_is_known_may_have_taken_what_it_was_shown() -> None:
    told = Told()
    x = told.write("x")
    told.delete(after=told.read(x), outcome=INFO)
    assert _verdict(told) is Verdict.PASS
    told.ends(x)
    assert _verdict(told) is Verdict.PASS


def test_a_write_at_the_same_time_as_a_delete_outlives_it() -> None:
    told = Told()
    x = told.write("x")
    seen = told.read(x)
    y = told.write("y", by="c2")
    told.delete(after=seen)
    told.ends(y, tombstones=1)
    assert _verdict(told) is Verdict.PASS
    told.ends(tombstones=1)
    assert lost_writes.check(told.take()).evidence == (y.index,)


def test_a_write_after_deleted_was_shown_replaces_all_that_was_deleted() -> None:
    told = Told()
    x = told.write("x")
    told.delete(after=told.read(x))
    told.ends(told.write("y", after=told.read(deleted=True)))
    assert _verdict(told) is Verdict.PASS


def test_a_delete_is_lost_if_what_it_deleted_is_there_and_nothing_speaks_of_it() -> None:
    told = Told()
    x = told.write("x")
    delete = told.delete(after=told.read(x))
    told.ends(x)
    assert lost_writes.check(told.take()).evidence == (delete.index,)


def test_a_delete_whose_tombstone_is_there_is_not_lost_whatever_else_is_there() -> None:
    told = Told()
    x = told.write("x")
    told.delete(after=told.read(x))
    told.ends(x, tombstones=1)
    assert _verdict(told) is Verdict.PASS


def test_it_is_enough_that_one_home_has_it_as_long_as_they_differ() -> None:
    told = Told()
    x, y = told.write("x"), told.write("y", by="c2")
    told.ends(x, on=["n1"])
    told.ends(y, on=["n2", "n3"])
    assert _verdict(told) is Verdict.PASS


def test_what_only_a_stranger_holds_is_lost() -> None:
    told = Told()
    x = told.write("x")
    told.ends(x, on=["n5"])
    assert lost_writes.check(told.take()).evidence == (x.index,)


def test_what_may_still_be_in_a_hint_is_not_called_lost() -> None:
    told = Told()
    told.write("x")
    told.ends(on=["n5"], hinted_for=("n1",))
    outcome = lost_writes.check(told.take())
    assert outcome.verdict is Verdict.PASS
    assert "1 object with hints still on their way" in outcome.said


@pytest.mark.parametrize("home", HOMES)
def test_an_object_that_a_home_did_not_dump_makes_it_invalid(home: str) -> None:
    told = Told()
    x, y = told.write("x"), told.write("y", key="l")
    told.ends(x)
    told.ends(y, key="l")
    take = told.take()
    told.states.pop(("k", home))
    final = tuple(told.states.values())
    broken = type(take)(head=take.head, operations=take.operations, final=final)
    outcome = lost_writes.check(broken)
    assert outcome.verdict is Verdict.INVALID
    assert outcome.said == f"b/k was not dumped by {home}"


def test_a_loss_beside_a_missing_dump_is_told_and_invalid() -> None:
    told = Told()
    told.write("x")
    told.write("y", key="l")
    take = told.take()
    final = tuple(state for state in take.final if state.key == "k")
    outcome = lost_writes.check(type(take)(head=take.head, operations=take.operations, final=final))
    assert outcome.verdict is Verdict.INVALID
    assert "b/l was not dumped by n1, n2, n3; besides, 2 of 2 acknowledged" in outcome.said


def test_without_placements_a_dump_needs_as_many_homes_as_there_are_replicas() -> None:
    told = Told()
    told.ends(told.write("x"))
    told.head["placements"] = ()
    assert _verdict(told) is Verdict.PASS
    take = told.take()
    final = tuple(state for state in take.final if state.node != "n2")
    outcome = lost_writes.check(type(take)(head=take.head, operations=take.operations, final=final))
    assert outcome.said == "b/k was not dumped by 1 of 3 replicas"


def test_buckets_where_the_last_write_wins_are_not_its_business() -> None:
    told = Told(mode=LWW)
    told.write("x")
    assert "all 0 acknowledged writes to 0 objects" in lost_writes.check(told.take()).said


def test_an_unknown_mode_is_an_error_of_the_lab() -> None:
    told = Told()
    told.write("x", outcome=OK)
    told.head["modes"] = ()
    with pytest.raises(RecordingError, match="operation 0 was asked in a mode"):
        lost_writes.check(told.take())
