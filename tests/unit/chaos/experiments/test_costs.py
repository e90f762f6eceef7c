"""What the matrix counts: requests unanswered, stale reads, lost additions; and what may not be."""

import msgspec
import pytest

from chaos.experiments.costs import (
    NO_FAULT,
    REGISTERS,
    SETS,
    Cost,
    costs,
    in_words,
    nothing_lost,
    nothing_stale,
    tables,
)
from chaos.experiments.matrix import HARDSHIPS, MODES, Matrix
from chaos.judgement import Verdict
from chaos.modes import Conflicts, Mode
from chaos.recording import Action, HeldValue, Operation, Outcome, Take
from chaos.values import Named
from tests.unit.chaos.checkers.histories import LWW, SIBLINGS, Told, fault, marks
from tests.unit.chaos.experiments.recordings import recording

SLOPPY = Mode(r=1, w=1, sloppy=True)


def element(number: int, *elements: str) -> str:
    return str(Named(key="k", client="c1", number=number, payload=",".join(elements)))


def sets(*left: str, mode: Mode = SIBLINGS) -> Take:
    """Two additions to a set that did not know of each other; what is left in the end."""
    told = Told(mode=mode)
    for number, name in ((1, "x"), (2, "y")):
        seen = told.read(by=f"c{number}", at=(1.0, 1.1))
        told.add(
            Action.PUT,
            written=element(number, name),
            by=f"c{number}",
            after=seen,
            at=(2.0 + number / 10, 2.05 + number / 10),
        )
    told.ends(*(HeldValue(text=text, modified_at_ms=number) for number, text in enumerate(left)))
    made = told.take()
    return of_workload(made, SETS)


def of_workload(take: Take, workload: str) -> Take:
    own = tuple(msgspec.structs.replace(op, workload=workload) for op in take.operations)
    return msgspec.structs.replace(take, operations=own)


def test_additions_that_are_all_there_are_no_loss() -> None:
    take = sets(element(1, "x"), element(2, "y"))
    outcome = nothing_lost(take)
    assert outcome.verdict is Verdict.PASS
    assert outcome.said == "all 2 acknowledged additions in 1 mode are there in the end"


def test_a_set_with_siblings_that_lost_an_addition_fails() -> None:
    outcome = nothing_lost(sets(element(2, "y")))
    assert outcome.verdict is Verdict.FAIL
    assert outcome.evidence == (1,)
    assert "that of put 1 of c1" in outcome.said


def test_where_nothing_was_added_nothing_is_proved() -> None:
    assert nothing_lost(of_workload(Told().take(), SETS)).verdict is Verdict.INVALID


@pytest.mark.parametrize(
    ("mode", "left", "lost"),
    [
        (LWW, (element(2, "y"),), 1),
        (LWW, (element(2, "x", "y"),), 2),
        (SIBLINGS, (element(1, "x"), element(2, "y")), 0),
    ],
)
def test_lost_additions_are_counted(mode: Mode, left: tuple[str, ...], lost: int) -> None:
    take = sets(*left, mode=mode)
    asked = of_workload(sets(*left, mode=mode), REGISTERS).operations[:1]
    both = msgspec.structs.replace(take, operations=(*take.operations, renumbered(asked[0], 4)))
    [cost] = [one for one in costs(both, NO_FAULT) if one.mode == mode]
    assert (cost.added, cost.lost) == (2, lost)
    assert cost.lost_percent == 50 * lost


def renumbered(operation: Operation, index: int) -> Operation:
    return msgspec.structs.replace(operation, index=index)


def registers(mode: Mode, *, stale: bool) -> Take:
    """Reads and writes while a cut is known, half of them unanswered."""
    told = Told(
        mode=mode,
        head={
            "modes": (SIBLINGS, LWW, SLOPPY),
            "faults": (fault("cut", 10.0, 20.0, "n1->n3"),),
            "marks": marks(broken=10.0, settled=12.0, healed=20.0),
        },
    )
    first = told.write("x", at=(1.0, 1.1))
    seen = told.read(first, at=(2.0, 2.1))
    second = told.write("y", after=seen, at=(12.0, 12.1))
    told.read(first if stale else second, at=(13.0, 13.1))
    told.write("z", at=(14.0, 14.1), outcome=Outcome.INFO)
    told.read(at=(15.0, 15.1), outcome=Outcome.INFO)
    return of_workload(told.take(), REGISTERS)


