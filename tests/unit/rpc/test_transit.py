"""When a request was sent, from two clocks: what must never be younger than it looks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo.rpc.transit import DRIFT_MAX, WINDOW_S, Transit

HELLO_READ_S = 1000.0

delays_s = st.floats(0, 100)


def test_a_request_as_fast_as_its_hello_was_sent_when_it_came() -> None:
    transit = Transit(HELLO_READ_S)
    assert transit.sent_s(HELLO_READ_S + 5.0, 5000) == pytest.approx(HELLO_READ_S + 5.0)


def test_a_request_that_was_held_up_is_as_old_as_that() -> None:
    transit = Transit(HELLO_READ_S)
    assert transit.sent_s(HELLO_READ_S + 9.0, 5000) == pytest.approx(HELLO_READ_S + 5.0)


def test_a_request_faster_than_its_hello_corrects_those_after_it() -> None:
    transit = Transit(HELLO_READ_S)
    # The hello took 0.8 s longer than this one.
    assert transit.sent_s(HELLO_READ_S + 4.2, 5000) == pytest.approx(HELLO_READ_S + 4.2)
    assert transit.sent_s(HELLO_READ_S + 9.2, 5000) == pytest.approx(HELLO_READ_S + 4.2)


@given(hello_s=st.floats(0, 1), delays=st.lists(delays_s, min_size=1, max_size=50))
def test_without_drift_a_request_looks_younger_by_no_more_than_its_hello_took(
    hello_s: float, delays: list[float]
) -> None:
    transit = Transit(HELLO_READ_S)
    left_s = HELLO_READ_S - hello_s
    came_s = HELLO_READ_S
    # Bytes of one stream arrive in order.
    for number, delay_s in enumerate(delays):
        sent_s = left_s + number * 0.1
        came_s = max(came_s, sent_s + delay_s)
        looks_s = transit.sent_s(came_s, int((sent_s - left_s) * 1000))
        windows = (came_s - HELLO_READ_S) / WINDOW_S
        allowed_s = hello_s + windows * DRIFT_MAX * WINDOW_S
        assert looks_s <= sent_s + allowed_s + 1e-6
        assert looks_s <= came_s


@pytest.mark.parametrize("drift", [0.0002, -0.0002])
def test_clocks_that_drift_apart_make_no_request_look_old(drift: float) -> None:
    transit = Transit(HELLO_READ_S)
    day_s = 86_400
    for second in range(0, day_s, 2):
        sender_ms = int(second * (1 - drift) * 1000)
        came_s = HELLO_READ_S + second + 0.001
        assert 0 <= came_s - transit.sent_s(came_s, sender_ms) < 0.02
    # After a day a request that was held up still looks like one.
    came_s = HELLO_READ_S + day_s + 30
    assert came_s - transit.sent_s(came_s, int(day_s * (1 - drift) * 1000)) > 29


def test_a_link_that_turns_slow_makes_its_requests_old_for_a_long_time() -> None:
    transit = Transit(HELLO_READ_S)
    for second in range(100):
        came_s = HELLO_READ_S + second + 5.0
        age_s = came_s - transit.sent_s(came_s, second * 1000)
    assert age_s == pytest.approx(5.0, abs=0.11)
