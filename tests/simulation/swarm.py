"""The swarm: worlds drawn from seeds, as unlike as they can be, and what must hold in all of them.

One seed draws a cluster (3 to 9 nodes, N, settings, latencies), clients (quorums, keys, deletes)
and a few kinds of trouble out of many: a world with everything in it is an average world, and
hides what shows only where something is missing (Groce et al., "Swarm Testing", 2012). Then

    trouble    clients and troubles go on
    calm       links are healed, machines run, clocks are right
    quiet      nobody reads or writes; what the nodes do among themselves must suffice to make all
               replicas byte-identical, trees equal, hints none and all accounted for
    judgement  the rules of `checks`, on what replicas hold; reads through every node say the same
    collection tombstones go, and the judgement is the same

    python -m tests.simulation.swarm --seconds 60 [--first-seed N]     fresh seeds, and figures
    python -m tests.simulation.swarm --seed N                          digest of the trace of one
    python -m tests.simulation.swarm --seed N --trace                  all of it, bytes included

Losses. A wipe, a lying disk or a rotten record takes away copies that were acknowledged, which no
store survives if it takes all of them. So one machine at most loses things in a world, and of its
writes only those are held to be acknowledged that had two nodes: of two copies on distinct machines
one is on a machine that loses nothing. That stays so while copies travel: a stand-in drops a hint
only when its target has it, and both copies of a write never travel to one machine, as each
stand-in stands for another primary. What one machine alone acknowledged may be lost, and is judged
as of unknown outcome; so may what somebody read, hence reads do not make a value stay there.

Limits. Hints that grow too old or too many go, and with them the only copies of a write that no
primary has. Where hints may expire, every write needs a primary (`pw` >= 1), and no machine loses
anything.
"""

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dynamo.config import ClusterConfig, NodeConfig
from dynamo.core.codec import decode_siblings
from dynamo.core.ids import Key, NodeId
from dynamo.core.quorum import ReadQuorum, WriteQuorum
from dynamo.core.siblings import Siblings
from dynamo.errors import DynamoError
from tests.simulation.asking import get, key_of, seen_in
from tests.simulation.checks import Outcome, Violation, check
from tests.simulation.copies import (
    held,
    primaries,
    tombstones,
    unsettled,
    wrong_ledgers,
    wrong_trees,
)
from tests.simulation.links import Weather
from tests.simulation.nemesis import DISKS, LINKS, LOSSES, MACHINES, Nemesis, Troubles
from tests.simulation.scenario import in_world
from tests.simulation.workload import Client, History, Mix
from tests.simulation.world import Options, World, until

REPLAY = "python -m pytest tests/simulation/test_swarm.py --seed {seed}"

QUIET_S_MAX = 120.0
"""How long replicas may take to be equal again when all is well, with nobody reading."""

LOOK_S = 1.0

COLLECTED_S_MIN = 40.0
COLLECTED_IN = 20
"""Tombstones may take so many seconds, and so many times `stragglers_s_max`: three looks with three
times that between them, and the same again for what only became one at the end of the quiet."""

