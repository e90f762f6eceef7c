"""Two replicas compared by their hash trees: the asking and the answering (Dynamo 4.7).

Roots first, all partitions that both hold at once: where they are equal, which is nearly always,
one hash crosses and that was it. Else level by level down to the leaves that differ, and of these
the keys with their digests. Whoever compares asks both sides in the same way, so that a node can
compare itself with another, or two others with each other.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import NamedTuple

from dynamo.core.ids import NodeId
from dynamo.core.merkle import ROOT, Descent, SharedTree, leaves_of
from dynamo.core.quorum import N_MAX
from dynamo.errors import BadRequest, NotReady, ProtocolError
from dynamo.node.cluster_view import ClusterView
from dynamo.node.stats import Counters
from dynamo.rpc.messages import ListTreeKeys, ReadTrees, Reply, TreeDigests, TreeKeys
from dynamo.storage.tree_index import Entry
from dynamo.storage.trees import Trees

NODES_MAX = 256
"""Digests in one message. An answer takes 0.2 to 2.5 ms, the most where each is of half the leaves
of a partition."""

LISTED_NODES_MAX = 128
KEYS_PAGE_MAX = 1000
KEYS_PAGE_BYTES_MAX = 2**20

_BREADTH_MAX = 4096
"""Nodes of a level that are gone into in one comparison: what differs more is looked at again."""

_TRIES = 3


class TreeAnswers:
    """Answers what a node's trees hold."""

    def __init__(self, view: ClusterView, trees: Trees, counters: Counters) -> None:
        self._view = view
        self._trees = trees
        self._counters = counters

    def read(self, request: ReadTrees) -> TreeDigests:
        """The digests that a peer asks for.

        Raises:
            BadRequest: the request makes no sense.
        """
        answer = self.digests(request)
        self._counters.exchange_hashes_out += len(answer.digests)
        return answer

    def digests(self, request: ReadTrees) -> TreeDigests:
        """The same for this node itself.

        Raises:
            BadRequest: the request makes no sense.
        """
        partitions = self._partitions(request)
        absent = [p for p in partitions if not self._is_comparable(p, request.n)]
        digests = []
        if not absent:
            tree = self._tree(partitions, request.n)
            _check_nodes(request.nodes, NODES_MAX, tree)
            digests = [tree.digest(node) for node in request.nodes]
        named = bits_of(absent, self._view.ring.partitions) if absent else b""
        return TreeDigests(digests, named, self._trees.ns())

    def list_keys(self, request: ListTreeKeys) -> TreeKeys:
        """A page of the keys below nodes.

        Raises:
            BadRequest: the request makes no sense.
            NotReady: the index is damaged, which will be mended.
            StorageError: the disk cannot be read.
        """
        if not 0 < request.limit <= KEYS_PAGE_MAX:
            raise BadRequest(f"a page has 1 to {KEYS_PAGE_MAX} keys, got {request.limit}")
        partitions = self._partitions(request)
        tree = self._tree(partitions, request.n)
        _check_nodes(request.nodes, LISTED_NODES_MAX, tree)
        page = _Page(self._trees, request)
        for node in request.nodes:
            for span in tree.spans(node):
                if page.is_full:
                    return page.reply(more=True)
                page.add(partitions[span.tree], span.first, span.last)
        return page.reply(more=page.is_full)

    def shared_with(self, peer: NodeId, n: int) -> list[int]:
        """The partitions that this node can compare with a peer, in order."""
        ring = self._view.ring
        return [
            partition
            for partition in range(ring.partitions)
            if peer in ring.preference_list(partition, n).primaries
            and self._is_comparable(partition, n)
        ]

    def _is_comparable(self, partition: int, n: int) -> bool:
        primaries = self._view.ring.preference_list(partition, n).primaries
        return self._view.me in primaries and self._trees.trees_of(partition) is not None

    def _partitions(self, request: ReadTrees | ListTreeKeys) -> list[int]:
        partitions, bits = self._view.ring.partitions, request.partitions
        if not 0 < request.n <= N_MAX:
            raise BadRequest(f"no key has {request.n} replicas")
        if len(bits) != (partitions + 7) // 8:
            raise BadRequest(f"{len(bits)} bytes for a bit of each of {partitions} partitions")
        return [p for p in partitions_of(bits) if p < partitions]

    def _tree(self, partitions: Sequence[int], n: int) -> SharedTree:
        loaded = [self._trees.trees_of(partition) or {} for partition in partitions]
        leaves = leaves_of(self._view.ring.partitions)
        return SharedTree([trees.get(n) for trees in loaded], leaves)


