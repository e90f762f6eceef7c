"""What becomes of deleted keys, by what clients were shown and what nodes held. Pure.

Nobody may be shown again what was deleted, nobody may lose what was written since, and tombstones
go when all is well, not before.
"""

from collections.abc import Sequence
from typing import Final

from chaos.checkers.causality import Causality
from chaos.checkers.missed import Place, by_object
from chaos.checkers.telling import Breach, at, counted, ruled, told
from chaos.judgement import RuleOutcome, Table
from chaos.modes import Mode
from chaos.recording import Action, Operation, Outcome, Take
from chaos.workloads.doomed import LOOK, Fate
from chaos.workloads.workload import PRELOAD

FORGOTTEN_S_MAX: Final = 60.0
"""Until tombstones are forgotten, once all is well; three looks with waits between take a third."""

FORGOTTEN: Final = "forgotten"
"""The moment at which no node held a tombstone any more."""

BURIED: Final = "deleted keys whose tombstone two nodes held while a home was dead"
MISSING: Final = "deleted keys whose tombstone fewer than two nodes held while a home was dead"

TORN: Final = "torn"
"""The workload whose keys are written on one side of a cut and deleted on the other."""

UNTOUCHED: Final = "left alone"
TORN_APART: Final = "written on one side of a cut, deleted on the other"
REVIVED_LATER: Final = "deleted, forgotten, and written again"

NEVER_SHOWN: Final = "what is deleted is never shown again"
SHOWN: Final = "what was written since is shown by every node"
WAITS: Final = "no tombstone is forgotten while a home is away"
FORGETS: Final = "deleted keys are forgotten in the end"


def rules(take: Take) -> tuple[RuleOutcome, ...]:
    """What must hold of deletions, in one take."""
    return (_never_shown(take), _all_there(take), _waits(take), _forgets(take))


def deleted_places(take: Take) -> set[Place]:
    """The objects that somebody deleted."""
    return {operation.place for operation in take.operations if _is_deletion(operation)}


def without_value(take: Take) -> list[Place]:
    """The objects of which nothing but a tombstone was left when all was well."""
    return [p for p, fate in _fates(take).items() if fate in (REVIVED_LATER, Fate.GONE)]


def forgotten_after_s(take: Take) -> float | None:
    """From the end of the last fault until no tombstone was left."""
    forgotten_s, healed_s = take.head.mark_s(FORGOTTEN), take.head.mark_s("healed")
    return None if forgotten_s is None or healed_s is None else forgotten_s - healed_s


def reads_after_deletion(take: Take) -> list[Operation]:
    """The reads of keys that had been deleted before."""
    deleted_s: dict[Place, float] = {}
    for operation in filter(_is_deletion, take.operations):
        deleted_s.setdefault(operation.place, operation.returned_s)
    return [
        operation
        for operation in take.operations
        if _is_read(operation)
        and operation.invoked_s > deleted_s.get(operation.place, float("inf"))
    ]


def shown_again(take: Take) -> dict[int, Breach]:
    """Reads that showed what had been deleted before they began, by their index.

    Quorums that overlap never may. Others may as long as replicas differ, but not any more once
    the tombstone has come to all and is forgotten.
    """
    overlap = {mode.name for mode in take.head.modes if _overlaps(mode)}
    forgotten_s = take.head.mark_s(FORGOTTEN) or float("inf")
    found: dict[int, Breach] = {}
    for place, operations in by_object(take.operations).items():
        causality = Causality(operations)
        for delete in filter(_is_deletion, operations):
            gone = causality.certain_ancestors(delete.index)
            from_s = delete.returned_s if delete.mode in overlap else forgotten_s
            for read in operations:
                writers = map(causality.writers_of, read.shown or ())
                if not _is_read(read) or read.invoked_s < from_s:
                    continue
                if any(of_one and gone.issuperset(of_one) for of_one in writers):
                    said = f"{told(read)} of {at(place)} showed what {told(delete)} had deleted"
                    found[read.index] = Breach(said, (delete.index, read.index))
    return found


def _overlaps(mode: Mode) -> bool:
    return not mode.sloppy and mode.r + mode.w > mode.n


def _is_read(operation: Operation) -> bool:
    return operation.action is Action.GET and operation.outcome is Outcome.OK


