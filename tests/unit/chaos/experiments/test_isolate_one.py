"""What is concluded where one node is alone: what it can answer, and that the others go on."""

from chaos.experiments.costs import NOTHING_STALE
from chaos.experiments.half_split import MODES
from chaos.experiments.isolate_one import SIDES, IsolateOne
from chaos.judgement import Judgement, Verdict
from chaos.judging import AS_PREDICTED, judge
from chaos.recording import Action
from tests.unit.chaos.experiments.recordings import Cut, recording

STRICT = MODES[0]
AT_S = [12.5 + 0.1 * i for i in range(60)]


def judged(*, alone: bool = False, others: bool = True) -> Judgement:
    """Reads with R=2 on both sides, answered or not; two of the three homes are with the others."""
    made = Cut(mode=STRICT, sides=SIDES)
    made.asks("alone", Action.GET, AT_S, answered=alone)
    made.asks("others", Action.GET, AT_S, answered=others)
    return judge(IsolateOne(), recording(made.take(), experiment="isolate-one"))


def outcome(judgement: Judgement, rule: str) -> tuple[Verdict, str]:
    [found] = [one for one in judgement.findings.rules if one.rule == rule]
    return found.verdict, found.said


def test_who_is_alone_has_no_quorum_and_the_others_have_theirs() -> None:
    judgement = judged()
    assert outcome(judgement, AS_PREDICTED)[0] is Verdict.PASS
    assert outcome(judgement, NOTHING_STALE)[0] is Verdict.PASS


def test_a_quorum_of_one_that_is_called_two_fails() -> None:
    verdict, said = outcome(judged(alone=True), AS_PREDICTED)
    assert verdict is Verdict.FAIL
    assert said == "strict 2/2, reads on side alone (drop): 100.0 % of 60, predicted 0.0 %"


def test_a_majority_that_suffers_with_who_is_alone_fails() -> None:
    verdict, said = outcome(judged(others=False), AS_PREDICTED)
    assert verdict is Verdict.FAIL
    assert "side others" in said
