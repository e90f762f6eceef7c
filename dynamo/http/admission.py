"""The door: how many requests of clients may be at work before the next one is refused. Pure.

By Little's law a request waits for as long as it takes to complete those before it: requests at
work over completions a second. A request that would wait longer than `queue_s_max` is better told
so at once. But a request may also be slow because it waits for something else (a replica that
died, a long list, a slow disk), and many of these are no queue: the node is free to take more. So
the door closes only while the loop itself is late, that is while there is more to do than it can.
What is completed then is what the node can carry; what is completed at other times is only what
was asked of it.
"""

from typing import Final

BEAT_S: Final = 0.05
"""How often the loop is asked to be in time."""

LATE_S: Final = 0.005
"""A loop that is later than this on average has no time left: a free one is late by 0.2 ms, on a
machine with three times as many busy processes as cores too."""

AT_WORK_MIN: Final = 64
"""So many may always be at work: a turn of the loop and one flush of the disk serve them all."""

STOOD_STILL_S: Final = 1.0
"""A loop that is so late was stopped, or its machine was; that says nothing of what it carries."""

_LATE_S_MAX: Final = 4 * LATE_S  # one long turn alone is no overload
_LATE_MEMORY_S: Final = 0.4
_RATE_MEMORY_S: Final = 1.0


class Admission:
    """Counts what is at work, and says how much may be.

    Attributes:
        at_work: requests that have begun and not ended.
        at_work_max: never more than this.
        limit: one more is refused when so many are at work.
    """

    def __init__(self, *, at_work_max: int, queue_s_max: float) -> None:
        """Nobody has come yet, and nobody is refused by the expected wait before the first beat.

        Args:
            at_work_max: the hard bound.
            queue_s_max: longest expected wait.
        """
        self.at_work = 0
        self.at_work_max = at_work_max
        self.limit = at_work_max
        self._queue_s_max = queue_s_max
        self._late_s = 0.0
        self._done = 0
        self._done_per_s = 0.0

    @property
    def is_late(self) -> bool:
        """Whether there is more to do than this node can, so that requests wait for each other."""
        return self.limit < self.at_work_max

    @property
    def is_busy(self) -> bool:
        """Whether requests may have to be refused, so that it pays to look at them early."""
        return self.limit < self.at_work_max or self.at_work >= self.limit

    @property
    def is_closed(self) -> bool:
        """Whether a request that came now would wait for too long."""
        return self.at_work >= self.limit

    @property
    def is_full(self) -> bool:
        """Whether nobody at all may come in."""
        return self.at_work >= self.at_work_max

    def begin(self) -> None:
        """A request was let in."""
        self.at_work += 1

    def end(self) -> None:
        """One that was let in is over, well or not."""
        self.at_work -= 1
        self._done += 1

    def beat(self, elapsed_s: float) -> None:
        """So much time has passed since the beat before, where it should have been `BEAT_S`."""
        done, self._done = self._done, 0
        if elapsed_s > STOOD_STILL_S:
            return
        late_s = min(max(elapsed_s - BEAT_S, 0.0), _LATE_S_MAX)
        self._late_s += (late_s - self._late_s) * _weight(elapsed_s, _LATE_MEMORY_S)
        is_late = self._late_s > LATE_S
        done_per_s = done / elapsed_s
        if is_late or done_per_s > self._done_per_s:
            change = done_per_s - self._done_per_s
            self._done_per_s += change * _weight(elapsed_s, _RATE_MEMORY_S)
        self.limit = self.at_work_max
        if is_late:
            in_time = int(self._done_per_s * self._queue_s_max)
            self.limit = min(self.at_work_max, max(AT_WORK_MIN, in_time))


def _weight(elapsed_s: float, memory_s: float) -> float:
    """Of the newest in a moving average that forgets within about `memory_s`."""
    return elapsed_s / (elapsed_s + memory_s)
