"""What is concluded of a node that stood still: what waited for it, and what came late."""

import pytest

from chaos.experiments.frozen_node import (
    MODES,
    TAKEN_IN,
    FrozenNode,
    is_read_without,
    is_written_without,
)
from chaos.judgement import Findings, Verdict
from chaos.modes import Mode
from tests.unit.chaos.checkers.histories import HOMES, INFO, Told, fault, marks, placed
from tests.unit.chaos.experiments.findings import looked, rule
from tests.unit.chaos.experiments.recordings import recording

FROZEN = HOMES[0]
STRICT, _, ALL = MODES


def concluded(*, told: Told | None = None, back_at_s: float | None = 11.0) -> Findings:
    """n1 stands still from 2 to 10 s; from `back_at_s` on all take it for up."""
    told = told or Told(mode=STRICT)
    told.head = {
        "modes": MODES,
        "faults": (fault("pause", 2.0, 10.0, FROZEN),),
        "marks": marks(warm=0.5, settled=4.0, healed=10.0, quiet=30.0),
    }
    doubt = {node: {"up": 4.0} for node in ("n2", "n3", "n4", "n5")}
    told.samples = [looked(1.0), looked(5.0, **doubt)]
    for at_s in (10.5, 11.0, 25.0):
        is_back = back_at_s is not None and at_s >= back_at_s
        told.samples.append(looked(at_s) if is_back else looked(at_s, **doubt))
    return FrozenNode().conclude(recording(told.take()))


def measured(findings: Findings, label: str) -> float | None:
    return next(figure.measured for figure in findings.figures if figure.label.startswith(label))


def test_a_node_that_everybody_takes_for_up_again_is_taken_in() -> None:
    findings = concluded()
    assert rule(findings, TAKEN_IN).verdict is Verdict.PASS
    assert measured(findings, "until all took") == pytest.approx(1.0)


@pytest.mark.parametrize("back_at_s", [None, 25.0])
def test_a_node_that_is_taken_in_late_or_never_is_found_out(back_at_s: float | None) -> None:
    assert rule(concluded(back_at_s=back_at_s), TAKEN_IN).verdict is Verdict.FAIL


def test_what_waits_in_the_first_second_is_held_against_what_had_to() -> None:
    told = Told(mode=STRICT)
    told.write("through another home", node="n2", at=(2.1, 2.2))
    told.write("handed to who stands still", node="n4", at=(2.1, 3.1), outcome=INFO)
    told.read(node="n2", at=(2.2, 2.3))
    told.write("later", node="n2", at=(3.5, 3.6), outcome=INFO)
    found = {figure.label: figure for figure in concluded(told=told).figures}
    writes = found["writes answered in the first second, by other nodes"]
    reads = found["reads answered in the first second, by other nodes"]
    assert (writes.measured, writes.predicted) == (50.0, 50.0)
    assert (reads.measured, reads.predicted) == (100.0, 100.0)


def test_a_write_that_is_answered_though_it_needs_who_stands_still_is_not_as_predicted() -> None:
    told = Told(mode=STRICT)
    told.write("x", node="n4", at=(2.1, 2.2))
    figures = concluded(told=told).figures
    assert not all(figure.holds for figure in figures)


def test_writes_that_are_first_seen_when_it_goes_on_came_late() -> None:
    told = Told(mode=STRICT)
    early = told.write("early", node="n1", at=(3.0, 4.0), outcome=INFO)
    late = told.write("late", node="n1", at=(3.0, 4.1), outcome=INFO)
    told.write("never", node="n1", at=(3.0, 4.2), outcome=INFO)
    told.read(early, node="n2", at=(5.0, 5.1))
    told.read(early, late, node="n2", at=(10.5, 10.6))
    findings = concluded(told=told)
    assert measured(findings, "writes without an answer") == 3
    assert measured(findings, "of these, seen only after") == 1


@pytest.mark.parametrize(
    ("mode", "node", "written"),
    [
        (STRICT, "n2", True),
        (STRICT, "n4", False),
        (ALL, "n2", True),
        (Mode(r=3, w=3, sloppy=False), "n2", False),
    ],
)
def test_a_write_needs_a_coordinator_that_moves_and_enough_others(
    mode: Mode, node: str, written: bool
) -> None:
    assert is_written_without(FROZEN, placed("k"), mode, node) is written


def test_a_read_needs_as_many_other_homes_as_it_asks_for() -> None:
    assert is_read_without(FROZEN, placed("k"), STRICT)
    assert not is_read_without(FROZEN, placed("k"), ALL)
