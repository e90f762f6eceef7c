"""Dynamo §4.4, data versioning: what the section says, one test for each statement.

The paper's vector clocks are lists of (node, counter); here these are a state's context.
"""

import pytest

from dynamo.core.ids import Actor
from dynamo.core.siblings import EMPTY, Context, Siblings

SX, SY, SZ = (Actor(name.ljust(8, b"-")) for name in (b"Sx", b"Sy", b"Sz"))


def values(state: Siblings) -> list[bytes]:
    return [value for _, value in state.dots()]


@pytest.fixture
def figure_3() -> dict[str, Siblings]:
    """The history of Figure 3: who coordinated what, and what each writer had read."""
    d1 = EMPTY.write(SX, b"D1", {}, floor=0)
    d2 = d1.write(SX, b"D2", d1.context(), floor=1)
    d3 = d2.write(SY, b"D3", d2.context(), floor=0)
    d4 = d2.write(SZ, b"D4", d2.context(), floor=0)
    both = d3.merge(d4)
    d5 = d2.merge(both).write(SX, b"D5", both.context(), floor=2)
    return {"D1": d1, "D2": d2, "D3": d3, "D4": d4, "D3 and D4": both, "D5": d5}


@pytest.mark.parametrize(
    ("version", "clock", "held"),
    [
        # A client writes a new object; Sx handles it and raises its counter.
        ("D1", {SX: 1}, [b"D1"]),
        # The same client updates it, Sx again: D2 descends from D1 and overwrites it.
        ("D2", {SX: 2}, [b"D2"]),
        # It updates again, through Sy.
        ("D3", {SX: 2, SY: 1}, [b"D3"]),
        # Another client has read D2 and writes through Sz.
        ("D4", {SX: 2, SZ: 1}, [b"D4"]),
        # A node that knows D3 and receives D4 finds no order between them: it keeps both, and
        # the context of a reader sums up both clocks.
        ("D3 and D4", {SX: 2, SY: 1, SZ: 1}, [b"D3", b"D4"]),
        # The reader reconciles them and writes through Sx.
        ("D5", {SX: 3, SY: 1, SZ: 1}, [b"D5"]),
    ],
)
def test_figure_3_evolves_as_drawn(
    figure_3: dict[str, Siblings], version: str, clock: Context, held: list[bytes]
) -> None:
    assert figure_3[version].context() == clock
    assert values(figure_3[version]) == held


def test_a_node_that_knows_d1_or_d2_can_tell_that_both_are_overwritten_by_d4(
    figure_3: dict[str, Siblings],
) -> None:
    for older in ("D1", "D2"):
        assert figure_3[older].merge(figure_3["D4"]) == figure_3["D4"]
        assert figure_3["D4"].merge(figure_3[older]) == figure_3["D4"]


def test_d5_replaces_every_earlier_version_wherever_it_arrives(
    figure_3: dict[str, Siblings],
) -> None:
    for state in figure_3.values():
        assert state.merge(figure_3["D5"]) == figure_3["D5"]


def test_a_version_whose_counters_are_all_at_most_those_of_another_can_be_forgotten() -> None:
    ancestor = EMPTY.write(SX, b"ancestor", {}, 0)
    descendant = ancestor.write(SY, b"descendant", ancestor.context(), 0)
    assert values(ancestor.merge(descendant)) == [b"descendant"]


def test_an_update_says_by_its_context_which_version_it_updates() -> None:
    first = EMPTY.write(SX, b"first", {}, 0)
    second = first.write(SX, b"second", first.context(), 1)
    update_of_first = second.write(SX, b"of first", first.context(), 2)
    update_of_second = second.write(SX, b"of second", second.context(), 2)
    assert values(update_of_first) == [b"of first", b"second"]
    assert values(update_of_second) == [b"of second"]


def test_an_addition_to_a_cart_is_kept_when_the_newest_version_was_out_of_reach() -> None:
    cart = EMPTY.write(SX, b"book", {}, 0)
    newest = cart.write(SX, b"book, pen", cart.context(), 1)
    # Sx cannot be reached: the addition is made to the older version, through Sy.
    addition = cart.write(SY, b"book, cup", cart.context(), 0)
    reconciled = newest.merge(addition)
    assert values(reconciled) == [b"book, pen", b"book, cup"]
    merged = reconciled.write(SZ, b"book, pen, cup", reconciled.context(), 0)
    assert values(newest.merge(merged)) == values(addition.merge(merged)) == [b"book, pen, cup"]


def test_no_entry_of_a_clock_is_dropped_however_many_nodes_coordinated() -> None:
    """The paper cuts clocks at ten entries and may lose descendance by it; here none is cut."""
    versions = [EMPTY]
    for n in range(50):
        coordinator = Actor(b"S%07d" % n)
        versions.append(versions[-1].write(coordinator, b"%d" % n, versions[-1].context(), 0))
    assert len(versions[-1].context()) == 50
    for older in versions:
        assert older.merge(versions[-1]) == versions[-1]