class _Page:
    """Keys gathered for one answer."""

    def __init__(self, trees: Trees, request: ListTreeKeys) -> None:
        self._trees = trees
        self._n = request.n
        self._room = request.limit
        self._after = trees.index.place(request.after) if request.after else b""
        self._found: list[tuple[bytes, int]] = []
        self._bytes = 0
        self._last = b""
        self.is_full = False

    def add(self, partition: int, first: int, last: int) -> None:
        entries, more = self._trees.index.span(partition, first, last, self._after, self._room)
        for entry in entries:
            self._take(partition, entry)
            if self._bytes > KEYS_PAGE_BYTES_MAX:
                self.is_full = True
                return
        self._room -= len(entries)
        self.is_full = more or not self._room

    def _take(self, partition: int, entry: Entry) -> None:
        _, key, digest = entry
        if key is None or digest is None:
            self._trees.doubt([partition])
            raise NotReady(f"an entry of the index of partition {partition} is damaged")
        self._last = key
        self._bytes += len(key)
        if self._trees.n_of(key) == self._n:
            self._found.append((key, digest))

    def reply(self, *, more: bool) -> TreeKeys:
        keys = [key for key, _ in self._found]
        return TreeKeys(keys, [digest for _, digest in self._found], self._last if more else b"")


Ask = Callable[[ReadTrees | ListTreeKeys], Awaitable[Reply]]
"""How one side is asked; raises DynamoError if it does not answer."""


class Difference(NamedTuple):
    """A key that two sides hold in different states, or one of them not at all.

    Attributes:
        key: encoded.
        ours: its digest on the first side; 0 if it is not held there.
        theirs: on the second side.
    """

    key: bytes
    ours: int
    theirs: int


