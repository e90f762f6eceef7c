"""E2: one node hears nobody, and nobody hears it."""

from collections.abc import Sequence

from chaos.experiment import NODES, Experiment, TakePlan, crew
from chaos.experiments.costs import nothing_stale
from chaos.experiments.half_split import MODES
from chaos.experiments.measuring import asked_everywhere, availability, availability_in_words
from chaos.experiments.partitions import stale_table, until_known
from chaos.judgement import Findings
from chaos.links import CutKind, isolate
from chaos.recording import Recording
from chaos.stage import Stage, Traffic
from chaos.workloads.registers import Registers

ALONE = "n1"
SIDES = {"alone": (ALONE,), "others": tuple(node for node in NODES if node != ALONE)}

CLIENTS = (*crew({"alone": SIDES["alone"]}, each=2), *crew({"others": SIDES["others"]}))
"""A third of them with the node that is alone, or little could be said of it."""

CUT_S = 7.0


class IsolateOne(Experiment):
    """See the attributes."""

    id = "E2"
    name = "isolate-one"
    title = "One node hears nobody"
    hypothesis = (
        "A cluster of five goes on as if nothing had happened when one node is cut off: every key"
        " still has two homes among the others. Who is alone can only serve requests for a single"
        " replica, and shows what it knew before."
    )
    faults = (
        f"All links between {ALONE} and the others are cut, three times: refused, dropped, stalled."
    )
    must_hold = (
        "Nothing acknowledged is lost, siblings are exact, strict quorums that overlap are never"
        " stale, replicas converge without a read."
    )
    predicted = (
        "Among the others everything is answered but W=3, which needs all homes of the key. Alone,"
        " no two replicas can be had: strict or sloppy, R=W=2 is answered to nobody; one replica is"
        " always there if stand-ins count, and for the node's own keys if they do not."
    )

    def takes(self, cuts: Sequence[str], seed: int) -> tuple[TakePlan, ...]:
        return tuple(
            TakePlan(
                name=cut,
                title=f"links {cut}",
                modes=MODES,
                clients=CLIENTS,
                sides=SIDES,
                cut=cut,
                expected_s=CUT_S + 11,
            )
            for cut in cuts
        )

    async def perform(self, stage: Stage) -> None:
        kind, ways = CutKind(stage.plan.cut), isolate(ALONE, NODES)
        registers = [Registers(mode, keys=40, read_fraction=0.5) for mode in stage.plan.modes]
        async with stage.load(*(Traffic(workload=each, rate_hz=45) for each in registers)):
            await stage.last(2, "all is well")
            async with stage.cut(ways, kind, f"{ALONE} | {' '.join(SIDES['others'])}"):
                await stage.noticed()
                await stage.last(CUT_S, f"{ALONE} is alone")
            await stage.last(1.5, "the cut is healed")

    def conclude(self, recording: Recording) -> Findings:
        rows = availability(recording)
        return Findings(
            observed=availability_in_words(rows),
            rules=tuple(
                rule
                for take in recording.takes
                for rule in (asked_everywhere(take, rows), nothing_stale(take))
            ),
            figures=tuple(until_known(take) for take in recording.takes),
            availability=rows,
            tables=(stale_table(recording.takes),),
        )
