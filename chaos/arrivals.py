"""When requests are due, in an open loop: by a plan drawn before, whatever the cluster does. Pure.

A client that sends its next request when the last one is answered hides an outage: while it waits
it asks nothing, so a minute without an answer counts as one failure (Tene's "coordinated
omission"). Here a minute without an answer is a minute's worth of requests.
"""

from collections.abc import Iterable, Iterator
from itertools import count
from random import Random

from chaos.recording import Operation

OVERFULL = "the lab had too many requests under way"
"""The error of an arrival that was never sent: the lab's failure and not the store's."""


def evenly(rate_hz: float, dice: Random) -> Iterator[float]:
    """Arrivals at equal distances, for ever; the first somewhere within one distance.

    Args:
        rate_hz: arrivals a second.
        dice: draws the first; so that several streams of one rate do not all arrive at once.

    Yields:
        Seconds since the beginning.
    """
    phase = dice.random()
    return ((phase + number) / rate_hz for number in count())


def poisson(rate_hz: float, dice: Random) -> Iterator[float]:
    """Arrivals that know nothing of each other, as those of many people, for ever.

    Args:
        rate_hz: arrivals a second, on average.
        dice: draws each distance.

    Yields:
        Seconds since the beginning.
    """
    at_s = 0.0
    while True:
        at_s += dice.expovariate(rate_hz)
        yield at_s


def never_sent(operations: Iterable[Operation]) -> int:
    """How many arrivals the lab could not send; a take with any of them says nothing."""
    return sum(operation.error == OVERFULL for operation in operations)
