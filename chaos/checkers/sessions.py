"""What a client may expect of its own past: read your writes, and monotonic reads.

After Terry et al., "Session Guarantees for Weakly Consistent Replicated Data" (1994). The store
promises neither to a client that asks different nodes, so violations are counted and shown, and no
run fails for them. With strict quorums that overlap there should be none of the first kind.

* Read your writes: a read shows what its client had written, if that was acknowledged before.
* Monotonic reads: it shows what the client had been shown before.

In both, what replaced the write will do, and in doubt it did (`missed`). Where only the last write
stays, there is one more way to go back: to be shown a value again after another that came later.
"""

import enum
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from chaos.checkers.missed import Replaced, acknowledged, by_object, is_read, replaced
from chaos.judgement import Figure
from chaos.modes import Mode
from chaos.recording import Action, Operation, Outcome, Take
from chaos.values import named


class Guarantee(enum.StrEnum):
    """What a client may expect."""

    READ_YOUR_WRITES = "read your writes"
    MONOTONIC_READS = "monotonic reads"


class Violation(NamedTuple):
    """A read that went back behind its client's past.

    Attributes:
        read: its index.
        missed: indexes of the writes that its client had made or seen.
        said: who, when, what, in one sentence.
    """

    guarantee: Guarantee
    mode: str
    read: int
    missed: tuple[int, ...]
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """All clients' pasts together.

    Attributes:
        reads: by mode, how many reads were looked at.
        violations: in the order in which the reads were sent.
    """

    reads: dict[str, int]
    violations: tuple[Violation, ...]

    def percent(self, mode: str, guarantee: Guarantee) -> float:
        """How many percent of a mode's reads violated a guarantee; 0 if there were none."""
        found = sum(v.mode == mode and v.guarantee is guarantee for v in self.violations)
        return 100 * found / self.reads[mode] if self.reads.get(mode) else 0.0


def sessions(operations: Iterable[Operation], modes: Sequence[Mode]) -> Sessions:
    """Follow each client on each object.

    Args:
        operations: of any objects.
        modes: those of the take; they say which objects keep siblings.
    """
    reads: Counter[str] = Counter()
    violations: list[Violation] = []
    for own in by_object(operations).values():
        rule = replaced(own, modes)
        writers = _writers(own)
        reads.update(operation.mode for operation in filter(is_read, own))
        for session in _by_client(own):
            violations += _own_writes(session, rule)
            violations += _seen_before(session, rule, writers)
    return Sessions(
        reads=dict(sorted(reads.items())),
        violations=tuple(sorted(violations, key=lambda violation: violation.read)),
    )


def figures(take: Take) -> tuple[Figure, ...]:
    """For each guarantee and mode, how many percent of a take's reads violated it."""
    found = sessions(take.operations, take.head.modes)
    return tuple(
        Figure(
            label=f"reads against “{guarantee}”, {mode}",
            measured=found.percent(mode, guarantee),
            unit="%",
            take=take.name,
        )
        for guarantee in Guarantee
        for mode in found.reads
    )


def _by_client(operations: Iterable[Operation]) -> list[list[Operation]]:
    clients: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        clients[operation.client].append(operation)
    return [clients[name] for name in sorted(clients)]


def _writers(operations: Iterable[Operation]) -> dict[str, Operation]:
    """Who wrote each text."""
    return {
        operation.written: operation
        for operation in operations
        if operation.action is Action.PUT and operation.written is not None
    }


def _own_writes(session: Sequence[Operation], rule: Replaced) -> list[Violation]:
    writes = acknowledged(session)
    found: list[Violation] = []
    for read in filter(is_read, session):
        before = [write for write in writes if write.returned_s < read.invoked_s]
        if missed := rule.missed(read, before):
            found.append(_violation(Guarantee.READ_YOUR_WRITES, read, missed))
    return found


def _seen_before(
    session: Sequence[Operation], rule: Replaced, writers: Mapping[str, Operation]
) -> list[Violation]:
    past = _Past(rule, writers)
    found: list[Violation] = []
    for operation in sorted(session, key=lambda operation: operation.returned_s):
        missed = past.missed_by(operation) if is_read(operation) else []
        if missed:
            found.append(_violation(Guarantee.MONOTONIC_READS, operation, missed))
        past.add(operation, went_back=bool(missed))
    return found


class _Past:
    """What one client was shown of one object so far."""

    def __init__(self, rule: Replaced, writers: Mapping[str, Operation]) -> None:
        self._rule = rule
        self._writers = writers
        self._shown: dict[str, float] = {}  # by text, since when
        self._newest: str | None = None

    def missed_by(self, read: Operation) -> list[Operation]:
        """What a read does not show of it."""
        before = [
            self._writers[text] for text, at_s in self._shown.items() if at_s < read.invoked_s
        ]
        missed = self._rule.missed(read, before)
        if not missed and self._newest is not None and self._flips(read, self._newest):
            return [self._writers[self._newest]]
        return missed

    def _flips(self, read: Operation, newest: str) -> bool:
        """Whether it shows an old value again, where a newer one has replaced it for good."""
        shown = read.shown or ()
        return (
            self._rule.keeps_one
            and self._shown[newest] < read.invoked_s
            and newest not in shown
            and any(text in self._shown for text in shown)
        )

    def add(self, operation: Operation, *, went_back: bool) -> None:
        """Remember what was shown; after a read that went back, the newest is what it was."""
        if operation.outcome is not Outcome.OK:
            return
        for text in operation.shown or ():
            if text in self._writers:
                self._shown.setdefault(text, operation.returned_s)
                if not went_back:
                    self._newest = text


def _violation(guarantee: Guarantee, read: Operation, missed: Sequence[Operation]) -> Violation:
    last = missed[-1]
    past = "written" if guarantee is Guarantee.READ_YOUR_WRITES else "seen"
    return Violation(
        guarantee=guarantee,
        mode=read.mode,
        read=read.index,
        missed=tuple(write.index for write in missed),
        said=(
            f"{read.client} had {past} {_name(last)} of {'/'.join(read.place)}, and asked"
            f" {read.node} at {read.invoked_s:.3f} s, which showed nothing of it"
        ),
    )


def _name(write: Operation) -> str:
    """`c1#7`: who wrote it, and which of his writes it is."""
    value = None if write.written is None else named(write.written)
    return f"operation {write.index}" if value is None else f"{value.client}#{value.number}"
