"""Crashes, failed jobs and growth, each by the process it happened in."""

from chaos.checkers import health
from chaos.checkers.lives import lives
from chaos.judgement import Verdict
from chaos.recording import Sample, Take
from tests.unit.chaos.checkers.histories import NODES, Told, sample

MIB = 2**20


def test_quiet_logs_and_no_failed_job_pass() -> None:
    outcome = health.check(Told().take())
    assert outcome.verdict is Verdict.PASS
    assert "in 10 looks at 5 nodes" in outcome.said


def test_a_crash_in_a_log_fails_with_its_line() -> None:
    told = Told(head={"problems": ("n2: Traceback (most recent call last)",)})
    outcome = health.check(told.take())
    assert outcome.verdict is Verdict.FAIL
    assert "n2: Traceback" in outcome.said


def test_a_job_that_failed_in_a_life_that_is_over_fails() -> None:
    told = Told()
    told.samples = [sample(1.0, task_failures_total=2.0), sample(2.0, os_pid=2.0)]
    outcome = health.check(told.take())
    assert outcome.verdict is Verdict.FAIL
    assert "2 jobs of n1 failed" in outcome.said


def test_a_take_in_which_nobody_looked_proves_nothing() -> None:
    assert health.check(Take(head=Told().take().head)).verdict is Verdict.INVALID


def test_looks_that_did_not_count_failed_jobs_prove_nothing() -> None:
    told = Told()
    told.samples = [Sample(at_s=1.0, nodes={node: {"os_pid": 1.0} for node in NODES})]
    assert health.check(told.take()).verdict is Verdict.INVALID


def test_another_process_is_another_life() -> None:
    looks = [sample(at_s, os_pid=pid) for at_s, pid in ((1.0, 7.0), (2.0, 7.0), (3.0, 8.0))]
    found = [(life.node, life.began_s, life.ended_s) for life in lives(looks)]
    assert found[: len(NODES)] == [(node, 1.0, 2.0) for node in NODES]
    assert found[len(NODES) :] == [(node, 3.0, 3.0) for node in NODES]


def test_growth_is_told_for_each_life_that_was_long_enough() -> None:
    told = Told()
    told.samples = [sample(float(i), memory_total=(50.0 + i) * MIB) for i in range(16)]
    told.samples += [sample(20.0 + i, os_pid=2.0, memory_total=MIB) for i in range(3)]
    figures = health.memory(told.take())
    assert len(figures) == len(NODES)
    assert figures[0].label == "memory gained by n1, 0 to 15 s"
    assert figures[0].measured == 8.0
