"""A connection prefers its home, goes elsewhere when it must, and comes back."""

from dynamo.bench.route import REST_S_MAX, REST_S_MIN, Route


def test_a_connection_goes_home_first() -> None:
    assert Route(nodes=3, home=1).pick(100.0) == (1, 0.0)


def test_a_node_that_failed_is_left_alone_and_then_tried_again() -> None:
    route = Route(nodes=3, home=1)
    route.failed(1, 100.0)
    assert route.pick(100.0) == (2, 0.0)
    route.failed(2, 100.0)
    assert route.pick(100.0) == (0, 0.0)
    assert route.pick(100.0 + REST_S_MIN) == (1, 0.0)


def test_when_all_failed_it_waits_for_the_first_to_have_rested() -> None:
    route = Route(nodes=2, home=0)
    route.failed(0, 100.0)
    route.failed(1, 100.05)
    node, wait_s = route.pick(100.05)
    assert node == 0
    assert abs(wait_s - (REST_S_MIN - 0.05)) < 1e-9


def test_the_rest_grows_to_a_limit_and_shrinks_with_success() -> None:
    route = Route(nodes=1, home=0)
    waits = []
    for _ in range(8):
        route.failed(0, 100.0)
        waits.append(round(route.pick(100.0)[1], 6))
    assert waits[:3] == [REST_S_MIN, REST_S_MIN * 2, REST_S_MIN * 4]
    assert waits[-1] == REST_S_MAX
    route.worked(0)
    route.failed(0, 200.0)
    assert round(route.pick(200.0)[1], 6) == REST_S_MIN


def test_who_is_away_goes_home_once_home_has_rested() -> None:
    route = Route(nodes=2, home=0)
    route.failed(0, 100.0)
    assert not route.should_go_home(1, 100.0)
    assert route.should_go_home(1, 100.0 + REST_S_MIN)
    assert not route.should_go_home(0, 200.0)
