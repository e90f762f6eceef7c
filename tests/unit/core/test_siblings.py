"""Dotted version vector sets against causal histories, and the promises clients rely on."""

import itertools
import random
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from dynamo.core.codec import clock_of, decode_clock, decode_siblings, encode_siblings
from dynamo.core.ids import Actor, Dot
from dynamo.core.siblings import EMPTY, Clock, Context, Entry, Siblings
from tests.unit.core.model_causality import (
    NOTHING_SHOWN,
    Message,
    Replica,
    Shown,
    World,
    value_of,
)

A, B, C, D = (Actor(name * 8) for name in (b"a", b"b", b"c", b"d"))

REPLICAS = 3
replica_numbers = st.integers(0, REPLICAS - 1)


# -- against the model ---------------------------------------------------------------------------


class ReplicasAndClients(RuleBasedStateMachine):
    """Clients with old, new and no contexts; replicas that talk late, lose disks and forget."""

    shown: Bundle[Shown] = Bundle("shown")
    messages: Bundle[Message] = Bundle("messages")

    def __init__(self) -> None:
        super().__init__()
        self.world = World.of(REPLICAS)

    def replica(self, number: int) -> Replica:
        return self.world.replicas[number]

    @rule(target=shown, number=replica_numbers)
    def read(self, number: int) -> Shown:
        return self.world.read(self.replica(number))

    @rule(number=replica_numbers)
    def put_without_context(self, number: int) -> None:
        self.world.put(self.replica(number), NOTHING_SHOWN)

    @rule(target=shown, number=replica_numbers, shown=shown)
    def put(self, number: int, shown: Shown) -> Shown:
        self.world.put(self.replica(number), shown)
        return self.world.read(self.replica(number))

    @rule(number=replica_numbers)
    def put_what_was_just_read(self, number: int) -> None:
        replica = self.replica(number)
        event = self.world.put(replica, self.world.read(replica))
        assert [value for _, value in replica.state.dots()] == [value_of(event)]

    @rule(target=messages, number=replica_numbers)
    def send(self, number: int) -> Message:
        return self.world.send(self.replica(number))

    @rule(number=replica_numbers, message=messages)
    def deliver(self, number: int, message: Message) -> None:
        self.world.deliver(message, self.replica(number))

    @rule(source=replica_numbers, target_number=replica_numbers)
    def exchange(self, source: int, target_number: int) -> None:
        self.world.deliver(self.world.send(self.replica(source)), self.replica(target_number))

    @rule(number=replica_numbers)
    def mint_elsewhere(self, number: int) -> None:
        self.world.mint_elsewhere(self.replica(number))

    @rule(number=replica_numbers)
    def lose(self, number: int) -> None:
        self.world.lose(self.replica(number))

    @rule()
    def collect(self) -> None:
        self.world.collect()

    @rule(number=replica_numbers, other=replica_numbers)
    def compare_by_clock(self, number: int, other: int) -> None:
        mine, theirs = self.replica(number), self.replica(other)
        clock = decode_clock(clock_of(encode_siblings(theirs.state)))
        merged = mine.state.merge(theirs.state)
        missing = clock.missing_from(mine.state.clock())
        assert missing == len(theirs.history.events - mine.history.known)
        assert mine.state.clock().merge(clock) == merged.clock()
        assert clock.covers(mine.state.clock()) is (merged == theirs.state)
        if not missing:
            assert mine.state.supersede(clock.gone()) == merged

    @invariant()
    def states_agree_with_their_histories(self) -> None:
        for replica in self.world.replicas:
            self.world.check(replica)

    def teardown(self) -> None:
        first = self.world.replicas[0]
        for replica in self.world.replicas:
            self.world.deliver(self.world.send(replica), first)
        for replica in self.world.replicas:
            self.world.deliver(self.world.send(first), replica)
            self.world.check(replica)
            assert encode_siblings(replica.state) == encode_siblings(first.state)


TestReplicasAndClients = ReplicasAndClients.TestCase
TestReplicasAndClients.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


