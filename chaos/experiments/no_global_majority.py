"""E3: nobody sees all, and no two see the same: a ring of majorities, and a bridge."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from chaos.checkers.telling import Breach, ruled
from chaos.experiment import NODES, Experiment, TakePlan, crew
from chaos.experiments.costs import nothing_stale
from chaos.experiments.half_split import MODES
from chaos.experiments.measuring import asked_everywhere, availability_in_words
from chaos.experiments.partitions import (
    availability_of,
    by_coordinator,
    changes_a_minute,
    until_known,
)
from chaos.judgement import Figure, Findings, RuleOutcome
from chaos.links import CutKind, Way, bridge, majorities_ring, preferred
from chaos.predictions.availability import WRITE
from chaos.recording import Recording, Take
from chaos.stage import Stage, Traffic
from chaos.workloads.registers import Registers

RING, BRIDGE = "ring", "bridge"
MIDDLE = "n3"

SIDES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    RING: {RING: NODES},
    BRIDGE: {"A": NODES[:2], BRIDGE: (MIDDLE,), "B": NODES[3:]},
}
CLIENTS: Final = {
    RING: crew(SIDES[RING]),
    BRIDGE: (
        *crew({side: SIDES[BRIDGE][side] for side in "AB"}),
        *crew({BRIDGE: (MIDDLE,)}, each=2),
    ),
}
SAID: Final = {
    RING: "each sees itself and two neighbours",
    BRIDGE: "n1 n2 | n4 n5, and n3 sees both",
}

CUT_S = 8.0

CHANGES_A_MINUTE_MAX: Final = 12.0
"""Per node. Opinions that flap change at every heartbeat or dial; now and then a busy machine makes
a node stand still, and one wrong suspicion is two changes."""

STEADY: Final = "opinions are steady while the cut is"


class NoGlobalMajority(Experiment):
    """See the attributes."""

    id = "E3"
    name = "no-global-majority"
    title = "Every node sees another part of the cluster"
    hypothesis = (
        "Nothing here needs a majority of the cluster, or nodes that agree on who is up: each"
        " request needs homes of its own key, as seen by the one node that coordinates it."
    )
    faults = (
        "Twice: each node sees only its two neighbours in a ring, so that all see a majority and no"
        f" two the same; and two sides that do not hear each other, with {MIDDLE} hearing both."
    )
    must_hold = (
        "Opinions are steady; nothing acknowledged is lost, siblings are exact, strict quorums that"
        " overlap are never stale, replicas converge without a read."
    )
    predicted = (
        "Sloppy quorums are answered wherever a node reaches as many as they need. Strict ones as"
        " the ring has it, for each node by itself: a read needs R homes that the asked node"
        " reaches, a write needs one home that it reaches and that itself reaches W of them."
    )

    def takes(self, cuts: Sequence[str], seed: int) -> tuple[TakePlan, ...]:
        return tuple(
            TakePlan(
                name=shape,
                title=f"{shape}: {SAID[shape]}",
                modes=MODES,
                clients=CLIENTS[shape],
                sides=SIDES[shape],
                cut=preferred(cuts),
                expected_s=CUT_S + 11,
            )
            for shape in (RING, BRIDGE)
        )

    async def perform(self, stage: Stage) -> None:
        shape, kind = stage.plan.name, CutKind(stage.plan.cut)
        registers = [Registers(mode, keys=40, read_fraction=0.5) for mode in stage.plan.modes]
        async with stage.load(*(Traffic(workload=each, rate_hz=45) for each in registers)):
            await stage.last(2, "all is well")
            async with stage.cut(ways_of(shape), kind, SAID[shape]):
                await stage.noticed()
                await stage.last(CUT_S, SAID[shape])
            await stage.last(1.5, "the cut is healed")

    def conclude(self, recording: Recording) -> Findings:
        rows = availability_of(recording, lambda take: ways_of(take.name))
        takes = recording.takes
        return Findings(
            observed=availability_in_words(rows),
            rules=tuple(
                rule
                for take in takes
                for rule in (asked_everywhere(take, rows), steady(take), nothing_stale(take))
            ),
            figures=tuple(
                figure for take in takes for figure in (until_known(take), _changes(take))
            ),
            availability=rows,
            tables=tuple(by_coordinator(take, ways_of(take.name), WRITE) for take in takes),
        )


def ways_of(shape: str) -> Collection[Way]:
    """What is cut."""
    return majorities_ring(NODES) if shape == RING else bridge(NODES[:2], MIDDLE, NODES[3:])


def _changes(take: Take) -> Figure:
    return Figure(
        label="changes of opinion, per node and minute, while the cut was known",
        measured=changes_a_minute(take),
        predicted=0.0,
        take=take.name,
    )


def steady(take: Take) -> RuleOutcome:
    """Who sees others than its neighbour sees does not come to doubt what it sees."""
    found = changes_a_minute(take)
    said = f"a node changed its opinion of another {found or 0:.1f} times a minute"
    return ruled(
        STEADY,
        take,
        kept=f"{said}, on average, while the cut was known",
        broken=f"cut with more than {CHANGES_A_MINUTE_MAX:g} changes",
        breaches=[Breach(said)] if (found or 0.0) > CHANGES_A_MINUTE_MAX else [],
        unknown=["the nodes were not seen to know of the cut"] if found is None else [],
    )
