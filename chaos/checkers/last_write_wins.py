"""Last write wins: what it costs is counted, and what it still promises must hold.

Of concurrent writes one stays and the others are dropped, acknowledged or not: *lost updates*. That
is the bargain, so it is a figure and no failure. What must hold all the same: readers are shown one
value and no more, it is one that somebody wrote, an object that was written is not empty, and
nothing acknowledged that any node still holds is later, by the stamps of the nodes' clocks.

Replicas may hold several values until the next write, and show the latest of them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from chaos.checkers.objects import ObjectHistory, Place, histories, states_by_place
from chaos.checkers.telling import Breach, at, counted, ruled, told
from chaos.judgement import RuleOutcome
from chaos.modes import Conflicts
from chaos.recording import Action, HeldValue, Outcome, Take

RULE: Final = "the last write wins, and is a write"


@dataclass(frozen=True, slots=True, kw_only=True)
class LostUpdates:
    """Acknowledged writes that were dropped unseen.

    Attributes:
        acked: how many were acknowledged, to all objects.
        lost: how many of these are neither what is left nor known to whoever wrote that.
        by_mode: acked and lost, by the name of the mode.
        by_place: indexes of those lost, for each object that lost any.
    """

    acked: int
    lost: int
    by_mode: Mapping[str, tuple[int, int]]
    by_place: Mapping[Place, tuple[int, ...]]

    @property
    def share(self) -> float:
        """Percent of the acknowledged writes."""
        return 100 * self.lost / self.acked if self.acked else 0.0


def lost_updates(take: Take) -> LostUpdates:
    """Count them. Objects whose end is not known are left out."""
    by_mode: dict[str, tuple[int, int]] = {}
    by_place: dict[Place, tuple[int, ...]] = {}
    for one in histories(take, Conflicts.LWW):
        if one.ending.missing:
            continue
        lost = frozenset(_lost(one))
        for write in one.acked:
            acked_so_far, lost_so_far = by_mode.get(write.mode, (0, 0))
            by_mode[write.mode] = (acked_so_far + 1, lost_so_far + (write.index in lost))
        if lost:
            by_place[one.place] = tuple(sorted(lost))
    return LostUpdates(
        acked=sum(acked for acked, _ in by_mode.values()),
        lost=sum(lost for _, lost in by_mode.values()),
        by_mode=by_mode,
        by_place=by_place,
    )


def check(take: Take) -> RuleOutcome:
    """Hold the objects of buckets without siblings to what they promise."""
    objects = histories(take, Conflicts.LWW)
    updates = lost_updates(take)
    stamps = _stamps(take)
    return ruled(
        RULE,
        take,
        kept=f"{counted(len(objects), 'object')} ended with one value that somebody wrote, the"
        f" latest; {updates.lost} of {counted(updates.acked, 'acknowledged write')} were lost to"
        " it unseen, as was to be expected",
        broken="breaches of what even this promises",
        breaches=[b for one in objects for b in _breaches(one, stamps.get(one.place, {}))],
        unknown=[one.ending.missing for one in objects if one.ending.missing],
    )


def _latest(one: ObjectHistory) -> tuple[HeldValue, ...]:
    """What readers are shown; several only if their stamps are equal, and one of them is meant."""
    values = one.ending.values
    latest_ms = max((value.modified_at_ms for value in values), default=0)
    return tuple(value for value in values if value.modified_at_ms == latest_ms)


def _lost(one: ObjectHistory) -> Iterator[int]:
    latest = _latest(one)
    left = {i for value in latest if not value.deleted for i in one.writers_of(value.text)}
    if not latest or any(value.deleted for value in latest):
        # Nothing is left: it may be the work of any delete.
        left |= set(one.deletes)
    known = one.causality.possibly_below(left)
    return (write.index for write in one.acked if write.index not in left | known)


def _breaches(one: ObjectHistory, stamps: Mapping[int, int]) -> Iterator[Breach]:
    for operation in one.operations:
        if operation.outcome is Outcome.OK and len(operation.shown or ()) > 1:
            said = (
                f"{told(operation)} of {at(one.place)} showed {len(operation.shown or ())} values"
            )
            yield Breach(said, (operation.index,))
    latest = _latest(one)
    puts = [write for write in one.acked if write.action is Action.PUT]
    if not latest and puts and not one.deletes and not one.ending.missing:
        yield Breach(f"nothing is left of {at(one.place)}, which nobody deleted", (puts[-1].index,))
    for value in latest:
        if not value.deleted and not one.writers_of(value.text):
            yield Breach(
                f"{at(one.place)} ended as {value.text[:60]!r}, which nobody is known to have"
                " written",
                one.causality.writers_of(value.text),
            )
    latest_ms = latest[0].modified_at_ms if latest else 0
    for write in one.acked:
        if stamps.get(write.index, 0) > latest_ms and not one.ending.missing:
            yield Breach(
                f"{told(write)} to {at(one.place)} is on a disk and"
                f" {stamps[write.index] - latest_ms} ms later than what is left",
                (write.index,),
            )


def _stamps(take: Take) -> Mapping[Place, Mapping[int, int]]:
    """The times of writes that any node still holds, by object and index."""
    states = states_by_place(take)
    stamps: dict[Place, dict[int, int]] = {}
    for one in histories(take, Conflicts.LWW):
        of_object = stamps.setdefault(one.place, {})
        for state in states.get(one.place, ()):
            for value in state.values:
                writers = () if value.deleted else one.writers_of(value.text)
                if len(writers) == 1:
                    of_object[writers[0]] = value.modified_at_ms
    return stamps
