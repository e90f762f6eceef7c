"""Anti-entropy: replicas compare what they hold, without being asked, and mend it (Dynamo 4.7).

At an interval, and at once when a node returns or the ring has changed, this node compares its hash
trees with those of the next peer that it shares partitions with (`comparison.py`). Of each key that
differs both clocks are looked at, and what either lacks is pulled or pushed. Whatever hints, reads
and repairs have missed is found here, and keys whose records are damaged are brought back.

A state is read in the same turn of the loop in which it leaves, and merged in the one in which it
comes: whoever forgets deleted keys relies on it that no old state lies around in memory.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Sequence

from dynamo.core.codec import clock_of, decode_clock
from dynamo.core.facts import Fact
from dynamo.core.ids import NodeId
from dynamo.core.siblings import Clock
from dynamo.errors import (
    CodecError,
    Corrupted,
    DynamoError,
    Overloaded,
    PeerError,
    ProtocolError,
    StorageError,
)
from dynamo.node.calls import call
from dynamo.node.cluster_view import ClusterView
from dynamo.node.comparison import Ask, Comparison, Difference, TreeAnswers
from dynamo.node.pacing import Pacer
from dynamo.node.stats import Counters
from dynamo.node.writes import Send
from dynamo.rpc.failures import to_error
from dynamo.rpc.messages import (
    MISSING,
    Done,
    Failed,
    Held,
    ListTreeKeys,
    ReadTrees,
    ReplicaGet,
    ReplicaPut,
    Reply,
    TreeDigests,
)
from dynamo.storage.objects import ObjectStore
from dynamo.storage.trees import Trees

log = logging.getLogger(__name__)

KEYS_AT_ONCE = 16
"""On their way to or from a peer."""

KEYS_MAX = 10_000
"""Keys looked at in one exchange; with more to do it is gone on with after the other peers."""

EXCHANGE_S_MAX = 60.0
"""Then the other peers have their turn: at the slowest pace much can be to do with one."""

_ANY_N = 3
"""What a node begins with that holds nothing itself; the peer says which n it has keys for."""


class AntiEntropy:
    """Compares one node with its peers."""

    def __init__(
        self,
        view: ClusterView,
        trees: Trees,
        answers: TreeAnswers,
        objects: ObjectStore,
        send: Send,
        pacer: Pacer,
        counters: Counters,
        dice: random.Random,
        *,
        is_serving: Callable[[], bool],
        interval_s: float,
        call_timeout_s: float,
    ) -> None:
        self._view = view
        self._trees = trees
        self._answers = answers
        self._objects = objects
        self._send = send
        self._pacer = pacer
        self._counters = counters
        self._dice = dice
        self._is_serving = is_serving
        self._interval_s = interval_s
        self._call_timeout_s = call_timeout_s
        self._news = asyncio.Event()
        self._reachable: set[NodeId] = set()
        self._due: list[NodeId] = []
        self._ring = view.ring
        self._last_peer = NodeId("")
        view.on_return.append(self._news.set)
        view.on_change.append(self._on_fact)

    # -- when ------------------------------------------------------------------------------------

    async def step(self) -> None:
        """Exchange with who is due or next, then wait for the interval or for news."""
        self._news.clear()
        self._note_returned()
        if self._is_serving():
            peer = self._next_peer()
            if peer is not None and await self.exchange(peer):
                self._due.append(peer)
        if not self._due or not self._is_serving():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):
                    await self._news.wait()

    def _on_fact(self, _fact: Fact) -> None:
        if self._view.ring != self._ring:
            self._ring = self._view.ring
            self._reachable.clear()
            self._news.set()

    def _note_returned(self) -> None:
        """Who came back, and everybody after a change of the ring, is due at once."""
        reachable = self._view.reachable - {self._view.me}
        self._due += sorted(reachable - self._reachable - set(self._due))
        self._reachable = reachable

    def _next_peer(self) -> NodeId | None:
        while self._due:
            peer = self._due.pop(0)
            if peer in self._view.reachable:
                return peer
        peers = sorted(self._view.reachable - {self._view.me})
        later = [peer for peer in peers if peer > self._last_peer]
        self._last_peer = next(iter(later or peers), self._view.me)
        return self._last_peer if peers else None

    # -- exchanges -------------------------------------------------------------------------------

    async def exchange(self, peer: NodeId) -> bool:
        """Compare with a peer, and mend what differs on either side.

        Returns:
            Whether some of it was left for the next time.
        """
        try:
            async with asyncio.timeout(EXCHANGE_S_MAX):
                left = await self._exchange(peer)
        except TimeoutError:
            return True
        except DynamoError as error:
            self._counters.exchanges_failed += 1
            log.info("an exchange ended early", extra={"peer": peer, "reason": str(error)})
            return False
        self._counters.exchanges += 1
        return left

    async def _exchange(self, peer: NodeId) -> bool:
        room = KEYS_MAX
        waiting = set(self._trees.ns()) or {_ANY_N}
        compared: set[int] = set()
        while waiting:
            n = min(waiting)
            compared.add(n)
            comparison = self._comparison(peer, n)
            pages = comparison.differences()
            async with contextlib.aclosing(pages):
                async for page in pages:
                    await self._mend_all(peer, page)
                    room -= len(page)
                    if room <= 0:
                        return True
            waiting = (waiting | comparison.ns) - compared
        return False

    def _comparison(self, peer: NodeId, n: int) -> Comparison:
        return Comparison(
            self._ask_myself,
            self._asks(peer),
            n,
            self._answers.shared_with(peer, n),
            partitions_in_all=self._view.ring.partitions,
            place=self._trees.index.place,
            turn=self._dice.randrange(2**32),
            admit=self._pacer.admit,
        )

    async def _ask_myself(self, request: ReadTrees | ListTreeKeys) -> Reply:
        if isinstance(request, ReadTrees):
            return self._answers.digests(request)
        return self._answers.list_keys(request)

    def _asks(self, peer: NodeId) -> Ask:
        async def ask(request: ReadTrees | ListTreeKeys) -> Reply:
            reply = await call(self._send, peer, request, self._call_timeout_s)
            if isinstance(reply, TreeDigests):
                self._counters.exchange_hashes_in += len(reply.digests)
            return reply

        return ask

    # -- keys ------------------------------------------------------------------------------------

    async def _mend_all(self, peer: NodeId, differences: Sequence[Difference]) -> None:
        """Mend what can be: a key that cannot keeps no others waiting.

        Raises:
            PeerError: the peer is lost.
            Overloaded: it has too much to do, or this node has.
        """
        for start in range(0, len(differences), KEYS_AT_ONCE):
            batch = differences[start : start + KEYS_AT_ONCE]
            await self._pacer.admit(len(batch))
            self._counters.exchange_keys_compared += len(batch)
            outcomes = await asyncio.gather(
                *(self._mend(peer, difference) for difference in batch), return_exceptions=True
            )
            for outcome in outcomes:
                if isinstance(outcome, PeerError | Overloaded):
                    raise outcome
                if isinstance(outcome, DynamoError):
                    self._counters.exchange_keys_failed += 1
                    _complain(peer, outcome)
                elif isinstance(outcome, BaseException):
                    raise outcome

    async def _mend(self, peer: NodeId, difference: Difference) -> None:
        """Bring what one side lacks of a key from the other.

        Raises:
            DynamoError: the peer or the disk does not do it.
        """
        key = difference.key
        if not difference.theirs:
            await self._push(peer, key)
        elif not difference.ours:
            await self._pull(peer, key)
        else:
            theirs, ours = await self._clock_at(peer, key), self._clock(key)
            lacking, ahead = not ours.covers(theirs), not theirs.covers(ours)
            if lacking:
                await self._pull(peer, key)
            if ahead:
                await self._push(peer, key)
            if not lacking and not ahead:
                # It was being written, most likely. Or an entry of the index is not what it should
                # be: here, or on the other side, which will notice when it compares.
                self._trees.check_later(key, self._objects.get(key))

    def _clock(self, key: bytes) -> Clock:
        state = self._objects.get(key)
        return _clock(MISSING if state is None else clock_of(state))

    async def _clock_at(self, peer: NodeId, key: bytes) -> Clock:
        asked = ReplicaGet(key, "", True)
        try:
            held = await call(self._send, peer, asked, self._call_timeout_s)
        except Corrupted:  # what it has cannot be read: it lacks everything
            return _clock(MISSING)
        if not isinstance(held, Held):
            raise ProtocolError("no answer to a read")
        return _clock(held.data)

    async def _push(self, peer: NodeId, key: bytes) -> None:
        state = self._objects.get(key)
        if state is None:
            return
        reply = await call(self._send, peer, ReplicaPut(key, state, ""), self._call_timeout_s)
        if not isinstance(reply, Done):
            raise ProtocolError("no answer to a write")
        self._counters.exchange_keys_pushed += 1

    async def _pull(self, peer: NodeId, key: bytes) -> None:
        pulled: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def stored(error: StorageError | None) -> None:
            _settle(pulled, error)

        def on_reply(_node: NodeId, reply: Reply | DynamoError) -> None:
            if pulled.done():
                return
            if isinstance(reply, Held) and reply.data != MISSING:
                try:
                    self._objects.merge(key, reply.data, stored)
                except DynamoError as error:
                    pulled.set_exception(error)
            elif isinstance(reply, Held):
                pulled.set_result(False)
            elif isinstance(reply, DynamoError | Failed):
                pulled.set_exception(to_error(reply) if isinstance(reply, Failed) else reply)
            else:
                pulled.set_exception(ProtocolError("no answer to a read"))

        self._send(peer, ReplicaGet(key, "", False), self._call_timeout_s, on_reply)
        if await pulled:
            self._counters.exchange_keys_pulled += 1


def _settle(pulled: asyncio.Future[bool], error: StorageError | None) -> None:
    if pulled.done():
        return  # nobody waits any more
    if error is None:
        pulled.set_result(True)
    else:
        pulled.set_exception(error)


def _clock(encoded: bytes) -> Clock:
    return decode_clock(encoded) if encoded != MISSING else Clock(entries={})


def _complain(peer: NodeId, error: DynamoError) -> None:
    if isinstance(error, CodecError):
        log.error("a replica's answer does not decode", extra={"peer": peer, "reason": str(error)})
    else:
        log.debug("a key was not mended", extra={"peer": peer, "reason": str(error)})
