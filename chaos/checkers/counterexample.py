"""Few operations on a register that have no order, and why, in words."""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chaos.checkers.register import Call, Search, State, indexes, that_matter
from chaos.values import named

# ---- few operations that are enough


class Refuting:
    """Says whether calls have no order, for as long as its steps last.

    Afterwards it never says so again, which ends the shrinking where it is.
    """

    def __init__(self, initial: State, steps: int) -> None:
        self._initial = initial
        self._left = steps

    def __call__(self, calls: Sequence[Call]) -> bool:
        search = Search(calls, self._initial)
        found = search.run(self._left)
        self._left -= search.steps
        return found is not None and not found.complete


def smallest(calls: list[Call], is_refuted: Refuting) -> list[Call]:
    """Leave out what is not needed to see that there is no order.

    A history that has an order still has one without some of its reads, or without a value that
    nobody reads. So nothing else is left out: a value goes with all its reads, or a read alone.
    """
    few = _shortest_prefix(calls, is_refuted)
    before = len(calls) + 1
    while len(few) < before:
        before = len(few)
        few = _without_single(_without_values(few, is_refuted), is_refuted)
    # A value may have been read before it was written; who wrote it belongs to the proof.
    kept = set(indexes(few))
    orphans = {call.state for call in few} - {call.state for call in few if call.is_write}
    return [
        call
        for call in calls
        if call.operation in kept or (call.is_write and call.state in orphans)
    ]


def _shortest_prefix(calls: Sequence[Call], is_refuted: Refuting) -> list[Call]:
    """What was known when it first was too late for any order."""
    returns_s = sorted({call.until_s for call in calls if not call.may_never_be})
    first = bisect_left(
        returns_s,
        True,
        hi=len(returns_s) - 1,
        key=lambda at_s: is_refuted(_known_at(calls, at_s)),
    )
    return _known_at(calls, returns_s[first])


def _known_at(calls: Iterable[Call], at_s: float) -> list[Call]:
    """What an observer knew then: writes under way may take effect later, or never."""
    return that_matter(
        [
            call if call.until_s <= at_s else call._replace(until_s=math.inf)
            for call in calls
            if call.from_s <= at_s and (call.is_write or call.until_s <= at_s)
        ]
    )


