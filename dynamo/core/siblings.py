"""A key's state: its sibling values under one dotted version vector set.

Dynamo (§4.4) versions an object with a vector clock in which a node's counter stands for a write.
When two clients write through one node from the same version, such a clock either puts one write
above the other, which is then lost, or cannot tell what each of them replaced, and siblings pile
up. A dotted version vector set names every write by a dot of its own and says with one counter per
actor what else was seen, so that exactly the concurrent writes stay side by side (Preguiça et al.,
"Dotted Version Vectors", arXiv 1011.5808; Almeida et al., "Scalable and Accurate Causality
Tracking for Eventually Consistent Stores", DAIS 2014):

    actor  counter  values       says
    a      5        v5, v4       a1 .. a5 were seen; a1 .. a3 are gone, a4 and a5 are live
    b      2                     b1 and b2 were seen and are gone

What was seen of an actor is always a run from its first dot on, and what is gone of that again:
two numbers per actor say everything, and both only grow. A merge takes the larger of each.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dynamo.core.ids import Actor, Dot

Context = Mapping[Actor, int]
"""What a client was shown: of each actor all dots up to and including this counter."""

Entry = tuple[int, tuple[bytes, ...]]
"""Of one actor: the counter of the last dot seen, and the live values, newest first."""

_UNSEEN: Entry = (0, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Siblings:
    """All that a replica knows of one key. Immutable; the values are opaque here.

    `len()` counts live values; a state may have none and still know of dots that are gone, so ask
    `is_empty` and not the state's truth.

    Attributes:
        entries: value i of an entry (counter, values) has the dot (actor, counter - i).
            1 <= counter, len(values) <= counter.
    """

    entries: Mapping[Actor, Entry]

    def __len__(self) -> int:
        return sum([len(values) for _, values in self.entries.values()])

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known at all: no dot was ever seen."""
        return not self.entries

    def context(self) -> Context:
        """What a client knows that is shown this state: every dot seen here, live or gone."""
        return {actor: counter for actor, (counter, _) in self.entries.items()}

    def clock(self) -> "Clock":
        """This state without the values."""
        return Clock(
            entries={a: (counter, counter - len(v)) for a, (counter, v) in self.entries.items()}
        )

    def dots(self) -> list[tuple[Dot, bytes]]:
        """The live values, each with its dot: by actor, of each actor the newest first."""
        return [
            (Dot(actor, counter - age), value)
            for actor, (counter, values) in sorted(self.entries.items())
            for age, value in enumerate(values)
        ]

    def merge(self, other: "Siblings") -> "Siblings":
        """What both know together: a value is live unless one of them saw it and has it no more.

        Commutative, associative, idempotent. Answers `self` if `other` adds nothing.
        """
        mine = self.entries
        if not mine:
            return other
        changed: dict[Actor, Entry] = {}
        for actor, theirs in other.entries.items():
            ours = mine.get(actor)
            joined = theirs if ours is None else _join(ours, theirs)
            if joined is not ours:
                changed[actor] = joined
        return Siblings(entries={**mine, **changed}) if changed else self

    def supersede(self, context: Context) -> "Siblings":
        """This state after everything that `context` covers was overwritten or deleted.

        The values covered go, and the dots covered count as seen, so a value that is still on its
        way here is known to be gone when it comes. This is the merge with a state that has seen
        `context` and holds no value. Answers `self` if it changes nothing.
        """
        changed = _superseded(self.entries, context)
        return Siblings(entries={**self.entries, **changed}) if changed else self

    def write(self, actor: Actor, value: bytes, context: Context, floor: int) -> "Siblings":
        """This state after a client that was shown `context` wrote `value` through `actor`.

        The write supersedes what `context` covers, nothing else, and gets a new dot. Joining the
        context's knowledge is right because contexts are closed downwards: they come from whole
        states, so whoever was shown a dot was shown, or was shown superseded, all before it.

        The dot is the one after `actor`'s last if that one is live here, else above `floor` too:
        a state can be forgotten (a collected tombstone), its dots live on in the contexts of
        clients, and a dot minted twice would be taken for seen by them. A gap between dots says
        no more than that the numbers in it are gone.

        Whoever calls this promises that `self` has seen every dot of `actor` on this key whose
        value may still be live anywhere. A node that lost such a state, dropped it (handed off,
        a hint delivered) or failed to store one it had let out, writes as a new actor from then
        on: as the old one it would declare those values gone.

        Args:
            actor: who mints the dot.
            value: opaque.
            context: what the client was shown; empty if nothing.
            floor: how many dots `actor` has minted so far, on all keys together. No counter of
                its is higher, except where a client made up a context; counting dots instead of
                taking the highest counter keeps such a lie on the key it was told about.
        """
        entries = {**self.entries, **_superseded(self.entries, context)}
        counter, values = entries.get(actor, _UNSEEN)
        # With a live value the run must not break; without one a jump only adds to what is gone.
        minted = counter + 1 if values else max(counter, floor) + 1
        entries[actor] = (minted, (value, *values))
        return Siblings(entries=entries)


