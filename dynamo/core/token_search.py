"""The search for a newcomer's tokens: where on the ring they make the load most level.

A newcomer sets its tokens one by one, each where it makes the loads most even, then lifts each and
sets it anew until none moves. A load changes in proportion to the length of a cut, and unevenness
is a sum of squares, so the best cut of a span is the foot of a parabola: the time it takes depends
on the number of tokens, not of partitions. There are no dice, and sums are taken in the order of
the ring, so nodes that are equal but for their names are served alike.

Nodes go by number here, and the newcomer is the last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil, fsum
from typing import NamedTuple, TypeVar

from dynamo.core.ring import zones_apart

_ROUNDS = 8
_SWEEPS = 4
"""Rounds of a search, and how often each of them may move every token. Most stop far earlier."""

_LEVEL = 1.05
"""A load up to this much above its share is level, and so is one that is only rounded up."""

_HEIR_COST = 0.1
_HEIR_COST_FADES = 0.3
_OVERLOAD_COST_GROWS = 1.5
"""An heir takes over what a lost node owned: few heirs with much each are a cost as well. From
round to round it fades, and loads over their limits get dearer: level now comes before level later.

All these numbers are from trials with 2 to 105 nodes and 32 to 4096 partitions, with weights, zones
and losses. A cost of heirs that fades slower spreads losses better, and leaves loads less level.
"""

_Walk = tuple[int, ...]
_Loads = tuple[int, ...]
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a newcomer finds.

    Attributes:
        partitions: Q.
        n: for how many replicas the load is to be level.
        weights: of each node, the newcomer's last.
        zones: likewise.
        owners: who has each token; none is the newcomer's.
    """

    partitions: int
    n: int
    weights: Sequence[int]
    zones: Sequence[str]
    owners: Mapping[int, int]


class Outcome(NamedTuple):
    """What a search has come to.

    Attributes:
        overload: what loads have above what still is level, as parts of that, added up; 0 if
            every load is level.
        unevenness: of all loads.
        tokens: the newcomer's, in order.
    """

    overload: float
    unevenness: float
    tokens: tuple[int, ...]

    @staticmethod
    def best(outcomes: "Sequence[Outcome]") -> "Outcome":
        """The levelest, and the first of equals."""
        return min(outcomes, key=lambda outcome: outcome[:2])


def search(situation: Situation, count: int) -> Outcome:
    """The best way found to give the newcomer `count` tokens, or as many as there is room for."""
    return _Search(situation).run(count)


def fair_shares(weights: Sequence[int], partitions: int, copies: int) -> list[float]:
    """How many partitions each node should hold: by weight, but nobody holds one twice."""
    full: set[int] = set()
    while True:
        copies_left = copies - len(full)
        weight_left = sum(weight for i, weight in enumerate(weights) if i not in full)
        heavy = {i for i, weight in enumerate(weights) if weight * copies_left > weight_left}
        if heavy <= full:
            break
        full |= heavy
    scale = partitions * copies_left / weight_left if weight_left else 0.0
    return [float(partitions) if i in full else weight * scale for i, weight in enumerate(weights)]


class _Scale:
    """What every load should be, and what it costs if it is not.

    Loads are numbered: of S nodes, node i owns load i and holds, as one of n replicas, load S + i;
    load 2S + iS + j is what falls to j if i, who owns it, is lost.

    Attributes:
        wanted: partitions, for each load.
        costs: of the square of a difference from that, for each load.
    """

    def __init__(self, situation: Situation) -> None:
        size = len(situation.weights)
        copies = min(situation.n, size)
        weight_mean = sum(situation.weights) / size
        weights = [weight / weight_mean for weight in situation.weights]
        shares = [
            share
            for held in (1, copies)
            for share in fair_shares(situation.weights, situation.partitions, held)
        ]
        self.wanted = shares + [0.0] * size**2
        self._limits = [max(_LEVEL * share, ceil(share)) for share in shares]
        self._plain = [1 / w for w in weights] + [1 / (copies**2 * w) for w in weights]
        self._heirs = [_HEIR_COST * size / (a * b) for a in weights for b in weights]
        self.costs = self._plain + self._heirs

    def judge(self, loads: Sequence[float]) -> tuple[float, float]:
        """How much is above the limits, as parts of these, and how uneven all loads are."""
        limited = zip(loads, self._limits, strict=False)
        overload = fsum(load / limit - 1 for load, limit in limited if load > limit)
        weighed = zip(self._plain, loads, self.wanted, strict=False)
        return overload, fsum(cost * (load - wanted) ** 2 for cost, load, wanted in weighed)

    def sharpen(self, loads: Sequence[float]) -> None:
        """Make it dearer to be over a limit, and cheaper to have few heirs."""
        for i, limit in enumerate(self._limits):
            if loads[i] > limit:
                self.costs[i] *= _OVERLOAD_COST_GROWS
        for i in range(len(self._limits), len(self.costs)):
            self.costs[i] *= _HEIR_COST_FADES


