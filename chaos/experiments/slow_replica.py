"""E20: one node is slow, and who waits for it is who asks for all."""

from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Final

from chaos.checkers.telling import Breach, counted, ruled, told
from chaos.experiment import NODES, Experiment, TakePlan, crew
from chaos.experiments.counters import rise
from chaos.experiments.measuring import ACTIONS, TAIL_S, quantile_ms
from chaos.judgement import Figure, Findings, RuleOutcome, Table
from chaos.links import Link, Stream, Toxic, latency
from chaos.modes import Mode
from chaos.predictions.availability import READ, WRITE
from chaos.predictions.delays import median_ms
from chaos.recording import Fault, Operation, Outcome, Placement, Recording, Take
from chaos.stage import Stage, Traffic
from chaos.windows import Window, broken, quiet
from chaos.workloads.registers import Registers

ONE: Final = Mode(r=1, w=1, sloppy=True)
TWO: Final = Mode(r=2, w=2, sloppy=True)
ALL: Final = Mode(r=3, w=3, sloppy=True)

LATENCY_MS: Final = 200
JITTER_MS: Final = 100
LEAST_MS: Final = LATENCY_MS - JITTER_MS
"""No byte of the slow node comes sooner; who has an answer earlier has not waited for it."""

ADDED_MS_MAX: Final = LEAST_MS
"""To the median of who need not wait; what waits for the slow node has twice that added."""

BUSY_MS: Final = 150.0
"""Where even who has nothing to do with the slow node takes so long, nothing can be told."""

SLOW_S: Final = 9.0

TOLERANCE_MS: Final = 80.0

HINTED_SHARE_MAX: Final = 0.02
"""Of writes: more than a replica or two that missed its time by chance."""

WAITS: Final = "an answer of all three homes waits for the slow one"
GOES_ON: Final = "an answer of fewer homes does not"
ALIVE: Final = "slow is not dead"


class SlowReplica(Experiment):
    """See the attributes."""

    id = "E20"
    name = "slow-replica"
    title = "One node answers late"
    hypothesis = (
        "The W-th fastest answer decides how long a write takes, the R-th how long a read does: one"
        " slow home in three is felt by nobody who asks for two, and by everybody who asks for"
        " three. Slow is not dead: nobody takes its place."
    )
    faults = (
        f"All that one node sends to others, requests and replies, comes"
        f" {LATENCY_MS}±{JITTER_MS} ms late, for {SLOW_S:g} s. Clients ask the other nodes."
    )
    must_hold = (
        f"No answer of three homes comes within {LEAST_MS} ms, which would be a lie; to the median"
        f" of one or two the slow home adds less than {ADDED_MS_MAX} ms. All nodes take all for"
        " up throughout, and hardly keep hints."
    )
    predicted = (
        "To the median of R=3 and W=3 a slow home adds that of its delay: on a busy link more than"
        f" {LATENCY_MS} ms, as bytes do not overtake each other. To others it adds nothing."
    )

    def takes(self, cuts: Sequence[str], seed: int) -> tuple[TakePlan, ...]:
        slow = Random(seed).choice(NODES)
        others = tuple(node for node in NODES if node != slow)
        return (
            TakePlan(
                name="slow",
                title="one slow node",
                modes=(ONE, TWO, ALL),
                clients=crew({"others": others}),
                sides={"others": others},
                expected_s=SLOW_S + 12,
                # By the lab's own half second a busy link's latest replies would be failures.
                node={"replica_timeout_s": 1.0},
                parameters={"slow": slow},
            ),
        )

    async def perform(self, stage: Stage) -> None:
        slow = str(stage.plan.parameters["slow"])
        registers = [Registers(mode, keys=60) for mode in stage.plan.modes]
        said = f"all that {slow} sends comes {LATENCY_MS}±{JITTER_MS} ms late"
        async with stage.load(*(Traffic(workload=each, rate_hz=35) for each in registers)):
            await stage.last(3, "all is well")
            async with stage.toxic_each(
                "latency", _late(slow, stage.lab.mesh.links_of(slow)), said
            ):
                await stage.last(SLOW_S, said)
            await stage.last(1, f"{slow} is as fast as the others again")

    def conclude(self, recording: Recording) -> Findings:
        [take] = recording.takes
        [fault] = take.head.faults
        slow, window = _slow(fault), _felt(take)
        sorts = _Sorts(take, slow)
        predicted_ms = _predicted_ms(take, slow, window)
        added = {
            (mode, action): _added(
                take, sorts, window, mode, action, predicted_ms if mode == ALL else None
            )
            for mode in take.head.modes
            for action in ACTIONS
        }
        stored = rise(take, ("hints_stored_total",), window.from_s, window.until_s)
        told_ms = {which: figure.measured or 0.0 for which, figure in added.items()}
        return Findings(
            observed=f"That {slow} is one of the homes changed the median write by"
            f" {told_ms[TWO, WRITE]:+.0f} ms with W=2 and {told_ms[ALL, WRITE]:+.0f} ms with W=3,"
            f" the median read by {told_ms[TWO, READ]:+.0f} ms with R=2 and by"
            f" {told_ms[ALL, READ]:+.0f} ms with R=3; predicted for three is"
            f" {predicted_ms:+.0f} ms. {stored:.0f} hints were stored.",
            rules=(
                _waits(take, sorts, window),
                _goes_on(take, sorts, window, added),
                _alive(take, window),
            ),
            figures=(
                *added.values(),
                Figure(label="hints stored while it was slow", measured=stored),
            ),
            tables=(_table(take, sorts, window),),
        )