EMPTY = Siblings(entries={})
"""The state of a key of which nothing is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """A state without its values: enough to see what another replica's state would change.

    A coordinator that has merged some whole states into one, `mine`, and holds only the clock of
    another replica, `theirs`, asks:

        theirs.missing_from(mine.clock())   must that replica's values be fetched?
        mine.supersede(theirs.gone())       what it knows to be gone; after this, and with nothing
                                            missing, `mine` is as if its whole state were merged
        theirs.covers(mine.clock())         if not, that replica is behind and must be repaired

    Attributes:
        entries: per actor the counter of the last dot seen, and up to which counter its dots are
            gone; those between are live.
    """

    entries: Mapping[Actor, tuple[int, int]]

    def merge(self, other: "Clock") -> "Clock":
        """The clock of the two states merged."""
        merged = dict(self.entries)
        for actor, (counter, gone) in other.entries.items():
            ours = merged.get(actor, (0, 0))
            merged[actor] = (max(ours[0], counter), max(ours[1], gone))
        return Clock(entries=merged)

    def gone(self) -> Context:
        """The dots seen and not live any more; closed downwards like every context."""
        return {actor: gone for actor, (_, gone) in self.entries.items() if gone}

    def covers(self, other: "Clock") -> bool:
        """Whether this state knows all that the other does: a merge would change nothing."""
        mine = self.entries
        for actor, (counter, gone) in other.entries.items():
            ours = mine.get(actor, (0, 0))
            if ours[0] < counter or ours[1] < gone:
                return False
        return True

    def missing_from(self, other: "Clock") -> int:
        """How many dots are live here that the other has never seen.

        A count and not the dots: a clock from a peer may claim any number of them.
        """
        missing = 0
        theirs = other.entries
        for actor, (counter, gone) in self.entries.items():
            seen = theirs.get(actor, (0, 0))[0]
            missing += max(counter - max(gone, seen), 0)
        return missing


def _join(ours: Entry, theirs: Entry) -> Entry:
    """The larger counter, and of its values those the other has too or has never seen.

    Answers the very entry that dominates, if one does.
    """
    longer, shorter = (ours, theirs) if ours[0] >= theirs[0] else (theirs, ours)
    counter, values = longer
    # Gone in either is gone: at most `counter` less the larger of the two bounds stays live.
    live = counter - shorter[0] + len(shorter[1])
    return longer if live >= len(values) else (counter, values[:live])


def _superseded(entries: Mapping[Actor, Entry], context: Context) -> dict[Actor, Entry]:
    """The entries that are others once what `context` covers is seen and gone."""
    changed: dict[Actor, Entry] = {}
    for actor, seen in context.items():
        counter, values = entries.get(actor, _UNSEEN)
        if seen > counter:
            changed[actor] = (seen, ())
        elif counter - seen < len(values):
            changed[actor] = (counter, values[: counter - seen])
    return changed
