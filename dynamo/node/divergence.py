"""Whether the replicas are equal: one node asks all others, compares, and looks twice.

The roots of all trees come first, from every node. Where those of a partition differ, its replicas
are compared two by two. Writes on their way make differences that are none, so each key found is
looked at twice, a moment apart: what one replica had at the first look, all have to have at the
second.
"""

import asyncio
import contextlib
import random
from collections.abc import Mapping, Sequence

from dynamo.core.codec import decode_clock
from dynamo.core.divergence import ComparedPartition, DivergenceReport, DivergentKey
from dynamo.core.ids import NodeId, decode_key
from dynamo.core.merkle import SharedTree, digest_of, leaves_of
from dynamo.core.quorum import N_MAX
from dynamo.core.siblings import Clock
from dynamo.errors import DeadlineExceeded, DynamoError
from dynamo.node.calls import call
from dynamo.node.cluster_view import ClusterView
from dynamo.node.comparison import (
    NODES_MAX,
    Ask,
    Comparison,
    bits_of,
    checked_digests,
    partitions_of,
)
from dynamo.node.writes import Send
from dynamo.rpc.messages import (
    MISSING,
    Held,
    ListTreeKeys,
    ReadTrees,
    ReplicaGet,
    Reply,
    TreeDigests,
)
from dynamo.storage.trees import Trees

LOOK_AGAIN_S = 1.0

KEYS_AT_ONCE = 32

SUSPECTS_MAX = 2000
"""Keys looked at one by one; beyond it a partition whose trees differ is said to differ."""

_ANY_N = 3
"""Asked about where no node has any keys."""

_TRIES = 3

_Roots = dict[int, dict[NodeId, int]]
"""By partition the root of each replica that answered."""


