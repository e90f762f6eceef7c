"""A whole cluster on virtual time: real nodes on simulated machines, everything from one seed.

A machine is what stays when its process dies: a name, a disk, a clock that may be wrong. The nodes
are the production class; only the doors are replaced (loop, dice, wire, disk, wall clock). Each
part draws from dice of its own, so that a change in one does not shift the others.

    world.start("n1"), stop, crash, freeze, thaw, set_clock              machines
    world.wipe("n1"), lie, corrupt                                       their disks
    world.network.cut, heal_all, reset                                   links
    world.call("n1", lambda node: node.coordinator.get(...))             a client of that node
"""

import asyncio
import contextlib
import math
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from dynamo.config import ClusterConfig, NodeConfig, Seed
from dynamo.core.ids import Address, NodeId
from dynamo.errors import StartupError
from dynamo.node.node import Node
from dynamo.storage.engine import Table
from dynamo.storage.memory_engine import Disk, MemoryEngine
from tests.simulation.links import Weather
from tests.simulation.loop import VirtualLoop
from tests.simulation.network import Network
from tests.simulation.process import Process, ProcessDied
from tests.simulation.trace import Trace

T = TypeVar("T")

RPC_PORT = 9098

SUPERVISED_S = 1.0
"""How soon a node that gave up is started again."""

EPOCH_MS = 1_700_000_000_000
"""What the clocks on the walls show at the beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a world is like.

    Attributes:
        nodes: how many; they are called n1, n2, ...
        seeds: how many of them, from the first on, are seeds.
        partitions: of the cluster.
        commit_s: a commit takes between these.
        weather: latencies between machines.
        cluster: what else all nodes have in common.
        settings: of each node, but for its name, addresses and seeds.
        keep_all: keep every event of the trace as text, to find where two runs part.
    """

    nodes: int = 3
    seeds: int = 2
    partitions: int = 32
    commit_s: tuple[float, float] = (0.0005, 0.005)
    weather: Weather = field(default_factory=Weather)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    settings: NodeConfig = field(
        default_factory=lambda: NodeConfig(node_id=NodeId("any"), data_dir=Path("any"))
    )
    keep_all: bool = False


class Machine:
    """One node's machine.

    Attributes:
        name: of machine and node.
        disk: what is durable.
        node: what runs; None between a crash and the next start.
        process: of that node.
        starts: how often a node was started here.
        skew_ms: how much the clock on the wall is fast.
        thawed_s: when it was last unfrozen.
        lies: its disk says that things are durable which a power cut will take away.
        lost_s: when it last lost something that it had said was durable.
        gave_up: why its node wants to be stopped; None while it does not.
    """

    def __init__(self, name: NodeId) -> None:
        self.name = name
        self.disk = Disk()
        self.node: Node | None = None
        self.process: Process | None = None
        self.engine: MemoryEngine | None = None
        self.starts = 0
        self.skew_ms = 0
        self.thawed_s = 0.0
        self.lies = False
        self.lost_s = -math.inf
        self.gave_up: str | None = None

    @property
    def serving(self) -> bool:
        """Whether its node would take a client's request now."""
        return self.node is not None and self.node.serving

    @property
    def frozen(self) -> bool:
        """Whether its process stands still."""
        return self.process is not None and self.process.frozen


