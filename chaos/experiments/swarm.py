"""What a soak does, drawn from a seed: modes, workloads, settings, and what breaks when. Pure.

Swarm testing (Groce et al., 2012; TigerBeetle's VOPR): each round first draws which options there
are at all, and then from these. Rounds that leave most out reach places that rounds with a little
of everything never do.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, TypeVar

from chaos.experiment import NODES
from chaos.links import (
    CutKind,
    Link,
    Stream,
    Toxic,
    Way,
    bandwidth,
    between,
    bridge,
    isolate,
    latency,
    limit_data,
    majorities_ring,
    one_way,
    replies_only,
    requests_only,
    reset_peer,
    slicer,
    split,
)
from chaos.modes import Conflicts, Mode

ROUND_S: Final = 60.0
"""About so long are faults drawn for one cluster; a longer soak has several rounds."""

WORKLOADS: Final = ("registers", "set-add", "cart", "deletes", "blind")

_CUTS: Final = ("split", "isolation", "ring", "bridge", "one way", "pair", "swizzle", "flapping")
_DISTURBANCES: Final = ("latency", "bandwidth", "torn", "reset")
_DOWNS: Final = ("kill", "pause", "wipe", "clock")

_GAP_S: Final = (0.5, 3.0)
_RATE_HZ: Final = (60.0, 140.0)
_RECOVERY_S: Final = 4.0  # a node that was down needs some time to start, and to catch up

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A workload in a mode.

    Attributes:
        workload: one of `WORKLOADS`.
        rate_hz: steps a second.
        keys: how many objects it uses.
    """

    workload: str
    mode: Mode
    rate_hz: float
    keys: int

    def __str__(self) -> str:
        return f"{self.workload} {self.mode.name}, {self.rate_hz:.0f}/s on {self.keys} keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Nothing passes on these ways."""

    ways: frozenset[Way]
    kind: CutKind
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbed:
    """Something is wrong with what these links carry; `kind` as for `Stage.toxic`."""

    kind: str
    links: frozenset[Link]
    toxics: tuple[Toxic, ...]
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """Nodes die at once and start again, one of them perhaps with an empty disk."""

    nodes: tuple[str, ...]
    wiped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """A node stands still."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockOff:
    """A node's clock is wrong."""

    node: str
    offset_s: float