@dataclass(frozen=True, slots=True, kw_only=True)
class _Circle:
    """A ring as a search sees it.

    Attributes:
        tokens: in order.
        owners: who has each token.
        spans: how many partitions each token owns.
        walks: the primaries of those partitions, in the order in which a walk meets them.
    """

    tokens: list[int]
    owners: list[int]
    spans: list[int]
    walks: list[_Walk]


class _Replicas:
    """Which loads the partitions of a walk count for, and how a newcomer's token changes that.

    The same few walks come up all the time, so every answer is kept for the length of a search.
    """

    def __init__(self, situation: Situation) -> None:
        self._n = situation.n
        self._size = len(situation.zones)
        self._zones = dict(enumerate(situation.zones))
        self.primaries = cache(self._primaries)
        self.loads = cache(self._loads)
        self.change = cache(self._change)

    def _primaries(self, walk: _Walk) -> _Walk:
        """Those of a walk who hold the partitions that it starts from, still in its order."""
        holders = set(zones_apart(walk, self._zones)[: self._n])
        return tuple(node for node in walk if node in holders)

    def _loads(self, walk: _Walk) -> _Loads:
        """The loads that a partition with these primaries adds to."""
        owner, size = walk[0], self._size
        heirs = (size * (2 + owner) + heir for heir in walk[1:2])
        return (owner, *(size + node for node in walk), *heirs)

    def _change(self, walk: _Walk, place: int) -> tuple[_Loads, _Loads] | None:
        """What changes if the walk meets the newcomer after the first `place` of the others.

        Returns:
            The loads that lose and those that win the partition; None if it becomes no primary.
        """
        newcomer = self._size - 1
        others = [node for node in walk if node != newcomer]
        after = self.primaries((*others[:place], newcomer, *others[place:]))
        if newcomer not in after:
            return None
        old, new = self.loads(walk), self.loads(after)
        lost = tuple(load for load in old if load not in new)
        return lost, tuple(load for load in new if load not in old)


