"""No acknowledged write is lost: it is there in the end, or something that was made knowing it is.

A delete is a write of nothing. Its tombstone may have been forgotten since, so a delete is lost
only if nothing speaks of it and what it deleted is still there.
"""

from collections.abc import Iterator
from typing import Final

from chaos.checkers.objects import ObjectHistory, histories
from chaos.checkers.telling import Breach, at, counted, ruled, told
from chaos.judgement import RuleOutcome
from chaos.modes import Conflicts
from chaos.recording import Action, Operation, Take

RULE: Final = "no acknowledged write is lost"


def check(take: Take) -> RuleOutcome:
    """Hold what is left of every object with siblings against what was acknowledged.

    Of an object whose hints are still on their way nothing can be said; whether that may be is for
    the rule of convergence.
    """
    objects = histories(take, Conflicts.SIBLINGS)
    judged = [one for one in objects if not one.ending.is_hinted]
    acked = sum(len(one.acked) for one in judged)
    kept = (
        f"all {counted(acked, 'acknowledged write')} to {counted(len(judged), 'object')} are there"
        " or were replaced by someone who knew them"
    )
    if left_out := len(objects) - len(judged):
        kept += f"; left out: {counted(left_out, 'object')} with hints still on their way"
    return ruled(
        RULE,
        take,
        kept=kept,
        broken=f"of {counted(acked, 'acknowledged write')} are lost",
        breaches=[
            Breach(f"{told(write)} to {at(one.place)}", (write.index,))
            for one in judged
            for write in _lost(one)
        ],
        unknown=[one.ending.missing for one in objects if one.ending.missing],
    )


def lost(take: Take) -> frozenset[int]:
    """All of them, by index; the rule shows only a few."""
    return frozenset(
        write.index
        for one in histories(take, Conflicts.SIBLINGS)
        if not one.ending.is_hinted and not one.ending.missing
        for write in _lost(one)
    )


def _lost(one: ObjectHistory) -> Iterator[Operation]:
    stored = {index for text in one.ending.texts for index in one.writers_of(text)}
    order = one.causality
    replaced = order.possibly_below(stored | set(one.deletes))
    replaced_by_values = order.possibly_below(stored)
    for write in one.acked:
        if write.action is Action.PUT:
            is_lost = write.index not in stored and write.index not in replaced
        else:
            is_lost = (
                not one.ending.tombstones
                and write.index not in replaced_by_values
                and not stored.isdisjoint(order.certain_ancestors(write.index))
            )
        if is_lost:
            yield write
