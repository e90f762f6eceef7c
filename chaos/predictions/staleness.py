"""How often a read shows the last write: probabilistically bounded staleness.

After Bailis, Venkataraman, Franklin, Hellerstein and Stoica, "Probabilistically Bounded Staleness
for Practical Partial Quorums" (VLDB 2012). Closed forms for quorums drawn at random, and for the
time since the acknowledgement a Monte Carlo simulation of their WARS model, from measured delays:

    W  until a write can be read at a replica         R  until a read has come to a replica
    A  from there until the coordinator has its ack   S  from there until the answer is back

A read t after the acknowledgement is consistent if one of those that answer it in time had the
write when the read came by. What this store does otherwise than the model:

* A replica shows and acknowledges what is durable there: W includes the commit, A does not.
* A read asks all replicas, one of them for the object and the others for its clock: the node itself
  if it is one, else the first of the preference list. When R have answered and the object is not
  there yet it waits for it, up to 20 ms, then fetches it from who answered first; and all that
  answer meanwhile count as well. So more reads are consistent than the model says, unless there is
  no object yet: of a key's first write, R answers of "nothing" are enough. `Reading.object_from`
  tells of that; without, it is plain WARS.
* Who coordinates a write acknowledges to its client, and who was asked may not be who coordinates.
  Their way adds to the time since the quorum was met: `Writing.answer_s`, `Reading.asking_s`.

Not in it: reads that came before and repaired a replica; delays that depend on each other, like
those of a busy machine, or of a connection on which nothing overtakes what was sent before. Delays
must be measured under the load for which staleness is predicted; what a link was told to add is
less than what a message in a queue behind others waits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import comb, sqrt
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]
"""Samples of one delay."""

NO_TIME: Final[Seconds] = np.zeros(1)
"""What takes place inside one node."""

PATIENCE_S: Final = 0.02
"""How long the store's read waits for the object when its quorum has answered."""


# ---- closed forms


def chance_of_missing(n: int, r: int, w: int) -> float:
    """That R replicas drawn at random are none of the W that have the last write."""
    return comb(n - w, r) / comb(n, r)


def chance_of_missing_versions(n: int, r: int, w: int, versions: int) -> float:
    """That they miss each of the last so many writes, if every write has drawn its W anew."""
    return chance_of_missing(n, r, w) ** versions


# ---- time


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Writing:
    """How a write travels.

    Attributes:
        there_s: W, of each replica.
        back_s: A, of each replica.
        w: acknowledgements that are needed.
        answer_s: from the quorum until the client has its answer.
    """

    there_s: Sequence[Seconds]
    back_s: Sequence[Seconds]
    w: int
    answer_s: Seconds = field(default_factory=lambda: NO_TIME)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """How a read travels; replicas in the same order as in the write.

    Attributes:
        there_s: R, of each replica.
        back_s: S, of each replica.
        r: answers that are needed.
        asking_s: from when the client asks until the coordinator does.
        object_from: number of the replica that is asked for the object; None: plain WARS.
        patience_s: how long it is waited for.
    """

    there_s: Sequence[Seconds]
    back_s: Sequence[Seconds]
    r: int
    asking_s: Seconds = field(default_factory=lambda: NO_TIME)
    object_from: int | None = None
    patience_s: float = PATIENCE_S


class Visibility:
    """How the chance of a consistent read rises with the time since the acknowledgement.

    Attributes:
        trials: how many were made.
    """

    def __init__(self, visible_after_s: Seconds) -> None:
        """Made by `visibility` and `pooled`.

        Args:
            visible_after_s: of each trial, how long after the acknowledgement a read had to be sent
                at the earliest to be consistent.
        """
        self._visible_after_s = np.sort(visible_after_s)

    @property
    def trials(self) -> int:
        return len(self._visible_after_s)

    @property
    def visible_after_s(self) -> Seconds:
        """Of each trial, ascending; below 0 where any read would have been consistent."""
        return self._visible_after_s

    def chance(self, after_s: float) -> float:
        """That a read so long after the acknowledgement is consistent, 0 to 1."""
        return int(np.searchsorted(self._visible_after_s, after_s, side="right")) / self.trials

    def mean_chance(self, after_s: Sequence[float]) -> float:
        """The same for reads at several times, together; for reads as they were really sent."""
        seen = np.searchsorted(self._visible_after_s, np.asarray(after_s), side="right")
        return float(seen.mean()) / self.trials

    def standard_error(self, after_s: float) -> float:
        """How far `chance` is off, typically, for the trials being so few."""
        chance = self.chance(after_s)
        return sqrt(chance * (1 - chance) / self.trials)


