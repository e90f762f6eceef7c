"""What an experiment's script works with: load, faults, waits, and words on what is going on.

    async with stage.load(*traffics):
        await stage.last(3, "all is well")
        async with stage.cut(split(sides), CutKind.DROP):
            await stage.noticed()
            await stage.last(8, "the two halves do not hear each other")
        await stage.last(3, "healed")

Every fault is logged with the two edges between which it came about, and is taken back when its
block ends, however it ends.
"""

import asyncio
import dataclasses
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Final

from chaos.clients import History, LabClient
from chaos.errors import ClusterError
from chaos.experiment import TakePlan
from chaos.fault_log import FaultLog, Pair
from chaos.lab import Lab
from chaos.links import PAST, CutKind, Link, Toxic, Way, disturb_each, unanswered
from chaos.load import Load, Stream
from chaos.observer import Place
from chaos.recording import LATE, Edge, Fault, Mark, Placement, ReplicaState
from chaos.sampling import WATCHED_MAX, Sampler
from chaos.waiting import until
from chaos.workloads.workload import Workload
from dynamo.config import NodeConfig
from dynamo.errors import DynamoError, StartupError
from dynamo.node_process import NodeProcess

NOTICED_S_MAX: Final = 15.0
"""Until all nodes know whom they do not reach; two seconds is usual."""

_ACT_S: Final = 0.5
"""Until requests go by what heartbeats found: a look more, and those under way."""

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """A workload, and who does how much of it.

    Attributes:
        rate_hz: arrivals a second, of all its clients together.
        clients: by name; all of the take if not given.
        sequential: a client's step waits for the one before (`load.py`).
        at_random: arrivals know nothing of each other, instead of coming evenly.
    """

    workload: Workload
    rate_hz: float
    clients: tuple[str, ...] = ()
    sequential: bool = False
    at_random: bool = False


