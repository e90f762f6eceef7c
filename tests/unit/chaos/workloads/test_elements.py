"""What became of sets and carts, told from hand-made histories."""

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from chaos.recording import Action, HeldValue, Operation, Outcome, ReplicaState
from chaos.values import Named
from chaos.workloads.elements import (
    Loss,
    cart_outcome,
    changes,
    elements,
    held,
    payload,
    set_outcome,
)

OK, FAIL, INFO = Outcome.OK, Outcome.FAIL, Outcome.INFO


class Story:
    """Operations of one set, one after the other, a second each."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self._numbers = count(1)

    def read(self, *shown: str) -> int:
        return self._add(Action.GET, OK, shown=shown)

    def write(self, items: str, based_on: int | None = None, outcome: Outcome = OK) -> str:
        text = value(items, next(self._numbers))
        self._add(Action.PUT, outcome, written=text, based_on=based_on)
        return text

    def _add(
        self,
        action: Action,
        outcome: Outcome,
        *,
        shown: tuple[str, ...] | None = None,
        written: str | None = None,
        based_on: int | None = None,
    ) -> int:
        index = len(self.operations)
        self.operations.append(
            Operation(
                index=index,
                workload="set-add",
                mode="strict 2/2",
                client="c1",
                side="A",
                node="n1",
                action=action,
                bucket="b",
                key="k",
                intended_s=index,
                invoked_s=index,
                returned_s=index + 0.5,
                outcome=outcome,
                written=written,
                based_on=based_on,
                shown=shown,
            )
        )
        return index


def value(items: str, number: int = 1) -> str:
    return str(Named(key="k", client="c1", number=number, payload=payload(items.split())))


@given(st.lists(st.frozensets(st.integers(0, 99).map(str)), max_size=4))
def test_siblings_are_one_set(sets: list[frozenset[str]]) -> None:
    texts = [value(" ".join(members), number) for number, members in enumerate(sets)]
    assert elements(texts) == frozenset().union(*sets)


def test_a_value_that_is_not_whole_carries_nothing() -> None:
    assert elements([value("1 2")[:-1], "rubbish", value("3")]) == {"3"}


def test_what_homes_hold_is_what_is_there_and_tombstones_and_others_are_not() -> None:
    def state(key: str, text: str, *, primary: bool = True, deleted: bool = False) -> ReplicaState:
        values = (HeldValue(text=text, deleted=deleted),)
        return ReplicaState(
            node="n1", bucket="b", key=key, primary=primary, digest="d", values=values
        )

    states = [
        state("k", "a"),
        state("k", "b"),
        state("k", "c", primary=False),
        state("k", "", deleted=True),
        state("l", "d"),
    ]
    assert held(states, "b", "k") == {"a", "b"}


def test_a_change_is_told_from_what_the_write_was_based_on() -> None:
    story = Story()
    first = story.write("1")
    second = story.write("2")
    read = story.read(first, second)
    story.write("1 3", based_on=read)
    *_, change = changes(story.operations)
    assert change.added == {"3"}
    assert change.removed == {"2"}


def test_a_set_that_keeps_all_has_lost_nothing() -> None:
    story = Story()
    first = story.write("1")
    read = story.read(first)
    last = story.write("1 2", based_on=read)
    outcome = set_outcome(story.operations, [last])
    assert outcome.acknowledged == outcome.survivors == outcome.sent == {"1", "2"}
    assert not outcome.lost | outcome.unacknowledged
    assert outcome.losses == ()
    assert (outcome.lost_percent, outcome.acknowledged_percent) == (0.0, 100.0)


def test_a_lost_addition_is_told_with_who_missed_it_and_what_hid_it() -> None:
    story = Story()
    start = story.write("1")
    one, other = story.read(start), story.read(start)
    kept = story.write("1 2", based_on=one)
    last = story.write("1 3", based_on=other)
    story.read(kept)
    story.read(last)
    outcome = set_outcome(story.operations, [last])
    assert outcome.lost == {"2"}
    assert outcome.losses == (Loss(element="2", write=3, missed_by=6, hidden_by=4),)
    assert round(outcome.lost_percent, 1) == 33.3


def test_a_loss_that_nobody_read_is_a_loss() -> None:
    story = Story()
    story.write("1")
    outcome = set_outcome(story.operations, [])
    assert outcome.losses == (Loss(element="1", write=0),)


def test_what_nobody_was_told_of_is_neither_lost_nor_acknowledged() -> None:
    story = Story()
    story.write("1", outcome=INFO)
    unknown = story.write("2", outcome=INFO)
    story.write("3", outcome=FAIL)
    outcome = set_outcome(story.operations, [unknown])
    assert outcome.sent == {"1", "2", "3"}
    assert outcome.unacknowledged == {"2"}
    assert not outcome.acknowledged | outcome.lost
    assert (outcome.lost_percent, outcome.acknowledged_percent) == (0.0, 0.0)


def test_an_element_is_its_first_writers_and_not_those_who_carry_it_on() -> None:
    story = Story()
    unknown = story.write("1", outcome=INFO)
    read = story.read(unknown)
    last = story.write("1 2", based_on=read)
    outcome = set_outcome(story.operations, [last])
    assert outcome.acknowledged == {"2"}
    assert outcome.unacknowledged == {"1"}


def test_a_set_to_which_nothing_was_added_is_empty() -> None:
    outcome = set_outcome([], [])
    assert (outcome.lost_percent, outcome.acknowledged_percent) == (0.0, 0.0)


def test_a_cart_that_lost_an_item_and_one_that_came_back_are_told_apart() -> None:
    story = Story()
    start = story.write("1 2 3 4")
    one, other = story.read(start), story.read(start)
    story.write("2 3 4", based_on=one)
    story.write("1 3 4", based_on=one, outcome=INFO)
    last = story.write("1 2 3 4 5", based_on=other)
    outcome = cart_outcome(story.operations, [value("1 3", 9)])
    assert last
    assert outcome.added == {"1", "2", "3", "4", "5"}
    assert outcome.removed == {"1"}
    assert outcome.lost == {"4", "5"}, "2 may have been removed by the write that is unknown"
    assert outcome.returned == {"1"}


def test_a_removal_that_certainly_failed_excuses_nothing() -> None:
    story = Story()
    read = story.read(story.write("1"))
    story.write("", based_on=read, outcome=FAIL)
    assert cart_outcome(story.operations, []).lost == {"1"}
