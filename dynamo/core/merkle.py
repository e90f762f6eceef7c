"""Hash trees: where two replicas differ is found by comparing few hashes (Dynamo 4.7).

A key has a position, 32 bits of its hash, and a digest, 64 bits over its name and its clock: equal
clocks mean equal states, so equal digests mean equal copies. One partition is one tree, and all
partitions that two replicas share are put side by side and compared as one:

    1                               all partitions shared
    2               3               half of them
    ...                             down to one partition (256 of them: 8 levels),
    ...                             to a part of its positions,
    2**18 ...           2**19 - 1   to a leaf (1024 in a partition: 10 levels more)
    keys                            below a leaf its keys are listed, each with its digest

A node's digest is the XOR of the digests of the keys below it. That makes a tree cheap to keep: a
write changes one leaf and the root, by XOR with its key's old and new digest, and nothing is hashed
anew. Nodes between are not kept but worked out when they are asked for, the XOR of their leaves.
And it makes a tree cheap to compare: of two children one is sent, the other is its XOR with the
parent. Ten keys that differ among a hundred thousand cost about 150 hashes.

Two sets of keys that differ have the same digest once in 2**64 by accident. Nobody is kept from
making such sets on purpose: that would hide a difference of keys that he may write anyway.

Digests are read one level after the other, with writes going on. A level that no longer fits the
one before leads to keys that do not differ, which the look at the key itself shows, or away from
one that does, which the next comparison finds.
"""

from array import array
from collections.abc import Sequence
from typing import NamedTuple

from mmh3 import hash64

ROOT = 1

POSITION_BITS = 32

LEAVES_IN_ALL = 2**18
"""Of all partitions together: 8 bytes each, and with a hundred thousand keys one key in every
third. More keys cost longer lists below the leaves that differ, and nothing else."""

_LEAVES_MIN = 4
_DIGEST_BYTES = 8
_DIGEST_BITS = 64


def position_of(key: bytes) -> int:
    """Where an encoded key is in its partition's tree: bits that do not place it on the ring."""
    position: int = hash64(key, signed=False)[1] & 0xFFFFFFFF
    return position


def digest_of(key: bytes, clock: bytes) -> int:
    """The digest of an encoded key in the state that has this clock; never 0, which is no key."""
    # Seeded by the length, so that the border between the two counts.
    digest: int = hash64(key + clock, len(key), signed=False)[1]
    return digest or 1