@st.composite
def worlds(draw: st.DrawFn, replicas: int = REPLICAS) -> World:
    """Replicas after some random life; nothing is collected, so all states fit together."""
    world = World.of(replicas)
    shown = [NOTHING_SHOWN]
    for step in draw(st.lists(st.integers(0, 3), max_size=25)):
        replica = world.replicas[draw(st.integers(0, replicas - 1))]
        if step == 0:
            shown.append(world.read(replica))
        elif step == 1:
            world.put(replica, draw(st.sampled_from(shown)))
        elif step == 2:
            other = world.replicas[draw(st.integers(0, replicas - 1))]
            world.deliver(world.send(other), replica)
        else:
            world.mint_elsewhere(replica)
    return world


# -- merging -------------------------------------------------------------------------------------


@given(worlds())
def test_merge_is_commutative_associative_and_idempotent_to_the_byte(world: World) -> None:
    a, b, c = (replica.state for replica in world.replicas)
    assert encode_siblings(a.merge(b)) == encode_siblings(b.merge(a))
    assert encode_siblings(a.merge(b).merge(c)) == encode_siblings(a.merge(b.merge(c)))
    assert encode_siblings(a.merge(a)) == encode_siblings(a)
    assert a.merge(b) == b.merge(a)


@given(worlds(replicas=2))
def test_merge_of_a_state_that_adds_nothing_is_the_very_same_state(world: World) -> None:
    mine, theirs = (replica.state for replica in world.replicas)
    merged = mine.merge(theirs)
    copy = decode_siblings(encode_siblings(merged))
    for known in (EMPTY, mine, theirs, copy):
        assert merged.merge(known) is merged
    assert EMPTY.merge(merged) is merged


@given(worlds(replicas=2), st.randoms(use_true_random=False))
def test_clocks_merge_like_the_states_they_are_of(world: World, dice: random.Random) -> None:
    mine, theirs = (replica.state for replica in world.replicas)
    clocks = [mine.clock(), theirs.clock()]
    dice.shuffle(clocks)
    assert clocks[0].merge(clocks[1]) == mine.merge(theirs).clock()


# -- what clients rely on ------------------------------------------------------------------------


@given(worlds(), replica_numbers, replica_numbers, st.booleans())
def test_two_clients_that_read_the_same_version_and_write_leave_two_siblings(
    world: World, first: int, second: int, exchange_between: bool
) -> None:
    for source, target in itertools.permutations(world.replicas, 2):
        world.deliver(world.send(source), target)
    for source, target in itertools.permutations(world.replicas, 2):
        world.deliver(world.send(source), target)
    shown = world.read(world.replicas[0])
    one, other = world.replicas[first], world.replicas[second]
    events = [world.put(one, shown)]
    if exchange_between:
        world.deliver(world.send(one), other)
    events.append(world.put(other, shown))
    merged = one.state.merge(other.state)
    assert {value for _, value in merged.dots()} == {value_of(event) for event in events}
    assert len(merged) == 2


@given(worlds(), replica_numbers, replica_numbers)
def test_a_write_with_the_context_of_all_siblings_leaves_one_value_everywhere(
    world: World, number: int, other: int
) -> None:
    everything = EMPTY
    for replica in world.replicas:
        everything = everything.merge(replica.state)
    writer = world.replicas[number]
    written = writer.state.write(writer.actor, b"new", everything.context(), writer.minted)
    assert [value for _, value in written.dots()] == [b"new"]
    assert [value for _, value in world.replicas[other].state.merge(written).dots()] == [b"new"]


@given(worlds(), replica_numbers)
def test_a_write_without_context_replaces_nothing(world: World, number: int) -> None:
    replica = world.replicas[number]
    written = replica.state.write(replica.actor, b"new", {}, replica.minted)
    assert {v for _, v in written.dots()} == {v for _, v in replica.state.dots()} | {b"new"}


