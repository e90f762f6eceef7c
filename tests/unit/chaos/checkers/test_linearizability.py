"""Histories of registers, with and without an order; the search is held against all orders."""

import random
from collections.abc import Sequence
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.checkers.linearizability import (
    Linearizable,
    NotLinearizable,
    Unknown,
    check,
    check_each,
)
from chaos.recording import Action, Operation, Outcome
from chaos.values import Named
from tests.unit.chaos.checkers.by_hand import ByHand

INFO, FAIL = Outcome.INFO, Outcome.FAIL


def _refuted(story: ByHand, initial: str | None = None) -> NotLinearizable:
    result = check(story.operations, initial)
    assert isinstance(result, NotLinearizable)
    return result


def _order(story: ByHand, initial: str | None = None) -> tuple[int, ...]:
    result = check(story.operations, initial)
    assert isinstance(result, Linearizable)
    return result.order


# ---- histories that have an order


def test_no_operations_have_an_order() -> None:
    assert check([]) == Linearizable(order=())


def test_reads_under_way_with_a_write_may_or_may_not_show_it() -> None:
    story = ByHand()
    early = story.get(from_s=1, until_s=4, by="c2")
    late = story.get("x", from_s=1, until_s=4, by="c3")
    write = story.put("x", 0, 5)
    assert _order(story) == (early, write, late)


def test_a_read_may_end_in_the_instant_in_which_a_write_begins() -> None:
    story = ByHand()
    story.get("x", from_s=0, until_s=1)
    story.put("x", 1, 2)
    assert _order(story) == (1, 0)


def test_a_write_of_unknown_outcome_may_take_effect_long_after() -> None:
    story = ByHand()
    story.put("x", 0, 1, outcome=INFO)
    story.put("y", 2, 3, by="c2")
    story.get("y", from_s=4, until_s=5, by="c3")
    story.get("x", from_s=6, until_s=7, by="c3")
    assert _order(story) == (1, 2, 0, 3)


def test_a_write_of_unknown_outcome_may_never_take_effect() -> None:
    story = ByHand()
    story.put("x", 0, 1, outcome=INFO)
    story.get(from_s=2, until_s=3)
    assert _order(story) == (1,)


def test_a_deletion_writes_nothing() -> None:
    story = ByHand()
    story.put("x", 0, 1)
    story.delete(2, 3)
    story.get(from_s=4, until_s=5, deleted=True)
    assert _order(story) == (0, 1, 2)


def test_what_was_there_at_first_may_be_read() -> None:
    story = ByHand()
    story.get("x", from_s=0, until_s=1)
    assert _order(story, initial="x") == (0,)


def test_failed_operations_do_not_count() -> None:
    story = ByHand()
    story.put("x", 0, 1, outcome=FAIL)
    story.get("y", from_s=2, until_s=3, outcome=FAIL)
    story.get(from_s=4, until_s=5)
    assert _order(story) == (2,)


def test_objects_are_checked_each_by_itself() -> None:
    story = ByHand()
    story.put("x", 0, 1, key="good")
    story.get("x", from_s=2, until_s=3, key="good")
    story.put("y", 0, 1, key="bad")
    story.get(from_s=2, until_s=3, key="bad")
    results = check_each(story.operations)
    assert isinstance(results["b", "good"], Linearizable)
    assert isinstance(results["b", "bad"], NotLinearizable)


# ---- histories that have none


def test_a_read_that_shows_what_was_replaced_is_told_step_by_step() -> None:
    story = ByHand()
    old, new = (str(Named(key="k", client="c1", number=n)) for n in (1, 2))
    story.put(old, 0, 0.1)
    story.put(new, 0.2, 0.3)
    story.get(old, from_s=0.4, until_s=0.5)
    result = _refuted(story)
    assert result.operations == (0, 1, 2)
    assert len(result.longest) == 2
    assert result.said == (
        "c1 had written c1#1 by 0.100 s."
        " c1 began to write c1#2 at 0.200 s and had it acknowledged by 0.300 s."
        " After that c2 asked at 0.400 s and was shown c1#1, which c1#2 had replaced."
    )


