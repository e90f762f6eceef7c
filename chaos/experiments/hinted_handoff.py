"""E10: hints alone bring a node up to date, though those who keep them crash as well."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from random import Random
from typing import Final, NamedTuple

from chaos.checkers.telling import Breach, ruled
from chaos.experiment import NODES, Experiment, TakePlan, crew
from chaos.experiments.counters import MENDED, READ_REPAIRS, rise
from chaos.experiments.measuring import asked_everywhere, availability, availability_in_words
from chaos.judgement import Figure, Findings, RuleOutcome
from chaos.modes import Mode
from chaos.predictions.availability import without
from chaos.recording import Fault, Outcome, Recording, Take
from chaos.stage import Stage, Traffic
from chaos.waiting import until
from chaos.workloads.registers import Registers

SLOPPY: Final = Mode(r=2, w=2, sloppy=True)

HANGS_S: Final = 1.5
"""Shorter than it takes to be suspected, so others still ask it, and try to hand hints to it."""

AWAY_S: Final = 4.0
DELIVERED_S_MAX: Final = 15.0
"""For the hints of all whose holders are there; they go out the moment the node is back."""

LEFT: Final = "hints left while their holder was not the one that was dead"

SURVIVE: Final = "hints survive the crash of who keeps them"
ALONE: Final = "hints did it alone"
AT_ONCE: Final = "who keeps hints delivers them, whoever else is down"


class HintedHandoff(Experiment):
    """See the attributes.

    Nothing is under way when a node is killed: what a coordinator had begun when it died, nobody
    else knows of, and only anti-entropy finds it, which is switched off here. `kill-storm` kills
    under load.
    """

    id = "E10"
    name = "hinted-handoff"
    title = "A home is dead, and then one of those who keep its hints"
    hypothesis = (
        "While a home of a key is dead a stand-in takes its writes, with a hint of whom they are"
        " for. When it returns the hints alone bring it up to date and vanish, even if who kept"
        " them crashed in between."
    )
    faults = (
        f"A node hangs for {HANGS_S:g} s of writes, is killed with SIGKILL, and stays away for"
        f" {AWAY_S:g} s more; then the node that keeps the most hints is killed, too, and comes"
        " back last. Anti-entropy and read repair are switched off throughout."
    )
    must_hold = (
        "Nothing is lost; hints survive the crash of who keeps them, all are delivered, and nobody"
        " keeps a copy that is not its; the returned node holds what the others hold, without a"
        " read."
    )
    predicted = (
        "Every request is answered. A hint is kept for each key that has its home on the dead node"
        " and was written meanwhile, however often."
    )

    def takes(self, cuts: Sequence[str], seed: int) -> tuple[TakePlan, ...]:
        home = Random(seed).choice(NODES)
        others = [node for node in NODES if node != home]
        return (
            TakePlan(
                name="hints-only",
                title="hints alone",
                modes=(SLOPPY,),
                clients=crew({"others": others}),
                sides={"others": tuple(others)},
                expected_s=HANGS_S + AWAY_S + 16,
                node={"anti_entropy": False, "read_repair": False},
                parameters={"home": home},
            ),
        )

    async def perform(self, stage: Stage) -> None:
        home = str(stage.plan.parameters["home"])
        traffic = Traffic(workload=Registers(SLOPPY, keys=300, read_fraction=0.3), rate_hz=120)
        async with stage.load(traffic):
            await stage.last(1.5, "all is well")
        async with AsyncExitStack() as away:
            async with stage.paused(home):
                async with stage.load(traffic):
                    await stage.last(HANGS_S, f"{home} hangs, and is not known to be dead")
                await away.enter_async_context(stage.killed(home))
            async with stage.load(traffic):
                await stage.noticed()
                await stage.last(AWAY_S, f"{home} is dead, stand-ins take its writes")
            held = await _held(stage)
            holder = max(sorted(held), key=lambda node: held[node])
            async with stage.killed(holder):
                stage.say(
                    f"{holder} is dead with the {held[holder]} hints it keeps; {home} returns"
                )
                await away.aclose()
                await until(lambda: _none_held(stage), within_s=DELIVERED_S_MAX)
                stage.figures[LEFT] = sum((await _held(stage)).values())

    def conclude(self, recording: Recording) -> Findings:
        [take] = recording.takes
        hang, home, holder = take.head.faults
        hinted, kept = _held_at(take, holder.began.from_s), _kept_by(take, holder)
        expected = _to_be_hinted(take, hang)
        hints, after_s = take.head.hints, take.head.converged_after_s
        figures = (
            Figure(
                label="hints held before any was delivered",
                measured=hinted,
                predicted=len(expected),
                tolerance=max(2.0, 0.02 * len(expected)),
                take=take.name,
            ),
            Figure(label="hints stored, later ones of a key included", measured=hints["stored"]),
            Figure(label="hints delivered", measured=hints["delivered"]),
            Figure(label="hints joined to a later one", measured=hints["superseded"]),
            Figure(label=f"hints that {holder.targets[0]} kept when it died", measured=kept.held),
            Figure(label="until all was equal, once all were back", measured=after_s, unit="s"),
        )
        rows = availability(recording, without(home.targets))
        took = "not in time" if after_s is None else f"{after_s:.1f} s after the last was back"
        return Findings(
            observed=f"{availability_in_words(rows)} {hinted:.0f} hints were kept for"
            f" {home.targets[0]}, {kept.held:.0f} of them by {holder.targets[0]} as it was killed;"
            f" {hints['delivered']} were delivered and all replicas were equal {took}.",
            rules=(
                asked_everywhere(take, rows),
                _alone(take),
                _at_once(take, holder),
                _survived(take, holder, kept),
            ),
            figures=figures,
            availability=rows,
        )


async def _held(stage: Stage) -> dict[str, int]:
    """How many hints each node keeps, of those that answer."""
    figures = await stage.lab.observer.figures(stage.plan.nodes)
    return {node: int(seen["hints_held"]) for node, seen in figures.items()}


async def _none_held(stage: Stage) -> bool:
    return not any((await _held(stage)).values())


def _held_at(take: Take, at_s: float) -> float:
    """How many hints all nodes kept, by the last look before an instant."""
    before = [sample for sample in take.samples if sample.at_s <= at_s]
    return sum(seen["hints_held"] for seen in before[-1].nodes.values()) if before else 0


class _Kept(NamedTuple):
    """What became of the hints of a node that died.

    Attributes:
        held: how many it had, by the last look at it.
        delivered: how many it delivered after that.
    """

    held: float
    delivered: float


def _kept_by(take: Take, holder: Fault) -> _Kept:
    """The ledger of hints is on the disk, so it goes on where it ended."""
    [node] = holder.targets
    seen = [(sample.at_s, sample.nodes[node]) for sample in take.samples if node in sample.nodes]
    before = [figures for at_s, figures in seen if at_s <= holder.began.from_s]
    if not before:
        return _Kept(0.0, 0.0)
    (_, last), then = seen[-1], before[-1]
    name = "hints_delivered_total"
    return _Kept(held=then["hints_held"], delivered=last[name] - then[name])


def _to_be_hinted(take: Take, hang: Fault) -> set[tuple[str, str]]:
    """Objects that live on the node that hangs and were written from then on."""
    lives_there = {
        (where.bucket, where.key)
        for where in take.head.placements
        if set(hang.targets) & set(where.primaries)
    }
    return {
        operation.place
        for operation in take.operations
        if operation.is_write
        and operation.outcome is Outcome.OK
        and operation.invoked_s > hang.began.until_s
        and operation.place in lives_there
    }


def _alone(take: Take) -> RuleOutcome:
    """Nothing else brought a replica up to date; else hints were not tried."""
    exchanged, repaired = rise(take, MENDED), rise(take, READ_REPAIRS)
    helped = exchanged + repaired
    return ruled(
        ALONE,
        take,
        kept="anti-entropy and read repair, switched off, brought no key anywhere",
        broken="",
        breaches=[],
        unknown=[f"{exchanged:.0f} keys by anti-entropy, {repaired:.0f} by read repair"]
        if helped
        else [],
    )


def _at_once(take: Take, holder: Fault) -> RuleOutcome:
    left = take.head.figures.get(LEFT)
    said = f"{left or 0:.0f} hints were not delivered in {DELIVERED_S_MAX:g} s"
    return ruled(
        AT_ONCE,
        take,
        kept=f"while {holder.targets[0]} was dead the others delivered all that they kept",
        broken="hints waited for a node that has nothing to do with them",
        breaches=[Breach(said)] if left else [],
        unknown=["nobody looked what was left"] if left is None else [],
    )


def _survived(take: Take, holder: Fault, kept: _Kept) -> RuleOutcome:
    [node] = holder.targets
    gone = (
        f"{node} kept {kept.held:.0f} hints when it was killed and delivered {kept.delivered:.0f}"
    )
    return ruled(
        SURVIVE,
        take,
        kept=f"{gone}, all of them after it had come back",
        broken="holder lost hints",
        breaches=[Breach(gone)] if kept.delivered != kept.held else [],
        unknown=[] if kept.held else [f"{node} kept no hint when it was killed"],
    )
