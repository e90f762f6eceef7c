"""What came of the requests, counted and summed up."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from dynamo.bench.plan import Node, Plan
from dynamo.bench.report import to_json, to_table
from dynamo.bench.summary import CpuUse, Second, Summary, summarize
from dynamo.bench.tally import Tally

NO_CPU = CpuUse(node_pids=(), nodes_s=None, unknown="not asked", load_s=0.0)


def sum_up(tally: Tally, *, duration_s: float = 2.0, cpu: CpuUse = NO_CPU) -> Summary:
    return summarize(tally, duration_s=duration_s, never_sent=0, cpu=cpu, rss_bytes_max={7: 2**20})


def some_tally() -> Tally:
    tally = Tally(start_s=100.0)
    for latency_ms in range(1, 101):
        tally.ended(False, 200, 100.0, 100.0 + latency_ms / 1000)
    tally.ended(True, 204, 101.0, 101.5)
    tally.ended(True, 503, 101.0, 101.7)
    tally.broke(True, "timeout", 100.0, 101.9)
    tally.dials_failed["refused"] += 3
    return tally


def test_reads_and_writes_are_counted_apart() -> None:
    operations = sum_up(some_tally()).operations
    assert (operations["read"].ok, operations["read"].failed) == (100, 0)
    assert (operations["write"].ok, operations["write"].failed) == (1, 2)
    assert operations["write"].statuses == {204: 1, 503: 1}
    assert operations["write"].failures == {"timeout": 1}
    assert operations["read"].ok_per_s == 50.0


def test_percentiles_are_of_the_requests_that_succeeded() -> None:
    operations = sum_up(some_tally()).operations
    reads, writes = operations["read"].latencies, operations["write"].latencies
    assert reads is not None
    assert writes is not None
    assert reads.p50_ms == pytest.approx(50, rel=0.002)
    assert reads.p99_ms == pytest.approx(99, rel=0.002)
    assert reads.max_ms == pytest.approx(100, rel=0.002)
    assert reads.mean_ms == pytest.approx(50.5, rel=0.002)
    assert writes.p50_ms == pytest.approx(500, rel=0.002)


def test_every_second_has_its_line_even_if_nothing_happened_in_it() -> None:
    tally = Tally(start_s=100.0)
    tally.ended(False, 200, 100.0, 100.9)
    tally.broke(True, "timeout", 100.0, 103.0)
    assert sum_up(tally, duration_s=2.0).seconds == (
        Second(second=0, ok=1, failed=0),
        Second(second=1, ok=0, failed=0),
        Second(second=2, ok=0, failed=0),
        Second(second=3, ok=0, failed=1),
    )


def test_an_answer_after_the_deadline_is_neither_a_success_nor_a_failure() -> None:
    tally = Tally(start_s=100.0, deadline_s=0.5)
    tally.ended(True, 204, 100.0, 100.4)
    tally.ended(True, 204, 100.0, 100.6)
    tally.ended(True, 503, 100.0, 100.6)
    summary = sum_up(tally)
    writes = summary.operations["write"]
    assert (writes.ok, writes.late, writes.failed) == (1, 1, 1)
    assert (summary.ok, summary.late, summary.failed) == (1, 1, 1)
    assert writes.latencies is not None
    assert writes.latencies.max_ms == pytest.approx(400, rel=0.01)
    assert writes.statuses == {204: 2, 503: 1}


def test_what_began_in_the_warm_up_does_not_count() -> None:
    tally = Tally(start_s=100.0)
    tally.ended(False, 200, 99.9, 100.1)
    tally.ended(False, 503, 99.9, 100.1)
    tally.broke(False, "timeout", 99.9, 100.1)
    summary = sum_up(tally)
    assert (summary.ok, summary.failed) == (0, 0)
    assert summary.operations["read"].latencies is None
    assert tally.ok == 1


@pytest.mark.parametrize(
    ("is_write", "status", "ok"),
    [
        (False, 200, True),
        (False, 300, True),
        (False, 404, True),
        (False, 400, False),
        (False, 503, False),
        (True, 204, True),
        (True, 404, False),
        (True, 412, False),
        (True, 500, False),
    ],
)
def test_a_success_is_an_answer_that_does_what_was_asked(
    is_write: bool, status: int, ok: bool
) -> None:
    tally = Tally(start_s=0.0)
    assert tally.ended(is_write, status, 1.0, 2.0) is ok
    summary = sum_up(tally)
    assert (summary.ok, summary.failed) == (int(ok), int(not ok))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 5_000_000), min_size=1, max_size=60), st.integers(1, 20))
def test_folding_loses_no_latency(latencies_us: list[int], every: int) -> None:
    folded, plain = Tally(start_s=0.0), Tally(start_s=0.0)
    for number, latency_us in enumerate(latencies_us):
        for tally in (folded, plain):
            tally.ended(False, 200, 0.0, latency_us / 1e6)
        if number % every == 0:
            for _, answers in folded.operations():
                answers.fold()
    counts = [
        [answers.latency_counts() for _, answers in tally.operations()] for tally in (folded, plain)
    ]
    assert counts[0] == counts[1]
    assert sum(counts[0][0].values()) == len(latencies_us)


def test_a_long_run_folds_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynamo.bench.tally._FOLD_AT", 3)
    tally = Tally(start_s=0.0)
    for _ in range(5):
        tally.ended(False, 200, 0.0, 0.001)
        tally.fold()
    reads = dict(tally.operations())
    assert [len(answers.latencies_us) for answers in reads.values()] == [1, 0]
    assert sum_up(tally).ok == 5


def test_cpu_is_given_per_operation_that_succeeded() -> None:
    cpu = CpuUse(node_pids=(7, 8), nodes_s=0.0101, unknown="", load_s=0.00202)
    summary = sum_up(some_tally(), cpu=cpu).cpu
    assert summary.nodes_us == pytest.approx(100)
    assert summary.load_us == pytest.approx(20)
    assert summary.node_pids == (7, 8)


def test_blame_names_what_went_wrong_most_often_first() -> None:
    assert some_tally().blame() == "refused: 3, timeout: 1, status 503: 1"
    assert Tally(start_s=0.0).blame() == ""


def test_nothing_at_all_can_be_summed_up() -> None:
    summary = sum_up(Tally(start_s=0.0))
    assert (summary.ok, summary.failed, summary.cpu.nodes_us) == (0, 0, None)


def a_plan() -> Plan:
    return Plan(
        nodes=(Node(host="a", port=1),),
        bucket_type="default",
        bucket="b",
        connections=32,
        rate=None,
        read_fraction=0.5,
        keys=10,
        value_bytes=4,
        contexts=False,
        n_val=3,
        quorums=(("r", "2"),),
        duration_s=2.0,
        warmup_s=0.0,
        timeout_s=1.0,
        deadline_s=None,
        preload=False,
        seed=7,
    )


def test_json_holds_the_parameters_and_the_result() -> None:
    document = json.loads(to_json(a_plan(), sum_up(some_tally())))
    assert document["plan"]["connections"] == 32
    assert document["plan"]["quorums"] == [["r", "2"]]
    result = document["result"]
    assert result["operations"]["write"]["statuses"] == {"204": 1, "503": 1}
    assert result["seconds"][1] == {"second": 1, "ok": 1, "failed": 2}
    assert result["cpu"]["unknown"] == "not asked"


def test_the_table_shows_numbers_and_what_went_wrong() -> None:
    console = Console(width=60, record=True, quiet=False, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(to_table(sum_up(some_tally())), crop=False)
    text = captured.get()
    assert "101 ok and 2 failed in 2 s" in text
    assert "write, answers other than 2xx: 503: 1" in text
    assert "write, no answer: timeout: 1" in text
    assert "connections that failed (nothing sent): refused: 3" in text
    assert "all nodes unknown (not asked)" in text
    assert "memory of the nodes, at most: 1 MiB" in text
    assert "too late" not in text
    late = Tally(start_s=0.0, deadline_s=0.5)
    late.ended(True, 204, 0.0, 0.6)
    with console.capture() as captured:
        console.print(to_table(sum_up(late)), crop=False)
    assert "write, too late to be of use: 1" in captured.get()


@pytest.mark.parametrize(
    ("status", "read_ok", "write_ok"),
    [(200, True, True), (204, True, True), (300, True, True), (404, True, False)]
    + [(status, False, False) for status in (301, 304, 400, 412, 500, 503)],
)
def test_which_answers_are_successes(status: int, read_ok: bool, write_ok: bool) -> None:
    tally = Tally(start_s=0.0)
    assert tally.ended(False, status, 1.0, 2.0) is read_ok
    assert tally.ended(True, status, 1.0, 2.0) is write_ok
