"""Causality as it is defined, to hold the store's states against: causal histories.

Every write is an event, every value carries the set of all events its writer had seen, and a value
is obsolete if its event is in the past of another (Schwarz and Mattern, "Detecting causal
relationships in distributed computations", 1994). Nothing is compressed, so nothing can be
compressed wrongly; and nothing of it resembles counters.

`World` takes every step of some replicas and clients twice, with the states and with the model.
"""

from dataclasses import dataclass, field

from dynamo.core.codec import decode_siblings, encode_siblings
from dynamo.core.ids import ACTOR_BYTES, Actor, Dot
from dynamo.core.siblings import EMPTY, Context, Siblings

Event = int


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One value: its event and all events that its writer had seen."""

    event: Event
    past: frozenset[Event]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The values a replica holds, none of them in the past of another."""

    live: frozenset[Write] = frozenset()

    @property
    def known(self) -> frozenset[Event]:
        return frozenset[Event]().union(*({w.event} | w.past for w in self.live))

    @property
    def events(self) -> frozenset[Event]:
        return frozenset(w.event for w in self.live)

    def merge(self, other: "History") -> "History":
        both = self.live | other.live
        obsolete = frozenset[Event]().union(*(w.past for w in both))
        return History(live=frozenset(w for w in both if w.event not in obsolete))

    def write(self, event: Event, past: frozenset[Event]) -> "History":
        return self.merge(History(live=frozenset({Write(event=event, past=past)})))


@dataclass(slots=True, kw_only=True)
class Replica:
    """One replica of the key: its state, and what the model says of it."""

    actor: Actor
    minted: int = 0
    state: Siblings = EMPTY
    history: History = History()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a client took from a read."""

    context: Context
    past: frozenset[Event]


NOTHING_SHOWN = Shown(context={}, past=frozenset())


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A whole state on its way between replicas."""

    generation: int
    encoded: bytes
    history: History


@dataclass(slots=True, kw_only=True)
class World:
    """Replicas of one key, every step taken by the store's states and by the model.

    Attributes:
        event_of: which event got which dot.
        collected: events of before the last collection: gone, but in contexts.
        generation: how many collections there were. Nothing of before one arrives after it.
    """

    replicas: list[Replica] = field(default_factory=list)
    event_of: dict[Dot, Event] = field(default_factory=dict)
    collected: frozenset[Event] = frozenset()
    generation: int = 0
    _actors: int = 0

    @classmethod
    def of(cls, replicas: int) -> "World":
        world = cls()
        world.replicas = [Replica(actor=world.new_actor()) for _ in range(replicas)]
        return world

    def new_actor(self) -> Actor:
        self._actors += 1
        # Neither rising nor falling, so that nothing works by the order of actors alone.
        return Actor((self._actors * 0x9E3779B97F4A7C15 % 2**64).to_bytes(ACTOR_BYTES))

    def read(self, replica: Replica) -> Shown:
        return Shown(context=replica.state.context(), past=replica.history.known)

    def put(self, replica: Replica, shown: Shown) -> Event:
        event = len(self.event_of)
        before = encode_siblings(replica.state)
        state = replica.state.write(
            replica.actor, value_of(event), shown.context, floor=replica.minted
        )
        assert encode_siblings(replica.state) == before
        dot = Dot(replica.actor, state.entries[replica.actor][0])
        assert dot not in self.event_of, "a dot was minted twice"
        self.event_of[dot] = event
        replica.minted += 1
        replica.state = state
        replica.history = replica.history.write(event, shown.past)
        return event

    def send(self, replica: Replica) -> Message:
        return Message(
            generation=self.generation,
            encoded=encode_siblings(replica.state),
            history=replica.history,
        )

    def deliver(self, message: Message, replica: Replica) -> None:
        if message.generation == self.generation:
            replica.state = replica.state.merge(decode_siblings(message.encoded))
            replica.history = replica.history.merge(message.history)

    def mint_elsewhere(self, replica: Replica) -> None:
        """The replica's node writes to another key."""
        replica.minted += 1

    def lose(self, replica: Replica) -> None:
        """The replica's disk is gone: it comes back empty and mints as somebody new."""
        replica.actor = self.new_actor()
        replica.minted = 0
        replica.state = EMPTY
        replica.history = History()

    def collect(self) -> None:
        """The key was deleted, and every replica forgets that it ever was; clients do not."""
        self.generation += 1
        self.collected = frozenset(self.event_of.values())
        for replica in self.replicas:
            replica.state = EMPTY
            replica.history = History()

    def covered(self, context: Context) -> frozenset[Event]:
        """All events that a context says were seen."""
        return frozenset(
            event
            for dot, event in self.event_of.items()
            if dot.counter <= context.get(dot.actor, 0)
        )

    def check(self, replica: Replica) -> None:
        """State and model hold the same values, and the context tells what the model knows."""
        state, history = replica.state, replica.history
        live = {self.event_of[dot]: value for dot, value in state.dots()}
        assert live == {event: value_of(event) for event in history.events}
        assert len(state) == len(live)
        covered = self.covered(state.context())
        assert history.known <= covered <= history.known | self.collected
        for counter, values in state.entries.values():
            assert counter >= max(len(values), 1)


def value_of(event: Event) -> bytes:
    return b"value %d" % event
