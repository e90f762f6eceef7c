"""E19: reading and writing at a majority is not the same as having one register."""

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Final, NamedTuple

from chaos.checkers.linearizability import NotLinearizable, Result, Unknown, check_each
from chaos.checkers.staleness import sights
from chaos.checkers.telling import counted
from chaos.experiment import NODES, ClientPlan, Experiment, TakePlan
from chaos.experiments.measuring import overlap_shows_all
from chaos.judgement import Figure, Findings, Lanes, RuleOutcome, Table, Verdict
from chaos.links import Stream, latency
from chaos.modes import Conflicts, Mode
from chaos.recording import Operation, Recording, Take
from chaos.stage import Stage, Traffic
from chaos.windows import broken
from chaos.workloads.races import Races

WRITER, READERS = "writer", ("reader1", "reader2", "reader3", "reader4")

QUORUM = Mode(r=2, w=2, sloppy=False, conflicts=Conflicts.LWW)
ONE = Mode(r=1, w=1, sloppy=False, conflicts=Conflicts.LWW)
ALL = Mode(r=3, w=1, sloppy=False, conflicts=Conflicts.LWW)

FAR: Final = "n1"
"""Who writes; what it sends to the others takes its time."""

KEYS: Final = 50
"""For each mode; three in five have a home on a given node of five."""

RATE_HZ: Final = 3.5
CALM_S: Final = 1.0
DELAYED_S: Final = 6.5

NEAR_MS: Final = (20, 20)
FAR_MS: Final = (180, 20)
"""Latency of requests between nodes, and jitter."""

DELAYED: Final = f"requests take 0 to 40 ms, those of {FAR} 160 to 200 ms"

DECIDED: Final = "of each key it is decided whether there is an order"
FOUND: Final = "a counterexample was found"


class Tried(NamedTuple):
    """The keys of one mode that were raced for while requests were delayed.

    Attributes:
        results: by bucket and key.
        stale: indexes of the reads that missed what was acknowledged before them.
    """

    mode: Mode
    operations: tuple[Operation, ...]
    results: Mapping[tuple[str, str], Result]
    stale: tuple[int, ...]

    @property
    def broken(self) -> list[tuple[tuple[str, str], NotLinearizable]]:
        """Keys that have no order, the clearest first."""
        found = [(k, r) for k, r in self.results.items() if isinstance(r, NotLinearizable)]
        return sorted(found, key=lambda one: self._unclear(one[1]))

    def _unclear(self, proof: NotLinearizable) -> tuple[int, bool, float]:
        """Clearest is what takes few operations, two readers, and a long time between them."""
        used = [op for op in self.operations if op.index in proof.operations and not op.is_write]
        readers = {op.client for op in used}
        apart_s = used[-1].invoked_s - used[0].returned_s if used else 0.0
        return len(proof.operations), len(readers) == 1, -apart_s

    @property
    def share(self) -> float | None:
        """Percent of the keys that have no order; None if none was tried."""
        return 100 * len(self.broken) / len(self.results) if self.results else None


class QuorumIsNotAtomic(Experiment):
    """See the attributes."""

    id = "E19"
    name = "quorum-is-not-atomic"
    title = "Two of three are no single register"
    hypothesis = (
        "With R=W=2 of N=3 a read always shows what was acknowledged before it. And yet the store"
        " is not linearizable: while a write is under way, one reader may see the new value and"
        " another, who asks after that, the old one."
    )
    faults = (
        "Nothing is cut. Requests from node to node take 0 to 40 ms, those that n1 sends 160 to"
        " 200 ms. Writes go through n1, so for a while n1 alone has them. Read repair is off: what"
        " somebody has seen it brings to the others soon, though not before he is answered."
    )
    must_hold = (
        "Where R + W is above N, no read misses what was acknowledged before it began; replicas"
        " converge without a read."
    )
    predicted = (
        "R=2, W=2: many keys have a history that no order explains, and no read misses what was"
        " acknowledged. R=1, W=1: nearly all have, and many reads do. R=3, W=1: none, since whoever"
        " asks all homes asks the one that had it first; but a single dead node would stop all such"
        " reads."
    )

    def takes(self, cuts: Sequence[str], seed: int) -> tuple[TakePlan, ...]:
        return (
            TakePlan(
                name="races",
                title="requests between nodes delayed, those of n1 more",
                modes=(QUORUM, ONE, ALL),
                clients=tuple(
                    ClientPlan(name=name, side="roaming", nodes=NODES)
                    for name in (WRITER, *READERS)
                ),
                node={"read_repair": False},
                expected_s=CALM_S + DELAYED_S + 8,
            ),
        )

    async def perform(self, stage: Stage) -> None:
        races = [
            Races(mode, readers=READERS, written_at=FAR, keys=KEYS) for mode in stage.plan.modes
        ]
        await stage.prepare(*races)
        for each in races:
            each.locate({(p.bucket, p.key): p for p in stage.placements.values()})
        traffics = [
            Traffic(workload=each, rate_hz=RATE_HZ, clients=(WRITER,), sequential=True)
            for each in races
        ]
        delays = {
            link: [latency(Stream.UPSTREAM, *(FAR_MS if link.source == FAR else NEAR_MS))]
            for link in stage.lab.mesh.node_links
        }
        async with stage.load(*traffics):
            await stage.last(CALM_S, "all is well")
            async with stage.toxic_each("latency", delays, DELAYED):
                await stage.last(DELAYED_S, "a writer and four readers race for key after key")

    def conclude(self, recording: Recording) -> Findings:
        take = recording.takes[0]
        tried = {mode: _tried(take, mode) for mode in take.head.modes}
        quorum, one = tried[QUORUM], tried[ONE]
        return Findings(
            observed=f"R=2, W=2: {len(quorum.broken)} of {counted(len(quorum.results), 'key')} have"
            f" a history that no order explains, with {len(quorum.stale)} reads that missed what"
            f" was acknowledged before; R=1, W=1: {len(one.broken)} of {len(one.results)}, with"
            f" {len(one.stale)}; R=3, W=1: {len(tried[ALL].broken)} of {len(tried[ALL].results)}.",
            rules=(_found(take, quorum), _searched(take, tried.values()), overlap_shows_all(take)),
            figures=tuple(_figure(take, each) for each in tried.values()),
            lanes=tuple(
                _drawn(take, each, *each.broken[0]) for each in (quorum, one) if each.broken
            ),
            tables=(_table(tried.values()),),
        )


