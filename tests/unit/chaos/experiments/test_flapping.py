"""What is concluded of a network that comes and goes: did the nodes do more than it called for?"""

from collections.abc import Mapping

import pytest

from chaos.experiments.flapping import AFTERWARDS, CALM, MODES, Flapping
from chaos.experiments.half_split import SIDES
from chaos.judgement import Findings, Verdict
from chaos.judging import AS_PREDICTED, judge
from chaos.recording import Outcome, Recording
from tests.unit.chaos.checkers.histories import NODES, Told, fault
from tests.unit.chaos.experiments.findings import looked, rule
from tests.unit.chaos.experiments.recordings import named, recording

USUAL = {"peer_dials_total": 8.0, "opinions_changed_total": 4.0, "hints_stored_total": 1.0}


def run(counted: Mapping[str, float], *, afterwards: Outcome = Outcome.OK) -> Recording:
    """Two cuts of two ways in four seconds and a half; each of five nodes counts so much in it."""
    told = Told(mode=MODES[0])
    for at_s in (2.1, 2.2, 2.3, 3.5, 5.0):
        told.write("w", at=(at_s, at_s + 0.01))
    told.write("late", at=(7.5, 7.6), outcome=afterwards)
    ways = ("n1->n3", "n3->n1")
    told.head = {
        "cut": "drop",
        "modes": MODES,
        "sides": SIDES,
        "faults": (fault("cut", 2.0, 3.0, *ways), fault("cut", 4.5, 6.0, *ways)),
        "figures": {AFTERWARDS: 6.5},
    }
    grown = {**dict.fromkeys(USUAL, 0.0), **counted}
    told.samples = [
        looked(
            at_s,
            **{node: {name: USUAL[name] + share * grown[name] for name in USUAL} for node in NODES},
        )
        for at_s, share in ((1.9, 0), (6.4, 1), (9.0, 50))
    ]
    return recording(named(told.take(), "drop"), experiment="flapping")


def concluded(**counted: float) -> Findings:
    return Flapping().conclude(run(counted))


def test_what_the_cuts_explain_is_no_storm() -> None:
    findings = concluded(peer_dials_total=3.0, opinions_changed_total=2.0, hints_stored_total=1.0)
    outcome = rule(findings, CALM, "drop")
    assert outcome.verdict is Verdict.PASS
    assert "15 dials, of 45 at most" in outcome.said
    assert "10 changes of opinion, of 16 at most" in outcome.said
    assert "5 hints stored, of 15 at most" in outcome.said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("peer_dials_total", "500 dials"),
        ("opinions_changed_total", "500 changes of opinion"),
        ("hints_stored_total", "500 hints stored"),
    ],
)
def test_a_storm_of_any_kind_fails(name: str, said: str) -> None:
    quiet = {"peer_dials_total": 3.0, "opinions_changed_total": 2.0}
    outcome = rule(concluded(**{**quiet, name: 100.0}), CALM, "drop")
    assert outcome.verdict is Verdict.FAIL
    assert said in outcome.said


def test_where_nobody_dialled_the_network_did_not_flap() -> None:
    outcome = rule(concluded(opinions_changed_total=2.0), CALM, "drop")
    assert outcome.verdict is Verdict.INVALID
    assert "no dials" in outcome.said


def test_requests_that_fail_after_the_last_cut_are_not_as_predicted() -> None:
    made = run({"peer_dials_total": 3.0}, afterwards=Outcome.INFO)
    [outcome] = [r for r in judge(Flapping(), made).findings.rules if r.rule == AS_PREDICTED]
    assert outcome.verdict is Verdict.FAIL


def test_requests_are_told_apart_by_when_they_were_sent() -> None:
    [table] = concluded(peer_dials_total=3.0).tables
    assert table.rows[0] == ("drop", "strict 2/2", "100 of 4", "100 of 1", "100 of 1")
