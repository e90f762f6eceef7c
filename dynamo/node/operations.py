"""What an operator asks of one node: who is there, what is held, what was counted."""

import os
from collections.abc import Callable

from dynamo.core.detector import Detector
from dynamo.core.ids import NodeId
from dynamo.node.cluster_view import ClusterView
from dynamo.node.heartbeats import Heartbeats
from dynamo.node.stats import Stats
from dynamo.node.tasks import Tasks
from dynamo.rpc.peers import Peers
from dynamo.rpc.server import Server
from dynamo.storage.hints import HintStore
from dynamo.storage.objects import ObjectStore

Figures = dict[str, int | float | str | list[str]]


class Operations:
    """The answers of one node to its operator."""

    def __init__(
        self,
        view: ClusterView,
        heartbeats: Heartbeats,
        detector: Detector,
        objects: ObjectStore,
        hints: HintStore,
        stats: Stats,
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
        self._peers = peers
        self._server = server
        self._tasks = tasks
        self._clock_s = clock_s

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
            **self._stats.read(),
            "os_pid": os.getpid(),
            "ring_num_partitions": self._view.ring.partitions,
            "ring_members": [str(holder.node_id) for holder in self._view.membership.holders()],
            "connected_nodes": sorted(str(node) for node in self._peers.connected),
            "hints_held": sum(self._hints.targets().values()),
            "requests_from_peers_total": self._server.requests_in,
            "requests_to_peers_total": self._peers.requests_out,
            "replies_late_total": self._peers.replies_late,
            "peer_bytes_in_total": self._peers.bytes_in + self._server.bytes_in,
            "peer_bytes_out_total": self._peers.bytes_out + self._server.bytes_out,
            "corrupted_records_total": self._objects.corrupted,
            "task_failures_total": self._tasks.failures,
        }
