"""E27: whatever a seed says, for as long as one likes."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from typing import Final, cast

from chaos.checkers import staleness
from chaos.checkers.last_write_wins import lost_updates
from chaos.checkers.telling import Breach, counted, ruled, told
from chaos.experiment import NODES, Experiment, TakePlan, crew
from chaos.experiments.counters import MENDED, READ_REPAIRS, rise
from chaos.experiments.measuring import TAIL_S, percent_ok
from chaos.experiments.swarm import (
    ROUND_S,
    Blow,
    ClockOff,
    Cut,
    Disturbed,
    Flow,
    Hit,
    Killed,
    Paused,
    Round,
    draw,
)
from chaos.judgement import Figure, Findings, RuleOutcome, Table
from chaos.links import CutKind
from chaos.modes import Mode
from chaos.recording import Fault, Outcome, Recording, Take
from chaos.stage import Stage, Traffic
from chaos.toxiproxy.api import together
from chaos.workloads.blind import Blind
from chaos.workloads.cart import Cart
from chaos.workloads.deletes import Deletes
from chaos.workloads.once import Once
from chaos.workloads.registers import Registers
from chaos.workloads.set_add import SetAdd

CALM_S: Final = 3.0
AFTER_S: Final = 6.0
WELL_S: Final = 2.0
"""So long before the load ends everything must be answered again."""

WELL_PERCENT: Final = 95.0
RECOVERED: Final = "once all is healed, requests are answered again"

CREW: Final = crew({"all": NODES})

_MAKE: Final[Mapping[str, type[Registers | SetAdd | Cart | Deletes | Blind]]] = {
    "registers": Registers,
    "set-add": SetAdd,
    "cart": Cart,
    "deletes": Deletes,
    "blind": Blind,
}
_SEQUENTIAL: Final = frozenset({"set-add", "cart", "deletes"})
"""Their steps read before they write, and a client does that once at a time."""

_ANYWHERE: Final = Mode(r=1, w=1, sloppy=True)
_DATED: Final = 4
_DATED_KEYS: Final = 12  # for each wrong clock; three in five have the node for a home

_FOUND: Final[Mapping[str, tuple[str, ...]]] = {
    "hints stored": ("hints_stored_total",),
    "hints delivered": ("hints_delivered_total",),
    "stand-ins asked": ("stand_ins_asked_total",),
    "read repairs": READ_REPAIRS,
    "keys mended by anti-entropy": MENDED,
    "tombstones collected": ("tombstones_collected_total",),
    "replies too late": ("replies_late_total",),
}
"""What a soak should make happen; a round in which nothing of it did has tried little."""


class Soak(Experiment):
    """See the attributes.

    Its takes are rounds, each with a cluster, modes and faults of its own.
    """

    id = "E27"
    name = "soak"
    title = "Whatever a seed says"
    hypothesis = (
        "Whatever is broken, for however long and however much of it at once: what the store"
        " promises holds, and once all is healed it is whole again by itself."
    )
    faults = (
        "Drawn from the seed: cuts of all shapes and kinds, links that flap, delay, starve, tear"
        " or reset; nodes that are killed, stand still, lose their disk or have a wrong clock."
    )
    must_hold = (
        "Nothing acknowledged is lost, siblings are exact, nothing comes back, nothing crashes; in"
        " the end everything is answered again, and replicas converge without a read."
    )
    predicted = "No figures: these are chances that nobody planned. The rules are what is tested."

    def __init__(self, duration_s: float = ROUND_S) -> None:
        """Say how long faults are drawn for, in all."""
        self._duration_s = duration_s

    @property
    def command(self) -> str:
        return f"python -m chaos soak --duration-s {self._duration_s:g}"

    def takes(self, cuts: Sequence[str], seed: int) -> tuple[TakePlan, ...]:
        ways = [CutKind(cut) for cut in cuts] or tuple(CutKind)
        rounds = draw(seed, self._duration_s, [client.name for client in CREW], ways)
        return tuple(
            TakePlan(
                name=f"round-{number}",
                title=f"round {number}",
                modes=tuple(dict.fromkeys((*drawn.modes, *([_ANYWHERE] if drawn.clocks else [])))),
                clients=CREW,
                node=drawn.node,
                expected_s=drawn.lasts_s + CALM_S + AFTER_S + 12,
                convergence_s_max=60.0,
                parameters={"round": drawn},
            )
            for number, drawn in enumerate(rounds, start=1)
        )

    async def perform(self, stage: Stage) -> None:
        drawn = cast("Round", stage.plan.parameters["round"])
        dated = Once(_ANYWHERE, keys=_DATED_KEYS * drawn.clocks)
        _announce(stage, drawn)
        await stage.prepare(dated)
        async with stage.load(*map(_traffic, drawn.flows)):
            await stage.last(CALM_S, "all is well")
            begun_s, in_turn = stage.clock_s(), asyncio.Lock()
            async with together() as group:
                for hit in drawn.hits:
                    group.create_task(_strike(stage, hit, begun_s, in_turn, dated))
            await stage.last(AFTER_S, "all is healed")

    def conclude(self, recording: Recording) -> Findings:
        return Findings(
            observed=_in_words(recording.takes),
            rules=tuple(recovered(take) for take in recording.takes),
            figures=tuple(figure for take in recording.takes for figure in _figures(take)),
            tables=(
                _schedule(recording.takes),
                _set_going(recording.takes),
                _asked(recording.takes),
            ),
        )


def _announce(stage: Stage, drawn: Round) -> None:
    """Say and record what was drawn; faults are recorded as they come."""
    settings = ", ".join(f"{name} = {value}" for name, value in drawn.node.items())
    for line in (*map(str, drawn.flows), settings, f"{counted(len(drawn.hits), 'fault')} to come"):
        stage.say(f"drawn: {line}")
    stage.figures |= {_named(flow): flow.rate_hz for flow in drawn.flows}


def _named(flow: Flow) -> str:
    return f"{flow.workload} on {flow.keys} keys, {flow.mode.name}, steps/s"


def _traffic(flow: Flow) -> Traffic:
    workload = _MAKE[flow.workload](flow.mode, keys=flow.keys)
    return Traffic(workload=workload, rate_hz=flow.rate_hz, sequential=flow.workload in _SEQUENTIAL)


# ---- breaking


async def _strike(
    stage: Stage, hit: Hit, begun_s: float, in_turn: asyncio.Lock, dated: Once
) -> None:
    """Break something at its time, and mend it."""
    await asyncio.sleep(max(0.0, begun_s + hit.at_s - stage.clock_s()))
    is_of_link = isinstance(hit.blow, Cut | Disturbed)
    # A node may take longer to start than was planned for; the next waits for it.
    async with nullcontext() if is_of_link else in_turn, _broken(stage, hit.blow):
        if isinstance(hit.blow, ClockOff):
            await _date(stage, hit.blow.node, dated)
        await stage.last(hit.lasts_s, stage.faults[-1].said)


@asynccontextmanager
async def _broken(stage: Stage, blow: Blow) -> AsyncIterator[None]:
    async with AsyncExitStack() as mended:
        match blow:
            case Cut():
                await mended.enter_async_context(stage.cut(blow.ways, blow.kind, blow.said))
            case Disturbed():
                await mended.enter_async_context(
                    stage.toxic(blow.kind, blow.links, blow.toxics, blow.said)
                )
            case Killed():
                for node in blow.nodes:
                    await mended.enter_async_context(stage.killed(node))
                if blow.wiped:
                    await stage.wipe(blow.nodes[0])
            case Paused():
                await mended.enter_async_context(stage.paused(blow.node))
            case ClockOff():
                await mended.enter_async_context(stage.clock_off(blow.node, blow.offset_s))
        yield


async def _date(stage: Stage, node: str, dated: Once) -> None:
    """Have the node write values that nobody replaces, to see by what clock it dates them."""
    here = [
        key
        for bucket_type, bucket, key in dated.objects()
        if node in stage.placements[bucket_type, bucket, key].primaries
    ]
    client = stage.clients[CREW[0].name]
    await dated.write(client, node, here, _DATED)


# ---- concluding


def recovered(take: Take) -> RuleOutcome:
    """Requests in the last moments of the load, when all had been well for some seconds."""
    quiet_s = take.head.mark_s("quiet") or 0.0
    since_s = max(quiet_s - WELL_S - TAIL_S, take.head.mark_s("healed") or 0.0)
    asked = [op for op in take.operations if since_s <= op.intended_s < quiet_s - TAIL_S]
    failed = [op for op in asked if op.outcome is not Outcome.OK]
    answered = percent_ok(asked)
    is_well = answered is not None and answered >= WELL_PERCENT
    return ruled(
        RECOVERED,
        take,
        kept=f"{answered or 0:.1f} % of {counted(len(asked), 'request')} were answered in the last"
        f" {WELL_S:g} s, of {WELL_PERCENT:g} % that must be",
        broken=f"of {counted(len(asked), 'request')} were not answered",
        breaches=[]
        if is_well
        else [Breach(f"{told(op)}: {op.error or op.status}", (op.index,)) for op in failed],
        unknown=[] if asked else ["nothing was asked after the last fault"],
    )


def _in_words(takes: Sequence[Take]) -> str:
    kinds = Counter(fault.kind for take in takes for fault in take.head.faults)
    listed = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
    asked = [op for take in takes for op in take.operations]
    seen = [s for take in takes for s in staleness.sights(take.operations, take.head.modes)]
    slowest_s = [take.head.converged_after_s for take in takes]
    healed = (
        "in one round replicas were not seen equal again"
        if None in slowest_s
        else f"replicas were equal {max(filter(None, slowest_s), default=0.0):.1f} s after the last"
        " request, or sooner"
    )
    return (
        f"{counted(kinds.total(), 'fault')} ({listed}) in {counted(len(takes), 'round')}:"
        f" {percent_ok(asked) or 0:.1f} % of {counted(len(asked), 'request')} were answered,"
        f" {staleness.staleness(seen).percent:.1f} % of reads were stale; {healed}."
    )


def _figures(take: Take) -> list[Figure]:
    lost = lost_updates(take)
    of_clocks = [
        Figure(label="dropped by last-write-wins", measured=lost.share, unit="%", take=take.name)
    ]
    return [
        Figure(
            label="requests answered",
            measured=percent_ok(take.operations),
            unit="%",
            take=take.name,
        ),
        *staleness.figures(take),
        *(of_clocks if lost.acked else ()),
        Figure(
            label="replicas equal, after the last request",
            measured=take.head.converged_after_s,
            unit="s",
            take=take.name,
        ),
    ]


def _schedule(takes: Sequence[Take]) -> Table:
    rows = (
        (take.head.title, f"{fault.began.until_s:.1f}", _until(fault), fault.kind, fault.said)
        for take in takes
        for fault in sorted(take.head.faults, key=lambda fault: fault.began.until_s)
    )
    return Table(
        title="What was broken",
        said="As the seed drew it, and as it came about, in seconds since the take began.",
        columns=("round", "from", "until", "kind", "what"),
        rows=tuple(rows),
    )


def _until(fault: Fault) -> str:
    return "the end" if fault.ended is None else f"{fault.ended.until_s:.1f}"


def _set_going(takes: Sequence[Take]) -> Table:
    return Table(
        title="What that set going",
        said="Counted by the nodes. A soak that never made a node mend anything would have proved"
        " nothing.",
        columns=("", *(take.head.title for take in takes)),
        rows=tuple(
            (name, *(f"{rise(take, counters):.0f}" for take in takes))
            for name, counters in _FOUND.items()
        ),
    )


def _asked(takes: Sequence[Take]) -> Table:
    """What clients did, by workload and mode."""
    rows = []
    for take in takes:
        groups = Counter((op.workload, op.mode) for op in take.operations)
        for (workload, mode), asked in sorted(groups.items()):
            own = [op for op in take.operations if (op.workload, op.mode) == (workload, mode)]
            objects = len({op.place for op in own})
            answered = f"{percent_ok(own) or 0:.1f}"
            rows.append((take.head.title, workload, mode, str(objects), str(asked), answered))
    return Table(
        title="What was asked",
        said="As the seed drew it. `once` are values by which a wrong clock is seen.",
        columns=("round", "workload", "mode", "objects", "requests", "answered, %"),
        rows=tuple(rows),
    )
