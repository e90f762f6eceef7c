"""Dynamo §4.2, §4.3 and §6.2, partitioning: what the sections say, one test for each statement.

Where this store departs from strategy 3 of §6.2, tokens that stay instead of tokens dealt anew, the
test says what holds in its place.
"""

from collections import Counter
from functools import cache

import pytest

from dynamo.core.ids import NodeId
from dynamo.core.ring import Ring, RingMember
from dynamo.core.tokens import Joiner, choose_tokens

A, B, C, D, E, F, G = (NodeId(name) for name in "ABCDEFG")

# Figure 2: seven nodes in a circle; here each has the last of four partitions for its token.
FIGURE_2 = Ring(
    [RingMember(node_id=node, tokens=(4 * i + 3,)) for i, node in enumerate((A, B, C, D, E, F, G))],
    32,
)
K = 6
"""The partition of the key k of Figure 2: it lies between A and B."""

Q = 256


@cache
def cluster(size: int) -> tuple[RingMember, ...]:
    """Equal nodes that started together."""
    joiners = [Joiner(node_id=NodeId(f"s{i:02}")) for i in range(size)]
    chosen = choose_tokens((), joiners, Q)
    return tuple(RingMember(node_id=node, tokens=tokens) for node, tokens in chosen.items())


# -- 4.2, partitioning -------------------------------------------------------------------------


def test_a_node_is_responsible_for_the_region_between_it_and_its_predecessor() -> None:
    owners = FIGURE_2.owners()
    assert {partition for partition in range(32) if owners[partition] == B} == {4, 5, 6, 7}


def test_a_departure_only_affects_the_immediate_neighbour() -> None:
    left = Ring(
        [
            RingMember(node_id=node, tokens=(4 * i + 3,))
            for i, node in enumerate((A, B, C, D, E, F, G))
            if node != B
        ],
        32,
    )
    for partition, (before, after) in enumerate(zip(FIGURE_2.owners(), left.owners(), strict=True)):
        assert after == (C if before == B else before), partition


def test_a_node_gets_several_points_on_the_ring() -> None:
    assert all(len(member.tokens) >= 7 for member in cluster(8))


def test_the_load_of_a_node_that_is_gone_is_dispersed_over_those_that_remain() -> None:
    members = cluster(8)
    before = Ring(members, Q).loads(3)
    for gone in members:
        after = Ring([member for member in members if member != gone], Q).loads(3)
        grew = [node for node, load in after.items() if load > before[node]]
        assert len(grew) >= 5


def test_a_new_node_accepts_load_from_all_others() -> None:
    members = cluster(8)
    before = Ring(members, Q).loads(3)
    (tokens,) = choose_tokens(members, [Joiner(node_id=NodeId("t"))], Q).values()
    after = Ring([*members, RingMember(node_id=NodeId("t"), tokens=tokens)], Q).loads(3)
    given = [before[node] - after[node] for node in before]
    assert sum(given) == after[NodeId("t")]
    assert all(0 < load < 3 * sum(given) / len(given) for load in given)


def test_a_node_of_more_capacity_gets_more_points_and_more_load() -> None:
    strong, weak = NodeId("strong"), NodeId("weak")
    joiners = [Joiner(node_id=NodeId(f"s{i}"), weight=2) for i in range(4)]
    joiners += [Joiner(node_id=strong, weight=4), Joiner(node_id=weak, weight=1)]
    chosen = choose_tokens((), joiners, Q)
    assert len(chosen[strong]) > 2 * len(chosen[weak])
    members = [
        RingMember(node_id=joiner.node_id, tokens=chosen[joiner.node_id]) for joiner in joiners
    ]
    loads = Ring(members, Q).loads(1)
    assert loads[strong] == pytest.approx(4 * loads[weak], rel=0.25)


# -- 4.3, replication --------------------------------------------------------------------------


def test_a_key_is_stored_at_the_owner_and_its_n_minus_1_clockwise_successors() -> None:
    assert FIGURE_2.preference_list(K, 3).primaries == (B, C, D)


def test_a_node_stores_the_region_between_it_and_its_nth_predecessor() -> None:
    stored = {p for p in range(32) if D in FIGURE_2.preference_list(p, 3).primaries}
    assert stored == set(range(4, 16)), "(A, B], (B, C] and (C, D]"


