"""From findings to a verdict: INVALID over FAIL over PASS, and predictions that are held to."""

from collections.abc import Sequence

import msgspec
import pytest

from chaos.arrivals import OVERFULL
from chaos.experiment import Experiment, TakePlan
from chaos.judgement import Availability, Figure, Findings, Judgement, RuleOutcome, Verdict
from chaos.judging import AS_PREDICTED, LATE_S_MAX, SENT, TO_THE_END, TRIED, all_sent, judge, notes
from chaos.recording import LATE, Outcome, Recording, Take
from chaos.stage import Stage
from tests.unit.chaos.checkers.histories import LWW, Told, probe
from tests.unit.chaos.experiments.recordings import named, recording

PASS, FAIL, INVALID = Verdict.PASS, Verdict.FAIL, Verdict.INVALID


class Concluding(Experiment):
    """Concludes what it is told to."""

    id = "E99"
    name = "concluding"
    title = "A title"
    hypothesis = "A hypothesis."
    faults = "None."
    must_hold = "All."
    predicted = "Nothing."
    calm_takes = frozenset({"t", "second", "third"})

    def __init__(self, findings: Findings) -> None:
        self.findings = findings

    def takes(self, cuts: Sequence[str], seed: int) -> tuple[TakePlan, ...]:
        return ()

    async def perform(self, stage: Stage) -> None:
        raise NotImplementedError

    def conclude(self, recording: Recording) -> Findings:
        return self.findings


def healthy(**head: object) -> Take:
    """A take of which no rule has anything bad to say."""
    told = Told(head={"probes": (probe("leak test"),), **head})
    told.ends(told.write("x"))
    return told.take()


def losing(**head: object) -> Take:
    """A take that lost what it had acknowledged."""
    told = Told(head={"probes": (probe("leak test"),), **head})
    told.write("x")
    told.ends()
    return told.take()


def judged(
    take: Take,
    *,
    figures: Sequence[Figure] = (),
    rows: Sequence[Availability] = (),
    rules: Sequence[RuleOutcome] = (),
) -> Judgement:
    findings = Findings(
        observed="It was seen.",
        figures=tuple(figures),
        availability=tuple(rows),
        rules=tuple(rules),
    )
    return judge(Concluding(findings), recording(take))


def of_rule(judgement: Judgement, rule: str) -> RuleOutcome:
    [outcome] = [outcome for outcome in judgement.findings.rules if outcome.rule == rule]
    return outcome


def own(verdict: Verdict) -> RuleOutcome:
    return RuleOutcome(rule="of its own", verdict=verdict, said="It said so.")


BROKEN_LAB = (probe("leak test", passed=False),)


def test_what_holds_passes() -> None:
    judgement = judged(healthy(), rules=[own(PASS)])
    assert [rule for rule in judgement.findings.rules if rule.verdict is not PASS] == []
    assert judgement.verdict is PASS


def test_a_rule_of_every_run_that_fails_fails_the_run() -> None:
    judgement = judged(losing(), rules=[own(PASS)])
    assert judgement.verdict is FAIL
    assert of_rule(judgement, "no acknowledged write is lost").verdict is FAIL


def test_a_rule_of_the_experiments_own_that_fails_fails_the_run() -> None:
    assert judged(healthy(), rules=[own(FAIL)]).verdict is FAIL


@pytest.mark.parametrize("take", [healthy(probes=BROKEN_LAB), losing(probes=BROKEN_LAB)])
def test_what_a_broken_lab_found_is_worth_nothing(take: Take) -> None:
    assert judged(take, rules=[own(FAIL)]).verdict is INVALID


def test_one_take_that_fails_is_enough() -> None:
    run = recording(healthy(), named(losing(), "second"), named(healthy(), "third"))
    judgement = judge(Concluding(Findings(observed="It was seen.")), run)
    assert judgement.verdict is FAIL
    failed = [rule.take for rule in judgement.findings.rules if rule.verdict is FAIL]
    assert set(failed) == {"second"}
    assert judgement.takes == ("t", "second", "third")


def test_the_words_of_the_experiment_and_of_the_run_are_handed_on() -> None:
    judgement = judged(healthy())
    assert judgement.title == "E99: A title"
    assert (judgement.hypothesis, judgement.must_hold) == ("A hypothesis.", "All.")
    assert (judgement.seed, judgement.command) == (7, "python -m chaos run made-up --seed 7")


# What holds of nothing


def test_a_run_without_takes_passes_nothing() -> None:
    judgement = judge(Concluding(Findings(observed="It was seen.")), recording())
    assert judgement.verdict is INVALID
    assert of_rule(judgement, TRIED).said == "nothing was recorded"


def test_a_take_in_which_nothing_was_broken_passes_nothing_unless_it_is_to_be_calm() -> None:
    take = named(healthy(), "storm")
    judgement = judged(take, rules=[own(PASS)])
    assert judgement.verdict is INVALID
    assert of_rule(judgement, TRIED).said == "nothing was broken"
    assert judged(healthy(), rules=[own(PASS)]).verdict is PASS


def test_a_take_in_which_no_write_was_acknowledged_passes_nothing() -> None:
    told = Told(head={"probes": (probe("leak test"),)})
    told.ends(told.write("x", outcome=Outcome.INFO))
    judgement = judged(told.take(), rules=[own(PASS)])
    assert judgement.verdict is INVALID
    assert of_rule(judgement, TRIED).said == "no write was acknowledged"


