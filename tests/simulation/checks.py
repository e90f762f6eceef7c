"""What must hold of a history: no acknowledged write is lost, and siblings are exactly right.

Judged from the clients' side alone. A write comes after another if it was submitted with a context
whose reply showed that other, or something after it; the servers' clocks are never asked. Let F be
the values of a key in the end, when everything is healed and quiet, and Max(S) those of S that come
before no other of S. Then:

    lost          each acknowledged write is in F, or comes before one in F
    siblings      F = Max(acknowledged + (unknown and in F))
    resurrected   nothing in F comes before an acknowledged write, or before what anybody ever read
    failed        a write that was said to have failed for certain is never seen
    stranger      every value read was written to that key

An unknown outcome (a timeout, a lost coordinator) may turn out either way. Values are unique: each
names the write that made it.

A delete is a write of nothing. Tombstones are anonymous, and gone once they were collected, so F
holds values only, and whether a delete is "in F" has to be concluded: an acknowledged one happened;
one of unknown outcome is taken to have happened unless something that comes before it is in F. That
is no more lenient than the equation allows: a delete takes away and never adds, so the more of
them happened the less must be in F, and each of those may have happened.

Where a machine lost its disk (`copies_may_go`) a value that somebody read may have been on that
disk alone. Then only what was acknowledged by several machines supersedes anything for certain;
whoever calls passes the other writes as unknown.
"""

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass


class Outcome(enum.Enum):
    """How a write ended for its client."""

    ACKNOWLEDGED = "ok"
    FAILED = "fail"
    UNKNOWN = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A write as its client knows it.

    Attributes:
        key: what it wrote to.
        value: unique in its history.
        saw: the values that came with the context it was submitted with; empty for a blind write.
        outcome: how it ended.
        deletes: it wrote nothing; `value` is only its name, and nobody is ever shown it.
    """

    key: str
    value: str
    saw: frozenset[str] = frozenset()
    outcome: Outcome = Outcome.ACKNOWLEDGED
    deletes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Values that a client was shown, by a read or in the reply to a write."""

    key: str
    values: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A rule that was broken, and how."""

    rule: str
    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: key {self.key}: {self.text}"


def check(
    writes: Sequence[Write],
    reads: Iterable[Read],
    final: Mapping[str, Collection[str]],
    *,
    copies_may_go: bool = False,
) -> list[Violation]:
    """All rules, for all keys.

    Args:
        writes: in the order in which they were invoked.
        reads: everything that clients were shown.
        final: the values of each key in the end; a key without any may be missing.
        copies_may_go: a machine lost what it held, so what was read need not have stayed.
    """
    read: dict[str, set[str]] = {}
    for shown in reads:
        read.setdefault(shown.key, set()).update(shown.values)
    by_key: dict[str, list[Write]] = {}
    for write in writes:
        by_key.setdefault(write.key, []).append(write)
    violations = []
    for key in sorted({*by_key, *read, *final}):
        of_key = _Key(
            key,
            by_key.get(key, []),
            read.get(key, set()),
            set(final.get(key, ())),
            reads_stay=not copies_may_go,
        )
        violations += of_key.violations()
    return violations


class _Key:
    """The history of one key."""

    def __init__(
        self, key: str, writes: list[Write], read: set[str], final: set[str], *, reads_stay: bool
    ) -> None:
        self.key = key
        self.read = read
        self.final = final
        self.stayed = read if reads_stay else set[str]()
        self.outcomes = {write.value: write.outcome for write in writes if not write.deletes}
        self.deletes = {write.value: write.outcome for write in writes if write.deletes}
        assert len({write.value for write in writes}) == len(writes), f"{key}: names not unique"
        self.before = _before(writes)

    def violations(self) -> list[Violation]:
        found = self._strangers() + self._failed() + self._lost() + self._resurrected()
        # The equation says all of these at once; it is worth telling where none of them does.
        return found or self._siblings()

    def _strangers(self) -> list[Violation]:
        return self._broken(
            "stranger", (self.read | self.final) - set(self.outcomes), "was never written here"
        )

    def _failed(self) -> list[Violation]:
        return self._broken(
            "failed", (self.read | self.final) & self._with(Outcome.FAILED), "failed, yet is seen"
        )

    def _lost(self) -> list[Violation]:
        kept = self.final | self._before_any(self.final | self._deletes_that_happened())
        lost = self._with(Outcome.ACKNOWLEDGED) - kept
        return self._broken("lost", lost, f"was acknowledged; in the end there is {self._end()}")

    def _resurrected(self) -> list[Violation]:
        deletes = {name for name, ended in self.deletes.items() if ended is Outcome.ACKNOWLEDGED}
        superseded = self._before_any(self._with(Outcome.ACKNOWLEDGED) | self.stayed | deletes)
        return self._broken("resurrected", self.final & superseded, "was superseded, yet is back")

    def _siblings(self) -> list[Violation]:
        happened = self._with(Outcome.ACKNOWLEDGED)
        happened |= self._with(Outcome.UNKNOWN) & self.final
        wanted = happened - self._before_any(happened | self._deletes_that_happened())
        if wanted == self.final:
            return []
        text = f"siblings should be {sorted(wanted)}, in the end there is {self._end()}"
        return [Violation(rule="siblings", key=self.key, text=text)]

    def _deletes_that_happened(self) -> set[str]:
        """For certain, or so that nothing in the end speaks against it."""
        return {
            name
            for name, ended in self.deletes.items()
            if ended is Outcome.ACKNOWLEDGED
            or (ended is Outcome.UNKNOWN and not self.before[name] & self.final)
        }

    def _before_any(self, names: set[str]) -> set[str]:
        return set[str]().union(*(self.before.get(name, ()) for name in names))

    def _with(self, outcome: Outcome) -> set[str]:
        return {value for value, ended in self.outcomes.items() if ended is outcome}

    def _end(self) -> list[str]:
        return sorted(self.final)

    def _broken(self, rule: str, values: set[str], text: str) -> list[Violation]:
        return [
            Violation(rule=rule, key=self.key, text=f"{value} {text}") for value in sorted(values)
        ]


def _before(writes: Iterable[Write]) -> dict[str, frozenset[str]]:
    """For each value, those that come before it, however far back."""
    before: dict[str, frozenset[str]] = {}
    for write in writes:
        before[write.value] = write.saw.union(*(before.get(seen, ()) for seen in write.saw))
    return before
