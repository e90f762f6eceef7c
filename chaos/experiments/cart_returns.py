"""Items that came back into carts, and in which cart they had stayed meanwhile. Pure.

Carts that do not know of each other are joined by union. So an item that was removed from one of
them returns if it is still in the other, and Dynamo says so itself (4.4: "deleted items can
resurface"). An item that returns from nowhere is another matter.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from chaos.checkers.causality import Causality
from chaos.recording import Operation, Outcome
from chaos.workloads.elements import changes, elements


class Return(NamedTuple):
    """An item that was removed, with an acknowledgement, and is there in the end.

    Attributes:
        item: the item.
        removal: the write that removed it. Of several, the first that nothing explains, or else
            the last.
        keeper: a write of a cart with the item that knew as little of the removal as the removal
            of it, if possible the one with which it was joined; None if there is none.
        joined: the first read that knew of the removal and showed the item again, if any did.
    """

    item: str
    removal: Operation
    keeper: Operation | None
    joined: Operation | None


def returns(
    operations: Sequence[Operation], values: Collection[str], returned: Iterable[str]
) -> Iterator[Return]:
    """How items came back into one cart with siblings.

    Args:
        operations: of one object, in the order of `index`, all of them.
        values: what is there in the end.
        returned: see `CartOutcome.returned`.
    """
    order = Causality(operations)
    removals = [(change.write, change.removed) for change in changes(operations)]
    for item in sorted(returned, key=int):
        found = [
            _return(operations, order, values, item, write)
            for write, removed in removals
            if item in removed and write.outcome is Outcome.OK
        ]
        yield next((one for one in found if one.keeper is None), found[-1])


def _return(
    operations: Iterable[Operation],
    order: Causality,
    values: Collection[str],
    item: str,
    removal: Operation,
) -> Return:
    joined = _joined(operations, order, removal, item)
    beside = values if joined is None or joined.shown is None else joined.shown
    keepers = _keepers(order, removal, item)
    shown = (keeper for keeper in keepers if keeper.written in beside)
    keeper = next(shown, keepers[0] if keepers else None)
    return Return(item=item, removal=removal, keeper=keeper, joined=joined)


def _keepers(order: Causality, removal: Operation, item: str) -> list[Operation]:
    """Writes of carts with the item that were concurrent with its removal."""
    known = order.certain_ancestors(removal.index)
    return [
        write
        for write in order.writes
        if write.outcome is not Outcome.FAIL
        and write.written is not None
        and item in elements((write.written,))
        and write.index not in known
        and removal.index not in order.certain_ancestors(write.index)
    ]


def _joined(
    operations: Iterable[Operation], order: Causality, removal: Operation, item: str
) -> Operation | None:
    """The first read that knew of the removal and showed the item again."""
    for operation in operations:
        if (
            operation.shown
            and removal.index in order.certainly_covered(operation.index)
            and item in elements(operation.shown)
        ):
            return operation
    return None
