"""The weather between hosts: how long bytes take on each directed link, and how a link is cut."""

import enum
import random
from collections.abc import Callable
from dataclasses import dataclass


class Cut(enum.Enum):
    """What becomes of the bytes that one host sends towards another.

    Attributes:
        REFUSE: the loud cut: connections between the two are reset, new ones refused.
        DROP: silence. What arrives during the cut is lost, and the connection with it: TCP does not
            deliver what comes after a gap. Nobody is told, not even after the heal.
        STALL: held back, and delivered after the heal, in order.
    """

    REFUSE = "refuse"
    DROP = "drop"
    STALL = "stall"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What latencies are drawn from.

    Attributes:
        base_s: a link's own latency lies between these.
        jitter_s: mean of what each piece of bytes takes on top (exponential).
        spike_share: how many pieces out of 1 are delayed by a spike.
        spike_s: how long a spike is at most.
        split_share: how many pieces out of 1 arrive in two parts.
    """

    base_s: tuple[float, float] = (0.0002, 0.002)
    jitter_s: float = 0.0005
    spike_share: float = 0.002
    spike_s: float = 0.2
    split_share: float = 0.05


class Link:
    """One direction between two hosts.

    Attributes:
        source: who sends.
        target: who receives.
        cut: how it is cut, None if it is open.
        stalled: to be called in this order when the link is open again.
    """

    def __init__(self, source: str, target: str, weather: Weather, dice: random.Random) -> None:
        self.source = source
        self.target = target
        self.cut: Cut | None = None
        self.stalled: list[Callable[[], None]] = []
        self._weather = weather
        self._dice = dice
        self._base_s = dice.uniform(*weather.base_s)

    def latency_s(self) -> float:
        """How long the next piece takes."""
        dice, weather = self._dice, self._weather
        latency_s = self._base_s + dice.expovariate(1.0) * weather.jitter_s
        if dice.random() < weather.spike_share:
            latency_s += dice.random() * weather.spike_s
        return latency_s

    def piece(self, size: int) -> int:
        """How many of `size` bytes that arrived together are handed over together."""
        if size < 2 or self._dice.random() >= self._weather.split_share:
            return size
        return self._dice.randrange(1, size)
