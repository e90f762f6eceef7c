"""How a node gets into its cluster, and how it stays the same member over restarts (Dynamo 4.8).

A node that remembers its membership takes it up again under a higher incarnation. A new one asks
its seeds, says that it is joining, and waits for its turn: joiners choose their tokens one after
the other in the order of their ids, each seeing the choice of those before it, so that nodes that
start at the same moment end up as level as nodes that came one by one. The wait is bounded: a
joiner that has died keeps nobody out. Should two nodes choose the same token all the same, the ring
gives it to the lower id, and the other chooses again.

A node serves no sooner than it was told all that another knows, if there is any in reach: with half
of it, it would take buckets for what they are not. It goes on asking for as long as any answers.

Where nobody holds a part of the ring yet, the seed with the lowest id takes the first: only one
node can found a cluster, however the network is cut at that moment. All others wait for it.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Set
from dataclasses import replace

from dynamo.core.facts import Fact
from dynamo.core.ids import Address, NodeId
from dynamo.core.membership import MemberRecord, MemberState, member_name
from dynamo.core.ring import RingMember
from dynamo.core.tokens import Joiner, choose_tokens
from dynamo.errors import DynamoError, StartupError
from dynamo.node.cluster_view import ClusterView
from dynamo.node.gossip import Gossip
from dynamo.rpc.peers import Peers

log = logging.getLogger(__name__)

FOUND_WAIT_S = 3.0
"""How long the founder waits for the other seeds before it begins without them."""

TURN_WAIT_S = 2.0
"""How long a joiner waits for joiners before it in line that make no progress."""

LOOK_S = 0.05

ALONE_S = 2.0
"""A peer that hung up is dialled again, and there again, within this if it is there at all."""

SAY_PAUSE_S = 10.0

PUSH_PEERS_MAX = 16


class Joining:
    """One node's own record: made at the start, defended afterwards.

    Attributes:
        removed: an operator removed this node from the cluster; it must not serve.
    """

    def __init__(
        self,
        view: ClusterView,
        gossip: Gossip,
        peers: Peers,
        clock_s: Callable[[], float],
        *,
        seeds: frozenset[NodeId],
        rpc: Address,
        http: Address,
        weight: int,
        zone: str,
    ) -> None:
        self._view = view
        self._gossip = gossip
        self._peers = peers
        self._clock_s = clock_s
        self._seeds = seeds
        self._rpc = rpc
        self._http = http
        self._weight = weight
        self._zone = zone
        self._said: MemberRecord | None = None
        self._unheard_for = ""
        self.removed = False
        view.on_change.append(self._on_change)

    # -- the start -------------------------------------------------------------------------------

    def announce(self) -> None:
        """Take up the remembered membership, or begin to join.

        Raises:
            StartupError: an operator removed this node.
        """
        known = self._view.my_record
        if known is not None and known.state is MemberState.REMOVED:
            raise StartupError(
                f"{self._view.me} was removed from the cluster and its data directory remembers it;"
                " to serve again it needs a new node_id and an empty directory"
            )
        if known is None:
            known = self._fresh(incarnation=0)
        self._say(known)

    async def join(self) -> None:
        """Wait until this node holds its part of the ring, and those who joined with it theirs.

        Raises:
            StartupError: the others will not have it, for its settings or its version.
        """
        started_s = self._clock_s()
        is_new = self._mine().state is MemberState.JOINING
        while (mine := self._mine()).state is MemberState.JOINING:
            if self._may_choose(started_s):
                self._choose(mine)
                break
            await self._ask_seeds()
            self._check_welcome()
            await asyncio.sleep(LOOK_S)
        await self._push_mine()
        if is_new:
            await self._hear_again()
        await self._wait_for_companions()
        await self._meet_all()
        self._check_welcome()

    def _check_welcome(self) -> None:
        """Whoever is refused by all that answer must not serve: it would be a cluster of its own.

        Raises:
            StartupError: this node is.
        """
        if not self._peers.connected and (refusals := self._peers.incompatible()):
            raise StartupError("; ".join(refusals.values()))

    def _may_choose(self, started_s: float) -> bool:
        waited_s = self._clock_s() - started_s
        others = self._seeds - {self._view.me}
        if not self._view.membership.holders():
            if self._view.me != min(self._seeds, default=self._view.me):
                return False
            # Whoever is still starting should be in the line before it moves; and whoever is there
            # and was not heard may be of a cluster that this node forgot.
            unheard = others - self._gossip.heard
            return not unheard or (
                waited_s >= FOUND_WAIT_S and unheard.isdisjoint(self._peers.connected)
            )
        return self._has_heard() and self._is_my_turn(waited_s)

    def _is_my_turn(self, waited_s: float) -> bool:
        line = [record.node_id for record in self._view.membership.joining()]
        before_me = [node for node in line if node < self._view.me]
        ahead = [node for node in before_me if node in self._peers.connected]
        return not ahead or waited_s >= TURN_WAIT_S * (1 + len(before_me))

    async def _ask_seeds(self) -> None:
        for node in sorted(self._seeds - {self._view.me} - self._gossip.heard):
            if node in self._peers.connected:
                await self._ask(node)
        if not self._has_heard():
            await self._ask_one_of(self._tellers())

    def _has_heard(self) -> bool:
        """Whether a node told all it knows: one of the ring, if any of those is there."""
        heard, holders = self._gossip.heard, self._other_holders()
        return bool(heard & holders) or (bool(heard) and holders.isdisjoint(self._peers.connected))

    def _tellers(self) -> set[NodeId]:
        """Who is there and should know all; those that join may know no more than this node."""
        there = self._view.peers() & self._peers.connected
        return there & self._other_holders() or there

    def _other_holders(self) -> set[NodeId]:
        return {record.node_id for record in self._view.membership.holders()} - {self._view.me}

    async def _ask_one_of(self, nodes: Set[NodeId]) -> bool:
        for node in sorted(nodes):
            if await self._ask(node):
                return True
        return False

    async def _ask(self, node: NodeId) -> bool:
        """Exchange facts with a node; returns whether it told all it knows."""
        try:
            await self._gossip.exchange(node)
        except DynamoError as error:
            log.debug("no news to be had", extra={"peer": node, "reason": str(error)})
            self._unheard_for = str(error)
            return False
        return True

    async def _hear_again(self) -> None:
        """Hear the news once more from one that knows of this node.

        A first exchange may bring what was known just before somebody made sure that all know a
        bucket type, all but a node that nobody knew of yet. Whoever has this node's record by now
        either names it to those that make sure, or has what they told.
        """
        knowing = frozenset(self._gossip.heard)
        if knowing:
            await self._hear_one_of(lambda: knowing)

    async def _hear_one_of(self, nodes: Callable[[], Set[NodeId]]) -> None:
        """Return once one of them told all it knows, or none of them was there for a while."""
        alone_s = 0.0
        said_s = -math.inf
        while alone_s < ALONE_S:
            there = nodes() & self._peers.connected
            if await self._ask_one_of(there):
                return
            if there and self._clock_s() - said_s >= SAY_PAUSE_S:
                said_s = self._clock_s()
                log.warning(
                    "not serving yet: the others are there and have not told all they know",
                    extra={"peers": " ".join(sorted(there)), "reason": self._unheard_for},
                )
            alone_s = 0.0 if there else alone_s + LOOK_S
            await asyncio.sleep(LOOK_S)

    async def _wait_for_companions(self) -> None:
        """Nodes that joined in the same moment should all have their part before any serves."""
        for _ in range(round(TURN_WAIT_S / LOOK_S)):
            joining = {record.node_id for record in self._view.membership.joining()}
            if not joining & set(self._peers.connected):
                return
            await asyncio.sleep(LOOK_S)

    async def _meet_all(self) -> None:
        """Dial all others once, and hear the news from one that answers, before serving.

        A node that serves earlier would stand in for all it has not dialled yet, and one that was
        away would go by the ring of that time.
        """
        if await self._dial_all() and not self._has_heard():
            await self._hear_one_of(self._tellers)
            await self._dial_all()  # whoever was heard of just now

    async def _dial_all(self) -> bool:
        """Wait until all were tried and one was heard; returns whether any is or was there."""
        met = False
        for _ in range(round(TURN_WAIT_S / LOOK_S)):
            peers = self._view.peers()
            connected = peers & self._peers.connected
            met = met or bool(connected)
            if not self._has_heard():
                await self._ask_one_of(self._tellers())
            tried = all(node in connected or self._peers.was_tried(node) for node in peers)
            if tried and (self._has_heard() or not met):
                break
            await asyncio.sleep(LOOK_S)
        return met

    # -- the record ------------------------------------------------------------------------------

    def _fresh(self, *, incarnation: int) -> MemberRecord:
        return MemberRecord(
            node_id=self._view.me,
            incarnation=incarnation,
            state=MemberState.JOINING,
            rpc=self._rpc,
            http=self._http,
            weight=self._weight,
            zone=self._zone,
            tokens=(),
        )

    def _mine(self) -> MemberRecord:
        mine = self._view.my_record
        assert mine is not None, "announce comes first"
        return mine

    def _say(self, record: MemberRecord) -> None:
        """Publish `record` as this node's next incarnation, with where it is now."""
        self._said = replace(
            record,
            incarnation=record.incarnation + 1,
            rpc=self._rpc,
            http=self._http,
            weight=self._weight,
            zone=self._zone,
        )
        self._view.say(self._said)

    def _choose(self, record: MemberRecord) -> None:
        holders = [
            RingMember(
                node_id=holder.node_id,
                tokens=holder.tokens,
                weight=holder.weight,
                zone=holder.zone,
            )
            for holder in self._view.membership.holders()
            if holder.node_id != self._view.me
        ]
        me = Joiner(node_id=self._view.me, weight=self._weight, zone=self._zone)
        tokens = choose_tokens(holders, [me], self._view.ring.partitions)[self._view.me]
        self._say(replace(record, state=MemberState.MEMBER, tokens=tokens))

    async def _push_mine(self) -> None:
        fact = self._view.facts.get(member_name(self._view.me))
        assert fact is not None, "announce comes first"
        await self._gossip.push(fact, peers_max=PUSH_PEERS_MAX)

    def _on_change(self, fact: Fact) -> None:
        """Defend this node's record, and give way where the ring says so."""
        if self._said is None or self.removed:
            return
        mine = self._mine()
        if fact.name == member_name(self._view.me) and mine != self._said:
            if mine.state is MemberState.REMOVED:
                self.removed = True
                log.warning("this node was removed from the cluster")
                return
            # The cluster remembers this node from before its disk was lost or restored.
            self._say(mine)
            return
        if mine.state is MemberState.MEMBER and self._view.ring.lost_tokens(self._view.me):
            log.warning("another node holds the same tokens; choosing others")
            self._choose(mine)
