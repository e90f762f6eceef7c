"""How one node keeps in touch with the others, put together: whom it dials, and what they say.

heartbeats, gossip       what is said when nobody asks
    |
peers -- network -- server    requests out on connections this node dialled, and in on others'
"""

import random
from collections import Counter
from collections.abc import Callable

from dynamo.config import ClusterConfig, NodeConfig
from dynamo.core.detector import Detector
from dynamo.core.ids import Address, NodeId
from dynamo.node.cluster_view import ClusterView
from dynamo.node.gossip import Gossip
from dynamo.node.heartbeats import Heartbeats
from dynamo.node.tasks import Tasks
from dynamo.rpc.handshake import Identity
from dynamo.rpc.peers import Peers
from dynamo.rpc.server import Handle, Server
from dynamo.rpc.wire import Wire

PAUSE_S = 1.0
"""A silence this long is nobody's fault: a busy machine, a pause of the interpreter."""


class Links:
    """One node's ways to the others.

    Attributes:
        seeds: whom the settings name.
        peers: requests to others.
        server: requests of others.
        detector: how likely it is that each is gone.
        heartbeats: who can be reached.
        gossip: brings facts, and spreads them.
    """

    def __init__(
        self,
        view: ClusterView,
        wire: Wire,
        dice: random.Random,
        clock_s: Callable[[], float],
        cluster: ClusterConfig,
        config: NodeConfig,
        *,
        handle: Handle,
    ) -> None:
        """Nobody is dialled yet; `handle` answers what others ask."""
        self._view = view
        self._clock_s = clock_s
        self._config = config
        self._dials: Counter[NodeId] = Counter()
        self.seeds = {seed.node_id: seed.address for seed in config.seeds}
        identity = Identity(
            node_id=view.me, cluster=cluster.name, cluster_fingerprint=cluster.fingerprint()
        )
        self.peers = Peers(
            wire,
            identity,
            resolve=self._resolve,
            dice=dice,
            on_outcome=self._on_outcome,
            on_connected=lambda node: self.heartbeats.on_connected(node),
            on_lost=lambda node: self.heartbeats.on_lost(node),
        )
        self.server = Server(wire, identity, handle)
        self.detector = Detector(
            expected_s=config.heartbeat_interval_s,
            suspect_phi=config.suspect_phi,
            pause_s=PAUSE_S,
        )
        self.heartbeats = Heartbeats(
            view, self.peers, self.detector, clock_s, interval_s=config.heartbeat_interval_s
        )
        self.gossip = Gossip(
            view,
            self.peers,
            dice,
            interval_s=config.gossip_interval_s,
            candidates=self._wanted,
        )

    async def listen(self) -> None:
        """Take requests of others.

        Raises:
            OSError: the address cannot be listened on.
        """
        await self.server.start(self._config.rpc_address)

    def start(self, tasks: Tasks) -> None:
        """Dial the others, and go on speaking to them."""
        self.keep()
        tasks.repeat(self.heartbeats.step, "heartbeats")
        tasks.repeat(self.gossip.step, "gossip")

    def keep(self) -> None:
        """Hold connections to those who are wanted now, and to no others."""
        self.peers.keep(self._wanted())

    async def close(self) -> None:
        """End all connections."""
        await self.peers.close()
        await self.server.close()

    def _wanted(self) -> list[NodeId]:
        """Whom to hold connections to: members, and seeds as long as they may be members."""
        membership = self._view.membership
        strangers = {seed for seed in self.seeds if membership.get(seed) is None}
        return sorted((self._view.peers() | strangers) - {self._view.me})

    def _resolve(self, node: NodeId) -> Address | None:
        """Where to dial a node: where the settings' map says, else where it was last known to be.

        A seed that does not answer where it was is tried at its seed address in turn: a cluster
        whose nodes all moved while it was down finds itself again.
        """
        overridden = self._config.peer_addresses.get(node)
        if overridden is not None:
            return overridden
        record = self._view.membership.get(node)
        known = [record.rpc] if record is not None else []
        seed = self.seeds.get(node)
        if seed is not None and seed not in known:
            known.append(seed)
        self._dials[node] += 1
        return known[self._dials[node] % len(known)] if known else None

    def _on_outcome(self, node: NodeId, ok: bool) -> None:
        if ok:
            self.detector.heard(node, self._clock_s())
