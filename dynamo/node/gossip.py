"""Push-pull gossip: how every node comes to know every fact (Dynamo 4.8.1).

Every interval a node offers a peer drawn at random the hash of all it knows. Equal hashes end the
round. Otherwise the peer answers with a digest, and an exchange brings both to the union, in pieces
that keep no loop and no connection busy for long. News make a node's next round come at once, so
that a change crosses a cluster in a few round trips instead of a few intervals.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterable

from dynamo.core.facts import (
    MEMBER,
    PIECE_BYTES_MAX,
    PIECE_FACTS_MAX,
    Fact,
    Trade,
    decode_fact,
    encode_fact,
    first_piece,
    is_piece,
)
from dynamo.core.ids import NodeId
from dynamo.core.membership import leaves_room, member_name
from dynamo.errors import BadRequest, CodecError, DynamoError, Overloaded, ProtocolError
from dynamo.node.cluster_view import FACTS_MAX, ClusterView
from dynamo.rpc.connection import Complaints
from dynamo.rpc.failures import to_error
from dynamo.rpc.messages import (
    Failed,
    GossipDigest,
    GossipExchange,
    GossipFacts,
    GossipOffer,
    Reply,
    Request,
)
from dynamo.rpc.peers import Peers

log = logging.getLogger(__name__)

FANOUT = 2
"""Peers asked in a round that follows news; one in a quiet round."""

NEWS_PAUSE_S = 0.02
"""News that arrive together travel together."""

EXCHANGE_S_MAX = 10.0
"""For all pieces. What was learnt until then stays, and the next exchange brings the others."""

PIECE_S_MAX = 5.0
"""For one piece each way, over 2 Mbit/s."""


class Gossip:
    """One node's gossip: its own rounds, and its answers to others'.

    Attributes:
        heard: nodes of which all was heard that they knew, since the start.
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
        self._complaints = Complaints()
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

    async def exchange(self, node: NodeId, timeout_s: float = EXCHANGE_S_MAX) -> None:
        """Bring this node and `node` to the union of their facts.

        What fails halfway has brought a part of them, and the next exchange the rest.

        Raises:
            PeerError: `node` did not answer, or not all of it in time.
            ProtocolError: it answered nonsense.
            Overloaded: it knows more than there is room for here.
            RequestError: it could not answer.
        """
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        offer = GossipOffer(self._view.facts.hash)
        digest = await self._ask(node, offer, self._timeout_s, deadline_s)
        if not isinstance(digest, GossipDigest) or len(digest.names) > FACTS_MAX:
            raise _unexpected(node, digest)
        if digest.names:
            await self._trade(node, digest, deadline_s)
        self.heard.add(node)

    async def _trade(self, node: NodeId, digest: GossipDigest, deadline_s: float) -> None:
        """Each piece gives facts, or gets some that were wanted: that bounds how many there are."""
        trade = Trade(self._view.facts, digest.names, digest.versions)
        no_room: Overloaded | None = None
        while any(piece := trade.next_piece()):
            reply = await self._ask(node, GossipExchange(*piece), PIECE_S_MAX, deadline_s)
            if not isinstance(reply, GossipFacts) or not is_piece(reply.facts):
                raise _unexpected(node, reply)
            names, refused = self._learn(reply.facts, node)
            no_room = refused or no_room
            trade.got(names)
        if no_room is not None:
            raise no_room

    async def _ask(
        self, node: NodeId, request: Request, timeout_s: float, deadline_s: float
    ) -> Reply:
        left_s = deadline_s - asyncio.get_running_loop().time()
        reply = await self._peers.call(node, request, min(timeout_s, left_s))
        if isinstance(reply, Failed):
            raise to_error(reply)
        return reply

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
        """Answer a piece of the second half: take what is offered, give what is wanted.

        Raises:
            BadRequest: it is more than a piece.
        """
        if not is_piece(exchange.facts) or len(exchange.wanted) > PIECE_FACTS_MAX:
            raise BadRequest(
                f"facts are exchanged in pieces of {PIECE_FACTS_MAX} and {PIECE_BYTES_MAX} bytes"
            )
        self._learn(exchange.facts, peer)
        book = self._view.facts
        known = (book.get(name) for name in exchange.wanted)
        return GossipFacts(first_piece(fact for fact in known if fact is not None))

    def _learn(self, facts: list[bytes], peer: NodeId) -> tuple[list[bytes], Overloaded | None]:
        """Take what makes sense; a fact that does not keeps none of the others out.

        Returns:
            The names of all, and why there was no room for one of them.
        """
        names: list[bytes] = []
        no_room: Overloaded | None = None
        for encoded in facts:
            try:
                fact = decode_fact(encoded)
                names.append(fact.name)
                self._check_heard(fact, peer)
                self._view.learn(fact)
            except CodecError as error:
                self._complain(peer, error)
            except Overloaded as error:
                self._complain(peer, error)
                no_room = error.with_traceback(None)
        return names, no_room

    def _complain(self, peer: NodeId, error: DynamoError) -> None:
        record = self._view.membership.get(peer)
        self._complaints.log(
            "a fact was refused",
            peer=peer,
            address="?" if record is None else str(record.rpc),
            reason=str(error),
            now_s=asyncio.get_running_loop().time(),
        )

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
    return ProtocolError(f"{node} answered gossip with a {type(reply).__name__} that cannot be")