@given(worlds(), replica_numbers)
def test_a_context_covers_what_was_shown_all_before_it_and_nothing_else(
    world: World, number: int
) -> None:
    replica = world.replicas[number]
    shown = world.covered(replica.state.context())
    assert shown == replica.history.known
    pasts = [w.past for other in world.replicas for w in other.history.live if w.event in shown]
    assert all(past <= shown for past in pasts)


@pytest.mark.parametrize("replicas", [1, 3])
def test_seven_interleaved_writers_never_leave_more_than_seven_siblings(replicas: int) -> None:
    writers = 7
    dice = random.Random(7)
    actors = [Actor(bytes([n]) * 8) for n in range(replicas)]
    states = [EMPTY] * replicas
    minted = [0] * replicas
    contexts: list[Context] = [{}] * writers
    most = 0
    for _ in range(1000):
        for writer in dice.sample(range(writers), writers):
            at = dice.randrange(replicas)
            value = b"writer %d" % writer
            states[at] = states[at].write(actors[at], value, contexts[writer], minted[at])
            minted[at] += 1
            # Shown its own write and all before it, but not those until its next turn.
            contexts[writer] = states[at].context()
            heard = dice.randrange(replicas)
            states[at] = states[at].merge(states[heard])
            most = max(most, len(states[at]))
    assert 1 < most <= writers


def test_one_writer_with_fresh_contexts_keeps_one_value_and_one_entry() -> None:
    state = EMPTY
    for n in range(100):
        state = state.write(A, b"%d" % n, state.context(), floor=n)
    assert state == Siblings(entries={A: (100, (b"99",))})


def test_the_context_of_nothing_is_empty() -> None:
    assert EMPTY.context() == {}
    assert EMPTY.is_empty
    assert len(EMPTY) == 0


def test_a_state_may_know_of_dots_and_hold_no_value() -> None:
    state = EMPTY.supersede({A: 3})
    assert not state.is_empty
    assert len(state) == 0
    assert state.dots() == []
    assert state.context() == {A: 3}


def test_dots_come_by_actor_and_of_each_actor_the_newest_first() -> None:
    state = Siblings(entries={B: (2, (b"b2",)), C: (9, ()), A: (7, (b"a7", b"a6"))})
    assert state.dots() == [(Dot(A, 7), b"a7"), (Dot(A, 6), b"a6"), (Dot(B, 2), b"b2")]


# -- minting -------------------------------------------------------------------------------------

counters = st.integers(1, 6)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    counter = draw(counters)
    live = draw(st.integers(0, counter))
    return counter, tuple(b"%d" % (counter - age) for age in range(live))


contexts: st.SearchStrategy[Mapping[Actor, int]] = st.dictionaries(
    st.sampled_from([A, B, C]), counters, max_size=3
)
states = st.dictionaries(st.sampled_from([A, B, C]), entries(), max_size=3).map(
    lambda drawn: Siblings(entries=drawn)
)


def outside(state: Siblings, context: Context) -> dict[Dot, bytes]:
    """The live values that `context` does not cover."""
    return {d: v for d, v in state.dots() if d.counter > context.get(d.actor, 0)}


@given(states, st.sampled_from([A, D]), contexts, st.integers(0, 8))
def test_any_write_on_any_state_keeps_every_run_of_dots_unbroken(
    state: Siblings, actor: Actor, context: Context, floor: int
) -> None:
    """Even where the context claims more of the actor than its own replica knows."""
    written = state.write(actor, b"new", context, floor)
    minted = Dot(actor, written.context()[actor])
    # Every older value keeps its own dot, so no value slid along the run.
    assert dict(written.dots()) == outside(state, context) | {minted: b"new"}
    assert minted.counter > max(state.context().get(actor, 0), context.get(actor, 0))
    if not any(dot.actor == actor for dot in outside(state, context)):
        assert minted.counter > floor
    for known in (*state.context().items(), *context.items()):
        assert written.context()[known[0]] >= known[1]
    assert written.context().keys() == {*state.entries, *context, actor}
    assert all(len(values) <= counter for counter, values in written.entries.values())


