"""E14: a node stands still for longer than suspicion takes, and goes on as if nothing had been."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Final

from chaos.checkers.telling import Breach, counted, ruled
from chaos.experiment import NODES, Experiment, TakePlan, crew
from chaos.experiments.measuring import ACTIONS, availability, percent_ok, quantile_ms
from chaos.judgement import Figure, Findings, RuleOutcome, Table
from chaos.modes import Mode
from chaos.predictions.availability import READ, without
from chaos.recording import Fault, Operation, Outcome, Placement, Recording, Take
from chaos.stage import Stage, Traffic
from chaos.windows import Window
from chaos.workloads.registers import Registers
from chaos.workloads.set_add import SetAdd

MODES: Final = (
    Mode(r=2, w=2, sloppy=False),
    Mode(r=2, w=2, sloppy=True),
    Mode(r=3, w=3, sloppy=True),
)

OTHERS: Final = "others"
FROZEN: Final = "frozen"

KNOWN_S: Final = 4.5
"""How long it stands still once the others know; finding out takes them two seconds."""

FORGIVEN_S: Final = 1.0
"""A silence of this length is nobody's death to the store: so long it can only wait."""

PATIENCE_S: Final = 1.3
"""Who asked it so shortly before it went on still waited, and had an answer after all."""

TAKEN_IN_S_MAX: Final = 10.0

TAKEN_IN: Final = "who goes on is taken in again"


class FrozenNode(Experiment):
    """See the attributes."""

    id = "E14"
    name = "frozen-node"
    title = "A node stands still, and goes on as if nothing had been"
    hypothesis = (
        "A node that stands still looks like a slow one: until the others stop waiting for it,"
        " requests that need it fail, and no others. When it goes on it does what it was asked long"
        " ago; each such write is a sibling of what it did not know, and hides nothing."
    )
    faults = "SIGSTOP for one node, its connections open; SIGCONT about seven seconds later."
    must_hold = (
        "Nothing acknowledged is lost or hidden by what comes late, siblings are exact, replicas"
        f" converge, and all nodes take each other for up within {TAKEN_IN_S_MAX:g} s."
    )
    predicted = (
        "In the first second, when nobody may suspect it yet: answered is what another node can"
        " coordinate, and what two other homes are enough for. Once it is known: what the ring says"
        " of four nodes. Who asks the node itself has no answer."
    )

    def takes(self, cuts: Sequence[str], seed: int) -> tuple[TakePlan, ...]:
        frozen = Random(seed).choice(NODES)
        sides = {OTHERS: tuple(node for node in NODES if node != frozen), FROZEN: (frozen,)}
        return (
            TakePlan(
                name="stopped",
                title="a node stands still",
                modes=MODES,
                clients=crew(sides),
                sides=sides,
                expected_s=KNOWN_S + 17,
            ),
        )

    async def perform(self, stage: Stage) -> None:
        [frozen] = stage.plan.sides[FROZEN]
        registers = [Registers(mode, keys=60) for mode in MODES]
        async with stage.load(
            *(Traffic(workload=each, rate_hz=40) for each in registers),
            Traffic(workload=SetAdd(MODES[0], keys=5), rate_hz=10, sequential=True),
        ):
            await stage.last(1.5, "all is well")
            async with stage.paused(frozen):
                await stage.noticed()
                await stage.last(KNOWN_S, f"{frozen} stands still, and the others know")
            await stage.last(3, f"{frozen} goes on, and does what it was asked long ago")

    def conclude(self, recording: Recording) -> Findings:
        [take] = recording.takes
        [pause] = take.head.faults
        rows = availability(recording, without(pause.targets), tail_s=PATIENCE_S)
        first = Window(pause.began.until_s, pause.began.until_s + FORGIVEN_S)
        waiting = [_waiting(take, pause, first, action) for action in ACTIONS]
        unheard, late = _unheard(take, pause), [*_late(take, pause)]
        after_s = _taken_in_after_s(take, pause)
        took = "not in time" if after_s is None else f"within {after_s:.1f} s"
        shares = " and ".join(
            f"{figure.measured or 0:.0f} % of {action}s"
            for figure, action in zip(waiting, ACTIONS, strict=True)
        )
        [frozen] = pause.targets
        return Findings(
            observed=f"In the first second the other nodes answered {shares}, and"
            f" {percent_ok(_known(take, pause)) or 0:.0f} % of both once they knew. Of"
            f" {counted(len(unheard), 'write')} of which nobody heard while {frozen} stood still"
            f" {len(late)} first turned up when it went on; it was taken in again {took}.",
            rules=(_taken_in(take, pause, after_s),),
            figures=(
                *waiting,
                Figure(
                    label="writes without an answer while it stood still", measured=len(unheard)
                ),
                Figure(label="of these, seen only after it went on", measured=len(late)),
                Figure(label="until all took each other for up", measured=after_s, unit="s"),
            ),
            availability=rows,
            tables=(_by_second(take, pause),),
        )


def _asked_of_others(take: Take, pause: Fault, window: Window) -> list[Operation]:
    return [operation for operation in window.of(take) if operation.node not in pause.targets]


def _known(take: Take, pause: Fault) -> list[Operation]:
    return _asked_of_others(
        take, pause, Window(take.head.mark_s("settled") or 0.0, _went_on_s(pause) - PATIENCE_S)
    )


