"""The baseline's conclusion: all is answered, and the mesh stands beside the straight way."""

import msgspec

from chaos.experiments.baseline import DIRECT, MESH, Baseline
from chaos.judgement import Findings, Verdict
from chaos.judging import AS_PREDICTED, judge
from chaos.recording import Outcome, Recording, Take
from tests.unit.chaos.checkers.histories import Told, probe
from tests.unit.chaos.experiments.recordings import recording


def take(name: str, took_ms: float, *, unanswered: int = 0) -> Take:
    """A hundred reads and as many writes; reads take half as long."""
    told = Told(head={"name": name, "probes": (probe("leak test"),)})
    for number in range(100):
        at_s = 1 + number / 10
        told.write(f"v{number}", key=f"k{number}", at=(at_s, at_s + took_ms / 1000))
        told.read(
            told.operations[-1], key=f"k{number}", at=(at_s + 0.05, at_s + 0.05 + took_ms / 2000)
        )
        told.ends(told.operations[-2], key=f"k{number}")
    for number in range(unanswered):
        told.read(key=f"k{number}", outcome=Outcome.INFO)
    return told.take()


def both(*, unanswered: int = 0) -> Recording:
    return recording(take(MESH, 4.0, unanswered=unanswered), take(DIRECT, 2.0))


def concluded(run: Recording) -> Findings:
    return Baseline().conclude(run)


def test_a_healthy_cluster_answers_all() -> None:
    judgement = judge(Baseline(), both())
    assert judgement.verdict is Verdict.PASS
    assert judgement.findings.observed == (
        "100.0 % of requests were answered; the median write took 4.0 ms through the mesh and"
        " 2.0 ms past it."
    )


def test_a_request_in_a_hundred_without_an_answer_is_too_many() -> None:
    judgement = judge(Baseline(), both(unanswered=2))
    assert judgement.verdict is Verdict.FAIL
    [outcome] = [rule for rule in judgement.findings.rules if rule.rule == AS_PREDICTED]
    assert outcome.said == "requests answered is 99.01 %, predicted 100"
    assert judgement.findings.observed.startswith("99.0 % of requests")


def test_each_take_has_a_figure_of_its_own() -> None:
    figures = concluded(both(unanswered=1)).figures
    assert [figure.take for figure in figures] == [MESH, DIRECT]
    assert [figure.holds for figure in figures] == [True, True]


def test_the_table_sets_both_ways_side_by_side() -> None:
    [table] = concluded(both()).tables
    assert table.rows == (
        ("read, p50", "2.0", "1.0"),
        ("read, p99", "2.0", "1.0"),
        ("write, p50", "4.0", "2.0"),
        ("write, p99", "4.0", "2.0"),
    )
    assert table.columns == ("", "through the mesh", "past it")


def test_what_was_put_in_place_before_is_not_timed() -> None:
    slow = take(MESH, 4.0)
    preloads = [
        msgspec.structs.replace(op, returned_s=op.returned_s + 9, note="preload")
        for op in slow.operations
    ]
    run = recording(
        msgspec.structs.replace(slow, operations=(*preloads, *slow.operations)), take(DIRECT, 2.0)
    )
    assert concluded(run).tables[0].rows[-1] == ("write, p99", "4.0", "2.0")
