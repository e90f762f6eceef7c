"""Who answers and who does not, as one node sees it: a phi-accrual failure detector.

After Hayashibara et al., "The phi accrual failure detector" (SRDS 2004): instead of a fixed
timeout, the silence since the last sign of life is held against the intervals seen so far, and phi
grows with the improbability of that silence. phi = 8 means one wrong suspicion in 10^8 if the
intervals were normal. A pause that is always forgiven (`pause_s`) keeps a collection of garbage or
a busy machine from looking like a death.

An opinion is local and only about reachability; who belongs to the cluster is membership's business
(Dynamo 4.8: a transient outage is not a departure).
"""

import enum
import math
from collections import deque

from dynamo.core.ids import NodeId

INTERVALS_MAX = 100  # enough to forget a bad minute within a minute

INTERVAL_SHARE_MAX = 1.5
"""No interval counts for more than this many expected ones: a single long pause, which is forgiven
anyway, would else let the next death go unnoticed for seconds."""

DEVIATION_S_MIN = 0.1  # timers of a quiet machine are more exact than any network stays


class Opinion(enum.StrEnum):
    """What one node thinks of another."""

    UP = "up"
    SUSPECT = "suspect"
    DOWN = "down"


class _Heard:
    """The signs of life of one peer.

    The mean and the deviation are kept as running sums: phi is asked for far more often than
    heartbeats come.
    """

    __slots__ = ("intervals", "last_heartbeat_s", "last_s", "squares", "suspected_since_s", "total")

    def __init__(self, expected_s: float) -> None:
        self.intervals: deque[float] = deque([expected_s])
        self.total = expected_s
        self.squares = expected_s * expected_s
        self.last_heartbeat_s: float | None = None
        self.last_s: float | None = None
        self.suspected_since_s: float | None = None

    def add(self, interval_s: float) -> None:
        self.intervals.append(interval_s)
        self.total += interval_s
        self.squares += interval_s * interval_s
        if len(self.intervals) > INTERVALS_MAX:
            oldest = self.intervals.popleft()
            self.total -= oldest
            self.squares -= oldest * oldest

    def phi(self, silence_s: float, pause_s: float) -> float:
        count = len(self.intervals)
        mean = self.total / count
        variance = max(self.squares / count - mean * mean, 0.0)
        deviation = max(math.sqrt(variance), DEVIATION_S_MIN)
        return _phi((silence_s - mean - pause_s) / deviation)


def _phi(deviations: float) -> float:
    """-log10 of the chance that a normal variable exceeds its mean by so many deviations."""
    if deviations > 30:  # erfc is 0 beyond 38; nobody needs to tell 200 from 300
        return 200.0
    return -math.log10(0.5 * math.erfc(deviations / math.sqrt(2)))


class Detector:
    """One node's opinions of its peers, fed with signs of life, asked with the time.

    Attributes:
        expected_s: the interval at which heartbeats are sent.
        suspect_phi: suspicion begins here.
        pause_s: silence that is always forgiven, on top of the usual interval.
        down_after_s: a suspicion of this age is called down; nothing but the word depends on it.
    """

    def __init__(
        self,
        *,
        expected_s: float,
        suspect_phi: float,
        pause_s: float,
        down_after_s: float = 30.0,
    ) -> None:
        self.expected_s = expected_s
        self.suspect_phi = suspect_phi
        self.pause_s = pause_s
        self.down_after_s = down_after_s
        self._heard: dict[NodeId, _Heard] = {}

    def heartbeat(self, node: NodeId, now_s: float) -> None:
        """A heartbeat was answered."""
        heard = self._of(node)
        if heard.last_heartbeat_s is not None and heard.suspected_since_s is None:
            interval_s = now_s - heard.last_heartbeat_s
            heard.add(min(interval_s, INTERVAL_SHARE_MAX * self.expected_s))
        heard.last_heartbeat_s = now_s
        heard.last_s = now_s
        heard.suspected_since_s = None

    def heard(self, node: NodeId, now_s: float) -> None:
        """Any other sign of life: a reply to a call, a finished handshake."""
        heard = self._of(node)
        if heard.suspected_since_s is not None:
            heard.last_heartbeat_s = None
        heard.last_s = now_s
        heard.suspected_since_s = None

    def lost(self, node: NodeId, now_s: float) -> None:
        """The connection broke: suspected at once, until the next sign of life."""
        heard = self._of(node)
        heard.last_s = None
        heard.last_heartbeat_s = None  # an absence is no interval between heartbeats
        if heard.suspected_since_s is None:
            heard.suspected_since_s = now_s

    def stood_still(self, pause_s: float) -> None:
        """This node itself did nothing for so long: what it did not hear then says nothing."""
        for heard in self._heard.values():
            if heard.last_s is not None:
                heard.last_s += pause_s
            heard.last_heartbeat_s = None

    def phi(self, node: NodeId, now_s: float) -> float:
        """How improbable this silence is; 200 for a node that was lost or never heard of."""
        heard = self._heard.get(node)
        if heard is None or heard.last_s is None:
            return 200.0
        return heard.phi(now_s - heard.last_s, self.pause_s)

    def opinion(self, node: NodeId, now_s: float) -> Opinion:
        """What to think of `node` now; the moment of the first suspicion is remembered."""
        if self.phi(node, now_s) < self.suspect_phi:
            return Opinion.UP
        heard = self._of(node)
        if heard.suspected_since_s is None:
            heard.suspected_since_s = now_s
        if now_s - heard.suspected_since_s >= self.down_after_s:
            return Opinion.DOWN
        return Opinion.SUSPECT

    def _of(self, node: NodeId) -> _Heard:
        heard = self._heard.get(node)
        if heard is None:
            heard = self._heard[node] = _Heard(self.expected_s)
        return heard
