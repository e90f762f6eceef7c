"""A fault that nothing felt, or a tool that does not work, makes a take worthless."""

import pytest

from chaos.checkers import witness
from chaos.judgement import RuleOutcome, Verdict
from chaos.links import Carries, Link, Way
from chaos.recording import Sample
from tests.unit.chaos.checkers.histories import (
    INFO,
    LWW,
    NODES,
    SIBLINGS,
    Told,
    fault,
    probe,
    sample,
    stamped,
)

CUT = ("n1>n2", "n2>n1")


def _check(told: Told) -> RuleOutcome:
    return witness.check(told.take())


def _hit(kind: str, *targets: str) -> Told:
    """A take of 60 s with a fault from 10 s to 20 s, looked at every half second; all is well."""
    told = Told(head={"faults": (fault(kind, 10.0, 20.0, *targets),)})
    told.samples = [sample(at / 2) for at in range(120)]
    return told


def _during(told: Told, **figures: float) -> None:
    told.samples = [sample(s.at_s, **figures) if 11 <= s.at_s < 20 else s for s in told.samples]


def _asked(told: Told, took_s: float, from_s: float, until_s: float, node: str = "n1") -> None:
    count = 40
    for number in range(count):
        at_s = from_s + (until_s - from_s) * number / count
        told.read(at=(at_s, at_s + took_s * (1 + number % 3)), node=node)


def test_a_take_without_faults_has_nothing_to_feel() -> None:
    assert _check(Told()).said == "nothing was broken"


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        *((kind, "n1>n2") for kind in ("cut", "latency", "bandwidth", "torn", "reset")),
        *((kind, "n1") for kind in ("kill", "pause", "wipe", "clock", "unheard of")),
    ],
)
def test_a_fault_that_nothing_felt_is_invalid_whatever_its_kind(kind: str, target: str) -> None:
    told = _hit(kind, target)
    for span in ((1.0, 9.0), (10.0, 19.0), (22.0, 30.0)):
        _asked(told, 0.01, *span)
    outcome = _check(told)
    assert outcome.verdict is Verdict.INVALID
    assert f"no sign of '{kind} of {target}' ({kind}, 10.0 to 20.0 s)" in outcome.said


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"up": 4.0}, "n1 took 4 of 5 nodes for up"),
        ({"peers_connected": 3.0}, "n1 was connected to 3 of 4 peers"),
    ],
)
def test_a_cut_is_felt_in_what_nodes_think_of_each_other(
    figures: dict[str, float], said: str
) -> None:
    told = _hit("cut", *CUT)
    _during(told, **figures)
    outcome = _check(told)
    assert outcome.verdict is Verdict.PASS
    assert said in outcome.said


def test_what_nodes_far_from_a_cut_think_is_no_sign_of_it() -> None:
    told = _hit("cut", "n4>n5")
    told.samples = [
        Sample(at_s=s.at_s, nodes={**s.nodes, "n1": {**s.nodes["n1"], "up": 3.0}})
        for s in told.samples
    ]
    assert _check(told).verdict is Verdict.INVALID


def test_a_cut_is_felt_in_requests_that_fail_more_often() -> None:
    told = _hit("cut", *CUT)
    _asked(told, 0.01, 1.0, 9.0)
    told.read(at=(3.0, 3.1), outcome=INFO)
    _asked(told, 0.01, 10.0, 19.0)
    told.read(at=(13.0, 13.1), outcome=INFO)
    assert _check(told).verdict is Verdict.INVALID
    told.read(at=(14.0, 14.1), outcome=INFO)
    told.read(at=(15.0, 15.1), outcome=INFO)
    assert "3 of 43 requests failed" in _check(told).said


def test_a_cut_is_felt_in_counters_that_rise_faster_than_in_calm_times() -> None:
    told = _hit("cut", *CUT)
    told.samples = [sample(s.at_s, stand_ins_asked_total=s.at_s) for s in told.samples]
    assert _check(told).verdict is Verdict.INVALID
    told.samples = [
        sample(s.at_s, stand_ins_asked_total=max(0.0, min(s.at_s - 10, 10))) for s in told.samples
    ]
    assert "50 times a node failed another" in _check(told).said


def test_a_counter_that_began_anew_did_not_fall() -> None:
    told = _hit("cut", *CUT)
    told.samples = [
        sample(s.at_s, os_pid=1.0 + (s.at_s > 15), stand_ins_asked_total=9.0 * (s.at_s <= 15))
        for s in told.samples
    ]
    assert _check(told).verdict is Verdict.INVALID


