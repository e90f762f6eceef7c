"""What partitions, cuts and toxics do to links, and in which steps a link gets there."""

import random
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.errors import SettingError
from chaos.links import (
    AddToxic,
    ChangeToxic,
    CutKind,
    Effect,
    Enable,
    Link,
    LinkState,
    RemoveToxic,
    Step,
    Stream,
    Toxic,
    Way,
    after,
    bandwidth,
    between,
    bridge,
    cut,
    disturb,
    isolate,
    latency,
    limit_data,
    majorities_ring,
    one_way,
    opened,
    preferred,
    replies_only,
    requests_only,
    reset_peer,
    slicer,
    split,
    state,
    steps,
    timeout,
    unanswered,
)

UP, DOWN = Stream.UPSTREAM, Stream.DOWNSTREAM

NODES = ["n1", "n2", "n3", "n4", "n5"]
LINKS = frozenset(Link(a, b) for a in NODES for b in NODES if a != b)
CLIENT_LINKS = LINKS | {Link("c1", node) for node in NODES}


def pairs(ways: frozenset[Way]) -> set[tuple[str, str]]:
    return {(way.source, way.target) for way in ways}


def test_a_link_prints_who_dials_whom() -> None:
    assert str(Link("n1", "n2")) == "n1>n2"
    assert str(Way("n1", "n2")) == "n1->n2"
    assert str(next(iter(replies_only([Way("n1", "n2")])))) == "n1->n2 (replies)"


def test_the_bytes_of_a_way_are_requests_of_one_link_and_replies_of_the_other() -> None:
    assert Way("n1", "n2").streams == ((Link("n1", "n2"), UP), (Link("n2", "n1"), DOWN))


def test_a_split_cuts_every_way_between_its_sides_and_none_within() -> None:
    ways = pairs(split((["n1", "n2"], ["n3", "n4", "n5"])))
    assert ways == {
        (a, b) for a in NODES for b in NODES if (a in {"n1", "n2"}) != (b in {"n1", "n2"})
    }


def test_an_isolated_node_sees_nobody_and_all_others_see_each_other() -> None:
    assert pairs(isolate("n2", NODES)) == {(a, b) for a, b in pairs(ALL) if "n2" in (a, b)}


ALL = split([[node] for node in NODES])


@pytest.mark.parametrize("count", range(4, 12))
def test_in_a_ring_of_majorities_each_node_sees_a_majority_of_its_own(count: int) -> None:
    nodes = [f"n{i}" for i in range(count)]
    cut_off = pairs(majorities_ring(nodes))
    views = [frozenset(b for b in nodes if (a, b) not in cut_off) for a in nodes]
    assert all(len(view) > count / 2 for view in views)
    assert all(len(view) < count for view in views)
    assert len(set(views)) == count
    assert cut_off == {(b, a) for a, b in cut_off}


def test_a_ring_of_majorities_of_three_is_refused() -> None:
    with pytest.raises(SettingError, match="4 nodes"):
        majorities_ring(["n1", "n2", "n3"])


def test_a_bridge_sees_both_sides() -> None:
    ways = bridge(["n1", "n2"], "n3", ["n4", "n5"])
    assert ways == split((["n1", "n2"], ["n4", "n5"]))
    assert not any("n3" in way for way in ways)
    with pytest.raises(SettingError, match="n1"):
        bridge(["n1"], "n1", ["n2"])


def test_one_way_leaves_the_way_back() -> None:
    assert pairs(one_way(["n1"], NODES)) == {("n1", other) for other in NODES[1:]}


def test_dropping_a_way_touches_both_links_in_one_direction_each() -> None:
    effect = cut([Way("n1", "n2")], CutKind.DROP, LINKS)
    assert effect.toxics == {
        Link("n1", "n2"): {"drop_upstream": timeout(UP, 0)},
        Link("n2", "n1"): {"drop_downstream": timeout(DOWN, 0)},
    }


def test_requests_alone_and_replies_alone_touch_one_link() -> None:
    ways = one_way(["n1"], ["n2"])
    requests = cut(requests_only(ways), CutKind.STALL, LINKS)
    replies = cut(replies_only(ways), CutKind.STALL, LINKS)
    assert set(requests.toxics) == {Link("n1", "n2")}
    assert set(replies.toxics) == {Link("n2", "n1")}
    assert all(t.is_stall for toxics in requests.toxics.values() for t in toxics.values())


def test_a_full_cut_touches_both_streams_of_both_links() -> None:
    effect = cut(between("n1", "n2"), CutKind.DROP, LINKS)
    assert effect.links == {Link("n1", "n2"), Link("n2", "n1")}
    assert all(len(toxics) == 2 for toxics in effect.toxics.values())


def test_refusing_closes_the_links_that_the_sources_dial() -> None:
    assert cut(between("n1", "n2"), CutKind.REFUSE, LINKS) == Effect(
        refused=frozenset({Link("n1", "n2"), Link("n2", "n1")})
    )
    assert cut(one_way(["n1"], ["n2"]), CutKind.REFUSE, LINKS).refused == {Link("n1", "n2")}


