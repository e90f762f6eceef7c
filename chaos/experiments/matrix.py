"""M: every mode under every fault, for the CAP map."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Final

import msgspec

from chaos.experiment import NODES, Experiment, TakePlan, crew
from chaos.experiments.costs import (
    NO_FAULT,
    REGISTERS,
    SETS,
    costs,
    in_words,
    nothing_lost,
    nothing_stale,
    only,
    tables,
)
from chaos.experiments.measuring import asked_everywhere, availability
from chaos.judgement import Availability, Findings
from chaos.links import CutKind, Way, majorities_ring, preferred, split
from chaos.modes import Conflicts, Mode
from chaos.predictions.availability import Reaches, all_but, within, without
from chaos.recording import Recording, Take
from chaos.stage import Stage, Traffic
from chaos.workloads.registers import Registers
from chaos.workloads.set_add import SetAdd

MODES: Final = tuple(
    Mode(r=r, w=w, sloppy=sloppy, conflicts=conflicts)
    for r, w, sloppy in (
        (1, 1, True),
        (2, 2, True),
        (1, 1, False),
        (2, 2, False),
        (1, 3, False),
        (3, 1, False),
        (3, 3, False),
    )
    for conflicts in (Conflicts.SIBLINGS, Conflicts.LWW)
)

CALM: Final = "calm"
"""The take without a fault."""

CALM_S: Final = 1.5
FAULT_S: Final = 8.0

REGISTERS_HZ: Final = 12.0
SETS_HZ: Final = 4.0

_HIT: Final = "n3"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hardship:
    """What a take breaks.

    Attributes:
        title: as the CAP map has it.
        sides: where clients stand; they ask the nodes of their side.
        ways: what is cut.
        reaches: which nodes hear which, once it is known.
    """

    title: str
    sides: Mapping[str, tuple[str, ...]]
    reaches: Reaches
    ways: frozenset[Way] = frozenset()


def _parted(title: str, sides: Mapping[str, tuple[str, ...]]) -> _Hardship:
    parts = [*sides.values()]
    return _Hardship(title=title, sides=sides, reaches=within(*parts), ways=split(parts))


def _one_hit(title: str) -> _Hardship:
    others = tuple(node for node in NODES if node != _HIT)
    return _Hardship(title=title, sides={"others": others}, reaches=without({_HIT}))


_RING: Final = majorities_ring(NODES)

HARDSHIPS: Final[Mapping[str, _Hardship]] = {
    CALM: _Hardship(title=NO_FAULT, sides={"all": NODES}, reaches=within(NODES)),
    "split": _parted("split 2 | 3", {"A": NODES[:2], "B": NODES[2:]}),
    "isolation": _parted("isolation 1 | 4", {"alone": NODES[:1], "rest": NODES[1:]}),
    "ring": _Hardship(
        title="ring of majorities",
        sides={"all": NODES},
        reaches=all_but({(way.source, way.target) for way in _RING}),
        ways=_RING,
    ),
    "kill": _one_hit("one node killed"),
    "pause": _one_hit("one node stands still"),
}

FAULTS: Final = tuple(name for name in HARDSHIPS if name != CALM)


class Matrix(Experiment):
    """See the attributes."""

    id = "M"
    name = "matrix"
    title = "What every choice costs under every fault"
    hypothesis = (
        "Nobody is spared: under a partition a mode either leaves requests unanswered or lets reads"
        " be stale and writes meet. Which, and how much of it, is chosen with R, W, strict or"
        " sloppy, and with what becomes of conflicts."
    )
    faults = (
        "A take each: nothing; n1 n2 | n3 n4 n5; n1 | the rest; a ring in which every node hears"
        f" another majority; {_HIT} killed; {_HIT} standing still. Clients ask the nodes of their"
        f" side, and never the dead {_HIT}."
    )
    must_hold = (
        "Modes that keep siblings lose no acknowledged addition under any fault; strict quorums"
        " that overlap (R + W > N) never show a stale value."
    )
    predicted = (
        "From the ring, for the keys that were asked for: a request is answered if its coordinator"
        " reaches R or W of the key's homes (strict), or as many nodes (sloppy)."
    )
    calm_takes = frozenset({CALM})

    def __init__(self, faults: Sequence[str] = FAULTS) -> None:
        """Say under which of `FAULTS`, beside none; under all if not given."""
        self._faults = tuple(fault for fault in FAULTS if fault in faults)

    @property
    def command(self) -> str:
        chosen = "" if self._faults == FAULTS else "".join(f" --fault {f}" for f in self._faults)
        return f"python -m chaos matrix{chosen}"

    def takes(self, cuts: Sequence[str], seed: int) -> tuple[TakePlan, ...]:
        kind = preferred(cuts)  # all of them would be three matrices
        return tuple(
            TakePlan(
                name=name,
                title=hardship.title,
                modes=MODES,
                clients=crew(hardship.sides),
                sides=hardship.sides,
                cut=kind if hardship.ways else "",
                expected_s=CALM_S + FAULT_S + 15,
            )
            for name in (CALM, *self._faults)
            for hardship in (HARDSHIPS[name],)
        )

    async def perform(self, stage: Stage) -> None:
        registers = [Registers(mode, keys=60, name=REGISTERS) for mode in stage.plan.modes]
        sets = [SetAdd(mode, keys=6, name=SETS) for mode in stage.plan.modes]
        async with stage.load(
            *(Traffic(workload=each, rate_hz=REGISTERS_HZ) for each in registers),
            *(Traffic(workload=each, rate_hz=SETS_HZ, sequential=True) for each in sets),
        ):
            await stage.last(CALM_S, "all is well")
            async with _broken(stage):
                if stage.faults:
                    await stage.noticed()
                await stage.last(FAULT_S, stage.plan.title)
            await stage.last(CALM_S, "all is well again")

    def conclude(self, recording: Recording) -> Findings:
        found = [
            cost for take in recording.takes for cost in costs(take, HARDSHIPS[take.name].title)
        ]
        rows = tuple(row for take in recording.takes for row in _availability(recording, take))
        return Findings(
            observed=in_words(found),
            rules=(
                *(
                    asked_everywhere(only(take, REGISTERS), rows)
                    for take in recording.takes
                    if take.name not in self.calm_takes
                ),
                *(rule(take) for take in recording.takes for rule in (nothing_lost, nothing_stale)),
            ),
            availability=rows,
            cap=tuple(cost.dot for cost in found),
            tables=tables(found),
        )


def _broken(stage: Stage) -> AbstractAsyncContextManager[None]:
    hardship = HARDSHIPS[stage.plan.name]
    if hardship.ways:
        return stage.cut(hardship.ways, CutKind(stage.plan.cut), hardship.title)
    match stage.plan.name:
        case "kill":
            return stage.killed(_HIT)
        case "pause":
            return stage.paused(_HIT)
    return nullcontext()


def _availability(recording: Recording, take: Take) -> tuple[Availability, ...]:
    alone = msgspec.structs.replace(recording, takes=(only(take, REGISTERS),))
    return availability(alone, HARDSHIPS[take.name].reaches)
