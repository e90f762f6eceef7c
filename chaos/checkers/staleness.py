"""Staleness: how many reads missed what was acknowledged before they began, by how much, how long.

A read is stale if it missed (`missed`) a write that had been acknowledged before the read was sent.
k is how many it missed, t how long before the read the oldest of them was acknowledged (Bailis et
al., "Probabilistically Bounded Staleness for Practical Partial Quorums", 2012, count the same).

Seen from the write's side (as Jepsen's set-full has it): how long after its acknowledgement was the
last read that still missed it?
"""

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from chaos.checkers.missed import acknowledged, by_object, is_read, replaced
from chaos.judgement import Figure
from chaos.modes import Mode
from chaos.recording import Action, Operation, Take


class Sight(NamedTuple):
    """One read, held against what was acknowledged before it.

    Attributes:
        operation: its index.
        at_s: when it was sent.
        newest: index of the write that was acknowledged last before; None if none was.
        since_newest_s: how long before; 0 if none was.
        missed: indexes of the acknowledged writes it missed, by acknowledgement.
        behind_s: how long before the oldest of these was acknowledged; 0 if it missed none.
    """

    operation: int
    mode: str
    side: str
    at_s: float
    newest: int | None
    since_newest_s: float
    missed: tuple[int, ...]
    behind_s: float

    @property
    def is_stale(self) -> bool:
        return bool(self.missed)

    @property
    def shows_newest(self) -> bool:
        """Whether it shows the newest acknowledged write, or what replaced it."""
        return self.newest is not None and self.newest not in self.missed


def sights(operations: Iterable[Operation], modes: Sequence[Mode]) -> tuple[Sight, ...]:
    """All successful reads, in the order in which they were sent.

    Args:
        operations: of any objects.
        modes: those of the take; they say which objects keep siblings.
    """
    found: list[Sight] = []
    for own in by_object(operations).values():
        found += _sights_of_one(own, modes)
    return tuple(sorted(found, key=lambda sight: sight.operation))


def _sights_of_one(operations: Sequence[Operation], modes: Sequence[Mode]) -> list[Sight]:
    rule = replaced(operations, modes)
    writes = acknowledged(operations)
    acknowledged_s = [write.returned_s for write in writes]
    return [
        _sight(read, before, rule.missed(read, before))
        for read in filter(is_read, operations)
        for before in [writes[: bisect_left(acknowledged_s, read.invoked_s)]]
    ]


def _sight(read: Operation, before: Sequence[Operation], missed: Sequence[Operation]) -> Sight:
    return Sight(
        operation=read.index,
        mode=read.mode,
        side=read.side,
        at_s=read.invoked_s,
        newest=before[-1].index if before else None,
        since_newest_s=read.invoked_s - before[-1].returned_s if before else 0.0,
        missed=tuple(write.index for write in missed),
        behind_s=read.invoked_s - missed[0].returned_s if missed else 0.0,
    )


def within(seen: Iterable[Sight], from_s: float, until_s: float = math.inf) -> tuple[Sight, ...]:
    """The reads that were sent in a window of time."""
    return tuple(sight for sight in seen if from_s <= sight.at_s < until_s)


# ---- how many, by how much, how long


class Spread(NamedTuple):
    """How numbers lie; 0 everywhere if there are none."""

    least: float
    median: float
    p95: float
    p99: float
    most: float


def spread(numbers: Iterable[float]) -> Spread:
    """Quantiles, each of them one of the numbers (the nearest rank)."""
    ordered = sorted(numbers) or [0.0]
    return Spread(*(ordered[_rank(share, len(ordered))] for share in (0.0, 0.5, 0.95, 0.99, 1.0)))


