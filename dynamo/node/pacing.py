"""How fast background work may go: as fast as the requests of clients do not suffer from it.

Handing over hints, comparing replicas, moving and mending keys all pass through one gate. Whoever
wants to work asks for units first (a unit is about one key read, sent or stored), and the gate
lets so many a second through. How many is judged anew in every window from the 99th percentile of
the clients' requests in it, against a target (Dynamo 6.5: an admission controller for background
tasks, fed by what foreground operations take):

    p99 above the target    half as fast, or a quarter where it is above twice the target
    p99 below it            a fifth faster
    hardly any requests     as fast as can be: nobody is there to suffer
    no background work      at most the pace to begin with: a flood would be noticed too late

The target is half as much again as what requests take while no background work is done, within
bounds; what is quiet is learnt as it goes, for it differs by a hundred times from machine to
machine and load to load.
"""

import asyncio
from collections.abc import Callable, Sequence

WINDOW_S = 0.5
"""How long a window lasts: some hundred requests under load, and a pace that follows at once."""

SAMPLES_MIN = 20
WINDOW_S_MAX = 3.0
"""With few requests a window goes on until there are enough for a 99th percentile to say something;
with so few in so long, nobody is there."""

RATE_MIN = 20.0
RATE_START = 50.0
RATE_MAX = 20_000.0
"""Units a second. Never none: what is never repaired is lost in the end. A pace to begin with takes
a few per cent of a core, and it is ten times as fast after seven seconds in which nobody minds."""

GROWTH = 1.2

TARGET_FACTOR = 1.5

TARGET_S_MIN = 0.005
"""Below this the scheduling of the machine is all that is measured."""

_QUIET_WEIGHT = 0.2
_SAMPLES_MAX = 20_000
_BURST_S = 0.05


class Pacer:
    """The gate of one node's background work.

    Attributes:
        rate: units that pass in a second now.
        units: that have passed since the start.
        quiet_p99_s: what requests take without background work, as far as is known; 0.0: unknown.
        p99_s: of the last window that had requests enough.
    """

    def __init__(self, clock_s: Callable[[], float], *, p99_s_max: float) -> None:
        """Nothing is known yet.

        Args:
            clock_s: the loop's clock.
            p99_s_max: the target is never above this.
        """
        self.rate = RATE_START
        self.units = 0
        self.quiet_p99_s = 0.0
        self.p99_s = 0.0
        self._clock_s = clock_s
        self._p99_s_max = p99_s_max
        self._latencies_s: list[float] = []
        self._units_before = 0
        self._is_alone = False
        self._window_began_s = clock_s()
        self._next_s = clock_s()

    @property
    def target_s(self) -> float:
        """The 99th percentile that background work must not push requests above."""
        return min(max(TARGET_FACTOR * self.quiet_p99_s, TARGET_S_MIN), self._p99_s_max)

    def observe(self, latency_s: float) -> None:
        """A request of a client has ended."""
        if self._is_alone:
            self._is_alone = False
            self.rate = RATE_START
        if len(self._latencies_s) < _SAMPLES_MAX:
            self._latencies_s.append(latency_s)

    async def admit(self, units: int = 1) -> None:
        """Return once that much more background work may be done.

        It waits for `units / rate` seconds in the mean, which the lowest rate bounds.
        """
        now_s = self._clock_s()
        self.units += units
        self._next_s = max(self._next_s, now_s - _BURST_S) + units / self.rate
        if self._next_s > now_s:
            await asyncio.sleep(self._next_s - now_s)

    async def step(self) -> None:
        """Wait a while, then judge the window if it is over."""
        await asyncio.sleep(WINDOW_S)
        window_s = self._clock_s() - self._window_began_s
        enough = len(self._latencies_s) >= SAMPLES_MIN
        if not enough and window_s < WINDOW_S_MAX:
            return
        latencies_s, self._latencies_s = self._latencies_s, []
        units, self._units_before = self.units - self._units_before, self.units
        self._window_began_s = self._clock_s()
        if enough:
            self._judge(sorted(latencies_s), units, window_s)
        else:
            self._is_alone = True
            self.rate = RATE_MAX

    def _judge(self, latencies_s: Sequence[float], units: int, window_s: float) -> None:
        """Set the pace by what requests took, and how much background work was done meanwhile."""
        self.p99_s = latencies_s[int(len(latencies_s) * 0.99)]
        if not units or self.rate == RATE_MIN:
            # So little work is nobody's trouble: if requests are slow they are so by themselves.
            self._learn_quiet()
        if not units:
            self.rate = min(self.rate, RATE_START)
        elif self.p99_s > self.target_s:
            slower = 4 if self.p99_s > 2 * self.target_s else 2
            self.rate = max(self.rate / slower, RATE_MIN)
        elif units > self.rate * window_s / 2:
            # Work that did not need the pace proves nothing about it.
            self.rate = min(GROWTH * self.rate, RATE_MAX)

    def _learn_quiet(self) -> None:
        known = self.quiet_p99_s or self.p99_s
        self.quiet_p99_s = known + _QUIET_WEIGHT * (self.p99_s - known)
