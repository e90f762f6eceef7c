"""Which tokens a joining node takes, so that the load gets level and nobody else's tokens move.

Dynamo's strategy 3 (6.2) gives each of S nodes Q/S tokens and deals tokens anew when S changes.
Here a token stays for as long as its node is a member, and a newcomer cuts spans short instead: a
token set inside a span takes the part of it that lies counter-clockwise.

    owner    A A A A A A|B B B|      the spans of two tokens
    owner    A A A A A A|C C|B|      C has taken two partitions from B, and moved nothing else

Where to cut is a search by fixed rules, with no dice, so every node works out the same answer. A
newcomer sets its tokens one by one, each where it makes the loads most even, then lifts each and
sets it anew until none moves. A load changes in proportion to the length of a cut, and unevenness
is a sum of squares, so the best cut of a span is the foot of a parabola: the time it takes depends
on the number of tokens, not of partitions.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil, fsum
from typing import TypeVar

from dynamo.core.ids import NodeId
from dynamo.core.ring import RingMember, check_partitions, token_owners, zones_apart
from dynamo.errors import ConfigError

TOKENS_PER_NODE = 7
"""For a node of average weight; up to two more where that is more level.

More tokens spread the load of a lost node wider, but each owns at least its own partition, so all
of them must stay well below Q: Q=256 stays level to 30 nodes, Q=1024 to 100. The number is odd
because spans that halve evenly make patterns which hold back the level of three replicas.
"""

_MORE_TOKENS = (0, 1, 2)
_NODES_MIN = 8
"""A ring too small for this many nodes of `TOKENS_PER_NODE` gives each of them fewer."""

_ROUNDS = 6
_SWEEPS = 4
"""Rounds of a search, and how often each of them may move every token. Most stop far earlier."""

_LEVEL = 1.05
"""A load up to this much above its share is level, and so is one that is only rounded up."""

_HEIR_COST = 0.1
_HEIR_COST_FADES = 0.3
_OVERLOAD_COST_GROWS = 2.0
"""From round to round: a level load now comes before a level load after a loss."""

_Tokens = frozenset[int]
_Walk = tuple[int, ...]
_Loads = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Joiner:
    """A node that has no tokens yet; its fields mean what `RingMember`'s do."""

    node_id: NodeId
    weight: int = 1
    zone: str = ""


def choose_tokens(
    existing: Iterable[RingMember], joiners: Iterable[Joiner], partitions: int, n: int = 3
) -> dict[NodeId, tuple[int, ...]]:
    """The tokens that each joiner should take, given those that are taken.

    Joiners are served by node id, each seeing the choice of those before it, so nodes that start
    at the same moment work out one answer.

    Args:
        n: for how many replicas the load is made level.

    Raises:
        ConfigError: the ring has no partition left that a joiner could take.
    """
    check_partitions(partitions)
    line = sorted(joiners, key=lambda joiner: joiner.node_id)
    members = sorted(existing, key=lambda member: member.node_id)
    owners = token_owners(members, partitions)
    holding = set(owners.values())
    nodes: list[RingMember | Joiner] = [m for m in members if m.node_id in holding]
    number = {node.node_id: i for i, node in enumerate(nodes)}
    taken = {token: number[owner] for token, owner in owners.items()}
    everyone = [*nodes, *line]
    weight_mean = sum(node.weight for node in everyone) / len(everyone)
    chosen = {}
    for joiner in line:
        nodes.append(joiner)
        tokens = _levelest(nodes, taken, partitions, n, joiner.weight / weight_mean)
        if not tokens:
            raise ConfigError(
                f"partitions is {partitions}: {len(taken)} of them are tokens of"
                f" {len(nodes) - 1} nodes, and there is no room for {joiner.node_id}"
            )
        taken.update(dict.fromkeys(tokens, len(nodes) - 1))
        chosen[joiner.node_id] = tuple(sorted(tokens))
    return chosen


