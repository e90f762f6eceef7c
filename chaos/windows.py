"""Parts of a take by its marks: before the fault, until it was noticed, while it was known."""

from collections.abc import Iterator
from typing import NamedTuple

from chaos.recording import Operation, Take


class Window(NamedTuple):
    """From one instant to another."""

    from_s: float
    until_s: float

    def of(self, take: Take) -> Iterator[Operation]:
        """The operations that were sent in it, be they due earlier."""
        return (op for op in take.operations if self.from_s <= op.invoked_s < self.until_s)


def broken(take: Take) -> Window | None:
    """From the moment the first fault was there until the last was taken back."""
    faults = take.head.faults
    if not faults:
        return None
    ends = [fault.ended.from_s for fault in faults if fault.ended is not None]
    until_s = max(ends) if len(ends) == len(faults) else take.head.duration_s
    return Window(min(fault.began.until_s for fault in faults), until_s)


def noticed(take: Take) -> Window | None:
    """The part of it in which every node knew whom it reached."""
    whole, settled_s = broken(take), take.head.mark_s("settled")
    return None if whole is None or settled_s is None else Window(settled_s, whole.until_s)


def unnoticed(take: Take) -> Window | None:
    """The part before that."""
    whole, known = broken(take), noticed(take)
    return None if whole is None or known is None else Window(whole.from_s, known.from_s)


def quiet(take: Take) -> Window:
    """Before the first fault; all of a take without any."""
    whole = broken(take)
    return Window(0.0, take.head.duration_s if whole is None else whole.from_s)
