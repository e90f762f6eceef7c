"""The ring against a naive model that steps from partition to partition."""

from collections import Counter

import mmh3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo.core.ids import Key, NodeId, encode_key
from dynamo.core.ring import PARTITIONS_MAX, Ring, RingMember, Slot
from dynamo.errors import ConfigError

A, B, C, D = (NodeId(name) for name in "abcd")

NODES = [NodeId(f"n{i}") for i in range(8)]


def member(node_id: str, *tokens: int, zone: str = "") -> RingMember:
    return RingMember(node_id=NodeId(node_id), tokens=tokens, zone=zone)


@st.composite
def memberships(draw: st.DrawFn, zones: tuple[str, ...] = ("", "x", "y")) -> list[RingMember]:
    nodes = draw(st.lists(st.sampled_from(NODES), unique=True, max_size=8))
    return [
        member(
            node,
            *draw(st.lists(st.integers(0, 31), unique=True, max_size=5)),
            zone=draw(st.sampled_from(zones)),
        )
        for node in nodes
    ]


def owner_of_token(members: list[RingMember], token: int) -> RingMember | None:
    claims = [member for member in members if token in member.tokens]
    return min(claims, key=lambda member: member.node_id, default=None)


def model_order(members: list[RingMember], partition: int, partitions: int) -> list[NodeId]:
    """Step clockwise; then, round after round, take one more node of every zone."""
    walk: list[RingMember] = []
    for step in range(partitions):
        met = owner_of_token(members, (partition + step) % partitions)
        if met is not None and met not in walk:
            walk.append(met)
    order: list[NodeId] = []
    while walk:
        zones_of_round: set[str] = set()
        for node in list(walk):
            if node.zone not in zones_of_round:
                zones_of_round.add(node.zone)
                walk.remove(node)
                order.append(node.node_id)
    return order


# -- keys and partitions -----------------------------------------------------------------------


def test_a_partition_is_the_top_of_the_first_half_of_the_hash() -> None:
    encoded = encode_key(Key(b"default", b"carts", b"alice"))
    first_half = int.from_bytes(mmh3.hash_bytes(encoded)[:8], "little")
    assert Ring((), 256).partition_of(encoded) == first_half >> 56
    assert Ring((), 65536).partition_of(encoded) == first_half >> 48
    assert Ring((), 1).partition_of(encoded) == 0


@pytest.mark.parametrize(("key", "partition"), [(b"", 0), (b"alice", 79), (b"bob", 181)])
def test_where_a_key_belongs_never_changes(key: bytes, partition: int) -> None:
    assert Ring((), 256).partition_of(key) == partition


def test_doubling_the_partitions_halves_each() -> None:
    few, many = Ring((), 128), Ring((), 256)
    for i in range(200):
        key = b"key %d" % i
        assert many.partition_of(key) // 2 == few.partition_of(key)


def test_keys_spread_evenly_over_partitions() -> None:
    ring = Ring((), 16)
    counts = Counter(ring.partition_of(b"key %d" % i) for i in range(16_000))
    assert len(counts) == 16
    assert max(counts.values()) < 1.15 * 1000


@pytest.mark.parametrize("partitions", [0, -8, 3, 100, 2 * PARTITIONS_MAX])
def test_partitions_that_are_no_power_of_two_are_refused(partitions: int) -> None:
    with pytest.raises(ConfigError, match=f"partitions is {partitions}"):
        Ring((), partitions)


# -- preference lists --------------------------------------------------------------------------


@given(memberships(), st.integers(1, 9))
def test_preference_lists_are_the_walk_of_the_model(members: list[RingMember], n: int) -> None:
    ring = Ring(members, 32)
    for partition in range(32):
        order = model_order(members, partition, 32)
        preference = ring.preference_list(partition, n)
        assert [*preference.primaries] == order[:n]
        assert [*preference.stand_ins] == order[n:]


@given(st.data(), memberships())
def test_the_order_of_members_makes_no_difference(
    data: st.DataObject, members: list[RingMember]
) -> None:
    ring, other = Ring(members, 32), Ring(iter(data.draw(st.permutations(members))), 32)
    assert ring == other
    for partition in range(32):
        assert ring.preference_list(partition, 3) == other.preference_list(partition, 3)


@given(memberships(), memberships())
def test_rings_are_equal_only_if_they_place_alike(
    members: list[RingMember], others: list[RingMember]
) -> None:
    one, other = Ring(members, 32), Ring(others, 32)
    assert one != Ring(members, 64)
    assert one != "a ring"
    if one == other:
        assert one.owners() == other.owners()
        assert one.nodes == other.nodes


