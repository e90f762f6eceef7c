"""The lab's own rules: every fault moved something, and every tool was seen to work.

A cut that cuts nothing lets every store pass. So for each fault something must have changed that
only this kind of fault changes in a cluster which is otherwise well: figures and requests of its
window are held against the calm parts of the take. Where nothing moved, nothing may be concluded.

Faults that overlap share their signs; those of processes, clocks and disks are looked for at the
very node, and every broken link between nodes must have carried something at some time.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import quantiles
from typing import Final, NamedTuple

from chaos.checkers.lives import Life, grown, is_another, lives
from chaos.checkers.telling import counted, ruled
from chaos.judgement import RuleOutcome
from chaos.modes import Conflicts
from chaos.recording import Action, Fault, Operation, Outcome, Sample, Take

FELT: Final = "every fault was felt"
PROVED: Final = "the lab's tools were seen to work"

LAG_S: Final = 1.0
"""So long after a fault is over its consequences still come in: time-outs, looks at counters."""

_TIMES: Final = 1.5
"""What happens in calm times too must happen this much more often to be a sign."""

_SLOWER: Final = 1.3
_SLOWER_S: Final = 0.0005
_REQUESTS_MIN: Final = 10

_CLOCK_SLACK_MS: Final = 10.0

_SIGNS_TOLD: Final = 3

_TROUBLE: Final = (
    "stand_ins_asked_total",
    "reads_unmet_total",
    "writes_unmet_total",
    "hints_stored_total",
    "exchanges_failed_total",
    "replies_late_total",
)
_MENDING: Final = (
    "exchange_keys_pulled_total",
    "exchange_keys_pushed_total",
    "read_repairs_total",
)


class _Span(NamedTuple):
    from_s: float
    until_s: float


class _Scene:
    """A take, and what it was like in calm times.

    What is broken from the first request to the last, like a delay on all links, is no exception
    there but the rule, and calm times are those with nothing else.

    Attributes:
        calm: requests that came and went in calm times.
        lives: of the nodes.
    """

    def __init__(self, take: Take) -> None:
        self.take = take
        self._operations = sorted(take.operations, key=lambda operation: operation.invoked_s)
        self._invoked_s = [operation.invoked_s for operation in self._operations]
        spans = [_span(fault, take) for fault in take.head.faults]
        self._broken = _joined(span for span in spans if not self.is_all(span))
        self.calm = [o for o in self._operations if self.is_calm(o.invoked_s, o.returned_s)]
        self.lives: Sequence[Life] = lives(take.samples)

    def is_calm(self, from_s: float, until_s: float) -> bool:
        """Whether nothing came to be broken in all that time, nor was shortly before."""
        later = bisect_left(self._broken, until_s, key=lambda span: span.from_s)
        return not later or self._broken[later - 1].until_s + LAG_S < from_s

    def is_all(self, span: _Span) -> bool:
        """Whether every request was sent in that time."""
        return len(self.asked(span)) == len(self._operations) >= _REQUESTS_MIN

    def asked(self, span: _Span) -> Sequence[Operation]:
        """The requests that were sent meanwhile."""
        first = bisect_left(self._invoked_s, span.from_s)
        return self._operations[first : bisect_right(self._invoked_s, span.until_s)]


@dataclass(frozen=True, kw_only=True)
class _Window:
    """One fault in its scene."""

    scene: _Scene
    fault: Fault
    span: _Span

    @cached_property
    def samples(self) -> Sequence[Sample]:
        """What was seen meanwhile, and shortly after."""
        until_s = self.span.until_s + LAG_S
        return [s for s in self.scene.take.samples if self.span.from_s <= s.at_s <= until_s]

    @cached_property
    def asked(self) -> Sequence[Operation]:
        """The requests that were sent meanwhile."""
        return self.scene.asked(self.span)

    @property
    def members(self) -> frozenset[str]:
        """All nodes."""
        return frozenset(self.scene.take.head.nodes)

    @property
    def ends(self) -> frozenset[str]:
        """Nodes and clients that are a target, or at an end of one."""
        return frozenset(end for target in self.fault.targets for end in _ends(target))

    @property
    def nodes(self) -> frozenset[str]:
        """The nodes among these."""
        return self.ends & self.members

    @property
    def observers(self) -> frozenset[str]:
        """Who would notice: the nodes at the broken links, or all but the node that is hit."""
        is_of_links = any(len(_ends(target)) > 1 for target in self.fault.targets)
        return self.nodes if is_of_links else self.members - self.nodes


_Sign = Callable[[_Window], str]
"""What moved, in words; "" if nothing did."""


def check(take: Take) -> RuleOutcome:
    """Look for a trace of every fault."""
    scene = _Scene(take)
    felt, unfelt = [], []
    for fault in take.head.faults:
        span = _span(fault, take)
        window = _Window(scene=scene, fault=fault, span=span)
        signs = (sign(window) for sign in _SIGNS.get(fault.kind, ()))
        if sign := next(filter(None, signs), ""):
            felt.append(f"{fault.said}: {sign}")
        else:
            when = f"{fault.kind}, {span.from_s:.1f} to {span.until_s:.1f} s"
            unfelt.append(f"no sign of {fault.said!r} ({when}) in any figure or request")
    unfelt += _silent_links(take)
    shown = "; ".join([*dict.fromkeys(felt)][:_SIGNS_TOLD])
    kept = (
        f"{counted(len(felt), 'fault')} moved something: {shown}" if felt else "nothing was broken"
    )
    return ruled(FELT, take, kept=kept, broken="", breaches=[], unknown=unfelt)


def probes_passed(take: Take) -> RuleOutcome:
    """Look at what the lab found when it tried its tools."""
    probes = take.head.probes
    failed = [f"the probe of {p.name} failed: {p.said}" for p in probes if not p.passed]
    if not probes and any(fault.kind in _OF_THE_NETWORK for fault in take.head.faults):
        failed.append("the network was broken with tools that nobody had tried")
    names = ", ".join(probe.name for probe in probes)
    kept = f"{counted(len(probes), 'probe')} passed: {names}" if probes else "nothing was probed"
    return ruled(PROVED, take, kept=kept, broken="", breaches=[], unknown=failed)


def _span(fault: Fault, take: Take) -> _Span:
    until_s = take.head.duration_s if fault.ended is None else fault.ended.until_s
    return _Span(fault.began.from_s, until_s)


def _joined(spans: Iterable[_Span]) -> list[_Span]:
    """The same time in spans that do not touch, by their beginning."""
    joined: list[_Span] = []
    for span in sorted(spans):
        if joined and span.from_s <= joined[-1].until_s:
            span = _Span(joined[-1].from_s, max(joined.pop().until_s, span.until_s))
        joined.append(span)
    return joined


def _ends(target: str) -> tuple[str, ...]:
    """The node of a target, or both ends of a link or way: `n1`, `n1>n2`, `n1->n2 (replies)`."""
    return tuple(target.partition(" ")[0].replace("->", ">").split(">"))


# -- signs of a broken network -------------------------------------------------------------------


def _taken_for_down(window: _Window) -> str:
    """A node thinks that it reaches fewer than there are."""
    lowest = _lowest(window, "up")
    if lowest is None or lowest[0] >= len(window.members):
        return ""
    return f"{lowest[1]} took {lowest[0]:.0f} of {len(window.members)} nodes for up"


def _disconnected(window: _Window) -> str:
    peers = len(window.members) - 1
    lowest = _lowest(window, "peers_connected")
    if lowest is None or lowest[0] >= peers:
        return ""
    return f"{lowest[1]} was connected to {lowest[0]:.0f} of {peers} peers"


def _lowest(window: _Window, figure: str) -> tuple[float, str] | None:
    """The smallest of a figure that any who would notice told, and who it was."""
    told = [
        (figures[figure], node)
        for sample in window.samples
        for node, figures in sample.nodes.items()
        if node in window.observers and figure in figures
    ]
    return min(told, default=None)


def _in_trouble(window: _Window) -> str:
    """Nodes failed each other more often than in calm times."""
    return _rose(window.scene, window.span, _TROUBLE, "times a node failed another")


def _rose(scene: _Scene, span: _Span, names: Sequence[str], said: str) -> str:
    """Whether counters rose faster than in calm times; what they count, as `said` has it."""
    rise, seconds, calm_rise, calm_seconds = 0.0, 0.0, 0.0, 0.0
    for life in scene.lives:
        for from_s, until_s, growth in grown(life, names):
            if until_s >= span.from_s and from_s <= span.until_s + LAG_S:
                rise += growth
                seconds += until_s - from_s
            elif scene.is_calm(from_s, until_s):
                calm_rise += growth
                calm_seconds += until_s - from_s
    usual = calm_rise / calm_seconds * seconds if calm_seconds else 0.0
    return f"{rise:.0f} {said}" if rise > _TIMES * usual else ""


def _failed_more(window: _Window) -> str:
    """A larger share of requests failed than in calm times."""
    calm, asked = window.scene.calm, window.asked
    failed = sum(operation.outcome is not Outcome.OK for operation in asked)
    failed_calm = sum(operation.outcome is not Outcome.OK for operation in calm)
    usual = failed_calm / len(calm) * len(asked) if calm else 0.0
    return f"{failed} of {counted(len(asked), 'request')} failed" if failed > _TIMES * usual else ""


def _slower(window: _Window) -> str:
    """Requests took longer: all of them, or those of a node or client at a broken link."""
    for end in ("", *sorted(window.ends)):
        calm = [o.latency_s for o in window.scene.calm if _concerns(o, end)]
        asked = [o.latency_s for o in window.asked if _concerns(o, end)]
        if min(len(calm), len(asked)) < _REQUESTS_MIN:
            continue
        for percent in (50, 90):
            usual_s, now_s = (quantiles(each, n=10)[percent // 10 - 1] for each in (calm, asked))
            if now_s > usual_s * _SLOWER and now_s > usual_s + _SLOWER_S:
                return (
                    f"{percent} % of requests{' of ' if end else ''}{end} took up to"
                    f" {1000 * now_s:.1f} ms instead of {1000 * usual_s:.1f} ms"
                )
    return ""


def _concerns(operation: Operation, end: str) -> bool:
    """Whether a node or client has to do with a request; "" has with all."""
    return end in ("", operation.node, operation.client, operation.client.partition(".")[0])


def _probed(window: _Window) -> str:
    """What lasts all the time cannot be held against calm times; then a probe counts."""
    if not window.scene.is_all(window.span):
        return ""
    for probe in window.scene.take.head.probes:
        if probe.passed and window.fault.kind in probe.name.lower():
            return f"it lasted all the time, and was probed before: {probe.said}"
    return ""


def _silent_links(take: Take) -> Iterator[str]:
    """Broken links between nodes that never carried a byte: it goes some other way.

    Nodes send each other heartbeats all the time, so every link carries something.
    """
    known = [sample.link_bytes for sample in take.samples if sample.link_bytes]
    nodes = frozenset(take.head.nodes)
    targets = {_ends(target) for fault in take.head.faults for target in fault.targets}
    for ends in sorted(targets) if known else ():
        link = ">".join(ends)
        if len(ends) == 2 and nodes.issuperset(ends) and not known[-1].get(link):
            yield f"{link} was to be broken, but never carried a byte: there is a way past it"


# -- signs of a broken process -------------------------------------------------------------------


def _ended(window: _Window) -> str:
    """The process was seen to be no more."""
    for sample in window.samples:
        for node in sorted(window.nodes):
            if sample.states.get(node) in ("stopped", "died"):
                return f"{node} had {sample.states[node]}"
    return ""


def _started_anew(window: _Window) -> str:
    samples = window.scene.take.samples
    for node in sorted(window.nodes):
        seen = [(s.at_s, s.nodes[node]) for s in samples if node in s.nodes]
        before = [figures for at_s, figures in seen if at_s <= window.span.from_s]
        after = [figures for at_s, figures in seen if at_s > window.span.from_s]
        if before and any(is_another(before[-1], figures) for figures in after):
            return f"{node} started anew"
    return ""


def _refilled(window: _Window) -> str:
    """What the node lost was seen to be missing, or to be brought back."""
    later = [s for s in window.scene.take.samples if s.at_s > window.span.from_s]
    divergent = max((sample.divergent or 0 for sample in later), default=0)
    if divergent:
        return f"{divergent} of {later[-1].watched} watched keys were not on all their homes"
    until_the_end = _Span(window.span.from_s, window.scene.take.head.duration_s)
    return _rose(window.scene, until_the_end, _MENDING, "keys were mended")


# -- signs of a wrong clock ----------------------------------------------------------------------


class _Stamp(NamedTuple):
    """When a value in a dump was written, by the clock of the node that was asked.

    Attributes:
        at_s: by the lab's.
        off_ms: the one less the other.
        doubt_ms: how far that may be wrong, as the request took its time.
    """

    node: str
    at_s: float
    off_ms: float
    doubt_ms: float


def _clock_differs(window: _Window) -> str:
    """Values written through the node bear other times than those written through others."""
    take = window.scene.take
    wrong = {node for f in take.head.faults if f.kind == "clock" for node in f.targets}
    stamps = [*_stamps(take)]
    # A stamp may have been raised above another's, never lowered.
    usual_ms = min((s.off_ms + s.doubt_ms for s in stamps if s.node not in wrong), default=None)
    if usual_ms is None:
        return ""
    for stamp in stamps:
        off_ms = stamp.off_ms - usual_ms
        is_then = window.span.from_s <= stamp.at_s <= window.span.until_s
        if (
            stamp.node in window.nodes
            and is_then
            and abs(off_ms) > stamp.doubt_ms + _CLOCK_SLACK_MS
        ):
            return f"a value written through {stamp.node} is {off_ms / 1000:+.2f} s off"
    return ""


def _stamps(take: Take) -> Iterator[_Stamp]:
    """Of acknowledged values; of those in buckets with siblings only, if there are any."""
    held = {
        ((state.bucket, state.key), value.text): value.modified_at_ms
        for state in take.final
        for value in state.values
        if not value.deleted
    }
    siblings = {mode.name for mode in take.head.modes if mode.conflicts is Conflicts.SIBLINGS}
    stamped = [
        operation
        for operation in take.operations
        if operation.action is Action.PUT
        and operation.outcome is Outcome.OK
        and (operation.place, operation.written) in held
    ]
    plain = [operation for operation in stamped if operation.mode in siblings]
    for operation in plain or stamped:
        at_s = (operation.invoked_s + operation.returned_s) / 2
        yield _Stamp(
            node=operation.node,
            at_s=at_s,
            off_ms=held[operation.place, operation.written or ""] - 1000 * at_s,
            doubt_ms=500 * (operation.returned_s - operation.invoked_s),
        )


_OF_THE_NETWORK: Final = frozenset({"cut", "latency", "bandwidth", "torn", "reset"})

# Slowness is no sign of what stops bytes: put a cut that never was into a healthy take, and on a
# busy machine requests are "slower" every other time. It counts where a fault may do nothing else.
_SIGNS: Final[Mapping[str, Sequence[_Sign]]] = {
    "cut": (_taken_for_down, _disconnected, _failed_more, _in_trouble),
    "latency": (_slower, _in_trouble, _probed),
    "bandwidth": (_slower, _in_trouble, _failed_more, _probed),
    "torn": (_failed_more, _disconnected, _in_trouble, _slower, _probed),
    "reset": (_failed_more, _disconnected, _in_trouble, _probed),
    "kill": (_started_anew, _ended, _taken_for_down),
    # That it is paused is what the lab wanted; whether it is, the others know.
    "pause": (_taken_for_down, _failed_more, _in_trouble),
    "wipe": (_refilled,),
    "clock": (_clock_differs,),
}
