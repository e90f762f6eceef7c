"""One node, put together: what it holds, whom it talks to, and the jobs it does.

The doors to the world (disk, network, clock, dice) come in from outside, so that a simulation runs
this very class. The clock is the running loop's. Only this file and those that put its parts
together read the settings; the jobs get plain values.

    http, or a simulated client
        |
    coordinator, listing        upkeep (handoff, anti-entropy, ...)      the jobs
        |                           |
    replica (own copies)        links (peers, server, gossip, ...)       the ways
        |
    holdings (objects, hints, trees) -- engine -- disk                   what is held
"""

import asyncio
import logging
import random
from collections.abc import Callable

from dynamo.config import ClusterConfig, NodeConfig
from dynamo.core.facts import PROPERTIES, TYPE, Fact
from dynamo.core.ids import NodeId
from dynamo.core.membership import member_name
from dynamo.core.property_book import PropertyBook
from dynamo.core.ring import Ring
from dynamo.errors import (
    CodecError,
    ConfigError,
    DynamoError,
    NotReady,
    OutcomeUnknown,
    Overloaded,
    StartupError,
)
from dynamo.node.bucket_properties import BucketProperties
from dynamo.node.bucket_types import BucketTypes
from dynamo.node.cluster_view import ClusterView
from dynamo.node.coordinator import Coordinator
from dynamo.node.divergence import Divergence
from dynamo.node.fact_memory import FactMemory
from dynamo.node.holdings import Holdings
from dynamo.node.joining import Joining
from dynamo.node.links import Links
from dynamo.node.listing import Listing
from dynamo.node.minting import Minting
from dynamo.node.operations import Operations
from dynamo.node.publishing import Publisher
from dynamo.node.removal import Removal
from dynamo.node.replica import DONE, Replica, Respond
from dynamo.node.stats import Stats
from dynamo.node.tasks import Tasks
from dynamo.node.upkeep import Upkeep
from dynamo.node.writes import OnReply
from dynamo.rpc.failures import to_error, to_failed
from dynamo.rpc.handshake import HANDSHAKE_S_MAX
from dynamo.rpc.messages import (
    ConfirmType,
    Failed,
    ForwardPut,
    GossipExchange,
    GossipOffer,
    Heartbeat,
    ListKeys,
    ListTreeKeys,
    ReadTrees,
    ReplicaGet,
    ReplicaPut,
    Reply,
    Request,
    TombstoneAsk,
    TombstoneCollect,
)
from dynamo.rpc.wire import Wire
from dynamo.storage.engine import Engine

log = logging.getLogger(__name__)

TASKS_MAX = 10_000
"""Bounds what peers can make this node do at once; forwarded writes are the many."""

UNFIT_LOOK_S = 0.5

_OF_UPKEEP = frozenset({TombstoneAsk, TombstoneCollect, ReadTrees, ListTreeKeys})
_WRITES = frozenset({ReplicaPut, ForwardPut, TombstoneCollect, ConfirmType})


