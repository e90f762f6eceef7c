"""Nothing comes back: what an acknowledged write replaced, or a client was shown replaced, is gone.

The rule of sibling sets sees most of this. Here counts in addition what is known only from having
been shown: a client that read "deleted", or a later value, has seen the earlier one gone, whatever
became of the request that did it, and whatever was forgotten since.
"""

from collections.abc import Iterator
from typing import Final

from chaos.checkers.objects import ObjectHistory, histories
from chaos.checkers.telling import Breach, at, counted, ruled, told
from chaos.judgement import RuleOutcome
from chaos.modes import Conflicts
from chaos.recording import Operation, Outcome, Take

RULE: Final = "nothing comes back"


def check(take: Take) -> RuleOutcome:
    """Look in what is left of every object with siblings for what was gone before.

    A replica that is merely behind brings nothing back: objects whose replicas differ are left to
    the rule of convergence.
    """
    objects = histories(take, Conflicts.SIBLINGS)
    judged = [one for one in objects if one.ending.is_settled]
    gone = {one.place: _gone(one) for one in judged}
    kept = (
        f"of {counted(sum(map(len, gone.values())), 'write')} known to be replaced or deleted, to"
        f" {counted(len(judged), 'object')}, none is there in the end"
    )
    if left_out := len(objects) - len(judged):
        kept += f"; left out: {counted(left_out, 'object')} whose replicas differ"
    return ruled(
        RULE,
        take,
        kept=kept,
        broken="values came back",
        breaches=[breach for one in judged for breach in _back(one, gone[one.place])],
        unknown=[one.ending.missing for one in objects if one.ending.missing],
    )


def _gone(one: ObjectHistory) -> frozenset[int]:
    acked = (write.index for write in one.acked)
    return one.causality.certainly_below(acked) | one.causality.certainly_gone()


def _back(one: ObjectHistory, gone: frozenset[int]) -> Iterator[Breach]:
    for text in one.ending.texts:
        writers = one.writers_of(text)
        if not writers or not gone.issuperset(writers):
            continue
        write = one.operation(writers[0])
        after = _seen_gone(one, write)
        because = "" if after is None else f" after {told(after)}"
        evidence = (write.index,) if after is None else (write.index, after.index)
        yield Breach(f"{told(write)} is back in {at(one.place)}{because}", evidence)


def _seen_gone(one: ObjectHistory, write: Operation) -> Operation | None:
    """The first operation after which the write was known to be gone."""
    order = one.causality
    for operation in sorted(one.operations, key=lambda operation: operation.returned_s):
        if operation.outcome is not Outcome.OK:
            continue
        if operation.is_write and write.index in order.certain_ancestors(operation.index):
            return operation
        is_shown = write.written in (operation.shown or ())
        if not is_shown and write.index in order.certainly_covered(operation.index):
            return operation
    return None
