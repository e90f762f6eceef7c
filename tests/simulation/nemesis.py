"""What goes wrong in a simulation, drawn from the seed: on links, machines, clocks and disks.

A trouble begins, lasts, and is undone; several go on at once. One may end another's early (two cuts
of the same link), which is nothing that could not happen.

    links       cut, isolate, split, bridge, ring, swizzle, flap, reset
    machines    kill, power, freeze, clock
    disks       full, flush
    losses      wipe, tail, rot: what was durable is gone; on one machine of a world at most

The shapes of cuts are Jepsen's; "swizzle" is FoundationDB's: links stop one by one and come back
one by one in another order, which finds what no clean cut does.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass

from dynamo.core.ids import NodeId
from dynamo.storage.engine import Table
from dynamo.storage.memory_engine import Fault
from tests.simulation.links import Cut
from tests.simulation.process import ProcessDied
from tests.simulation.world import SUPERVISED_S, Machine, World

CLOCK_JUMP_MS_MAX = 60_000

LINKS = ("cut", "isolate", "split", "bridge", "ring", "swizzle", "flap", "reset")
MACHINES = ("kill", "power", "freeze", "clock")
DISKS = ("full", "flush")
LOSSES = ("wipe", "tail", "rot")


ROTTING = (Table.OBJECTS, Table.TREES, Table.HINTS, Table.HINT_ORDER, Table.TOMBSTONES)
"""Where records rot. What is in `META` is written anew at every start or change."""

LIE_S_MAX = 4.0
"""A disk that goes back by more than a tombstone takes to be collected brings the value back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Troubles:
    """How much goes wrong, and what.

    Attributes:
        at_once: how many troubles go on at the same time at most.
        pause_s: mean time between the end of one and the next.
        lasts_s: mean duration.
        kinds: what happens; one that is named twice is twice as likely.
        loser: the one machine that may lose what is on its disk; who draws `LOSSES` names it.
    """

    at_once: int = 2
    pause_s: float = 1.0
    lasts_s: float = 2.0
    kinds: Sequence[str] = LINKS + MACHINES
    loser: NodeId | None = None


Links = Sequence[tuple[NodeId, NodeId]]
"""Directed: from the first to the second."""


