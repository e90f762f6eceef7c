"""All that happened to one object, and what was left of it in the end: what most rules look at."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from chaos.checkers.causality import Causality
from chaos.checkers.telling import at
from chaos.errors import RecordingError
from chaos.modes import Conflicts, Mode
from chaos.recording import Action, HeldValue, Operation, Outcome, Placement, ReplicaState, Take

Place = tuple[str, str]
"""Bucket and key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What the homes of an object held in the end, all of them together.

    Attributes:
        values: what any of them held.
        tombstones: the most that one of them held.
        missing: what is not known about it, in words; "" if every home was looked at.
        is_equal: they all held the same. Where some hold nothing and the others only tombstones the
            deleted object is being forgotten, and that is the same.
        is_hinted: somebody still kept a hint of the object.
    """

    values: tuple[HeldValue, ...]
    tombstones: int
    missing: str
    is_equal: bool
    is_hinted: bool

    @property
    def is_settled(self) -> bool:
        """Whether nothing can change it any more."""
        return self.is_equal and not self.is_hinted

    @property
    def texts(self) -> tuple[str, ...]:
        """The values that are no tombstones."""
        return tuple(dict.fromkeys(value.text for value in self.values if not value.deleted))


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectHistory:
    """One object.

    Attributes:
        operations: all requests for it, by index.
    """

    place: Place
    conflicts: Conflicts
    operations: tuple[Operation, ...]
    causality: Causality
    ending: Ending

    @property
    def writes(self) -> tuple[Operation, ...]:
        """Those that may have had an effect."""
        return tuple(w for w in self.causality.writes if w.outcome is not Outcome.FAIL)

    @property
    def acked(self) -> tuple[Operation, ...]:
        """Those that were acknowledged."""
        return tuple(w for w in self.writes if w.outcome is Outcome.OK)

    @property
    def deletes(self) -> tuple[int, ...]:
        """Indexes of the deletes that may have had an effect."""
        return tuple(w.index for w in self.writes if w.action is Action.DELETE)

    def writers_of(self, text: str) -> tuple[int, ...]:
        """Indexes of the writes that may have stored a text."""
        effective = {write.index for write in self.writes}
        return tuple(index for index in self.causality.writers_of(text) if index in effective)

    def operation(self, index: int) -> Operation:
        """The one of that index."""
        return next(operation for operation in self.operations if operation.index == index)


def histories(take: Take, conflicts: Conflicts) -> list[ObjectHistory]:
    """The objects of a take whose conflicts are dealt with in one way, by bucket and key.

    Raises:
        RecordingError: an operation has a mode that the take does not know.
    """
    modes = {mode.name: mode for mode in take.head.modes}
    placements = {(p.bucket, p.key): p for p in take.head.placements}
    states = states_by_place(take)
    found = []
    for place, operations in _by_place(take.operations):
        mode = _mode(modes, operations[0])
        if mode.conflicts is not conflicts:
            continue
        found.append(
            ObjectHistory(
                place=place,
                conflicts=conflicts,
                operations=operations,
                causality=Causality(operations),
                ending=ending(place, states.get(place, ()), placements.get(place), mode.n),
            )
        )
    return found


def states_by_place(take: Take) -> Mapping[Place, Sequence[ReplicaState]]:
    """What nodes held in the end, by object."""
    states: dict[Place, list[ReplicaState]] = defaultdict(list)
    for state in take.final:
        states[state.bucket, state.key].append(state)
    return states


def ending(
    place: Place, states: Sequence[ReplicaState], placement: Placement | None, n: int
) -> Ending:
    """How it ended for an object.

    Args:
        place: which.
        states: what nodes held of it.
        placement: its homes; None if that was not recorded.
        n: how many homes it has.
    """
    if placement is None:
        homes = [state for state in states if state.primary]
        absent = [f"{n - len(homes)} of {n} replicas"] if len(homes) < n else []
    else:
        homes = [state for state in states if state.node in placement.primaries]
        absent = sorted(set(placement.primaries) - {state.node for state in homes})
    values = dict.fromkeys(value for state in homes for value in state.values)
    return Ending(
        values=tuple(values),
        tombstones=max((_tombstones(state) for state in homes), default=0),
        missing=f"{at(place)} was not dumped by {', '.join(absent)}" if absent else "",
        is_equal=len({_tag(state) for state in homes}) <= 1,
        is_hinted=any(state.hinted_for for state in states),
    )


def _by_place(operations: Iterable[Operation]) -> list[tuple[Place, tuple[Operation, ...]]]:
    ordered = sorted(operations, key=lambda operation: (operation.place, operation.index))
    return [(place, tuple(of)) for place, of in groupby(ordered, key=attrgetter("place"))]


def _mode(modes: Mapping[str, Mode], operation: Operation) -> Mode:
    if operation.mode not in modes:
        raise RecordingError(
            f"operation {operation.index} was asked in a mode that its take does not have:"
            f" {operation.mode!r}"
        )
    return modes[operation.mode]


def _tombstones(state: ReplicaState) -> int:
    return sum(value.deleted for value in state.values)


def _tag(state: ReplicaState) -> str:
    is_live = any(not value.deleted for value in state.values)
    return state.digest or "" if is_live else ""
