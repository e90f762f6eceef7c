"""Which requests can be answered under a fault, exactly, from where each object lives.

Relies on what the store does once every node knows whom it reaches; until then requests also fail
by waiting, and nothing is predicted for that time:

* A read is coordinated where it arrives (Dynamo 6.4). It asks the primaries that its coordinator
  reaches and, if sloppy, for each of the others the next stand-in that it reaches. R good answers
  are enough, and "I hold nothing" is one: from a stand-in it counts once no primary's is awaited.
* A write is coordinated by a primary. Any other node hands it to the primaries of the preference
  list that it reaches, one after the other, until one reaches enough. A primary that was asked
  itself hands nothing on. A node that reaches no primary coordinates the write itself, which helps
  only if it is sloppy.
* W counts distinct nodes that the coordinator reaches, itself among them, and no more than N are
  asked: W=3 cannot be met by two nodes, sloppy or not.
* A deletion with a context is a write.

`reaches` is about a request *and* its reply: a link on which either is lost does not count.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, NamedTuple

from chaos.modes import Mode
from chaos.recording import Action, Operation, Placement

Place = tuple[str, str]
"""Bucket and key."""

Reaches = Callable[[str, str], bool]
"""Coordinator, node: whether a request of the one comes to the other, and its reply back.

A node that does not reach itself does not serve at all.
"""

READ: Final = "read"
WRITE: Final = "write"


class Asked(NamedTuple):
    """A request, as far as its fate depends on it.

    Attributes:
        place: bucket and key of the object.
        node: who was asked.
    """

    place: Place
    node: str


def predicted_percent(
    asked: Mapping[Asked, float],
    placements: Iterable[Placement],
    mode: Mode,
    action: str,
    reaches: Reaches,
) -> float | None:
    """How many percent of these requests can be answered; None if there are none.

    Args:
        asked: requests, and how many there are of each; from `asked_in` or `evenly`.
        placements: where the objects live. Requests for others are not counted.
        mode: N, R, W, and whether stand-ins count.
        action: `read` or `write`.
        reaches: who reaches whom.
    """
    homes = {(placement.bucket, placement.key): placement for placement in placements}
    known = {one: count for one, count in asked.items() if one.place in homes}
    total = sum(known.values())
    if not total:
        return None
    answered = sum(
        count
        for one, count in known.items()
        if is_answered(homes[one.place], mode, action, one.node, reaches)
    )
    return 100 * answered / total


def is_answered(placement: Placement, mode: Mode, action: str, node: str, reaches: Reaches) -> bool:
    """Whether a request to `node` for an object that lives there can be answered."""
    if not reaches(node, node):
        return False
    if action == READ:
        return len(_slots(placement, mode, node, reaches)) >= max(mode.r, 1)
    coordinators = [node]
    if node not in placement.primaries:
        coordinators = [home for home in placement.primaries if reaches(node, home)] or [node]
    needed = max(mode.w, 1)
    return any(len(_slots(placement, mode, one, reaches)) >= needed for one in coordinators)


def _slots(placement: Placement, mode: Mode, coordinator: str, reaches: Reaches) -> list[str]:
    """Whom a coordinator asks."""
    homes = [node for node in placement.primaries if reaches(coordinator, node)]
    if not mode.sloppy:
        return homes
    stand_ins = [node for node in placement.stand_ins if reaches(coordinator, node)]
    return homes + stand_ins[: len(placement.primaries) - len(homes)]


# ---- who reaches whom


def within(*sides: Collection[str]) -> Reaches:
    """Nodes reach those of their own side, itself included; who is on no side serves nobody."""
    return lambda coordinator, node: any(coordinator in side and node in side for side in sides)


def all_but(cut: Collection[tuple[str, str]]) -> Reaches:
    """Nodes reach all others but those to which a request, or from which its reply, is lost.

    Args:
        cut: coordinator and node. What is listed one way only is cut one way only.
    """
    broken = frozenset(cut)
    return lambda coordinator, node: (coordinator, node) not in broken


def without(nodes: Collection[str]) -> Reaches:
    """These nodes are dead; all others reach each other."""
    return lambda coordinator, node: coordinator not in nodes and node not in nodes


# ---- what was asked


def asked_in(operations: Iterable[Operation], action: str) -> Counter[Asked]:
    """What was really asked: the prediction is then for these very requests."""
    return Counter(
        Asked(operation.place, operation.node)
        for operation in operations
        if (operation.action is Action.GET) == (action == READ)
    )


def evenly(places: Mapping[Place, float], nodes: Collection[str]) -> dict[Asked, float]:
    """Each object so many times, each time of a node drawn evenly from these."""
    return {
        Asked(place, node): count / len(nodes) for place, count in places.items() for node in nodes
    }
