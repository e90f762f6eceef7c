"""What the choice of tokens promises: level loads, little movement, one answer for everyone.

The search has no dice, and equal nodes are served alike whatever their names are, so the history of
a cluster of equal nodes is always the same one: it is grown once, and looked at from all sides.
"""

from functools import cache
from math import ceil

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dynamo.core.ids import NodeId
from dynamo.core.ring import Ring, RingMember
from dynamo.core.token_search import Situation, fair_shares, search
from dynamo.core.tokens import Joiner, choose_tokens
from dynamo.errors import ConfigError

Q = 256
NODES_MAX = 30

Members = tuple[RingMember, ...]


def join(members: Members, *joiners: Joiner, partitions: int = Q, n: int = 3) -> Members:
    tokens = choose_tokens(members, joiners, partitions, n)
    assert list(tokens) == sorted(joiner.node_id for joiner in joiners)
    return members + tuple(
        RingMember(
            node_id=joiner.node_id,
            tokens=tokens[joiner.node_id],
            weight=joiner.weight,
            zone=joiner.zone,
        )
        for joiner in joiners
    )


def joiner(number: int, *, weight: int = 1, zone: str = "") -> Joiner:
    return Joiner(node_id=NodeId(f"n{number:02}"), weight=weight, zone=zone)


@cache
def grown(size: int) -> Members:
    """Equal nodes, joined one by one."""
    return join(grown(size - 1), joiner(size)) if size else ()


def excess(members: Members, n: int, partitions: int = Q) -> float:
    """The highest load over the mean."""
    loads = Ring(members, partitions).loads(n)
    return max(loads.values()) * len(loads) / sum(loads.values())


def without(members: Members, gone: RingMember) -> Members:
    return tuple(member for member in members if member != gone)


# -- level -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("size", range(2, NODES_MAX + 1))
def test_no_node_has_a_tenth_more_than_the_mean(size: int, n: int) -> None:
    assert excess(grown(size), n) <= 1.10


@pytest.mark.parametrize("size", range(2, NODES_MAX + 1))
def test_a_newcomer_takes_hardly_more_than_its_share_and_only_for_itself(size: int) -> None:
    before, after = Ring(grown(size - 1), Q).owners(), Ring(grown(size), Q).owners()
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {grown(size)[-1].node_id}
    assert len(moved) <= 1.15 * Q / size


@pytest.mark.parametrize("size", [4, 5, 12, NODES_MAX])
def test_a_newcomer_replaces_one_primary_of_a_partition_at_most(size: int) -> None:
    before, after = Ring(grown(size - 1), Q), Ring(grown(size), Q)
    for partition in range(Q):
        old = set(before.preference_list(partition, 3).primaries)
        new = set(after.preference_list(partition, 3).primaries)
        assert new - old <= {grown(size)[-1].node_id}
        assert len(old - new) <= 1


@given(st.permutations(range(1, 8)))
@settings(max_examples=5, deadline=None)
def test_equal_nodes_get_level_in_whatever_order_they_come(order: list[int]) -> None:
    members: Members = ()
    for number in order:
        members = join(members, joiner(number))
        assert excess(members, 1) <= 1.10
        assert excess(members, 3) <= 1.10
    assert [member.tokens for member in members] == [member.tokens for member in grown(7)]


@given(st.permutations(range(1, 6)), st.integers(0, 5))
@settings(max_examples=5, deadline=None)
def test_nodes_that_start_together_choose_as_if_they_came_by_id(
    order: list[int], there: int
) -> None:
    joiners = [joiner(number) for number in order if number > there]
    members = join(grown(there), *joiners)
    assert set(members) == set(grown(5))


@pytest.mark.parametrize("partitions", [64, 128, 1024])
def test_rings_of_other_sizes_get_level_too(partitions: int) -> None:
    members: Members = ()
    for number in range(7):
        members = join(members, joiner(number), partitions=partitions)
        assert excess(members, 1, partitions) <= 1.10
        assert excess(members, 3, partitions) <= 1.10


@pytest.mark.parametrize("n", [2, 4])
def test_the_load_of_other_numbers_of_replicas_can_be_made_level(n: int) -> None:
    members: Members = ()
    for number in range(7):
        members = join(members, joiner(number), n=n)
        assert excess(members, n) <= 1.15


