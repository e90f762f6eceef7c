"""What is concluded of kills: whether nodes came back, and what was answered meanwhile."""

import msgspec
import pytest

from chaos.experiments.kill_storm import RECOVERS, RECOVERS_S_MAX, STRICT, KillStorm
from chaos.judgement import Findings, Verdict
from chaos.recording import Fault
from tests.unit.chaos.checkers.histories import FAIL, NODES, OK, Told, fault, marks
from tests.unit.chaos.experiments.findings import rule
from tests.unit.chaos.experiments.recordings import recording


def kill(node: str, from_s: float, until_s: float, *, back_after_s: float = 1.0) -> Fault:
    known = fault("kill", from_s, until_s, node)
    assert known.ended is not None
    ended = msgspec.structs.replace(known.ended, until_s=until_s + back_after_s)
    return msgspec.structs.replace(known, ended=ended)


def concluded(*, back_after_s: float = 1.0, answered: bool = True) -> Findings:
    """Every node is killed, then n1 and n2, homes of the key as n3 is, then all together."""
    told = Told(mode=STRICT)
    told.write("x", at=(1.0, 1.1), node="n3")
    told.read(at=(5.1, 5.2), node="n3")
    for node in NODES:
        outcome = OK if answered and node == "n3" else FAIL
        told.read(at=(13.0, 13.1), node=node, outcome=outcome)
    told.head = {
        "modes": (STRICT,),
        "faults": (
            *(kill(node, 5.0, 6.0, back_after_s=back_after_s) for node in NODES),
            kill("n1", 10.0, 16.0),
            kill("n2", 10.1, 15.0),
            *(kill(node, 16.9, 16.95, back_after_s=0.05) for node in NODES),
        ),
        "marks": marks(warm=0.5, settled=12.0, healed=17.0, quiet=18.0),
    }
    return KillStorm().conclude(recording(told.take()))


def test_the_time_from_start_to_service_is_told() -> None:
    outcome = rule(concluded(back_after_s=1.5), RECOVERS)
    assert outcome.verdict is Verdict.PASS
    assert "12 times a node was killed" in outcome.said
    assert "within 1.5 s" in outcome.said


def test_a_node_that_takes_too_long_is_found_out() -> None:
    outcome = rule(concluded(back_after_s=RECOVERS_S_MAX + 1), RECOVERS)
    assert outcome.verdict is Verdict.FAIL
    assert "kill of n1 at 5.0 s, served again after 21.0 s" in outcome.said


@pytest.mark.parametrize(("answered", "measured"), [(False, 0.0), (True, 33.3)])
def test_with_two_homes_dead_a_strict_quorum_is_predicted_to_fail(
    answered: bool, measured: float
) -> None:
    [row] = concluded(answered=answered).availability
    assert (row.action, row.requests) == ("read", 3), "who asks the dead is not counted"
    assert (round(row.measured, 1), row.predicted) == (measured, 0.0)
    assert row.holds is not answered
