"""What became of additions to sets, and by whom those that are gone were overwritten. Pure.

Where the last write wins a set has one *line*: what is left, the write that its writer had read,
the one before, and so on. A lost addition has a line of its own. Where the two part, two clients
wrote in place of the same value: the one whose write is on the line that is left hid the other's,
and all that was built on that since.
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Final, NamedTuple

from chaos.modes import Conflicts, Mode
from chaos.recording import Operation, Outcome, Take
from chaos.workloads.elements import Loss, SetOutcome, held, set_outcome

Place = tuple[str, str]
"""Bucket and key."""


_CALLED: Final = {Conflicts.SIBLINGS: "siblings", Conflicts.LWW: "last write wins"}


def called(mode: Mode) -> str:
    """A mode, so that one sees what becomes of concurrent sets: `last write wins, sloppy 2/2`."""
    quorum = mode.name.removesuffix(f" {mode.conflicts}")
    return f"{_CALLED[mode.conflicts]}, {quorum}"


class Overwritten(NamedTuple):
    """An acknowledged addition that is gone, and how.

    Attributes:
        element: what was added.
        write: by whom.
        rival: where its line begins to differ from the one that is left; maybe the addition itself.
        by: the write in place of the same value that hid the rival; see above.
        fork: the write of that value; None if both began with nothing.
        is_race: both clients were at it at the same time, and not on two sides of a cut. Else one
            read the set after the other's addition was acknowledged, and was not shown it.
    """

    element: str
    write: Operation
    rival: Operation
    by: Operation
    fork: Operation | None
    is_race: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Additions:
    """To one set.

    Attributes:
        tried: how many clients set out to make; who cannot read does not write.
        outcome: what became of those that were sent.
        siblings_max: the most values that anybody was shown at a time.
        overwritten: what was lost, if the last write wins; in the order in which it was written.
    """

    tried: int
    outcome: SetOutcome
    siblings_max: int
    overwritten: tuple[Overwritten, ...]

    @property
    def acknowledged_percent(self) -> float:
        """Of those that were tried."""
        return 100 * len(self.outcome.acknowledged) / self.tried if self.tried else 0.0


def left(take: Take, place: Place, conflicts: Conflicts) -> frozenset[str]:
    """What readers of an object are shown in the end.

    Homes may hold several values of which the last wins; then those with the latest time. Several
    only have it if they are from the same millisecond: which of them is shown, clients cannot know.
    """
    if conflicts is Conflicts.SIBLINGS:
        return held(take.final, *place)
    values = {
        value.text: value.modified_at_ms
        for state in take.final
        if state.primary and (state.bucket, state.key) == place
        for value in state.values
        if not value.deleted
    }
    latest_ms = max(values.values(), default=0)
    return frozenset(text for text, at_ms in values.items() if at_ms == latest_ms)


def additions(take: Take, place: Place, mode: Mode) -> Additions:
    """What became of the additions to one set."""
    operations = [operation for operation in take.operations if operation.place == place]
    values = left(take, place, mode.conflicts)
    outcome = set_outcome(operations, values)
    shown = (len(operation.shown) for operation in operations if operation.shown is not None)
    return Additions(
        tried=sum(not operation.is_write for operation in operations),
        outcome=outcome,
        siblings_max=max(shown, default=0),
        overwritten=()
        if mode.conflicts is Conflicts.SIBLINGS
        else tuple(_overwritten(take, _Lines(operations), outcome.losses, values)),
    )


def _overwritten(
    take: Take, lines: "_Lines", losses: Sequence[Loss], values: frozenset[str]
) -> Iterator[Overwritten]:
    winners = [op for op in lines.operations.values() if op.written in values]
    if not winners:
        return
    winning = lines.of(winners[-1])
    kept = {operation.index for operation in winning}
    for loss in losses:
        write = lines.operations[loss.write]
        own = lines.of(write)
        since = _since(winning, {operation.index for operation in own})
        own_since = _since(own, kept)
        if not since or not own_since:
            continue  # what is left was made knowing it, and it is gone: no line explains that
        by, rival = since[-1], own_since[-1]
        is_apart = by.side != rival.side and _is_broken(take, rival)
        yield Overwritten(
            element=loss.element,
            write=write,
            rival=rival,
            by=by,
            fork=lines.before(by),
            is_race=lines.overlap(by, rival) and not is_apart,
        )


def _since(line: Iterable[Operation], known: Container[int]) -> list[Operation]:
    """The writes of a line after the last of those known."""
    return list(takewhile(lambda operation: operation.index not in known, line))


def _is_broken(take: Take, operation: Operation) -> bool:
    """Whether anything was broken while it was under way."""
    return any(
        fault.began.from_s <= operation.returned_s
        and (fault.ended is None or operation.invoked_s <= fault.ended.until_s)
        for fault in take.head.faults
    )


class _Lines:
    """Who based what on whose write, in an object of which readers are shown one value.

    Attributes:
        operations: all, by index.
    """

    def __init__(self, operations: Iterable[Operation]) -> None:
        self.operations = {operation.index: operation for operation in operations}
        self._writers = {
            operation.written: operation
            for operation in self.operations.values()
            if operation.written is not None and operation.outcome is not Outcome.FAIL
        }

    def before(self, write: Operation) -> Operation | None:
        """The write whose value this one's client had read; None if it had read nothing."""
        read = self.operations.get(-1 if write.based_on is None else write.based_on)
        return self._writers.get(read.shown[0]) if read is not None and read.shown else None

    def overlap(self, one: Operation, other: Operation) -> bool:
        """Whether two clients were between their reads and the end of their writes at a time."""
        return self._begun_s(one) < other.returned_s and self._begun_s(other) < one.returned_s

    def _begun_s(self, write: Operation) -> float:
        """When it was read what is written; of a blind write, when that was sent."""
        read = self.operations.get(-1 if write.based_on is None else write.based_on)
        return (write if read is None else read).invoked_s

    def of(self, write: Operation) -> list[Operation]:
        """A write, the one that it is based on, and so on to the first."""
        line = [write]
        while (before := self.before(line[-1])) is not None:
            line.append(before)
        return line