def leaves_of(partitions: int) -> int:
    """How many leaves the tree of one partition has; a power of two."""
    return max(LEAVES_IN_ALL // partitions, _LEAVES_MIN)


class HashTree:
    """The tree of one partition.

    Attributes:
        root: the XOR of the digests of all keys; 0 if there are none.
    """

    __slots__ = ("_leaves", "_shift", "root")

    def __init__(self, leaves: int) -> None:
        """A tree without keys; `leaves` is a power of two."""
        self.root = 0
        self._leaves = array("Q", bytes(leaves * _DIGEST_BYTES))
        self._shift = POSITION_BITS + 1 - leaves.bit_length()

    def toggle(self, position: int, digest: int) -> None:
        """Take a key's digest in, or out again; for one that changes, the XOR of old and new."""
        self._leaves[position >> self._shift] ^= digest
        self.root ^= digest

    def digest(self, first: int, leaves: int) -> int:
        """The digest of `leaves` leaves, a power of two, from leaf `first` on."""
        # As one large number, folded in half until one leaf is left: 20 times as fast as a loop.
        folded = int.from_bytes(self._leaves[first : first + leaves].tobytes(), "little")
        bits = leaves * _DIGEST_BITS
        while bits > _DIGEST_BITS:
            bits //= 2
            folded = folded >> bits ^ folded & (1 << bits) - 1
        return folded


class Span(NamedTuple):
    """Positions of one partition, from `first` to `last`, both included.

    Attributes:
        tree: which of the shared partitions, by its place among them.
    """

    tree: int
    first: int
    last: int


class SharedTree:
    """The trees of several partitions as one. Its nodes are numbered from 1, those below node i
    are 2i and 2i + 1.

    Attributes:
        nodes: how many there are; every number below is one. Half of them are leaves.
    """

    def __init__(self, trees: Sequence[HashTree | None], leaves: int) -> None:
        """Over these trees, in order; None is one without keys. Each has `leaves` leaves."""
        self._trees = trees
        self._leaves = leaves
        self._width = 1 << max(len(trees) - 1, 0).bit_length()
        self.nodes = 2 * self._width * leaves

    def partition_node(self, index: int) -> int:
        """The node that is the root of the partition with this index."""
        return self._width + index

    def digest(self, node: int) -> int:
        """The digest of a node."""
        first, leaves = self._leaves_below(node)
        if leaves < self._leaves:
            index, first = divmod(first, self._leaves)
            tree = self._trees[index] if index < len(self._trees) else None
            return 0 if tree is None else tree.digest(first, leaves)
        digest = 0
        for tree in self._trees[first // self._leaves : (first + leaves) // self._leaves]:
            if tree is not None:
                digest ^= tree.root
        return digest

    def spans(self, node: int) -> list[Span]:
        """What a node stands for, in the order of partitions."""
        first, leaves = self._leaves_below(node)
        positions = 2**POSITION_BITS // self._leaves
        if leaves < self._leaves:
            index, first = divmod(first, self._leaves)
            spans = [Span(index, first * positions, (first + leaves) * positions - 1)]
        else:
            indices = range(first // self._leaves, (first + leaves) // self._leaves)
            spans = [Span(index, 0, 2**POSITION_BITS - 1) for index in indices]
        return [span for span in spans if span.tree < len(self._trees)]

    def _leaves_below(self, node: int) -> tuple[int, int]:
        """The first leaf below a node, over all partitions, and how many there are."""
        assert 0 < node < self.nodes, node
        depth = node.bit_length() - 1
        leaves = self.nodes // 2 >> depth
        return (node - (1 << depth)) * leaves, leaves


class Descent:
    """The way down two trees to where they differ, a level at a time.

    A node below which one side holds nothing is not gone into: all of it differs.

    Attributes:
        asked: nodes whose digests both sides are to be asked for next; none when all is done.
        differing: nodes that differ and are to be listed, as far as is known.
    """

    def __init__(self, nodes: int, *, breadth_max: int, turn: int) -> None:
        """Nothing was asked yet.

        Args:
            nodes: of the trees, see `SharedTree.nodes`.
            breadth_max: so many nodes of a level are gone into; the others stay for another time.
            turn: any number; which ones those are differs from turn to turn.
        """
        self.asked: list[int] = [ROOT]
        self.differing: list[int] = []
        self._first_leaf = nodes // 2
        self._breadth_max = breadth_max
        self._turn = turn
        self._parents: list[tuple[int, int, int]] = []

    def answer(self, ours: Sequence[int], theirs: Sequence[int]) -> None:
        """Both sides answered, with one digest for each node of `asked`."""
        parents: list[tuple[int, int, int]] = []
        if not self._parents:
            self._judge(parents, ROOT, ours[0], theirs[0])
        for (node, our, their), our_left, their_left in zip(
            self._parents, ours, theirs, strict=False
        ):
            self._judge(parents, 2 * node, our_left, their_left)
            self._judge(parents, 2 * node + 1, our ^ our_left, their ^ their_left)
        if len(parents) > self._breadth_max:
            start = self._turn % len(parents)
            self._turn >>= 1  # so that it leads to other places on every level
            parents = (parents[start:] + parents[:start])[: self._breadth_max]
        self._parents = parents
        self.asked = [2 * node for node, _, _ in parents]

    def _judge(
        self, parents: list[tuple[int, int, int]], node: int, ours: int, theirs: int
    ) -> None:
        if ours == theirs:
            return
        if ours and theirs and node < self._first_leaf:
            parents.append((node, ours, theirs))
        else:
            self.differing.append(node)
