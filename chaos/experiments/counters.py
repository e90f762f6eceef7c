"""What the nodes counted between two instants, over all of them and all their processes. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from chaos.checkers.lives import Life, lives
from chaos.recording import Take

MENDED: Final = ("exchange_keys_pulled_total", "exchange_keys_pushed_total")
"""Keys that anti-entropy brought from one node to another, by whoever asked for it."""

READ_REPAIRS: Final = ("read_repairs_total",)


def rise(
    take: Take,
    names: Sequence[str],
    from_s: float = 0.0,
    until_s: float = float("inf"),
    *,
    nodes: Iterable[str] | None = None,
) -> float:
    """By how much counters grew, by the last looks before both instants.

    What a process counted between the last look at it and its violent death is not known.

    Args:
        take: with its samples.
        names: counters that begin at zero in each process.
        from_s: from when on.
        until_s: until when.
        nodes: whose; everybody's if not given.
    """
    whose = set(take.head.nodes if nodes is None else nodes)
    return sum(
        _at(life, names, until_s) - _at(life, names, from_s)
        for life in lives(take.samples)
        if life.node in whose
    )


def _at(life: Life, names: Sequence[str], at_s: float) -> float:
    """What a process had counted by then; nothing, if it was not there yet."""
    seen = [
        figures for when_s, figures in zip(life.at_s, life.figures, strict=True) if when_s <= at_s
    ]
    return sum(seen[-1].get(name, 0.0) for name in names) if seen else 0.0
