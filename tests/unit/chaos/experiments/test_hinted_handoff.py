"""What is concluded of hints: that they survived, went out, and did it alone."""

from chaos.experiments.hinted_handoff import (
    ALONE,
    AT_ONCE,
    LEFT,
    SLOPPY,
    SURVIVE,
    HintedHandoff,
)
from chaos.judgement import Figure, Findings, Verdict
from tests.unit.chaos.checkers.histories import HINTS, HOMES, Told, fault, marks
from tests.unit.chaos.experiments.findings import looked, rule
from tests.unit.chaos.experiments.recordings import recording

HOME, HOLDER = HOMES[0], "n4"


def concluded(
    *, delivered: float = 2.0, left: float | None = 0.0, mended: float = 0.0, kept: float = 2.0
) -> Findings:
    """Two keys are written while n1 is dead; n4 keeps a hint of each, dies, and delivers some."""
    told = Told(mode=SLOPPY)
    for key in ("k1", "k2"):
        told.write("before", key=key, at=(1.0, 1.1))
        told.ends(told.write("after", key=key, at=(5.0, 5.1)), key=key)
    told.head = {
        "modes": (SLOPPY,),
        "faults": (
            fault("pause", 1.5, 2.1, HOME),
            fault("kill", 2.0, 12.0, HOME),
            fault("kill", 10.0, 14.0, HOLDER),
        ),
        "marks": marks(warm=0.5, settled=3.0, healed=14.0, quiet=14.0),
        "figures": {} if left is None else {LEFT: left},
        "hints": {**HINTS, "held": 0},
    }
    nothing = {"hints_held": 0.0, "hints_delivered_total": 0.0}
    others = dict.fromkeys(("n1", "n2", "n3", "n5"), nothing)
    told.samples = [
        looked(1.0, **others, n4=nothing),
        looked(9.9, **others, n4={"hints_held": kept, "hints_delivered_total": 0.0}),
        looked(
            15.0,
            **others,
            n4={
                "hints_held": 0.0,
                "hints_delivered_total": delivered,
                "exchange_keys_pulled_total": mended,
            },
        ),
    ]
    return HintedHandoff().conclude(recording(told.take()))


def held(findings: Findings) -> Figure:
    return next(figure for figure in findings.figures if figure.predicted is not None)


def test_a_hint_is_expected_for_each_key_of_the_dead_home_written_meanwhile() -> None:
    findings = concluded()
    assert (held(findings).measured, held(findings).predicted) == (2.0, 2)
    assert all(outcome.verdict is Verdict.PASS for outcome in findings.rules)


def test_fewer_hints_than_keys_are_not_as_predicted() -> None:
    assert not held(concluded(kept=-1.0)).holds


def test_hints_that_died_with_their_holder_are_found_out() -> None:
    outcome = rule(concluded(delivered=1.0), SURVIVE)
    assert outcome.verdict is Verdict.FAIL
    assert "n4 kept 2 hints when it was killed and delivered 1" in outcome.said


def test_a_holder_without_hints_proves_nothing() -> None:
    assert rule(concluded(kept=0.0, delivered=0.0), SURVIVE).verdict is Verdict.INVALID


def test_hints_that_wait_for_another_dead_node_are_found_out() -> None:
    outcome = rule(concluded(left=3.0), AT_ONCE)
    assert outcome.verdict is Verdict.FAIL
    assert "3 hints were not delivered" in outcome.said


def test_hints_that_nobody_counted_prove_nothing() -> None:
    assert rule(concluded(left=None), AT_ONCE).verdict is Verdict.INVALID


def test_help_by_anti_entropy_makes_it_worthless() -> None:
    outcome = rule(concluded(mended=1.0), ALONE)
    assert outcome.verdict is Verdict.INVALID
    assert "1 keys by anti-entropy" in outcome.said
