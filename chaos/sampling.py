"""Looks at the whole cluster at a fixed interval, and keeps what it saw."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from chaos.errors import MeshError
from chaos.lab import Lab
from chaos.observer import Place
from chaos.recording import Sample
from chaos.toxiproxy.api import together

INTERVAL_S: Final = 0.5

WATCHED_MAX: Final = 20
"""Objects whose replicas are compared at each look; more would be a load of its own."""

_HINT_COUNTERS: Final = ("stored", "delivered", "superseded", "expired")


class Sampler:
    """Takes samples for as long as it is `running`.

    What became of hints is counted on a node's disk, with the hints, so it outlives the process. If
    the disk is lost, the last that was seen of it counts.

    Attributes:
        samples: what was seen so far.
        watched: objects to compare, and their homes.
    """

    def __init__(self, lab: Lab, clock_s: Callable[[], float]) -> None:
        self.samples: list[Sample] = []
        self.watched: Mapping[Place, Sequence[str]] = {}
        self._lab = lab
        self._clock_s = clock_s
        self._disks = Counter[str]()
        self._ledgers: dict[tuple[str, int], dict[str, float]] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look, again and again, for as long as the block lasts; what goes wrong ends it."""
        async with together() as group:
            looking = group.create_task(self._run())
            yield
            looking.cancel()

    async def _run(self) -> None:
        while True:
            begun_s = self._clock_s()
            await self.look()
            await asyncio.sleep(max(0.0, begun_s + INTERVAL_S - self._clock_s()))

    async def look(self) -> None:
        """Take one sample."""
        serving = [name for name, node in self._lab.nodes.items() if node.state == "serving"]
        figures, divergent, link_bytes = await asyncio.gather(
            self._lab.observer.figures(serving), self._divergent(serving), self._link_bytes()
        )
        for node, seen in figures.items():
            self._ledgers[node, self._disks[node]] = seen
        sample = Sample(
            at_s=self._clock_s(),
            nodes={node: _telling(seen) for node, seen in figures.items()},
            states={name: str(node.state) for name, node in self._lab.nodes.items()},
            watched=len(self.watched),
            divergent=divergent,
            link_bytes=link_bytes,
        )
        self.samples.append(sample)

    def disk_lost(self, node: str) -> None:
        """What a node counts from now on is counted on another disk."""
        self._disks[node] += 1

    def hints(self) -> dict[str, int]:
        """What became of hints, over all nodes and disks; `held` now."""
        sums = {
            name: sum(int(seen[f"hints_{name}_total"]) for seen in self._ledgers.values())
            for name in _HINT_COUNTERS
        }
        newest = self.samples[-1].nodes if self.samples else {}
        return sums | {"held": sum(int(seen["hints_held"]) for seen in newest.values())}

    async def _divergent(self, serving: Collection[str]) -> int | None:
        """Of those that serve: who stands still answers nobody, and a look would take seconds."""
        if not self.watched:
            return None
        asked = {
            place: [home for home in homes if home in serving]
            for place, homes in self.watched.items()
        }
        return await self._lab.observer.divergent(self.watched, asked)

    async def _link_bytes(self) -> Mapping[str, int]:
        try:
            return await self._lab.mesh.link_bytes()
        except MeshError:
            return {}  # a sample without them is better than none


def _telling(figures: Mapping[str, float]) -> dict[str, float]:
    """Those that tell something about faults and repairs; the rest is for an operator."""
    return {name: value for name, value in figures.items() if name in KEPT}


KEPT: Final = frozenset(
    {
        "up",
        "os_pid",
        "memory_total",
        "task_failures_total",
        "peers_connected",
        "peer_dials_total",
        "opinions_changed_total",
        "requests_from_peers_total",
        "requests_to_peers_total",
        "replies_late_total",
        "peer_bytes_in_total",
        "peer_bytes_out_total",
        "node_gets_total",
        "node_puts_total",
        "reads_unmet_total",
        "writes_unmet_total",
        "stand_ins_asked_total",
        "hints_held",
        "hints_stored_total",
        "hints_delivered_total",
        "hints_superseded_total",
        "hints_expired_total",
        "read_repairs_total",
        "exchanges_total",
        "exchanges_failed_total",
        "exchange_keys_compared_total",
        "exchange_keys_pulled_total",
        "exchange_keys_pushed_total",
        "exchange_hashes_in_total",
        "exchange_hashes_out_total",
        "tombstones_held",
        "tombstones_collected_total",
        "corrupted_records_total",
        "node_get_fsm_siblings_100",
        "http_failures_total",
        "http_shed_total",
        "commits_total",
    }
)
