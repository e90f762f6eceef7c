"""What E19 concludes: which histories it takes for proofs, and when it says nothing."""

from collections.abc import Iterable

import pytest

from chaos.checkers.linearizability import Unknown
from chaos.experiments import quorum_is_not_atomic
from chaos.experiments.measuring import OVERLAP
from chaos.experiments.quorum_is_not_atomic import (
    ALL,
    DECIDED,
    FOUND,
    ONE,
    QUORUM,
    QuorumIsNotAtomic,
)
from chaos.judgement import Findings, RuleOutcome, Verdict
from chaos.recording import Operation
from tests.unit.chaos.checkers.histories import Told, fault
from tests.unit.chaos.experiments.recordings import recording


def told() -> Told:
    """Requests are delayed from 1 s on."""
    delayed = fault("latency", 1.0, 9.0, "n1>n2")
    return Told(mode=QUORUM, head={"modes": (QUORUM, ONE, ALL), "faults": (delayed,)})


def conclude(made_up: Told) -> Findings:
    return QuorumIsNotAtomic().conclude(recording(made_up.take()))


def rule(found: Findings, name: str) -> RuleOutcome:
    return next(outcome for outcome in found.rules if outcome.rule == name)


def explained(made_up: Told, key: str) -> None:
    """A race in which the new value came and stayed."""
    old = made_up.write("old", key=key, by="w", at=(0.1, 0.2))
    new = made_up.write("new", key=key, by="w", at=(2.0, 2.1), after=old)
    made_up.read(old, key=key, by="r1", at=(2.01, 2.02))
    made_up.read(new, key=key, by="r2", at=(2.03, 2.04))
    made_up.read(new, key=key, by="r1", at=(2.05, 2.06))


def went_back(made_up: Told, key: str, *, begun_s: float = 3.0) -> None:
    """A race in which one saw the new value, and then another the old one."""
    old = made_up.write("old", key=key, by="w", at=(0.3, 0.4))
    at_s = begun_s
    new = made_up.write("new", key=key, by="w", at=(at_s, at_s + 0.1), after=old)
    made_up.read(new, key=key, by="r1", node="n2", at=(at_s + 0.01, at_s + 0.02))
    made_up.read(old, key=key, by="r2", node="n3", at=(at_s + 0.03, at_s + 0.04))


def test_a_read_that_goes_back_in_time_is_found_and_drawn() -> None:
    made_up = told()
    explained(made_up, "k1")
    went_back(made_up, "k2")
    found = conclude(made_up)
    assert rule(found, FOUND).verdict is Verdict.PASS
    assert rule(found, FOUND).said.startswith("1 of 2 keys")
    [drawn] = found.lanes
    assert drawn.highlight == rule(found, FOUND).evidence == (5, 6, 7, 8)
    assert "r1 asked n2, r2 asked n3" in drawn.said
    assert "still under way until 3.100 s" in drawn.said


def test_what_no_overlap_forbids_is_no_stale_read() -> None:
    made_up = told()
    went_back(made_up, "k1")
    assert rule(conclude(made_up), OVERLAP).verdict is Verdict.PASS


def test_histories_that_can_be_explained_show_nothing() -> None:
    made_up = told()
    explained(made_up, "k1")
    found = conclude(made_up)
    assert rule(found, FOUND).verdict is Verdict.INVALID
    assert not found.lanes


def test_a_race_before_anything_was_delayed_does_not_count() -> None:
    made_up = told()
    explained(made_up, "k1")
    went_back(made_up, "k2", begun_s=0.5)
    assert rule(conclude(made_up), FOUND).verdict is Verdict.INVALID


def test_an_acknowledged_write_that_a_quorum_misses_is_a_failure() -> None:
    made_up = told()
    old = made_up.write("old", by="w", at=(0.1, 0.2))
    made_up.write("new", by="w", at=(2.0, 2.1), after=old)
    made_up.read(old, by="r1", at=(2.2, 2.3))
    outcome = rule(conclude(made_up), OVERLAP)
    assert outcome.verdict is Verdict.FAIL
    assert outcome.evidence == (1, 2)


def test_reading_one_replica_may_miss_it() -> None:
    made_up = told()
    explained(made_up, "k1")
    made_up.mode = ONE
    old = made_up.write("old", key="k2", by="w", at=(0.1, 0.2))
    made_up.write("new", key="k2", by="w", at=(2.0, 2.1), after=old)
    made_up.read(old, key="k2", by="r1", at=(2.2, 2.3))
    found = conclude(made_up)
    assert rule(found, OVERLAP).verdict is Verdict.PASS
    assert "R=1, W=1: 1 of 1" in found.observed


def test_reading_all_replicas_is_predicted_to_go_back_never() -> None:
    made_up = told()
    made_up.mode = ALL
    went_back(made_up, "k1")
    figures = {figure.label: figure for figure in conclude(made_up).figures}
    assert not figures[f"keys that are not linearizable, {ALL.name}"].holds


def test_the_clearest_proof_has_two_readers() -> None:
    made_up = told()
    old = made_up.write("old", key="k1", by="w", at=(0.1, 0.2))
    new = made_up.write("new", key="k1", by="w", at=(2.0, 2.1), after=old)
    made_up.read(new, key="k1", by="r1", at=(2.01, 2.02))
    made_up.read(old, key="k1", by="r1", at=(2.08, 2.09))
    went_back(made_up, "k2")
    [drawn] = conclude(made_up).lanes
    assert drawn.title.endswith("k2")


def test_of_keys_whose_search_was_given_up_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def give_up(operations: Iterable[Operation]) -> dict[tuple[str, str], Unknown]:
        return {op.place: Unknown(steps=1) for op in operations}

    made_up = told()
    went_back(made_up, "k1")
    assert rule(conclude(made_up), DECIDED).verdict is Verdict.PASS
    monkeypatch.setattr(quorum_is_not_atomic, "check_each", give_up)
    assert rule(conclude(made_up), DECIDED).verdict is Verdict.INVALID
