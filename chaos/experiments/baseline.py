"""E0: nothing is broken; what the lab itself costs."""

from collections.abc import Sequence

from chaos.experiment import NODES, Experiment, TakePlan, crew
from chaos.experiments.measuring import percent_ok, quantile_ms
from chaos.judgement import Figure, Findings, Table
from chaos.modes import Mode
from chaos.recording import Action, Recording, Take
from chaos.stage import Stage, Traffic
from chaos.workloads.registers import Registers
from chaos.workloads.set_add import SetAdd

LOAD_S = 5.0

QUORUM = Mode(r=2, w=2, sloppy=True)

MESH, DIRECT = "mesh", "direct"


class Baseline(Experiment):
    """See the attributes."""

    id = "E0"
    name = "baseline"
    title = "Nothing is broken"
    hypothesis = (
        "A healthy cluster answers everything, and the proxies between its nodes cost little: what"
        " the other experiments show comes from their faults, not from the lab."
    )
    faults = "None. The same load once through the mesh of proxies, once past it."
    must_hold = "Every request is answered, and every rule holds."
    predicted = "100 % are answered; the mesh adds less than a few milliseconds."
    calm_takes = frozenset({MESH, DIRECT})

    def takes(self, cuts: Sequence[str], seed: int) -> tuple[TakePlan, ...]:
        return tuple(
            TakePlan(
                name=name,
                title=title,
                modes=(QUORUM,),
                clients=crew({"all": NODES}),
                expected_s=LOAD_S + 7,
                direct=name == DIRECT,
            )
            for name, title in ((MESH, "through the mesh"), (DIRECT, "past the mesh"))
        )

    async def perform(self, stage: Stage) -> None:
        async with stage.load(
            Traffic(workload=Registers(QUORUM, keys=50), rate_hz=180),
            Traffic(workload=SetAdd(QUORUM, keys=5), rate_hz=10, sequential=True),
        ):
            await stage.last(LOAD_S, "200 requests a second, nothing broken")

    def conclude(self, recording: Recording) -> Findings:
        answered = [
            Figure(
                label="requests answered",
                take=take.name,
                measured=percent_ok(take.operations),
                predicted=100.0,
                tolerance=0.5,
                unit="%",
            )
            for take in recording.takes
        ]
        took = {take.name: _took(take) for take in recording.takes}
        rows = tuple(
            (f"{name}, {share}", *(took[take].get((name, share), "") for take in (MESH, DIRECT)))
            for name in ("read", "write")
            for share in ("p50", "p99")
        )
        table = Table(
            title="What the mesh costs",
            said="Latency from the intended start, in milliseconds. Both ran on this machine, one"
            " after the other, with the same load.",
            columns=("", "through the mesh", "past it"),
            rows=rows,
        )
        worst = min(figure.measured or 0.0 for figure in answered)
        return Findings(
            observed=f"{worst:.1f} % of requests were answered; the median write took"
            f" {took[MESH]['write', 'p50']} ms through the mesh and"
            f" {took[DIRECT]['write', 'p50']} ms past it.",
            figures=tuple(answered),
            tables=(table,),
        )


def _took(take: Take) -> dict[tuple[str, str], str]:
    """Latencies in milliseconds, by kind of request and share."""
    kinds = {"read": Action.GET, "write": Action.PUT}
    shares = {"p50": 0.5, "p99": 0.99}
    return {
        (name, share): f"{quantile_ms(found, part) or 0:.1f}"
        for name, action in kinds.items()
        for share, part in shares.items()
        if (found := [op for op in take.operations if op.action is action and not op.note])
    }
