"""Links, ways, cuts and toxics: what a broken network is, as plain data.

A *link* `n1>n2` is the proxy that n1 dials to reach n2. Its two streams are n1's requests
(upstream) and n2's replies to them (downstream). A *way* from n1 to n2 is all the bytes that n1
sends to n2: its requests on the link `n1>n2`, and its replies on the link `n2>n1`, since n2 dialled
that. Partitions are sets of ways; only here they become toxics on streams of links.

        n1>n2                     n2>n1
    n1 --requests--> n2       n2 --requests--> n1
    n1 <--replies--- n2       n2 <--replies--- n1

    the way n1 -> n2: the upper arrow of the left link, the lower arrow of the right one

Each fault is an `Effect`. What a link should be like is what all effects together say, and
`steps` says how to get there from what it is like: the order matters, see there.
"""

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, permutations
from typing import Final, NamedTuple

from chaos.errors import SettingError

_FOREVER: Final = 0

STALL_MS: Final = 3_600_000
"""A latency beyond any run's end. A bandwidth of 0 would hold bytes back as well, but the server
(2.12) ends with a panic if it is raised just when the toxic wakes up, ten times a second."""


class Link(NamedTuple):
    """What `source` dials to reach `target`."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.source}>{self.target}"


def all_links(nodes: Collection[str], clients: Collection[str] = ()) -> frozenset[Link]:
    """All that there are: from each node and each client to each node, but to itself."""
    return frozenset(
        Link(source, target)
        for source in (*nodes, *clients)
        for target in nodes
        if source != target
    )


class Stream(enum.StrEnum):
    """One of the two directions of a link's connections."""

    UPSTREAM = "upstream"
    """Requests: from the source to the target."""

    DOWNSTREAM = "downstream"
    """Replies: from the target to the source."""


class Carries(enum.StrEnum):
    """Which of the bytes of a way are meant."""

    ALL = "all"
    REQUESTS = "requests"
    REPLIES = "replies"


class Way(NamedTuple):
    """The bytes that `source` sends to `target`."""

    source: str
    target: str
    carries: Carries = Carries.ALL

    def __str__(self) -> str:
        arrow = f"{self.source}->{self.target}"
        return arrow if self.carries is Carries.ALL else f"{arrow} ({self.carries})"

    @property
    def streams(self) -> tuple[tuple[Link, Stream], ...]:
        """Where its bytes flow."""
        requests = (Link(self.source, self.target), Stream.UPSTREAM)
        replies = (Link(self.target, self.source), Stream.DOWNSTREAM)
        match self.carries:
            case Carries.ALL:
                return (requests, replies)
            case Carries.REQUESTS:
                return (requests,)
            case Carries.REPLIES:
                return (replies,)


class CutKind(enum.StrEnum):
    """How a network fails to carry bytes."""

    REFUSE = "refuse"
    """Connections are closed, and new ones refused: the sender knows at once."""

    DROP = "drop"
    """Bytes vanish, connections seem fine; when it is over, they are closed."""

    STALL = "stall"
    """Bytes wait, connections seem fine; when it is over, all that waited arrives, late. Nearest to
    what TCP makes of a network that lost its packets for a while."""


PAST: Final = {CutKind.REFUSE: "refused", CutKind.DROP: "dropped", CutKind.STALL: "stalled"}
"""What has happened to links that are cut, as legends say it."""


def preferred(cuts: Sequence[str]) -> str:
    """One of the ways to cut that are asked for; dropped bytes are most like a lost network."""
    return CutKind.DROP.value if CutKind.DROP in cuts else cuts[0]


class ToxicKind(enum.StrEnum):
    """What Toxiproxy can do to a stream; the values are its own names."""

    LATENCY = "latency"
    BANDWIDTH = "bandwidth"
    SLICER = "slicer"
    LIMIT_DATA = "limit_data"
    RESET_PEER = "reset_peer"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Toxic:
    """One toxic on one stream.

    Attributes:
        attributes: all that the kind has, so that what the server says can be compared. Whole
            numbers: it refuses others.
    """

    kind: ToxicKind
    stream: Stream
    attributes: Mapping[str, int]

    @property
    def is_stall(self) -> bool:
        """Whether it lets nothing through for as long as it is there, and keeps it."""
        return self.kind is ToxicKind.LATENCY and self.attributes["latency"] == STALL_MS


