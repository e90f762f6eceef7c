"""Parts of a take: from the edges of its faults and the moment in which they were known."""

from collections.abc import Sequence

import msgspec
import pytest

from chaos.recording import Edge, Fault, Mark, Take
from chaos.windows import Window, broken, noticed, quiet, unnoticed
from tests.unit.chaos.checkers.histories import Told, fault, marks


def take(*faults: Fault, marked: Sequence[Mark] = ()) -> Take:
    return Told(head={"faults": faults, "marks": marked, "duration_s": 30.0}).take()


def edged(began: tuple[float, float], ended: tuple[float, float] | None) -> Fault:
    return Fault(
        kind="cut",
        said="cut",
        targets=("n1->n2",),
        began=Edge(from_s=began[0], until_s=began[1]),
        ended=None if ended is None else Edge(from_s=ended[0], until_s=ended[1]),
    )


def test_a_take_without_faults_is_quiet_throughout() -> None:
    calm = take()
    assert quiet(calm) == Window(0.0, 30.0)
    assert (broken(calm), noticed(calm), unnoticed(calm)) == (None, None, None)


def test_it_is_broken_while_the_fault_was_wholly_there() -> None:
    assert broken(take(edged((4.0, 4.2), (9.0, 9.3)))) == Window(4.2, 9.0)


def test_it_is_quiet_until_then() -> None:
    assert quiet(take(edged((4.0, 4.2), (9.0, 9.3)))) == Window(0.0, 4.2)


def test_several_faults_break_it_from_the_first_to_the_last() -> None:
    overlapping = take(fault("cut", 4, 9), fault("kill", 6, 12), fault("pause", 7, 8))
    assert broken(overlapping) == Window(4, 12)


@pytest.mark.parametrize("others", [(), (fault("kill", 6, 8),)])
def test_a_fault_that_was_not_taken_back_lasts_to_the_end(others: tuple[Fault, ...]) -> None:
    assert broken(take(fault("cut", 4, None), *others)) == Window(4, 30.0)


def test_the_fault_is_known_from_the_mark_on() -> None:
    known = take(fault("cut", 4, 9), marked=marks(broken=4.0, settled=5.5, healed=9.0))
    assert noticed(known) == Window(5.5, 9)
    assert unnoticed(known) == Window(4, 5.5)


def test_where_nobody_waited_until_it_was_known_there_is_no_such_part() -> None:
    unknown = take(fault("cut", 4, 9), marked=marks(broken=4.0, healed=9.0))
    assert (noticed(unknown), unnoticed(unknown)) == (None, None)


def test_operations_belong_to_the_window_in_which_they_were_sent() -> None:
    told = Told()
    for at_s in (3.9, 4.0, 8.99, 9.0):
        told.write("x", at=(at_s, 20.0))
    late = [msgspec.structs.replace(op, intended_s=1.0) for op in told.operations]
    told.operations = late
    assert [op.invoked_s for op in Window(4.0, 9.0).of(told.take())] == [4.0, 8.99]
