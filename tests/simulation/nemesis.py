"""What goes wrong in a simulation, drawn from the seed: cuts, crashes, pauses, wrong clocks.

A trouble begins, lasts, and is undone; several go on at once. One may end another's early (two cuts
of the same link), which is nothing that could not happen.
"""

import asyncio
import random
from collections.abc import Iterable
from dataclasses import dataclass

from dynamo.core.ids import NodeId
from tests.simulation.links import Cut
from tests.simulation.process import ProcessDied
from tests.simulation.world import Machine, World

CLOCK_JUMP_MS_MAX = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Troubles:
    """How much goes wrong.

    Attributes:
        at_once: how many troubles go on at the same time at most.
        pause_s: mean time between the end of one and the next.
        lasts_s: mean duration.
    """

    at_once: int = 2
    pause_s: float = 1.0
    lasts_s: float = 2.0


class Nemesis:
    """Makes trouble.

    Attributes:
        count: of troubles so far.
    """

    def __init__(self, world: World, troubles: Troubles) -> None:
        self.count = 0
        self._world = world
        self._troubles = troubles
        self._kinds = (
            self._cut_links,
            self._isolate,
            self._split,
            self._crash,
            self._power_cut,
            self._freeze,
            self._reset,
            self._turn_clock,
        )

    async def run(self, until_s: float) -> None:
        """Make trouble until then; what has begun is undone."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._troubles.at_once):
                group.create_task(self._one_after_the_other(number, until_s))

    async def _one_after_the_other(self, number: int, until_s: float) -> None:
        world, troubles = self._world, self._troubles
        dice = world.dice(f"nemesis/{number}")
        while True:
            await asyncio.sleep(dice.expovariate(1.0) * troubles.pause_s)
            if world.loop.time() >= until_s:
                return
            self.count += 1
            kind, lasts_s = dice.choice(self._kinds), dice.expovariate(1.0) * troubles.lasts_s
            if dice.random() < 0.3:
                lasts_s /= 20  # hardly long enough to be noticed
            await kind(dice, lasts_s)

    # -- links -------------------------------------------------------------------------------------

    async def _cut_links(self, dice: random.Random, lasts_s: float) -> None:
        """One link, in one direction or both."""
        one, other = dice.sample(self._world.names, 2)
        links = [(one, other)] if dice.random() < 0.5 else [(one, other), (other, one)]
        await self._cut(links, dice, lasts_s)

    async def _isolate(self, dice: random.Random, lasts_s: float) -> None:
        """A node that hears nobody, or is heard by nobody, or both."""
        lonely = dice.choice(self._world.names)
        others = [name for name in self._world.names if name != lonely]
        ways = dice.choice(["in", "out", "both"])
        links = [(name, lonely) for name in others if ways != "out"]
        links += [(lonely, name) for name in others if ways != "in"]
        await self._cut(links, dice, lasts_s)

    async def _split(self, dice: random.Random, lasts_s: float) -> None:
        """Two sides that do not reach each other."""
        names = self._world.names
        side = dice.sample(names, dice.randrange(1, len(names)))
        links = [(a, b) for a in names for b in names if (a in side) != (b in side)]
        await self._cut(links, dice, lasts_s)

    async def _cut(
        self, links: Iterable[tuple[NodeId, NodeId]], dice: random.Random, lasts_s: float
    ) -> None:
        links, mode = list(links), dice.choice(list(Cut))
        text = " ".join(f"{source}>{target}" for source, target in links)
        self._note(f"{mode.value} {text}")
        for source, target in links:
            self._world.network.cut(source, target, mode)
        await asyncio.sleep(lasts_s)
        self._note(f"heal {text}")
        for source, target in links:
            self._world.network.heal(source, target)

    async def _reset(self, dice: random.Random, lasts_s: float) -> None:
        """The connections between two nodes break."""
        one, other = dice.sample(self._world.names, 2)
        self._note(f"reset {one} {other}")
        self._world.network.reset(one, other)

    # -- machines ----------------------------------------------------------------------------------

    async def _crash(self, dice: random.Random, lasts_s: float) -> None:
        """A process is killed, or its machine loses power; then it starts again."""
        machine = self._running(dice)
        if machine is None:
            return
        self._world.crash(machine.name, silent=dice.random() < 0.5)
        await asyncio.sleep(lasts_s)
        await self._start(machine)

    async def _start(self, machine: Machine) -> None:
        try:
            await self._world.start(machine.name)
        except ProcessDied:
            self._note(f"{machine.name} died again")

    async def _power_cut(self, dice: random.Random, lasts_s: float) -> None:
        """Several machines lose power, or are all killed, at the same moment."""
        running = [m for m in self._world.machines.values() if m.process is not None]
        machines = dice.sample(running, dice.randint(0, len(running)))
        silent = dice.random() < 0.5
        for machine in machines:
            self._world.crash(machine.name, silent=silent)
        await asyncio.sleep(lasts_s)
        await asyncio.gather(*(self._start(machine) for machine in machines))

    async def _freeze(self, dice: random.Random, lasts_s: float) -> None:
        """A process stands still."""
        machine = self._running(dice)
        if machine is None or machine.frozen:
            return
        process = machine.process
        self._world.freeze(machine.name)
        await asyncio.sleep(lasts_s)
        if machine.process is process:
            self._world.thaw(machine.name)

    async def _turn_clock(self, dice: random.Random, lasts_s: float) -> None:
        """A clock on the wall jumps, and stays wrong."""
        name = dice.choice(self._world.names)
        self._world.set_clock(name, dice.randint(-CLOCK_JUMP_MS_MAX, CLOCK_JUMP_MS_MAX))

    def _running(self, dice: random.Random) -> Machine | None:
        running = [m for m in self._world.machines.values() if m.process is not None]
        return dice.choice(running) if running else None

    def _note(self, text: str) -> None:
        self._world.trace.note(text)
