"""The soak's own rule and words, and that its report needs no more than the recording."""

from typing import cast

import pytest

from chaos.experiments.catalogue import named
from chaos.experiments.soak import RECOVERED, Soak, recovered
from chaos.experiments.swarm import ROUND_S, Cut, Round
from chaos.judgement import Verdict
from chaos.links import CutKind
from chaos.recording import Outcome, Take
from tests.unit.chaos.checkers.histories import Told, fault, marks
from tests.unit.chaos.experiments.recordings import recording


def take(*, answered: int, refused: int, healed_s: float = 24.0) -> Take:
    """Requests in the last two seconds of a load that ended at 30 s."""
    head: dict[str, object] = {
        "faults": (fault("kill", 10.0, healed_s, "n1"), fault("cut", 12.0, 20.0, "n1->n2")),
        "marks": marks(broken=10.0, healed=healed_s, quiet=30.0),
    }
    told = Told(head=head)
    for number in range(answered):
        told.read(at=(28.0 + number / 1000, 28.1 + number / 1000))
    for number in range(refused):
        told.read(at=(29.0 + number / 1000, 29.1 + number / 1000), outcome=Outcome.INFO)
    return told.take()


def test_a_cluster_that_answers_again_passes() -> None:
    outcome = recovered(take(answered=98, refused=2))
    assert (outcome.rule, outcome.verdict) == (RECOVERED, Verdict.PASS)
    assert outcome.said.startswith("98.0 % of 100 requests were answered in the last 2 s")


def test_a_cluster_that_stays_silent_fails_and_says_who_asked() -> None:
    outcome = recovered(take(answered=90, refused=10))
    assert outcome.verdict is Verdict.FAIL
    assert outcome.said.startswith("10 of 100 requests were not answered: get 90 of c1")
    assert outcome.evidence[0] == 90


def test_what_was_asked_while_something_was_broken_does_not_count() -> None:
    assert recovered(take(answered=90, refused=10, healed_s=29.5)).verdict is Verdict.INVALID


def test_nothing_asked_proves_nothing() -> None:
    assert recovered(take(answered=0, refused=0)).verdict is Verdict.INVALID


def test_what_happened_is_said_with_its_numbers() -> None:
    findings = Soak().conclude(recording(take(answered=98, refused=2)))
    assert findings.observed == (
        "2 faults (kill 1, cut 1) in 1 round: 98.0 % of 100 requests were answered, 0.0 % of reads"
        " were stale; replicas were equal 2.0 s after the last request, or sooner."
    )
    broken, _, asked = findings.tables
    assert broken.rows == (
        ("made up", "10.0", "24.0", "kill", "kill of n1"),
        ("made up", "12.0", "20.0", "cut", "cut of n1->n2"),
    )
    assert asked.rows == (("made up", "made up", "strict 2/2", "1", "100", "98.0"),)


@pytest.mark.parametrize(
    ("duration_s", "rounds"), [(10, 1), (40, 1), (ROUND_S, 1), (120, 2), (600, 10)]
)
def test_a_soak_is_repeated_as_it_was_typed(duration_s: float, rounds: int) -> None:
    soak = Soak(duration_s)
    assert soak.command == f"python -m chaos soak --duration-s {duration_s:g}"
    assert len(soak.takes((), 1)) == rounds


def test_links_are_cut_as_the_one_who_asks_wants_it() -> None:
    def kinds(*cuts: str) -> set[CutKind]:
        rounds = [cast("Round", plan.parameters["round"]) for plan in Soak(240).takes(cuts, 3)]
        blows = [hit.blow for drawn in rounds for hit in drawn.hits]
        return {blow.kind for blow in blows if isinstance(blow, Cut)}

    assert kinds("stall") == {CutKind.STALL}
    assert kinds("stall", "drop") == {CutKind.STALL, CutKind.DROP}
    assert kinds() == set(CutKind)


def test_a_report_finds_it_without_knowing_how_long_it_was() -> None:
    [found] = named("soak")
    assert found.conclude(recording(take(answered=98, refused=2))) == Soak(40).conclude(
        recording(take(answered=98, refused=2))
    )
