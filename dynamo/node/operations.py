"""What an operator asks of one node: who is there, what is held, what was counted."""

import os
from collections.abc import Callable

from dynamo.core.figures import Count, Figure, Gauge, named
from dynamo.core.ids import NodeId
from dynamo.core.tombstones import TombstoneReport
from dynamo.node.cluster_view import ClusterView
from dynamo.node.holdings import Holdings
from dynamo.node.links import Links
from dynamo.node.listing import Listing
from dynamo.node.stats import Stats
from dynamo.node.tasks import Tasks
from dynamo.node.upkeep import Upkeep
from dynamo.storage.engine import Engine

Figures = dict[str, int | float | str | list[str]]


class Operations:
    """The answers of one node to its operator.

    Attributes:
        figures: all that this node tells of itself in numbers.
    """

    def __init__(
        self,
        view: ClusterView,
        links: Links,
        held: Holdings,
        upkeep: Upkeep,
        listing: Listing,
        stats: Stats,
        engine: Engine,
        tasks: Tasks,
        clock_s: Callable[[], float],
        wall_ms: Callable[[], int],
    ) -> None:
        self._view = view
        self._links = links
        self._held = held
        self._upkeep = upkeep
        self._listing = listing
        self._stats = stats
        self._engine = engine
        self._tasks = tasks
        self._clock_s = clock_s
        self._wall_ms = wall_ms
        self.figures: list[Figure] = [*stats.figures, *self._parts_figures()]

    def opinion(self, node: NodeId) -> str:
        """What this node thinks of another: up, suspect or down."""
        return str(self._links.heartbeats.opinion(node))

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
                else round(self._links.detector.phi(record.node_id, now_s), 2),
            }
            for record in self._view.membership.all()
        ]

    def local(self, key: bytes) -> tuple[bytes | None, dict[NodeId, bytes]]:
        """What this node itself holds for an encoded key: its copy, and hints by target."""
        hints = {
            target: state
            for target in sorted(self._held.hints.targets())
            if (state := self._held.hints.get(target, key)) is not None
        }
        return self._held.objects.get(key), hints

    def hints(self) -> list[dict[str, object]]:
        """What this node keeps for others, by whom it is for."""
        view, now_ms = self._view, self._wall_ms()
        return [
            {
                "for": target,
                "hints": held.hints,
                "bytes": held.size_bytes,
                "oldest_age_s": self._oldest_age_s(target, now_ms),
                "reachable": target in view.reachable,
                "removed": view.is_removed(target),
            }
            for target in sorted(self._held.hints.targets())
            for held in [self._held.hints.held_for(target)]
        ]

    def _oldest_age_s(self, target: NodeId, now_ms: int) -> float | None:
        """Of the hint that comes first; None while its row waits to be mended."""
        rows = self._held.hints.rows(target, 0, 1)
        return max(now_ms - rows[0].hinted_at_ms, 0) / 1000 if rows else None

    async def wait_for_hints(self, timeout_s: float) -> dict[str, object]:
        """Return when all hints that are held now are gone, or the time is up.

        Raises:
            Overloaded: too many wait already.
        """
        waited = await self._upkeep.handoff.wait(timeout_s)
        return {
            "waited_for": waited.waited_for,
            "held": sum(waited.left.values()),
            "for": waited.left,
        }

    def tombstones(self) -> TombstoneReport:
        """How many deleted keys this node holds, and what those that it is to forget wait for."""
        return self._upkeep.tombstones.report()

    def read_stats(self) -> Figures:
        """What this node counts, by the names that `/stats` shows."""
        return {
            **named(self.figures),
            **self._stats.recent_counts(),
            "os_pid": os.getpid(),
            "ring_members": [str(holder.node_id) for holder in self._view.membership.holders()],
            "connected_nodes": sorted(str(node) for node in self._links.peers.connected),
        }

    def _parts_figures(self) -> list[Figure]:
        """What the parts of the node count themselves, or can be asked."""
        view, engine, tasks = self._view, self._engine, self._tasks
        hints, objects = self._held.hints, self._held.objects
        peers, server = self._links.peers, self._links.server
        pacer, scrubbing = self._upkeep.pacer, self._upkeep.scrubbing
        return [
            Gauge("list_fsm_active", "listings at work now", lambda: self._listing.at_work),
            Gauge("ring_num_partitions", "partitions of the ring", lambda: view.ring.partitions),
            Gauge("peers_connected", "peers that can be sent to", lambda: len(peers.connected)),
            Count("peer_dials", "connections to peers that were tried", lambda: peers.dials),
            Count(
                "opinions_changed",
                "times a peer came to be up, suspected or down",
                lambda: self._links.heartbeats.changes,
            ),
            Count("requests_from_peers", "requests of peers", lambda: server.requests_in),
            Count("requests_to_peers", "requests sent to peers", lambda: peers.requests_out),
            Count("replies_late", "replies nobody waited for", lambda: peers.replies_late),
            Count("peer_bytes_in", "bytes from peers", lambda: peers.bytes_in + server.bytes_in),
            Count("peer_bytes_out", "bytes to peers", lambda: peers.bytes_out + server.bytes_out),
            Count("hints_stored", "writes kept for another node", lambda: hints.counts.stored),
            Count(
                "hints_delivered",
                "hints that their target has confirmed",
                lambda: hints.counts.delivered,
            ),
            Count(
                "hints_superseded",
                "hints that a later one for the same key was joined to",
                lambda: hints.counts.superseded,
            ),
            Count(
                "hints_expired",
                "hints dropped undelivered, being too old, too many or unreadable",
                lambda: hints.counts.expired,
            ),
            Gauge("tombstones_held", "deleted keys kept now", lambda: self._upkeep.tombstones.held),
            Gauge("hints_held", "hints kept now", lambda: hints.hints_held),
            Gauge("hints_bytes", "bytes of hints kept now", lambda: hints.bytes_held),
            Count("corrupted_records", "records that failed checks", lambda: objects.corrupted),
            Count("records_mended", "of these, replaced since", lambda: objects.mended),
            Count("scrubbed_rows", "records read to see if they rot", lambda: scrubbing.rows),
            Count(
                "tree_entries_mended",
                "entries of the trees' index that were wrong",
                lambda: scrubbing.entries_mended,
            ),
            Gauge(
                "trees_unloaded",
                "partitions that cannot be compared yet",
                lambda: scrubbing.partitions_unloaded,
            ),
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