@given(states, contexts)
def test_supersede_is_the_merge_with_a_state_that_saw_it_all_and_holds_nothing(
    state: Siblings, context: Context
) -> None:
    after = state.supersede(context)
    assert dict(after.dots()) == outside(state, context)
    assert after == state.merge(Siblings(entries={a: (c, ()) for a, c in context.items()}))
    if after == state:
        assert after is state


def test_a_superseded_value_that_arrives_late_stays_gone() -> None:
    late = EMPTY.write(A, b"old", {}, 0)
    overwritten = EMPTY.write(B, b"new", late.context(), 0)
    assert [value for _, value in overwritten.merge(late).dots()] == [b"new"]


def test_a_forgotten_state_does_not_mint_a_dot_again() -> None:
    deleted = EMPTY.write(A, b"v1", {}, 0)
    deleted = deleted.write(A, b"tombstone", deleted.context(), 1)
    stale = deleted.context()
    written = EMPTY.write(A, b"v3", {}, floor=2)
    # A client of before the deletion has not seen v3, so it must not overwrite it.
    assert {v for _, v in written.write(A, b"v4", stale, 3).dots()} == {b"v3", b"v4"}


def test_a_forgotten_state_of_which_an_old_context_tells_does_not_mint_a_dot_again() -> None:
    state = EMPTY
    old: list[Context] = []
    for n in range(5):
        state = state.write(A, b"%d" % n, state.context(), n)
        old.append(state.context())
    # All replicas forget; the context of the third write brings a part of the run back.
    elsewhere = EMPTY.write(B, b"b", old[2], 0)
    written = EMPTY.merge(elsewhere).write(A, b"a", {}, floor=5)
    latest = EMPTY.write(C, b"c", old[4], 0)
    assert {value for _, value in written.merge(latest).dots()} == {b"a", b"b", b"c"}


def test_a_replica_that_lost_its_state_leaves_the_values_of_others_alone_as_a_new_actor() -> None:
    kept = EMPTY.write(A, b"acknowledged", {}, 0)
    rewritten = EMPTY.write(D, b"new", {}, 0)
    assert {v for _, v in kept.merge(rewritten).dots()} == {b"acknowledged", b"new"}


def test_a_made_up_context_spoils_its_own_key_only() -> None:
    minted = 0
    spoilt = EMPTY.write(A, b"x", {A: 2**48}, minted)
    minted += 1
    assert spoilt.context() == {A: 2**48 + 1}
    assert EMPTY.write(A, b"y", {}, minted).context() == {A: 2}


# -- clocks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "missing", "gone", "behind"),
    [
        pytest.param({A: (3, 2)}, 0, {A: 2}, False, id="equal"),
        pytest.param({}, 0, {}, True, id="knows nothing"),
        pytest.param({A: (2, 1)}, 0, {A: 1}, True, id="one write behind"),
        pytest.param({A: (3, 1)}, 0, {A: 1}, True, id="has a value that is gone here"),
        pytest.param({A: (3, 3)}, 0, {A: 3}, False, id="saw the value here deleted"),
        pytest.param({A: (4, 4)}, 0, {A: 4}, False, id="saw a later one deleted"),
        pytest.param({A: (4, 3)}, 1, {A: 3}, False, id="one write ahead"),
        pytest.param({A: (5, 2)}, 2, {A: 2}, False, id="two siblings ahead"),
        pytest.param({B: (1, 0)}, 1, {}, True, id="concurrent"),
        pytest.param({A: (3, 2), B: (4, 4)}, 0, {A: 2, B: 4}, False, id="gone unseen"),
    ],
)
def test_a_clock_tells_what_to_fetch_what_to_apply_and_what_to_repair(
    theirs: dict[Actor, tuple[int, int]], missing: int, gone: Context, behind: bool
) -> None:
    mine = Siblings(entries={A: (3, (b"a3",))})
    clock = Clock(entries=theirs)
    assert clock.missing_from(mine.clock()) == missing
    assert clock.gone() == gone
    assert clock.covers(mine.clock()) is not behind