class Node:
    """A node of the cluster, without its HTTP interface.

    Attributes:
        cluster: what all nodes have in common.
        config: what is this node's own.
        dice: the source of all its randomness.
        wall_ms: the time of day in milliseconds; it is shown, and orders what clients asked to be
            ordered by it.
        coordinator: sees reads and writes through.
        listing: lists keys and buckets.
        bucket_properties: changes the properties of buckets.
        bucket_types: makes bucket types.
        operations: answers an operator.
        removal: removes other nodes.
        upkeep: keeps replicas whole.
        held: its stores.
        links: its ways to the others.
        stats: counts.
        view: the cluster as this node sees it.
        replica: what it holds.
    """

    def __init__(
        self,
        cluster: ClusterConfig,
        config: NodeConfig,
        *,
        engine: Engine,
        wire: Wire,
        dice: random.Random,
        wall_ms: Callable[[], int],
    ) -> None:
        """Called on the running loop that the node is to use; nothing is started yet.

        Raises:
            ConfigError: a bucket property in the settings is wrong, or a time out of bounds.
            StorageError: the disk cannot be read.
        """
        if config.replica_timeout_s > cluster.stragglers_s_max:
            raise ConfigError(
                f"[node] replica_timeout_s is {config.replica_timeout_s:g}, but must be at most"
                f" [cluster] stragglers_s_max ({cluster.stragglers_s_max:g})"
            )
        loop = asyncio.get_running_loop()
        clock_s = loop.time
        self.cluster = cluster
        self.config = config
        self.dice = dice
        self.wall_ms = wall_ms
        self.stats = Stats(clock_s)
        self._loop = loop
        self._engine = engine
        self._joined = asyncio.Event()
        self._join_failure: Exception | None = None
        self._serves = False
        self._tasks = Tasks(tasks_max=TASKS_MAX)
        me = NodeId(config.node_id)
        # Their claimant has to be the same on all nodes, as all else of them is.
        claimant = min([me, *(seed.node_id for seed in config.seeds)])
        self.view = ClusterView(
            me,
            cluster.partitions,
            PropertyBook(cluster.bucket_types, cluster.bucket_defaults, claimant=claimant),
        )
        self._memory = FactMemory(engine, self.view.facts)
        settle_s = 3 * cluster.stragglers_s_max + HANDSHAKE_S_MAX
        self.held = Holdings(self.view, engine, dice, clock_s, wall_ms, config, settle_s=settle_s)
        self.replica = Replica(
            self.held.objects,
            self.held.hints,
            self.stats.counters,
            wall_ms,
            partitions=cluster.partitions,
        )
        self.links = Links(self.view, wire, dice, clock_s, cluster, config, handle=self._handle)
        self._joining = Joining(
            self.view,
            self.links.gossip,
            self.links.peers,
            clock_s,
            seeds=frozenset(self.links.seeds),
            rpc=config.advertised_rpc,
            http=config.advertised_http,
            weight=config.weight,
            zone=config.zone,
        )
        self._minting = Minting(
            self.held.objects, dice.randbytes, clock_s, siblings_max=config.siblings_max
        )
        self.upkeep = Upkeep(
            self.view,
            self.held,
            self._send,
            self._tasks,
            self.stats.counters,
            dice,
            clock_s,
            wall_ms,
            config,
            is_serving=lambda: self.serving,
            forget_minted=self._minting.forget,
            settle_s=settle_s,
        )
        self.coordinator = Coordinator(
            self.view,
            self._minting,
            self.replica,
            self.links.peers,
            self._send,
            self.stats,
            self.upkeep.pacer,
            clock_s,
            wall_ms,
            replica_timeout_s=config.replica_timeout_s,
            read_repair=config.read_repair,
            stragglers_s_max=cluster.stragglers_s_max,
        )
        self.listing = Listing(
            self.view,
            self._send,
            self.coordinator.get,
            clock_s,
            replica_timeout_s=config.replica_timeout_s,
        )
        publisher = Publisher(self.view, self._memory, self.links.gossip)
        self.bucket_properties = BucketProperties(self.view, publisher)
        self.bucket_types = BucketTypes(
            self.view, publisher, self._memory, self.links.gossip, self.links.peers
        )
        self.removal = Removal(self.view, publisher)
        self.operations = Operations(
            self.view,
            self.links,
            self.held,
            self.upkeep,
            self.listing,
            self.stats,
            engine,
            self._tasks,
            clock_s,
            wall_ms,
        )

    # -- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen for peers and begin to join; `joined` tells when this node serves.

        Raises:
            OSError: the address for peers cannot be listened on.
            StartupError: an operator removed this node from the cluster.
            StorageError: the disk cannot be read.
        """
        for fact in self._memory.recall():
            try:
                self.view.learn(fact)
            except (CodecError, Overloaded) as error:  # gossip brings it anew, if it is of use
                log.error("a remembered fact is not taken", extra={"reason": str(error)})
        self.view.on_change.append(self._on_fact)
        self.view.on_return.append(self._minting.on_return)
        await self.links.listen()
        self._joining.announce()
        self.links.start(self._tasks)
        self._tasks.repeat(self._memory.step, "facts on disk")
        self.upkeep.start()
        self._tasks.spawn(self._join(), "join")

    async def _join(self) -> None:
        try:
            await self._joining.join()
            # A node that forgot who else is there would serve by the ring of before.
            await self._memory.keep_durably(member_name(self.view.me))
            self._serves = True
            log.info("joined", extra={"members": len(self.view.membership.holders())})
        except Exception as error:
            self._join_failure = error
            raise
        finally:
            self._joined.set()

    async def joined(self) -> None:
        """Wait until this node holds its part of the ring and serves.

        Raises:
            StartupError: it never will.
        """
        await self._joined.wait()
        if self._join_failure is not None:
            raise StartupError(
                f"{self.view.me} cannot join the cluster: {self._join_failure}"
            ) from self._join_failure

    @property
    def serving(self) -> bool:
        """Whether this node takes requests: it has joined, and is still fit to."""
        return self._serves and self._unfit() is None

    def _unfit(self) -> str | None:
        if self._joining.removed:
            return "it was removed from the cluster"
        if self._engine.failure is not None:
            return str(self._engine.failure)
        return None

    async def until_unfit(self) -> None:
        """Wait until this node can serve no more: removed by an operator, or its disk failed.

        It should be stopped then: as long as it runs, others count on it.

        Raises:
            StartupError: always, with the reason.
        """
        while True:
            if (reason := self._unfit()) is not None:
                raise StartupError(f"{self.view.me} stops: {reason}")
            await asyncio.sleep(UNFIT_LOOK_S)

    async def stop(self) -> None:
        """End all jobs and connections, then let the disk finish what it was given."""
        await self._tasks.close()
        await self.links.close()
        await self.held.hints.close()
        await self._engine.close()

    # -- what others ask -------------------------------------------------------------------------

    def _handle(self, peer: NodeId, request: Request, deadline_s: float, respond: Respond) -> None:
        """Answer a peer; whatever is raised becomes the answer."""
        kind = type(request)
        if kind in _WRITES and self.view.is_removed(peer):
            # It may hold what was deleted and forgotten since, and has not heard that it is out.
            raise NotReady(f"{peer} was removed from the cluster")
        if kind in _WRITES and self._joining.removed:
            raise NotReady(f"{self.view.me} was removed from the cluster")
        if kind is ReplicaPut or kind is ReplicaGet or kind is ListKeys:
            self._serve_replica(request, respond)
        elif kind is Heartbeat:
            respond(DONE)
        elif kind in _OF_UPKEEP:
            self._serve_replica(request, respond)
        elif isinstance(request, GossipOffer):
            respond(self.links.gossip.on_offer(request))
        elif isinstance(request, GossipExchange):
            respond(self.links.gossip.on_exchange(request, peer))
        elif isinstance(request, ConfirmType):
            self._tasks.spawn(self.bucket_types.confirm(request, respond), f"type for {peer}")
        elif isinstance(request, ForwardPut):
            if not self.serving:
                raise NotReady(f"{self.view.me} has not joined yet")
            self._tasks.spawn(self._forwarded(request, deadline_s, respond), f"write for {peer}")

    def _serve_replica(self, request: Request, respond: Respond) -> None:
        if isinstance(request, ReplicaPut):
            if request.stands_in_for:
                self.held.watch.end(request.key)
            self.replica.put(request, respond)
        elif isinstance(request, ReplicaGet):
            respond(self.replica.get(request))
        elif isinstance(request, ListKeys):
            respond(self.replica.list_keys(request))
        else:
            self.upkeep.answer(request, respond)

    async def _forwarded(self, request: ForwardPut, deadline_s: float, respond: Respond) -> None:
        try:
            respond(await self.coordinator.forwarded(request, deadline_s))
        except DynamoError as error:
            respond(to_failed(error))
        except Exception:
            respond(to_failed(OutcomeUnknown(f"{self.view.me} failed at the write")))
            raise

    def _send(self, node: NodeId, request: Request, timeout_s: float, on_reply: OnReply) -> None:
        """Ask a peer, or this node itself, whose answer to a read may come before this returns."""
        if node != self.view.me:
            self.links.peers.send(node, request, timeout_s, on_reply)
            return

        def respond(reply: Reply) -> None:
            on_reply(node, to_error(reply) if isinstance(reply, Failed) else reply)

        try:
            self._serve_replica(request, respond)
        except DynamoError as error:
            self._loop.call_soon(on_reply, node, error)

    def _on_fact(self, fact: Fact) -> None:
        self.links.keep()
        # The newest of that name, not `fact`: it may have been answered by a newer one already.
        self._memory.keep(fact.name)
        if fact.name[:1] in (PROPERTIES, TYPE):
            self.held.trees.properties_changed()

    # -- what the interface asks -----------------------------------------------------------------

    @property
    def divergence(self) -> Divergence:
        """Tells whether the replicas are equal."""
        return self.upkeep.divergence

    @property
    def properties(self) -> PropertyBook:
        """The properties of all buckets."""
        return self.view.properties

    @property
    def ring(self) -> Ring:
        """The placement of partitions as this node knows it."""
        return self.view.ring
