"""What is concluded where two nodes do not hear each other: did others bring them together?"""

from chaos.experiments.partial import EQUAL, MODES, RELAYED, Partial
from chaos.judgement import Findings, Verdict
from tests.unit.chaos.checkers.histories import NODES, Told, fault, marks
from tests.unit.chaos.experiments.findings import looked, rule
from tests.unit.chaos.experiments.recordings import recording

STRICT = MODES[0]


def concluded(*, equal: bool = True, asked: str = "n1") -> Findings:
    """A cut from 10 to 25 s, one write while it was known, to an object of n1, n2 and n3."""
    told = Told(mode=STRICT)
    told.write("w", at=(15.0, 15.1), node=asked)
    took = {f"{EQUAL}{mode.name}": 1.5 for mode in MODES}
    if not equal:
        del took[f"{EQUAL}{STRICT.name}"]
    told.head = {
        "cut": "drop",
        "modes": MODES,
        "figures": took,
        "faults": (fault("cut", 10.0, 25.0, "n1->n2", "n2->n1"),),
        "marks": marks(broken=10.0, settled=12.0, healed=25.0),
    }
    told.samples = [
        looked(at_s, **{node: {"hints_delivered_total": hints} for node in NODES})
        for at_s, hints in ((9.0, 1.0), (12.0, 1.0), (24.0, 3.0), (27.0, 50.0))
    ]
    return Partial().conclude(recording(told.take()))


def test_replicas_that_others_bring_together_are_well() -> None:
    findings = concluded()
    assert rule(findings, RELAYED).verdict is Verdict.PASS
    assert "equal 1.5 s after the last request" in findings.observed
    assert "delivered 10 hints" in findings.observed


def test_replicas_that_wait_for_the_cut_to_end_are_found_out() -> None:
    findings = concluded(equal=False)
    outcome = rule(findings, RELAYED)
    assert outcome.verdict is Verdict.FAIL
    assert "strict 2/2" in outcome.said
    assert "not in time" in findings.observed


def test_where_nothing_was_to_be_relayed_nothing_is_concluded() -> None:
    assert rule(concluded(asked="n3"), RELAYED).verdict is Verdict.INVALID