@pytest.mark.parametrize("kind", ["latency", "bandwidth", "torn"])
def test_slower_requests_are_a_sign_of_what_slows_them(kind: str) -> None:
    told = _hit(kind, "n1>n2")
    _asked(told, 0.01, 1.0, 9.0)
    _asked(told, 0.05, 10.0, 19.0)
    assert "50 % of requests took up to" in _check(told).said


@pytest.mark.parametrize(
    ("kind", "target"), [("cut", "n1>n2"), ("reset", "n1>n2"), ("pause", "n1")]
)
def test_slower_requests_are_no_sign_of_what_stops_them(kind: str, target: str) -> None:
    told = _hit(kind, target)
    _asked(told, 0.01, 1.0, 9.0)
    _asked(told, 0.05, 10.0, 19.0)
    assert _check(told).verdict is Verdict.INVALID


def test_one_slow_node_among_many_is_a_sign_by_its_own_requests() -> None:
    told = _hit("latency", "n1>n5", "n5>n1")
    for node in (*NODES[:4] * 3, "n5"):
        _asked(told, 0.01, 1.0, 9.0, node=node)
        _asked(told, 0.05 if node == "n5" else 0.01, 10.0, 19.0, node=node)
    assert "requests of n5 took up to" in _check(told).said


def test_a_delay_that_lasts_all_the_time_is_known_by_a_probe_that_saw_it() -> None:
    told = Told(head={"faults": (fault("latency", 0.0, None, "n1>n2"),)})
    _asked(told, 0.01, 1.0, 50.0)
    assert _check(told).verdict is Verdict.INVALID
    told.head["probes"] = (probe("latency"), probe("refuse"))
    assert "was probed before: latency was looked at" in _check(told).said


def test_a_probe_is_not_enough_where_there_were_calm_times_to_compare_with() -> None:
    told = _hit("latency", "n1>n2")
    told.head["probes"] = (probe("latency"),)
    for span in ((1.0, 9.0), (10.0, 19.0)):
        _asked(told, 0.01, *span)
    assert _check(told).verdict is Verdict.INVALID


def test_a_cut_beside_a_delay_that_lasts_all_the_time_is_held_against_times_without_it() -> None:
    told = _hit("cut", *CUT)
    told.head["faults"] = (fault("latency", 0.0, None, "n1>n2"), fault("cut", 10.0, 20.0, *CUT))
    told.head["probes"] = (probe("latency"),)
    for span in ((1.0, 9.0), (10.0, 19.0), (22.0, 30.0)):
        _asked(told, 0.01, *span)
        told.read(at=(span[0], span[0] + 0.1), outcome=INFO)
    assert "'cut of n1>n2 n2>n1'" in _check(told).said
    told.read(at=(14.0, 14.1), outcome=INFO)
    assert _check(told).verdict is Verdict.PASS


def test_of_several_faults_the_one_that_nothing_felt_is_named() -> None:
    told = _hit("cut", *CUT)
    _during(told, up=3.0)
    told.head["faults"] = (fault("cut", 10.0, 20.0, *CUT), fault("cut", 40.0, 45.0, "n3>n4"))
    outcome = _check(told)
    assert outcome.verdict is Verdict.INVALID
    assert "n3>n4" in outcome.said
    assert "n1>n2" not in outcome.said


@pytest.mark.parametrize(
    "target",
    [str(Link("n1", "n2")), str(Way("n1", "n2")), str(Way("n1", "n2", Carries.REPLIES))],
)
def test_targets_are_known_as_links_and_ways_are_printed(target: str) -> None:
    told = _hit("cut", target)
    told.samples = [
        Sample(at_s=s.at_s, nodes={**s.nodes, "n1": {**s.nodes["n1"], "up": 4.0}})
        for s in told.samples
    ]
    assert _check(told).verdict is Verdict.PASS
    told.samples.append(Sample(at_s=59.5, nodes={}, link_bytes={"n2>n1": 5}))
    assert "n1>n2 was to be broken" in _check(told).said


def test_a_broken_link_that_never_carried_a_byte_leads_past_the_mesh() -> None:
    told = _hit("cut", *CUT)
    _during(told, up=3.0)
    flowing = {"n1>n2": 900, "n2>n1": 800, "c1>n1": 70}
    told.samples.append(Sample(at_s=59.0, nodes={}, link_bytes=flowing))
    assert _check(told).verdict is Verdict.PASS
    told.samples.append(Sample(at_s=59.5, nodes={}, link_bytes={**flowing, "n2>n1": 0}))
    outcome = _check(told)
    assert outcome.verdict is Verdict.INVALID
    assert "n2>n1 was to be broken, but never carried a byte" in outcome.said