def test_what_is_stale_and_unanswered_is_counted_while_the_fault_is_known() -> None:
    [cost] = costs(registers(SLOPPY, stale=True), "split")
    assert (cost.asked, cost.unanswered) == (4, 50.0)
    assert (cost.reads, cost.stale) == (1, 100.0)
    assert (cost.dot.mode, cost.dot.fault, cost.dot.stale) == ("sloppy 1/1", "split", 100.0)


def test_strict_quorums_that_overlap_may_not_be_stale() -> None:
    assert nothing_stale(registers(SIBLINGS, stale=False)).verdict is Verdict.PASS
    outcome = nothing_stale(registers(SIBLINGS, stale=True))
    assert outcome.verdict is Verdict.FAIL
    assert outcome.evidence == (3, 2)


def test_what_does_not_overlap_may_be_stale() -> None:
    assert nothing_stale(registers(SLOPPY, stale=True)).verdict is Verdict.PASS


def cost(mode: Mode, fault_: str, *, unanswered: float, stale: float = 0, lost: int = 0) -> Cost:
    return Cost(
        fault=fault_,
        mode=mode,
        asked=100,
        unanswered=unanswered,
        reads=50,
        stale=stale,
        added=20,
        lost=lost,
    )


COSTS = (
    cost(SIBLINGS, NO_FAULT, unanswered=0),
    cost(LWW, NO_FAULT, unanswered=0, lost=1),
    cost(SIBLINGS, "split", unanswered=50),
    cost(LWW, "split", unanswered=10, stale=30, lost=10),
)


def test_the_dearest_and_the_cheapest_are_named() -> None:
    assert in_words(COSTS) == (
        "Over all faults, strict 2/2 left 50 % of requests unanswered and strict 2/2 lww only 10 %;"
        " strict 2/2 lww showed 30 % of reads stale (split); strict 2/2 lww lost 50 % of"
        " acknowledged additions (split), and modes that keep siblings lost 0 of 20."
    )


def test_tables_have_a_row_for_each_mode_and_a_column_for_each_fault() -> None:
    unanswered, stale, lost = tables(COSTS)
    assert unanswered.columns == ("mode", NO_FAULT, "split")
    assert unanswered.rows == (("strict 2/2", "0.0", "50.0"), ("strict 2/2 lww", "0.0", "10.0"))
    assert stale.rows[1] == ("strict 2/2 lww", "0.0", "30.0")
    assert lost.rows[1] == ("strict 2/2 lww", "5.0 of 20", "50.0 of 20")


def test_the_matrix_is_every_mode_under_every_fault() -> None:
    takes = Matrix().takes(("refuse", "drop", "stall"), 1)
    assert [take.name for take in takes] == list(HARDSHIPS)
    assert all(take.modes == MODES for take in takes)
    assert {take.cut for take in takes} == {"", "drop"}
    assert len({mode.name for mode in MODES if mode.conflicts is Conflicts.LWW}) == len(MODES) / 2


def test_the_kind_of_cut_is_the_one_that_is_asked_for() -> None:
    assert {take.cut for take in Matrix().takes(("stall",), 1)} == {"", "stall"}


def test_the_matrix_may_be_of_some_faults_beside_none() -> None:
    matrix = Matrix(("kill", "split"))
    assert [take.name for take in matrix.takes(("drop",), 1)] == ["calm", "split", "kill"]
    assert matrix.command == "python -m chaos matrix --fault split --fault kill"
    assert Matrix(tuple(HARDSHIPS)).command == Matrix().command == "python -m chaos matrix"


def test_the_matrix_concludes_from_the_takes_that_there_are() -> None:
    split = registers(SLOPPY, stale=True)
    named = msgspec.structs.replace(split, head=msgspec.structs.replace(split.head, name="split"))
    findings = Matrix().conclude(recording(named))
    assert [dot.fault for dot in findings.cap] == ["split 2 | 3"]
    assert {rule.verdict for rule in findings.rules} == {Verdict.PASS, Verdict.INVALID}