class Nemesis:
    """Makes trouble.

    Attributes:
        counts: how often each kind has happened.
    """

    def __init__(self, world: World, troubles: Troubles) -> None:
        self.counts: Counter[str] = Counter()
        self._world = world
        self._troubles = troubles
        self._kinds: dict[str, Callable[[random.Random, float], Coroutine[None, None, bool]]] = {
            "cut": self._cut_links,
            "isolate": self._isolate,
            "split": self._split,
            "bridge": self._bridge,
            "ring": self._ring,
            "swizzle": self._swizzle,
            "flap": self._flap,
            "reset": self._reset,
            "kill": self._kill,
            "power": self._power_cut,
            "freeze": self._freeze,
            "clock": self._turn_clock,
            "full": self._fill_disk,
            "flush": self._fail_flush,
            "wipe": self._wipe,
            "tail": self._lose_tail,
            "rot": self._rot,
        }

    async def run(self, until_s: float) -> None:
        """Make trouble until then; what has begun is undone."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._supervise(until_s))
            for number in range(self._troubles.at_once):
                group.create_task(self._one_after_the_other(number, until_s))

    async def _supervise(self, until_s: float) -> None:
        while self._world.loop.time() < until_s:
            await asyncio.sleep(SUPERVISED_S)
            await self._world.supervise()

    async def _one_after_the_other(self, number: int, until_s: float) -> None:
        world, troubles = self._world, self._troubles
        dice = world.dice(f"nemesis/{number}")
        while True:
            await asyncio.sleep(dice.expovariate(1.0) * troubles.pause_s)
            if world.loop.time() >= until_s:
                return
            kind, lasts_s = dice.choice(troubles.kinds), dice.expovariate(1.0) * troubles.lasts_s
            if dice.random() < 0.3:
                lasts_s /= 20  # hardly long enough to be noticed
            if await self._kinds[kind](dice, lasts_s):
                self.counts[kind] += 1

    # -- links -------------------------------------------------------------------------------------

    async def _cut_links(self, dice: random.Random, lasts_s: float) -> bool:
        """One link, in one direction or both."""
        one, other = dice.sample(self._world.names, 2)
        links = [(one, other)] if dice.random() < 0.5 else [(one, other), (other, one)]
        return await self._cut(links, dice, lasts_s)

    async def _isolate(self, dice: random.Random, lasts_s: float) -> bool:
        """A node that hears nobody, or is heard by nobody, or both."""
        lonely = dice.choice(self._world.names)
        others = [name for name in self._world.names if name != lonely]
        ways = dice.choice(["in", "out", "both"])
        links = [(name, lonely) for name in others if ways != "out"]
        links += [(lonely, name) for name in others if ways != "in"]
        return await self._cut(links, dice, lasts_s)

    async def _split(self, dice: random.Random, lasts_s: float) -> bool:
        """Two sides that do not reach each other, or of which one does not reach the other."""
        names = self._world.names
        side = dice.sample(names, dice.randrange(1, len(names)))
        one_way = dice.random() < 0.3
        return await self._cut(self._between(side, [], one_way=one_way), dice, lasts_s)

    async def _bridge(self, dice: random.Random, lasts_s: float) -> bool:
        """Two sides that share one node, which reaches everybody."""
        names = dice.sample(self._world.names, len(self._world.names))
        bridge, others = names[0], names[1:]
        return await self._cut(self._between(others[::2], [bridge]), dice, lasts_s)

    async def _ring(self, dice: random.Random, lasts_s: float) -> bool:
        """Each node reaches a majority, and no two reach the same one."""
        names = dice.sample(self._world.names, len(self._world.names))
        count = len(names)
        reach = (count // 2 + 1) // 2  # neighbours on either side; with the node itself a majority
        links = [
            (names[one], names[other])
            for one in range(count)
            for other in range(count)
            if min((one - other) % count, (other - one) % count) > reach
        ]
        return await self._cut(links, dice, lasts_s)

    async def _swizzle(self, dice: random.Random, lasts_s: float) -> bool:
        """Nodes are cut off one by one, and come back one by one in another order."""
        names = dice.sample(self._world.names, dice.randint(2, len(self._world.names)))
        mode, step_s = dice.choice(list(Cut)), lasts_s / (2 * len(names))
        for name in names:
            self._begin(self._between([name], []), mode)
            await asyncio.sleep(dice.random() * 2 * step_s)
        for name in dice.sample(names, len(names)):
            self._end(self._between([name], []))
            await asyncio.sleep(dice.random() * 2 * step_s)
        return True

    async def _flap(self, dice: random.Random, lasts_s: float) -> bool:
        """A link that comes and goes."""
        one, other = dice.sample(self._world.names, 2)
        links = [(one, other)] if dice.random() < 0.3 else [(one, other), (other, one)]
        for _ in range(dice.randint(3, 8)):
            await self._cut(links, dice, lasts_s / 8)
            await asyncio.sleep(dice.random() * lasts_s / 8)
        return True

    async def _reset(self, dice: random.Random, lasts_s: float) -> bool:
        """The connections between two nodes break."""
        one, other = dice.sample(self._world.names, 2)
        self._note(f"reset {one} {other}")
        self._world.network.reset(one, other)
        return True

    def _between(
        self, side: Sequence[NodeId], bridges: Sequence[NodeId], *, one_way: bool = False
    ) -> Links:
        """All links from one side to the other, and back unless `one_way`; not those of bridges."""
        names = [name for name in self._world.names if name not in bridges]
        others = [name for name in names if name not in side]
        links = [(a, b) for a in side for b in others]
        return links if one_way else links + [(b, a) for a, b in links]

    async def _cut(self, links: Links, dice: random.Random, lasts_s: float) -> bool:
        if not links:
            return False
        self._begin(links, dice.choice(list(Cut)))
        await asyncio.sleep(lasts_s)
        self._end(links)
        return True

    def _begin(self, links: Links, mode: Cut) -> None:
        self._note(f"{mode.value} {_text(links)}")
        for source, target in links:
            self._world.network.cut(source, target, mode)

    def _end(self, links: Links) -> None:
        self._note(f"heal {_text(links)}")
        for source, target in links:
            self._world.network.heal(source, target)

    # -- machines ----------------------------------------------------------------------------------

    async def _kill(self, dice: random.Random, lasts_s: float) -> bool:
        """A process is killed, or its machine loses power; then it starts again."""
        machine = self._running(dice)
        if machine is None:
            return False
        self._world.crash(machine.name, silent=dice.random() < 0.5)
        await asyncio.sleep(lasts_s)
        await self._start(machine)
        return True

    async def _power_cut(self, dice: random.Random, lasts_s: float) -> bool:
        """Several machines lose power, or are all killed, at the same moment."""
        running = [m for m in self._world.machines.values() if m.process is not None]
        machines = dice.sample(running, dice.randint(0, len(running)))
        silent = dice.random() < 0.5
        for machine in machines:
            self._world.crash(machine.name, silent=silent)
        await asyncio.sleep(lasts_s)
        await asyncio.gather(*(self._start(machine) for machine in machines))
        return bool(machines)

    async def _freeze(self, dice: random.Random, lasts_s: float) -> bool:
        """A process stands still."""
        machine = self._running(dice)
        if machine is None or machine.frozen:
            return False
        process = machine.process
        self._world.freeze(machine.name)
        await asyncio.sleep(lasts_s)
        if machine.process is process:
            self._world.thaw(machine.name)
        return True

    async def _turn_clock(self, dice: random.Random, lasts_s: float) -> bool:
        """A clock on the wall jumps, and stays wrong."""
        name = dice.choice(self._world.names)
        self._world.set_clock(name, dice.randint(-CLOCK_JUMP_MS_MAX, CLOCK_JUMP_MS_MAX))
        return True

    # -- disks -------------------------------------------------------------------------------------

    async def _fill_disk(self, dice: random.Random, lasts_s: float) -> bool:
        """A disk has no room for a while."""
        machine = self._world.machines[dice.choice(self._world.names)]
        self._note(f"the disk of {machine.name} is full")
        machine.disk.full = True
        await asyncio.sleep(lasts_s)
        self._note(f"the disk of {machine.name} has room")
        machine.disk.full = False
        return True

    async def _fail_flush(self, dice: random.Random, lasts_s: float) -> bool:
        """A flush fails: the node must stop by itself, and is started again by its supervisor."""
        machine = self._running(dice)
        if machine is None or machine.frozen:
            return False
        process, engine = machine.process, machine.engine
        assert engine is not None
        self._note(f"the disk of {machine.name} will fail")
        engine.fail_next_commit(Fault.FLUSH)
        await asyncio.sleep(lasts_s)
        if machine.process is not process:
            return engine.failure is not None
        if engine.failure is None:  # nothing was written meanwhile; the disk shall be sound again
            self._world.crash(machine.name)
            await self._start(machine)
            return False
        assert not machine.serving, f"{machine.name} serves on a disk that failed"
        return True

    # -- losses ------------------------------------------------------------------------------------

    async def _wipe(self, dice: random.Random, lasts_s: float) -> bool:
        """A machine comes back with an empty disk."""
        machine = self._loser()
        if machine.process is None:
            return False
        self._world.crash(machine.name, silent=dice.random() < 0.5)
        self._world.wipe(machine.name)
        await asyncio.sleep(lasts_s)
        await self._start(machine)
        return True

    async def _lose_tail(self, dice: random.Random, lasts_s: float) -> bool:
        """A disk lies for a while, until a power cut shows it."""
        machine = self._loser()
        self._world.lie(machine.name)
        await asyncio.sleep(min(lasts_s, LIE_S_MAX))
        if machine.process is None:
            self._world.lose_tail(machine.name)
            return True
        self._world.crash(machine.name, silent=True)
        await asyncio.sleep(lasts_s / 2)
        await self._start(machine)
        return True

    async def _rot(self, dice: random.Random, lasts_s: float) -> bool:
        """Some records on a disk have a bit flipped."""
        machine, rotted = self._loser(), 0
        for table in dice.sample(ROTTING, dice.randint(1, 3)):
            keys = [key for key, _ in machine.disk.scan(table, b"", None, 1_000_000)]
            for key in dice.sample(keys, min(len(keys), dice.randint(1, 5))):
                self._world.corrupt(machine.name, table, key, dice)
                rotted += 1
        return rotted > 0

    # -- helpers -----------------------------------------------------------------------------------

    def _loser(self) -> Machine:
        loser = self._troubles.loser
        assert loser is not None, "nobody is named who may lose data"
        return self._world.machines[loser]

    async def _start(self, machine: Machine) -> None:
        try:
            await self._world.start(machine.name)
        except ProcessDied:
            self._note(f"{machine.name} died again")

    def _running(self, dice: random.Random) -> Machine | None:
        running = [m for m in self._world.machines.values() if m.process is not None]
        return dice.choice(running) if running else None

    def _note(self, text: str) -> None:
        self._world.trace.note(text)


def _text(links: Links) -> str:
    return " ".join(f"{source}>{target}" for source, target in links)
