"""Trees that are kept up by XOR are what they would be from scratch, and find what differs."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo.core.merkle import (
    POSITION_BITS,
    ROOT,
    Descent,
    HashTree,
    SharedTree,
    digest_of,
    leaves_of,
    position_of,
)

LEAVES = 8
TREES = 3

Held = Mapping[tuple[int, int], int]
"""Tree and position of a key, and its digest; one key at a position, to tell keys by positions."""

positions = st.integers(0, 2**POSITION_BITS - 1)
digests = st.integers(1, 2**64 - 1)
places = st.tuples(st.integers(0, TREES - 1), positions)
holdings = st.dictionaries(places, st.integers(1, 3), max_size=30).map(
    # As far apart as those of real keys are: no two sets of them have the same XOR.
    lambda versions: {
        place: digest_of(repr(place).encode(), bytes([version]))
        for place, version in versions.items()
    }
)


def shared(held: Held) -> SharedTree:
    trees: list[HashTree | None] = [HashTree(LEAVES) for _ in range(TREES)]
    for (index, position), digest in held.items():
        tree = trees[index]
        assert tree is not None
        tree.toggle(position, digest)
    return SharedTree([tree if tree and tree.root else None for tree in trees], LEAVES)


def below(tree: SharedTree, node: int, held: Held) -> set[tuple[int, int]]:
    """The keys that a node stands for."""
    return {
        (index, position)
        for index, position in held
        for span in tree.spans(node)
        if span.tree == index and span.first <= position <= span.last
    }


def found(ours: Held, theirs: Held, *, breadth_max: int = 1000, turn: int = 0) -> set[int]:
    """Nodes that a descent finds."""
    one, other = shared(ours), shared(theirs)
    descent = Descent(one.nodes, breadth_max=breadth_max, turn=turn)
    while asked := descent.asked:
        descent.answer(*([tree.digest(node) for node in asked] for tree in (one, other)))
    assert len(set(descent.differing)) == len(descent.differing)
    return set(descent.differing)


@given(st.lists(st.tuples(positions, digests, digests), max_size=20))
def test_a_tree_kept_up_by_changes_is_the_one_made_anew(
    changes: list[tuple[int, int, int]],
) -> None:
    kept, anew = HashTree(LEAVES), HashTree(LEAVES)
    for position, old, new in changes:
        kept.toggle(position, old)
        kept.toggle(position, old ^ new)
        anew.toggle(position, new)
    assert kept.root == anew.root
    assert all(kept.digest(leaf, 1) == anew.digest(leaf, 1) for leaf in range(LEAVES))


@given(holdings)
def test_a_node_is_the_xor_of_the_keys_below_it(held: dict[tuple[int, int], int]) -> None:
    tree = shared(held)
    for node in range(ROOT, tree.nodes):
        expected = 0
        for key in below(tree, node, held):
            expected ^= held[key]
        assert tree.digest(node) == expected


@given(holdings)
def test_the_two_below_a_node_share_what_it_stands_for(held: dict[tuple[int, int], int]) -> None:
    tree = shared(held)
    for node in range(ROOT, tree.nodes // 2):
        left, right = below(tree, 2 * node, held), below(tree, 2 * node + 1, held)
        assert not left & right
        assert left | right == below(tree, node, held)


@given(holdings, holdings, holdings)
def test_a_descent_ends_at_exactly_the_keys_that_differ(
    both: dict[tuple[int, int], int],
    ours: dict[tuple[int, int], int],
    theirs: dict[tuple[int, int], int],
) -> None:
    ours, theirs = {**both, **ours}, {**both, **theirs}
    differing = {key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key)}
    tree = shared(ours)
    nodes = found(ours, theirs)
    covered = {key for node in nodes for key in below(tree, node, {**ours, **theirs})}
    assert differing <= covered
    # And nowhere else: each node it ends at has something that differs below it.
    assert all(below(tree, node, {**ours, **theirs}) & differing for node in nodes)


@given(holdings)
def test_what_is_equal_is_not_gone_into(held: dict[tuple[int, int], int]) -> None:
    assert found(held, held) == set()


@given(holdings.filter(bool))
def test_an_empty_side_is_listed_at_once(held: dict[tuple[int, int], int]) -> None:
    assert found(held, {}) == {ROOT}


@given(holdings, holdings)
def test_what_a_narrow_descent_leaves_out_is_found_in_other_turns(
    ours: dict[tuple[int, int], int], theirs: dict[tuple[int, int], int]
) -> None:
    nodes: set[int] = set()
    for turn in range(64):
        nodes |= found(ours, theirs, breadth_max=1, turn=turn)
    tree = shared(ours)
    everything = {**ours, **theirs}
    differing = {key for key in everything if ours.get(key) != theirs.get(key)}
    assert differing <= {key for node in nodes for key in below(tree, node, everything)}


def test_a_key_in_another_state_has_another_digest() -> None:
    assert digest_of(b"k", b"clock") != digest_of(b"k", b"other")
    assert digest_of(b"k", b"clock") != digest_of(b"kc", b"lock")
    assert digest_of(b"k", b"clock") == digest_of(b"k", b"clock") > 0


def test_positions_are_spread_over_the_leaves() -> None:
    leaves = leaves_of(256)
    counts = [0] * leaves
    for number in range(100 * leaves):
        counts[position_of(b"key-%d" % number) * leaves >> POSITION_BITS] += 1
    assert 50 < min(counts) <= max(counts) < 160


@pytest.mark.parametrize("partitions", [1, 8, 256, 65536])
def test_all_trees_together_have_as_many_leaves_whatever_the_partitions(partitions: int) -> None:
    assert leaves_of(partitions) * partitions == 2**18