def test_the_list_skips_positions_so_that_it_holds_distinct_nodes() -> None:
    members = cluster(5)
    ring = Ring(members, Q)
    for partition in range(Q):
        preference = ring.preference_list(partition, 3)
        assert len(set(preference.primaries)) == 3
        assert len({*preference.primaries, *preference.stand_ins}) == 5


def test_the_list_holds_more_than_n_nodes_to_account_for_failures() -> None:
    assert FIGURE_2.preference_list(K, 3).stand_ins == (E, F, G, A)


def test_every_node_can_tell_the_list_of_every_key() -> None:
    members = cluster(5)
    ring, elsewhere = Ring(members, Q), Ring(reversed(members), Q)
    for i in range(100):
        partition = ring.partition_of(b"key %d" % i)
        assert elsewhere.partition_of(b"key %d" % i) == partition
        assert elsewhere.preference_list(partition, 3) == ring.preference_list(partition, 3)


def test_the_list_is_spread_over_data_centres() -> None:
    chosen = choose_tokens(
        (), [Joiner(node_id=NodeId(f"s{i}"), zone=f"dc{i % 3}") for i in range(7)], Q
    )
    zones = {node: f"dc{i % 3}" for i, node in enumerate(sorted(chosen))}
    ring = Ring(
        [
            RingMember(node_id=node, tokens=tokens, zone=zones[node])
            for node, tokens in chosen.items()
        ],
        Q,
    )
    for partition in range(Q):
        primaries = ring.preference_list(partition, 3).primaries
        assert {zones[node] for node in primaries} == {"dc0", "dc1", "dc2"}


def test_with_b_unreachable_e_receives_what_b_should_have() -> None:
    up = {A, C, D, E, F, G}
    slots = FIGURE_2.slots(K, 3, up)
    assert slots == ((E, B), (C, None), (D, None))


# -- 6.2, strategy 3: Q equal partitions -------------------------------------------------------


def test_the_partition_of_a_key_has_nothing_to_do_with_who_is_there() -> None:
    nobody, few, many = Ring((), Q), Ring(cluster(3), Q), Ring(cluster(12), Q)
    for i in range(100):
        key = b"key %d" % i
        assert nobody.partition_of(key) == few.partition_of(key) == many.partition_of(key)


def test_the_partitions_are_equally_large() -> None:
    ring = Ring((), 64)
    counts = Counter(ring.partition_of(b"key %d" % i) for i in range(64_000))
    assert min(counts.values()) > 850
    assert max(counts.values()) < 1150


@pytest.mark.parametrize("size", [4, 8, 16])
def test_each_node_owns_about_q_over_s_partitions(size: int) -> None:
    for owned in Ring(cluster(size), Q).loads(1).values():
        assert owned == pytest.approx(Q / size, rel=0.15)


@pytest.mark.parametrize("size", [4, 8, 16])
def test_load_balancing_efficiency_is_above_nine_tenths(size: int) -> None:
    """Average over maximum; Figure 8 shows it for N=3 and finds strategy 3 the best."""
    loads = Ring(cluster(size), Q).loads(3)
    assert sum(loads.values()) / len(loads) / max(loads.values()) > 0.9


def test_a_node_that_joins_takes_partitions_and_moves_no_other() -> None:
    members = cluster(8)
    (tokens,) = choose_tokens(members, [Joiner(node_id=NodeId("t"))], Q).values()
    joined = Ring([*members, RingMember(node_id=NodeId("t"), tokens=tokens)], Q)
    for before, after in zip(Ring(members, Q).owners(), joined.owners(), strict=True):
        assert after in (before, "t")
    assert joined.loads(1)[NodeId("t")] == pytest.approx(Q / 9, rel=0.15)


def test_a_node_that_leaves_gives_back_its_partitions_and_moves_no_other() -> None:
    members = cluster(8)
    for gone in members:
        left = Ring([member for member in members if member != gone], Q)
        for before, after in zip(Ring(members, Q).owners(), left.owners(), strict=True):
            assert after == before or before == gone.node_id