def test_an_experiment_concludes_nothing_where_nothing_was_broken() -> None:
    judgement = judged(named(healthy(), "storm"), figures=[figure(100.0)], rules=[own(PASS)])
    assert judgement.findings.figures == ()
    assert "of its own" not in {rule.rule for rule in judgement.findings.rules}


# Predictions


def figure(
    measured: float | None, predicted: float | None = 100.0, within: float | None = 3.0
) -> Figure:
    return Figure(
        label="answered", unit="%", measured=measured, predicted=predicted, tolerance=within
    )


def row(measured: float, predicted: float | None = 40.0) -> Availability:
    return Availability(
        take="drop",
        mode="strict 2/2",
        side="A",
        action="read",
        measured=measured,
        predicted=predicted,
        requests=200,
    )


def test_where_nothing_was_predicted_there_is_no_such_rule() -> None:
    figures = [figure(1.0, predicted=None), figure(1.0, within=None)]
    judgement = judged(healthy(), figures=figures, rows=[row(1.0, predicted=None)])
    assert AS_PREDICTED not in {rule.rule for rule in judgement.findings.rules}
    assert judgement.verdict is PASS


def test_predictions_that_came_true_are_counted() -> None:
    judgement = judged(healthy(), figures=[figure(97.0)], rows=[row(43.0), row(37.0)])
    outcome = of_rule(judgement, AS_PREDICTED)
    assert outcome.verdict is PASS
    assert outcome.said == "3 figures are as near to their predictions as they must be"


@pytest.mark.parametrize(
    ("figures", "rows", "said"),
    [
        ([figure(96.9)], [row(40.0)], "answered is 96.9 %, predicted 100"),
        ([figure(None)], [row(40.0)], "answered is nothing %, predicted 100"),
        (
            [figure(100.0)],
            [row(43.1)],
            "strict 2/2, reads on side A (drop): 43.1 % of 200, predicted 40.0 %",
        ),
    ],
)
def test_a_prediction_that_did_not_come_true_fails_the_run(
    figures: list[Figure], rows: list[Availability], said: str
) -> None:
    judgement = judged(healthy(), figures=figures, rows=rows)
    assert of_rule(judgement, AS_PREDICTED).said == said
    assert judgement.verdict is FAIL


# Arrivals


def test_arrivals_that_were_never_sent_make_the_run_worthless() -> None:
    told = Told()
    told.write("x")
    told.read(outcome=Outcome.FAIL)
    told.operations[-1] = msgspec.structs.replace(told.operations[-1], error=OVERFULL)
    outcome = all_sent(told.take())
    assert (outcome.rule, outcome.verdict) == (SENT, INVALID)
    assert outcome.said == f"1 of 2 requests were never sent: {OVERFULL}"


def test_a_load_that_lags_behind_its_plan_is_not_the_one_that_was_meant() -> None:
    assert all_sent(healthy(figures={LATE: LATE_S_MAX})).verdict is PASS
    late = all_sent(healthy(figures={LATE: LATE_S_MAX + 0.1}))
    assert late.verdict is INVALID
    assert "2.1 s late" in late.said


# Hints that are meant to grow old


@pytest.mark.parametrize(("settings", "verdict"), [({}, FAIL), ({"hinted_handoff": False}, PASS)])
def test_hints_may_expire_only_where_nobody_was_to_deliver_them(
    settings: dict[str, object], verdict: Verdict
) -> None:
    hints = {"stored": 7, "delivered": 0, "superseded": 0, "expired": 7, "held": 0}
    assert judged(healthy(settings=settings, hints=hints)).verdict is verdict


# Notes for pictures


def test_pictures_show_stale_reads_and_lost_writes() -> None:
    told = Told()
    old = told.write("old", by="c1")
    new = told.write("new", by="c1", after=told.read(old, by="c1"))
    stale = told.read(old, by="c2")
    told.read(new, by="c3")
    told.ends(old)
    noted = notes(recording(told.take()))["t"]
    assert (noted.stale, noted.lost) == (frozenset({stale.index}), frozenset({new.index}))


def test_pictures_show_every_lost_write_and_not_only_the_few_that_are_evidence() -> None:
    told = Told()
    lost = [told.write(f"x{number}", by=f"c{number}") for number in range(20)]
    told.ends()
    noted = notes(recording(told.take()))["t"]
    assert noted.lost == frozenset(write.index for write in lost)


def test_pictures_show_what_clocks_decided_against() -> None:
    told = Told(mode=LWW)
    loser, winner = told.write("x", by="c1"), told.write("y", by="c2")
    told.ends(winner)
    assert notes(recording(told.take()))["t"].lost == frozenset({loser.index})


def test_where_all_is_well_pictures_show_nothing() -> None:
    noted = notes(recording(healthy()))["t"]
    assert (noted.stale, noted.lost) == (frozenset(), frozenset())


def test_of_a_script_that_was_cut_short_nothing_is_concluded_and_it_is_no_pass() -> None:
    whole, short = judged(healthy()), judged(healthy(cut_short="the nodes do not notice"))
    assert of_rule(whole, TO_THE_END).verdict is PASS
    assert of_rule(short, TO_THE_END).verdict is FAIL
    assert short.verdict is FAIL
    assert short.findings.observed == "It was cut short, in t: the nodes do not notice."
    leaking = healthy(cut_short="it", probes=(probe("leak test", passed=False),))
    assert judged(leaking).verdict is INVALID
