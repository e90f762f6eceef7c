"""Clients that read behind their own past, and clients that only seem to."""

import pytest

from chaos.checkers.sessions import Guarantee, sessions
from chaos.modes import Mode
from chaos.recording import Outcome
from tests.unit.chaos.checkers.by_hand import LWW, MODES, SIBLINGS, ByHand

OWN, SEEN = Guarantee.READ_YOUR_WRITES, Guarantee.MONOTONIC_READS
both_kinds = pytest.mark.parametrize("mode", MODES, ids=lambda mode: str(mode.conflicts))


def _found(story: ByHand) -> list[tuple[Guarantee, int, tuple[int, ...]]]:
    return [
        (violation.guarantee, violation.read, violation.missed)
        for violation in sessions(story.operations, MODES).violations
    ]


@both_kinds
def test_a_client_that_does_not_read_its_own_write_is_listed(mode: Mode) -> None:
    story = ByHand(mode)
    write = story.put("x", 0, 1, by="c1")
    read = story.get(from_s=2, until_s=3, by="c1")
    story.get(from_s=2, until_s=3, by="c2")
    assert _found(story) == [(OWN, read, (write,))]


@both_kinds
def test_a_client_that_does_not_see_again_what_it_saw_is_listed(mode: Mode) -> None:
    story = ByHand(mode)
    write = story.put("x", 0, 1, by="c1")
    story.get("x", from_s=0, until_s=1, by="c2")
    read = story.get(from_s=2, until_s=3, by="c2")
    story.get(from_s=2, until_s=3, by="c3")
    assert _found(story) == [(SEEN, read, (write,))]


@both_kinds
def test_what_replaced_a_write_will_do(mode: Mode) -> None:
    story = ByHand(mode)
    story.put("x", 0, 1, by="c1")
    seen = story.get("x", from_s=2, until_s=3, by="c1")
    story.put("y", 4, 5, by="c2", after=seen)
    story.get("y", from_s=6, until_s=7, by="c1")
    assert _found(story) == []


def test_unacknowledged_and_later_writes_are_not_expected() -> None:
    story = ByHand()
    story.put("x", 0, 1, by="c1", outcome=Outcome.INFO)
    story.get(from_s=2, until_s=3, by="c1")
    story.put("y", 4, 5, by="c1")
    assert _found(story) == []


def test_a_value_of_unknown_outcome_must_be_seen_again_once_it_was_seen() -> None:
    story = ByHand()
    write = story.put("x", 0, 1, by="c1", outcome=Outcome.INFO)
    story.get("x", from_s=2, until_s=3, by="c2")
    read = story.get(from_s=4, until_s=5, by="c2")
    assert _found(story) == [(SEEN, read, (write,))]


def test_what_a_write_showed_was_seen() -> None:
    story = ByHand()
    story.put("x", 0, 1, by="c1")
    story.put("y", 2, 3, by="c2", shown=("x", "y"))
    read = story.get("y", from_s=4, until_s=5, by="c2")
    assert _found(story) == [(SEEN, read, (0,))]


def test_with_last_write_wins_a_value_does_not_come_back_after_another() -> None:
    story = ByHand(LWW)
    story.put("x", 0, 9, by="c1")
    story.put("y", 0, 9, by="c2")
    story.get("x", from_s=1, until_s=2, by="c3")
    story.get("y", from_s=3, until_s=4, by="c3")
    read = story.get("x", from_s=5, until_s=6, by="c3")
    assert _found(story) == [(SEEN, read, (1,))]


def test_with_last_write_wins_a_value_may_be_seen_again_after_a_read_that_went_back() -> None:
    story = ByHand(LWW)
    story.put("x", 0, 1, by="c1")
    story.put("y", 2, 3, by="c1")
    story.get("y", from_s=4, until_s=5, by="c3")
    stale = story.get("x", from_s=6, until_s=7, by="c3")
    story.get("y", from_s=8, until_s=9, by="c3")
    assert _found(story) == [(SEEN, stale, (1,))]


def test_siblings_may_come_and_go_as_contexts_say() -> None:
    story = ByHand()
    story.put("x", 0, 1, by="c1")
    story.put("y", 0, 1, by="c2")
    both = story.get("x", "y", from_s=2, until_s=3, by="c3")
    story.put("z", 4, 5, by="c3", after=both)
    story.get("z", from_s=6, until_s=7, by="c3")
    assert _found(story) == []


def test_violations_are_counted_per_mode_and_told() -> None:
    story = ByHand()
    story.put("x", 0, 1, by="c1")
    story.get(from_s=2, until_s=3, by="c1")
    story.get("x", from_s=4, until_s=5, by="c1")
    found = sessions(story.operations, MODES)
    assert found.reads == {SIBLINGS.name: 2}
    assert found.percent(SIBLINGS.name, OWN) == 50
    assert found.percent(SIBLINGS.name, SEEN) == 0
    assert found.percent("another mode", OWN) == 0
    assert found.violations[0].said == (
        "c1 had written operation 0 of b/k, and asked n1 at 2.000 s, which showed nothing of it"
    )
