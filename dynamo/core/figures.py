"""A figure: a number that a node tells of itself, declared once and read when somebody asks.

Both ways to ask follow from the declaration: `/stats`, in Riak's manner, and `/metrics`, in that of
Prometheus. Declaring costs nothing while requests run: what is counted stays a plain number where
it is counted, and a figure only knows how to look at it.

                 /stats                          /metrics
    Count        <name>_total                    dynamo_<name>_total
    Gauge        <name>                          dynamo_<name>
    Histogram    <recent name>_{mean,...,100}    dynamo_<name>_{bucket,sum,count}
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple


class Count(NamedTuple):
    """What only grows, from zero at the start of the node."""

    name: str
    help: str
    read: Callable[[], float]


class Gauge(NamedTuple):
    """What is so now."""

    name: str
    help: str
    read: Callable[[], float]


class Buckets(NamedTuple):
    """Values since the start, counted by size.

    Attributes:
        up_to: ascending bounds, each with how many values were at most so large.
        values: how many there were.
        total: their sum.
    """

    up_to: tuple[tuple[float, int], ...]
    values: int
    total: float


class Histogram(NamedTuple):
    """How large something is, each time it happens.

    Attributes:
        name: the unit is its last word.
        help: what is measured.
        read: all since the start.
        recent_name: Riak's.
        recent: the last minute, by what is appended to that name.
    """

    name: str
    help: str
    read: Callable[[], Buckets]
    recent_name: str
    recent: Callable[[], Mapping[str, int]]


Figure = Count | Gauge | Histogram


def named(figures: Iterable[Figure]) -> dict[str, float]:
    """What the figures are now, by the names of `/stats`."""
    now: dict[str, float] = {}
    for figure in figures:
        if isinstance(figure, Histogram):
            for what, value in figure.recent().items():
                now[f"{figure.recent_name}_{what}"] = value
        elif isinstance(figure, Count):
            now[f"{figure.name}_total"] = figure.read()
        else:
            now[figure.name] = figure.read()
    return now
