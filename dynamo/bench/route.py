"""Which node a connection dials: its own if that works, another if not, its own again soon. Pure.

A load that stayed with a dead node would measure nothing, and one that never came back would spare
a node that returned.
"""

REST_S_MIN = 0.1
REST_S_MAX = 2.0
"""How long a node that failed is left alone; doubled with every failure in a row."""


class Route:
    """The nodes one connection may go to, its home first."""

    def __init__(self, *, nodes: int, home: int) -> None:
        self.home = home
        self._order = [(home + step) % nodes for step in range(nodes)]
        self._rests_until_s = [0.0] * nodes
        self._rest_s = [REST_S_MIN] * nodes

    def pick(self, now_s: float) -> tuple[int, float]:
        """The node to dial next and how long to wait before: 0 unless all of them rest."""
        node = min(self._order, key=lambda node: max(0.0, self._rests_until_s[node] - now_s))
        return node, max(0.0, self._rests_until_s[node] - now_s)

    def failed(self, node: int, now_s: float) -> None:
        """Leave it alone for a while."""
        self._rests_until_s[node] = now_s + self._rest_s[node]
        self._rest_s[node] = min(REST_S_MAX, self._rest_s[node] * 2)

    def worked(self, node: int) -> None:
        """It need not rest any longer after the next failure."""
        self._rest_s[node] = REST_S_MIN

    def should_go_home(self, node: int, now_s: float) -> bool:
        """Whether a connection to `node` should try its home again."""
        return node != self.home and now_s >= self._rests_until_s[self.home]