class Divergence:
    """Compares all replicas when asked to."""

    def __init__(
        self,
        view: ClusterView,
        trees: Trees,
        send: Send,
        dice: random.Random,
        *,
        call_timeout_s: float,
    ) -> None:
        self._view = view
        self._trees = trees
        self._send = send
        self._dice = dice
        self._call_timeout_s = call_timeout_s

    async def report(self, *, keys_max: int, timeout_s: float) -> DivergenceReport:
        """Compare all partitions now.

        Args:
            keys_max: so many keys are named.
            timeout_s: for the whole of it.

        Raises:
            DeadlineExceeded: not in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._report(keys_max)
        except TimeoutError as error:
            raise DeadlineExceeded(definite=True) from error

    async def _report(self, keys_max: int) -> DivergenceReport:
        partitions: list[ComparedPartition] = []
        keys: list[DivergentKey] = []
        left_out = False
        for n in await self._ns():
            roots = await self._roots(n)
            suspects, unfinished = await self._suspects(n, roots)
            divergent = await self._look_twice(n, suspects)
            keys += divergent
            left_out |= bool(unfinished)
            unequal = unfinished | {found.partition for found in divergent}
            partitions += [self._compared(p, n, roots[p], unequal) for p in sorted(roots)]
        return DivergenceReport(
            partitions=partitions,
            keys=keys[:keys_max],
            keys_left_out=left_out or len(keys) > keys_max,
        )

    def _compared(
        self, partition: int, n: int, roots: Mapping[NodeId, int], unequal: set[int]
    ) -> ComparedPartition:
        primaries = self._primaries(partition, n)
        return ComparedPartition(
            partition=partition,
            n_val=n,
            primaries=primaries,
            silent=[node for node in primaries if node not in roots],
            equal=partition not in unequal,
        )

    # -- roots -----------------------------------------------------------------------------------

    async def _ns(self) -> list[int]:
        """Every n for which a node that answers has keys."""
        nothing = ReadTrees(_ANY_N, bits_of((), self._view.ring.partitions), [])
        ns: set[int] = set()
        for node in self._view.ring.nodes:
            with contextlib.suppress(DynamoError):
                ns.update((await self._read(node, nothing)).ns)
        return sorted(n for n in ns if 0 < n <= N_MAX) or [_ANY_N]

    async def _roots(self, n: int) -> _Roots:
        roots: _Roots = {partition: {} for partition in range(self._view.ring.partitions)}
        for node in self._view.ring.nodes:
            with contextlib.suppress(DynamoError):
                for partition, root in (await self._roots_of(node, n)).items():
                    roots[partition][node] = root
        return roots

    async def _roots_of(self, node: NodeId, n: int) -> dict[int, int]:
        """The roots of the partitions that a node can compare.

        Raises:
            DynamoError: it does not answer.
        """
        in_all = self._view.ring.partitions
        held = [p for p in range(in_all) if node in self._primaries(p, n)]
        for _ in range(_TRIES):
            tree = SharedTree([None] * len(held), leaves_of(in_all))
            nodes = [tree.partition_node(place) for place in range(len(held))]
            roots: list[int] = []
            absent: set[int] = set()
            for start in range(0, len(nodes), NODES_MAX):
                asked = nodes[start : start + NODES_MAX]
                answer = await self._read(node, ReadTrees(n, bits_of(held, in_all), asked))
                absent.update(partitions_of(answer.absent))
                roots += answer.digests
            if not absent:
                return dict(zip(held, roots, strict=True))
            held = [partition for partition in held if partition not in absent]
        return {}

    async def _read(self, node: NodeId, request: ReadTrees) -> TreeDigests:
        answer = await call(self._send, node, request, self._call_timeout_s)
        return checked_digests(answer, request)

    # -- keys ------------------------------------------------------------------------------------

    async def _suspects(self, n: int, roots: _Roots) -> tuple[list[bytes], set[int]]:
        """Keys that seem to differ, and partitions that do but were not seen through."""
        pairs: dict[tuple[NodeId, NodeId], list[int]] = {}
        for partition, held in sorted(roots.items()):
            nodes = sorted(held)
            for node in nodes[1:]:
                if held[node] != held[nodes[0]]:
                    pairs.setdefault((nodes[0], node), []).append(partition)
        suspects: dict[bytes, None] = {}
        unfinished: set[int] = set()
        for (ours, theirs), partitions in sorted(pairs.items()):
            try:
                is_cut = await self._compare(ours, theirs, n, partitions, suspects)
            except DynamoError:
                is_cut = True
            if is_cut:
                unfinished.update(partitions)
        return list(suspects), unfinished

    async def _compare(
        self,
        ours: NodeId,
        theirs: NodeId,
        n: int,
        partitions: list[int],
        suspects: dict[bytes, None],
    ) -> bool:
        """Add the keys that differ between two nodes; returns whether that became too many."""
        comparison = Comparison(
            self._asks(ours),
            self._asks(theirs),
            n,
            partitions,
            partitions_in_all=self._view.ring.partitions,
            place=self._trees.index.place,
            turn=self._dice.randrange(2**32),
            admit=_at_once,
        )
        pages = comparison.differences()
        async with contextlib.aclosing(pages):
            async for page in pages:
                for difference in page:
                    decode_key(difference.key)
                    suspects[difference.key] = None
                if len(suspects) >= SUSPECTS_MAX:
                    return True
        return len(comparison.partitions) < len(partitions)

    def _asks(self, node: NodeId) -> Ask:
        async def ask(request: ReadTrees | ListTreeKeys) -> Reply:
            return await call(self._send, node, request, self._call_timeout_s)

        return ask

    async def _look_twice(self, n: int, suspects: Sequence[bytes]) -> list[DivergentKey]:
        if not suspects:
            return []
        before = await self._look(n, suspects)
        await asyncio.sleep(LOOK_AGAIN_S)
        now = await self._look(n, suspects)
        found = []
        for key in suspects:
            known = Clock(entries={})
            for clock in before[key].values():
                known = known.merge(_decoded(clock))
            if not all(_decoded(clock).covers(known) for clock in now[key].values()):
                digests = {
                    node: digest_of(key, clock) if clock != MISSING else None
                    for node, clock in now[key].items()
                }
                partition = self._view.ring.partition_of(key)
                found.append(
                    DivergentKey(key=decode_key(key), partition=partition, digests=digests)
                )
        return found

    async def _look(self, n: int, keys: Sequence[bytes]) -> dict[bytes, dict[NodeId, bytes]]:
        """The clocks of keys at the primaries that answer."""
        seen: dict[bytes, dict[NodeId, bytes]] = {}
        for start in range(0, len(keys), KEYS_AT_ONCE):
            batch = keys[start : start + KEYS_AT_ONCE]
            clocks = await asyncio.gather(*(self._clocks(n, key) for key in batch))
            seen.update(zip(batch, clocks, strict=True))
        return seen

    async def _clocks(self, n: int, key: bytes) -> dict[NodeId, bytes]:
        clocks: dict[NodeId, bytes] = {}
        for node in self._primaries(self._view.ring.partition_of(key), n):
            with contextlib.suppress(DynamoError):
                request = ReplicaGet(key, "", True)
                held = await call(self._send, node, request, self._call_timeout_s)
                if isinstance(held, Held):
                    _decoded(held.data)
                    clocks[node] = held.data
        return clocks

    def _primaries(self, partition: int, n: int) -> tuple[NodeId, ...]:
        return self._view.ring.preference_list(partition, n).primaries


def _decoded(clock: bytes) -> Clock:
    return decode_clock(clock) if clock != MISSING else Clock(entries={})


async def _at_once(_units: int) -> None:
    """An operator waits for the answer."""
