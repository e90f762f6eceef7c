"""One node, put together: what it holds, whom it talks to, and the jobs it does.

The doors to the world (disk, network, clock, dice) come in from outside, so that a simulation runs
this very class. The clock is the running loop's. Only this file reads the settings; the jobs get
plain values.

    http, or a simulated client
        |
    coordinator, listing          gossip, joining, heartbeats, handoff     the jobs
        |                              |
    replica (own copies)          peers -- network -- server               the ways
        |
    objects, hints -- engine -- disk                                       what is held
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable

from dynamo.config import ClusterConfig, NodeConfig
from dynamo.core.detector import Detector
from dynamo.core.facts import PROPERTIES, Fact
from dynamo.core.ids import DEFAULT_BUCKET_TYPE, Address, Bucket, NodeId
from dynamo.core.membership import member_name
from dynamo.core.properties import PropertyBook
from dynamo.core.ring import Ring
from dynamo.errors import (
    CodecError,
    ConfigError,
    DynamoError,
    NotReady,
    OutcomeUnknown,
    StartupError,
)
from dynamo.node.anti_entropy import AntiEntropy
from dynamo.node.bucket_properties import BucketProperties
from dynamo.node.cluster_view import ClusterView
from dynamo.node.comparison import TreeAnswers
from dynamo.node.coordinator import Coordinator
from dynamo.node.divergence import Divergence
from dynamo.node.fact_memory import FactMemory
from dynamo.node.gossip import Gossip
from dynamo.node.handoff import Handoff
from dynamo.node.heartbeats import Heartbeats
from dynamo.node.joining import Joining
from dynamo.node.listing import Listing
from dynamo.node.minting import Minting
from dynamo.node.operations import Operations
from dynamo.node.orphans import Orphans
from dynamo.node.pacing import Pacer
from dynamo.node.publishing import Publisher
from dynamo.node.removal import Removal
from dynamo.node.replica import DONE, Replica, Respond
from dynamo.node.scrubbing import Scrubbing
from dynamo.node.stats import Stats
from dynamo.node.tasks import Tasks
from dynamo.node.tombstone_watch import TombstoneAnswers, Watch
from dynamo.node.tombstones import Tombstones
from dynamo.node.writes import OnReply
from dynamo.rpc.failures import to_error, to_failed
from dynamo.rpc.handshake import HANDSHAKE_S_MAX, Identity
from dynamo.rpc.messages import (
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
from dynamo.rpc.peers import Peers
from dynamo.rpc.server import Server
from dynamo.rpc.wire import Wire
from dynamo.storage.engine import Engine
from dynamo.storage.hints import HintStore
from dynamo.storage.objects import ObjectStore
from dynamo.storage.tombstones import TombstoneStore
from dynamo.storage.trees import Trees

log = logging.getLogger(__name__)

TASKS_MAX = 10_000
"""Bounds what peers can make this node do at once; forwarded writes are the many."""

UNFIT_LOOK_S = 0.5

PAUSE_S = 1.0
"""A silence this long is nobody's fault: a busy machine, a pause of the interpreter."""


_DEFAULT_BUCKET = Bucket(DEFAULT_BUCKET_TYPE, b"")