def _never_shown(take: Take) -> RuleOutcome:
    reads = reads_after_deletion(take)
    return ruled(
        NEVER_SHOWN,
        take,
        kept=f"{counted(len(reads), 'read')} asked for deleted keys, and none showed a value that a"
        " strict quorum had deleted, nor any that had been forgotten",
        broken="reads showed what was deleted",
        breaches=[*shown_again(take).values()],
        unknown=[] if reads else ["nobody read what was deleted"],
    )


def _all_there(take: Take) -> RuleOutcome:
    """After all that, every node shows a key as the others hold it."""
    held: dict[Place, set[str]] = {}
    for state in take.final:
        texts = held.setdefault((state.bucket, state.key), set())
        texts |= {value.text for value in state.values if state.primary and not value.deleted}
    looks = [*filter(_is_look, take.operations)]
    return ruled(
        SHOWN,
        take,
        kept=f"{counted(len(looks), 'read')}, of every key at every node, showed what its homes"
        " hold",
        broken="reads showed something else than the homes hold",
        breaches=[
            Breach(f"{told(look)} of {at(look.place)} at {look.node}", (look.index,))
            for look in looks
            if set(look.shown or ()) != held.get(look.place, set())
        ],
        unknown=[] if looks else ["nobody looked"],
    )


def _waits(take: Take) -> RuleOutcome:
    figures = take.head.figures
    buried, missing = figures.get(BURIED, 0), figures.get(MISSING, 0)
    said = f"of {buried + missing:.0f} tombstones {missing:.0f} were on fewer than two nodes"
    return ruled(
        WAITS,
        take,
        kept=f"all {buried:.0f} tombstones were on two nodes at least when the home returned",
        broken="times tombstones were gone too early",
        breaches=[Breach(said)] if missing else [],
        unknown=[] if buried + missing else ["nobody looked for tombstones"],
    )


def _forgets(take: Take) -> RuleOutcome:
    """In the end nothing is left of a deleted key, on any node."""
    live = {
        (state.bucket, state.key)
        for state in take.final
        if any(not v.deleted for v in state.values)
    }
    left = [
        Breach(f"{state.node} still holds a tombstone of {at((state.bucket, state.key))}")
        for state in take.final
        if state.values and (state.bucket, state.key) not in live
    ]
    after_s = forgotten_after_s(take)
    late = [] if after_s is not None else [Breach(f"not all were in {FORGOTTEN_S_MAX:g} s")]
    return ruled(
        FORGETS,
        take,
        kept=f"no node held a tombstone {after_s or 0:.1f} s after all was well, and nothing is"
        " left of any key that was not written again",
        broken="tombstones were not forgotten",
        breaches=[*late, *left],
    )


def table(take: Take) -> Table:
    """What every node showed in the end, by what had become of the key."""
    looks: dict[str, list[Operation]] = {}
    fates = _fates(take)
    for look in filter(_is_look, take.operations):
        looks.setdefault(fates.get(look.place, UNTOUCHED), []).append(look)
    return Table(
        title="What every node showed in the end",
        said="When everything was forgotten every key was read at every node. What is deleted shows"
        " nothing; what was written beside a deletion, unknown to who deleted, stays.",
        columns=("what became of the key", "keys", "reads", "showed a value", "showed nothing"),
        rows=tuple(_row(fate, of) for fate, of in looks.items()),
    )


def _fates(take: Take) -> dict[Place, str]:
    """What became of each object that was changed."""
    forgotten_s = take.head.mark_s(FORGOTTEN) or float("inf")
    fates: dict[Place, str] = {}
    for place, operations in by_object(take.operations).items():
        is_deleted = any(map(_is_deletion, operations))
        puts = [o for o in operations if o.action is Action.PUT and o.note != PRELOAD]
        if is_deleted and puts and puts[-1].workload == TORN:
            fates[place] = TORN_APART
        elif is_deleted and puts and puts[-1].invoked_s > forgotten_s:
            fates[place] = REVIVED_LATER
        elif is_deleted:
            fates[place] = str(Fate.ANEW if puts else Fate.GONE)
        elif puts:
            fates[place] = str(Fate.KEPT)
    return fates


def _row(fate: str, looks: Sequence[Operation]) -> tuple[str, ...]:
    values = sum(bool(look.shown) for look in looks)
    keys = len({look.place for look in looks})
    return fate, str(keys), str(len(looks)), str(values), str(len(looks) - values)


def _is_deletion(operation: Operation) -> bool:
    return operation.action is Action.DELETE and operation.outcome is Outcome.OK


def _is_look(operation: Operation) -> bool:
    return operation.note == LOOK and operation.outcome is Outcome.OK
