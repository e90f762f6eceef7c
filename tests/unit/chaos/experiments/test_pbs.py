"""What E18 concludes, from a made-up network in which every delay is known."""

from dataclasses import dataclass, field
from itertools import permutations

import numpy as np
import pytest

from chaos.experiment import NODES
from chaos.experiments.delays import Delays
from chaos.experiments.measuring import OVERLAP
from chaos.experiments.pbs import PREDICTED, READERS, TRACED, Pbs
from chaos.judgement import Findings, RuleOutcome, Verdict
from chaos.modes import Mode
from chaos.recording import Action, Operation, Outcome, Placement, Recording, Take, TakeHead
from chaos.workloads.looks import lag_note
from tests.unit.chaos.checkers.histories import fault
from tests.unit.chaos.experiments.recordings import recording

ONE = Mode(r=1, w=1, sloppy=False)
QUORUM = Mode(r=2, w=2, sloppy=False)

DELAYED_S = 10.0
BACK_S = 0.001

PLACEMENTS = tuple(
    Placement(
        bucket="b",
        key=f"k{number}",
        primaries=tuple(NODES[(number + turn) % 5] for turn in range(3)),
        stand_ins=(),
    )
    for number in range(5)
)

DELAY_S = {
    pair: 0.003 + 0.010 * ((7 * number) % 20) for number, pair in enumerate(permutations(NODES, 2))
}
"""3 to 193 ms, different on all links, and no time at which anybody reads."""


@dataclass(kw_only=True)
class Network:
    """A history that keeps to its delays.

    Attributes:
        jitter_s: traced requests vary by so much.
    """

    jitter_s: float = 0.0
    operations: list[Operation] = field(default_factory=list)

    def traced(self, action: Action, node: str, at_s: float, took_s: dict[str, float]) -> None:
        told = " ".join(f"{other}={1000 * t:g}" for other, t in took_s.items())
        self._add(action, TRACED, node, "t", at_s, max(took_s.values()), note=f"took_ms {told}")

    def trace(self) -> None:
        """Requests over every link, first without and then with its delay."""
        for a, b in DELAY_S:
            self.traced(Action.GET, a, 1.0, {a: 0.0, b: 2 * BACK_S})
        for turn, (a, b) in enumerate(20 * list(DELAY_S)):
            late_s = DELAY_S[a, b] + self.jitter_s * (turn // 20 - 9.5) / 9.5 + BACK_S
            for action in (Action.GET, Action.PUT):
                self.traced(action, a, DELAYED_S + 1, {a: 0.0, b: late_s})

    def look(self, mode: Mode, number: int, *, shown: bool | None = None) -> None:
        """A write by the first home, and a read by the second, at each of the times.

        Args:
            mode: of both; what is acknowledged and read is computed for one replica only.
            number: which write it is.
            shown: whether the reads see the write; None for what the delay makes of them.
        """
        placed = PLACEMENTS[number % len(PLACEMENTS)]
        writer, reader = placed.primaries[:2]
        at_s = DELAYED_S + 5 + number
        text, before = f"{placed.key} {number}", f"{placed.key} {number - len(PLACEMENTS)}"
        last = [op.index for op in self.operations if op.written == before]
        write = self._add(Action.PUT, mode, writer, placed.key, at_s, 0.0, written=text, after=last)
        for lag_s in READERS.values():
            sees = DELAY_S[writer, reader] <= lag_s if shown is None else shown
            seen = (text if sees else before,)
            read_s = write.returned_s + lag_s
            self._add(
                Action.GET, mode, reader, placed.key, read_s, 0.0, shown=seen, note=lag_note(lag_s)
            )

    def _add(
        self,
        action: Action,
        mode: Mode,
        node: str,
        key: str,
        at_s: float,
        took_s: float,
        *,
        written: str | None = None,
        after: list[int] | None = None,
        shown: tuple[str, ...] | None = None,
        note: str = "",
    ) -> Operation:
        operation = Operation(
            index=len(self.operations),
            workload="made up",
            mode=mode.name,
            client="c1",
            side="roaming",
            node=node,
            action=action,
            bucket="b",
            key=key,
            intended_s=at_s,
            invoked_s=at_s,
            returned_s=at_s + took_s,
            outcome=Outcome.OK,
            written=f"{written or len(self.operations)}" if action is Action.PUT else None,
            based_on=after[0] if after else None,
            shown=shown,
            note=note,
        )
        self.operations.append(operation)
        return operation

    def recording(self) -> Recording:
        head = TakeHead(
            name="delayed",
            title="made up",
            duration_s=1000.0,
            nodes=NODES,
            modes=(ONE, QUORUM, TRACED),
            faults=(fault("latency", DELAYED_S, 900.0, "n1>n2"),),
            placements=PLACEMENTS,
        )
        return recording(Take(head=head, operations=tuple(self.operations)))


@pytest.fixture
def network() -> Network:
    network = Network()
    network.trace()
    for number in range(5, 55):
        network.look(QUORUM, number + 100, shown=True)
    return network


def rule(found: Findings, name: str) -> RuleOutcome:
    return next(outcome for outcome in found.rules if outcome.rule == name)


def conclude(network: Network) -> Findings:
    return Pbs().conclude(network.recording())


def test_reads_that_the_delays_explain_are_as_predicted(network: Network) -> None:
    for number in range(5, 55):
        network.look(ONE, number)
    found = conclude(network)
    assert rule(found, PREDICTED).verdict is Verdict.PASS, rule(found, PREDICTED).said
    one = found.staleness[0]
    assert [point.after_ms for point in one.points] == [5, 10, 25, 50, 100, 150]
    assert one.points[0].measured < one.points[-1].measured


def test_reads_that_are_staler_than_the_delays_explain_are_a_failure(network: Network) -> None:
    for number in range(5, 55):
        network.look(ONE, number, shown=False)
    outcome = rule(conclude(network), PREDICTED)
    assert outcome.verdict is Verdict.FAIL
    assert "0.0 % of 50 reads saw the write" in outcome.said


def test_reads_that_are_fresher_than_can_be_are_a_failure(network: Network) -> None:
    for number in range(5, 55):
        network.look(ONE, number, shown=True)
    assert rule(conclude(network), PREDICTED).verdict is Verdict.FAIL


def test_few_reads_of_delays_that_vary_prove_nothing() -> None:
    network = Network(jitter_s=0.009)
    network.trace()
    for number in range(5, 10):
        network.look(ONE, number)
    assert rule(conclude(network), PREDICTED).verdict is Verdict.INVALID


def test_links_that_were_not_measured_predict_nothing() -> None:
    network = Network()
    for number in range(5, 55):
        network.look(ONE, number)
    outcome = rule(conclude(network), PREDICTED)
    assert outcome.verdict is Verdict.INVALID
    assert "20 links" in outcome.said


def test_a_stale_read_of_a_quorum_is_a_failure(network: Network) -> None:
    network.look(QUORUM, 160, shown=False)
    assert rule(conclude(network), OVERLAP).verdict is Verdict.FAIL


def test_ways_there_are_what_a_round_takes_less_the_way_back(network: Network) -> None:
    calm = [op for op in network.operations if op.invoked_s < DELAYED_S]
    delays = Delays.of(calm, network.operations[len(calm) :])
    assert delays.back_s == pytest.approx(BACK_S)
    for pair, delay_s in DELAY_S.items():
        assert np.median(delays.came_s[pair]) == pytest.approx(delay_s)
        assert np.median(delays.written_s[pair]) == pytest.approx(delay_s)
    assert not delays.missing(NODES)
