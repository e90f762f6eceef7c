"""Push-pull gossip: how every node comes to know every fact (Dynamo 4.8.1).

Every interval a node offers a peer drawn at random the hash of all it knows. Equal hashes end the
round. Otherwise the peer answers with a digest, and one exchange brings both to the union. News
make a node's next round come at once, so that a change crosses a cluster in a few round trips
instead of a few intervals.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterable

from dynamo.core.facts import MEMBER, Fact, decode_fact, encode_fact
from dynamo.core.ids import NodeId
from dynamo.core.membership import leaves_room, member_name
from dynamo.errors import CodecError, DynamoError, ProtocolError
from dynamo.node.cluster_view import ClusterView
from dynamo.rpc.messages import (
    GossipDigest,
    GossipExchange,
    GossipFacts,
    GossipOffer,
    Reply,
)
from dynamo.rpc.peers import Peers

log = logging.getLogger(__name__)

FANOUT = 2
"""Peers asked in a round that follows news; one in a quiet round."""

NEWS_PAUSE_S = 0.02
"""News that arrive together travel together."""


class Gossip:
    """One node's gossip: its own rounds, and its answers to others'.

    Attributes:
        heard: nodes with which an exchange was completed since the start.
    """

    def __init__(
        self,
        view: ClusterView,
        peers: Peers,
        dice: random.Random,
        *,
        interval_s: float,
        candidates: Callable[[], Iterable[NodeId]],
    ) -> None:
        self._view = view
        self._peers = peers
        self._dice = dice
        self._interval_s = interval_s
        self._candidates = candidates
        self._news = asyncio.Event()
        self.heard: set[NodeId] = set()
        view.on_change.append(lambda _fact: self._news.set())

    async def step(self) -> None:
        """One round, and the pause after it."""
        had_news = self._news.is_set()
        self._news.clear()
        await self.round(FANOUT if had_news else 1)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._interval_s * self._dice.uniform(0.8, 1.2)):
                await self._news.wait()
                await asyncio.sleep(NEWS_PAUSE_S)

    async def round(self, fanout: int) -> None:
        """Exchange facts with `fanout` peers drawn from those that are connected."""
        connected = sorted(set(self._candidates()) & set(self._peers.connected))
        for node in self._dice.sample(connected, min(fanout, len(connected))):
            try:
                await self.exchange(node)
            except DynamoError as error:
                log.debug("gossip failed", extra={"peer": node, "reason": str(error)})

    async def exchange(self, node: NodeId) -> None:
        """Bring this node and `node` to the union of their facts.

        Raises:
            PeerError: `node` did not answer.
            ProtocolError: it answered nonsense.
        """
        book = self._view.facts
        digest = await self._peers.call(node, GossipOffer(book.hash), self._timeout_s)
        if not isinstance(digest, GossipDigest):
            raise _unexpected(node, digest)
        if digest.names:
            offered, wanted = book.compare(digest.names, digest.versions)
            reply = await self._peers.call(
                node,
                GossipExchange([encode_fact(fact) for fact in offered], wanted),
                self._timeout_s,
            )
            if not isinstance(reply, GossipFacts):
                raise _unexpected(node, reply)
            self._learn(reply.facts, node)
        self.heard.add(node)

    @property
    def _timeout_s(self) -> float:
        return max(1.0, 2 * self._interval_s)

    def on_offer(self, offer: GossipOffer) -> GossipDigest:
        """Answer the first half of a peer's round."""
        book = self._view.facts
        if offer.view_hash == book.hash:
            return GossipDigest([], [])
        return GossipDigest(*book.digest())

    def on_exchange(self, exchange: GossipExchange, peer: NodeId) -> GossipFacts:
        """Answer the second half: take what is offered, give what is wanted."""
        self._learn(exchange.facts, peer)
        book = self._view.facts
        return GossipFacts(
            [encode_fact(fact) for name in exchange.wanted if (fact := book.get(name)) is not None]
        )

    def _learn(self, facts: list[bytes], peer: NodeId) -> None:
        """Take what makes sense; a fact that does not keeps none of the others out."""
        for encoded in facts:
            try:
                fact = decode_fact(encoded)
                self._check_heard(fact, peer)
                self._view.learn(fact)
            except CodecError as error:
                log.warning("a fact was refused", extra={"peer": peer, "reason": str(error)})

    def _check_heard(self, fact: Fact, peer: NodeId) -> None:
        """Refuse a record that its node could not answer, unless it is that node's own word.

        A node answers what is said in its name under a higher incarnation.
        """
        if fact.name[:1] != MEMBER or leaves_room(fact):
            return
        if fact.name != member_name(peer) or peer == self._view.me:
            raise CodecError(f"{fact.name[1:]!r} could not answer what is said of it")

    async def push(self, fact: Fact, *, peers_max: int) -> None:
        """Tell a fact to some connected peers at once and wait for them; those that fail are left.

        Gossip brings it to the others. This only shortens the time in which nodes disagree.
        """
        connected = sorted(self._peers.connected)
        targets = self._dice.sample(connected, min(peers_max, len(connected)))
        message = GossipExchange([encode_fact(fact)], [])
        await asyncio.gather(
            *(self._peers.call(node, message, self._timeout_s) for node in targets),
            return_exceptions=True,
        )


def _unexpected(node: NodeId, reply: Reply) -> ProtocolError:
    return ProtocolError(f"{node} answered gossip with {type(reply).__name__}")