def latency(stream: Stream, latency_ms: int, jitter_ms: int = 0) -> Toxic:
    """Bytes come `latency_ms` late, give or take an even draw of up to `jitter_ms`, in order."""
    if not 0 <= jitter_ms <= latency_ms:
        raise SettingError(f"a latency of {latency_ms} ms cannot vary by {jitter_ms} ms")
    return _toxic(ToxicKind.LATENCY, stream, latency=latency_ms, jitter=jitter_ms)


def bandwidth(stream: Stream, kb_per_s: int) -> Toxic:
    """No more than so many thousand bytes a second."""
    if kb_per_s < 1:
        raise SettingError(f"a bandwidth of {kb_per_s} kB/s lets nothing through: cut the link")
    return _toxic(ToxicKind.BANDWIDTH, stream, rate=kb_per_s)


def slicer(stream: Stream, bytes_each: int, vary_bytes: int = 0, delay_us: int = 0) -> Toxic:
    """Bytes arrive in slices of about `bytes_each`, with a delay between them."""
    if not 0 <= vary_bytes < bytes_each:
        raise SettingError(f"slices of {bytes_each} bytes cannot vary by {vary_bytes} bytes")
    return _toxic(
        ToxicKind.SLICER,
        stream,
        average_size=bytes_each,
        size_variation=vary_bytes,
        delay=delay_us,
    )


def limit_data(stream: Stream, bytes_max: int) -> Toxic:
    """A connection is closed once it has carried so many bytes: frames are torn."""
    return _toxic(ToxicKind.LIMIT_DATA, stream, bytes=bytes_max)


def reset_peer(stream: Stream, timeout_ms: int = 0) -> Toxic:
    """A connection is closed at its next bytes; one opened under this toxic by a TCP reset."""
    return _toxic(ToxicKind.RESET_PEER, stream, timeout=timeout_ms)


def timeout(stream: Stream, timeout_ms: int) -> Toxic:
    """Bytes vanish, and the connection is closed after so long; 0: never."""
    return _toxic(ToxicKind.TIMEOUT, stream, timeout=timeout_ms)


def _toxic(kind: ToxicKind, stream: Stream, **attributes: int) -> Toxic:
    if min(attributes.values()) < 0:
        raise SettingError(f"{kind}: {attributes} has a number below 0")
    return Toxic(kind=kind, stream=stream, attributes=attributes)


# Partitions: which ways a fault concerns.


def split(sides: Sequence[Collection[str]]) -> frozenset[Way]:
    """Nothing passes from one side to another."""
    return frozenset(way for a, b in permutations(sides, 2) for way in one_way(a, b))


def isolate(node: str, others: Iterable[str]) -> frozenset[Way]:
    """Nothing passes between the node and all others."""
    return split(([node], [other for other in others if other != node]))


def between(a: str, b: str) -> frozenset[Way]:
    """Nothing passes between two nodes; through a third it may."""
    return split(([a], [b]))


def majorities_ring(nodes: Sequence[str]) -> frozenset[Way]:
    """Each node sees the nearest of a ring, a majority, and no two see the same one.

    Raises:
        SettingError: of fewer than four nodes all would be near.
    """
    if len(nodes) < 4:
        raise SettingError(f"a ring of majorities needs 4 nodes or more, not {len(nodes)}")
    majority = len(nodes) // 2 + 1
    reach = majority // 2  # so many to each side: with itself it is a majority, or one more
    far = (
        (a, b)
        for (i, a), (j, b) in combinations(enumerate(nodes), 2)
        if min(j - i, len(nodes) - (j - i)) > reach
    )
    return frozenset(way for a, b in far for way in between(a, b))


def bridge(left: Collection[str], middle: str, right: Collection[str]) -> frozenset[Way]:
    """Two sides that see each other no more, and one node that sees both."""
    if middle in left or middle in right:
        raise SettingError(f"{middle} cannot be a side and the bridge between the sides")
    return split((left, right))


def one_way(sources: Iterable[str], targets: Collection[str]) -> frozenset[Way]:
    """Nothing passes from the sources to the targets; back it does."""
    return frozenset(Way(s, t) for s in sources for t in targets if s != t)