def _tried(take: Take, mode: Mode) -> Tried:
    window = broken(take)
    raced = {op.place for op in (window.of(take) if window else ()) if op.mode == mode.name}
    operations = tuple(op for op in take.operations if op.place in raced)
    return Tried(
        mode=mode,
        operations=operations,
        results=check_each(operations),
        stale=tuple(s.operation for s in sights(operations, take.head.modes) if s.is_stale),
    )


# ---- rules


def _found(take: Take, tried: Tried) -> RuleOutcome:
    """Whether there is a history to show; without one the races were not close enough."""
    unknown = sum(isinstance(result, Unknown) for result in tried.results.values())
    if not tried.broken:
        said = (
            f"all of {counted(len(tried.results), 'key')} can be explained, or were given up"
            f" ({unknown}): nobody looked at the right moment, and nothing is shown"
        )
        return RuleOutcome(rule=FOUND, verdict=Verdict.INVALID, said=said, take=take.name)
    (_, key), clearest = tried.broken[0]
    return RuleOutcome(
        rule=FOUND,
        verdict=Verdict.PASS,
        said=f"{len(tried.broken)} of {counted(len(tried.results), 'key')} with R=2, W=2 are not"
        f" linearizable; the clearest is {key}, with {len(clearest.operations)} operations",
        take=take.name,
        evidence=clearest.operations,
    )


def _searched(take: Take, tried: Iterable[Tried]) -> RuleOutcome:
    """Whether each key was decided; one that was given up may be either."""
    results = [result for each in tried for result in each.results.values()]
    unknown = sum(isinstance(result, Unknown) for result in results)
    return RuleOutcome(
        rule=DECIDED,
        verdict=Verdict.INVALID if unknown else Verdict.PASS,
        said=f"the search for an order came to an end for {len(results) - unknown} of"
        f" {counted(len(results), 'key')}",
        take=take.name,
    )


# ---- what is shown


def _figure(take: Take, tried: Tried) -> Figure:
    none = tried.mode == ALL
    return Figure(
        label=f"keys that are not linearizable, {tried.mode.name}",
        measured=tried.share,
        predicted=0.0 if none else None,
        tolerance=0.0 if none else None,
        unit="%",
        take=take.name,
    )


def _table(tried: Iterable[Tried]) -> Table:
    return Table(
        title="Which choice of R and W is one register",
        said="A key is not linearizable if no order of its requests explains what each was shown."
        " R + W above N rules out stale reads, not two readers who see a write come and go.",
        columns=("mode", "keys", "not linearizable", "reads", "stale reads"),
        rows=tuple(
            (
                each.mode.name,
                str(len(each.results)),
                f"{len(each.broken)} ({each.share or 0:.0f} %)",
                str(sum(not op.is_write for op in each.operations)),
                str(len(each.stale)),
            )
            for each in tried
        ),
    )


def _drawn(take: Take, tried: Tried, place: tuple[str, str], clearest: NotLinearizable) -> Lanes:
    """The proof, among what else was asked of that key meanwhile."""
    own = [op for op in tried.operations if op.place == place]
    proof = sorted(
        (op for op in own if op.index in clearest.operations), key=attrgetter("invoked_s")
    )
    seen_s = max((op.returned_s for op in proof if not op.is_write), default=take.head.duration_s)
    homes = next(p.primaries for p in take.head.placements if (p.bucket, p.key) == place)
    asked = ", ".join(dict.fromkeys(f"{op.client} asked {op.node}" for op in proof if not op.note))
    return Lanes(
        take=take.name,
        title=f"{tried.mode.name}: no order explains what was seen of {place[1]}",
        said=f"{clearest.said} {place[1]} lives on {' '.join(homes)}; {asked}.{_why(proof)}",
        operations=tuple(op.index for op in own if op.invoked_s <= seen_s),
        highlight=clearest.operations,
    )


def _why(proof: Sequence[Operation]) -> str:
    """How it came about, if it is what was to be shown: the write was still under way."""
    write = max((op for op in proof if op.is_write), key=attrgetter("invoked_s"), default=None)
    reads = [op for op in proof if not op.is_write]
    if write is None or not reads:
        return ""
    if write.returned_s <= reads[-1].invoked_s:
        return " The write had been acknowledged by one home, and the read asked another."
    return (
        f" The write had been sent to {write.node} at {write.invoked_s:.3f} s and was still under"
        f" way until {write.returned_s:.3f} s: one reader got an answer from a home that had it,"
        " the other, later, only from homes that had not."
    )
