"""One seed of the mixed workload: a cluster, clients, troubles; then calm, and the checks.

As a program it prints what tells whether two runs were the same, and where they parted:

    python -m tests.simulation.mixed SEED            the digest of the trace
    python -m tests.simulation.mixed SEED --trace    the trace, with every piece of bytes

Written down here is what a world may be like; `world`, `workload` and `nemesis` do the rest.
"""

import asyncio
import random
import sys
from dataclasses import dataclass

from dynamo.core.ids import Key, NodeId
from dynamo.core.quorum import ReadQuorum, WriteQuorum
from dynamo.core.siblings import Siblings
from dynamo.errors import DynamoError
from tests.simulation.asking import get, key_of, seen_in
from tests.simulation.checks import Outcome, Violation, check
from tests.simulation.copies import unsettled
from tests.simulation.links import Weather
from tests.simulation.nemesis import Nemesis, Troubles
from tests.simulation.scenario import in_world
from tests.simulation.workload import Client, History, Mix
from tests.simulation.world import Options, World

TROUBLE_S = 15.0
"""How long clients and troubles go on."""

SETTLE_S_MAX = 60.0
"""How long replicas may take to be equal again, with reads going on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a seed.

    Attributes:
        violations: rules that were broken.
        digest: of the trace.
        trace: as text.
        acknowledged, unknown, failed: writes that ended so.
        reads: that were answered.
        troubles: that happened.
        callbacks: of the loop: what it cost.
        virtual_s: how long it took, on the virtual clock.
    """

    violations: list[Violation]
    digest: str
    trace: str
    acknowledged: int
    unknown: int
    failed: int
    reads: int
    troubles: int
    callbacks: int
    virtual_s: float


def run(seed: int, *, keep_all: bool = False) -> Result:
    """Everything of one seed.

    Raises:
        Exception: something failed that is no rule of the checks; its notes hold the trace.
    """
    dice = random.Random(f"{seed}/mixed")
    options = _options(dice, keep_all=keep_all)
    mix = _mix(dice, options)
    troubles = Troubles(
        at_once=dice.randint(1, 3),
        pause_s=dice.uniform(0.3, 2.0),
        lasts_s=dice.uniform(0.3, 4.0),
    )
    return in_world(seed, options, lambda world: _mixed(world, mix, troubles))


def _options(dice: random.Random, *, keep_all: bool) -> Options:
    nodes = dice.choice([3, 3, 4, 5, 5])
    slow = dice.choice([0.0005, 0.002, 0.02])
    return Options(
        nodes=nodes,
        seeds=dice.randint(1, nodes),
        commit_s=(0.0002, dice.choice([0.002, 0.02, 0.2])),
        weather=Weather(
            base_s=(0.0001, slow),
            jitter_s=slow / 2,
            spike_share=dice.choice([0.0, 0.002, 0.02]),
        ),
        siblings_max=dice.choice([4, 100]),
        replica_timeout_s=dice.choice([0.3, 2.0]),
        keep_all=keep_all,
    )


def _mix(dice: random.Random, options: Options) -> Mix:
    n = min(3, options.nodes)
    sloppy = dice.choice([(True,), (False,), (True, False)])
    quorums = [1, 2, 2, 3]
    return Mix(
        clients=dice.randint(2, 5),
        keys=[f"k{number}" for number in range(dice.randint(1, 6))],
        pause_s=dice.uniform(0.05, 0.4),
        write_quorums=[
            WriteQuorum(n=n, w=w, pw=dice.choice([0, 0, 1]), sloppy=is_sloppy)
            for w in quorums
            for is_sloppy in sloppy
        ],
        read_quorums=[
            ReadQuorum(n=n, r=r, notfound_ok=dice.random() < 0.7, sloppy=is_sloppy)
            for r in quorums
            for is_sloppy in sloppy
        ],
        blind=dice.choice([0.02, 0.1, 0.3]),
    )


async def _mixed(world: World, mix: Mix, troubles: Troubles) -> Result:
    await world.start_all()
    history, nemesis = History(), Nemesis(world, troubles)
    until_s = world.loop.time() + TROUBLE_S
    async with asyncio.TaskGroup() as group:
        group.create_task(nemesis.run(until_s))
        for number in range(mix.clients):
            client = Client(world, f"c{number + 1}", mix, history)
            group.create_task(client.run(until_s))
    await world.calm()
    violations = history.violations + await _settle(world, mix)
    if not violations:
        violations = check(history.writes, history.reads, await _final_values(world, mix))
    for violation in violations:
        world.trace.note(str(violation))
    return Result(
        violations=violations,
        digest=world.trace.digest(),
        trace=str(world.trace),
        acknowledged=history.count(Outcome.ACKNOWLEDGED),
        unknown=history.count(Outcome.UNKNOWN),
        failed=history.count(Outcome.FAILED),
        reads=len(history.reads),
        troubles=nemesis.count,
        callbacks=world.loop.callbacks,
        virtual_s=world.loop.time(),
    )


async def _settle(world: World, mix: Mix) -> list[Violation]:
    """Read until all replicas agree; what still differs when they had time enough."""
    keys = [key_of(name) for name in mix.keys]
    give_up_s = world.loop.time() + SETTLE_S_MAX
    while world.loop.time() < give_up_s:
        await asyncio.sleep(1.0)
        if not world.unwell() and not unsettled(world, keys, _n(world)):
            return []
        for key in keys:
            await _read(world, world.names[0], key)
    left = world.unwell() + unsettled(world, keys, _n(world))
    return [Violation(rule="unsettled", key="*", text=text) for text in left]


async def _final_values(world: World, mix: Mix) -> dict[str, frozenset[str]]:
    """What every node says in the end, which must be the same."""
    final: dict[str, frozenset[str]] = {}
    for name in mix.keys:
        answers = [await _read(world, node, key_of(name)) for node in world.names]
        assert all(answer == answers[0] for answer in answers), f"nodes differ about {name}"
        assert answers[0] is not None, f"{name} cannot be read"
        final[name] = seen_in(answers[0]).values
    return final


async def _read(world: World, node: NodeId, key: Key) -> Siblings | None:
    """What all primaries know together; None if one is too slow again and again."""
    quorum = ReadQuorum(n=_n(world), r=_n(world), pr=_n(world), sloppy=False)
    for _ in range(10):
        try:
            return await get(world, node, key, quorum)
        except DynamoError as error:
            world.trace.note(f"in the calm, {node} cannot read {key.key.decode()}: {error!r}")
            await asyncio.sleep(1)
    return None


def _n(world: World) -> int:
    return min(3, len(world.names))


if __name__ == "__main__":
    result = run(int(sys.argv[1]), keep_all="--trace" in sys.argv)
    sys.stdout.write((result.trace if "--trace" in sys.argv else result.digest) + "\n")
