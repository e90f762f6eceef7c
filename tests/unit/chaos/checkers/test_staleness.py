"""What a read missed, in buckets that keep siblings and in those that keep the last write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.checkers.staleness import (
    Sight,
    Spread,
    by_mode_and_side,
    freshness,
    settling,
    sights,
    spread,
    staleness,
    within,
)
from chaos.recording import Outcome
from tests.unit.chaos.checkers.by_hand import LWW, MODES, SIBLINGS, ByHand

INFO = Outcome.INFO


def _sight(story: ByHand, read: int) -> Sight:
    return next(sight for sight in sights(story.operations, MODES) if sight.operation == read)


def _missed(story: ByHand, read: int) -> tuple[int, ...]:
    return _sight(story, read).missed


# ---- siblings


def test_a_read_that_misses_acknowledged_writes_is_stale_by_their_number_and_age() -> None:
    story = ByHand()
    first = story.put("x", 0, 1)
    story.put("y", 2, 3)
    story.put("z", 4, 5)
    sight = _sight(story, story.get("x", from_s=7, until_s=8))
    assert sight.missed == (1, 2)
    assert sight.behind_s == 4
    assert sight.newest == 2
    assert sight.since_newest_s == 2
    assert not sight.shows_newest
    assert first not in sight.missed


def test_what_is_replaced_by_something_shown_is_not_missed() -> None:
    story = ByHand()
    story.put("x", 0, 1)
    seen = story.get("x", from_s=2, until_s=3)
    story.put("y", 4, 5, after=seen, outcome=INFO)
    read = story.get("y", from_s=6, until_s=7)
    assert _missed(story, read) == ()


def test_a_blind_write_replaces_nothing() -> None:
    story = ByHand()
    story.put("x", 0, 1)
    story.put("y", 2, 3)
    assert _missed(story, story.get("y", from_s=4, until_s=5)) == (0,)
    assert _missed(story, story.get("x", "y", from_s=4, until_s=5)) == ()


def test_writes_that_were_not_acknowledged_before_are_not_missed() -> None:
    story = ByHand()
    story.put("late", 0, 5)
    story.put("unknown", 0, 1, outcome=INFO)
    story.put("failed", 0, 1, outcome=Outcome.FAIL)
    assert _missed(story, story.get(from_s=4, until_s=6)) == ()


def test_what_may_have_been_deleted_is_not_missed() -> None:
    story = ByHand()
    story.put("x", 0, 1)
    seen = story.get("x", from_s=2, until_s=3)
    story.delete(4, 9, after=seen, outcome=INFO)
    forgotten = story.get(from_s=5, until_s=6)
    beside = story.put("y", 7, 8)
    assert _missed(story, forgotten) == ()
    assert _missed(story, story.get("y", from_s=10, until_s=11)) == ()
    assert _missed(story, story.get(from_s=10, until_s=11)) == (beside,)


def test_a_deletion_excuses_only_what_it_may_cover() -> None:
    story = ByHand()
    story.put("x", 0, 1)
    seen = story.get("x", from_s=2, until_s=3)
    beside = story.put("y", 2, 3)
    story.delete(4, 5, after=seen)
    assert _missed(story, story.get(from_s=6, until_s=7, deleted=True)) == (beside,)


def test_a_deletion_is_missed_where_what_it_deleted_is_shown() -> None:
    story = ByHand()
    story.put("x", 0, 1)
    seen = story.get("x", from_s=2, until_s=3)
    deletion = story.delete(4, 5, after=seen)
    assert _missed(story, story.get("x", from_s=6, until_s=7)) == (deletion,)


def test_a_deleted_write_is_missed_where_what_it_replaced_is_shown() -> None:
    story = ByHand()
    story.put("x", 0, 1)
    story.put("y", 2, 3, after=story.get("x", from_s=1.5, until_s=1.6))
    story.delete(4, 5, after=story.get("y", from_s=3.5, until_s=3.6))
    missed = _missed(story, story.get("x", from_s=6, until_s=7))
    assert missed == (2, 4)


# ---- last write wins


def test_with_last_write_wins_a_later_write_is_missed_where_an_earlier_is_shown() -> None:
    story = ByHand(LWW)
    story.put("x", 0, 1)
    story.put("y", 2, 3)
    assert _missed(story, story.get("x", from_s=4, until_s=5)) == (1,)


def test_with_last_write_wins_a_concurrent_write_may_have_won() -> None:
    story = ByHand(LWW)
    story.put("x", 0, 3)
    story.put("y", 2, 4)
    assert _missed(story, story.get("x", from_s=5, until_s=6)) == ()
    assert _missed(story, story.get("y", from_s=5, until_s=6)) == ()


def test_with_last_write_wins_a_write_of_unknown_outcome_may_win_until_it_was_seen() -> None:
    story = ByHand(LWW)
    story.put("x", 0, 1, outcome=INFO)
    story.put("y", 2, 3)
    assert _missed(story, story.get("x", from_s=4, until_s=5)) == ()
    story = ByHand(LWW)
    story.put("x", 0, 1, outcome=INFO)
    story.get("x", from_s=1, until_s=1.5)
    later = story.put("y", 2, 3)
    assert _missed(story, story.get("x", from_s=4, until_s=5)) == (later,)


def test_with_last_write_wins_nothing_is_shown_for_a_deletion_that_may_have_won() -> None:
    story = ByHand(LWW)
    story.put("x", 0, 1)
    story.delete(2, 3)
    assert _missed(story, story.get(from_s=4, until_s=5, deleted=True)) == ()
    later = story.put("y", 4, 5)
    assert _missed(story, story.get(from_s=6, until_s=7, deleted=True)) == (later,)
    assert _missed(story, story.get("x", from_s=8, until_s=9)) == (1, later)


def test_with_last_write_wins_a_read_that_shows_nothing_missed_every_write() -> None:
    story = ByHand(LWW)
    story.put("x", 0, 1)
    assert _missed(story, story.get(from_s=2, until_s=3)) == (0,)


# ---- sums


def test_only_successful_reads_are_counted() -> None:
    story = ByHand()
    story.put("x", 0, 1)
    story.get(from_s=2, until_s=3, outcome=Outcome.FAIL)
    assert sights(story.operations, MODES) == ()


def test_stale_reads_are_summed_up_by_mode_and_side_and_window() -> None:
    story = ByHand()
    story.put("x", 0, 1)
    story.get("x", from_s=2, until_s=3, side="A")
    story.get(from_s=4, until_s=5, side="B")
    story.get("x", from_s=6, until_s=7, side="B")
    seen = sights(story.operations, MODES)
    sums = by_mode_and_side(seen)
    assert list(sums) == [(SIBLINGS.name, "A"), (SIBLINGS.name, "B")]
    assert sums[SIBLINGS.name, "A"].percent == 0
    assert sums[SIBLINGS.name, "B"].percent == 50
    assert sums[SIBLINGS.name, "B"].behind_s.most == 3
    assert staleness(within(seen, 4, 6)).percent == 100
    assert staleness(()).percent == 0


def test_freshness_is_counted_by_the_time_since_the_newest_acknowledgement() -> None:
    story = ByHand()
    story.get(from_s=0, until_s=0.5)
    story.put("x", 0, 1)
    story.get(from_s=1.5, until_s=2)
    story.get("x", from_s=1.75, until_s=2)
    story.get("x", from_s=3, until_s=4)
    early, late = freshness(sights(story.operations, MODES), (0, 1, 10))
    assert early.after_s == (0.5, 0.75)
    assert early.percent == 50
    assert late.after_s == (2,)
    assert late.percent == 100


def test_a_write_has_settled_with_the_last_read_that_missed_it() -> None:
    story = ByHand()
    story.put("x", 0, 1)
    story.get("x", from_s=2, until_s=3)
    story.get(from_s=4, until_s=5)
    story.get("x", from_s=6, until_s=7)
    story.put("y", 0, 1, key="other")
    story.get(from_s=2, until_s=3, key="other")
    story.put("z", 0, 1, key="third")
    found = settling(story.operations, sights(story.operations, MODES))
    assert found.settled_after_s == (3,)
    assert found.still_missed == (4,)
    assert found.never_read == 1
    assert found.spread_s.median == 3


def test_a_write_that_was_never_missed_has_settled_at_once() -> None:
    story = ByHand()
    story.put("x", 0, 1)
    story.get("x", from_s=2, until_s=3)
    found = settling(story.operations, sights(story.operations, MODES))
    assert found.settled_after_s == (0,)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((), Spread(0, 0, 0, 0, 0)),
        ((7,), Spread(7, 7, 7, 7, 7)),
        (range(1, 101), Spread(1, 50, 95, 99, 100)),
    ],
)
def test_quantiles_are_numbers_that_were_measured(
    numbers: tuple[float, ...], expected: Spread
) -> None:
    assert spread(numbers) == expected


# ---- against a store that cannot be stale


@given(st.data())
def test_reads_of_a_single_copy_are_never_stale(data: st.DataObject) -> None:
    mode = data.draw(st.sampled_from(MODES))
    story = ByHand(mode)
    held: set[str] = set()
    contexts: dict[int, frozenset[str]] = {}
    for now_s in range(data.draw(st.integers(0, 12))):
        past = data.draw(st.sampled_from([None, *contexts]))
        covered = contexts.get(-1 if past is None else past, frozenset())
        action = data.draw(st.sampled_from(("get", "put", "delete")))
        if action == "get":
            read = story.get(*sorted(held), from_s=now_s, until_s=now_s + 0.5)
            contexts[read] = frozenset(held)
            continue
        lost = data.draw(st.booleans())
        outcome = INFO if lost else Outcome.OK
        if action == "put":
            story.put(f"v{now_s}", now_s, now_s + 0.5, after=past, outcome=outcome)
        else:
            story.delete(now_s, now_s + 0.5, after=past, outcome=outcome)
        if lost and data.draw(st.booleans()):
            continue
        gone = held if mode is LWW or (action == "delete" and past is None) else covered
        held = held - gone
        if action == "put":
            held.add(f"v{now_s}")
    assert [sight for sight in sights(story.operations, MODES) if sight.missed] == []