# -- losses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [5, 8, 12, 20, NODES_MAX])
def test_the_load_of_a_lost_node_spreads_over_several_others(size: int) -> None:
    members = grown(size)
    before = Ring(members, Q).loads(3)
    for gone in members:
        after = Ring(without(members, gone), Q).loads(3)
        heirs = {node: load - before[node] for node, load in after.items() if load > before[node]}
        assert len(heirs) >= min(5, size - 1)
        assert max(heirs.values()) <= 0.6 * before[gone.node_id]
        assert excess(without(members, gone), 3) <= 1.35


@pytest.mark.parametrize("size", [5, 12])
def test_a_loss_only_moves_what_the_lost_node_held(size: int) -> None:
    gone = grown(size)[2]
    before, after = Ring(grown(size), Q), Ring(without(grown(size), gone), Q)
    for partition in range(Q):
        old = before.preference_list(partition, 3).primaries
        new = after.preference_list(partition, 3).primaries
        assert new[: 3 - (gone.node_id in old)] == tuple(
            node for node in old if node != gone.node_id
        )


@pytest.mark.parametrize("size", [6, 9])
def test_a_newcomer_after_a_loss_makes_the_ring_level_again(size: int) -> None:
    for gone in grown(size):
        members = join(without(grown(size), gone), joiner(99))
        assert excess(members, 1) <= 1.15
        assert excess(members, 3) <= 1.15


# -- weights and zones -------------------------------------------------------------------------


@given(st.lists(st.integers(1, 4), min_size=4, max_size=7))
@settings(max_examples=8, deadline=None)
def test_load_follows_weight(weights: list[int]) -> None:
    members = join((), *(joiner(i, weight=weight) for i, weight in enumerate(weights)))
    ring = Ring(members, Q)
    for share, owned in zip(fair_shares(weights, Q, 1), ring.loads(1).values(), strict=True):
        assert 0.4 * share <= owned <= 1.4 * share
    for share, held in zip(fair_shares(weights, Q, 3), ring.loads(3).values(), strict=True):
        assert 0.4 * share <= held <= 2.5 * share


def test_a_node_of_twice_the_weight_takes_twice_the_load_and_tokens() -> None:
    members = join((), *(joiner(i, weight=1 + (i == 3)) for i in range(6)))
    tokens = [len(member.tokens) for member in members]
    assert tokens[3] >= 1.5 * max(tokens[:3] + tokens[4:])
    loads = Ring(members, Q).loads(1)
    assert loads[NodeId("n03")] == pytest.approx(2 * Q / 7, rel=0.1)


@pytest.mark.parametrize("zones", [3, 4])
def test_equal_zones_hold_every_partition_once_and_level(zones: int) -> None:
    members: Members = ()
    for number in range(3 * zones):
        members = join(members, joiner(number, zone=f"zone {number % zones}"))
    zone_of = {member.node_id: member.zone for member in members}
    ring = Ring(members, Q)
    for partition in range(Q):
        assert len({zone_of[node] for node in ring.preference_list(partition, 3).primaries}) == 3
    assert excess(members, 1) <= 1.10
    assert excess(members, 3) <= 1.15


def test_unequal_zones_are_level_within_each() -> None:
    zones = ["x", "y", "y", "z", "z", "z"]
    members = join((), *(joiner(i, zone=zone) for i, zone in enumerate(zones)))
    held = [*Ring(members, Q).loads(3).values()]
    assert held[0] == Q, "the only node of a zone holds everything, and nobody can help it"
    assert max(held[1:3]) <= 1.15 * Q / 2
    assert max(held[3:]) <= 1.15 * Q / 3
    assert excess(members, 1) <= 1.10


# -- always ------------------------------------------------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> tuple[Members, list[Joiner], int]:
    """A cluster with tokens set by hand, and some who want to join it."""
    partitions = draw(st.sampled_from([16, 32, 64]))
    numbers = draw(st.lists(st.integers(0, 20), unique=True, min_size=5, max_size=8))
    zones, weights = st.sampled_from(["", "x"]), st.integers(1, 5)
    everyone = [joiner(i, weight=draw(weights), zone=draw(zones)) for i in numbers]
    there = len(everyone) - draw(st.integers(1, 2))
    tokens = st.lists(st.integers(0, partitions - 1), unique=True, min_size=1, max_size=3).map(
        tuple
    )
    members = tuple(
        RingMember(node_id=node.node_id, tokens=draw(tokens), weight=node.weight, zone=node.zone)
        for node in everyone[:there]
    )
    return members, everyone[there:], partitions