BAD_DISK_ERRORS = frozenset(
    {
        "a write could not be stored",
        "a fact could not be written down",
        "a delivered hint could not be dropped",
        "own copy cannot be read",
    }
)
"""What nodes may complain of in a world with bad disks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a seed draws.

    Attributes:
        options: the world.
        n: replicas of each key.
        mix: what clients do.
        troubles: what goes wrong.
        trouble_s: how long clients and troubles go on.
    """

    options: Options
    n: int
    mix: Mix
    troubles: Troubles
    trouble_s: float

    @property
    def has_losses(self) -> bool:
        """Whether a machine may lose what was durable."""
        return self.troubles.loser is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a seed.

    Attributes:
        seed: which.
        violations: rules that were broken.
        digest: of the trace.
        trace: as text.
        seen: what happened, and how often: troubles, outcomes, what nodes counted.
        troubles: that happened.
        callbacks: of the loop: what it cost.
        virtual_s: how long it took, on the virtual clock.
    """

    seed: int
    violations: list[Violation]
    digest: str
    trace: str
    seen: Counter[str]
    troubles: int
    callbacks: int
    virtual_s: float

    def __str__(self) -> str:
        broken = "\n".join(map(str, self.violations))
        return f"{broken}\nreplay: {REPLAY.format(seed=self.seed)}"


def run(seed: int, *, keep_all: bool = False) -> Result:
    """Everything of one seed.

    Raises:
        Exception: something failed that is no rule of the checks; its notes hold the trace.
    """
    return follow(seed, draw(seed), keep_all=keep_all)


def follow(seed: int, plan: Plan, *, keep_all: bool = False) -> Result:
    """Everything of one seed, by another plan than the one it draws.

    Raises:
        Exception: as `run`.
    """
    options = replace(plan.options, keep_all=keep_all)
    bad_disks = {*DISKS, *LOSSES} & set(plan.troubles.kinds)
    excused = BAD_DISK_ERRORS if bad_disks else frozenset[str]()
    return in_world(seed, options, lambda world: _run(world, seed, plan), excused=excused)


# -- drawing -------------------------------------------------------------------------------------


def draw(seed: int) -> Plan:
    """What a seed stands for."""
    dice = random.Random(f"{seed}/swarm")
    nodes = dice.choice([3, 3, 4, 5, 5, 6, 7, 8, 9])
    n = min(nodes, dice.choice([1, 2, 3, 3, 3, 3, 4, 5]))
    has_losses = n > 1 and dice.random() < 0.3
    hints_expire = not has_losses and dice.random() < 0.15
    names = [NodeId(f"n{number + 1}") for number in range(nodes)]
    kinds = [kind for kind in LINKS + MACHINES + DISKS if dice.random() < 0.4] or ["kill"]
    if has_losses:
        kinds += dice.sample(LOSSES, dice.randint(1, len(LOSSES)))
    return Plan(
        options=_options(dice, nodes, n, hints_expire=hints_expire),
        n=n,
        mix=_mix(dice, n, w_min=2 if has_losses else 1, hints_expire=hints_expire),
        troubles=Troubles(
            at_once=dice.randint(1, 3),
            pause_s=dice.uniform(0.3, 2.0),
            lasts_s=dice.choice([dice.uniform(0.3, 4.0), dice.uniform(4.0, 15.0)]),
            kinds=kinds,
            loser=dice.choice(names) if has_losses else None,
        ),
        trouble_s=dice.uniform(10.0, 40.0),
    )


def _options(dice: random.Random, nodes: int, n: int, *, hints_expire: bool) -> Options:
    slow_s = dice.choice([0.0005, 0.002, 0.02])
    stragglers_s = dice.choice([1.0, 1.0, 2.0, 5.0])
    return Options(
        nodes=nodes,
        seeds=dice.randint(1, nodes),
        partitions=dice.choice([16, 16, 32]),
        commit_s=(0.0002, dice.choice([0.002, 0.02, 0.2])),
        weather=Weather(
            base_s=(0.0001, slow_s),
            jitter_s=slow_s / 2,
            spike_share=dice.choice([0.0, 0.002, 0.02]),
        ),
        cluster=ClusterConfig(
            bucket_defaults={"n_val": n, "allow_mult": True},
            stragglers_s_max=stragglers_s,
        ),
        settings=NodeConfig(
            node_id=NodeId("any"),
            data_dir=Path("any"),
            siblings_max=dice.choice([4, 100]),
            replica_timeout_s=min(stragglers_s, dice.choice([0.3, 1.0, 2.0])),
            heartbeat_interval_s=dice.choice([0.5, 0.5, 1.0]),
            gossip_interval_s=dice.choice([0.5, 0.5, 2.0]),
            handoff_interval_s=dice.choice([0.5, 2.0, 10.0]),
            hint_age_s_max=dice.choice([1.0, 5.0, 86_400.0]) if hints_expire else 86_400.0,
            hints_bytes_max=dice.choice([300, 2**20]) if hints_expire else 2**20,
            read_repair=dice.random() < 0.5,
            anti_entropy_interval_s=dice.choice([1.0, 2.0, 5.0]),
            tombstone_collection=dice.random() < 0.8,
        ),
    )


def _mix(dice: random.Random, n: int, *, w_min: int, hints_expire: bool) -> Mix:
    sloppy = dice.choice([(True,), (False,), (True, False)])
    majority = n // 2 + 1
    # A few are drawn out of all, so that some worlds write with w=1 alone, or with w=n alone.
    counts = dice.sample([1, majority, majority, n], dice.randint(1, 4))
    writes = [
        WriteQuorum(
            n=n,
            w=max(w, w_min) if dice.random() < 0.8 else w,
            pw=max(int(hints_expire), dice.choice([0, 0, 0, 1])),
            sloppy=is_sloppy,
        )
        for w in counts
        for is_sloppy in sloppy
    ]
    reads = [
        ReadQuorum(
            n=n,
            r=r,
            pr=dice.choice([0, 0, 0, 1]),
            notfound_ok=dice.random() < 0.7,
            sloppy=is_sloppy,
        )
        for r in dice.sample([1, majority, majority, n], dice.randint(1, 4))
        for is_sloppy in sloppy
    ]
    keys = [f"k{number}" for number in range(dice.choice([1, 3, 6, 12, 40]))]
    skew = dice.choice([0.0, 0.0, 1.0, 2.0])
    return Mix(
        clients=dice.randint(2, 6),
        keys=keys,
        weights=[1.0 / (rank + 1) ** skew for rank in range(len(keys))],
        pause_s=dice.uniform(0.05, 0.6),
        write_quorums=writes,
        read_quorums=reads,
        read=dice.choice([0.1, 0.3, 0.5]),
        blind=dice.choice([0.02, 0.1, 0.3]),
        delete=dice.choice([0.0, 0.1, 0.3, 0.6]),
        hints_stay=not hints_expire,
    )


# -- running -------------------------------------------------------------------------------------


async def _run(world: World, seed: int, plan: Plan) -> Result:
    await world.start_all()
    history = History(copies_may_go=plan.has_losses)
    nemesis = Nemesis(world, plan.troubles)
    until_s = world.loop.time() + plan.trouble_s
    async with asyncio.TaskGroup() as group:
        group.create_task(nemesis.run(until_s))
        for number in range(plan.mix.clients):
            client = Client(world, f"c{number + 1}", plan.mix, history)
            group.create_task(client.run(until_s))
    await world.calm()
    violations = await _quiet(world, plan) or await _judge(world, plan, history)
    violations = history.violations + violations
    if not violations and plan.options.settings.tombstone_collection:
        violations = await _collected(world, plan) or await _judge(world, plan, history)
    for violation in violations:
        world.trace.note(str(violation))
    return Result(
        seed=seed,
        violations=violations,
        digest=world.trace.digest(),
        trace=str(world.trace),
        seen=_seen(world, history, nemesis),
        troubles=nemesis.counts.total(),
        callbacks=world.loop.callbacks,
        virtual_s=world.loop.time(),
    )


def _seen(world: World, history: History, nemesis: Nemesis) -> Counter[str]:
    """What happened in this world, by names that `test_swarm` asks for."""
    seen = world.counted()
    seen.update({f"trouble {kind}": count for kind, count in nemesis.counts.items()})
    seen.update({f"writes {outcome.value}": history.count(outcome) for outcome in Outcome})
    seen["reads"] = len(history.reads)
    seen["siblings"] = sum(len(read.values) > 1 for read in history.reads)
    seen["deletes"] = sum(write.deletes for write in history.writes)
    for node in world.running():
        ledger = node.held.hints.counts._asdict()  # durable, so the dead count as well
        seen.update({f"hints_{name}": count for name, count in ledger.items()})
    return seen


async def _quiet(world: World, plan: Plan) -> list[Violation]:
    """Wait until nothing is left to do; what still is when there was time enough."""
    keys = [key_of(name) for name in plan.mix.keys]
    return await _nothing_left("unsettled", lambda: _unquiet(world, keys, plan), QUIET_S_MAX)


def _unquiet(world: World, keys: Sequence[Key], plan: Plan) -> list[str]:
    """What nodes have not brought to an end among themselves."""
    return (
        world.unwell()
        + unsettled(world, keys, plan.n)
        + wrong_trees(world, keys, plan.n)
        + wrong_ledgers(world)
    )


async def _collected(world: World, plan: Plan) -> list[Violation]:
    """Wait until tombstones are gone, and all is quiet again; what is not in time."""
    keys = [key_of(name) for name in plan.mix.keys]
    within_s = COLLECTED_S_MIN + COLLECTED_IN * plan.options.cluster.stragglers_s_max
    left = await _nothing_left("uncollected", lambda: tombstones(world, keys), within_s)
    return left or await _quiet(world, plan)


async def _nothing_left(
    rule: str, look: Callable[[], list[str]], within_s: float
) -> list[Violation]:
    try:
        await until(lambda: not look(), within_s=within_s, every_s=LOOK_S)
    except TimeoutError:
        return [Violation(rule=rule, key="*", text=text) for text in look()]
    return []


async def _judge(world: World, plan: Plan, history: History) -> list[Violation]:
    """The rules, on what replicas hold, and whether every node answers just that."""
    final = {name: _held_by_replicas(world, name, plan.n) for name in plan.mix.keys}
    violations = check(history.writes, history.reads, final, copies_may_go=history.copies_may_go)
    for name, values in final.items():
        for node in world.names:
            state = await _read(world, node, key_of(name), plan.n)
            if state is None or seen_in(state).values != values:
                shown = "nothing in time" if state is None else sorted(seen_in(state).values)
                text = f"replicas hold {sorted(values)}, and {node} answers {shown}"
                violations.append(Violation(rule="answers", key=name, text=text))
    return violations


def _held_by_replicas(world: World, name: str, n: int) -> frozenset[str]:
    """The values of a key on its first primary; all have the same by now."""
    key = key_of(name)
    [first, *_] = primaries(next(world.running()), key, n)
    state = held(world, key)[first][0]
    return seen_in(decode_siblings(state)).values if state else frozenset()


async def _read(world: World, node: NodeId, key: Key, n: int) -> Siblings | None:
    """What all primaries know together; None if one is too slow again and again."""
    quorum = ReadQuorum(n=n, r=n, pr=n, sloppy=False)
    for _ in range(10):
        try:
            return await get(world, node, key, quorum)
        except DynamoError as error:
            world.trace.note(f"in the calm, {node} cannot read {key.key.decode()}: {error!r}")
            await asyncio.sleep(LOOK_S)
    return None


# -- many seeds ----------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Campaign:
    """Seeds that were run one after the other, and what they came to.

    Attributes:
        first_seed: of them; they are consecutive.
        seeds: how many.
        cpu_s: what they took.
        virtual_s: how long their worlds lasted.
        troubles: that happened in them.
        seen: what happened in all of them together.
        failures: what went wrong, each with the command that replays it.
    """

    first_seed: int
    seeds: int = 0
    cpu_s: float = 0.0
    virtual_s: float = 0.0
    troubles: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def run(self, cpu_s: float, *, trace: bool) -> None:
        """Run seeds until that much CPU time is spent, or ten of them have failed."""
        begun_s = time.process_time()
        while self.cpu_s < cpu_s and len(self.failures) < 10:
            seed = self.first_seed + self.seeds
            self.seeds += 1
            try:
                result = run(seed)
            except Exception as error:
                notes = getattr(error, "__notes__", [])[0 if trace else -1 :]
                replay = f"replay: {REPLAY.format(seed=seed)}"
                self.failures.append("\n".join([f"{error!r}", *notes, replay]))
            else:
                self._add(result, trace=trace)
            self.cpu_s = time.process_time() - begun_s

    def _add(self, result: Result, *, trace: bool) -> None:
        self.virtual_s += result.virtual_s
        self.troubles += result.troubles
        self.seen += result.seen
        if result.violations:
            self.failures.append(f"{result.trace}\n{result}" if trace else str(result))

    def __str__(self) -> str:
        minutes = self.cpu_s / 60
        last = self.first_seed + self.seeds - 1
        return (
            f"seeds {self.first_seed} to {last} in {self.cpu_s:.1f} s of CPU;"
            f" per CPU minute {self.virtual_s / 3600 / minutes:.2f} virtual hours,"
            f" {self.troubles / minutes:.0f} faults, {self.seeds / minutes:.0f} seeds;"
            f" {len(self.failures)} failures"
        )


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description="Run seeds of the swarm.")
    parser.add_argument("--seconds", type=float, default=60.0, help="of CPU time to spend")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seed", type=int, help="run this one only, and print its digest")
    parser.add_argument("--trace", action="store_true", help="print traces too")
    asked = parser.parse_args()
    if asked.seed is not None:
        result = run(asked.seed, keep_all=asked.trace)
        sys.stdout.write((result.trace if asked.trace else result.digest) + "\n")
        return
    campaign = Campaign(first_seed=asked.first_seed)
    campaign.run(asked.seconds, trace=asked.trace)
    for failure in campaign.failures:
        sys.stdout.write(f"{failure}\n\n")
    for name, count in sorted(campaign.seen.items()):
        sys.stdout.write(f"{count:10}  {name}\n")
    sys.stdout.write(f"{campaign}\n")
    sys.exit(bool(campaign.failures))


if __name__ == "__main__":
    main()
