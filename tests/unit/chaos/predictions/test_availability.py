"""Availability as it must be on an even ring, and the rules of who asks whom."""

import pytest

from chaos.modes import Mode
from chaos.predictions.availability import (
    READ,
    WRITE,
    Asked,
    Reaches,
    all_but,
    asked_in,
    evenly,
    is_answered,
    predicted_percent,
    within,
    without,
)
from chaos.recording import Placement
from tests.unit.chaos.checkers.by_hand import ByHand


def _even_ring(nodes: int, n: int) -> list[Placement]:
    """An object in each of as many equal ranges as there are nodes."""
    names = [f"n{number}" for number in range(1, nodes + 1)]
    walks = [names[start:] + names[:start] for start in range(nodes)]
    return [
        Placement(
            bucket="b",
            key=f"k{number}",
            primaries=tuple(walk[:n]),
            stand_ins=tuple(walk[n:]),
        )
        for number, walk in enumerate(walks)
    ]


def _percents(nodes: int, n: int, first: int, mode: Mode, action: str) -> list[int]:
    """For a side of the first so many nodes, and for the side of the others."""
    ring = _even_ring(nodes, n)
    names = [f"n{number}" for number in range(1, nodes + 1)]
    places = {(p.bucket, p.key): 1.0 for p in ring}
    sides = names[:first], names[first:]
    found = [
        predicted_percent(evenly(places, side), ring, mode, action, within(*sides))
        for side in sides
    ]
    return [round(percent) for percent in found if percent is not None]


@pytest.mark.parametrize("action", [READ, WRITE])
@pytest.mark.parametrize(
    ("nodes", "n", "first", "strict", "sloppy_two"),
    [
        (3, 3, 1, ([100, 100], [0, 100], [0, 0]), [0, 100]),
        (5, 3, 1, ([60, 100], [0, 100], [0, 40]), [0, 100]),
        (5, 3, 2, ([80, 100], [40, 60], [0, 20]), [100, 100]),
        (5, 5, 2, ([100, 100], [100, 100], [0, 100]), [100, 100]),
        (7, 3, 3, ([71, 86], [43, 57], [14, 29]), [100, 100]),
    ],
)
def test_an_even_ring_in_two_halves_answers_what_it_must(
    nodes: int, n: int, first: int, strict: list[list[int]], sloppy_two: list[int], action: str
) -> None:
    for needed, expected in enumerate(strict, start=1):
        mode = Mode(r=needed, w=needed, sloppy=False, n=n)
        assert _percents(nodes, n, first, mode, action) == expected
    assert _percents(nodes, n, first, Mode(r=2, w=2, sloppy=True, n=n), action) == sloppy_two


HOME = Placement(bucket="b", key="k", primaries=("n1", "n2", "n3"), stand_ins=("n4", "n5"))
STRICT, SLOPPY = Mode(r=2, w=2, sloppy=False), Mode(r=2, w=2, sloppy=True)


def _answers(mode: Mode, action: str, reaches: Reaches) -> str:
    """The nodes that answer a request for the object."""
    nodes = (*HOME.primaries, *HOME.stand_ins)
    return " ".join(node for node in nodes if is_answered(HOME, mode, action, node, reaches))


def test_a_quorum_of_three_needs_three_nodes_however_sloppy() -> None:
    mode = Mode(r=3, w=3, sloppy=True)
    reaches = within(("n1", "n2"), ("n3", "n4", "n5"))
    assert _answers(mode, WRITE, reaches) == "n3 n4 n5"
    assert _answers(mode, READ, reaches) == "n3 n4 n5"


def test_stand_ins_alone_meet_a_sloppy_quorum_and_no_strict_one() -> None:
    reaches = within(("n1", "n2", "n3"), ("n4", "n5"))
    assert _answers(SLOPPY, WRITE, reaches) == "n1 n2 n3 n4 n5"
    assert _answers(SLOPPY, READ, reaches) == "n1 n2 n3 n4 n5"
    assert _answers(STRICT, WRITE, reaches) == "n1 n2 n3"
    assert _answers(Mode(r=1, w=1, sloppy=False), READ, reaches) == "n1 n2 n3"


def test_no_more_nodes_are_asked_than_there_are_replicas() -> None:
    mode = Mode(r=3, w=3, sloppy=True, n=2)
    home = Placement(bucket="b", key="k", primaries=("n1", "n2"), stand_ins=("n3", "n4"))
    assert not is_answered(home, mode, WRITE, "n1", without(()))
    assert not is_answered(home, mode, READ, "n1", without(()))


def test_a_write_is_handed_on_until_a_primary_reaches_enough() -> None:
    alone = all_but({("n1", node) for node in ("n2", "n3", "n4", "n5")})
    assert _answers(STRICT, WRITE, alone) == "n2 n3 n4 n5"
    assert _answers(STRICT, READ, alone) == "n2 n3 n4 n5"
    deaf = all_but({(node, "n1") for node in ("n2", "n3", "n4", "n5")})
    assert _answers(STRICT, WRITE, deaf) == "n1 n2 n3 n4 n5"


def test_a_partial_cut_takes_from_each_coordinator_what_it_does_not_reach() -> None:
    reaches = all_but({("n1", "n2"), ("n2", "n1"), ("n1", "n3"), ("n3", "n1")})
    assert _answers(STRICT, READ, reaches) == "n2 n3 n4 n5"
    assert _answers(STRICT, WRITE, reaches) == "n2 n3 n4 n5"
    assert _answers(SLOPPY, WRITE, reaches) == "n1 n2 n3 n4 n5"


def test_dead_nodes_answer_nothing_and_are_not_asked() -> None:
    assert _answers(STRICT, WRITE, without({"n1"})) == "n2 n3 n4 n5"
    assert _answers(STRICT, READ, without({"n1", "n2"})) == ""
    assert _answers(SLOPPY, READ, without({"n1", "n2"})) == "n3 n4 n5"


def test_objects_weigh_as_often_as_they_were_asked_for() -> None:
    away = Placement(bucket="b", key="away", primaries=("n3", "n4", "n5"), stand_ins=("n1", "n2"))
    story = ByHand()
    for number in range(3):
        story.get(from_s=number, until_s=number, key="k")
    story.get(from_s=5, until_s=5, key="away")
    story.get(from_s=5, until_s=5, key="elsewhere")
    story.put("x", 5, 6, key="away")
    reaches = within(("n1", "n2"), ("n3", "n4", "n5"))
    reads, writes = asked_in(story.operations, READ), asked_in(story.operations, WRITE)
    assert reads[Asked(("b", "k"), "n1")] == 3
    assert predicted_percent(reads, [HOME, away], STRICT, READ, reaches) == 75
    assert predicted_percent(writes, [HOME, away], STRICT, WRITE, reaches) == 0
    assert predicted_percent({}, [HOME, away], STRICT, READ, reaches) is None
