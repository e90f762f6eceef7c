"""Equal replicas, in time, without hints, and by themselves."""

import pytest

from chaos.checkers import convergence
from chaos.judgement import RuleOutcome, Verdict
from chaos.recording import Take
from tests.unit.chaos.checkers.histories import Told, marks


def _check(told: Told) -> RuleOutcome:
    return convergence.check(told.take())


def _converged() -> Told:
    told = Told()
    told.ends(told.write("x"))
    return told


def test_equal_replicas_in_time_pass() -> None:
    outcome = _check(_converged())
    assert outcome.verdict is Verdict.PASS
    assert "1 object were equal 2.0 s after all was well, of 60 s they may take" in outcome.said


def test_one_replica_that_differs_fails() -> None:
    told = _converged()
    told.ends(on=["n2"])
    outcome = _check(told)
    assert outcome.verdict is Verdict.FAIL
    assert "b/k differs between its homes" in outcome.said
    assert "n2 nothing" in outcome.said


def test_a_deleted_object_that_is_being_forgotten_is_equal() -> None:
    told = Told()
    told.delete(after=told.read(told.write("x")))
    told.ends(tombstones=1, on=["n1", "n2"])
    assert _check(told).verdict is Verdict.PASS


@pytest.mark.parametrize("after_s", [None, 60.1])
def test_too_late_is_a_failure_however_equal_they_are_in_the_end(after_s: float | None) -> None:
    told = _converged()
    told.head["converged_after_s"] = after_s
    assert _check(told).verdict is Verdict.FAIL


def test_a_hint_that_is_left_fails() -> None:
    told = _converged()
    told.ends(on=["n5"], hinted_for=("n2",))
    assert "n5 keeps a hint of b/k for n2" in _check(told).said


def test_a_copy_on_a_node_that_is_no_home_fails() -> None:
    told = _converged()
    told.ends("stray", on=["n4"])
    assert "n4 is no home of b/k and holds it" in _check(told).said


def test_a_read_in_between_makes_it_invalid() -> None:
    told = _converged()
    told.head["marks"] = marks(healed=2.0, quiet=3.0, converged=5.0)
    told.read("x", at=(2.5, 3.5))
    told.read("x", at=(5.5, 5.6))
    assert _check(told).verdict is Verdict.PASS
    told.read("x", at=(4.0, 4.1), by="c9")
    outcome = _check(told)
    assert outcome.verdict is Verdict.INVALID
    assert "1 read while replicas were to converge by themselves, the first by c9" in outcome.said


def test_nothing_dumped_or_a_home_left_out_is_invalid() -> None:
    take = _converged().take()
    assert convergence.check(_without(take, "n1", "n2", "n3", "n4", "n5")).verdict is (
        Verdict.INVALID
    )
    assert convergence.check(_without(take, "n3")).said == "b/k was not dumped by n3"
    assert convergence.check(_without(take, "n4", "n5")).verdict is Verdict.PASS


def _without(take: Take, *nodes: str) -> Take:
    final = tuple(state for state in take.final if state.node not in nodes)
    return Take(head=take.head, operations=take.operations, final=final)