def test_two_reads_in_the_wrong_order_betray_a_write_of_unknown_outcome() -> None:
    story = ByHand()
    story.put("v6", 0, 1)
    story.put("v7", 2, 9, outcome=INFO)
    story.get("v7", from_s=3, until_s=4, by="c3")
    story.get("v6", from_s=5, until_s=6, by="c5")
    result = _refuted(story)
    assert result.operations == (0, 1, 2, 3)
    assert "c3 asked at 3.000 s and was shown v7 by 4.000 s." in result.said
    assert "c5 asked at 5.000 s and was shown v6, which v7 had replaced." in result.said


def test_nothing_is_not_there_again_after_something() -> None:
    story = ByHand()
    story.put("x", 0, 1)
    story.get(from_s=2, until_s=3)
    result = _refuted(story)
    assert result.operations == (0, 1)
    assert result.said.startswith("At first there was nothing.")


def test_two_values_cannot_be_there_at_once() -> None:
    story = ByHand()
    story.put("x", 0, 9, by="c1")
    story.put("y", 0, 9, by="c2")
    story.get("x", from_s=1, until_s=2, by="c3")
    story.get("y", from_s=3, until_s=4, by="c4")
    story.get("x", from_s=5, until_s=6, by="c3")
    story.get("y", from_s=7, until_s=8, by="c4")
    result = _refuted(story)
    assert len(result.operations) in (5, 6)
    assert "had replaced" in result.said or "one value at a time" in result.said


def test_overlapping_stays_of_two_values_are_told_as_such() -> None:
    story = ByHand()
    story.put("x", 0, 1, by="c1")
    story.put("y", 0, 2, by="c2")
    story.get("x", from_s=3, until_s=4, by="c3")
    story.get("y", from_s=3, until_s=4, by="c4")
    result = _refuted(story)
    assert result.operations == (0, 1, 2, 3)
    assert "So both were there from 2.000 s to 3.000 s" in result.said


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (("x", "y"), "was shown x and y at 3.000 s: 2 values at once"),
        (("z",), "which nobody wrote"),
        (("late",), "was shown late at 3.000 s, before c1 began to write it at 8.000 s."),
    ],
)
def test_a_read_that_no_order_can_explain_is_named(shown: tuple[str, ...], said: str) -> None:
    story = ByHand()
    story.put("x", 0, 1, outcome=INFO)
    story.put("y", 0, 1, outcome=INFO)
    read = story.get(*shown, from_s=2, until_s=3)
    story.put("late", 8, 9)
    result = _refuted(story)
    assert read in result.operations
    assert said in result.said


def test_a_deleted_value_that_comes_back_has_no_order() -> None:
    story = ByHand()
    story.put("x", 0, 1)
    story.delete(2, 3)
    story.get("x", from_s=4, until_s=5)
    result = _refuted(story)
    assert result.operations == (0, 1, 2)
    assert "x" in result.said
    assert "nothing" in result.said


def test_the_proof_is_small_however_long_the_history() -> None:
    story = ByHand()
    _honest(story, 1000, random.Random(1))
    story.put("old", 2000, 2001)
    story.put("new", 2002, 2003)
    stale = story.get("old", from_s=2004, until_s=2005)
    for number in range(500):
        story.put(f"later {number}", 3000 + 2 * number, 3001 + 2 * number)
    assert _refuted(story).operations == (stale - 2, stale - 1, stale)


def test_a_search_without_steps_left_says_that_it_does_not_know() -> None:
    story = ByHand()
    _honest(story, 100, random.Random(1))
    assert check(story.operations, steps_max=50) == Unknown(steps=50)


# ---- at length


