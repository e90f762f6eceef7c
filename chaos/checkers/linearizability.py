"""Linearizability of a register: is there one order of the operations that explains what was seen?

An operation takes effect at one instant between its invocation and its return (Herlihy and Wing,
"Linearizability", 1990). The order is searched for as Wing and Gong do ("Testing and Verifying
Concurrent Objects", 1993), with Lowe's memory of what was tried before ("Testing for
Linearizability", 2017), and three shortcuts that a register allows:

* a read of the value that is there now is taken at once, for it changes nothing;
* a value that somebody has yet to read, and that nobody writes again, is not replaced;
* where no read can be next, a write that nobody has yet to read is taken at once: some write must
  come next, and this one hides only what that would hide.

What counts: successful reads; successful writes; writes whose outcome is unknown, which may take
effect at any time from their invocation on, or never. A deletion is a write of nothing. What failed
for certain is left out, and so is what a write showed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from chaos.checkers.counterexample import Refuting, explained, smallest
from chaos.checkers.register import NOTHING, Search, calls_of, indexes
from chaos.recording import Operation

STEPS_MAX: Final = 500_000
"""About 3 s and 100 MB; a search that goes on for longer has met a history that is too wild."""

SHRINKING_SHARE: Final = 4
"""How many times as many steps the search for a small proof may take, all in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Linearizable:
    """There is an order that explains everything.

    Attributes:
        order: indexes of the operations, in such an order.
    """

    order: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotLinearizable:
    """There is none, and these few operations are enough to see that.

    Attributes:
        operations: indexes of operations that cannot be ordered, whatever else there was; in the
            order of their invocation. Without any one read of them, or one value, they could be.
        longest: indexes of the most of them that could be ordered, in that order.
        said: why there is no order, step by step.
    """

    operations: tuple[int, ...]
    longest: tuple[int, ...]
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """The search was given up.

    Attributes:
        steps: after so many.
    """

    steps: int


Result = Linearizable | NotLinearizable | Unknown


def check(
    operations: Iterable[Operation], initial: str | None = None, *, steps_max: int = STEPS_MAX
) -> Result:
    """Search for an order of all operations on one object.

    Args:
        operations: all there were, in any order.
        initial: the value before the first; None if there was none.
        steps_max: how many steps the search may take.
    """
    calls = calls_of(operations)
    at_first = NOTHING if initial is None else (initial,)
    found = Search(calls, at_first).run(steps_max)
    if found is None:
        return Unknown(steps=steps_max)
    if found.complete:
        return Linearizable(order=indexes(found.order))
    few = smallest(calls, Refuting(at_first, steps_max * SHRINKING_SHARE))
    found = Search(few, at_first, looks_ahead=False).run(steps_max)
    return NotLinearizable(
        operations=indexes(few),
        longest=() if found is None else indexes(found.order),
        said=explained(few, at_first),
    )


def check_each(
    operations: Iterable[Operation], *, steps_max: int = STEPS_MAX
) -> dict[tuple[str, str], Result]:
    """Check each object by itself, with nothing in it at first; by bucket and key.

    Registers are linearizable together if each of them is (Herlihy and Wing, 3.1).
    """
    objects: dict[tuple[str, str], list[Operation]] = {}
    for operation in operations:
        objects.setdefault(operation.place, []).append(operation)
    return {place: check(objects[place], steps_max=steps_max) for place in sorted(objects)}