_OF_JOBS = frozenset({TombstoneAsk, TombstoneCollect, ReadTrees, ListTreeKeys})
_WRITES = frozenset({ReplicaPut, ForwardPut, TombstoneCollect})


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
        operations: answers an operator.
        removal: removes other nodes.
        pacer: the gate of all background work.
        anti_entropy: compares this node with others.
        divergence: tells whether the replicas are equal.
        scrubbing: reads its disk.
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
        self._seeds = {seed.node_id: seed.address for seed in config.seeds}
        self._joined = asyncio.Event()
        self._join_failure: Exception | None = None
        self._serves = False
        self._dials: Counter[NodeId] = Counter()
        self._tasks = Tasks(tasks_max=TASKS_MAX)
        self.pacer = Pacer(clock_s, p99_s_max=config.foreground_p99_ms_max / 1000)
        me = NodeId(config.node_id)
        identity = Identity(
            node_id=me, cluster=cluster.name, cluster_fingerprint=cluster.fingerprint()
        )

        properties = PropertyBook(cluster.bucket_types, cluster.bucket_defaults)
        self.view = ClusterView(me, cluster.partitions, properties)
        self._memory = FactMemory(engine, self.view.facts)
        settle_s = 3 * cluster.stragglers_s_max + HANDSHAKE_S_MAX
        self._watch = Watch(clock_s, first_number=dice.randrange(1, 2**48), kept_s=3 * settle_s)
        deleted = TombstoneStore(engine, self._partition_of, wall_ms, on_change=self._watch.end)
        self._trees = Trees(engine, cluster.partitions, self._partition_of, self._n_of)
        self._objects = ObjectStore(engine, self._partition_of, dice, [deleted, self._trees])
        self._hints = HintStore(
            engine,
            bytes_max=config.hints_bytes_max,
            queued_bytes_max=config.queued_bytes_max // 2,  # the other half is not for hints
        )
        self.replica = Replica(
            self._objects,
            self._hints,
            self.stats.counters,
            wall_ms,
            partitions=cluster.partitions,
        )
        self._peers = Peers(
            wire,
            identity,
            resolve=self._resolve,
            dice=dice,
            on_outcome=self._on_outcome,
            on_connected=lambda node: self._heartbeats.on_connected(node),
            on_lost=lambda node: self._heartbeats.on_lost(node),
        )
        self._server = Server(wire, identity, self._handle)
        self._detector = Detector(
            expected_s=config.heartbeat_interval_s,
            suspect_phi=config.suspect_phi,
            pause_s=PAUSE_S,
        )
        self._heartbeats = Heartbeats(
            self.view,
            self._peers,
            self._detector,
            clock_s,
            interval_s=config.heartbeat_interval_s,
        )
        self._gossip = Gossip(
            self.view,
            self._peers,
            dice,
            interval_s=config.gossip_interval_s,
            candidates=self._wanted_peers,
        )
        self._joining = Joining(
            self.view,
            self._gossip,
            self._peers,
            clock_s,
            seeds=frozenset(self._seeds),
            rpc=config.advertised_rpc,
            http=config.advertised_http,
            weight=config.weight,
            zone=config.zone,
        )
        self._minting = Minting(
            self._objects, dice.randbytes, clock_s, siblings_max=config.siblings_max
        )
        self.coordinator = Coordinator(
            self.view,
            self._minting,
            self.replica,
            self._peers,
            self._send,
            self.stats,
            self.pacer,
            clock_s,
            wall_ms,
            replica_timeout_s=config.replica_timeout_s,
            read_repair=config.read_repair,
            stragglers_s_max=cluster.stragglers_s_max,
        )
        self.listing = Listing(
            self.view, self._send, clock_s, replica_timeout_s=config.replica_timeout_s
        )
        self._handoff = Handoff(
            self.view,
            self._hints,
            self._send,
            self.pacer,
            self._tasks,
            self.stats.counters,
            clock_s,
            wall_ms,
            serving=lambda: self.serving,
            delivers=config.hinted_handoff,
            interval_s=config.handoff_interval_s,
            replica_timeout_s=config.replica_timeout_s,
            hint_age_s_max=config.hint_age_s_max,
        )
        self._tombstone_answers = TombstoneAnswers(
            self.view, self._objects, self._hints, self._watch, clock_s, self._minting.forget
        )
        self._tombstones = Tombstones(
            self.view,
            deleted,
            self._objects,
            self._send,
            self.pacer,
            self.stats.counters,
            clock_s,
            collects=config.tombstone_collection,
            settle_s=settle_s,
            call_timeout_s=config.replica_timeout_s,
        )
        self._tree_answers = TreeAnswers(self.view, self._trees, self.stats.counters)
        self.scrubbing = Scrubbing(
            self._trees, self._objects, self.pacer, partitions=cluster.partitions
        )
        self.anti_entropy = AntiEntropy(
            self.view,
            self._trees,
            self._tree_answers,
            self._objects,
            self._send,
            self.pacer,
            self.stats.counters,
            dice,
            is_serving=lambda: self.serving,
            interval_s=config.anti_entropy_interval_s,
            call_timeout_s=config.replica_timeout_s,
        )
        self._orphans = Orphans(
            self.view,
            self._trees,
            self._objects,
            self._send,
            self.pacer,
            self.stats.counters,
            clock_s,
            is_serving=lambda: self.serving,
            call_timeout_s=config.replica_timeout_s,
        )
        self.divergence = Divergence(
            self.view, self._trees, self._send, dice, call_timeout_s=config.replica_timeout_s
        )
        publisher = Publisher(self.view, self._memory, self._gossip)
        self.bucket_properties = BucketProperties(self.view, publisher)
        self.removal = Removal(self.view, publisher)
        self.operations = Operations(
            self.view,
            self._heartbeats,
            self._detector,
            self._objects,
            self._hints,
            self._handoff,
            self._tombstones,
            self.scrubbing,
            self.stats,
            self.pacer,
            engine,
            self._peers,
            self._server,
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
            except CodecError as error:  # gossip brings it anew, if it is of use
                log.error("a remembered fact makes no sense", extra={"reason": str(error)})
        self.view.on_change.append(self._on_fact)
        self.view.on_return.append(self._minting.on_return)
        await self._server.start(self.config.rpc_address)
        self._joining.announce()
        self._peers.keep(self._wanted_peers())
        self._tasks.repeat(self._heartbeats.step, "heartbeats")
        self._tasks.repeat(self._gossip.step, "gossip")
        self._tasks.repeat(self.pacer.step, "pacing")
        if self.config.tombstone_collection:
            self._tasks.repeat(self._tombstones.step, "tombstones")
        self._tasks.repeat(self._handoff.step, "handoff")
        self._tasks.repeat(self.scrubbing.keep_loaded, "trees")
        self._tasks.repeat(self.scrubbing.walk, "scrubbing")
        if self.config.anti_entropy:
            self._tasks.repeat(self.anti_entropy.step, "anti-entropy")
            self._tasks.repeat(self._orphans.step, "orphans")
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
        await self._peers.close()
        await self._server.close()
        await self._hints.close()
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
        elif kind in _OF_JOBS:
            self._serve_replica(request, respond)
        elif isinstance(request, GossipOffer):
            respond(self._gossip.on_offer(request))
        elif isinstance(request, GossipExchange):
            respond(self._gossip.on_exchange(request, peer))
        elif isinstance(request, ForwardPut):
            if not self.serving:
                raise NotReady(f"{self.view.me} has not joined yet")
            self._tasks.spawn(self._forwarded(request, deadline_s, respond), f"write for {peer}")

    def _serve_replica(self, request: Request, respond: Respond) -> None:
        if isinstance(request, ReplicaPut):
            if request.stands_in_for:
                self._watch.end(request.key)
            self.replica.put(request, respond)
        elif isinstance(request, ReplicaGet):
            respond(self.replica.get(request))
        elif isinstance(request, ListKeys):
            respond(self.replica.list_keys(request))
        elif isinstance(request, ReadTrees):
            respond(self._tree_answers.read(request))
        elif isinstance(request, ListTreeKeys):
            respond(self._tree_answers.list_keys(request))
        elif isinstance(request, TombstoneAsk):
            respond(self._tombstone_answers.stand(request))
        elif isinstance(request, TombstoneCollect):
            self._tombstone_answers.collect(request, respond)

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
            self._peers.send(node, request, timeout_s, on_reply)
            return

        def respond(reply: Reply) -> None:
            on_reply(node, to_error(reply) if isinstance(reply, Failed) else reply)

        try:
            self._serve_replica(request, respond)
        except DynamoError as error:
            self._loop.call_soon(on_reply, node, error)

    # -- what the jobs ask of each other ---------------------------------------------------------

    def _partition_of(self, key: bytes) -> int:
        return self.view.ring.partition_of(key)

    def _n_of(self, bucket: Bucket) -> int:
        """How many replicas a bucket's keys have."""
        properties = self.properties.of(bucket) or self.properties.of(_DEFAULT_BUCKET)
        return properties.n_val if properties is not None else 1

    def _wanted_peers(self) -> list[NodeId]:
        """Whom to hold connections to: members, and seeds as long as they may be members."""
        membership = self.view.membership
        strangers = {seed for seed in self._seeds if membership.get(seed) is None}
        return sorted((self.view.peers() | strangers) - {self.view.me})

    def _resolve(self, node: NodeId) -> Address | None:
        """Where to dial a node: where the settings' map says, else where it was last known to be.

        A seed that does not answer where it was is tried at its seed address in turn: a cluster
        whose nodes all moved while it was down finds itself again.
        """
        overridden = self.config.peer_addresses.get(node)
        if overridden is not None:
            return overridden
        record = self.view.membership.get(node)
        known = [record.rpc] if record is not None else []
        seed = self._seeds.get(node)
        if seed is not None and seed not in known:
            known.append(seed)
        self._dials[node] += 1
        return known[self._dials[node] % len(known)] if known else None

    def _on_outcome(self, node: NodeId, ok: bool) -> None:
        if ok:
            self._detector.heard(node, self._loop.time())

    def _on_fact(self, fact: Fact) -> None:
        self._peers.keep(self._wanted_peers())
        # The newest of that name, not `fact`: it may have been answered by a newer one already.
        self._memory.keep(fact.name)
        if fact.name[:1] == PROPERTIES:
            self._trees.properties_changed()

    # -- what the interface asks -----------------------------------------------------------------

    @property
    def properties(self) -> PropertyBook:
        """The properties of all buckets."""
        return self.view.properties

    @property
    def ring(self) -> Ring:
        """The placement of partitions as this node knows it."""
        return self.view.ring
