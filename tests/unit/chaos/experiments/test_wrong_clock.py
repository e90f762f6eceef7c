"""E9's conclusion: of two writes the later should win, and siblings should not care."""

from chaos.experiments.wrong_clock import (
    FAR,
    KEPT,
    LAST,
    NEAR,
    ORDERED,
    SEEN,
    SIBLINGS,
    SLOW,
    TRUSTED,
    WrongClock,
)
from chaos.judgement import Findings, Verdict
from tests.unit.chaos.checkers.histories import fault, marks, sample
from tests.unit.chaos.experiments.findings import looked, rule
from tests.unit.chaos.experiments.recordings import recording
from tests.unit.chaos.experiments.sets import Client, Kept, Sets

CLIENTS = {SLOW: Client("A", "n1"), NEAR: Client("A", "n2"), FAR: Client("B", "n3")}
SET = Kept(SIBLINGS, "siblings")
WELL = (sample(2.0), sample(5.0))


def told() -> Sets:
    """All that is as it should be: a set with siblings to which both sides add."""
    sets = Sets(
        modes=(LAST, SIBLINGS, SEEN),
        clients=CLIENTS,
        faults=(fault("clock", 1.0, 30.0, "n1"), fault("cut", 10.0, 20.0, "n1>n3")),
        samples=WELL,
        head={"marks": marks(settled=2.0, healed=30.0)},
    )
    first = sets.adds(SET, FAR, 3, "1")
    sets.ends(SET, sets.adds(SET, SLOW, 11, "1 2", first), sets.adds(SET, FAR, 12, "1 3", first))
    return sets


def turns(sets: Sets, first: str, last: str, *, key: str, last_stays: bool) -> None:
    """One key that is written by one client and later by another, across the cut."""
    of = Kept(LAST, "last", key)
    start = sets.adds(of, FAR, 3, "1")
    one = sets.adds(of, first, 12, "1 2", start)
    other = sets.adds(of, last, 14, "1 3", start)
    sets.ends(of, *((other, one) if last_stays else (one, other)))


def connected(sets: Sets, *, last_stays: bool) -> None:
    """A key that the slow node replaces, having seen it."""
    of = Kept(SEEN, "seen")
    one = sets.adds(of, FAR, 4, "1")
    other = sets.adds(of, SLOW, 5, "1 2", one)
    sets.ends(of, other if last_stays else one)


def concluded(sets: Sets) -> Findings:
    return WrongClock().conclude(recording(sets.take()))


def as_predicted(sets: Sets) -> dict[str, bool]:
    return {figure.label.partition(": ")[2]: figure.holds for figure in concluded(sets).figures}


def test_the_slow_node_loses_what_it_did_not_see_and_wins_over_what_it_saw() -> None:
    sets = told()
    connected(sets, last_stays=True)
    turns(sets, FAR, SLOW, key="k1", last_stays=False)
    turns(sets, FAR, NEAR, key="k2", last_stays=True)
    turns(sets, SLOW, FAR, key="k3", last_stays=True)
    findings = concluded(sets)
    assert all(outcome.verdict is Verdict.PASS for outcome in findings.rules)
    assert all(as_predicted(sets).values())
    assert findings.observed == (
        "Across the cut 0 of 1 later write through the slow node stayed, and 2 of 2 through the"
        " others; connected, 1 of 1 through the slow node. Siblings lost 0 of 3 additions."
    )


def test_a_clock_that_makes_no_difference_is_not_as_predicted() -> None:
    sets = told()
    connected(sets, last_stays=True)
    turns(sets, FAR, SLOW, key="k1", last_stays=True)
    turns(sets, FAR, NEAR, key="k2", last_stays=False)
    assert as_predicted(sets) == {
        "connected, through n1 (slow)": True,
        "across the cut, through n1 (slow)": False,
        "across the cut, through n2 beside it": False,
        "across the cut, through n3 n4 n5": False,
    }


def test_a_write_that_loses_against_what_its_node_had_seen_is_the_stores_fault() -> None:
    sets = told()
    connected(sets, last_stays=False)
    outcome = rule(concluded(sets), ORDERED)
    assert outcome.verdict is Verdict.FAIL
    assert outcome.said.startswith("1 later writes lost against what their node had seen: put ")


def test_nothing_replaced_through_the_slow_node_proves_nothing() -> None:
    assert rule(concluded(told()), ORDERED).verdict is Verdict.INVALID


def test_an_addition_that_siblings_lose_is_the_stores_fault() -> None:
    sets = told()
    assert rule(concluded(sets), KEPT).verdict is Verdict.PASS
    sets.states.clear()
    sets.ends(SET, sets.operations[-1])
    assert rule(concluded(sets), KEPT).verdict is Verdict.FAIL


def test_a_node_that_is_suspected_for_its_clock_is_named() -> None:
    sets = told()
    sets.samples = (*WELL, looked(6.0, n4={"up": 4.0}))
    outcome = rule(concluded(sets), TRUSTED)
    assert outcome.verdict is Verdict.FAIL
    assert "n4 took 4 of 5 for up at 6.0 s" in outcome.said


def test_who_is_missed_while_it_restarts_or_is_cut_off_is_missed_rightly() -> None:
    sets = told()
    sets.samples = (looked(1.5, n4={"up": 4.0}), *WELL, looked(12.0, n4={"up": 3.0}))
    assert rule(concluded(sets), TRUSTED).verdict is Verdict.PASS
    sets.samples = ()
    assert rule(concluded(sets), TRUSTED).verdict is Verdict.INVALID


def test_a_later_write_that_lost_is_drawn() -> None:
    sets = told()
    turns(sets, FAR, SLOW, key="k1", last_stays=False)
    [lanes] = concluded(sets).lanes
    assert "slow wrote #11 through n1 on side A, 2.0 s later" in lanes.said
    assert set(lanes.highlight) < set(lanes.operations)


def test_writes_that_overlap_say_nothing_of_clocks() -> None:
    sets = told()
    of = Kept(LAST, "last", "k1")
    one, other = sets.read(of, FAR, 12.0), sets.read(of, SLOW, 12.0)
    first = sets.write(of, FAR, 12.02, "1", after=one)
    sets.ends(of, first, sets.write(of, SLOW, 12.025, "2", after=other))
    assert concluded(sets).tables[0].rows[1][1] == "0"
