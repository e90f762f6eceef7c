"""N, R, W and the tallies of replies: a quorum is decided here (Dynamo 4.5, 4.6).

A tally has three answers. *Met* and *lost* are final: lost means that even a yes from every node
still silent would be too few, so a doomed request fails at once and not at its deadline.

Writes and reads have a tally each, since they count different things: a write counts copies on
distinct nodes, a read counts answers, of which "I hold nothing" may or may not be a good one.
"""

import enum
from dataclasses import dataclass
from typing import NamedTuple

N_MAX = 64
"""The most replicas of a key that can be asked for; nobody runs with more than a handful."""


class Verdict(enum.Enum):
    """What the replies so far decide."""

    PENDING = "pending"
    MET = "met"
    LOST = "lost"


class Conflicts(enum.IntEnum):
    """How concurrent values of a key are treated. The numbers travel between nodes."""

    SIBLINGS = 0
    """All are kept and shown (`allow_mult`)."""

    LATEST = 1
    """All are kept, the newest by wall clock is shown, the next write supersedes the rest."""

    LAST_WRITE_WINS = 2
    """A write supersedes whatever its coordinator holds; contexts are not looked at. Lossy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteQuorum:
    """What a write needs before it is acknowledged.

    Attributes:
        n: replicas of the key.
        w: nodes that must have the write.
        pw: primaries among them.
        dw: nodes that must have it durably. A replica here acknowledges only what is durable, so
            this and `w` are met by the same replies.
        node_confirms: distinct physical nodes; copies of one key never share a node here.
        sloppy: stand-ins may take the place of primaries that are not reachable.
    """

    n: int
    w: int
    pw: int = 0
    dw: int = 0
    node_confirms: int = 0
    sloppy: bool = True

    @property
    def needed(self) -> int:
        """Acknowledgements needed from any nodes; the coordinator's own is always one."""
        return max(self.w, self.dw, self.node_confirms, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadQuorum:
    """What a read needs before it is answered.

    Attributes:
        n: replicas of the key.
        r: nodes that must answer.
        pr: primaries among them.
        node_confirms: distinct physical nodes that must answer.
        basic_quorum: with `notfound_ok` off, give up at a majority of replicas without the key.
        notfound_ok: "I hold nothing" is a good answer.
        sloppy: stand-ins may answer for primaries that are not reachable.
    """

    n: int
    r: int
    pr: int = 0
    node_confirms: int = 0
    basic_quorum: bool = False
    notfound_ok: bool = True
    sloppy: bool = True

    @property
    def needed(self) -> int:
        """Answers needed from any nodes."""
        return max(self.r, self.node_confirms, 1)


class Shortfall(NamedTuple):
    """Which count a lost quorum fell short of, for the error's text."""

    what: str
    needed: int
    got: int


class WriteTally:
    """Counts the copies of one write.

    Every node that was asked answers once, by `stored` or by `failed`; the caller sees to that.

    Attributes:
        acks: nodes that have the write.
    """

    __slots__ = ("_acks_primary", "_quorum", "_waiting", "_waiting_primary", "acks")

    def __init__(self, quorum: WriteQuorum) -> None:
        self._quorum = quorum
        self._waiting = 0
        self._waiting_primary = 0
        self._acks_primary = 0
        self.acks = 0

    def asked(self, *, primary: bool) -> None:
        """A node was asked to store the write, maybe in place of one that fails next."""
        self._waiting += 1
        if primary:
            self._waiting_primary += 1

    def stored(self, *, primary: bool) -> None:
        """A node that was asked has the write durably."""
        self._waiting -= 1
        self.acks += 1
        if primary:
            self._waiting_primary -= 1
            self._acks_primary += 1

    def failed(self, *, primary: bool) -> None:
        """A node that was asked refused, was lost, or took too long."""
        self._waiting -= 1
        if primary:
            self._waiting_primary -= 1

    @property
    def verdict(self) -> Verdict:
        """What the replies so far decide."""
        quorum = self._quorum
        if self.acks >= quorum.needed and self._acks_primary >= quorum.pw:
            return Verdict.MET
        best = self.acks + self._waiting
        if best < quorum.needed or self._acks_primary + self._waiting_primary < quorum.pw:
            return Verdict.LOST
        return Verdict.PENDING

    @property
    def settled(self) -> bool:
        """Whether every node that was asked has answered."""
        return self._waiting == 0

    def shortfall(self, *, before_sending: bool = False) -> Shortfall:
        """The count to blame: primaries first, then nodes, then durable copies (Riak's order).

        Args:
            before_sending: count the nodes that could have been asked instead of those that
                answered.
        """
        quorum = self._quorum
        primaries = self._acks_primary + (self._waiting_primary if before_sending else 0)
        nodes = self.acks + (self._waiting if before_sending else 0)
        if primaries < quorum.pw:
            return Shortfall("PW", quorum.pw, primaries)
        if nodes < quorum.node_confirms:
            return Shortfall("node_confirms", quorum.node_confirms, nodes)
        if nodes < quorum.w:
            return Shortfall("W", quorum.w, nodes)
        return Shortfall("DW", max(quorum.dw, 1), nodes)


class ReadTally:
    """Counts the answers to one read.

    Every node that was asked answers once, by `found`, `missing` or `failed`.

    A stand-in that holds nothing knows nothing: its answer counts only once no primary's is
    awaited any more. Otherwise two quick stand-ins could outvote the one slow primary that has the
    value.

    Attributes:
        errors: nodes that failed to answer.
    """

    __slots__ = (
        "_empty_stand_ins",
        "_good",
        "_good_primary",
        "_not_found",
        "_not_found_primary",
        "_quorum",
        "_waiting",
        "_waiting_primary",
        "errors",
    )

    def __init__(self, quorum: ReadQuorum) -> None:
        self._quorum = quorum
        self._waiting = 0
        self._waiting_primary = 0
        self._good = 0
        self._good_primary = 0
        self._empty_stand_ins = 0
        self._not_found = 0
        self._not_found_primary = 0
        self.errors = 0

    def asked(self, *, primary: bool) -> None:
        """A node was asked."""
        self._waiting += 1
        if primary:
            self._waiting_primary += 1

    def found(self, *, primary: bool) -> None:
        """A node that was asked holds something, if only a tombstone."""
        self._answered(primary=primary)
        self._good += 1
        if primary:
            self._good_primary += 1

    def missing(self, *, primary: bool) -> None:
        """A node that was asked holds nothing."""
        self._answered(primary=primary)
        if not self._quorum.notfound_ok:
            self._not_found += 1
            self._not_found_primary += primary
        elif primary:
            self._good += 1
            self._good_primary += 1
        else:
            self._empty_stand_ins += 1

    def failed(self, *, primary: bool) -> None:
        """A node that was asked was lost or took too long."""
        self._answered(primary=primary)
        self.errors += 1

    def retracted(self, *, primary: bool) -> None:
        """A node that answered `found` was lost before it handed over what it found."""
        self._good -= 1
        if primary:
            self._good_primary -= 1
        self.errors += 1

    def _answered(self, *, primary: bool) -> None:
        self._waiting -= 1
        if primary:
            self._waiting_primary -= 1

    @property
    def verdict(self) -> Verdict:
        """What the replies so far decide."""
        quorum = self._quorum
        good = self._good
        if self._waiting_primary == 0:
            good += self._empty_stand_ins
        if good >= quorum.needed and self._good_primary >= quorum.pr:
            return Verdict.MET
        if quorum.basic_quorum and self._not_found + self.errors > quorum.n // 2:
            return Verdict.LOST
        best = self._good + self._empty_stand_ins + self._waiting
        best_primary = self._good_primary + self._waiting_primary
        if self.only_not_found and self._waiting and not quorum.basic_quorum:
            # Whether the key is nowhere or only too rare is known when the last has answered.
            best += self._not_found
            best_primary += self._not_found_primary
        if best < quorum.needed or best_primary < quorum.pr:
            return Verdict.LOST
        return Verdict.PENDING

    @property
    def settled(self) -> bool:
        """Whether every node that was asked has answered."""
        return self._waiting == 0

    @property
    def only_not_found(self) -> bool:
        """A lost read in which nobody failed: the key is simply not there."""
        return self.errors == 0 and self._good == 0 and self._not_found > 0

    @property
    def may_be_not_found(self) -> bool:
        """A lost read in which nobody failed and somebody holds nothing.

        If the others hold tombstones alone, the key is simply not there either.
        """
        return self.errors == 0 and self._not_found > 0

    def shortfall(self, *, before_sending: bool = False) -> Shortfall:
        """The count to blame: PR where R is met or asks for no more than PR, else R (Riak's order).

        Args:
            before_sending: count the nodes that could have been asked instead of those that
                answered.
        """
        quorum = self._quorum
        primaries = self._good_primary + (self._waiting_primary if before_sending else 0)
        nodes = self._good + self._empty_stand_ins + (self._waiting if before_sending else 0)
        if primaries < quorum.pr and (nodes >= quorum.r or quorum.pr >= quorum.r):
            return Shortfall("PR", quorum.pr, primaries)
        if nodes < quorum.r:
            return Shortfall("R", quorum.r, nodes)
        return Shortfall("node_confirms", quorum.node_confirms, nodes)
