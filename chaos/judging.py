"""From a recording to a judgement: the rules of every run, and what its experiment concludes."""

from typing import Final

import msgspec

from chaos.arrivals import OVERFULL, never_sent
from chaos.checkers import lost_writes, reads
from chaos.checkers.last_write_wins import lost_updates
from chaos.checkers.rules import standard
from chaos.checkers.staleness import sights
from chaos.checkers.telling import counted
from chaos.experiment import Experiment
from chaos.judgement import Findings, Judgement, RuleOutcome, Table, Verdict, overall
from chaos.recording import LATE, Outcome, Recording, Take
from chaos.report.notes import Notes

AS_PREDICTED: Final = "what was measured is what was predicted"
SENT: Final = "the lab sent what it meant to send"
TO_THE_END: Final = "the script was performed to its end"
TRIED: Final = "there is something to judge"

LATE_S_MAX: Final = 2.0
"""A load that lags further behind its plan is no longer the one that was meant."""


def judge(experiment: Experiment, recording: Recording) -> Judgement:
    """Put together what is to be said of a run."""
    short = next((take for take in recording.takes if take.head.cut_short), None)
    if short is not None:
        findings = Findings(observed=f"It was cut short, in {short.name}: {short.head.cut_short}.")
    elif recording.takes and all(_is_as_meant(take, experiment) for take in recording.takes):
        findings = experiment.conclude(recording)
    else:
        findings = Findings(observed="What was to be broken was not, so nothing is concluded.")
    always = tuple(
        outcome
        for take in recording.takes
        for outcome in (
            *standard(take, hints_may_expire=_are_kept_back(take)),
            all_sent(take),
            to_the_end(take),
        )
    )
    rules = (*_tried(experiment, recording), *always, *findings.rules, *_predictions(findings))
    run = recording.run
    return Judgement(
        experiment=experiment.name,
        title=f"{experiment.id}: {experiment.title}",
        hypothesis=experiment.hypothesis,
        faults=experiment.faults,
        must_hold=experiment.must_hold,
        predicted=experiment.predicted,
        verdict=overall(rule.verdict for rule in rules),
        findings=msgspec.structs.replace(
            findings, rules=rules, tables=(*findings.tables, *_of_reads(recording))
        ),
        seed=run.seed,
        command=run.command,
        started_at=run.started_at,
        versions=run.versions,
        takes=tuple(take.name for take in recording.takes),
    )


def _of_reads(recording: Recording) -> tuple[Table, ...]:
    found = reads.table(recording.takes)
    return () if found is None else (found,)


def _is_as_meant(take: Take, experiment: Experiment) -> bool:
    return bool(take.head.faults) or take.name in experiment.calm_takes


def _tried(experiment: Experiment, recording: Recording) -> tuple[RuleOutcome, ...]:
    """Whether the store was put to the test at all: what holds of nothing holds always."""
    if not recording.takes:
        return (RuleOutcome(rule=TRIED, verdict=Verdict.INVALID, said="nothing was recorded"),)
    return tuple(_tried_in(take, experiment) for take in recording.takes)


def _tried_in(take: Take, experiment: Experiment) -> RuleOutcome:
    acked = sum(op.is_write and op.outcome is Outcome.OK for op in take.operations)
    missing = [] if _is_as_meant(take, experiment) else ["nothing was broken"]
    missing += [] if acked else ["no write was acknowledged"]
    found = f"{counted(acked, 'acknowledged write')} and {counted(len(take.head.faults), 'fault')}"
    return RuleOutcome(
        rule=TRIED,
        take=take.name,
        verdict=Verdict.INVALID if missing else Verdict.PASS,
        said=", and ".join(missing) or found,
    )


def _are_kept_back(take: Take) -> bool:
    """Whether the nodes were told to deliver no hints; then these go when they are old."""
    return take.head.settings.get("hinted_handoff") is False


def to_the_end(take: Take) -> RuleOutcome:
    """Whether the script could be performed; else a node died, or the lab's tools did not work."""
    if take.head.cut_short:
        return RuleOutcome(
            rule=TO_THE_END, take=take.name, verdict=Verdict.FAIL, said=take.head.cut_short
        )
    said = "all that was meant to happen was begun and ended"
    return RuleOutcome(rule=TO_THE_END, take=take.name, verdict=Verdict.PASS, said=said)


def all_sent(take: Take) -> RuleOutcome:
    """Whether the lab kept to its plan of arrivals; a load that is not sent proves nothing."""
    given_up = never_sent(take.operations)
    if given_up:
        said = f"{given_up} of {len(take.operations)} requests were never sent: {OVERFULL}"
        return RuleOutcome(rule=SENT, take=take.name, verdict=Verdict.INVALID, said=said)
    late_s = take.head.figures.get(LATE, 0.0)
    if late_s > LATE_S_MAX:
        said = (
            f"a request was sent {late_s:.1f} s late, of {LATE_S_MAX:g} s: the machine is too busy"
        )
        return RuleOutcome(rule=SENT, take=take.name, verdict=Verdict.INVALID, said=said)
    said = f"all {len(take.operations)} requests were sent, none more than {late_s:.1f} s late"
    return RuleOutcome(rule=SENT, take=take.name, verdict=Verdict.PASS, said=said)


def notes(recording: Recording) -> dict[str, Notes]:
    """What pictures colour: stale reads and lost writes, by the name of the take."""
    return {take.name: _notes(take) for take in recording.takes}


def _notes(take: Take) -> Notes:
    overwritten = (one for ones in lost_updates(take).by_place.values() for one in ones)
    stale = (sight.operation for sight in sights(take.operations, take.head.modes) if sight.missed)
    return Notes(stale=frozenset(stale), lost=lost_writes.lost(take).union(overwritten))


def _predictions(findings: Findings) -> list[RuleOutcome]:
    """One rule for all figures that were predicted."""
    judged = [f for f in findings.figures if f.tolerance is not None and f.predicted is not None]
    missed = [
        f"{f.label} is {_shown(f.measured)} {f.unit}, predicted {_shown(f.predicted)}"
        for f in judged
        if not f.holds
    ]
    rows = [row for row in findings.availability if row.predicted is not None]
    missed += [
        f"{row.mode}, {row.action}s on side {row.side} ({row.take}): {row.measured:.1f} % of"
        f" {row.requests}, predicted {row.predicted:.1f} %"
        for row in rows
        if not row.holds
    ]
    count = len(judged) + len(rows)
    if not count:
        return []
    said = "; ".join(missed) or f"{count} figures are as near to their predictions as they must be"
    verdict = Verdict.FAIL if missed else Verdict.PASS
    return [RuleOutcome(rule=AS_PREDICTED, verdict=verdict, said=said)]


def _shown(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.4g}"
