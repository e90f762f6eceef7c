"""What is concluded where one node is not heard: what became of writes nobody heard of again."""

from chaos.experiments.one_way import ALL, ONCE, REPLIES, REQUESTS, OneWay
from chaos.judgement import Findings, Verdict
from chaos.judging import AS_PREDICTED, judge
from chaos.recording import HeldValue, Outcome, Take
from tests.unit.chaos.checkers.histories import INFO, Told, fault, marks
from tests.unit.chaos.experiments.findings import rule
from tests.unit.chaos.experiments.recordings import named, recording

DONE = "of these, done all the same"


def take(name: str, *, kept: bool = True, twice: bool = False, shown: bool = False) -> Take:
    """One write to another node is acknowledged, and of one it is not known what became."""
    told = Told()
    told.write("before", at=(1.0, 1.1), key="a")
    told.write("acked", at=(11.0, 11.1), node="n2")
    lost = told.write("unheard of", at=(11.2, 12.1), node="n2", outcome=INFO)
    told.write("refused", at=(11.3, 11.4), node="n1", outcome=Outcome.FAIL)
    if shown:
        told.read(lost, at=(13.0, 13.1))
    again = HeldValue(text=lost.written or "")
    told.ends(*[again] * (kept + twice))
    told.head = {
        "cut": "drop",
        "faults": (fault("cut", 10.0, 20.0, "n1->n2"),),
        "marks": marks(broken=10.0, settled=12.5, healed=20.0),
    }
    return named(told.take(), name)


def concluded(replies: Take) -> Findings:
    return OneWay().conclude(recording(take(ALL), replies, take(REQUESTS)))


def done_percent(findings: Findings) -> float | None:
    [found] = [f.measured for f in findings.figures if (f.label, f.take) == (DONE, REPLIES)]
    return found


def test_a_write_that_is_there_was_done_though_nobody_was_told() -> None:
    findings = concluded(take(REPLIES))
    assert done_percent(findings) == 100
    assert findings.observed.startswith(
        "Where only replies were lost, 1 of 3 writes were left unknown, and 1 of these had been"
    )


def test_a_write_that_was_shown_was_done_though_it_is_replaced_in_the_end() -> None:
    assert done_percent(concluded(take(REPLIES, kept=False, shown=True))) == 100


def test_a_write_that_arrived_and_is_nowhere_is_not_as_predicted() -> None:
    run = recording(take(ALL), take(REPLIES, kept=False), take(REQUESTS), experiment="one-way")
    [outcome] = [r for r in judge(OneWay(), run).findings.rules if r.rule == AS_PREDICTED]
    assert outcome.verdict is Verdict.FAIL
    assert f"{DONE} is 0 %, predicted 100" in outcome.said


def test_a_write_that_stands_beside_itself_fails() -> None:
    findings = concluded(take(REPLIES, twice=True))
    outcome = rule(findings, ONCE, REPLIES)
    assert outcome.verdict is Verdict.FAIL
    assert outcome.evidence == (2,)
    assert rule(findings, ONCE, ALL).verdict is Verdict.PASS


def test_what_became_of_writes_is_told_by_who_was_asked() -> None:
    [table] = concluded(take(REPLIES)).tables
    assert table.rows[2:4] == (
        (REPLIES, "mute", "1", "1", "0", "0"),
        (REPLIES, "others", "2", "0", "1", "1"),
    )
