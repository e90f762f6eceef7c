"""A register: the operations on it that count, and the search for an order of them.

See `linearizability` for what is searched for, and from where the search and its shortcuts come.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from chaos.recording import Action, Operation, Outcome

State = tuple[str, ...]
"""What a register holds: a value or nothing. What a read shows is compared with it as it is, so a
read that shows several values at once agrees with no state at all."""

NOTHING: Final[State] = ()


# ---- what counts


class Call(NamedTuple):
    """An operation as a register has it.

    Attributes:
        operation: its index.
        state: what it writes, or what it was shown.
        until_s: when it returned; infinite if it may take effect at any time, or never.
    """

    operation: int
    client: str
    is_write: bool
    state: State
    from_s: float
    until_s: float

    @property
    def may_never_be(self) -> bool:
        return self.until_s == math.inf


def calls_of(operations: Iterable[Operation]) -> list[Call]:
    """Those that count, by invocation."""
    calls = [call for operation in operations if (call := _call(operation)) is not None]
    return sorted(that_matter(calls), key=lambda call: (call.from_s, call.operation))


def that_matter(calls: Sequence[Call]) -> list[Call]:
    """All but writes that may never be and whose value nobody read.

    If there is an order with such a write, there is one without.
    """
    read = {call.state for call in calls if not call.is_write}
    return [call for call in calls if not call.may_never_be or call.state in read]


def _call(operation: Operation) -> Call | None:
    if operation.is_write:
        return _write(operation)
    if operation.outcome is not Outcome.OK or operation.shown is None:
        return None
    return Call(
        operation=operation.index,
        client=operation.client,
        is_write=False,
        state=operation.shown,
        from_s=operation.invoked_s,
        until_s=operation.returned_s,
    )


def _write(operation: Operation) -> Call | None:
    if operation.outcome is Outcome.FAIL:
        return None
    state = NOTHING
    if operation.action is Action.PUT:
        assert operation.written is not None, "a PUT says what it wrote"
        state = (operation.written,)
    return Call(
        operation=operation.index,
        client=operation.client,
        is_write=True,
        state=state,
        from_s=operation.invoked_s,
        until_s=operation.returned_s if operation.outcome is Outcome.OK else math.inf,
    )


def indexes(calls: Iterable[Call]) -> tuple[int, ...]:
    """The indexes of their operations."""
    return tuple(call.operation for call in calls)


# ---- the search


class Found(NamedTuple):
    """What a search came to.

    Attributes:
        order: one that explains everything, or the longest that was found.
    """

    complete: bool
    order: list[Call]


class _Step(NamedTuple):
    """A call that was put next, and what to go back to.

    Attributes:
        before: what the register held.
        low: the first bounded call that had not been put anywhere.
        others: calls to try in its place.
    """

    number: int
    before: State
    low: int
    others: Iterator[int]


class Search:
    """A walk through all orders that the calls' times allow.

    Calls and returns lie in a list, by time, that can lose a call and take it back in constant time
    (Lowe): whatever stands before the list's first return may come next. Calls are numbered by
    their invocation, those that may never take effect after all others.

    Attributes:
        steps: how many it has taken.
    """

    def __init__(self, calls: Sequence[Call], initial: State, *, looks_ahead: bool = True) -> None:
        """Nothing is searched yet.

        Args:
            calls: by invocation.
            initial: what the register holds at first.
            looks_ahead: turn back where a value would be replaced that somebody has yet to read.
                Without, the longest order that is found is the longest there is.
        """
        bounded = [call for call in calls if not call.may_never_be]
        self._calls = bounded + [call for call in calls if call.may_never_be]
        self._bounded = len(bounded)
        self._left = len(bounded)
        self.steps = 0
        self._state = initial
        self._looks_ahead = looks_ahead
        self._low = 0
        self._put = 0  # a bit for each call
        self._readers = Counter(call.state for call in calls if not call.is_write)
        self._writers = Counter(call.state for call in calls if call.is_write)
        self._link()

    def _link(self) -> None:
        """Number n is the call, number n + count its return; then come the list's two ends."""
        count = len(self._calls)
        events = [(call.from_s, 0, n) for n, call in enumerate(self._calls)]
        events += [(call.until_s, 1, n + count) for n, call in enumerate(self._calls)]
        self._head, tail = 2 * count, 2 * count + 1
        line = [self._head, *(number for _, _, number in sorted(events)), tail]
        self._next = [0] * len(line)
        self._previous = [0] * len(line)
        for number, after in pairwise(line):
            self._next[number] = after
            self._previous[after] = number

    def run(self, steps_max: int) -> Found | None:
        """Search; None if that took more than `steps_max` steps."""
        if not self._left:
            return Found(complete=True, order=[])
        path: list[_Step] = []
        longest: list[Call] = []
        tried: set[tuple[int, int, int, State]] = set()
        options = self._options()
        while self.steps < steps_max:
            self.steps += 1
            number = next(options, None)
            if number is None:
                if len(path) > len(longest):
                    longest = [self._calls[step.number] for step in path]
                if not path:
                    return Found(complete=False, order=longest)
                options = self._take_back(path.pop())
                continue
            step = self._place(number, options)
            if not self._left:
                order = [self._calls[before.number] for before in (*path, step)]
                return Found(complete=True, order=order)
            here = self._position()
            if here in tried:
                self._take_back(step)
            else:
                tried.add(here)
                path.append(step)
                options = self._options()
        return None

    def _options(self) -> Iterator[int]:
        """What may come next."""
        writes: list[int] = []
        unread: int | None = None
        number = self._next[self._head]
        while number < len(self._calls):
            call = self._calls[number]
            if not call.is_write and call.state == self._state:
                return iter((number,))
            if call.is_write:
                writes.append(number)
                unread = number if not self._readers[call.state] else unread
            number = self._next[number]
        if self._looks_ahead and self._readers[self._state] and not self._writers[self._state]:
            return iter(())
        return iter(writes if unread is None else (unread,))

    def _position(self) -> tuple[int, int, int, State]:
        """What the rest of the search depends on.

        Nearly all calls are before the first that is missing, so few bits of each set are kept.
        """
        bounded = self._put & ((1 << self._bounded) - 1)
        return self._low, bounded >> self._low, self._put >> self._bounded, self._state

    def _place(self, number: int, others: Iterator[int]) -> _Step:
        step = _Step(number, self._state, self._low, others)
        call = self._calls[number]
        self._count(call, -1)
        self._put ^= 1 << number
        while self._low < self._bounded and self._put >> self._low & 1:
            self._low += 1
        for event in (number, number + len(self._calls)):
            before, after = self._previous[event], self._next[event]
            self._next[before] = after
            self._previous[after] = before
        if call.is_write:
            self._state = call.state
        return step

    def _take_back(self, step: _Step) -> Iterator[int]:
        """Undo a step; returns what to try in its place."""
        call = self._calls[step.number]
        self._count(call, 1)
        self._put ^= 1 << step.number
        self._low = step.low
        for event in (step.number + len(self._calls), step.number):
            self._next[self._previous[event]] = event
            self._previous[self._next[event]] = event
        self._state = step.before
        return step.others

    def _count(self, call: Call, change: int) -> None:
        counted = self._writers if call.is_write else self._readers
        counted[call.state] += change
        if not call.may_never_be:
            self._left += change