def test_rings_that_differ_in_zones_or_losers_alone_are_not_equal() -> None:
    assert Ring([member("a", 1)], 8) != Ring([member("a", 1, zone="x")], 8)
    assert Ring([member("a", 1)], 8) != Ring([member("a", 1), member("b", 1)], 8)
    assert Ring([member("a", 1)], 8) == Ring([member("a", 1), member("b", zone="x")], 8)


def test_a_token_owns_its_partition_and_those_before_it() -> None:
    ring = Ring([member("a", 1, 7), member("b", 4)], 8)
    assert ring.owners() == (A, A, B, B, B, A, A, A)


def test_the_walk_goes_on_past_the_last_partition() -> None:
    ring = Ring([member("a", 1), member("b", 4), member("c", 6)], 8)
    assert ring.preference_list(7, 2).primaries == (A, B)
    assert ring.preference_list(5, 3).primaries == (C, A, B)


def test_a_second_token_of_a_node_is_passed_over() -> None:
    ring = Ring([member("a", 1, 2), member("b", 4), member("c", 6)], 8)
    assert ring.preference_list(0, 3).primaries == (A, B, C)


def test_a_zone_waits_until_every_zone_had_its_turn() -> None:
    ring = Ring(
        [
            member("a", 0, zone="x"),
            member("b", 1, zone="x"),
            member("c", 2, zone="x"),
            member("d", 3, zone="y"),
        ],
        4,
    )
    preference = ring.preference_list(0, 2)
    assert preference.primaries == (A, D)
    assert preference.stand_ins == (B, C)


def test_third_replicas_go_to_the_zone_that_is_nearest() -> None:
    members = [
        member("a", 0, zone="x"),
        member("b", 1, zone="x"),
        member("c", 2, zone="y"),
        member("d", 3, zone="y"),
    ]
    assert Ring(members, 4).preference_list(0, 3).primaries == (A, C, B)
    assert Ring(members, 4).preference_list(2, 3).primaries == (C, A, D)


@pytest.mark.parametrize("zone", ["", "x"])
def test_one_zone_for_all_is_no_zone_at_all(zone: str) -> None:
    members = [member(name, i, zone=zone) for i, name in enumerate("abcd")]
    assert Ring(members, 4).preference_list(1, 3).primaries == (B, C, D)


@given(memberships(zones=("", "x", "y", "z")), st.integers(1, 8))
def test_primaries_are_spread_over_zones_as_evenly_as_these_allow(
    members: list[RingMember], n: int
) -> None:
    ring = Ring(members, 32)
    zone_of = {member.node_id: member.zone for member in members if member.node_id in ring.nodes}
    sizes = Counter(zone_of.values())
    for partition in range(32):
        taken = Counter(zone_of[node] for node in ring.preference_list(partition, n).primaries)
        most = max(taken.values(), default=0)
        assert all(taken[zone] >= min(sizes[zone], most - 1) for zone in sizes)


@given(memberships(), st.integers(1, 6))
def test_a_larger_n_only_adds_to_the_primaries(members: list[RingMember], n: int) -> None:
    ring = Ring(members, 32)
    for partition in range(32):
        few, more = ring.preference_list(partition, n), ring.preference_list(partition, n + 1)
        assert more.primaries[:n] == few.primaries
        assert few.primaries + few.stand_ins == more.primaries + more.stand_ins


def test_a_preference_list_is_made_once() -> None:
    ring = Ring([member("a", 3), member("b", 7)], 8)
    assert ring.preference_list(1, 2) is ring.preference_list(1, 2)
    assert ring.preference_list(1, 2) is not ring.preference_list(1, 1)


# -- members come and go -----------------------------------------------------------------------


@given(memberships().filter(bool), st.integers(1, 4))
def test_a_newcomer_takes_over_from_one_primary_of_a_partition_at_most(
    members: list[RingMember], n: int
) -> None:
    *others, newcomer = members
    # A token that somebody has already would be taken from the higher node id.
    taken = {token for other in others for token in other.tokens}
    newcomer = member(newcomer.node_id, *(set(newcomer.tokens) - taken), zone=newcomer.zone)
    before, after = Ring(others, 32), Ring([*others, newcomer], 32)
    for partition in range(32):
        old = before.preference_list(partition, n).primaries
        new = after.preference_list(partition, n).primaries
        assert set(new) - set(old) <= {newcomer.node_id}
        assert len(set(old) - set(new)) <= 1
        if newcomer.node_id not in new:
            assert new == old
        if n == 1 and new != old:
            assert new == (newcomer.node_id,)


