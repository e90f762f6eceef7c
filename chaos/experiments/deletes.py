"""E12: what is deleted while a home is away does not come back with it."""

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Final

from chaos.checkers.telling import counted
from chaos.experiment import NODES, ClientPlan, Experiment, TakePlan
from chaos.experiments.counters import rise
from chaos.experiments.tombstones import (
    BURIED,
    FORGOTTEN,
    FORGOTTEN_S_MAX,
    MISSING,
    TORN,
    deleted_places,
    forgotten_after_s,
    reads_after_deletion,
    rules,
    shown_again,
    table,
    without_value,
)
from chaos.judgement import Figure, Findings
from chaos.links import CutKind, isolate
from chaos.modes import Mode
from chaos.recording import Recording
from chaos.stage import Stage, Traffic
from chaos.waiting import until
from chaos.workloads.doomed import Doomed, Fate

STRICT: Final = Mode(r=2, w=2, sloppy=False)
SLOPPY: Final = Mode(r=2, w=2, sloppy=True)
ONE: Final = Mode(r=1, w=1, sloppy=True)

READERS: Final = ("reader1", "reader2")
REVIVED: Final = 3

COLLECTED: Final = ("tombstones_collected_total",)

STRAGGLERS_S_MAX: Final = 0.6
SETTLING_S: Final = 2 * 1.1 * (3 * STRAGGLERS_S_MAX + 1.0)
"""Two waits, each a tenth longer than messages and handshakes live (dynamo/node/tombstones.py)."""


class Deletes(Experiment):
    """See the attributes."""

    id = "E12"
    name = "deletes"
    title = "What is deleted while a home is away"
    hypothesis = (
        "A node that was away while a key was deleted still holds its value. It must not bring it"
        " back, neither at once nor when the tombstones that tell of the deletion are forgotten."
    )
    faults = (
        "A node is killed; keys that live there are deleted, and some of them written again. When"
        " it is back another node is cut off, on which keys are written that the others delete."
        " Then all is well until no tombstone is left."
    )
    must_hold = (
        "No deleted value is shown again or left anywhere, no value written since is lost, what was"
        " written beside a deletion stays, and no tombstone goes while a node is away."
    )
    predicted = (
        "With nothing in the way a tombstone is forgotten after two waits, each a little longer"
        f" than all that is under way can last, here {SETTLING_S:.1f} s together, and one look in"
        " about five seconds."
    )

    def takes(self, cuts: Sequence[str], seed: int) -> tuple[TakePlan, ...]:
        home, alone, *others = Random(seed).sample(NODES, len(NODES))
        return (
            TakePlan(
                name="deletes",
                title="a home killed, then another node cut off",
                modes=(STRICT, SLOPPY, ONE),
                clients=(
                    *(ClientPlan(name=name, side="B", nodes=tuple(others)) for name in READERS),
                    ClientPlan(name="script", side="B", nodes=tuple(others)),
                    ClientPlan(name="alone", side="A", nodes=(alone,)),
                    ClientPlan(name="everywhere", side="roaming", nodes=NODES),
                ),
                sides={"A": (alone,), "B": (home, *others)},
                cut=str(CutKind.REFUSE),
                expected_s=28,
                node={"replica_timeout_s": 0.4},
                cluster={"stragglers_s_max": STRAGGLERS_S_MAX},
                parameters={"home": home, "alone": alone},
            ),
        )

    async def perform(self, stage: Stage) -> None:
        home, alone = (str(stage.plan.parameters[name]) for name in ("home", "alone"))
        quorums, torn = [Doomed(STRICT), Doomed(SLOPPY)], Doomed(ONE, name=TORN)
        await stage.prepare(*quorums, torn)
        reads = [Traffic(workload=each, rate_hz=40, clients=READERS) for each in quorums]
        async with stage.load(*reads):
            await stage.last(1, "all is well")
            async with stage.killed(home):
                await stage.noticed()
                for each in quorums:
                    await _change(stage, each)
                await stage.last(1.5, f"keys were deleted, and {home}, which is dead, has them")
                await _count_buried(stage, quorums, home)
            await stage.last(1, f"{home} is back with all that it had")
            cut = isolate(alone, [node for node in NODES if node != alone])
            async with stage.cut(cut, CutKind.REFUSE, f"{alone} | the others"):
                await stage.noticed()
                await _tear(stage, torn, alone)
        await _forget(stage)
        for each in quorums:
            await each.write(stage.clients["script"], each.of(Fate.GONE)[:REVIVED], stage.dice)
        for each in (*quorums, torn):
            await each.look(stage.clients["everywhere"], each.keys)

    def conclude(self, recording: Recording) -> Findings:
        [take] = recording.takes
        deleted, reads, shown = deleted_places(take), reads_after_deletion(take), shown_again(take)
        after_s = forgotten_after_s(take)
        took = "Tombstones were left" if after_s is None else "No tombstone was left"
        return Findings(
            observed=f"{counted(len(deleted), 'key')} were deleted while a node was dead or cut"
            f" off; {len(shown)} of {counted(len(reads), 'read')} after that showed what was"
            f" deleted. {took} {after_s or FORGOTTEN_S_MAX:.1f} s after the cut was healed.",
            rules=rules(take),
            figures=(
                Figure(
                    label=f"until no tombstone was left; {SETTLING_S:.1f} s of it are waits",
                    measured=after_s,
                    unit="s",
                ),
                Figure(
                    label="tombstones forgotten",
                    measured=rise(take, COLLECTED),
                    predicted=len(without_value(take)),
                ),
                Figure(label=BURIED, measured=take.head.figures.get(BURIED)),
            ),
            tables=(table(take),),
        )