class World:
    """Machines, the network between them, and what happened.

    Attributes:
        machines: by name, in order.
        network: cuts and heals links.
        trace: what happened.
        counts: what nodes that died had counted.
        cluster: the settings in common that a node finds when it starts.
    """

    def __init__(self, loop: VirtualLoop, seed: int, options: Options) -> None:
        self.loop = loop
        self.options = options
        self.trace = Trace(loop.time, keep_all=options.keep_all)
        self.machines = {
            name: Machine(name) for name in (NodeId(f"n{i + 1}") for i in range(options.nodes))
        }
        self._seed = seed
        self.network = Network(loop, self.dice("network"), options.weather, self.trace)
        self.counts: Counter[str] = Counter()
        self._crashes = self.dice("crashes")
        self.cluster = replace(options.cluster, partitions=options.partitions)

    def dice(self, label: str) -> random.Random:
        """Dice that depend on the seed and the label alone."""
        return random.Random(f"{self._seed}/{label}")

    @property
    def names(self) -> list[NodeId]:
        """Of all machines."""
        return list(self.machines)

    # -- life and death of nodes -------------------------------------------------------------------

    async def start(self, name: str) -> None:
        """Start the node; it then joins by itself.

        Raises:
            ProcessDied: it was killed meanwhile.
        """
        machine = self.machines[NodeId(name)]
        assert machine.process is None, f"{name} runs already"
        machine.starts += 1
        label = f"{name}/{machine.starts}"
        self.trace.note(f"{name} starts")
        machine.process = process = Process(self.loop, name)
        wire = self.network.boot(process)
        disk_dice = self.dice(f"disk/{label}")
        engine = MemoryEngine(
            machine.disk, delay_s=lambda: disk_dice.uniform(*self.options.commit_s)
        )
        machine.engine = engine

        async def boot() -> None:
            machine.node = Node(
                self.cluster,
                self._config(machine.name),
                engine=engine,
                wire=wire,
                dice=self.dice(f"node/{label}"),
                wall_ms=lambda: EPOCH_MS + int(self.loop.time() * 1000) + machine.skew_ms,
            )
            await machine.node.start()

        machine.gave_up = None
        await process.call(boot())
        process.spawn(self._serve(machine))

    async def _serve(self, machine: Machine) -> None:
        """What the program does with a node that has started."""
        node = machine.node
        assert node is not None
        try:
            await node.joined()
            await node.until_unfit()
        except StartupError as error:
            machine.gave_up = str(error)

    async def supervise(self) -> None:
        """Start every node anew that wants to be stopped, as its machine's supervisor would."""
        for machine in self.machines.values():
            if machine.gave_up is not None and machine.process is not None:
                self.trace.note(machine.gave_up)
                self.crash(machine.name)
                with contextlib.suppress(ProcessDied):
                    await self.start(machine.name)

    async def start_all(self) -> None:
        """Start every node that does not run, at the same moment, and wait until all is well."""
        stopped = [machine for machine in self.machines.values() if machine.process is None]
        await asyncio.gather(*(self.start(machine.name) for machine in stopped))
        await self.all_well()

    async def all_well(self, *, within_s: float = 30.0) -> None:
        """Wait until every running node serves, and all think and know the same of each other.

        Raises:
            TimeoutError: they do not.
        """
        async with asyncio.timeout(within_s):
            for node in self.running():
                await self.call(node.view.me, lambda node: node.joined())
            await until(lambda: not self.unwell(), within_s=within_s)

    def crash(self, name: str, *, silent: bool = False) -> None:
        """Kill the node; `silent`: its machine loses power, so that nobody is told."""
        machine = self.machines[NodeId(name)]
        assert machine.process is not None, f"{name} does not run"
        assert machine.engine is not None
        self.trace.note(f"{name} {'loses power' if silent else 'is killed'}")
        self.network.kill(name, silent=silent)
        machine.process.kill()
        machine.engine.crash(self._crashes.randint(0, machine.engine.under_way))
        if silent and machine.lies:
            self.lose_tail(name)
        if machine.node is not None:
            self.counts.update(_counted(machine.node))
        machine.node = machine.process = machine.engine = machine.gave_up = None

    async def stop(self, name: str) -> None:
        """Shut the node down as an operator would."""
        self.trace.note(f"{name} stops")
        await self.call(name, lambda node: node.stop())
        self.crash(name)

    def wipe(self, name: str) -> None:
        """Empty the disk of a node that does not run."""
        machine = self.machines[NodeId(name)]
        assert machine.process is None, f"{name} runs"
        self.trace.note(f"{name} loses its disk")
        machine.disk.wipe()
        machine.lies = False
        machine.lost_s = self.loop.time()

    def lie(self, name: str) -> None:
        """From now on the machine's next power cut takes away all that was stored meanwhile."""
        machine = self.machines[NodeId(name)]
        self.trace.note(f"the disk of {name} lies")
        machine.disk.lie()
        machine.lies = True

    def lose_tail(self, name: str) -> None:
        """Take away what a disk that lies has stored since it began to."""
        machine = self.machines[NodeId(name)]
        self.trace.note(f"{machine.name} loses the tail of its disk")
        machine.disk.lose_tail()
        machine.lies = False
        machine.lost_s = self.loop.time()

    def corrupt(self, name: str, table: Table, key: bytes, dice: random.Random) -> None:
        """Let a bit of a stored record flip."""
        machine = self.machines[NodeId(name)]
        self.trace.note(f"a record in {table.value} of {name} rots")
        machine.disk.corrupt(table, key, dice)
        machine.lost_s = self.loop.time()

    def freeze(self, name: str) -> None:
        """Stop the process as SIGSTOP does."""
        process = self.machines[NodeId(name)].process
        assert process is not None
        self.trace.note(f"{name} freezes")
        process.freeze()

    def thaw(self, name: str) -> None:
        """Let the process go on."""
        machine = self.machines[NodeId(name)]
        assert machine.process is not None
        self.trace.note(f"{name} thaws")
        machine.thawed_s = self.loop.time()
        machine.process.thaw()

    def set_clock(self, name: str, skew_ms: int) -> None:
        """Let the clock on the wall of a machine jump."""
        self.trace.note(f"the clock of {name} is {skew_ms} ms fast")
        self.machines[NodeId(name)].skew_ms = skew_ms

    async def calm(self) -> None:
        """End all faults: heal links, thaw processes, set clocks right, start what is down."""
        self.trace.note("calm")
        self.network.heal_all()
        for machine in self.machines.values():
            machine.skew_ms = 0
            machine.disk.full = False
            if machine.frozen:
                self.thaw(machine.name)
        await asyncio.sleep(SUPERVISED_S)  # what still fails for a full disk has failed by then
        await self.supervise()
        await self.start_all()

    def _config(self, name: NodeId) -> NodeConfig:
        seeds = self.names[: self.options.seeds]
        return replace(
            self.options.settings,
            node_id=name,
            data_dir=Path(name),
            http_host=name,
            rpc_host=name,
            rpc_port=RPC_PORT,
            seeds=tuple(Seed(seed, Address(seed, RPC_PORT)) for seed in seeds),
        )

    # -- asking nodes ------------------------------------------------------------------------------

    async def call(self, name: str, request: Callable[[Node], Coroutine[Any, Any, T]]) -> T:
        """Run a request at a node, as its HTTP interface would.

        Raises:
            ProcessDied: the node does not run, or is killed before it answers.
        """
        machine = self.machines[NodeId(name)]
        if machine.process is None or machine.node is None:
            raise ProcessDied(name)
        return await machine.process.call(request(machine.node))

    def node(self, name: str) -> Node:
        """The running node of that name."""
        node = self.machines[NodeId(name)].node
        assert node is not None, f"{name} does not run"
        return node

    def counted(self) -> Counter[str]:
        """What all nodes have counted since the world began, those that died included."""
        counts = self.counts.copy()
        for node in self.running():
            counts.update(_counted(node))
        return counts

    def running(self) -> Iterator[Node]:
        """All nodes that run."""
        for machine in self.machines.values():
            if machine.node is not None:
                yield machine.node

    def thinks(self, name: str, of: str) -> str:
        """What a node thinks of another: up, suspect or down."""
        return self.node(name).operations.opinion(NodeId(of))

    def unwell(self) -> list[str]:
        """What nodes think and know of each other that is not so."""
        running = [node.view.me for node in self.running()]
        found = [
            f"{node.view.me} thinks that {name} is {opinion}"
            for node in self.running()
            for name in running
            if (opinion := node.operations.opinion(name)) != "up"
        ]
        if len(self.views()) > 1:
            found.append("the nodes know different facts")
        return found

    def views(self) -> set[bytes]:
        """The hashes of what the running nodes know; one, if they all know the same."""
        return {node.view.facts.hash for node in self.running()}


def _counted(node: Node) -> dict[str, int]:
    counters = node.stats.counters
    return {name: getattr(counters, name) for name in counters.__slots__}


async def until(condition: Callable[[], bool], *, within_s: float, every_s: float = 0.01) -> None:
    """Wait until something holds.

    Raises:
        TimeoutError: it does not hold in time.
    """
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    while not condition():
        if loop.time() - begun_s > within_s:
            raise TimeoutError(f"not within {within_s} s")
        await asyncio.sleep(every_s)
