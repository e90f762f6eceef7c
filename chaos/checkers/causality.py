"""Which write was made in the knowledge of which: the order that the store has to respect.

x < y means that y was submitted with a context that an operation returned whose shown values, or
their ancestors, contained x. It is computed from what clients sent and were shown, and never from
the store's own clocks: those are what is on trial.

Three things leave doubt. Who is shown "deleted" is not told by which delete; a DELETE that sends no
context covers whatever the server saw just then; and a text that two requests tried to write says
not which of them stored it. So there are two orders: what is *certainly* below holds whichever it
was, what is *possibly* below holds for at least one of them. A rule accuses by the first and
excuses by the second.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import reduce
from itertools import accumulate
from operator import and_, attrgetter, or_
from typing import Final, NamedTuple

from chaos.recording import Action, Operation, Outcome

_FOREVER: Final = float("inf")


class _Known(NamedTuple):
    """Two sets of writes, each a number with a bit for every member: thousands cost one `or`."""

    certain: int
    possible: int

    def both(self, other: "_Known") -> "_Known":
        return _Known(self.certain | other.certain, self.possible | other.possible)


_NOTHING: Final = _Known(0, 0)


class Causality:
    """The order of one object's writes. Writes are named by the indexes of their operations.

    Attributes:
        writes: all of them, PUTs and DELETEs of any outcome, by index.
    """

    def __init__(self, operations: Iterable[Operation]) -> None:
        """Work it out.

        Args:
            operations: of one object, in any order. What makes no sense in them, like a value shown
                before it was written, orders less than it might, and harms nothing else.
        """
        by_index = {op.index: op for op in sorted(operations, key=attrgetter("index"))}
        self.writes = tuple(op for op in by_index.values() if op.is_write)
        self._operations = by_index
        self._bits = {write.index: 1 << place for place, write in enumerate(self.writes)}
        self._writers: dict[str, list[Operation]] = defaultdict(list)
        for write in self.writes:
            if write.action is Action.PUT and write.written is not None:
                self._writers[write.written].append(write)
        effective = sorted(
            (write for write in self.writes if write.outcome is not Outcome.FAIL),
            key=attrgetter("invoked_s"),
        )
        self._deletes = [write for write in effective if write.action is Action.DELETE]
        self._invoked_s = [write.invoked_s for write in effective]
        self._invoked_until = list(
            accumulate((self._bits[write.index] for write in effective), or_, initial=0)
        )
        self._shown: dict[int, _Known] = {}
        # Who bases a write on an operation has its answer: contexts follow from earlier ones.
        for operation in sorted(by_index.values(), key=attrgetter("returned_s")):
            self._work_out(operation)

    def writers_of(self, text: str) -> tuple[int, ...]:
        """The writes that tried to store a text; one in the normal case."""
        return tuple(write.index for write in self._writers.get(text, ()))

    def certain_ancestors(self, write: int) -> frozenset[int]:
        """The writes that are below this one, whatever is in doubt."""
        return self._set(self._past(self._operations[write]).certain)

    def possible_ancestors(self, write: int) -> frozenset[int]:
        """The writes that may be below this one."""
        return self._set(self._past(self._operations[write]).possible)

    def certainly_below(self, writes: Iterable[int]) -> frozenset[int]:
        """The writes that are below any of these."""
        return self._set(self._joined_pasts(writes).certain)

    def possibly_below(self, writes: Iterable[int]) -> frozenset[int]:
        """The writes that may be below any of these."""
        return self._set(self._joined_pasts(writes).possible)

    def certainly_below_all(self, writes: Iterable[int]) -> frozenset[int]:
        """The writes that are below each of these; none, of no writes."""
        pasts = [self._past(self._operations[write]).certain for write in writes]
        return self._set(reduce(and_, pasts)) if pasts else frozenset()

    def certainly_covered(self, operation: int) -> frozenset[int]:
        """The writes that a client knows, shown or replaced, who has this operation's context."""
        return self._set(self._shown[operation].certain)

    def possibly_covered(self, operation: int) -> frozenset[int]:
        """The writes that such a client may know."""
        return self._set(self._shown[operation].possible)

    def certainly_gone(self) -> frozenset[int]:
        """The writes that are below anything that any client was shown."""
        gone = 0
        for operation in self._operations.values():
            for alternatives in self._alternatives(operation):
                pasts = (self._past(write).certain for write in alternatives)
                gone |= reduce(and_, pasts)
        return self._set(gone)

    def maximal(self, writes: Iterable[int]) -> frozenset[int]:
        """Those that are not certainly below another of them."""
        chosen = frozenset(writes)
        return chosen - self.certainly_below(chosen)

    # -- contexts --------------------------------------------------------------------------------

    def _work_out(self, operation: Operation) -> None:
        """Find what an operation's context covers, and before that whatever it depends on.

        With a stack of its own: of a thousand writes each may be based on the one before.
        """
        waiting = [operation]
        begun: set[int] = set()
        while waiting:
            current = waiting[-1]
            if current.index in self._shown:
                waiting.pop()
                continue
            missing = [] if current.index in begun else list(self._not_worked_out(current))
            begun.add(current.index)
            if missing:
                waiting += missing
            else:
                self._shown[current.index] = self._covered(current)
                waiting.pop()

    def _not_worked_out(self, operation: Operation) -> Iterator[Operation]:
        for alternatives in self._alternatives(operation):
            for write in alternatives:
                basis = self._operations.get(-1 if write.based_on is None else write.based_on)
                if basis is not None and basis.index not in self._shown:
                    yield basis

    def _covered(self, operation: Operation) -> _Known:
        covered = _NOTHING
        for alternatives in self._alternatives(operation):
            known = [self._with_past(write) for write in alternatives]
            one = reduce(and_, (each.certain for each in known))
            covered = covered.both(_Known(one, reduce(or_, (each.possible for each in known))))
        return covered

    def _alternatives(self, operation: Operation) -> Iterator[list[Operation]]:
        """What an operation showed: of each list at least one write."""
        if operation.outcome is not Outcome.OK:
            return
        for text in operation.shown or ():
            writers = self._writers.get(text, ())
            if begun := [w for w in writers if w.invoked_s <= operation.returned_s]:
                yield begun
        if operation.shown is not None and operation.is_write:
            yield [operation]
        if operation.shown_deleted:
            deletes = [d for d in self._deletes if d.invoked_s <= operation.returned_s]
            if deletes:
                yield deletes

    def _with_past(self, write: Operation) -> _Known:
        bit = self._bits[write.index]
        return self._past(write).both(_Known(bit, bit))

    def _past(self, write: Operation) -> _Known:
        if write.based_on is not None:
            return self._shown.get(write.based_on, _NOTHING)
        if write.action is Action.DELETE:
            # The server read for it, at some time before it answered.
            read_by_s = write.returned_s if write.outcome is Outcome.OK else _FOREVER
            invoked = self._invoked_until[bisect_right(self._invoked_s, read_by_s)]
            return _Known(0, invoked & ~self._bits[write.index])
        return _NOTHING

    def _joined_pasts(self, writes: Iterable[int]) -> _Known:
        return reduce(_Known.both, (self._past(self._operations[w]) for w in writes), _NOTHING)

    def _set(self, bits: int) -> frozenset[int]:
        return frozenset(index for index, bit in self._bits.items() if bits & bit)