class Comparison:
    """One comparison of two sides, over the keys with n replicas in some partitions.

    Attributes:
        partitions: those compared; fewer than asked for where one side cannot compare them now.
        ns: every n for which a side has keys; known once the comparison has begun.
    """

    def __init__(
        self,
        ours: Ask,
        theirs: Ask,
        n: int,
        partitions: Sequence[int],
        *,
        partitions_in_all: int,
        place: Callable[[bytes], bytes],
        turn: int,
        admit: Callable[[int], Awaitable[None]],
    ) -> None:
        """Nothing is asked yet.

        Args:
            ours: asks the first side.
            theirs: asks the second.
            n: of the keys to compare.
            partitions: of which both are primaries for that n, in order.
            partitions_in_all: of the cluster.
            place: the order of encoded keys, see `TreeIndex.place`.
            turn: any number; which differences come first, and which ones are left for another
                time if there are very many, differs from turn to turn.
            admit: is waited for before messages, with about how many keys' worth of work they are.
        """
        self.partitions = list(partitions)
        self.ns: set[int] = set()
        self._sides = (ours, theirs)
        self._n = n
        self._partitions_in_all = partitions_in_all
        self._place = place
        self._turn = turn
        self._admit = admit

    async def differences(self) -> AsyncGenerator[list[Difference], None]:
        """Keys that differ, a page at a time; a key that is being written may be among them.

        Raises:
            DynamoError: a side does not answer, or not with this.
        """
        roots = await self._roots()
        nodes = self._nodes
        descent = Descent(nodes, breadth_max=_BREADTH_MAX, turn=self._turn)
        descent.answer(*roots)
        while asked := descent.asked:
            descent.answer(*await self._read(asked))
        differing = sorted(descent.differing, key=lambda node: _first_leaf(node, nodes))
        chunks = [
            differing[start : start + LISTED_NODES_MAX]
            for start in range(0, len(differing), LISTED_NODES_MAX)
        ]
        first = self._turn % max(len(chunks), 1)
        for chunk in chunks[first:] + chunks[:first]:
            async for page in self._listed(chunk):
                yield page

    @property
    def _nodes(self) -> int:
        return SharedTree([None] * len(self.partitions), leaves_of(self._partitions_in_all)).nodes

    @property
    def _bits(self) -> bytes:
        return bits_of(self.partitions, self._partitions_in_all)

    async def _roots(self) -> tuple[list[int], list[int]]:
        """The roots of both sides over the partitions that both can compare."""
        for _ in range(_TRIES):
            ours, theirs = await self._answers([ROOT])
            self.ns.update(n for n in (*ours.ns, *theirs.ns) if 0 < n <= N_MAX)
            absent = {*partitions_of(ours.absent), *partitions_of(theirs.absent)}
            if not absent:
                return ours.digests, theirs.digests
            self.partitions = [p for p in self.partitions if p not in absent]
        raise NotReady("the trees are not settled")

    async def _read(self, nodes: Sequence[int]) -> tuple[list[int], list[int]]:
        """The digests of these nodes on both sides."""
        both: tuple[list[int], list[int]] = [], []
        for start in range(0, len(nodes), NODES_MAX):
            for digests, answer in zip(
                both, await self._answers(nodes[start : start + NODES_MAX]), strict=True
            ):
                if answer.absent:
                    raise NotReady("the trees are being loaded")
                digests += answer.digests
        return both

    async def _answers(self, nodes: Sequence[int]) -> list[TreeDigests]:
        await self._admit(1 + len(nodes) // 64)
        answers = []
        for ask in self._sides:
            request = ReadTrees(self._n, self._bits, list(nodes))
            answers.append(checked_digests(await ask(request), request))
        return answers

    async def _listed(self, nodes: list[int]) -> AsyncGenerator[list[Difference], None]:
        """What differs below these nodes, in order."""
        after = b""
        while True:
            await self._admit(1)
            request = ListTreeKeys(self._n, self._bits, nodes, after, KEYS_PAGE_MAX)
            pages = [_checked(await ask(request)) for ask in self._sides]
            lasts = [(self._place(page.last), page.last) for page in pages if page.last]
            # Both sides were listed up to here.
            end, last = min(lasts) if lasts else (None, b"")
            if last and after and self._place(last) <= self._place(after):
                raise ProtocolError("a listing does not go on")
            ours, theirs = (self._up_to(page, end) for page in pages)
            yield _differences(ours, theirs)
            if not last:
                return
            after = last

    def _up_to(self, page: TreeKeys, end: bytes | None) -> dict[bytes, int]:
        listed = zip(page.keys, page.digests, strict=True)
        return {key: digest for key, digest in listed if end is None or self._place(key) <= end}


def bits_of(partitions: Sequence[int], partitions_in_all: int) -> bytes:
    """A bit for each partition."""
    bits = bytearray((partitions_in_all + 7) // 8)
    for partition in partitions:
        bits[partition // 8] |= 1 << partition % 8
    return bytes(bits)


def partitions_of(bits: bytes) -> list[int]:
    """The partitions whose bits are set, in order."""
    return [
        8 * place + bit for place, byte in enumerate(bits) for bit in range(8) if byte >> bit & 1
    ]


def checked_digests(reply: Reply, request: ReadTrees) -> TreeDigests:
    """What a peer answers to a request.

    Raises:
        ProtocolError: it is no answer to that.
    """
    if (
        not isinstance(reply, TreeDigests)
        # Before a bit of it is looked at: as a number in a set each takes 90 bytes.
        or len(reply.absent) not in (0, len(request.partitions))
        or (not any(reply.absent) and len(reply.digests) != len(request.nodes))
    ):
        raise ProtocolError(f"no answer to {len(request.nodes)} nodes")
    return reply


def _checked(reply: Reply) -> TreeKeys:
    if not isinstance(reply, TreeKeys) or len(reply.keys) != len(reply.digests):
        raise ProtocolError("no listing of keys")
    return reply


def _check_nodes(nodes: Sequence[int], most: int, tree: SharedTree) -> None:
    if len(nodes) > most or not all(0 < node < tree.nodes for node in nodes):
        raise BadRequest(f"{len(nodes)} nodes of a tree of {tree.nodes}, at most {most}")


def _first_leaf(node: int, nodes: int) -> int:
    """Orders nodes by what they stand for."""
    return node << (nodes.bit_length() - 1 - node.bit_length())


def _differences(ours: dict[bytes, int], theirs: dict[bytes, int]) -> list[Difference]:
    """In the order of the one side, then what only the other has."""
    found = [
        Difference(key, digest, other)
        for key, digest in ours.items()
        if (other := theirs.get(key, 0)) != digest
    ]
    return found + [Difference(key, 0, digest) for key, digest in theirs.items() if key not in ours]