Blow = Cut | Disturbed | Killed | Paused | ClockOff


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A fault and its time.

    Attributes:
        at_s: since the faults began.
        lasts_s: what it is to last.
    """

    at_s: float
    lasts_s: float
    blow: Blow

    @property
    def until_s(self) -> float:
        """When it is over, if nothing delays it."""
        return self.at_s + self.lasts_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """All that one cluster goes through.

    Attributes:
        lasts_s: how long faults are drawn for.
        flows: what is asked.
        node: settings of every node.
        hits: by their beginning.
    """

    lasts_s: float
    flows: tuple[Flow, ...]
    node: Mapping[str, object]
    hits: tuple[Hit, ...]

    @property
    def modes(self) -> tuple[Mode, ...]:
        """Each once."""
        return tuple(dict.fromkeys(flow.mode for flow in self.flows))

    @property
    def clocks(self) -> int:
        """How often a clock is wrong."""
        return sum(isinstance(hit.blow, ClockOff) for hit in self.hits)


def draw(
    seed: int,
    duration_s: float,
    clients: Sequence[str],
    ways_to_cut: Sequence[CutKind] = tuple(CutKind),
) -> tuple[Round, ...]:
    """The rounds of a soak.

    Args:
        seed: of everything.
        duration_s: of all rounds together.
        clients: whose links may be disturbed.
        ways_to_cut: one at least.
    """
    count = max(1, round(duration_s / ROUND_S))
    return tuple(
        _round(Random(f"soak {seed} {number}"), duration_s / count, clients, ways_to_cut)
        for number in range(count)
    )


def _round(
    dice: Random, lasts_s: float, clients: Sequence[str], ways_to_cut: Sequence[CutKind]
) -> Round:
    downs = _some(dice, _DOWNS, fewest=0)
    if "wipe" in downs:
        # What both leave behind could not be told apart: see `w_min`, and the clock's witnesses.
        downs = [kind for kind in downs if kind != "clock"]
    lanes = [
        _lane(dice, lasts_s, _some(dice, _CUTS, fewest=1), _cuts(ways_to_cut)),
        _lane(dice, lasts_s, _some(dice, _DISTURBANCES, fewest=0), _disturbances(clients)),
        _lane(dice, lasts_s, downs, _downs, rest_s=_RECOVERY_S),
    ]
    hits = _one_wipe(sorted((hit for lane in lanes for hit in lane), key=lambda hit: hit.at_s))
    return Round(
        lasts_s=lasts_s,
        # A write that only one disk has is lost with it, and nobody promised anything else.
        flows=_flows(dice, w_min=2 if "wipe" in downs else 1),
        node=_settings(dice),
        hits=tuple(hits),
    )


def _some(dice: Random, options: Sequence[_T], *, fewest: int) -> list[_T]:
    """Some of them, in their order, so many at least."""
    number = dice.randint(fewest, len(options))
    chosen = set(dice.sample(range(len(options)), number))
    return [option for place, option in enumerate(options) if place in chosen]


# ---- what is asked


def _flows(dice: Random, *, w_min: int) -> tuple[Flow, ...]:
    modes = [_mode(dice, Conflicts.SIBLINGS, w_min)]
    for _ in range(dice.randint(1, 3)):
        conflicts = Conflicts.LWW if dice.random() < 0.35 else Conflicts.SIBLINGS
        modes.append(_mode(dice, conflicts, w_min))
    pairs = [(mode, kind) for mode in dict.fromkeys(modes) for kind in _some_work(dice)]
    rate_hz = dice.uniform(*_RATE_HZ)
    shares = [dice.uniform(1, 4) * _LIGHTNESS[kind] for _, kind in pairs]
    return tuple(
        Flow(
            workload=kind,
            mode=mode,
            rate_hz=round(rate_hz * share / sum(shares), 1),
            keys=dice.randint(*_KEYS[kind]),
        )
        for (mode, kind), share in zip(pairs, shares, strict=True)
    )


def _some_work(dice: Random) -> list[str]:
    return _some(dice, WORKLOADS, fewest=1)[:3]


_LIGHTNESS: Final = {"registers": 1.0, "set-add": 0.4, "cart": 0.4, "deletes": 0.5, "blind": 0.5}
"""Steps of one request are more frequent than those of two, whose objects grow besides."""

_KEYS: Final = {
    "registers": (10, 60),
    "set-add": (2, 6),
    "cart": (3, 8),
    "deletes": (4, 12),
    "blind": (3, 8),
}


def _mode(dice: Random, conflicts: Conflicts, w_min: int) -> Mode:
    return Mode(
        r=dice.randint(1, 3),
        w=dice.randint(w_min, 3),
        sloppy=dice.random() < 0.6,
        conflicts=conflicts,
    )


def _settings(dice: Random) -> dict[str, object]:
    return {
        "read_repair": dice.random() < 0.6,
        "handoff_interval_s": dice.choice((0.25, 0.5, 1.0)),
        "anti_entropy_interval_s": dice.choice((0.5, 1.0, 2.0)),
        "replica_timeout_s": dice.choice((0.3, 0.5, 0.8)),
        "tombstone_collection": dice.random() < 0.8,
    }


# ---- what breaks


_Draw = Callable[[Random, str, float, float], Iterator[Hit]]
"""Hits of a kind, from one instant on, lasting so long together."""


def _lane(
    dice: Random, lasts_s: float, kinds: Sequence[str], hits: _Draw, *, rest_s: float = 0.0
) -> list[Hit]:
    """Faults one after the other, none of which lasts beyond the end."""
    found: list[Hit] = []
    at_s = dice.uniform(*_GAP_S)
    while kinds and at_s < lasts_s - 2:
        each_s = min(dice.uniform(2, 7), lasts_s - at_s)
        found += hits(dice, dice.choice(kinds), at_s, each_s)
        at_s += each_s + rest_s + dice.uniform(*_GAP_S)
    return found


def _cuts(ways_to_cut: Sequence[CutKind]) -> _Draw:
    def hits(dice: Random, kind: str, at_s: float, lasts_s: float) -> Iterator[Hit]:
        how = dice.choice(ways_to_cut)
        if kind == "swizzle":
            yield from _swizzle(dice, how, at_s, lasts_s)
        elif kind == "flapping":
            yield from _flapping(dice, how, at_s, lasts_s)
        else:
            yield Hit(at_s=at_s, lasts_s=lasts_s, blow=_cut(dice, kind, how))

    return hits


def _cut(dice: Random, kind: str, how: CutKind) -> Cut:
    nodes = dice.sample(NODES, len(NODES))
    size = dice.randint(1, 2)
    few, many = sorted(nodes[:size]), sorted(nodes[size:])
    match kind:
        case "split":
            return Cut(ways=split((few, many)), kind=how, said=f"{_all(few)} | {_all(many)}")
        case "isolation":
            ways = isolate(nodes[0], nodes)
            return Cut(ways=ways, kind=how, said=f"{nodes[0]} | all others")
        case "ring":
            said = f"ring of majorities {_all(nodes)}"
            return Cut(ways=majorities_ring(nodes), kind=how, said=said)
        case "bridge":
            left, middle, right = sorted(nodes[:2]), nodes[2], sorted(nodes[3:])
            said = f"{_all(left)} | {_all(right)}, {middle} between them"
            return Cut(ways=bridge(left, middle, right), kind=how, said=said)
        case "pair":
            a, b = sorted(nodes[:2])
            return Cut(ways=between(a, b), kind=how, said=f"{a} | {b} only")
    return _one_way(dice, nodes, how)


def _one_way(dice: Random, nodes: Sequence[str], how: CutKind) -> Cut:
    """All that a node sends, or is sent; perhaps only requests, or only replies."""
    node, others = nodes[0], nodes[1:]
    outwards = dice.random() < 0.5
    ways = one_way([node], others) if outwards else one_way(others, [node])
    said = f"{node} -> all others" if outwards else f"all others -> {node}"
    part = dice.choice(("all", "requests", "replies"))
    if part == "requests":
        return Cut(ways=requests_only(ways), kind=how, said=f"{said}, requests only")
    if part == "replies" and how is not CutKind.REFUSE:  # replies alone cannot be refused
        return Cut(ways=replies_only(ways), kind=how, said=f"{said}, replies only")
    return Cut(ways=ways, kind=how, said=said)


def _swizzle(dice: Random, how: CutKind, at_s: float, lasts_s: float) -> Iterator[Hit]:
    """Pairs of nodes are parted one by one, and joined again in another order."""
    pairs = dice.sample([(a, b) for a in NODES for b in NODES if a < b], dice.randint(3, 5))
    step_s = lasts_s / 3 / len(pairs)
    ends = dice.sample(range(len(pairs)), len(pairs))
    for place, ((a, b), end) in enumerate(zip(pairs, ends, strict=True)):
        begins_s = at_s + place * step_s
        ends_s = at_s + lasts_s - end * step_s
        cut = Cut(ways=between(a, b), kind=how, said=f"{a} | {b} (swizzle)")
        yield Hit(at_s=begins_s, lasts_s=ends_s - begins_s, blow=cut)


def _flapping(dice: Random, how: CutKind, at_s: float, lasts_s: float) -> Iterator[Hit]:
    """The same cut comes and goes."""
    cut = _cut(dice, dice.choice(("split", "isolation")), how)
    period_s = dice.uniform(1.6, 2.4)
    for number in range(max(1, int(lasts_s / period_s))):
        yield Hit(at_s=at_s + number * period_s, lasts_s=period_s / 2, blow=cut)


def _disturbances(clients: Sequence[str]) -> _Draw:
    def hits(dice: Random, kind: str, at_s: float, lasts_s: float) -> Iterator[Hit]:
        links, where = _links(dice, clients)
        toxics, what = _toxics(dice, kind)
        blow = Disturbed(kind=kind, links=links, toxics=toxics, said=f"{what} on {where}")
        yield Hit(at_s=at_s, lasts_s=lasts_s, blow=blow)

    return hits


def _links(dice: Random, clients: Sequence[str]) -> tuple[frozenset[Link], str]:
    among = frozenset(Link(a, b) for a in NODES for b in NODES if a != b)
    node = dice.choice(NODES)
    match dice.choice(("all", "of a node", "to a node", "of clients")):
        case "all":
            return among, "all links between nodes"
        case "of a node":
            return frozenset(link for link in among if node in link), f"the links of {node}"
        case "to a node":
            return frozenset(link for link in among if link.target == node), f"links to {node}"
    return frozenset(Link(client, node) for client in clients), f"all clients' links to {node}"


def _toxics(dice: Random, kind: str) -> tuple[tuple[Toxic, ...], str]:
    streams = dice.choice(((Stream.UPSTREAM,), (Stream.DOWNSTREAM,), tuple(Stream)))
    which = " and ".join(stream.value for stream in streams)
    match kind:
        case "latency":
            late_ms = dice.randint(20, 150)
            vary_ms = dice.randint(0, late_ms)
            toxics = tuple(latency(stream, late_ms, vary_ms) for stream in streams)
            return toxics, f"{late_ms}±{vary_ms} ms {which}"
        case "bandwidth":
            rate = dice.randint(5, 30)
            return tuple(bandwidth(stream, rate) for stream in streams), f"{rate} kB/s {which}"
        case "torn":
            most = dice.randint(50, 5000)
            cut = tuple(limit_data(stream, most) for stream in streams)
            sliced = tuple(slicer(stream, 20, 10, 100) for stream in streams)
            return sliced + cut, f"connections torn after {most} bytes {which}"
    after_ms = dice.randint(0, 300)
    toxics = tuple(reset_peer(stream, after_ms) for stream in streams)
    return toxics, f"connections reset after {after_ms} ms {which}"


def _downs(dice: Random, kind: str, at_s: float, lasts_s: float) -> Iterator[Hit]:
    nodes = dice.sample(NODES, 2)
    blow: Blow
    match kind:
        case "kill":
            blow = Killed(nodes=tuple(nodes) if dice.random() < 0.3 else (nodes[0],))
        case "wipe":
            blow = Killed(nodes=(nodes[0],), wiped=True)
        case "pause":
            blow = Paused(node=nodes[0])
        case _:
            offset_s = round(dice.choice((-1, 1)) * dice.uniform(1, 30), 1)
            blow = ClockOff(node=nodes[0], offset_s=offset_s)
    yield Hit(at_s=at_s, lasts_s=lasts_s, blow=blow)


def _one_wipe(hits: Sequence[Hit]) -> Iterator[Hit]:
    """Only the first wipe, and kills in place of others.

    A disk may be lost when all others have all that it had. That is seen when the replicas are
    equal, with nobody asking: at the end of the round.
    """
    wiped = False
    for hit in hits:
        if isinstance(hit.blow, Killed) and hit.blow.wiped:
            blow = Killed(nodes=hit.blow.nodes, wiped=not wiped)
            yield Hit(at_s=hit.at_s, lasts_s=hit.lasts_s, blow=blow)
            wiped = True
        else:
            yield hit


def _all(nodes: Sequence[str]) -> str:
    return " ".join(nodes)