def test_who_asks_needs_the_way_there_for_the_request_and_the_way_back_for_the_reply() -> None:
    ways = one_way(["n1"], ["n2"])
    for kind in (CutKind.DROP, CutKind.STALL):
        assert unanswered(ways, kind) == {("n1", "n2"), ("n2", "n1")}
        assert unanswered(requests_only(ways), kind) == {("n1", "n2")}
        assert unanswered(replies_only(ways), kind) == {("n2", "n1")}


def test_who_is_not_refused_is_answered() -> None:
    assert unanswered(one_way(["n1"], ["n2"]), CutKind.REFUSE) == {("n1", "n2")}
    assert unanswered(between("n1", "n2"), CutKind.REFUSE) == {("n1", "n2"), ("n2", "n1")}


def test_replies_alone_cannot_be_refused() -> None:
    with pytest.raises(SettingError, match="replies alone"):
        cut(replies_only(one_way(["n1"], ["n2"])), CutKind.REFUSE, LINKS)


@pytest.mark.parametrize("kind", CutKind)
def test_a_client_is_cut_off_by_its_one_link(kind: CutKind) -> None:
    effect = cut(between("c1", "n2"), kind, CLIENT_LINKS)
    assert effect.links == {Link("c1", "n2")}


def test_a_way_to_a_client_is_the_replies_of_its_link() -> None:
    effect = cut([Way("n2", "c1")], CutKind.DROP, CLIENT_LINKS)
    assert effect.toxics == {Link("c1", "n2"): {"drop_downstream": timeout(DOWN, 0)}}


@pytest.mark.parametrize("kind", CutKind)
def test_a_way_without_a_link_cannot_be_cut(kind: CutKind) -> None:
    with pytest.raises(SettingError, match="no link"):
        cut([Way("c1", "c2")], kind, CLIENT_LINKS)


def test_toxics_have_all_their_attributes_as_the_server_names_them() -> None:
    assert [dict(toxic.attributes) for toxic in (
        latency(UP, 5, 2), bandwidth(UP, 50), slicer(UP, 10, 3, 7), limit_data(UP, 6),
        reset_peer(UP), timeout(UP, 300),
    )] == [
        {"latency": 5, "jitter": 2}, {"rate": 50},
        {"average_size": 10, "size_variation": 3, "delay": 7}, {"bytes": 6},
        {"timeout": 0}, {"timeout": 300},
    ]  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [
        lambda: latency(UP, 5, 6),
        lambda: latency(UP, -1, -1),
        lambda: bandwidth(UP, 0),
        lambda: slicer(UP, 0),
        lambda: slicer(UP, 5, 5),
        lambda: limit_data(UP, -1),
    ],
)
def test_toxics_that_make_no_sense_are_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(SettingError):
        make()


def test_healing_one_of_two_overlapping_cuts_keeps_the_other() -> None:
    first = cut(between("n1", "n2"), CutKind.DROP, LINKS)
    second = cut(isolate("n1", NODES), CutKind.DROP, LINKS)
    link = Link("n1", "n2")
    assert state(link, [first, second]) == state(link, [second]) != LinkState()
    assert state(link, []) == LinkState()


def test_a_latency_stands_beside_a_cut() -> None:
    slow = disturb("wan", LINKS, [latency(UP, 5)])
    cut_off = cut(between("n1", "n2"), CutKind.STALL, LINKS)
    toxics = state(Link("n1", "n2"), [slow, cut_off]).toxics
    assert set(toxics) == {"wan.latency_upstream", "stall_upstream", "stall_downstream"}


# Steps

STALL = next(iter(cut(requests_only([Way("n1", "n2")]), CutKind.STALL, LINKS).toxics.values()))[
    "stall_upstream"
]
DROP = timeout(UP, 0)
SLOW = latency(UP, 5)


def with_toxics(**toxics: Toxic) -> LinkState:
    return LinkState(toxics=toxics)


def test_nothing_is_done_where_nothing_changes() -> None:
    same = with_toxics(wan=SLOW)
    assert steps(same, same) == ()


def test_a_link_is_closed_first_and_opened_last() -> None:
    refused = LinkState(enabled=False)
    assert steps(with_toxics(wan=SLOW), refused) == (Enable(False), RemoveToxic("wan"))
    assert steps(refused, with_toxics(wan=SLOW)) == (AddToxic("wan", SLOW), Enable(True))


def test_a_toxic_with_other_attributes_is_changed_in_place() -> None:
    assert steps(with_toxics(wan=SLOW), with_toxics(wan=latency(UP, 9))) == (
        ChangeToxic("wan", latency(UP, 9)),
    )