def _honest(story: ByHand, count: int, dice: random.Random, clients: int = 8) -> None:
    """Operations on a real register, each of which takes effect at an instant of its own."""
    free_s = [0.0] * clients
    planned = []
    for number in range(count):
        client = min(range(clients), key=free_s.__getitem__)
        from_s = free_s[client] + dice.random()
        until_s = from_s + dice.random() * 3
        lost = dice.random() < 0.05
        effect_s = dice.uniform(from_s, until_s + 20 * lost)
        free_s[client] = until_s
        planned.append((effect_s, number, client, from_s, until_s, lost, dice.random() < 0.5))
    held: tuple[str, ...] = ()
    for _, number, client, from_s, until_s, lost, is_write in sorted(planned):
        outcome = INFO if lost else Outcome.OK
        if is_write:
            held = (f"v{number}",)
            story.put(held[0], from_s, until_s, by=f"c{client}", outcome=outcome)
        else:
            story.get(*held, from_s=from_s, until_s=until_s, by=f"c{client}", outcome=outcome)


def test_ten_thousand_operations_of_an_honest_register_have_an_order() -> None:
    story = ByHand()
    _honest(story, 10_000, random.Random(7))
    result = check(story.operations, steps_max=4 * len(story.operations))
    assert isinstance(result, Linearizable)


# ---- against all orders


@st.composite
def _histories(draw: st.DrawFn) -> list[Operation]:
    story = ByHand()
    for number in range(draw(st.integers(1, 6))):
        from_s = draw(st.integers(0, 8))
        until_s = from_s + draw(st.integers(0, 5))
        outcome = draw(st.sampled_from((Outcome.OK, Outcome.OK, Outcome.OK, INFO, FAIL)))
        match draw(st.sampled_from(("put", "put", "get", "get", "get", "delete"))):
            case "put":
                story.put(f"v{number}", from_s, until_s, outcome=outcome)
            case "delete":
                story.delete(from_s, until_s, outcome=outcome)
            case _:
                shown = draw(st.sampled_from(("", "v0", "v1", "v2", "v3")))
                story.get(*filter(None, [shown]), from_s=from_s, until_s=until_s, outcome=outcome)
    return story.operations


def _has_an_order(operations: Sequence[Operation]) -> bool:
    """By trying all; what may never be is the end of an order that is long enough without it."""
    counted = [
        op for op in operations if op.outcome is Outcome.OK or (op.is_write and op.outcome is INFO)
    ]
    return any(_explains(order) for order in permutations(counted))


def _explains(order: Sequence[Operation]) -> bool:
    held: tuple[str, ...] = ()
    for place, operation in enumerate(order):
        rest = order[place + 1 :]
        if any(o.outcome is Outcome.OK and o.returned_s < operation.invoked_s for o in rest):
            return False
        if operation.action is Action.PUT:
            held = (str(operation.written),)
        elif operation.action is Action.DELETE:
            held = ()
        elif operation.shown != held:
            return False
        if all(o.outcome is INFO for o in rest):
            return True
    return True


@given(_histories())
def test_the_search_agrees_with_trying_all_orders(operations: list[Operation]) -> None:
    result = check(operations)
    has_an_order = _has_an_order(operations) or all(o.outcome is not Outcome.OK for o in operations)
    assert isinstance(result, Linearizable) == has_an_order
    if isinstance(result, Linearizable):
        assert _explains([operations[index] for index in result.order])


@given(_histories())
def test_a_proof_proves_by_itself_and_nothing_in_it_can_be_spared(
    operations: list[Operation],
) -> None:
    result = check(operations)
    if not isinstance(result, NotLinearizable):
        return
    proof = [operations[index] for index in result.operations]
    assert not _has_an_order(proof)
    assert len(result.longest) < len(proof)
    assert result.said
    for operation in proof:
        if not operation.is_write:
            assert _has_an_order([other for other in proof if other is not operation])
