"""What experiments with cuts of odd shapes share: who reaches whom, and what it cost."""

import msgspec
import pytest

from chaos.experiments.partitions import (
    by_coordinator,
    changes_a_minute,
    reaching,
    stale_table,
    until_known,
)
from chaos.links import CutKind, Way, one_way, replies_only, requests_only
from chaos.modes import Mode
from chaos.recording import Action, Take
from tests.unit.chaos.checkers.histories import NODES, Told, fault, marks
from tests.unit.chaos.experiments.findings import looked
from tests.unit.chaos.experiments.recordings import Cut

STRICT = Mode(r=2, w=2, sloppy=False)


def cut_by(kind: CutKind) -> Take:
    told = Told()
    told.head = {"cut": kind.value}
    return told.take()


def pairs(take: Take, ways: frozenset[Way]) -> set[tuple[str, str]]:
    reaches = reaching(take, ways)
    return {(a, b) for a in NODES for b in NODES if not reaches(a, b)}


def test_a_lost_reply_is_as_bad_as_a_lost_request_to_who_waits_for_it() -> None:
    ways = one_way(["n1"], NODES)
    take = cut_by(CutKind.DROP)
    mute = {("n1", other) for other in NODES[1:]}
    unheard = {(other, "n1") for other in NODES[1:]}
    assert pairs(take, requests_only(ways)) == mute
    assert pairs(take, replies_only(ways)) == unheard
    assert pairs(take, ways) == mute | unheard


def test_who_is_not_refused_gets_its_replies() -> None:
    ways = one_way(["n1"], NODES)
    assert pairs(cut_by(CutKind.REFUSE), ways) == {("n1", other) for other in NODES[1:]}


def test_what_a_node_answered_stands_beside_what_it_could() -> None:
    made = Cut(mode=STRICT, sides={"A": ("n1",), "B": NODES[1:]}, homes=("n1", "n2", "n3"))
    made.asks("A", Action.PUT, [13.0, 14.0], answered=False)
    made.asks("B", Action.PUT, [13.0, 14.0])
    made.asks("B", Action.PUT, [11.0], answered=False)  # nobody knew of the cut then
    take = made.take()
    take = msgspec.structs.replace(take, head=msgspec.structs.replace(take.head, cut="drop"))
    ways = one_way(["n1"], NODES)
    table = by_coordinator(take, ways, "write")
    assert table.columns == ("asked", "reaches", "strict 2/2")
    assert table.rows[0] == ("n1", "n1", "0 / 0")
    assert table.rows[1] == ("n2", "n2 n3 n4 n5", "100 / 100")
    assert table.rows[2] == ("n3", "n2 n3 n4 n5", "")


def test_stale_reads_are_counted_on_the_side_that_saw_them() -> None:
    told = Told()
    old = told.write("old", at=(1.0, 1.1))
    told.write("new", after=told.read(old, at=(1.2, 1.3)), at=(12.5, 12.6))
    told.read(old, at=(13.0, 13.1))
    told.head = {
        "sides": {"roaming": NODES},
        "modes": (STRICT,),
        "faults": (fault("cut", 10.0, 20.0, "n1->n3"),),
        "marks": marks(settled=12.0),
    }
    assert stale_table([told.take()]).rows == (("strict 2/2", "100.0 of 1"),)


@pytest.mark.parametrize(("changed", "a_minute"), [(0.0, 0.0), (5.0, 10.0)])
def test_changes_of_opinion_are_counted_once_all_know_of_the_cut(
    changed: float, a_minute: float
) -> None:
    told = Told()
    told.head = {
        "faults": (fault("cut", 10.0, 42.5, "n1->n3"),),
        "marks": marks(settled=12.0),
    }
    told.samples = [
        looked(at_s, **{node: {"opinions_changed_total": count} for node in NODES})
        for at_s, count in (
            (9.0, 4.0),
            (12.1, 6.0),
            (12.4, 7.0),
            (42.4, 7.0 + changed),
            (43.0, 99.0),
        )
    ]
    assert changes_a_minute(told.take()) == pytest.approx(a_minute)


def test_what_nobody_knew_of_is_not_measured() -> None:
    told = Told()
    told.head = {"faults": (fault("cut", 10.0, 20.0, "n1->n3"),)}
    assert changes_a_minute(told.take()) is None
    assert until_known(told.take()).measured is None