def test_a_toxic_of_another_kind_takes_its_place() -> None:
    assert steps(with_toxics(wan=SLOW), with_toxics(wan=latency(DOWN, 5))) == (
        RemoveToxic("wan"),
        AddToxic("wan", latency(DOWN, 5)),
    )


def test_a_stall_is_the_last_of_its_chain() -> None:
    assert steps(LinkState(), with_toxics(stall=STALL, wan=SLOW)) == (
        AddToxic("wan", SLOW),
        AddToxic("stall", STALL),
    )


def test_while_a_stall_lasts_nothing_else_on_its_stream_is_touched() -> None:
    stalled = with_toxics(wan=SLOW, stall=STALL)
    wanted = with_toxics(stall=STALL, other=latency(UP, 9), back=latency(DOWN, 9))
    assert steps(stalled, wanted) == (AddToxic("back", latency(DOWN, 9)),)


def test_a_stall_is_opened_before_it_is_removed() -> None:
    stalled = with_toxics(wan=SLOW, stall=STALL)
    first = steps(stalled, LinkState())
    assert first == (ChangeToxic("stall", opened(STALL)),)
    assert opened(STALL).attributes == {"latency": 0, "jitter": 0}
    assert set(steps(after(stalled, first), LinkState())) == {
        RemoveToxic("wan"),
        RemoveToxic("stall"),
    }


def test_what_waited_is_dropped_where_a_drop_outlasts_the_stall() -> None:
    stalled = with_toxics(stall=STALL)
    first = steps(stalled, with_toxics(drop=DROP))
    assert first == (AddToxic("drop", DROP), ChangeToxic("stall", opened(STALL)))


def test_replies_are_opened_before_requests_and_requests_are_cut_before_replies() -> None:
    both = state(Link("n1", "n2"), [cut(between("n1", "n2"), CutKind.STALL, LINKS)])
    cutting, healing = steps(LinkState(), both), steps(both, LinkState())
    assert [step.toxic.stream for step in cutting if isinstance(step, AddToxic)] == [UP, DOWN]
    assert [step.toxic.stream for step in healing if isinstance(step, ChangeToxic)] == [DOWN, UP]


EFFECTS = st.lists(
    st.one_of(
        st.builds(
            lambda kind, ways: cut(ways, kind, LINKS),
            st.sampled_from(CutKind),
            st.sampled_from([between("n1", "n2"), requests_only([Way("n1", "n2")]), ALL]),
        ),
        st.builds(
            lambda name, ms, stream: disturb(name, LINKS, [latency(stream, ms)]),
            st.sampled_from(["a", "b"]),
            st.integers(0, 3),
            st.sampled_from(Stream),
        ),
    ),
    max_size=4,
)


def chain_after(chain: list[str], step: Step, actual: LinkState) -> list[str]:
    """The order of the server's chain of requests; and what must never be asked of it."""
    toxics = actual.toxics
    stalled = [name for name in chain if toxics[name].is_stall]
    match step:
        case AddToxic(name, toxic) if toxic.stream is UP:
            assert not stalled or toxic == DROP, "a stall would let something slip through"
            return [*chain, name]
        case ChangeToxic(name) | RemoveToxic(name) if name in chain:
            behind = chain[chain.index(name) + 1 :]
            assert not any(toxics[other].is_stall for other in behind), "the server would block"
            if isinstance(step, RemoveToxic):
                assert not toxics[name].is_stall, "the link would be dead for seconds"
                return [other for other in chain if other != name]
    return chain


@given(st.lists(EFFECTS, min_size=1, max_size=6))
def test_every_change_gets_there_and_asks_nothing_that_the_server_cannot_take(
    history: list[list[Effect]],
) -> None:
    link, actual = Link("n1", "n2"), LinkState()
    chain: list[str] = []
    for effects in [*history, []]:
        wanted = state(link, effects)
        for _ in range(4):
            for step in steps(actual, wanted):
                chain = chain_after(chain, step, actual)
                actual = after(actual, [step])
        assert steps(actual, wanted) == ()
        assert actual.enabled == wanted.enabled
        for stream in Stream:
            lasting = {n: t for n, t in wanted.toxics.items() if t.stream is stream}
            there = {n: t for n, t in actual.toxics.items() if t.stream is stream}
            if any(toxic.is_stall for toxic in lasting.values()):
                assert any(toxic.is_stall for toxic in there.values())
            else:
                assert there == lasting
    assert actual == LinkState()


def test_partitions_of_drawn_sides_never_cut_within_a_side() -> None:
    dice = random.Random(5)
    for _ in range(50):
        sides: list[list[str]] = [[], [], []]
        for node in NODES:
            dice.choice(sides).append(node)
        ways = pairs(split(sides))
        for side in sides:
            assert not any((a, b) in ways for a, b in combinations(side, 2))


def test_dropped_bytes_are_preferred_where_they_are_asked_for() -> None:
    assert preferred(("refuse", "drop", "stall")) == "drop"
    assert preferred(("stall", "refuse")) == "stall"