def _levelest(
    nodes: Sequence[RingMember | Joiner],
    taken: Mapping[int, int],
    partitions: int,
    n: int,
    relative_weight: float,
) -> _Tokens:
    """The tokens of the last of `nodes`: the first of a few searches whose outcome is level."""
    base = min(TOKENS_PER_NODE, partitions // _NODES_MIN)
    most = min((partitions - len(taken)) // 2, int(_fair_shares(nodes, partitions, 1)[-1]))
    counts = [max(1, min(round((base + more) * relative_weight), most)) for more in _MORE_TOKENS]
    if not taken:
        return frozenset(partitions * (i + 1) // counts[0] - 1 for i in range(counts[0]))
    best: tuple[tuple[float, float], _Tokens] | None = None
    for count in dict.fromkeys(counts):
        found = _Search(nodes, taken, partitions, n).run(count)
        if best is None or found[0] < best[0]:
            best = found
        if best[0][0] <= 1:
            break
    assert best is not None
    return best[1]


def _fair_shares(nodes: Sequence[RingMember | Joiner], partitions: int, copies: int) -> list[float]:
    """How many partitions each node should hold: by weight, but nobody holds one twice."""
    full: set[int] = set()
    while True:
        copies_left = copies - len(full)
        weight_left = sum(node.weight for i, node in enumerate(nodes) if i not in full)
        heavy = {i for i, node in enumerate(nodes) if node.weight * copies_left > weight_left}
        if heavy <= full:
            break
        full |= heavy
    per_weight = partitions * copies_left / weight_left if weight_left else 0.0
    return [
        float(partitions) if i in full else node.weight * per_weight for i, node in enumerate(nodes)
    ]


class _Scale:
    """What every load should be, and what it costs if it is not.

    Loads are numbered: of S nodes, node i owns load i and holds, as one of n replicas, load S + i;
    load 2S + iS + j is what falls to j if i, who owns it, is lost.

    Attributes:
        wanted: partitions, for each load.
        costs: of the square of a difference from that, for each load.
    """

    def __init__(self, nodes: Sequence[RingMember | Joiner], partitions: int, n: int) -> None:
        size = len(nodes)
        copies = min(n, size)
        weight_mean = sum(node.weight for node in nodes) / size
        weights = [node.weight / weight_mean for node in nodes]
        shares = _fair_shares(nodes, partitions, 1) + _fair_shares(nodes, partitions, copies)
        self.wanted = shares + [0.0] * size**2
        self._limits = [max(_LEVEL * share, ceil(share)) for share in shares]
        self._plain = [1 / w for w in weights] + [1 / (copies**2 * w) for w in weights]
        self._heirs = [_HEIR_COST * size / (a * b) for a in weights for b in weights]
        self.costs = self._plain + self._heirs

    def judge(self, loads: Sequence[float]) -> tuple[float, float]:
        """How far the worst load is above its limit (1: not at all), and how uneven all are."""
        worst = max(load / limit for load, limit in zip(loads, self._limits, strict=False))
        pairs = zip(self._plain, loads, self.wanted, strict=False)
        return worst, fsum(cost * (load - wanted) ** 2 for cost, load, wanted in pairs)

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

    def __init__(self, nodes: Sequence[RingMember | Joiner], n: int) -> None:
        self.zones = [node.zone for node in nodes]
        self._by_node = dict(enumerate(self.zones))
        self._n = n
        self._newcomer = len(nodes) - 1
        self.primaries = cache(self._primaries)
        self.loads = cache(self._loads)
        self.change = cache(self._change)

    def _primaries(self, walk: _Walk) -> _Walk:
        """Those of a walk who hold the partitions that it starts from, still in its order."""
        holders = set(zones_apart(walk, self._by_node)[: self._n])
        return tuple(node for node in walk if node in holders)

    def _loads(self, walk: _Walk) -> _Loads:
        """The loads that a partition with these primaries adds to."""
        size = len(self.zones)
        owner, heir = walk[0], walk[1:2]
        return (owner, *(size + node for node in walk), *(size * (2 + owner) + i for i in heir))

    def _change(self, walk: _Walk, place: int) -> tuple[_Loads, _Loads] | None:
        """What changes if the walk meets the newcomer after the first `place` of the others.

        Returns:
            The loads that lose and those that win the partition; None if it becomes no primary.
        """
        others = [node for node in walk if node != self._newcomer]
        after = self.primaries((*others[:place], self._newcomer, *others[place:]))
        if self._newcomer not in after:
            return None
        old, new = self.loads(walk), self.loads(after)
        lost = tuple(load for load in old if load not in new)
        return lost, tuple(load for load in new if load not in old)


class _Search:
    """The search for the tokens of the last of `nodes`."""

    def __init__(
        self,
        nodes: Sequence[RingMember | Joiner],
        taken: Mapping[int, int],
        partitions: int,
        n: int,
    ) -> None:
        self._partitions = partitions
        self._n = n
        self._newcomer = len(nodes) - 1
        self._owners = dict(taken)
        self._mine: set[int] = set()
        self._scale = _Scale(nodes, partitions, n)
        self._replicas = _Replicas(nodes, n)

    def run(self, count: int) -> tuple[tuple[float, float], _Tokens]:
        """The best tokens found, after how level they are."""
        for _ in range(count):
            self._set_token()
        outcomes = []
        for _ in range(_ROUNDS):
            self._settle()
            loads = self._loads(self._circle())
            outcomes.append((self._scale.judge(loads), frozenset(self._mine)))
            if outcomes[-1][0][0] <= 1:
                break
            self._scale.sharpen(loads)
        return min(outcomes, key=lambda outcome: outcome[0])

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
        tokens = sorted(self._owners)
        owners = [self._owners[token] for token in tokens]
        return _Circle(
            tokens=tokens,
            owners=owners,
            spans=[
                (token - before) % self._partitions or self._partitions
                for before, token in zip([tokens[-1], *tokens], tokens, strict=False)
            ],
            walks=self._walks(owners),
        )

    def _walks(self, owners: Sequence[int]) -> list[_Walk]:
        """The primaries of each token; found backwards, since each only changes the walk's start.

        The first lap learns what a walk meets beyond the end of the list.
        """
        near: dict[str, list[int]] = {}
        zones: list[str] = []
        met: dict[int, int] = {}
        walks: list[_Walk] = []

        def meet(owner: int, step: int) -> None:
            met[owner] = step
            zone = self._replicas.zones[owner]
            _move_to_front(zones, zone)
            _move_to_front(near.setdefault(zone, []), owner)

        beyond = dict.fromkeys(owners)
        for step, owner in enumerate(reversed(beyond), 1 - len(beyond)):
            meet(owner, len(owners) - step)
        for step in range(len(owners) - 1, -1, -1):
            meet(owners[step], step)
            nearest = [node for zone in zones[: self._n] for node in near[zone][: self._n]]
            nearest.sort(key=met.__getitem__)
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
        return None if best is None else best % self._partitions

    def _change_behind(self, circle: _Circle, cut: int) -> dict[int, int]:
        """By how much loads change in the spans from which a walk comes to a cut of span `cut`."""
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


_Item = TypeVar("_Item")


def _move_to_front(items: list[_Item], item: _Item) -> None:
    if items and items[0] == item:
        return
    if item in items:
        items.remove(item)
    items.insert(0, item)
