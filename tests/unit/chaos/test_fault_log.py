"""The log of faults: what lasts, from when to when the cluster was broken, who reaches whom."""

from chaos.fault_log import FaultLog
from chaos.recording import Edge, Mark


def edge(at_s: float) -> Edge:
    return Edge(from_s=at_s, until_s=at_s + 0.1)


def told(log: FaultLog) -> list[tuple[str, float]]:
    return [(mark.name, mark.at_s) for mark in log.marks]


def test_a_fault_is_kept_with_both_its_edges() -> None:
    log = FaultLog()
    number = log.begin("kill", "n1 killed", ["n1"], edge(1))
    assert log.faults[number].ended is None
    log.end(number, edge(3))
    fault = log.faults[number]
    assert (fault.kind, fault.said, fault.targets) == ("kill", "n1 killed", ("n1",))
    assert (fault.began, fault.ended) == (edge(1), edge(3))


def test_the_cluster_is_broken_from_the_first_of_overlapping_faults_to_the_last() -> None:
    log = FaultLog()
    first = log.begin("kill", "", ["n1"], edge(1))
    second = log.begin("pause", "", ["n2"], edge(2))
    log.end(first, edge(3))
    third = log.begin("kill", "", ["n1"], edge(4))
    log.end(second, edge(5))
    assert told(log) == [("broken", 1.1)]
    log.end(third, edge(6))
    assert told(log) == [("broken", 1.1), ("healed", 6.1)]


def test_faults_that_do_not_overlap_are_marked_each() -> None:
    log = FaultLog()
    for at_s in (1, 3):
        log.end(log.begin("cut", "", ["n1->n2"], edge(at_s)), edge(at_s + 1))
    assert told(log) == [("broken", 1.1), ("healed", 2.1), ("broken", 3.1), ("healed", 4.1)]


def test_faults_stay_in_the_order_in_which_they_came_about() -> None:
    log = FaultLog()
    outer = log.begin("cut", "outer", ["n1->n2"], edge(1))
    log.end(log.begin("kill", "inner", ["n3"], edge(2)), edge(3))
    log.end(outer, edge(4))
    assert [fault.said for fault in log.faults] == ["outer", "inner"]
    assert [fault.ended for fault in log.faults] == [edge(4), edge(3)]


def test_a_pair_is_apart_for_as_long_as_any_fault_keeps_it_so() -> None:
    log = FaultLog()
    assert log.apart == set()
    cut = log.begin("cut", "", [], edge(1), apart={("n1", "n2"), ("n2", "n1")})
    kill = log.begin("kill", "", [], edge(2), apart=[("n1", "n2"), ("n3", "n2")])
    latency = log.begin("latency", "", [], edge(3))
    assert log.apart == {("n1", "n2"), ("n2", "n1"), ("n3", "n2")}
    log.end(cut, edge(4))
    assert log.apart == {("n1", "n2"), ("n3", "n2")}
    log.end(kill, edge(5))
    assert log.apart == set()
    log.end(latency, edge(6))


def test_other_moments_stand_among_its_own() -> None:
    log = FaultLog()
    log.mark("warm", 0.5)
    log.end(log.begin("wipe", "", ["n1"], edge(1)), edge(1))
    log.mark("quiet", 2)
    assert log.marks == [
        Mark(name="warm", at_s=0.5),
        Mark(name="broken", at_s=1.1),
        Mark(name="healed", at_s=1.1),
        Mark(name="quiet", at_s=2),
    ]