def _went_on_s(pause: Fault) -> float:
    return float("inf") if pause.ended is None else pause.ended.from_s


# ---- what waits


def _waiting(take: Take, pause: Fault, window: Window, action: str) -> Figure:
    """What the others answered before they could suspect anybody, and what they could."""
    homes = {(where.bucket, where.key): where for where in take.head.placements}
    modes = {mode.name: mode for mode in take.head.modes}
    [frozen] = pause.targets
    asked = [
        operation
        for operation in _asked_of_others(take, pause, window)
        if operation.action in ACTIONS[action]
    ]
    possible = [
        is_read_without(frozen, homes[operation.place], modes[operation.mode])
        if action == READ
        else is_written_without(
            frozen, homes[operation.place], modes[operation.mode], operation.node
        )
        for operation in asked
    ]
    return Figure(
        label=f"{action}s answered in the first second, by other nodes",
        measured=percent_ok(asked),
        predicted=100 * sum(possible) / len(possible) if possible else None,
        tolerance=6.0,
        unit="%",
        take=take.name,
    )


def is_read_without(frozen: str, where: Placement, mode: Mode) -> bool:
    """Whether a read is answered while one node is silent and nobody knows: all homes are asked."""
    return sum(home != frozen for home in where.primaries) >= mode.r


def is_written_without(frozen: str, where: Placement, mode: Mode, node: str) -> bool:
    """The same of a write: a home coordinates it, and replaces in time who is silent, if it may."""
    coordinator = node if node in where.primaries else where.primaries[0]
    if coordinator == frozen:
        return False
    return mode.sloppy or sum(home != frozen for home in where.primaries) >= mode.w


def _by_second(take: Take, pause: Fault) -> Table:
    """What was answered, and how long it took, from a second before it stopped."""
    groups = [(mode.name, action) for mode in take.head.modes for action in ACTIONS]
    last_s = take.head.mark_s("quiet") or take.head.duration_s
    rows = []
    for second in range(-1, int(last_s - pause.began.until_s)):
        from_s = pause.began.until_s + second
        asked = _asked_of_others(take, pause, Window(from_s, from_s + 1))
        cells = [
            _cell([op for op in asked if op.mode == mode and op.action in ACTIONS[action]])
            for mode, action in groups
        ]
        is_still = second >= 0 and from_s < _went_on_s(pause)
        rows.append((f"{second} to {second + 1}", "stands still" if is_still else "goes", *cells))
    return Table(
        title="Second by second",
        said="What was asked of the other nodes: percent answered, and the 90th percentile of the"
        " time that took. First requests wait for the node; when it is suspected, stand-ins are"
        " asked at once. Seconds count from the moment it stopped.",
        columns=("second", "the node", *(f"{mode}, {action}s" for mode, action in groups)),
        rows=tuple(rows),
    )


def _cell(operations: Sequence[Operation]) -> str:
    answered, took_ms = percent_ok(operations), quantile_ms(operations, 0.9)
    if answered is None:
        return "none asked"
    return f"{answered:.0f} %" + ("" if took_ms is None else f", {took_ms:.0f} ms")


# ---- what comes late


def _unheard(take: Take, pause: Fault) -> list[Operation]:
    """Writes that were sent while it stood still, and of which nobody knows what became."""
    window = Window(pause.began.from_s, _went_on_s(pause))
    return [op for op in window.of(take) if op.is_write and op.outcome is Outcome.INFO]


def _late(take: Take, pause: Fault) -> Iterator[Operation]:
    """Those of them that were seen, and by no reader before it went on."""
    early, ever = set[str](), set[str]()
    for operation in take.operations:
        ever.update(operation.shown or ())
        if operation.returned_s < _went_on_s(pause):
            early.update(operation.shown or ())
    ever.update(value.text for state in take.final for value in state.values)
    for write in _unheard(take, pause):
        if write.written in ever and write.written not in early:
            yield write


# ---- who is taken in again


def _taken_in_after_s(take: Take, pause: Fault) -> float | None:
    """How long after it went on all nodes took all for up, for good; by the looks at them."""
    members = len(take.head.nodes)
    after = [sample for sample in take.samples if sample.at_s >= _went_on_s(pause)]
    since_s: float | None = None
    for sample in after:
        ups = [seen.get("up", 0) for seen in sample.nodes.values()]
        if len(ups) < members or min(ups) < members:
            since_s = None
        elif since_s is None:
            since_s = sample.at_s - _went_on_s(pause)
    return since_s


def _taken_in(take: Take, pause: Fault, after_s: float | None) -> RuleOutcome:
    [frozen] = pause.targets
    when = "never" if after_s is None else f"only {after_s:.1f} s later"
    return ruled(
        TAKEN_IN,
        take,
        kept=f"all nodes took each other for up at most {after_s or 0:.1f} s after {frozen} went"
        f" on, of {TAKEN_IN_S_MAX:g} s it may take",
        broken="nodes were not taken in again in time",
        breaches=[Breach(f"after {frozen} went on, all took each other for up {when}")]
        if after_s is None or after_s > TAKEN_IN_S_MAX
        else [],
        unknown=[] if pause.ended is not None else [f"{frozen} never went on"],
    )
