"""What an operator asks of one node: who is there, what is held, what was counted."""

import os
from collections.abc import Callable

from dynamo.core.detector import Detector
from dynamo.core.figures import Count, Figure, Gauge, named
from dynamo.core.ids import NodeId
from dynamo.node.cluster_view import ClusterView
from dynamo.node.heartbeats import Heartbeats
from dynamo.node.pacing import Pacer
from dynamo.node.stats import Stats
from dynamo.node.tasks import Tasks
from dynamo.rpc.peers import Peers
from dynamo.rpc.server import Server
from dynamo.storage.engine import Engine
from dynamo.storage.hints import HintStore
from dynamo.storage.objects import ObjectStore

Figures = dict[str, int | float | str | list[str]]


class Operations:
    """The answers of one node to its operator.

    Attributes:
        figures: all that this node tells of itself in numbers.
    """

    def __init__(
        self,
        view: ClusterView,
        heartbeats: Heartbeats,
        detector: Detector,
        objects: ObjectStore,
        hints: HintStore,
        stats: Stats,
        pacer: Pacer,
        engine: Engine,
        peers: Peers,
        server: Server,
        tasks: Tasks,
        clock_s: Callable[[], float],
    ) -> None:
        self._view = view
        self._heartbeats = heartbeats
        self._detector = detector
        self._objects = objects
        self._hints = hints
        self._stats = stats
        self._pacer = pacer
        self._engine = engine
        self._peers = peers
        self._server = server
        self._tasks = tasks
        self._clock_s = clock_s
        self.figures: list[Figure] = [*stats.figures, *self._parts_figures()]

    def opinion(self, node: NodeId) -> str:
        """What this node thinks of another: up, suspect or down."""
        return str(self._heartbeats.opinion(node))

    def members(self) -> list[dict[str, object]]:
        """All members as this node knows them, and what it thinks of them."""
        now_s = self._clock_s()
        return [
            {
                "node": record.node_id,
                "state": record.state.name.lower(),
                "incarnation": record.incarnation,
                "rpc": str(record.rpc),
                "http": str(record.http),
                "zone": record.zone,
                "weight": record.weight,
                "tokens": len(record.tokens),
                "opinion": self.opinion(record.node_id),
                "phi": 0.0
                if record.node_id == self._view.me
                else round(self._detector.phi(record.node_id, now_s), 2),
            }
            for record in self._view.membership.all()
        ]

    def local(self, key: bytes) -> tuple[bytes | None, dict[NodeId, bytes]]:
        """What this node itself holds for an encoded key: its copy, and hints by target."""
        hints = {
            target: state
            for target in sorted(self._hints.targets())
            if (state := self._hints.get(target, key)) is not None
        }
        return self._objects.get(key), hints

    def read_stats(self) -> Figures:
        """What this node counts, by the names that `/stats` shows."""
        return {
            **named(self.figures),
            **self._stats.recent_counts(),
            "os_pid": os.getpid(),
            "ring_members": [str(holder.node_id) for holder in self._view.membership.holders()],
            "connected_nodes": sorted(str(node) for node in self._peers.connected),
        }

    def _parts_figures(self) -> list[Figure]:
        """What the parts of the node count themselves, or can be asked."""
        view, hints, peers, server = self._view, self._hints, self._peers, self._server
        engine, pacer, objects, tasks = self._engine, self._pacer, self._objects, self._tasks
        return [
            Gauge("ring_num_partitions", "partitions of the ring", lambda: view.ring.partitions),
            Gauge("peers_connected", "peers that can be sent to", lambda: len(peers.connected)),
            Count("requests_from_peers", "requests of peers", lambda: server.requests_in),
            Count("requests_to_peers", "requests sent to peers", lambda: peers.requests_out),
            Count("replies_late", "replies nobody waited for", lambda: peers.replies_late),
            Count("peer_bytes_in", "bytes from peers", lambda: peers.bytes_in + server.bytes_in),
            Count("peer_bytes_out", "bytes to peers", lambda: peers.bytes_out + server.bytes_out),
            Gauge("hints_held", "hints kept now", lambda: sum(hints.targets().values())),
            Count("corrupted_records", "records that failed checks", lambda: objects.corrupted),
            Count("task_failures", "background jobs that failed", lambda: tasks.failures),
            Count("commits", "flushes to the disk", lambda: engine.commit_counts.groups),
            Count("commit_writes", "writes made durable", lambda: engine.commit_counts.batches),
            Count(
                "commit_bytes",
                "bytes of keys and values made durable",
                lambda: engine.commit_counts.bytes_written,
            ),
            Gauge(
                "commit_queued_bytes",
                "bytes of writes on their way to the disk",
                lambda: engine.queued_bytes,
            ),
            Count("pacing_units", "units of background work let through", lambda: pacer.units),
            Gauge("pacing_rate", "units of it let through in a second now", lambda: pacer.rate),
            Gauge("pacing_p99_seconds", "99th percentile of requests now", lambda: pacer.p99_s),
            Gauge(
                "pacing_quiet_p99_seconds",
                "the same without background work, as far as it is known",
                lambda: pacer.quiet_p99_s,
            ),
            Gauge(
                "pacing_target_p99_seconds",
                "what background work must not push it above",
                lambda: pacer.target_s,
            ),
        ]