class _Search:
    """One search, and the tokens it has set so far."""

    def __init__(self, situation: Situation) -> None:
        self._situation = situation
        self._newcomer = len(situation.weights) - 1
        self._owners = dict(situation.owners)
        self._mine: set[int] = set()
        self._scale = _Scale(situation)
        self._replicas = _Replicas(situation)

    def run(self, count: int) -> Outcome:
        for _ in range(count):
            self._set_token()
        outcomes = []
        for _ in range(_ROUNDS):
            self._settle()
            loads = self._loads(self._circle())
            outcomes.append(Outcome(*self._scale.judge(loads), tuple(sorted(self._mine))))
            if not outcomes[-1].overload:
                break
            self._scale.sharpen(loads)
        return Outcome.best(outcomes)

    def _settle(self) -> None:
        for _ in range(_SWEEPS):
            before = set(self._mine)
            for token in sorted(before):
                self._mine.remove(token)
                del self._owners[token]
                self._set_token()
            if self._mine == before:
                return

    def _set_token(self) -> None:
        circle = self._circle()
        token = self._best_token(circle)
        if token is not None:
            self._mine.add(token)
            self._owners[token] = self._newcomer

    def _circle(self) -> _Circle:
        partitions = self._situation.partitions
        tokens = sorted(self._owners)
        owners = [self._owners[token] for token in tokens]
        return _Circle(
            tokens=tokens,
            owners=owners,
            spans=[
                (token - before) % partitions or partitions
                for before, token in zip([tokens[-1], *tokens], tokens, strict=False)
            ],
            walks=self._walks(owners),
        )

    def _walks(self, owners: Sequence[int]) -> list[_Walk]:
        """The primaries of each token, found backwards: a walk is the one after it and its owner.

        Only the n nearest nodes of each of the n nearest zones can be among them.
        """
        n = self._situation.n
        zone_of = self._situation.zones
        zones: list[str] = []
        near: dict[str, list[int]] = {zone: [] for zone in zone_of}
        met_at: dict[int, int] = {}
        walks: list[_Walk] = []
        beyond_the_end = [*reversed(dict.fromkeys(owners))]
        backwards = [*beyond_the_end, *reversed(owners)]
        for step, owner in enumerate(backwards):
            met_at[owner] = -step
            _move_to_front(zones, zone_of[owner])
            _move_to_front(near[zone_of[owner]], owner)
            if step >= len(beyond_the_end):
                nearest = [node for zone in zones[:n] for node in near[zone][:n]]
                nearest.sort(key=met_at.__getitem__)
                walks.append(self._replicas.primaries(tuple(nearest)))
        walks.reverse()
        return walks

    def _loads(self, circle: _Circle) -> list[float]:
        loads = [0.0] * len(self._scale.wanted)
        for span, walk in zip(circle.spans, circle.walks, strict=True):
            for load in self._replicas.loads(walk):
                loads[load] += span
        return loads

    def _best_token(self, circle: _Circle) -> int | None:
        """Where one more token makes the loads most even; None if no span can be cut."""
        costs = self._scale.costs
        loads = self._loads(circle)
        off = [load - wanted for load, wanted in zip(loads, self._scale.wanted, strict=True)]
        best_cost, best = 0.0, None
        for i, span in enumerate(circle.spans):
            if span == 1 or circle.owners[i] == self._newcomer:
                continue
            behind = self._change_behind(circle, i)
            # What a cut of `length` costs: constant + slope * length + bend * length**2.
            constant = slope = bend = 0.0
            for load, moved in behind.items():
                constant += costs[load] * moved * (moved + 2 * off[load])
            change = self._replicas.change(circle.walks[i], 0)
            assert change is not None, "who owns a partition holds it"
            for loads_moved, sign in zip(change, (-1, 1), strict=True):
                for load in loads_moved:
                    cost = costs[load]
                    slope += 2 * sign * cost * (off[load] + behind.get(load, 0))
                    bend += cost
            length = max(1, min(span - 1, round(-slope / (2 * bend))))
            total = constant + length * (slope + length * bend)
            if best is None or total < best_cost:
                best_cost, best = total, circle.tokens[i] - span + length
        return None if best is None else best % self._situation.partitions

    def _change_behind(self, circle: _Circle, cut: int) -> dict[int, int]:
        """What a token set in span `cut` changes for the spans before it, by load.

        A walk from there meets the newcomer earlier than before. What remains of the cut span lies
        a whole lap behind and is left out: it counts only while a few tokens make up the ring.
        """
        moved: dict[int, int] = {}
        passed: set[int] = set()
        for i in range(cut - 1, cut - len(circle.owners), -1):
            if circle.owners[i] == self._newcomer:
                break
            passed.add(circle.owners[i])
            walk = circle.walks[i]
            change = self._replicas.change(walk, len(passed.intersection(walk)))
            if change is None:
                break
            span = circle.spans[i]
            for load in change[0]:
                moved[load] = moved.get(load, 0) - span
            for load in change[1]:
                moved[load] = moved.get(load, 0) + span
        return moved


def _move_to_front(items: list[_Item], item: _Item) -> None:
    if items and items[0] == item:
        return
    if item in items:
        items.remove(item)
    items.insert(0, item)
