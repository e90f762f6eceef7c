"""The half split's conclusion: what each side should have had answered, and had."""

import pytest

from chaos.experiments.half_split import MODES, SIDES, HalfSplit
from chaos.judgement import Verdict
from chaos.judging import AS_PREDICTED, judge
from chaos.modes import Mode
from chaos.recording import Action
from tests.unit.chaos.experiments.recordings import Cut, recording

STRICT, SLOPPY = MODES[:2]
AT_S = [12.0 + 0.1 * i for i in range(70)]


def cut(mode: Mode, *, a_percent: int, b_percent: int) -> Cut:
    """Keys with two homes on side A; so many percent of each side's reads are answered."""
    made = Cut(mode=mode, sides=SIDES)
    for side, percent in (("A", a_percent), ("B", b_percent)):
        answered = len(AT_S) * percent // 100
        made.asks(side, Action.GET, AT_S[:answered])
        made.asks(side, Action.GET, AT_S[answered:], answered=False)
    return made


def verdict_on_predictions(made: Cut) -> tuple[Verdict, str]:
    judgement = judge(HalfSplit(), recording(made.take(), experiment="half-split"))
    [outcome] = [rule for rule in judgement.findings.rules if rule.rule == AS_PREDICTED]
    return outcome.verdict, outcome.said


@pytest.mark.parametrize(("mode", "b_percent"), [(STRICT, 0), (SLOPPY, 100)])
def test_what_the_ring_foretells_passes(mode: Mode, b_percent: int) -> None:
    verdict, said = verdict_on_predictions(cut(mode, a_percent=100, b_percent=b_percent))
    assert (verdict, said) == (
        Verdict.PASS,
        "2 figures are as near to their predictions as they must be",
    )


def test_a_strict_quorum_that_is_answered_where_it_cannot_be_fails() -> None:
    verdict, said = verdict_on_predictions(cut(STRICT, a_percent=100, b_percent=100))
    assert verdict is Verdict.FAIL
    assert said == "strict 2/2, reads on side B (drop): 100.0 % of 70, predicted 0.0 %"


def test_a_sloppy_quorum_that_is_not_answered_fails() -> None:
    verdict, said = verdict_on_predictions(cut(SLOPPY, a_percent=100, b_percent=90))
    assert verdict is Verdict.FAIL
    assert said == "sloppy 2/2, reads on side B (drop): 90.0 % of 70, predicted 100.0 %"


def test_every_way_to_cut_is_a_take() -> None:
    takes = HalfSplit().takes(("refuse", "stall"), 1)
    assert [take.name for take in takes] == [take.cut for take in takes] == ["refuse", "stall"]


def test_what_was_seen_is_said_with_its_numbers() -> None:
    findings = HalfSplit().conclude(recording(cut(STRICT, a_percent=100, b_percent=0).take()))
    assert findings.observed == (
        "While the fault was known, requests were answered as follows: strict 2/2 50 %;"
        " at most 0.0 points from the predictions."
    )