def _rank(share: float, count: int) -> int:
    return max(math.ceil(share * count) - 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Staleness:
    """Some reads together.

    Attributes:
        reads: how many there were.
        stale: how many of them missed something.
        versions: k, of the stale ones.
        behind_s: t, of the stale ones.
    """

    reads: int
    stale: int
    versions: Spread
    behind_s: Spread

    @property
    def percent(self) -> float:
        """How many percent of the reads were stale; 0 if there were none."""
        return 100 * self.stale / self.reads if self.reads else 0.0


def staleness(seen: Iterable[Sight]) -> Staleness:
    """Sum up."""
    looked = tuple(seen)
    stale = [sight for sight in looked if sight.is_stale]
    return Staleness(
        reads=len(looked),
        stale=len(stale),
        versions=spread(len(sight.missed) for sight in stale),
        behind_s=spread(sight.behind_s for sight in stale),
    )


def by_mode_and_side(seen: Iterable[Sight]) -> dict[tuple[str, str], Staleness]:
    """Sum up for each mode and side that asked, in their order by name."""
    groups: dict[tuple[str, str], list[Sight]] = defaultdict(list)
    for sight in seen:
        groups[sight.mode, sight.side].append(sight)
    return {group: staleness(groups[group]) for group in sorted(groups)}


def by_mode(seen: Iterable[Sight]) -> dict[str, Staleness]:
    """Sum up for each mode, in their order by name."""
    groups: dict[str, list[Sight]] = defaultdict(list)
    for sight in seen:
        groups[sight.mode].append(sight)
    return {mode: staleness(groups[mode]) for mode in sorted(groups)}


def figures(take: Take) -> tuple[Figure, ...]:
    """For each mode, how many percent of a take's reads were stale."""
    return tuple(
        Figure(label=f"stale reads, {mode}", measured=found.percent, unit="%", take=take.name)
        for mode, found in by_mode(sights(take.operations, take.head.modes)).items()
    )


# ---- by the time since the acknowledgement


class Freshness(NamedTuple):
    """Reads about equally long after an acknowledgement.

    Attributes:
        after_s: how long, each read's; for a prediction of exactly these.
        fresh: how many of them showed the newest acknowledged write.
    """

    after_s: tuple[float, ...]
    fresh: int

    @property
    def percent(self) -> float:
        """How many percent showed it; 0 if there were no reads."""
        return 100 * self.fresh / len(self.after_s) if self.after_s else 0.0


def freshness(seen: Iterable[Sight], edges_s: Sequence[float]) -> tuple[Freshness, ...]:
    """How often the newest write was shown, by the time since it was acknowledged.

    Meant for objects with one writer, where the newest write is the one to see.

    Args:
        seen: reads.
        edges_s: ascending; there is a result for each two neighbours, of the reads from the one on
            and before the other. Reads outside are not counted.
    """
    heaps: list[list[Sight]] = [[] for _ in edges_s[1:]]
    for sight in seen:
        heap = bisect_right(edges_s, sight.since_newest_s) - 1
        if sight.newest is not None and 0 <= heap < len(heaps):
            heaps[heap].append(sight)
    return tuple(
        Freshness(
            after_s=tuple(sight.since_newest_s for sight in heap),
            fresh=sum(sight.shows_newest for sight in heap),
        )
        for heap in heaps
    )


# ---- from the writes' side


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling:
    """What became visible of the acknowledged PUTs, and when.

    Attributes:
        settled_after_s: of those that every later read showed, or what replaced them: from the
            acknowledgement until the last read that did not was sent; 0 if all did.
        still_missed: indexes of those that the last read missed.
        never_read: how many nobody read after they were acknowledged.
    """

    settled_after_s: tuple[float, ...]
    still_missed: tuple[int, ...]
    never_read: int

    @property
    def spread_s(self) -> Spread:
        """Quantiles of the time it took."""
        return spread(self.settled_after_s)


def settling(operations: Iterable[Operation], seen: Iterable[Sight]) -> Settling:
    """How long acknowledged PUTs took to be seen by everybody.

    Args:
        operations: of any objects.
        seen: their `sights`.
    """
    read_s, missed_s = _last_reads(operations := tuple(operations), tuple(seen))
    settled_after_s: list[float] = []
    still_missed: list[int] = []
    never_read = 0
    for write in acknowledged(operations):
        if write.action is not Action.PUT:
            continue
        last_s = read_s.get(write.place, -math.inf)
        last_missed_s = missed_s.get(write.index, write.returned_s)
        if last_s <= write.returned_s:
            never_read += 1
        elif write.index in missed_s and last_missed_s >= last_s:
            still_missed.append(write.index)
        else:
            settled_after_s.append(last_missed_s - write.returned_s)
    return Settling(
        settled_after_s=tuple(settled_after_s),
        still_missed=tuple(still_missed),
        never_read=never_read,
    )


def _last_reads(
    operations: Sequence[Operation], seen: Sequence[Sight]
) -> tuple[dict[tuple[str, str], float], dict[int, float]]:
    """When each object was read last, and when each write was missed last."""
    places = {operation.index: operation.place for operation in operations}
    read_s: dict[tuple[str, str], float] = {}
    missed_s: dict[int, float] = {}
    for sight in sorted(seen, key=lambda sight: sight.at_s):
        read_s[places[sight.operation]] = sight.at_s
        missed_s.update(dict.fromkeys(sight.missed, sight.at_s))
    return read_s, missed_s
