"""What is concluded of a heal under load: whether clients were served, and recovery ended."""

from chaos.experiments.heal_storm import DRAINED, SERVED, SIDES, SLOPPY, HealStorm
from chaos.judgement import Findings, Verdict
from chaos.recording import Outcome
from tests.unit.chaos.checkers.histories import Told, fault, marks
from tests.unit.chaos.experiments.findings import looked, rule
from tests.unit.chaos.experiments.recordings import recording


def concluded(
    *, held: float = 100.0, left: float = 0.0, outcome: Outcome = Outcome.OK, took_s: float = 0.02
) -> Findings:
    """A cut from 2 to 12 s; n1 holds hints when it is healed, and delivers all but those left."""
    told = Told(mode=SLOPPY)
    for number in range(10):
        told.read(at=(1.0 + number / 20, 1.01 + number / 20))
    for number in range(10):
        told.read(at=(13.0 + number / 2, 13.0 + number / 2 + took_s), outcome=outcome)
    told.head = {
        "modes": (SLOPPY,),
        "sides": SIDES,
        "faults": (fault("cut", 2.0, 12.0, "n1->n3"),),
        "marks": marks(warm=0.5, settled=4.0, healed=12.0, quiet=22.5),
    }
    none = {"hints_held": 0.0, "hints_delivered_total": 0.0}
    nothing = dict.fromkeys(("n2", "n3", "n4", "n5"), none)
    told.samples = [
        looked(at_s, **nothing, n1={"hints_held": now, "hints_delivered_total": held - now})
        for at_s, now in ((11.9, held), (12.9, held / 2), (13.9, left), (21.0, left))
    ]
    return HealStorm().conclude(recording(told.take()))


def figures(findings: Findings) -> dict[str, float | None]:
    return {figure.label: figure.measured for figure in findings.figures}


def test_a_recovery_that_ends_while_clients_are_served_is_well() -> None:
    findings = concluded()
    assert [outcome.verdict for outcome in findings.rules] == [Verdict.PASS] * 2
    found = figures(findings)
    assert found["hints held when it was healed"] == 100
    assert found["until they were delivered"] is not None


def test_the_tail_is_held_against_that_before_the_cut() -> None:
    found = figures(concluded(took_s=0.05))
    [times] = [measured for label, measured in found.items() if "times before" in label]
    assert times is not None
    assert round(times) == 5


def test_the_recovery_is_told_second_by_second() -> None:
    [table] = concluded().tables
    assert [row[1] for row in table.rows[:3]] == ["50", "0", "0"]
    assert [row[2] for row in table.rows[:3]] == ["50", "50", "0"]


def test_hints_that_wait_until_clients_are_silent_are_found_out() -> None:
    outcome = rule(concluded(left=60.0), DRAINED)
    assert outcome.verdict is Verdict.FAIL
    assert "of 100 hints 60 were left" in outcome.said


def test_a_cut_that_left_no_hint_proves_nothing() -> None:
    assert rule(concluded(held=0.0), DRAINED).verdict is Verdict.INVALID


def test_clients_that_are_not_answered_for_the_sake_of_recovery_are_found_out() -> None:
    outcome = rule(concluded(outcome=Outcome.FAIL), SERVED)
    assert outcome.verdict is Verdict.FAIL
    assert outcome.evidence
