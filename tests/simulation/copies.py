"""Where the copies of a key are in a simulated cluster, seen from above."""

from collections.abc import Iterable

from dynamo.core.codec import clock_of, only_tombstones
from dynamo.core.ids import Key, NodeId, encode_key
from dynamo.core.merkle import digest_of
from dynamo.node.node import Node
from tests.simulation.world import World

Held = tuple[bytes | None, dict[NodeId, bytes]]
"""A node's own copy of a key, and the hints it keeps for others; encoded states."""


def primaries(node: Node, key: Key, n: int = 3) -> list[NodeId]:
    """Who should hold a key, as a node sees it."""
    return list(node.view.preference_list(encode_key(key), n).primaries)


def held(world: World, key: Key) -> dict[NodeId, Held]:
    """What each running node has of a key on its disk."""
    encoded = encode_key(key)
    return {node.view.me: node.operations.local(encoded) for node in world.running()}


def holders(world: World, key: Key) -> set[NodeId]:
    """Who has anything of a key, as a copy or as a hint."""
    return {name for name, (copy, hints) in held(world, key).items() if copy or hints}


def hints(world: World, key: Key) -> list[tuple[NodeId, NodeId]]:
    """Who holds a hint of a key, and for whom."""
    return [(name, target) for name, (_, kept) in held(world, key).items() for target in kept]


def unsettled(world: World, keys: Iterable[Key], n: int = 3) -> list[str]:
    """What still differs between replicas, or waits to be handed over."""
    found = []
    for key in keys:
        copies = held(world, key)
        wanted = primaries(next(world.running()), key, n)
        if len({copies.get(name, (None, {}))[0] for name in wanted}) > 1:
            found.append(f"the primaries of {key.key.decode()} differ")
        if kept := hints(world, key):
            found.append(f"hints for {key.key.decode()}: {kept}")
    return found


def tombstones(world: World, keys: Iterable[Key]) -> list[str]:
    """The keys that are deleted and not forgotten yet."""
    return [
        key.key.decode()
        for key in keys
        if any(copy and only_tombstones(copy) for copy, _ in held(world, key).values())
    ]


def wrong_trees(world: World, keys: Iterable[Key], n: int = 3) -> list[str]:
    """Hash trees whose roots are not those of what the primaries hold.

    Where replicas hold the same, trees that are right are equal.
    """
    ring = next(world.running()).ring
    wanted: dict[tuple[NodeId, int], int] = {}
    for key in keys:
        encoded = encode_key(key)
        partition = ring.partition_of(encoded)
        for name, (copy, _) in held(world, key).items():
            if copy:
                digest = digest_of(encoded, bytes(clock_of(copy)))
                wanted[name, partition] = wanted.get((name, partition), 0) ^ digest
    found = []
    for node in world.running():
        for partition in range(ring.partitions):
            trees = node.held.trees.trees_of(partition)
            if trees is None:
                found.append(f"{node.view.me} has not loaded the trees of {partition}")
                continue
            tree = trees.get(n)
            if (tree.root if tree else 0) != wanted.get((node.view.me, partition), 0):
                found.append(f"the tree of {partition} at {node.view.me} is not that of its keys")
    return found


def wrong_ledgers(world: World) -> list[str]:
    """Nodes that cannot account for every hint they ever kept."""
    found = []
    for node in world.running():
        counts, kept = node.held.hints.counts, node.held.hints.hints_held
        if counts.stored != counts.delivered + counts.superseded + counts.expired + kept:
            found.append(f"{node.view.me} holds {kept} hints after {counts}")
    return found