def _late(slow: str, links: Iterable[Link]) -> dict[Link, Sequence[Toxic]]:
    """What the node sends: requests on links that it dials, replies on those that others do."""
    return {
        link: [
            latency(
                Stream.UPSTREAM if link.source == slow else Stream.DOWNSTREAM,
                LATENCY_MS,
                JITTER_MS,
            )
        ]
        for link in links
    }


def _felt(take: Take) -> Window:
    """While it was slow; what is sent just before the end may be answered quickly after it."""
    whole = broken(take) or quiet(take)
    return whole._replace(until_s=whole.until_s - TAIL_S)


def _slow(fault: Fault) -> str:
    """The node that all broken links have in common."""
    ends = [set(target.split(">")) for target in fault.targets]
    return min(set.intersection(*ends))


# ---- which requests have to do with the slow node


class _Sorts:
    """Sorts requests by what the slow node is to them."""

    def __init__(self, take: Take, slow: str) -> None:
        self._homes = {(where.bucket, where.key): where for where in take.head.placements}
        self._slow = slow

    def waiting(self, operations: Iterable[Operation], mode: Mode, action: str) -> list[Operation]:
        """Answered, by a coordinator that is quick, for an object that has a home on the node."""
        return [
            operation
            for operation in self._answered(operations, mode, action)
            if self._slow in self._of(operation).primaries and not self._is_handed(operation)
        ]

    def elsewhere(
        self, operations: Iterable[Operation], mode: Mode, action: str
    ) -> list[Operation]:
        """Those for objects that have none there."""
        return [
            operation
            for operation in self._answered(operations, mode, action)
            if self._slow not in self._of(operation).primaries
        ]

    def handed(self, operations: Iterable[Operation], mode: Mode, action: str) -> list[Operation]:
        """Writes that came to a node which is no home, and went on to the slow one."""
        return [op for op in self._answered(operations, mode, action) if self._is_handed(op)]

    def _answered(
        self, operations: Iterable[Operation], mode: Mode, action: str
    ) -> list[Operation]:
        return [
            operation
            for operation in operations
            if operation.mode == mode.name
            and operation.action in ACTIONS[action]
            and operation.outcome is Outcome.OK
            and not operation.note
        ]

    def _is_handed(self, operation: Operation) -> bool:
        homes = self._of(operation).primaries
        return operation.is_write and operation.node not in homes and homes[0] == self._slow

    def _of(self, operation: Operation) -> Placement:
        return self._homes[operation.place]


def _added(
    take: Take,
    sorts: "_Sorts",
    window: Window,
    mode: Mode,
    action: str,
    predicted_ms: float | None,
) -> Figure:
    """By how much the slow home raises the median: against objects that have no home there.

    Both are asked for at the same time, so whatever else this machine does is in both.
    """
    concerned = quantile_ms(sorts.waiting(window.of(take), mode, action), 0.5)
    others = quantile_ms(sorts.elsewhere(window.of(take), mode, action), 0.5)
    return Figure(
        label=f"added to the median {action} by a slow home, {mode.name}",
        measured=None if concerned is None or others is None else concerned - others,
        unit="ms",
        predicted=predicted_ms,
        tolerance=None if predicted_ms is None else TOLERANCE_MS,
        take=take.name,
    )


