"""What became of additions, and who is to blame for those that are gone."""

from chaos.experiments.additions import Additions, additions, left
from chaos.modes import Conflicts, Mode
from tests.unit.chaos.experiments.sets import Kept, Sets

SIBLINGS = Kept(Mode(r=2, w=2, sloppy=True))
LAST = Kept(Mode(r=2, w=2, sloppy=True, conflicts=Conflicts.LWW))


def told() -> Sets:
    return Sets(modes=(SIBLINGS.mode, LAST.mode))


def found(sets: Sets, of: Kept = LAST) -> Additions:
    return additions(sets.take(), (of.bucket, of.key), of.mode)


def test_readers_are_shown_the_latest_of_what_homes_hold_or_all_siblings() -> None:
    sets = told()
    one, other = sets.write(LAST, "c1", 1, "1"), sets.write(LAST, "c2", 1, "2")
    sets.ends(LAST, one, other, stamped_ms=[5, 7])
    place = (LAST.bucket, LAST.key)
    assert left(sets.take(), place, Conflicts.LWW) == {other.written}
    assert left(sets.take(), place, Conflicts.SIBLINGS) == {one.written, other.written}


def test_of_writes_of_the_same_millisecond_nobody_knows_which_is_shown() -> None:
    sets = told()
    one, other = sets.write(LAST, "c1", 1, "1"), sets.write(LAST, "c2", 1, "2")
    sets.ends(LAST, one, other, stamped_ms=[5, 5])
    assert not found(sets).outcome.lost


def test_who_cannot_read_has_tried() -> None:
    sets = told()
    sets.ends(LAST, sets.adds(LAST, "c1", 1, "1"))
    sets.refused(LAST, "c2", 2)
    assert (found(sets).tried, found(sets).acknowledged_percent) == (2, 50.0)


def test_the_loser_of_a_race_is_hidden_by_who_wrote_at_the_same_time() -> None:
    sets = told()
    first = sets.adds(LAST, "c1", 1, "1")
    one, other = sets.read(LAST, "c1", 2.0, first), sets.read(LAST, "c2", 2.005, first)
    loser = sets.write(LAST, "c1", 2.02, "1 2", after=one)
    winner = sets.write(LAST, "c2", 2.025, "1 3", after=other)
    last = sets.adds(LAST, "c1", 3, "1 3 4", winner)
    sets.ends(LAST, last)
    [gone] = found(sets).overwritten
    assert (gone.element, gone.write, gone.by, gone.fork) == ("2", loser, winner, first)
    assert gone.is_race


def test_all_that_one_side_built_is_hidden_by_the_first_write_of_the_other() -> None:
    sets = told()
    first = sets.adds(LAST, "c1", 1, "1")
    left_one = sets.adds(LAST, "c1", 11, "1 2", first)
    left_two = sets.adds(LAST, "c2", 12, "1 2 3", left_one)
    right_one = sets.adds(LAST, "c3", 11.001, "1 4", first)
    right_two = sets.adds(LAST, "c4", 13, "1 4 5", right_one)
    sets.ends(LAST, right_two, left_two)
    gone = found(sets).overwritten
    assert [(one.element, one.write, one.rival, one.by) for one in gone] == [
        ("2", left_one, left_one, right_one),
        ("3", left_two, left_one, right_one),
    ]
    assert not any(one.is_race for one in gone), "at the same time, but on two sides of a cut"


def test_who_read_after_the_acknowledgement_and_was_not_shown_it_did_not_race() -> None:
    sets = told()
    first = sets.adds(LAST, "c1", 1, "1")
    sets.adds(LAST, "c1", 21, "1 2", first)
    sets.ends(LAST, sets.adds(LAST, "c2", 22, "1 3", first))
    [gone] = found(sets).overwritten
    assert not gone.is_race


def test_sets_that_began_with_nothing_have_no_fork() -> None:
    sets = told()
    sets.adds(LAST, "c1", 1, "1")
    sets.ends(LAST, sets.adds(LAST, "c2", 1.001, "2"))
    [gone] = found(sets).overwritten
    assert gone.is_race
    assert gone.fork is None


def test_where_nothing_is_left_nobody_is_to_blame() -> None:
    sets = told()
    sets.adds(LAST, "c1", 1, "1")
    assert found(sets).outcome.lost == {"1"}
    assert not found(sets).overwritten


def test_with_siblings_no_line_is_chosen() -> None:
    sets = told()
    one, other = sets.adds(SIBLINGS, "c1", 1, "1"), sets.adds(SIBLINGS, "c2", 1, "2")
    sets.read(SIBLINGS, "c1", 2, one, other)
    sets.ends(SIBLINGS, one)
    lost = found(sets, SIBLINGS)
    assert lost.outcome.lost == {"2"}
    assert (lost.overwritten, lost.siblings_max) == ((), 2)
