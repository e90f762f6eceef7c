"""Heartbeats: what keeps this node's opinion of the others fresh (Dynamo 4.8.3).

Every peer is asked "are you there?" once an interval, over the connection that requests use: what
cuts requests off cuts heartbeats off. A peer that goes silent is suspected, its connection is given
up so that calls in flight stop waiting, and dialled anew until it answers.
"""

import asyncio
import logging
from collections.abc import Callable

from dynamo.core.detector import Detector, Opinion
from dynamo.core.ids import NodeId
from dynamo.errors import DynamoError
from dynamo.node.cluster_view import ClusterView
from dynamo.rpc.messages import Heartbeat, Reply
from dynamo.rpc.peers import Peers

log = logging.getLogger(__name__)

LOOKS_PER_INTERVAL = 5
"""How often opinions are formed between two heartbeats: silence is noticed this much sooner."""


class Heartbeats:
    """One node's heartbeats and what it concludes from them.

    Attributes:
        changes: how often it changed its opinion of a node.
    """

    def __init__(
        self,
        view: ClusterView,
        peers: Peers,
        detector: Detector,
        clock_s: Callable[[], float],
        *,
        interval_s: float,
    ) -> None:
        self.changes = 0
        self._view = view
        self._peers = peers
        self._detector = detector
        self._clock_s = clock_s
        self._interval_s = interval_s
        self._opinions: dict[NodeId, Opinion] = {}

    async def step(self) -> None:
        """Ask all peers, and look several times at who has answered."""
        for node in sorted(self._view.peers()):
            self._peers.send(node, Heartbeat(), self._interval_s * 4, self._answered)
        for _ in range(LOOKS_PER_INTERVAL):
            self.look()
            pause_s = self._interval_s / LOOKS_PER_INTERVAL
            looked_s = self._clock_s()
            await asyncio.sleep(pause_s)
            overslept_s = self._clock_s() - looked_s - pause_s
            if overslept_s > self._interval_s:
                log.warning("this node stood still", extra={"for_s": round(overslept_s, 2)})
                self._detector.stood_still(overslept_s)

    def _answered(self, node: NodeId, reply: Reply | DynamoError) -> None:
        if not isinstance(reply, DynamoError):
            self._detector.heartbeat(node, self._clock_s())
            self._consider(node)

    def on_connected(self, node: NodeId) -> None:
        """A connection to `node` passed its handshake: it is there."""
        self._detector.heard(node, self._clock_s())
        self._consider(node)

    def on_lost(self, node: NodeId) -> None:
        """The connection to `node` broke."""
        self._detector.lost(node, self._clock_s())
        self._consider(node)

    def look(self) -> None:
        """Form an opinion of every peer from the silence so far."""
        for node in sorted(self._view.peers()):
            self._consider(node)

    def opinion(self, node: NodeId) -> Opinion:
        """What this node thinks of another now."""
        if node == self._view.me:
            return Opinion.UP
        opinion = self._detector.opinion(node, self._clock_s())
        if opinion is Opinion.UP and node not in self._peers.connected:
            return Opinion.SUSPECT
        return opinion

    def _consider(self, node: NodeId) -> None:
        record = self._view.membership.get(node)
        opinion = self.opinion(node)
        before = self._opinions.get(node)
        self._opinions[node] = opinion
        if opinion is Opinion.UP:
            if record is not None and node in self._view.peers():
                self._view.reached(node)
        else:
            self._view.reachable.discard(node)
            if node in self._peers.connected:
                self._peers.reset(node)
        if opinion is not before:
            self.changes += 1
            log.info("opinion of a node changed", extra={"peer": node, "opinion": str(opinion)})