def _without_values(calls: list[Call], is_refuted: Refuting) -> list[Call]:
    """Leave out as many values as can be, by ever smaller heaps of them (Zeller's ddmin)."""
    heap = max(len({call.state for call in calls}) // 2, 1)
    while True:
        values = list(dict.fromkeys(call.state for call in calls))
        for start in range(0, len(values), heap):
            gone = set(values[start : start + heap])
            rest = [call for call in calls if call.state not in gone]
            if is_refuted(rest):
                calls = rest
        if heap == 1:
            return calls
        heap //= 2


def _without_single(calls: list[Call], is_refuted: Refuting) -> list[Call]:
    """Leave out reads, then writes that nobody reads, one by one."""
    for call in sorted(calls, key=lambda call: call.is_write):
        rest = [other for other in calls if other is not call]
        is_read = any(not other.is_write and other.state == call.state for other in rest)
        if not (call.is_write and is_read) and is_refuted(rest):
            calls = rest
    return calls


# ---- why, in words


def explained(calls: Sequence[Call], initial: State) -> str:
    """Why these calls, as few as they are, have no order."""
    return (
        _impossible_read(calls, initial)
        or _two_values(calls, initial)
        or "; ".join(_told(call) for call in calls)
        + ": no order of these explains what each was shown."
    )


def _impossible_read(calls: Sequence[Call], initial: State) -> str | None:
    for read in calls:
        if read.is_write or read.state == initial:
            continue
        shown = f"{read.client} was shown {_name(read.state)} at {_at(read.until_s)}"
        if len(read.state) > 1:
            return f"{shown}: {len(read.state)} values at once, and a register holds one."
        writes = [call for call in calls if call.is_write and call.state == read.state]
        if not writes:
            return f"{shown}, which nobody wrote, or only a write that failed for certain."
        first = min(writes, key=lambda call: call.from_s)
        if read.until_s < first.from_s:
            began = f"{first.client} began to write it at {_at(first.from_s)}"
            return f"{shown}, before {began}."
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Zone:
    """When one value must have been there (Gibbons and Korach, "Testing Shared Memories", 1997).

    Attributes:
        known: the call by whose return it had been there; None if it was there at first.
        last: the call after whose beginning it was still there, or not there before.
    """

    state: State
    known: Call | None
    last: Call

    @property
    def known_s(self) -> float:
        return -math.inf if self.known is None else self.known.until_s

    @property
    def stayed(self) -> bool:
        """Whether it was there all the time from the one to the other."""
        return self.known_s < self.last.from_s


def _zone(state: State, calls: Sequence[Call], *, at_first: bool) -> _Zone:
    own = [call for call in calls if call.state == state]
    return _Zone(
        state=state,
        known=None if at_first else min(own, key=lambda call: call.until_s),
        last=max(own, key=lambda call: call.from_s),
    )


def _two_values(calls: Sequence[Call], initial: State) -> str | None:
    """Why two values, each written once, cannot both have been there as they were seen."""
    states = list(dict.fromkeys(call.state for call in calls))
    writes = Counter(call.state for call in calls if call.is_write)
    writes[initial] += 1
    if len(states) != 2 or any(writes[state] != 1 for state in states):
        return None
    zones = [_zone(state, calls, at_first=state == initial) for state in states]
    stayed = sorted((zone for zone in zones if zone.stayed), key=lambda zone: zone.known_s)
    if len(stayed) == 2:
        return _both_at_once(*stayed)
    if len(stayed) == 1:
        (old,) = stayed
        return _came_back(old, [call for call in calls if call.state != old.state])
    return None


def _came_back(old: _Zone, between: Sequence[Call]) -> str:
    """The old value was seen again after another had been there."""
    new = _name(between[0].state)
    last = f"{old.last.client} asked at {_at(old.last.from_s)} and was shown {_name(old.state)}"
    return " ".join(
        (
            f"{_known(old)}.",
            *(f"{_told(call)}." for call in between),
            f"After that {last}, which {new} had replaced.",
        )
    )


def _both_at_once(first: _Zone, second: _Zone) -> str:
    """Each of two values was there all the time, and these times overlap."""
    from_s, until_s = second.known_s, min(first.last.from_s, second.last.from_s)
    return " ".join(
        f"{_known(zone)}, and {zone.last.client}, who asked at {_at(zone.last.from_s)},"
        f" was still shown it."
        for zone in (first, second)
    ) + (
        f" So both were there from {_at(from_s)} to {_at(until_s)},"
        " and a register holds one value at a time."
    )


def _known(zone: _Zone) -> str:
    """By when the value had been there."""
    value = _name(zone.state)
    if zone.known is None:
        return f"At first there was {value}"
    if zone.known.is_write:
        return f"{zone.known.client} had written {value} by {_at(zone.known.until_s)}"
    return f"{zone.known.client} had read {value} by {_at(zone.known.until_s)}"


def _told(call: Call) -> str:
    """One call in words."""
    value, began = _name(call.state), _at(call.from_s)
    if not call.is_write:
        return f"{call.client} asked at {began} and was shown {value} by {_at(call.until_s)}"
    ended = (
        "never heard of it" if call.may_never_be else f"had it acknowledged by {_at(call.until_s)}"
    )
    return f"{call.client} began to write {value} at {began} and {ended}"


def _name(state: State) -> str:
    """A value as one says it: who wrote it, and the how many-eth write of his it is."""
    return " and ".join(map(_text_name, state)) if state else "nothing"


def _text_name(text: str) -> str:
    value = named(text)
    return text[:24] if value is None else f"{value.client}#{value.number}"


def _at(at_s: float) -> str:
    return f"{at_s:.3f} s"
