"""When things happened in a take, as the pictures need it: windows, bins, and who took part."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from chaos.recording import Fault, Operation, Outcome, Take
from chaos.report.words import clean
from chaos.windows import broken, noticed

ROAMING = "roaming"

_PREPARATIONS = frozenset({"preload", "final"})
_BINS_MAX = 90
_STEPS_S = (0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)
_SIDES_MAX = 4
_LEAD_SHARE = 0.03


@dataclass(frozen=True, slots=True)
class Span:
    """From one instant to another."""

    from_s: float
    until_s: float

    def holds(self, at_s: float) -> bool:
        """Whether the instant is within."""
        return self.from_s <= at_s < self.until_s


@dataclass(frozen=True, slots=True)
class Bins:
    """Equal pieces of time from zero.

    Attributes:
        step_s: how long each is.
        count: how many there are.
    """

    step_s: float
    count: int

    def index(self, at_s: float) -> int:
        """In which piece the instant lies; what is outside belongs to the nearest."""
        return min(max(int(at_s / self.step_s), 0), self.count - 1)

    @property
    def until_s(self) -> float:
        """Where the last one ends."""
        return self.step_s * self.count


def bins_of(duration_s: float, bins_max: int = _BINS_MAX) -> Bins:
    """So many pieces that each still holds a few requests."""
    step_s = next((step for step in _STEPS_S if duration_s / step <= bins_max), _STEPS_S[-1])
    return Bins(step_s, max(1, math.ceil(duration_s / step_s)))


def until_s(take: Take) -> float:
    """The end of the take, and of everything in it."""
    ends = [take.head.duration_s, *(sample.at_s for sample in take.samples)]
    return max([*ends, *(operation.returned_s for operation in take.operations), 1.0])


def from_s(take: Take) -> float:
    """Where pictures begin: shortly before anything is asked or broken."""
    begins = [one.invoked_s for one in load_of(take)]
    if not begins:
        return 0.0
    begins += [fault.began.from_s for fault in take.head.faults]
    return max(0.0, min(begins) - _LEAD_SHARE * (until_s(take) - min(begins)))


def load_of(take: Take) -> tuple[Operation, ...]:
    """What clients asked under load, without preparations and the reads in the end."""
    return tuple(one for one in take.operations if one.note not in _PREPARATIONS)


def span_of(fault: Fault, end_s: float) -> Span:
    """From before it began until it was over."""
    return Span(fault.began.from_s, end_s if fault.ended is None else fault.ended.until_s)


def fault_spans(take: Take) -> tuple[Span, ...]:
    """When anything was broken; what overlaps is one."""
    end_s = until_s(take)
    return tuple(_joined(span_of(fault, end_s) for fault in take.head.faults))


def _joined(spans: Iterable[Span]) -> Iterator[Span]:
    current: Span | None = None
    for span in sorted(spans, key=lambda span: span.from_s):
        if current is not None and span.from_s <= current.until_s:
            current = Span(current.from_s, max(current.until_s, span.until_s))
            continue
        if current is not None:
            yield current
        current = span
    if current is not None:
        yield current


def broken_span(take: Take) -> Span | None:
    """While the fault lasted and the nodes knew of it, as far as that was noted."""
    window = noticed(take) or broken(take)
    return None if window is None else Span(window.from_s, window.until_s)


def sides_of(take: Take) -> tuple[str, ...]:
    """Sides whose clients asked for something, in the order of the cut; "" for all as one."""
    seen = {operation.side for operation in load_of(take)}
    known = [side for side in take.head.sides if side in seen]
    sides = (*known, *sorted(seen - set(known)))
    return sides if 1 < len(sides) <= _SIDES_MAX else ("",)


def side_name(take: Take, side: str) -> str:
    """As titles have it: with its nodes, where that says more."""
    if not side:
        return "all clients"
    if side == ROAMING:
        return "roaming clients"
    nodes = take.head.sides.get(side, ())
    return clean(f"side {side} ({' '.join(nodes)})" if nodes else f"side {side}")


def of_side(operations: Iterable[Operation], side: str) -> tuple[Operation, ...]:
    """Those of clients there; all of them for ""."""
    return tuple(one for one in operations if not side or one.side == side)


def answered_percent(operations: Iterable[Operation], span: Span) -> float | None:
    """What share of the requests that were sent in the span was answered; None if none was."""
    outcomes = [one.outcome for one in operations if span.holds(one.invoked_s)]
    if not outcomes:
        return None
    return 100 * outcomes.count(Outcome.OK) / len(outcomes)


def answered_by_bin(operations: Iterable[Operation], bins: Bins) -> list[float | None]:
    """The same for each bin."""
    asked, answered = [0] * bins.count, [0] * bins.count
    for operation in operations:
        index = bins.index(operation.invoked_s)
        asked[index] += 1
        answered[index] += operation.outcome is Outcome.OK
    return [100 * ok / all_ if all_ else None for ok, all_ in zip(answered, asked, strict=True)]


def modes_of(take: Take) -> tuple[str, ...]:
    """Names of the modes that were used, in the order in which the take has them."""
    seen = {operation.mode for operation in load_of(take)}
    known = [mode.name for mode in take.head.modes if mode.name in seen]
    return (*known, *sorted(seen - set(known)))


def quantile(values: Sequence[float], share: float) -> float | None:
    """The value below which so large a share of them lies."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))] if ranked else None