def visibility(
    writing: Writing, reading: Reading, dice: np.random.Generator, *, trials: int = 20_000
) -> Visibility:
    """Write and read so many times, with delays drawn from the samples.

    Args:
        writing: how the write travels.
        reading: how the read travels, maybe from another coordinator.
        dice: seeded by the caller.
        trials: 20,000 are within 0.4 points.
    """
    there_s = _drawn(writing.there_s, dice, trials)
    acknowledged_s = np.sort(there_s + _drawn(writing.back_s, dice, trials), axis=0)
    head_start_s = (
        acknowledged_s[writing.w - 1]
        + _drawn([writing.answer_s], dice, trials)[0]
        + _drawn([reading.asking_s], dice, trials)[0]
    )
    came_s = _drawn(reading.there_s, dice, trials)
    back_s = came_s + _drawn(reading.back_s, dice, trials)
    until_s = np.sort(back_s, axis=0)[reading.r - 1]
    visible_s = there_s - head_start_s  # on a replica, after the coordinator of the read has begun
    if reading.object_from is None:
        return Visibility(_earliest(visible_s - came_s, back_s <= until_s))
    object_s = back_s[reading.object_from]
    patient_s = until_s + reading.patience_s
    fetch = _fetch(reading, back_s.argmin(axis=0), patient_s, dice)
    # Where it is fetched, the object itself may come first all the same.
    is_fetched = (object_s > patient_s) & (fetch.back_s <= object_s)
    until_s = np.where(is_fetched, fetch.back_s, np.maximum(until_s, object_s))
    needed_s = _earliest(visible_s - came_s, back_s <= until_s)
    fetched_s = _earliest(visible_s - fetch.came_s, fetch.is_from & is_fetched)
    return Visibility(np.minimum(needed_s, fetched_s))


def pooled(parts: Sequence[Visibility]) -> Visibility:
    """Objects and coordinators that are equally likely, together; of each as many trials."""
    return Visibility(np.concatenate([part.visible_after_s for part in parts]))


def _drawn(samples: Sequence[Seconds], dice: np.random.Generator, trials: int) -> Seconds:
    """A row for each replica, a column for each trial."""
    return np.stack([dice.choice(own, trials) for own in samples])


def _earliest(needed_s: Seconds, answers: NDArray[np.bool_]) -> Seconds:
    """When the first replica that answers has the write."""
    earliest_s: Seconds = np.where(answers, needed_s, np.inf).min(axis=0)
    return earliest_s


class _Fetch(NamedTuple):
    """How the object is fetched when it did not come by itself, in each trial.

    Attributes:
        is_from: by replica, whether it is fetched there.
        came_s: when the request comes there.
        back_s: when the object is back.
    """

    is_from: NDArray[np.bool_]
    came_s: Seconds
    back_s: Seconds


def _fetch(
    reading: Reading, first: NDArray[np.intp], begun_s: Seconds, dice: np.random.Generator
) -> _Fetch:
    """From who answered first."""
    came_s = begun_s + _drawn(reading.there_s, dice, len(first))
    back_s = came_s + _drawn(reading.back_s, dice, len(first))
    is_from = np.arange(len(reading.there_s))[:, np.newaxis] == first
    return _Fetch(is_from, came_s, np.where(is_from, back_s, 0.0).sum(axis=0))


# ---- from links to legs


def legs(
    delays_s: Mapping[tuple[str, str], Seconds], coordinator: str, replicas: Sequence[str]
) -> tuple[tuple[Seconds, ...], tuple[Seconds, ...]]:
    """The ways to each replica and back, from the delays of directed links.

    Args:
        delays_s: samples by source and target. What is not measured, and what stays inside a node,
            takes no time.
        coordinator: where requests come from.
        replicas: in the order of the result.
    """
    return (
        tuple(_link(delays_s, coordinator, node) for node in replicas),
        tuple(_link(delays_s, node, coordinator) for node in replicas),
    )


def _link(delays_s: Mapping[tuple[str, str], Seconds], source: str, target: str) -> Seconds:
    return delays_s.get((source, target), NO_TIME)