def _predicted_ms(take: Take, slow: str, window: Window) -> float:
    """The median delay of one of the node's streams, from how many replies each carried."""
    replies = rise(take, ("requests_from_peers_total",), *window, nodes=[slow])
    rate_hz = replies / (window.until_s - window.from_s) / (len(take.head.nodes) - 1)
    return median_ms(LATENCY_MS, JITTER_MS, rate_hz)


def _table(take: Take, sorts: _Sorts, window: Window) -> Table:
    rows = []
    for mode in take.head.modes:
        for action in ACTIONS:
            groups = (
                sorts.waiting(quiet(take).of(take), mode, action),
                sorts.elsewhere(window.of(take), mode, action),
                sorts.waiting(window.of(take), mode, action),
                sorts.handed(window.of(take), mode, action),
            )
            rows.append((f"{mode.name}, {action}s", *map(_cell, groups)))
    return Table(
        title="Who feels the slow node",
        said="Median and 99th percentile in milliseconds. Of three homes the slowest is waited for"
        " by those only who want all three. There is another way to meet it: a node that is no home"
        " of a key hands a write to the first home, and if that is the slow one the write is slow"
        " whatever W is.",
        columns=("", "before", "it is no home", "it is a home", "it coordinates"),
        rows=tuple(rows),
    )


def _cell(operations: Sequence[Operation]) -> str:
    median, most = quantile_ms(operations, 0.5), quantile_ms(operations, 0.99)
    return "none" if median is None or most is None else f"{median:.1f}, {most:.1f}"


# ---- rules


def _waits(take: Take, sorts: _Sorts, window: Window) -> RuleOutcome:
    found = [op for action in ACTIONS for op in sorts.waiting(window.of(take), ALL, action)]
    early = [op for op in found if 1000 * (op.returned_s - op.invoked_s) < LEAST_MS]
    quickest = min((1000 * (op.returned_s - op.invoked_s) for op in found), default=0.0)
    return ruled(
        WAITS,
        take,
        kept=f"the quickest of {counted(len(found), 'answer')} took {quickest:.0f} ms, and the slow"
        f" node says nothing before {LEAST_MS} ms",
        broken=f"answers came within {LEAST_MS} ms, before the slow node can have said anything",
        breaches=[Breach(told(op), (op.index,)) for op in early],
        unknown=[] if found else ["nobody asked for all three homes"],
    )


def _goes_on(
    take: Take, sorts: _Sorts, window: Window, added: Mapping[tuple[Mode, str], Figure]
) -> RuleOutcome:
    said, breaches, unknown = [], [], []
    for mode in (ONE, TWO):
        usual_ms = quantile_ms(sorts.elsewhere(window.of(take), mode, READ), 0.5)
        if usual_ms is None or usual_ms > BUSY_MS:
            unknown.append(
                f"the median read that has nothing to do with the slow node took"
                f" {usual_ms or 0:.0f} ms ({mode.name}): this machine is too busy to tell"
            )
        for action in ACTIONS:
            added_ms = added[mode, action].measured
            said.append(f"{added_ms or 0:+.1f} ms ({mode.name}, {action}s)")
            if added_ms is None:
                unknown.append(f"there was no {action} in mode {mode.name}")
            elif added_ms > ADDED_MS_MAX:
                breaches.append(Breach(said[-1]))
    return ruled(
        GOES_ON,
        take,
        kept=f"a slow home changed medians by {', '.join(said)}",
        broken="medians are those of who waits for the slow node",
        breaches=breaches,
        unknown=unknown,
    )


def _alive(take: Take, window: Window) -> RuleOutcome:
    members = len(take.head.nodes)
    looks = [sample for sample in take.samples if window.from_s <= sample.at_s <= window.until_s]
    stored = rise(take, ("hints_stored_total",), window.from_s, window.until_s)
    doubts = [
        Breach(f"{node} took {seen['up']:.0f} of {members} for up at {sample.at_s:.1f} s")
        for sample in looks
        for node, seen in sorted(sample.nodes.items())
        if seen.get("up", members) < members
    ]
    written = sum(op.is_write for op in window.of(take))
    kept_for = (
        [Breach(f"{stored:.0f} hints were stored for {written} writes")]
        if stored > HINTED_SHARE_MAX * written
        else []
    )
    return ruled(
        ALIVE,
        take,
        kept=f"all nodes took all for up in {counted(len(looks), 'look')}, and stored {stored:.0f}"
        f" hints for {counted(written, 'write')}",
        broken="signs that a slow node was taken for a dead one",
        breaches=[*doubts, *kept_for],
        unknown=[] if looks else ["no node was looked at meanwhile"],
    )
