"""Orphans: keys that a node holds though it is none of their replicas go to those that are.

Keys become orphans when the ring changes, when a write comes by the ring of before, and when a
bucket gets fewer replicas. This is how data moves when nodes come and go. An orphan is forgotten
only once every primary has confirmed to have it durably, and only if it is still what they
confirmed; and nothing is done while a primary cannot be reached, or the ring has changed just now.
An orphan that cannot be handed over keeps no others waiting.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from dynamo.core.codec import clock_of, decode_clock
from dynamo.core.facts import Fact
from dynamo.core.ids import NodeId
from dynamo.errors import (
    Corrupted,
    DynamoError,
    Overloaded,
    PeerError,
    ProtocolError,
    StorageError,
)
from dynamo.node.calls import call
from dynamo.node.cluster_view import ClusterView
from dynamo.node.pacing import Pacer
from dynamo.node.stats import Counters
from dynamo.node.writes import Send
from dynamo.rpc.messages import MISSING, Done, Held, ReplicaGet, ReplicaPut
from dynamo.storage.objects import ObjectStore
from dynamo.storage.trees import Trees

log = logging.getLogger(__name__)

RING_REST_S = 5.0
"""The ring has to be the same for so long first: until all have heard of it, and the new replicas
have begun to compare with the old ones, which moves most of the data already."""

LOOK_S = 2.0

KEYS_AT_ONCE = 16


class Orphans:
    """Hands over what one node should not hold."""

    def __init__(
        self,
        view: ClusterView,
        trees: Trees,
        objects: ObjectStore,
        send: Send,
        pacer: Pacer,
        counters: Counters,
        clock_s: Callable[[], float],
        *,
        is_serving: Callable[[], bool],
        call_timeout_s: float,
    ) -> None:
        self._view = view
        self._trees = trees
        self._objects = objects
        self._send = send
        self._pacer = pacer
        self._counters = counters
        self._clock_s = clock_s
        self._is_serving = is_serving
        self._call_timeout_s = call_timeout_s
        self._ring = view.ring
        self._ring_since_s = clock_s()
        view.on_change.append(self._on_fact)

    def _on_fact(self, _fact: Fact) -> None:
        if self._view.ring != self._ring:
            self._ring_since_s = self._clock_s()
        self._ring = self._view.ring

    async def step(self) -> None:
        """Look for orphans, and hand over what can be."""
        await asyncio.sleep(LOOK_S)
        for partition, n in self.found():
            if not self._is_time():
                return
            try:
                await self._hand_over(partition, n)
            except DynamoError as error:
                log.info("orphans stay", extra={"partition": partition, "reason": str(error)})

    def found(self) -> list[tuple[int, int]]:
        """Partitions, each with an n, of which there are keys that this node is no replica of."""
        return [
            (partition, n)
            for partition in range(self._view.ring.partitions)
            for n, tree in sorted((self._trees.trees_of(partition) or {}).items())
            if tree.root and self._is_elsewhere(self._primaries(partition, n))
        ]

    def _is_elsewhere(self, primaries: Sequence[NodeId]) -> bool:
        return bool(primaries) and self._view.me not in primaries

    def _primaries(self, partition: int, n: int) -> tuple[NodeId, ...]:
        return self._view.ring.preference_list(partition, n).primaries

    def _is_time(self) -> bool:
        return self._is_serving() and self._clock_s() - self._ring_since_s >= RING_REST_S

    async def _hand_over(self, partition: int, n: int) -> None:
        """Hand over the keys with n replicas of a partition, and forget them.

        Raises:
            PeerError: a primary was lost; what is behind that key was not tried.
            Overloaded: one has too much to do; the same.
            DynamoError: some keys stay, and this is the first reason; all others were handed over.
        """
        ring, primaries = self._view.ring, self._primaries(partition, n)
        failure: DynamoError | None = None
        after = b""
        more = True
        while more and self._view.ring is ring and self._view.reachable.issuperset(primaries):
            entries, more = self._trees.index.page(partition, after, KEYS_AT_ONCE)
            keys = [key for _, key, _ in entries if key is not None and self._trees.n_of(key) == n]
            await self._pacer.admit(1 + len(keys) * len(primaries))
            states = await asyncio.gather(
                *(self._confirmed(key, primaries) for key in keys), return_exceptions=True
            )
            if self._view.ring is ring:
                # All in one turn: an actor that is drawn anew between serves no key.
                for key, state in zip(keys, states, strict=True):
                    if isinstance(state, bytes):
                        self._forget(key, state)
            for state in states:
                if isinstance(state, DynamoError) and not isinstance(state, PeerError | Overloaded):
                    failure = failure or state
                elif isinstance(state, BaseException):
                    raise state
            if entries:
                after = entries[-1].place
        if failure is not None:
            raise failure

    async def _confirmed(self, key: bytes, primaries: Sequence[NodeId]) -> bytes | None:
        """The state that all primaries have said to have; None if it changed meanwhile.

        Raises:
            DynamoError: one of them does not answer.
        """
        state = self._objects.get(key)
        if state is None:
            return None
        clock = clock_of(state)
        for node in primaries:
            if not await self._has(node, key, clock):
                if self._objects.get(key) != state:
                    return None
                await self._give(node, key, state)
        return state

    async def _has(self, node: NodeId, key: bytes, clock: bytes) -> bool:
        try:
            held = await call(self._send, node, ReplicaGet(key, "", True), self._call_timeout_s)
        except Corrupted:  # what it has cannot be read, which this one can mend
            return False
        if not isinstance(held, Held) or held.data == MISSING:
            return False
        return held.data == clock or decode_clock(held.data).covers(decode_clock(clock))

    async def _give(self, node: NodeId, key: bytes, state: bytes) -> None:
        reply = await call(self._send, node, ReplicaPut(key, state, ""), self._call_timeout_s)
        if not isinstance(reply, Done):
            raise ProtocolError("no answer to a write")

    def _forget(self, key: bytes, state: bytes) -> None:
        if self._objects.forget(key, state, _forgotten):
            self._counters.orphans_handed_over += 1


def _forgotten(error: StorageError | None) -> None:
    """An orphan that could not be forgotten is found again, and its replicas have it already."""
    if error is not None:
        log.error("an orphan could not be forgotten", extra={"reason": str(error)})