@given(histories(), st.integers(1, 4), st.data())
@settings(max_examples=30, deadline=None)
def test_everyone_works_out_the_same_free_tokens(
    history: tuple[Members, list[Joiner], int], n: int, data: st.DataObject
) -> None:
    members, joiners, partitions = history
    taken = {token for member in members for token in member.tokens}
    assume(len(taken) < partitions // 2)
    chosen = choose_tokens(members, joiners, partitions, n)
    again = choose_tokens(
        iter(data.draw(st.permutations(members))),
        iter(data.draw(st.permutations(joiners))),
        partitions,
        n,
    )
    assert chosen == again
    assert set(chosen) == {joiner.node_id for joiner in joiners}
    for tokens in chosen.values():
        assert tokens
        assert sorted(tokens) == list(tokens)
        assert all(0 <= token < partitions for token in tokens)
        assert taken.isdisjoint(tokens)
        assert len(set(tokens)) == len(tokens)
        taken.update(tokens)


@given(histories(), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_a_search_judges_the_ring_that_will_be(
    history: tuple[Members, list[Joiner], int], n: int
) -> None:
    members, (newcomer, *_), partitions = history
    there = [member for member in members if member.node_id in Ring(members, partitions).nodes]
    assume(there)
    order = [member.node_id for member in there]
    owners = Ring(there, partitions).owners()
    held = {token for member in there for token in member.tokens}
    outcome = search(
        Situation(
            partitions=partitions,
            n=n,
            weights=[*(member.weight for member in there), newcomer.weight],
            zones=[*(member.zone for member in there), newcomer.zone],
            owners={token: order.index(owners[token]) for token in held},
        ),
        3,
    )
    last = RingMember(
        node_id=newcomer.node_id,
        tokens=outcome.tokens,
        weight=newcomer.weight,
        zone=newcomer.zone,
    )
    ring = Ring([*there, last], partitions)
    weights = [member.weight for member in (*there, last)]
    overload = unevenness = 0.0
    for copies in (1, min(n, len(weights))):
        shares = fair_shares(weights, partitions, copies)
        loads = ring.loads(copies)
        for node, share, weight in zip([*order, last.node_id], shares, weights, strict=True):
            overload += max(0, loads[node] / max(1.05 * share, ceil(share)) - 1)
            relative_weight = weight * len(weights) / sum(weights)
            unevenness += ((loads[node] - share) / copies) ** 2 / relative_weight
    assert outcome.unevenness == pytest.approx(unevenness)
    assert outcome.overload == pytest.approx(overload)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.integers(1, 8))
def test_fair_shares_follow_weight_and_nobody_holds_a_partition_twice(
    weights: list[int], copies: int
) -> None:
    copies = min(copies, len(weights))
    shares = fair_shares(weights, Q, copies)
    assert sum(shares) == pytest.approx(Q * copies)
    assert all(share <= Q * 1.000001 for share in shares)
    scales = [share / weight for share, weight in zip(shares, weights, strict=True)]
    assert all(
        scale == pytest.approx(max(scales)) or share == Q
        for scale, share in zip(scales, shares, strict=True)
    )


# -- too many nodes ----------------------------------------------------------------------------


def test_eight_nodes_fit_a_ring_of_eight_partitions_and_a_ninth_is_refused() -> None:
    members = join((), *(joiner(i) for i in range(8)), partitions=8)
    assert set(Ring(members, 8).loads(1).values()) == {1}
    with pytest.raises(ConfigError, match="no room for n08: all 8 partitions are tokens of 8"):
        join(members, joiner(8), partitions=8)


def test_a_nearly_full_ring_gives_newcomers_less_and_goes_on() -> None:
    members = grown(NODES_MAX)
    for number in range(3):
        members = join(members, joiner(50 + number))
        assert 0 < len(members[-1].tokens) <= 7
    assert excess(members, 1) <= 1.25


def test_nobody_joins_nobody() -> None:
    assert choose_tokens((), (), Q) == {}


def test_a_member_that_lost_all_its_tokens_does_not_count() -> None:
    ghost = RingMember(node_id=NodeId("zz"), tokens=grown(3)[0].tokens[:1], weight=9)
    assert choose_tokens([*grown(3), ghost], [joiner(4)], Q) == {NodeId("n04"): grown(4)[-1].tokens}


def test_a_number_of_partitions_that_is_no_power_of_two_is_refused() -> None:
    with pytest.raises(ConfigError):
        choose_tokens((), (joiner(1),), 100)
