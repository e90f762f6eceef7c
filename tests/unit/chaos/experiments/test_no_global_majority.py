"""What is concluded where every node sees another part of the cluster."""

import pytest

from chaos.experiments.no_global_majority import BRIDGE, RING, STEADY, NoGlobalMajority
from chaos.judgement import Findings, Verdict
from tests.unit.chaos.checkers.histories import NODES, Told, fault, marks
from tests.unit.chaos.experiments.findings import looked, rule
from tests.unit.chaos.experiments.recordings import named, recording


def concluded(*, changes: float = 0.0, known: bool = True) -> Findings:
    """Two cuts from 10 to 42 s; n1 changes its mind so often once all know of them."""
    told = Told()
    told.write("w", at=(15.0, 15.1))
    told.head = {
        "cut": "drop",
        "faults": (fault("cut", 10.0, 42.0, "n1->n3"),),
        "marks": marks(broken=10.0, healed=42.0, **({"settled": 12.0} if known else {})),
    }
    told.samples = [
        looked(at_s, **{node: {"opinions_changed_total": 4.0} for node in NODES[1:]}, n1=one)
        for at_s, one in (
            (12.1, {"opinions_changed_total": 0.0}),
            (12.2, {"opinions_changed_total": 4.0}),
            (41.9, {"opinions_changed_total": 4.0 + changes}),
        )
    ]
    takes = [named(told.take(), name) for name in (RING, BRIDGE)]
    return NoGlobalMajority().conclude(recording(*takes))


@pytest.mark.parametrize("shape", [RING, BRIDGE])
def test_opinions_that_stay_are_well(shape: str) -> None:
    assert rule(concluded(changes=2.0), STEADY, shape).verdict is Verdict.PASS


def test_opinions_that_flap_fail() -> None:
    outcome = rule(concluded(changes=60.0), STEADY, RING)
    assert outcome.verdict is Verdict.FAIL
    assert "24.2 times a minute" in outcome.said


def test_of_a_cut_that_nobody_knew_of_nothing_is_concluded() -> None:
    assert rule(concluded(known=False), STEADY, RING).verdict is Verdict.INVALID


def test_who_is_asked_decides_what_can_be_answered() -> None:
    ring, bridge = concluded().tables
    assert [row[:2] for row in ring.rows[:2]] == [("n1", "n1 n2 n5"), ("n2", "n1 n2 n3")]
    assert [row[1] for row in bridge.rows] == [
        "n1 n2 n3",
        "n1 n2 n3",
        "n1 n2 n3 n4 n5",
        "n3 n4 n5",
        "n3 n4 n5",
    ]
