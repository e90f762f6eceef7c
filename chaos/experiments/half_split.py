"""E1: half of the cluster does not hear the other half."""

from collections.abc import Sequence

from chaos.experiment import NODES, Experiment, TakePlan, crew
from chaos.experiments.measuring import asked_everywhere, availability, availability_in_words
from chaos.judgement import Findings
from chaos.links import PAST, CutKind, split
from chaos.modes import Mode
from chaos.recording import Recording
from chaos.stage import Stage, Traffic
from chaos.workloads.registers import Registers

SIDES = {"A": NODES[:2], "B": NODES[2:]}

MODES = (
    Mode(r=2, w=2, sloppy=False),
    Mode(r=2, w=2, sloppy=True),
    Mode(r=1, w=1, sloppy=False),
    Mode(r=1, w=1, sloppy=True),
    Mode(r=1, w=3, sloppy=False),
)

CUT_S = 6.0


class HalfSplit(Experiment):
    """See the attributes."""

    id = "E1"
    name = "half-split"
    title = "Half of the cluster does not hear the other half"
    hypothesis = (
        "Availability under a partition is chosen with each request. A strict quorum is answered"
        " only where enough homes of the key are on the client's side; a sloppy one is answered"
        " wherever there are enough nodes, and pays with staleness and siblings."
    )
    faults = "All links between n1 n2 and n3 n4 n5 are cut, three times: refused, dropped, stalled."
    must_hold = (
        "Nothing acknowledged is lost, siblings are exact, nothing comes back, replicas converge"
        " without a read."
    )
    predicted = (
        "From the ring, for the keys that were asked for: a request is answered if at least R or W"
        " of its homes (strict), or of all nodes (sloppy), are on the client's side."
    )

    def takes(self, cuts: Sequence[str], seed: int) -> tuple[TakePlan, ...]:
        return tuple(
            TakePlan(
                name=cut,
                title=f"links {PAST[CutKind(cut)]}",
                modes=MODES,
                clients=crew(SIDES),
                sides=SIDES,
                cut=cut,
                expected_s=CUT_S + 11,
            )
            for cut in cuts
        )

    async def perform(self, stage: Stage) -> None:
        kind, ways = CutKind(stage.plan.cut), split(list(SIDES.values()))
        registers = [Registers(mode, keys=40, read_fraction=0.5) for mode in stage.plan.modes]
        async with stage.load(*(Traffic(workload=each, rate_hz=60) for each in registers)):
            await stage.last(2, "all is well")
            async with stage.cut(ways, kind, "n1 n2 | n3 n4 n5"):
                await stage.noticed()
                await stage.last(CUT_S, "the two halves do not hear each other")
            await stage.last(1.5, "the cut is healed")

    def conclude(self, recording: Recording) -> Findings:
        rows = availability(recording)
        return Findings(
            observed=availability_in_words(rows),
            rules=tuple(asked_everywhere(take, rows) for take in recording.takes),
            availability=rows,
        )