async def _change(stage: Stage, doomed: Doomed) -> None:
    """Let the fates come over the keys."""
    script = stage.clients["script"]
    stage.say(f"deleting and writing, {doomed.mode.name}")
    await doomed.delete(script, doomed.of(Fate.GONE, Fate.ANEW), stage.dice)
    await doomed.write(script, doomed.of(Fate.ANEW, Fate.KEPT), stage.dice)


async def _count_buried(stage: Stage, doomed: Sequence[Doomed], home: str) -> None:
    """Look whether those who are there still know what was deleted."""
    places = {(str(d.mode.conflicts), d.bucket, key) for d in doomed for key in d.of(Fate.GONE)}
    there = [node for node in stage.plan.nodes if node != home]
    homes = {place: stage.placements[place].primaries for place in places}
    states = await stage.lab.observer.dump(there, sorted(places), homes)
    holders = Counter(
        (state.bucket, state.key) for state in states if any(v.deleted for v in state.values)
    )
    stage.figures[BURIED] = sum(count >= STRICT.w for count in holders.values())
    stage.figures[MISSING] = len(places) - stage.figures[BURIED]


async def _tear(stage: Stage, torn: Doomed, alone: str) -> None:
    """Write and delete the same keys, on the two sides of a cut."""
    stage.say(f"{alone} writes what the others delete")
    places = {key: (str(torn.mode.conflicts), torn.bucket, key) for key in torn.keys}
    keys = [key for key in torn.keys if alone in stage.placements[places[key]].primaries]
    await torn.write(stage.clients["alone"], keys, stage.dice)
    await torn.delete(stage.clients["script"], keys, stage.dice)


async def _forget(stage: Stage) -> None:
    """Wait until no node holds a tombstone."""
    stage.say("waiting until no tombstone is left")

    async def none_left() -> bool:
        figures = await stage.lab.observer.figures(stage.plan.nodes)
        held = [seen["tombstones_held"] for seen in figures.values()]
        return len(held) == len(stage.plan.nodes) and not any(held)

    if await until(none_left, within_s=FORGOTTEN_S_MAX):
        stage.mark(FORGOTTEN)