@pytest.mark.parametrize(
    ("kind", "state", "verdict"),
    [("kill", "stopped", Verdict.PASS), ("pause", "paused", Verdict.INVALID)],
)
def test_that_a_process_ended_is_a_sign_and_that_it_was_told_to_pause_is_none(
    kind: str, state: str, verdict: Verdict
) -> None:
    told = _hit(kind, "n2")
    told.samples = [
        Sample(at_s=s.at_s, nodes=s.nodes, states={**s.states, "n2": state})
        if 12 < s.at_s < 15
        else s
        for s in told.samples
    ]
    assert _check(told).verdict is verdict


def test_a_pause_is_felt_by_the_other_nodes_or_by_who_asked_that_one() -> None:
    told = _hit("pause", "n2")
    told.samples[30] = sample(15.0, up=4.0)
    assert "n1 took 4 of 5 nodes for up" in _check(told).said
    told = _hit("pause", "n2")
    told.read(node="n2", at=(15.0, 16.0), outcome=INFO)
    assert "1 of 1 request failed" in _check(told).said


def test_what_the_paused_node_thinks_itself_is_no_sign_of_its_pause() -> None:
    told = _hit("pause", "n2")
    look = told.samples[30]
    nodes = {**look.nodes, "n2": {**look.nodes["n2"], "up": 1.0}}
    told.samples[30] = Sample(at_s=look.at_s, nodes=nodes)
    assert _check(told).verdict is Verdict.INVALID


def test_a_quick_restart_between_two_looks_is_known_by_the_process() -> None:
    told = _hit("kill", "n2")
    told.samples = [sample(s.at_s, os_pid=1.0 + (s.at_s > 10)) for s in told.samples]
    assert "n2 started anew" in _check(told).said


def test_a_wiped_disk_is_known_by_keys_that_differ_or_are_mended() -> None:
    told = _hit("wipe", "n2")
    told.samples[50] = Sample(at_s=25.0, nodes={}, watched=20, divergent=7)
    assert "7 of 0 watched keys were not on all their homes" in _check(told).said
    told = _hit("wipe", "n2")
    told.samples = [
        sample(s.at_s, exchange_keys_pulled_total=4.0 * (s.at_s > 30)) for s in told.samples
    ]
    assert "20 keys were mended" in _check(told).said


@pytest.mark.parametrize("off_ms", [-30_000, 200])
@pytest.mark.parametrize("mode", [SIBLINGS, LWW])
def test_a_wrong_clock_is_known_by_the_times_of_values(mode: object, off_ms: int) -> None:
    told = _hit("clock", "n2")
    told.mode = mode  # type: ignore[assignment]
    right = told.write("x", node="n1", at=(12.0, 12.02))
    wrong = told.write("y", node="n2", at=(13.0, 13.02))
    told.ends(stamped(right, 1_000_012_010), stamped(wrong, 1_000_013_010))
    assert _check(told).verdict is Verdict.INVALID
    told.ends(stamped(right, 1_000_012_010), stamped(wrong, 1_000_013_010 + off_ms))
    assert "a value written through n2 is" in _check(told).said


def test_a_stamp_that_may_be_right_for_a_long_request_is_no_wrong_clock() -> None:
    told = _hit("clock", "n2")
    right = told.write("x", node="n1", at=(12.0, 12.02))
    slow = told.write("y", node="n2", at=(13.0, 15.0))
    told.ends(stamped(right, 1_000_012_010), stamped(slow, 1_000_013_100))
    assert _check(told).verdict is Verdict.INVALID


def test_a_stamp_raised_where_the_last_write_wins_is_no_wrong_clock() -> None:
    told = _hit("clock", "n2")
    for node in ("n1", "n2"):
        told.ends(stamped(told.write("x", key=node, node=node, at=(12, 12.02)), 12_010), key=node)
    told.mode = LWW
    raised = told.write("y", key="l", node="n2", at=(13.0, 13.02))
    told.ends(stamped(raised, 90_000), key="l")
    assert _check(told).verdict is Verdict.INVALID


def test_a_failed_probe_makes_a_take_invalid() -> None:
    told = Told(head={"probes": (probe("stall"), probe("leak test", passed=False))})
    outcome = witness.probes_passed(told.take())
    assert outcome.verdict is Verdict.INVALID
    assert outcome.said == "the probe of leak test failed: leak test was looked at"


def test_breaking_the_network_without_a_probe_makes_a_take_invalid() -> None:
    assert witness.probes_passed(_hit("cut", *CUT).take()).verdict is Verdict.INVALID
    assert witness.probes_passed(_hit("kill", "n1").take()).verdict is Verdict.PASS
    told = Told(head={"probes": (probe("stall"),)})
    assert witness.probes_passed(told.take()).said == "1 probe passed: stall"
