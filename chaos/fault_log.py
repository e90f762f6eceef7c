"""The log of a take's faults: what was broken between which edges, and who was out of whose reach.

Pure bookkeeping: it is told when a fault came about and when it was taken back.
"""

from collections.abc import Collection, Sequence

import msgspec

from chaos.recording import Edge, Fault, Mark

Pair = tuple[str, str]
"""Two nodes, of which the first does not reach the second."""


class FaultLog:
    """What was broken so far. Faults may overlap, and end in any order.

    Attributes:
        faults: in the order in which they came about; those that last have no end yet.
        marks: moments that have a name. The log itself adds `broken` where the first of several
            faults that overlap was there, and `healed` where the last of them was over.
    """

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.marks: list[Mark] = []
        self._lasting: dict[int, frozenset[Pair]] = {}

    def mark(self, name: str, at_s: float) -> None:
        """Give a moment a name."""
        self.marks.append(Mark(name=name, at_s=at_s))

    def begin(
        self,
        kind: str,
        said: str,
        targets: Sequence[str],
        edge: Edge,
        *,
        apart: Collection[Pair] = (),
    ) -> int:
        """Something is broken from now on; its number, with which it is ended.

        Args:
            kind: see `recording.Fault`, as for the next two.
            said: in words.
            targets: what it hit.
            edge: when it came about.
            apart: who does not reach whom for as long as it lasts.
        """
        if not self._lasting:
            self.mark("broken", edge.until_s)
        number = len(self.faults)
        self.faults.append(Fault(kind=kind, said=said, targets=tuple(targets), began=edge))
        self._lasting[number] = frozenset(apart)
        return number

    def end(self, number: int, edge: Edge) -> None:
        """A fault that lasted is over; others that have a pair in common with it keep it apart."""
        del self._lasting[number]
        self.faults[number] = msgspec.structs.replace(self.faults[number], ended=edge)
        if not self._lasting:
            self.mark("healed", edge.until_s)

    @property
    def apart(self) -> frozenset[Pair]:
        """Who does not reach whom now, by what is broken."""
        return frozenset[Pair]().union(*self._lasting.values())
