"""What is concluded of a slow node: who waits for it, who does not, and that it is not dead."""

from itertools import product

from chaos.experiments.slow_replica import ALIVE, ALL, GOES_ON, ONE, TWO, WAITS, SlowReplica
from chaos.judgement import Findings, Verdict
from chaos.recording import Action, Placement
from tests.unit.chaos.checkers.histories import HOMES, Told, fault, marks, placed
from tests.unit.chaos.experiments.findings import looked, rule
from tests.unit.chaos.experiments.recordings import recording

SLOW = HOMES[2]
LINKS = tuple(f"{a}>{b}" for a, b in product(("n1", "n2"), (SLOW,)))
MODES = (ONE, TWO, ALL)

MS = 0.001


def concluded(
    *, all_ms: float = 240, two_ms: float = 6, usual_ms: float = 5, up: float = 5, hints: float = 0
) -> Findings:
    """n3 is slow from 2 to 12 s; `near` has a home there, `far` has none."""
    told = Told()
    for mode in MODES:
        told.mode = mode
        near_ms = all_ms if mode is ALL else two_ms
        for number in range(5):
            at_s = 5.0 + number
            for key, took_ms in (("near", near_ms), ("far", usual_ms)):
                at = (at_s, at_s + MS * took_ms)
                told.add(Action.GET, key=key, node="n2", at=at, shows=())
                told.write(f"{mode.name} {number}", key=key, node="n2", at=at)
    told.head = {
        "modes": MODES,
        "faults": (fault("latency", 2.0, 12.0, *LINKS),),
        "marks": marks(warm=0.5, healed=12.0, quiet=14.0),
        "placements": (
            placed("near"),
            Placement(bucket="b", key="far", primaries=("n1", "n2", "n4"), stand_ins=("n3", "n5")),
        ),
    }
    told.samples = [
        looked(1.0, n1={"hints_stored_total": 0.0}),
        looked(6.0, n1={"hints_stored_total": hints, "up": up}),
    ]
    return SlowReplica().conclude(recording(told.take()))


def test_who_waits_for_all_waits_and_who_does_not_goes_on() -> None:
    findings = concluded()
    assert [outcome.verdict for outcome in findings.rules] == [Verdict.PASS] * 3
    assert all(figure.holds for figure in findings.figures)


def test_an_answer_of_all_homes_before_the_slow_one_can_have_spoken_is_a_lie() -> None:
    outcome = rule(concluded(all_ms=60), WAITS)
    assert outcome.verdict is Verdict.FAIL
    assert outcome.evidence


def test_a_store_that_waits_for_one_more_than_it_needs_is_found_out() -> None:
    assert rule(concluded(two_ms=220), GOES_ON).verdict is Verdict.FAIL


def test_a_wait_much_longer_than_the_delay_is_not_as_predicted() -> None:
    assert not all(figure.holds for figure in concluded(all_ms=900).figures)


def test_what_slows_everybody_is_not_held_against_the_slow_home() -> None:
    findings = concluded(two_ms=141, usual_ms=140, all_ms=375)
    assert rule(findings, GOES_ON).verdict is Verdict.PASS
    assert all(figure.holds for figure in findings.figures)


def test_a_machine_on_which_everybody_is_slow_proves_nothing() -> None:
    outcome = rule(concluded(two_ms=700, usual_ms=690, all_ms=900), GOES_ON)
    assert outcome.verdict is Verdict.INVALID
    assert "too busy" in outcome.said


def test_a_slow_node_that_is_taken_for_dead_is_found_out() -> None:
    assert rule(concluded(up=4), ALIVE).verdict is Verdict.FAIL


def test_hints_for_a_slow_node_are_found_out() -> None:
    outcome = rule(concluded(hints=20), ALIVE)
    assert outcome.verdict is Verdict.FAIL
    assert "20 hints were stored" in outcome.said