def requests_only(ways: Iterable[Way]) -> frozenset[Way]:
    """The same, but replies pass."""
    return frozenset(way._replace(carries=Carries.REQUESTS) for way in ways)


def replies_only(ways: Iterable[Way]) -> frozenset[Way]:
    """The same, but requests pass: what was asked for is done, and nobody hears of it."""
    return frozenset(way._replace(carries=Carries.REPLIES) for way in ways)


def unanswered(ways: Iterable[Way], kind: CutKind) -> frozenset[tuple[str, str]]:
    """Who gets no answers from whom while these ways are cut: who asks, and who is asked.

    A request needs the way there, and its reply the way back; but of links that are refused only
    those that the sources dial are, so who is not refused gets its replies.
    """
    if kind is CutKind.REFUSE:
        return frozenset((way.source, way.target) for way in ways)
    return frozenset((link.source, link.target) for way in ways for link, _ in way.streams)


# Effects: what one fault does to links, and what all of them together make of a link.


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one fault does.

    Attributes:
        refused: links that take no connections.
        toxics: for each link, its toxics by name. Two faults that give a toxic the same name mean
            the same toxic: it goes with the last of them.
    """

    refused: frozenset[Link] = frozenset()
    toxics: Mapping[Link, Mapping[str, Toxic]] = field(default_factory=dict)

    @property
    def links(self) -> frozenset[Link]:
        """All that it touches."""
        return self.refused | self.toxics.keys()


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkState:
    """What a link is like.

    Attributes:
        enabled: whether it takes connections.
        toxics: by name.
    """

    enabled: bool = True
    toxics: Mapping[str, Toxic] = field(default_factory=dict)


def cut(ways: Iterable[Way], kind: CutKind, links: Collection[Link]) -> Effect:
    """What cutting these ways does to the links that there are.

    Refusing is for links: a way is refused by closing the link that its source dials, so that it
    cannot ask; what it replies on connections of the target's passes all the same.

    Raises:
        SettingError: replies alone cannot be refused, or one of the ways leads nowhere.
    """
    streams: dict[Link, set[Stream]] = {}
    for way in sorted(ways):
        present = [(link, stream) for link, stream in way.streams if link in links]
        if not present:
            raise SettingError(f"the way {way} cannot be cut: there is no link on it")
        for link, stream in present:
            streams.setdefault(link, set()).add(stream)
    if kind is CutKind.REFUSE:
        return Effect(refused=frozenset(_dialled(way, links) for way in ways))
    make = _drop if kind is CutKind.DROP else _stall
    return Effect(
        toxics={
            link: {f"{kind}_{stream}": make(stream) for stream in Stream if stream in cut_off}
            for link, cut_off in streams.items()
        }
    )


def _dialled(way: Way, links: Collection[Link]) -> Link:
    link = Link(way.source, way.target)
    if way.carries is Carries.REPLIES:
        raise SettingError(f"{way}: replies alone cannot be refused, only dropped or stalled")
    # A node never dials a client: what it sends there is refused with the client's own link.
    return link if link in links else Link(way.target, way.source)


def _drop(stream: Stream) -> Toxic:
    return timeout(stream, _FOREVER)


def _stall(stream: Stream) -> Toxic:
    return latency(stream, STALL_MS)


def disturb(name: str, links: Iterable[Link], toxics: Collection[Toxic]) -> Effect:
    """All toxics on all links; `name`d, so that others' of the same kind stand beside them."""
    return disturb_each(name, dict.fromkeys(links, toxics))


def disturb_each(name: str, toxics: Mapping[Link, Collection[Toxic]]) -> Effect:
    """On each link its own toxics; `name`d as in `disturb`."""
    return Effect(
        toxics={
            link: {_toxic_name(name, toxic): toxic for toxic in toxics[link]}
            for link in sorted(toxics)
        }
    )


def _toxic_name(name: str, toxic: Toxic) -> str:
    return f"{name}.{toxic.kind}_{toxic.stream}"


def state(link: Link, effects: Iterable[Effect]) -> LinkState:
    """What all effects together make of a link."""
    enabled, toxics = True, dict[str, Toxic]()
    for effect in effects:
        enabled = enabled and link not in effect.refused
        toxics.update(effect.toxics.get(link, {}))
    return LinkState(enabled=enabled, toxics=toxics)


