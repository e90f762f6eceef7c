"""Replicas forget a deleted key one after the other, while clients go on writing it.

The causal histories of `model_causality`, with what it leaves out: some replicas have dropped the
tombstones and others have not. Before the first drops them, all hold the same and nothing older is
under way; that is what the nodes see to (`node/tombstones.py`). From then on whatever is written
must stay until a client overwrites it, and nothing of before may live again, in whatever order it
is dropped, written and exchanged. The tombstones themselves may go and come as they like.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from dynamo.core.codec import encode_siblings
from dynamo.core.siblings import EMPTY
from tests.unit.core.model_causality import (
    NOTHING_SHOWN,
    Event,
    History,
    Message,
    Replica,
    Shown,
    World,
)

REPLICAS = 3
numbers = st.integers(0, REPLICAS - 1)


class ForgettingReplicas(RuleBasedStateMachine):
    """Clients with old, new and no contexts; replicas that drop tombstones one by one."""

    shown: Bundle[Shown] = Bundle("shown")
    messages: Bundle[Message] = Bundle("messages")

    def __init__(self) -> None:
        super().__init__()
        self.world = World.of(REPLICAS)
        self.collectible = b""
        self.tombstones: set[Event] = set()

    def replica(self, number: int) -> Replica:
        return self.world.replicas[number]

    @rule(target=shown, number=numbers)
    def read(self, number: int) -> Shown:
        return self.world.read(self.replica(number))

    @rule(number=numbers)
    def put_without_context(self, number: int) -> None:
        self.world.put(self.replica(number), NOTHING_SHOWN)

    @rule(number=numbers, shown=shown)
    def put(self, number: int, shown: Shown) -> None:
        self.world.put(self.replica(number), shown)

    @rule(target=messages, number=numbers)
    def send(self, number: int) -> Message:
        return self.world.send(self.replica(number))

    @rule(number=numbers, message=messages)
    def deliver(self, number: int, message: Message) -> None:
        self.world.deliver(message, self.replica(number))

    @rule(number=numbers)
    def mint_elsewhere(self, number: int) -> None:
        self.world.mint_elsewhere(self.replica(number))

    @rule(number=numbers)
    def lose(self, number: int) -> None:
        self.world.lose(self.replica(number))

    @rule(target=shown, number=numbers)
    def delete_and_bring_to_all(self, number: int) -> Shown:
        """Afterwards all is settled: the same tombstone everywhere, nothing older under way."""
        self.bring_together()
        replica = self.replica(number)
        self.tombstones.add(self.world.put(replica, self.world.read(replica)))
        self.bring_together()
        self.world.generation += 1
        self.collectible = encode_siblings(replica.state)
        return self.world.read(replica)

    @rule(number=numbers)
    def drop(self, number: int) -> None:
        replica = self.replica(number)
        if self.collectible and encode_siblings(replica.state) == self.collectible:
            replica.state = EMPTY
            replica.history = History()

    def bring_together(self) -> None:
        first = self.world.replicas[0]
        for replica in self.world.replicas:
            self.world.deliver(self.world.send(replica), first)
        for replica in self.world.replicas:
            self.world.deliver(self.world.send(first), replica)

    @invariant()
    def all_that_was_written_lives_until_it_is_overwritten_and_nothing_else(self) -> None:
        for replica in self.world.replicas:
            live = {self.world.event_of[dot] for dot, _ in replica.state.dots()}
            assert live - self.tombstones == replica.history.events - self.tombstones

    def teardown(self) -> None:
        self.bring_together()
        self.all_that_was_written_lives_until_it_is_overwritten_and_nothing_else()


TestForgettingReplicas = ForgettingReplicas.TestCase
TestForgettingReplicas.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
