"""What is concluded of anti-entropy: what moved, what was sent, and against what."""

from chaos.experiments.lost_disk import (
    ALONE,
    LITTLE,
    PROPORTIONAL,
    QUORUM,
    VALUE_BYTES,
    LostDisk,
)
from chaos.judgement import Findings, Verdict
from tests.unit.chaos.checkers.histories import HOMES, Told, fault, marks
from tests.unit.chaos.experiments.findings import looked, rule
from tests.unit.chaos.experiments.recordings import recording

NODE = HOMES[0]
KEYS = 10


def concluded(
    *,
    wiped: bool = True,
    pulled: float = 10.0,
    sent_bytes: float = 10.0 * VALUE_BYTES,
    delivered: float = 0.0,
    missed: int = 1,
    equal: bool = True,
) -> Findings:
    """Ten keys live on n1, which is dead from 4 to 5 s; all is equal at 8 s.

    Every node sends 100 bytes a second when there is nothing to mend.
    """
    told = Told(mode=QUORUM)
    for number in range(KEYS):
        key = f"k{number}"
        told.ends(told.write("before", key=key, at=(1.0, 1.1)), key=key)
    if not equal:
        told.ends(key="k0", on=[NODE])
    for number in range(missed):
        told.write("after", key=f"k{number}", at=(4.2, 4.3))
    kill = fault("kill", 4.0, 5.0, NODE)
    told.head = {
        "modes": (QUORUM,),
        "faults": (kill, fault("wipe", 4.1, 4.1, NODE)) if wiped else (kill,),
        "marks": marks(warm=2.0, healed=5.0, quiet=5.0, converged=8.0),
    }
    nodes = ("n1", "n2", "n3", "n4", "n5")

    def idle(at_s: float) -> dict[str, dict[str, float]]:
        return {node: {"peer_bytes_out_total": 100 * at_s} for node in nodes}

    end = idle(8.0)
    end[NODE] = {
        "os_pid": 2.0,
        "exchange_keys_pulled_total": pulled,
        "peer_bytes_out_total": 300.0,
        "hints_delivered_total": delivered,
    }
    end["n2"]["peer_bytes_out_total"] += sent_bytes
    told.samples = [looked(at_s, **idle(at_s)) for at_s in (2.0, 3.0, 4.0, 5.0)]
    told.samples[-1] = looked(5.0, **{n: f for n, f in idle(5.0).items() if n != NODE})
    told.samples.append(looked(8.0, **end))
    return LostDisk().conclude(recording(told.take()))


def test_a_wiped_disk_differs_in_all_that_it_held() -> None:
    findings = concluded()
    assert all(outcome.verdict is Verdict.PASS for outcome in findings.rules)
    moved, sent, _ = findings.figures
    assert (moved.measured, moved.predicted) == (10.0, 10)
    assert sent.measured == 10.0


def test_a_node_that_was_away_differs_in_what_was_written_meanwhile() -> None:
    findings = concluded(wiped=False, pulled=2.0, sent_bytes=2500.0, missed=2)
    assert rule(findings, PROPORTIONAL).verdict is Verdict.PASS
    assert "2 keys were moved for 2 that differed" in rule(findings, PROPORTIONAL).said


def test_moving_everything_for_few_differences_is_found_out() -> None:
    outcome = rule(concluded(wiped=False, pulled=10.0, missed=2), PROPORTIONAL)
    assert outcome.verdict is Verdict.FAIL
    assert "10 keys were moved for 2" in outcome.said


def test_sending_everything_for_few_differences_is_found_out() -> None:
    findings = concluded(wiped=False, pulled=1.0, sent_bytes=10.0 * VALUE_BYTES, missed=1)
    assert rule(findings, PROPORTIONAL).verdict is Verdict.PASS
    assert rule(findings, LITTLE).verdict is Verdict.FAIL


def test_what_differs_in_nothing_proves_nothing() -> None:
    assert rule(concluded(wiped=False, missed=0), PROPORTIONAL).verdict is Verdict.INVALID


def test_keys_that_came_another_way_prove_nothing() -> None:
    outcome = rule(concluded(pulled=3.0), PROPORTIONAL)
    assert outcome.verdict is Verdict.INVALID
    assert "of 10 keys that differed only 3 were moved" in outcome.said


def test_that_nothing_moves_is_for_the_rule_of_convergence_to_say() -> None:
    assert rule(concluded(pulled=0.0, equal=False), PROPORTIONAL).verdict is Verdict.PASS


def test_help_by_hints_makes_it_worthless() -> None:
    assert rule(concluded(delivered=3.0), ALONE).verdict is Verdict.INVALID
