"""Siblings are exactly the writes that nobody replaced: F = Max(acked + (info that is in F)).

Exact in both directions: nothing that is still current is missing, and nothing is kept that was
replaced, whether by a write that was acknowledged or by one of which that is only known because it
is there. What failed for certain, and what nobody wrote, is nowhere.

Tombstones are anonymous, and are forgotten some time after nothing else is left. So they are only
held to be no more than there were deletes, and to have removed what all these deletes replaced.
"""

from collections.abc import Iterator
from typing import Final

from chaos.checkers.objects import ObjectHistory, histories
from chaos.checkers.telling import Breach, at, counted, ruled, told
from chaos.judgement import RuleOutcome
from chaos.modes import Conflicts
from chaos.recording import Action, Take

RULE: Final = "siblings are exactly the writes that nobody replaced"


def check(take: Take) -> RuleOutcome:
    """Hold every object with siblings against its history.

    Replicas that differ are no set of siblings: such objects are left to the rule of convergence.
    """
    objects = histories(take, Conflicts.SIBLINGS)
    judged = [one for one in objects if one.ending.is_settled]
    most = max((len(one.ending.texts) for one in judged), default=0)
    kept = (
        f"{counted(len(judged), 'object')} ended with exactly the values that nobody had replaced,"
        f" {most} at most"
    )
    if left_out := len(objects) - len(judged):
        kept += f"; left out: {counted(left_out, 'object')} whose replicas differ"
    return ruled(
        RULE,
        take,
        kept=kept,
        broken="differences from the siblings that should be there",
        breaches=[breach for one in judged for breach in _wrong(one)],
        unknown=[one.ending.missing for one in objects if one.ending.missing],
    )


def _wrong(one: ObjectHistory) -> Iterator[Breach]:
    yield from _missing(one)
    yield from _surplus(one)
    if one.ending.tombstones > len(one.deletes):
        yield Breach(
            f"{at(one.place)} has {counted(one.ending.tombstones, 'tombstone')} of"
            f" {counted(len(one.deletes), 'delete')}"
        )


def _missing(one: ObjectHistory) -> Iterator[Breach]:
    stored = {index for text in one.ending.texts for index in one.writers_of(text)}
    acked = {write.index for write in one.acked}
    # A delete whose outcome is unknown may have been applied, and forgotten since.
    replaced = one.causality.possibly_below(stored | acked | set(one.deletes))
    for write in one.acked:
        if write.action is Action.PUT and write.index not in stored | replaced:
            yield Breach(
                f"{told(write)} is missing from {at(one.place)}, and nobody replaced it",
                (write.index,),
            )


def _surplus(one: ObjectHistory) -> Iterator[Breach]:
    order = one.causality
    writers = {text: one.writers_of(text) for text in one.ending.texts}
    replaced = order.certainly_below(write.index for write in one.acked)
    for of_text in writers.values():
        replaced |= order.certainly_below_all(of_text)
    if one.ending.tombstones:
        replaced |= order.certainly_below_all(one.deletes)
    for text, of_text in writers.items():
        if of_text and replaced.issuperset(of_text):
            write = one.operation(of_text[0])
            yield Breach(f"{told(write)} is kept in {at(one.place)}, but was replaced", of_text)
        elif not of_text:
            failed = one.causality.writers_of(text)
            who = told(one.operation(failed[0])) if failed else repr(text[:60])
            why = "failed for certain" if failed else "was written by nobody"
            yield Breach(f"{who} is in {at(one.place)}, but {why}", failed)
