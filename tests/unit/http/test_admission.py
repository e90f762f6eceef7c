"""The door: what closes it, and what does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo.http.admission import AT_WORK_MIN, BEAT_S, STOOD_STILL_S, Admission

LATE_BEAT_S = BEAT_S + 0.03
"""A beat of a loop that has more to do than it can."""


def a_door(*, queue_s_max: float = 0.5, at_work_max: int = 4096) -> Admission:
    return Admission(at_work_max=at_work_max, queue_s_max=queue_s_max)


def carry(door: Admission, *, per_s: float, for_s: float, beat_s: float) -> None:
    """Let the door see a load that is completed at a steady rate."""
    passed_s, due = 0.0, 0.0
    while passed_s < for_s:
        passed_s += beat_s
        due += per_s * beat_s
        for _ in range(int(due)):
            door.begin()
            door.end()
        due -= int(due)
        door.beat(beat_s)


def test_nobody_is_refused_at_the_start() -> None:
    door = a_door(at_work_max=1000)
    for _ in range(1000):
        assert not door.is_closed
        door.begin()
    assert door.is_closed
    assert door.is_full


def test_a_burst_after_a_quiet_time_is_let_in() -> None:
    door = a_door()
    carry(door, per_s=10, for_s=60, beat_s=BEAT_S)
    assert door.limit == 4096


def test_requests_that_wait_for_something_else_are_no_queue() -> None:
    # A replica has died: a thousand writes wait two seconds for it, and the node has time.
    door = a_door()
    for _ in range(1000):
        door.begin()
    carry(door, per_s=100, for_s=2, beat_s=BEAT_S)
    assert not door.is_closed


def test_a_node_that_has_no_time_lets_in_what_it_completes_within_the_longest_wait() -> None:
    door = a_door(queue_s_max=0.5)
    carry(door, per_s=3000, for_s=20, beat_s=LATE_BEAT_S)
    assert door.is_late
    assert door.limit == pytest.approx(1500, rel=0.05)


def test_the_limit_follows_what_the_node_carries() -> None:
    door = a_door()
    carry(door, per_s=4000, for_s=20, beat_s=LATE_BEAT_S)
    carry(door, per_s=1000, for_s=10, beat_s=LATE_BEAT_S)
    assert door.limit == pytest.approx(500, rel=0.1)


def test_what_was_asked_in_quiet_times_says_nothing_of_what_can_be_carried() -> None:
    door = a_door()
    carry(door, per_s=4000, for_s=20, beat_s=LATE_BEAT_S)
    carry(door, per_s=10, for_s=60, beat_s=BEAT_S)
    carry(door, per_s=4000, for_s=0.5, beat_s=LATE_BEAT_S)
    assert door.is_late
    assert door.limit > 1500


def test_the_door_opens_again_soon_after_the_load_has_gone() -> None:
    door = a_door()
    carry(door, per_s=4000, for_s=20, beat_s=LATE_BEAT_S)
    carry(door, per_s=0, for_s=1, beat_s=BEAT_S)
    assert door.limit == 4096


def test_one_late_beat_closes_nothing() -> None:
    door = a_door()
    carry(door, per_s=100, for_s=5, beat_s=BEAT_S)
    door.beat(BEAT_S + 0.02)
    assert not door.is_late


def test_a_process_that_stood_still_has_learned_nothing() -> None:
    door = a_door()
    carry(door, per_s=4000, for_s=20, beat_s=BEAT_S)
    door.beat(STOOD_STILL_S + 60)
    assert door.limit == 4096


def test_a_slow_node_still_takes_a_few() -> None:
    door = a_door(queue_s_max=0.01)
    carry(door, per_s=20, for_s=20, beat_s=LATE_BEAT_S)
    assert door.limit == AT_WORK_MIN


@given(st.lists(st.tuples(st.integers(0, 500), st.floats(0.001, 10)), max_size=60))
def test_the_limit_is_always_between_its_bounds(beats: list[tuple[int, float]]) -> None:
    door = a_door(at_work_max=700)
    for done, elapsed_s in beats:
        for _ in range(done):
            door.begin()
            door.end()
        door.beat(elapsed_s)
        assert AT_WORK_MIN <= door.limit <= 700
    assert door.at_work == 0


def test_the_hard_bound_may_be_lower_than_the_few() -> None:
    door = a_door(at_work_max=3)
    carry(door, per_s=20, for_s=20, beat_s=LATE_BEAT_S)
    assert door.limit == 3
