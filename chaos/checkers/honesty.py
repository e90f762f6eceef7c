"""Failures are honest: a write that was said to have failed for certain is never seen.

Whoever is told that nothing happened goes on from there, and does it again another way. So "failed"
must mean never: not shown to anybody, not on any disk, and with no replica known to hold it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from chaos.checkers.objects import Place
from chaos.checkers.telling import Breach, at, counted, ruled, told
from chaos.judgement import RuleOutcome
from chaos.recording import Action, Operation, Outcome, Take

RULE: Final = "what failed for certain is never seen"


def check(take: Take) -> RuleOutcome:
    """Look for failed writes in answers and dumps.

    A text that another request stored as well is that one's. "Deleted" says not by whom, so a
    failed delete is found out only where no other can have been it.
    """
    failed = _failed(take)
    writes = sum(o.is_write and o.outcome is Outcome.FAIL for o in take.operations)
    return ruled(
        RULE,
        take,
        kept=f"{counted(writes, 'write')} failed for certain, and none of them was ever seen",
        broken="sightings of writes that had failed for certain",
        breaches=[*_acked(take), *_shown(take, failed), *_held(take, failed)],
    )


def _failed(take: Take) -> Mapping[tuple[Place, str | None], Operation]:
    """Failed writes by place and text, None for a delete, if no other write can be meant."""
    failed: dict[tuple[Place, str | None], Operation] = {}
    effective: set[tuple[Place, str | None]] = set()
    for write in (operation for operation in take.operations if operation.is_write):
        name = (write.place, None if write.action is Action.DELETE else write.written)
        if write.outcome is Outcome.FAIL:
            failed.setdefault(name, write)
        else:
            effective.add(name)
    return {name: write for name, write in failed.items() if name not in effective}


def _acked(take: Take) -> Iterator[Breach]:
    for operation in take.operations:
        if operation.is_write and operation.outcome is Outcome.FAIL and operation.acks:
            said = f"{told(operation)} failed, with {operation.acks} replicas known to hold it"
            yield Breach(said, (operation.index,))


def _shown(take: Take, failed: Mapping[tuple[Place, str | None], Operation]) -> Iterator[Breach]:
    for operation in take.operations:
        texts: list[str | None] = [*(operation.shown or ())]
        if operation.shown_deleted:
            texts.append(None)
        for text in texts:
            if write := failed.get((operation.place, text)):
                said = f"{told(write)} to {at(write.place)} failed, and {told(operation)} showed it"
                yield Breach(said, (write.index, operation.index))


def _held(take: Take, failed: Mapping[tuple[Place, str | None], Operation]) -> Iterator[Breach]:
    nodes: dict[int, list[str]] = defaultdict(list)
    for state in take.final:
        for value in state.values:
            name = ((state.bucket, state.key), None if value.deleted else value.text)
            if write := failed.get(name):
                nodes[write.index].append(state.node)
    for write in failed.values():
        if held_by := nodes.get(write.index):
            said = f"{told(write)} to {at(write.place)} failed, and it is on {', '.join(held_by)}"
            yield Breach(said, (write.index,))
