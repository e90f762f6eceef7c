"""E15: every node is killed in turn, then two homes of the same keys at once, then all."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import chain, combinations
from statistics import median
from typing import Final

from chaos.checkers.telling import Breach, counted, ruled
from chaos.experiment import NODES, Experiment, TakePlan, crew
from chaos.experiments.measuring import ACTIONS, TAIL_S, asked_everywhere, percent_ok
from chaos.judgement import Availability, Figure, Findings, RuleOutcome, Table
from chaos.modes import Mode
from chaos.predictions.availability import asked_in, predicted_percent, without
from chaos.recording import Fault, Operation, Outcome, Placement, Recording, Take
from chaos.stage import Stage, Traffic
from chaos.windows import Window
from chaos.workloads.registers import Registers
from chaos.workloads.set_add import SetAdd

STRICT: Final = Mode(r=2, w=2, sloppy=False)
SLOPPY: Final = Mode(r=2, w=2, sloppy=True)

DEAD_S: Final = 0.8
BETWEEN_S: Final = 0.6
TWO_DEAD_S: Final = 2.5

RECOVERS_S_MAX: Final = 20.0
"""From the start of the process until it serves; about one second, were the machine its own."""

RECOVERS: Final = "every node that was killed serves again"


class KillStorm(Experiment):
    """See the attributes."""

    id = "E15"
    name = "kill-storm"
    title = "Every node is killed: one after the other, two at once, all at once"
    hypothesis = (
        "What W=2 nodes acknowledged is on two disks, so no SIGKILL loses it, whoever is hit and"
        " however much is under way; and a killed node serves again within seconds."
    )
    faults = (
        "Each node is killed with SIGKILL under load and starts again, one every two to three"
        f" seconds; then two that share keys are killed together, for {TWO_DEAD_S:g} s; then all"
        " together."
    )
    must_hold = (
        "No acknowledged write is lost, siblings are exact, hints add up, replicas converge, and"
        " every node comes back."
    )
    predicted = (
        "Who asks a dead node has no answer. Of those who ask another while two are dead, a sloppy"
        " request is answered always, a strict one where two of the key's homes are left."
    )

    def takes(self, cuts: Sequence[str], seed: int) -> tuple[TakePlan, ...]:
        return (
            TakePlan(
                name="storm",
                title="kills under load",
                modes=(STRICT, SLOPPY),
                clients=crew({"all": NODES}),
                expected_s=40,
            ),
        )

    async def perform(self, stage: Stage) -> None:
        registers = [Registers(mode, keys=60) for mode in (STRICT, SLOPPY)]
        async with stage.load(
            *(Traffic(workload=each, rate_hz=60) for each in registers),
            Traffic(workload=SetAdd(SLOPPY, keys=5), rate_hz=10, sequential=True),
        ):
            await stage.last(1.5, "all is well")
            for node in stage.dice.sample(NODES, len(NODES)):
                async with stage.killed(node):
                    await stage.last(DEAD_S, f"{node} is dead")
                await stage.last(BETWEEN_S, f"{node} is back")
            pair = _who_share_most(stage.placements.values())
            async with _killed_together(stage, pair):
                await stage.noticed()
                await stage.last(TWO_DEAD_S, f"{' and '.join(pair)} are dead")
            await stage.last(BETWEEN_S, "all are back")
            async with _killed_together(stage, NODES):
                stage.say("all are dead")
            await stage.last(1.5, "all are back")

    def conclude(self, recording: Recording) -> Findings:
        [take] = recording.takes
        kills = [fault for fault in take.head.faults if fault.kind == "kill"]
        singles, pair = kills[: len(NODES)], kills[len(NODES) : len(NODES) + 2]
        rows = _while_two_are_dead(take, pair)
        acked = [o for o in take.operations if o.is_write and o.outcome is Outcome.OK]
        back_s = [*map(_back_after_s, kills)]
        served = [_of_the_living(take, fault) for fault in singles]
        return Findings(
            observed=f"{len(kills)} kills under load, {counted(len(acked), 'acknowledged write')};"
            f" a node served again {median(back_s):.1f} s after its start, {max(back_s):.1f} s at"
            f" most. With one node dead the others answered {percent_ok(chain(*served)) or 0:.1f} %"
            f" of what they were asked.",
            rules=(asked_everywhere(take, rows), _recovered(take, kills)),
            figures=(
                Figure(label="acknowledged writes", measured=len(acked)),
                Figure(label="from start to service, median", measured=median(back_s), unit="s"),
                Figure(label="from start to service, at most", measured=max(back_s), unit="s"),
            ),
            availability=rows,
            tables=(_table(take, kills),),
        )


@asynccontextmanager
async def _killed_together(stage: Stage, nodes: Iterable[str]) -> AsyncIterator[None]:
    """These nodes are dead, all within milliseconds; they start again one after the other."""
    async with AsyncExitStack() as dead:
        kills = (dead.enter_async_context(stage.killed(node)) for node in nodes)
        await asyncio.gather(*kills)
        yield


def _who_share_most(placements: Iterable[Placement]) -> tuple[str, str]:
    """Two nodes that are both homes of the most objects."""
    shared = Counter(
        pair for where in placements for pair in combinations(sorted(where.primaries), 2)
    )
    return min(shared, key=lambda pair: (-shared[pair], pair))


def _back_after_s(kill: Fault) -> float:
    """From the start of the new process until it served."""
    return float("inf") if kill.ended is None else kill.ended.until_s - kill.ended.from_s


def _of_the_living(take: Take, kill: Fault) -> list[Operation]:
    """What was asked of those who lived while a node was dead."""
    spans = {fault: _dead(take, fault) for fault in take.head.faults}
    return [
        operation
        for operation in spans[kill].of(take)
        if not any(
            operation.node in fault.targets and from_s <= operation.intended_s < until_s
            for fault, (from_s, until_s) in spans.items()
        )
    ]


def _dead(take: Take, kill: Fault) -> Window:
    """From the death of a node until it serves again."""
    until_s = take.head.duration_s if kill.ended is None else kill.ended.until_s
    return Window(kill.began.from_s, until_s)


def _while_two_are_dead(take: Take, pair: Sequence[Fault]) -> tuple[Availability, ...]:
    """What the others answered once they knew, beside what the ring says."""
    dead = {node for fault in pair for node in fault.targets}
    settled_s, ends = take.head.mark_s("settled"), [f.ended for f in pair if f.ended is not None]
    if settled_s is None or not ends:
        return ()
    window = Window(settled_s, min(end.from_s for end in ends) - TAIL_S)
    asked = [operation for operation in window.of(take) if operation.node not in dead]
    found = (
        _answered(take, asked, mode, action, dead) for mode in take.head.modes for action in ACTIONS
    )
    return tuple(row for row in found if row is not None)


def _answered(
    take: Take, asked: Iterable[Operation], mode: Mode, action: str, dead: Collection[str]
) -> Availability | None:
    of_mode = [o for o in asked if o.mode == mode.name and o.action in ACTIONS[action]]
    measured = percent_ok(of_mode)
    if measured is None:
        return None
    requests = asked_in(of_mode, action)
    return Availability(
        take=take.name,
        mode=mode.name,
        side="all",
        action=action,
        measured=measured,
        predicted=predicted_percent(requests, take.head.placements, mode, action, without(dead)),
        requests=len(of_mode),
    )


def _recovered(take: Take, kills: Sequence[Fault]) -> RuleOutcome:
    late = [
        Breach(f"{kill.said} at {kill.began.from_s:.1f} s, served again after {after_s:.1f} s")
        for kill in kills
        if (after_s := _back_after_s(kill)) > RECOVERS_S_MAX
    ]
    return ruled(
        RECOVERS,
        take,
        kept=f"{len(kills)} times a node was killed, and each time it served again within"
        f" {max(map(_back_after_s, kills), default=0.0):.1f} s of its start, of"
        f" {RECOVERS_S_MAX:g} s it may take",
        broken="recoveries took too long",
        breaches=late,
        unknown=[] if kills else ["nobody was killed"],
    )


def _table(take: Take, kills: Sequence[Fault]) -> Table:
    rows = []
    for kill in kills:
        asked = _of_the_living(take, kill)
        rows.append(
            (
                " ".join(kill.targets),
                f"{kill.began.until_s:.1f}",
                f"{_back_after_s(kill):.2f}",
                str(len(asked)),
                f"{percent_ok(asked) or 0:.1f}",
            )
        )
    return Table(
        title="The kills, one by one",
        said="What others were asked from the death of a node until it served again, and how much"
        " of it they answered in time.",
        columns=("killed", "at, s", "start to service, s", "asked of others", "answered, %"),
        rows=tuple(rows),
    )
