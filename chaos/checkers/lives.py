"""Lives: what was seen of one process of a node, from its start to its end.

Counters of a node begin anew when its process does, so two looks can be subtracted within one life
only.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from chaos.recording import Sample


@dataclass(slots=True, kw_only=True)
class Life:
    """One process.

    Attributes:
        at_s: when it was looked at.
        figures: what it told, each time.
    """

    node: str
    at_s: list[float] = field(default_factory=list)
    figures: list[Mapping[str, float]] = field(default_factory=list)

    @property
    def began_s(self) -> float:
        """When it was first seen."""
        return self.at_s[0]

    @property
    def ended_s(self) -> float:
        """When it was last seen."""
        return self.at_s[-1]


def lives(samples: Iterable[Sample]) -> list[Life]:
    """All lives of all nodes, in the order of their beginning."""
    newest: dict[str, Life] = {}
    found: list[Life] = []
    for sample in samples:
        for node, figures in sorted(sample.nodes.items()):
            life = newest.get(node)
            if life is None or is_another(life.figures[-1], figures):
                life = newest[node] = Life(node=node)
                found.append(life)
            life.at_s.append(sample.at_s)
            life.figures.append(figures)
    return found


def is_another(earlier: Mapping[str, float], later: Mapping[str, float]) -> bool:
    """Whether two looks at a node saw two processes."""
    return earlier.get("os_pid") != later.get("os_pid")


def grown(life: Life, names: Sequence[str]) -> list[tuple[float, float, float]]:
    """By how much counters grew together between one look and the next: from, until, growth."""
    sums = [sum(figures.get(name, 0.0) for name in names) for figures in life.figures]
    return [(life.at_s[i], life.at_s[i + 1], sums[i + 1] - sums[i]) for i in range(len(sums) - 1)]