# Steps: how a link gets from one state to another.


class Enable(NamedTuple):
    """Take connections, or close all and refuse new ones."""

    enabled: bool


class AddToxic(NamedTuple):
    """Add at the end of the stream's chain."""

    name: str
    toxic: Toxic


class ChangeToxic(NamedTuple):
    """Give one that is there other attributes."""

    name: str
    toxic: Toxic


class RemoveToxic(NamedTuple):
    """Take out of the chain."""

    name: str


Step = Enable | AddToxic | ChangeToxic | RemoveToxic


def steps(actual: LinkState, wanted: LinkState) -> tuple[Step, ...]:
    """What to do next, in this order, to bring a link nearer to what is wanted; () if nothing.

    It may take another round after these, once the bytes that waited have had time to flow. The
    order keeps clear of what was seen with Toxiproxy 2.12:

    * To add a toxic behind a stall lets some of what waits slip through. To change or remove one
      before it blocks that proxy's part of the server for good. So a stall is the last of its
      chain, and while it lasts nothing else on its stream is touched; it could not be seen anyway.
    * To remove a stall delivers what waited before the server answers; where a connection was given
      up meanwhile that takes 5 s for each chunk, in which the link is dead. So a stall is first
      opened wide, which takes a millisecond, and removed in the next round.
    * Replies are opened before requests, or they would stop those which the requests bring about.
    """
    found: list[Step] = []
    if actual.enabled and not wanted.enabled:
        found.append(Enable(False))
    # Requests are cut first, or replies to those still coming would pile up behind their own cut.
    opening = any(t.is_stall for t in actual.toxics.values())
    for stream in reversed(Stream) if opening else Stream:
        found.extend(_stream_steps(_on(stream, actual), _on(stream, wanted)))
    if wanted.enabled and not actual.enabled:
        found.append(Enable(True))
    return tuple(found)


def _on(stream: Stream, state_: LinkState) -> dict[str, Toxic]:
    return {name: toxic for name, toxic in state_.toxics.items() if toxic.stream is stream}


def _stream_steps(actual: Mapping[str, Toxic], wanted: Mapping[str, Toxic]) -> list[Step]:
    stalls = [name for name, toxic in actual.items() if toxic.is_stall]
    if stalls:
        return _stalled_steps(stalls, actual, wanted)
    found: list[Step] = [
        RemoveToxic(name)
        for name, toxic in actual.items()
        if name not in wanted or not _is_alike(toxic, wanted[name])
    ]
    gone = {step.name for step in found if isinstance(step, RemoveToxic)}
    for name, toxic in sorted(wanted.items(), key=lambda item: item[1].is_stall):
        if name not in actual or name in gone:
            found.append(AddToxic(name, toxic))
        elif toxic != actual[name]:
            found.append(ChangeToxic(name, toxic))
    return found


def _stalled_steps(
    stalls: Sequence[str], actual: Mapping[str, Toxic], wanted: Mapping[str, Toxic]
) -> list[Step]:
    if all(name in wanted for name in stalls):
        return []
    # What waited and must not arrive is caught behind the stall before that is opened.
    found: list[Step] = [
        AddToxic(name, toxic)
        for name, toxic in wanted.items()
        if name not in actual and toxic.kind is ToxicKind.TIMEOUT
    ]
    return found + [ChangeToxic(name, opened(actual[name])) for name in stalls]


def _is_alike(a: Toxic, b: Toxic) -> bool:
    # A stall that is cut again before its opened toxic went must be the last of its chain anew.
    return a.kind is b.kind and a.stream is b.stream and not b.is_stall


def opened(stall: Toxic) -> Toxic:
    """What a stall becomes before it is removed."""
    return latency(stall.stream, 0)


def after(actual: LinkState, done: Iterable[Step]) -> LinkState:
    """What a link is like once these steps were taken."""
    enabled, toxics = actual.enabled, dict(actual.toxics)
    for step in done:
        match step:
            case Enable(flag):
                enabled = flag
            case AddToxic(name, toxic) | ChangeToxic(name, toxic):
                toxics[name] = toxic
            case RemoveToxic(name):
                del toxics[name]
    return LinkState(enabled=enabled, toxics=toxics)