@given(memberships(zones=("",)).filter(bool), st.integers(1, 4))
def test_without_zones_a_removal_leaves_all_others_in_order(
    members: list[RingMember], n: int
) -> None:
    taken: set[int] = set()
    apart = []
    for each in members:
        apart.append(member(each.node_id, *(set(each.tokens) - taken)))
        taken |= set(each.tokens)
    gone = apart[0].node_id
    before, after = Ring(apart, 32), Ring(apart[1:], 32)
    for partition in range(32):
        old, new = before.preference_list(partition, n), after.preference_list(partition, n)
        assert [*new.primaries, *new.stand_ins] == [
            node for node in (*old.primaries, *old.stand_ins) if node != gone
        ]


def test_the_lower_node_id_keeps_a_token_that_two_claim() -> None:
    members = [member("b", 2, 5), member("a", 5, 7)]
    ring = Ring(members, 8)
    assert ring.owners() == (B, B, B, A, A, A, A, A)
    assert ring.lost_tokens(B) == (5,)
    assert ring.lost_tokens(A) == ()
    assert ring.lost_tokens(C) == ()


def test_a_node_that_lost_its_only_token_owns_nothing() -> None:
    ring = Ring([member("a", 3), member("b", 3)], 8)
    assert ring.nodes == (A,)
    assert ring.preference_list(0, 2).primaries == (A,)


def test_a_member_without_tokens_owns_nothing() -> None:
    ring = Ring([member("a", 3), member("b")], 8)
    assert ring.nodes == (A,)
    assert ring.loads(3) == {A: 8}


def test_a_ring_of_nobody_places_nothing() -> None:
    ring = Ring((), 8)
    assert ring.preference_list(5, 3).primaries == ()
    assert ring.slots(5, 3, {A}) == ()
    assert ring.owners() == ()
    assert ring.loads(3) == {}


@given(memberships(), st.integers(1, 4))
def test_loads_count_what_the_preference_lists_say(members: list[RingMember], n: int) -> None:
    ring = Ring(members, 32)
    held = Counter(node for p in range(32) for node in model_order(members, p, 32)[:n])
    assert ring.loads(n) == {node: held[node] for node in ring.nodes}
    assert ring.owners() == tuple(
        node for p in range(32) for node in model_order(members, p, 32)[:1]
    )


# -- slots -------------------------------------------------------------------------------------

FOUR = Ring([member(name, i) for i, name in enumerate("abcd")], 4)


@pytest.mark.parametrize(
    ("n", "up", "slots"),
    [
        (2, "abcd", [("a", None), ("b", None)]),
        (2, "bcd", [("c", "a"), ("b", None)]),
        (2, "acd", [("a", None), ("c", "b")]),
        (2, "cd", [("c", "a"), ("d", "b")]),
        (2, "abd", [("a", None), ("b", None)]),
        (2, "bd", [("d", "a"), ("b", None)]),
        (2, "d", [("d", "a")]),
        (2, "b", [("b", None)]),
        (2, "", []),
        (3, "ad", [("a", None), ("d", "b")]),
        (4, "bd", [("b", None), ("d", None)]),
        (9, "abcd", [("a", None), ("b", None), ("c", None), ("d", None)]),
    ],
)
def test_who_stands_in_for_whom(n: int, up: str, slots: list[tuple[str, str | None]]) -> None:
    assert [*FOUR.slots(0, n, {NodeId(name) for name in up})] == slots


def test_slots_with_everyone_up_cost_nothing_to_make() -> None:
    everyone = {A, B, C, D}
    assert FOUR.slots(1, 3, everyone) is FOUR.slots(1, 3, everyone)
    assert FOUR.slots(1, 3, everyone) == (Slot(B), Slot(C), Slot(D))


@given(memberships(), st.integers(1, 5), st.sets(st.sampled_from(NODES)))
@settings(max_examples=60)
def test_slots_are_the_first_n_reachable_nodes(
    members: list[RingMember], n: int, reachable: set[NodeId]
) -> None:
    ring = Ring(members, 32)
    for partition in range(32):
        preference = ring.preference_list(partition, n)
        order = [*preference.primaries, *preference.stand_ins]
        slots = ring.slots(partition, n, reachable)
        first = [node for node in order if node in reachable][: len(preference.primaries)]
        assert {slot.node for slot in slots} == set(first)
        assert len(slots) == len(first)
        stood_in_for = [slot.stands_in_for for slot in slots if slot.stands_in_for is not None]
        missing = [node for node in preference.primaries if node not in reachable]
        assert stood_in_for == missing[: len(stood_in_for)]
        for slot in slots:
            assert (slot.stands_in_for is None) == (slot.node in preference.primaries)
