"""What happened in the last minute, of what is only counted from the start. Pure.

The counts are looked at once a second, so who counts does nothing for it.
"""

from collections import deque
from collections.abc import Iterable

from dynamo.core.figures import Count, Figure

MINUTE_S = 60


class LastMinute:
    """How far counts have grown in a minute."""

    def __init__(self, figures: Iterable[Figure], names: frozenset[str]) -> None:
        """Begin now.

        Args:
            figures: all there are.
            names: of the counts among them that are wanted.
        """
        self._counts = [
            figure for figure in figures if isinstance(figure, Count) and figure.name in names
        ]
        self._looks: deque[tuple[float, list[float]]] = deque()
        self._minute_ago = self._now()

    def look(self, now_s: float) -> None:
        """Remember how far the counts are, if the last look is a second old."""
        if not self._looks or now_s - self._looks[-1][0] >= 1:
            self._looks.append((now_s, self._now()))
        while self._looks[0][0] <= now_s - MINUTE_S:
            self._minute_ago = self._looks.popleft()[1]

    def counted(self) -> dict[str, int]:
        """By name, how much was counted."""
        return {
            count.name: int(now - then)
            for count, now, then in zip(self._counts, self._now(), self._minute_ago, strict=True)
        }

    def _now(self) -> list[float]:
        return [count.read() for count in self._counts]
