"""When the next request is due, and what it does. Pure.

Closed loop: whenever a connection is free. It shows what the cluster can carry, but a server that
stalls stops the clock too. Open loop: at fixed instants, whatever the cluster does, and latency
counts from the instant a request was due: a stall shows in full (Tene's "coordinated omission").
"""

from collections import deque
from random import Random
from typing import NamedTuple, Protocol

TICK_S = 0.001
"""How fine timers are; an open loop sends up to this early rather than late, so that waiting for
a timer never looks like latency."""


class Choice(NamedTuple):
    """One request to make: a read or a write, and the number of its key."""

    is_write: bool
    key: int


class Pace(Protocol):
    """When requests begin."""

    def next(self, now_s: float) -> float | None:
        """The instant the next request counts from, or None if none is due now."""


class Work(Protocol):
    """What requests do."""

    def next(self) -> Choice | None:
        """The next request, or None if all is done."""

    def failed(self, choice: Choice) -> None:
        """Take note that this one did not work."""


class ClosedLoop:
    """A request is due whenever it is asked for, until the end."""

    def __init__(self, *, end_s: float) -> None:
        self._end_s = end_s

    def next(self, now_s: float) -> float | None:
        return now_s if now_s < self._end_s else None


class OpenLoop:
    """A request is due every 1/rate seconds, until the end."""

    def __init__(self, *, rate: float, start_s: float, end_s: float) -> None:
        self._rate = rate
        self._start_s = start_s
        self._end_s = end_s
        self._given = 0

    def next(self, now_s: float) -> float | None:
        due_s = self._start_s + self._given / self._rate
        if due_s > now_s + TICK_S or max(due_s, now_s) >= self._end_s:
            return None
        self._given += 1
        return min(due_s, now_s)

    def never_sent(self) -> int:
        """How many were due before the end, and no connection was free for."""
        due = int((self._end_s - self._start_s) * self._rate + 0.5)
        return max(0, due - self._given)


class Mix:
    """Reads and writes of random keys, for ever."""

    def __init__(self, *, keys: int, read_fraction: float, dice: Random) -> None:
        self._keys = keys
        self._read_fraction = read_fraction
        self._random = dice.random

    def next(self) -> Choice | None:
        return Choice(self._random() >= self._read_fraction, int(self._random() * self._keys))

    def failed(self, choice: Choice) -> None:
        """It is one of many."""


class EveryKeyOnce:
    """A write of each key, again and again until it works."""

    def __init__(self, *, keys: int) -> None:
        self._left = deque(range(keys))

    def next(self) -> Choice | None:
        return Choice(True, self._left.popleft()) if self._left else None

    def failed(self, choice: Choice) -> None:
        self._left.append(choice.key)
