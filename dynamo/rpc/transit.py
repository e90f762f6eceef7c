"""How long a request was on its way, by two clocks that know nothing of each other. Pure.

A request says how long after its sender's hello it left; whoever takes it knows when the hello was
read. The difference of the two intervals is what the request took longer than the hello did, and
the hello took at most `HANDSHAKE_S_MAX`. What comes sooner than the hello shows that the hello was
slow, so the error only shrinks. Two clocks drift apart as well; a receiver gives way to that by so
little that a delayed request still looks delayed.
"""

from math import inf

DRIFT_MAX = 0.001
"""Seconds a second by which two clocks may drift apart: two that are slewed against each other at
the most that Linux allows (500 ppm each)."""

WINDOW_S = 10.0
"""A heartbeat comes every half second: in this time some request was as fast as the link allows."""


class Transit:
    """What one connection's requests tell of its sender's clock."""

    def __init__(self, hello_read_s: float) -> None:
        # When the sender's hello left, by the receiver's clock, as well as that is known.
        self._zero_s = hello_read_s
        self._earliest_s = inf
        self._window_ends_s = hello_read_s + WINDOW_S

    def sent_s(self, came_s: float, stamp_ms: int) -> float:
        """When a request was sent, by the receiver's clock; not later than it came.

        Args:
            came_s: when it was read.
            stamp_ms: how long after its hello the sender sent it, by the sender's clock.
        """
        stamp_s = stamp_ms / 1000
        zero_s = came_s - stamp_s
        if zero_s < self._earliest_s:
            self._earliest_s = zero_s
            self._zero_s = min(self._zero_s, zero_s)
        if came_s >= self._window_ends_s:
            self._give_way(came_s)
        return self._zero_s + stamp_s

    def _give_way(self, now_s: float) -> None:
        """A window is over in which even the fastest request seemed to take a while."""
        self._zero_s = min(self._earliest_s, self._zero_s + DRIFT_MAX * WINDOW_S)
        self._earliest_s = inf
        self._window_ends_s = now_s + WINDOW_S