class Stage:
    """One take while it runs.

    Attributes:
        plan: what it is made of.
        lab: the cluster.
        history: what clients did.
        clients: by name.
        dice: of this take, from the run's seed.
        figures: what the script measured; recorded as they are in the end.
    """

    def __init__(
        self,
        plan: TakePlan,
        lab: Lab,
        *,
        sampler: Sampler,
        history: History,
        clients: Mapping[str, LabClient],
        dice: Random,
        clock_s: Callable[[], float],
        say: Say,
    ) -> None:
        self.plan = plan
        self.lab = lab
        self.history = history
        self.clients = clients
        self.dice = dice
        self.figures: dict[str, float] = {}
        self.placements: dict[Place, Placement] = {}
        self.say = say
        self.clock_s = clock_s
        self._sampler = sampler
        self._log = FaultLog()
        self._numbers = itertools.count()

    @property
    def faults(self) -> Sequence[Fault]:
        """What was broken so far, and when."""
        return self._log.faults

    @property
    def marks(self) -> Sequence[Mark]:
        """Moments that have a name."""
        return self._log.marks

    def mark(self, name: str) -> None:
        """Give this moment a name."""
        self._log.mark(name, self.clock_s())

    async def last(self, seconds: float, saying: str) -> None:
        """Let time go by."""
        self.say(saying)
        await asyncio.sleep(seconds)

    # ---- load

    async def prepare(self, *workloads: Workload) -> None:
        """Put in place what workloads need, and learn where their objects belong."""
        self.say("preparing")
        for workload in workloads:
            await workload.prepare(self.clients)
        places = [place for workload in workloads for place in workload.objects()]
        placements = await self.lab.observer.locate(places)
        self.placements.update(zip(places, placements, strict=True))
        known = list(self.placements)
        watched = self.dice.sample(known, min(WATCHED_MAX, len(known)))
        self._sampler.watched = {place: self.placements[place].primaries for place in watched}

    @asynccontextmanager
    async def load(self, *traffics: Traffic) -> AsyncIterator[Load]:
        """Clients ask for as long as the block lasts; what needs preparing is prepared first."""
        unknown = [t.workload for t in traffics if not self.placements.keys() >= _places(t)]
        if unknown:
            await self.prepare(*unknown)
        streams = [
            Stream(
                workload=traffic.workload,
                client=self.clients[name],
                rate_hz=traffic.rate_hz / len(names),
                sequential=traffic.sequential,
                at_random=traffic.at_random,
            )
            for traffic in traffics
            if (names := traffic.clients or tuple(self.clients))
            for name in names
        ]
        self.mark("warm")
        async with Load(streams, self.history, self.dice).running() as load:
            yield load
        counted = {
            "arrivals": load.sent,
            "arrivals never sent": load.never_sent,
            "arrivals whose turn never came": load.overdue,
        }
        for name, count in counted.items():
            self.figures[name] = self.figures.get(name, 0) + count
        self.figures[LATE] = max(self.figures.get(LATE, 0.0), load.late_s_max)

    @property
    def serving(self) -> tuple[str, ...]:
        """The nodes that serve now."""
        states = {name: node.state for name, node in self.lab.nodes.items()}
        return tuple(name for name in self.plan.nodes if states[name] == "serving")

    async def dump(self) -> tuple[ReplicaState, ...]:
        """What every node that serves holds of every object now."""
        primaries = {place: where.primaries for place, where in self.placements.items()}
        return await self.lab.observer.dump(self.serving, list(primaries), primaries)

    def converged_after_s(self) -> float | None:
        """From the end of the last fault, or of the load if that was later, until all was equal."""
        at_s = {mark.name: mark.at_s for mark in self.marks}
        if "converged" not in at_s:
            return None
        return at_s["converged"] - max(at_s["quiet"], at_s.get("healed", 0.0))

    # ---- faults of the network

    @asynccontextmanager
    async def cut(self, ways: Collection[Way], kind: CutKind, said: str) -> AsyncIterator[None]:
        """No bytes get through in these ways.

        Args:
            ways: see `links.py`.
            kind: what connections see of it.
            said: in words, for a legend.
        """
        name = f"cut {next(self._numbers)}"
        edge = await self.lab.mesh.cut(name, ways, kind)
        fault = self._log.begin(
            "cut",
            f"{said}, {PAST[kind]}",
            [str(way) for way in sorted(ways)],
            edge,
            apart=unanswered(ways, kind),
        )
        try:
            yield
        finally:
            self._log.end(fault, await self.lab.mesh.heal(name))

    @asynccontextmanager
    async def toxic(
        self, kind: str, links: Collection[Link], toxics: Sequence[Toxic], said: str
    ) -> AsyncIterator[None]:
        """Something is wrong with what these links carry.

        Args:
            kind: `latency`, `bandwidth`, `torn` or `reset`.
            links: of nodes or of clients.
            toxics: what Toxiproxy is to do on each.
            said: in words, for a legend.
        """
        async with self.toxic_each(kind, dict.fromkeys(links, toxics), said):
            yield

    @asynccontextmanager
    async def toxic_each(
        self, kind: str, toxics: Mapping[Link, Sequence[Toxic]], said: str
    ) -> AsyncIterator[None]:
        """The same, with toxics of its own on each link."""
        name = f"{kind}-{next(self._numbers)}"
        edge = await self.lab.mesh.apply(name, disturb_each(name, toxics))
        fault = self._log.begin(kind, said, [str(link) for link in sorted(toxics)], edge)
        try:
            yield
        finally:
            self._log.end(fault, await self.lab.mesh.heal(name))

    # ---- faults of processes

    @asynccontextmanager
    async def killed(self, node: str) -> AsyncIterator[None]:
        """The node is dead, as after a crash; it starts again at the end of the block."""
        process = self.lab.nodes[node]
        await self._sampler.look()  # the last of this life
        edge = await self._timed(process.kill())
        fault = self._log.begin("kill", f"{node} killed", [node], edge, apart=self._all_to(node))
        try:
            yield
        finally:
            self._log.end(fault, await self._timed(self._started(process)))

    @asynccontextmanager
    async def paused(self, node: str) -> AsyncIterator[None]:
        """The node stands still, its connections open, until the end of the block."""
        process = self.lab.nodes[node]
        begun_s = self.clock_s()
        process.pause()
        edge = Edge(from_s=begun_s, until_s=self.clock_s())
        fault = self._log.begin(
            "pause", f"{node} stands still", [node], edge, apart=self._all_to(node)
        )
        try:
            yield
        finally:
            begun_s = self.clock_s()
            process.resume()
            self._log.end(fault, Edge(from_s=begun_s, until_s=self.clock_s()))

    async def wipe(self, node: str) -> None:
        """Take all data from a node that is down."""
        try:
            edge = await self._timed(asyncio.to_thread(self.lab.nodes[node].wipe))
        except StartupError as error:
            raise ClusterError(f"a disk is not empty: {error}") from error
        self._sampler.disk_lost(node)
        self._log.end(self._log.begin("wipe", f"{node} lost its disk", [node], edge), edge)

    @asynccontextmanager
    async def clock_off(self, node: str, offset_s: float) -> AsyncIterator[None]:
        """The node's clock is wrong by so much; it restarts at both ends of the block."""
        edge = await self._timed(self._restarted(node, offset_s))
        fault = self._log.begin(
            "clock", f"the clock of {node} is {offset_s:+g} s off", [node], edge
        )
        try:
            yield
        finally:
            self._log.end(fault, await self._timed(self._restarted(node, 0.0)))

    async def _restarted(self, node: str, clock_offset_s: float) -> None:
        def change(config: NodeConfig) -> NodeConfig:
            return dataclasses.replace(config, clock_offset_s=clock_offset_s)

        process = self.lab.nodes[node]
        await self._sampler.look()
        await process.stop()
        process.reconfigure(change)
        await self._started(process)

    async def revive(self) -> None:
        """Start those again that ended by themselves.

        Raises:
            ClusterError: one does not come back.
        """
        for process in self.lab.nodes.values():
            if process.state == "died":
                await self._started(process)

    async def _started(self, process: NodeProcess) -> None:
        try:
            await process.start()
            await process.ready()
        except StartupError as error:
            raise ClusterError(f"a node did not come back: {error}") from error

    async def _timed(self, work: Awaitable[object]) -> Edge:
        begun_s = self.clock_s()
        await work
        return Edge(from_s=begun_s, until_s=self.clock_s())

    def _all_to(self, node: str) -> frozenset[Pair]:
        return frozenset((other, node) for other in self.plan.nodes if other != node)

    # ---- waits

    async def noticed(self) -> None:
        """Wait until every node knows whom it reaches and whom not, and acts on it.

        Raises:
            ClusterError: they do not find out.
        """
        self.say("waiting until the nodes notice")
        if not await until(self._all_know, within_s=NOTICED_S_MAX):
            raise ClusterError(f"after {NOTICED_S_MAX:g} s the nodes do not know whom they reach")
        await asyncio.sleep(_ACT_S)
        self.mark("settled")

    async def _all_know(self) -> bool:
        apart = self._log.apart
        for node in self.serving:
            reached = {other for other in self.plan.nodes if (node, other) not in apart}
            try:
                if await self.lab.observer.up(node) != reached:
                    return False
            except DynamoError:
                return False
        return True

    async def converge(self) -> None:
        """Wait, with nobody asking, until all replicas are equal and no hint is left."""
        self.mark("quiet")
        self.say("waiting until all replicas are equal")

        async def equal() -> bool:
            return await self.lab.observer.all_equal(self.plan.nodes)

        if await until(equal, within_s=self.plan.convergence_s_max):
            self.mark("converged")


def _places(traffic: Traffic) -> set[Place]:
    return set(traffic.workload.objects())
