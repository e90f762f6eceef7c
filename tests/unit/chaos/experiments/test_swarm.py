"""What a soak draws: the same from the same seed, within bounds, and in time all that there is."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from chaos.experiment import NODES
from chaos.experiments.swarm import (
    ROUND_S,
    WORKLOADS,
    ClockOff,
    Cut,
    Disturbed,
    Hit,
    Killed,
    Paused,
    Round,
    draw,
)
from chaos.links import CutKind, Link, cut
from chaos.modes import Conflicts
from dynamo.config import NodeConfig
from dynamo.core.ids import NodeId

CLIENTS = ("c1", "c2")
LINKS = frozenset(Link(a, b) for a in (*NODES, *CLIENTS) for b in NODES if a != b)

seeds = st.integers(0, 10**6)
durations_s = st.floats(10, 300)


def rounds_of(seeds_: range, duration_s: float = 60.0) -> list[Round]:
    return [drawn for seed in seeds_ for drawn in draw(seed, duration_s, CLIENTS)]


def hits_of(rounds: list[Round]) -> list[Hit]:
    return [hit for drawn in rounds for hit in drawn.hits]


def hit_nodes(hit: Hit) -> tuple[str, ...]:
    """The nodes whose process a fault is about."""
    match hit.blow:
        case Killed():
            return hit.blow.nodes
        case Paused() | ClockOff():
            return (hit.blow.node,)
    return ()


@given(seeds, durations_s)
def test_the_same_seed_draws_the_same(seed: int, duration_s: float) -> None:
    assert draw(seed, duration_s, CLIENTS) == draw(seed, duration_s, CLIENTS)


def test_other_seeds_draw_other_things() -> None:
    assert len({repr(draw(seed, 40, CLIENTS)) for seed in range(50)}) == 50


@given(seeds, durations_s)
def test_all_faults_are_over_when_the_round_is(seed: int, duration_s: float) -> None:
    for drawn in draw(seed, duration_s, CLIENTS):
        for hit in drawn.hits:
            assert hit.at_s >= 0
            assert hit.lasts_s > 0
            assert hit.until_s <= drawn.lasts_s + 1e-6


@given(seeds, durations_s)
def test_no_more_than_two_nodes_are_down_at_once(seed: int, duration_s: float) -> None:
    for drawn in draw(seed, duration_s, CLIENTS):
        downs = [hit for hit in drawn.hits if hit_nodes(hit)]
        assert all(len(set(hit_nodes(hit))) == len(hit_nodes(hit)) <= 2 for hit in downs)
        assert all(before.until_s < after.at_s for before, after in pairwise(downs))


@given(seeds, durations_s)
def test_no_round_can_lose_all_copies_of_a_write(seed: int, duration_s: float) -> None:
    for drawn in draw(seed, duration_s, CLIENTS):
        wipes = [h.blow for h in drawn.hits if isinstance(h.blow, Killed) and h.blow.wiped]
        assert len(wipes) <= 1
        if wipes:
            assert wipes[0].nodes[1:] == ()
            assert all(mode.w >= 2 for mode in drawn.modes)
            assert not drawn.clocks  # whose witnesses are written with W = 1


@given(seeds)
def test_every_cut_and_disturbance_can_be_made(seed: int) -> None:
    for drawn in draw(seed, 120, CLIENTS):
        for hit in drawn.hits:
            if isinstance(hit.blow, Cut):
                assert cut(hit.blow.ways, hit.blow.kind, LINKS).links
            elif isinstance(hit.blow, Disturbed):
                assert hit.blow.links
                assert hit.blow.links <= LINKS
                assert hit.blow.toxics


@given(seeds)
def test_every_round_keeps_siblings_somewhere_and_asks_each_thing_once(seed: int) -> None:
    for drawn in draw(seed, 60, CLIENTS):
        assert any(mode.conflicts is Conflicts.SIBLINGS for mode in drawn.modes)
        whats = [(flow.workload, flow.mode) for flow in drawn.flows]
        assert len(set(whats)) == len(whats)
        assert all(flow.rate_hz > 0 for flow in drawn.flows)
        assert sum(flow.rate_hz for flow in drawn.flows) < 150


@given(seeds)
def test_settings_are_some_that_nodes_take(seed: int) -> None:
    for drawn in draw(seed, 60, CLIENTS):
        NodeConfig(node_id=NodeId("n1"), data_dir="data", **drawn.node)  # type: ignore[arg-type]


def test_in_time_everything_is_drawn() -> None:
    rounds = rounds_of(range(100))
    hits = hits_of(rounds)
    blows = Counter(type(hit.blow) for hit in hits)
    assert set(blows) == {Cut, Disturbed, Killed, Paused, ClockOff}
    assert {hit.blow.kind for hit in hits if isinstance(hit.blow, Cut)} == set(CutKind)
    disturbances = {hit.blow.kind for hit in hits if isinstance(hit.blow, Disturbed)}
    assert disturbances == {"latency", "bandwidth", "torn", "reset"}
    assert any(isinstance(hit.blow, Killed) and hit.blow.wiped for hit in hits)
    assert any(isinstance(hit.blow, Killed) and len(hit.blow.nodes) == 2 for hit in hits)
    assert {flow.workload for drawn in rounds for flow in drawn.flows} == set(WORKLOADS)


@given(seeds, st.sampled_from(CutKind))
def test_links_are_cut_in_the_ways_that_are_asked_for(seed: int, way: CutKind) -> None:
    hits = hits_of([*draw(seed, 60, CLIENTS, [way])])
    assert {hit.blow.kind for hit in hits if isinstance(hit.blow, Cut)} == {way}


def test_a_round_leaves_most_out() -> None:
    """Swarms: what is always there hides what only happens without it."""
    rounds = rounds_of(range(100))
    without_cuts_of_nodes = [r for r in rounds if not any(map(hit_nodes, r.hits))]
    undisturbed = [r for r in rounds if not any(isinstance(h.blow, Disturbed) for h in r.hits)]
    assert 5 < len(without_cuts_of_nodes) < 50
    assert 5 < len(undisturbed) < 50


def test_a_long_soak_has_a_fresh_cluster_every_minute() -> None:
    rounds = draw(3, 600, CLIENTS)
    assert len(rounds) == 600 / ROUND_S
    assert sum(drawn.lasts_s for drawn in rounds) == 600
    assert len({repr(drawn.hits) for drawn in rounds}) == len(rounds)
