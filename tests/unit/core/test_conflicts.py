from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo.core.codec import decode_value, encode_siblings, encode_value
from dynamo.core.conflicts import Liveness, liveness, shown, written
from dynamo.core.ids import Actor
from dynamo.core.quorum import Conflicts
from dynamo.core.siblings import EMPTY, Context, Siblings
from dynamo.core.values import Value

A = Actor(b"actor__a")
B = Actor(b"actor__b")
ONE_VALUE = [Conflicts.LATEST, Conflicts.LAST_WRITE_WINS]


def value(name: str, at_ms: int, *, deleted: bool = False) -> bytes:
    return encode_value(Value(body=name.encode(), modified_at_ms=at_ms, deleted=deleted))


def write(
    state: Siblings,
    actor: Actor,
    name: str,
    conflicts: Conflicts,
    *,
    at_ms: int,
    context: Context | None = None,
) -> Siblings:
    return written(state, actor, 0, value(name, at_ms), context or {}, conflicts)


def names(state: Siblings, conflicts: Conflicts) -> list[str]:
    return [entry.body.decode() for _, entry in shown(state, conflicts)]


def test_with_siblings_a_blind_write_stands_beside_the_rest() -> None:
    state = write(EMPTY, A, "x", Conflicts.SIBLINGS, at_ms=1)
    state = write(state, A, "y", Conflicts.SIBLINGS, at_ms=2)
    assert sorted(names(state, Conflicts.SIBLINGS)) == ["x", "y"]


def test_with_siblings_a_context_replaces_what_it_covers() -> None:
    first = write(EMPTY, A, "x", Conflicts.SIBLINGS, at_ms=1)
    state = write(first, B, "y", Conflicts.SIBLINGS, at_ms=2)
    state = write(state, A, "z", Conflicts.SIBLINGS, at_ms=3, context=first.context())
    assert sorted(names(state, Conflicts.SIBLINGS)) == ["y", "z"]


@pytest.mark.parametrize("conflicts", ONE_VALUE)
def test_without_siblings_blind_writes_do_not_pile_up(conflicts: Conflicts) -> None:
    state = EMPTY
    for i in range(100):
        state = write(state, A, f"v{i}", conflicts, at_ms=i)
    assert len(state) == 1
    assert names(state, conflicts) == ["v99"]


@pytest.mark.parametrize("conflicts", ONE_VALUE)
def test_without_siblings_writes_through_two_nodes_are_both_kept_until_the_next(
    conflicts: Conflicts,
) -> None:
    here = write(EMPTY, A, "here", conflicts, at_ms=10)
    there = write(EMPTY, B, "there", conflicts, at_ms=20)
    merged = here.merge(there)
    assert len(merged) == 2
    assert names(merged, conflicts) == ["there"]
    assert names(merged, Conflicts.SIBLINGS) == ["here", "there"]
    assert len(write(merged, A, "next", conflicts, at_ms=30)) == 1


def test_latest_replaces_what_the_client_saw_even_where_the_replica_has_not() -> None:
    elsewhere = write(EMPTY, B, "seen", Conflicts.LATEST, at_ms=50)
    here = write(EMPTY, A, "x", Conflicts.LATEST, at_ms=1, context=elsewhere.context())
    assert names(here.merge(elsewhere), Conflicts.SIBLINGS) == ["x"]


def test_last_write_wins_does_not_look_at_contexts() -> None:
    elsewhere = write(EMPTY, B, "seen", Conflicts.LAST_WRITE_WINS, at_ms=50)
    here = write(EMPTY, A, "x", Conflicts.LAST_WRITE_WINS, at_ms=1, context=elsewhere.context())
    assert here.context() == {A: 1}
    assert names(here.merge(elsewhere), Conflicts.LAST_WRITE_WINS) == ["seen"]


def test_last_write_wins_sets_a_late_clock_forward() -> None:
    """A node with a fast clock wrote first; the write that came after it must still win."""
    fast = write(EMPTY, A, "first", Conflicts.LAST_WRITE_WINS, at_ms=9000)
    slow = write(fast, B, "second", Conflicts.LAST_WRITE_WINS, at_ms=10)
    assert names(slow, Conflicts.LAST_WRITE_WINS) == ["second"]
    assert [entry.modified_at_ms for _, entry in shown(slow, Conflicts.LAST_WRITE_WINS)] == [9001]
    # A concurrent write between the two times must lose, though its clock is ahead of the second's.
    other = write(EMPTY, Actor(b"actor__c"), "other", Conflicts.LAST_WRITE_WINS, at_ms=8000)
    assert names(slow.merge(other), Conflicts.LAST_WRITE_WINS) == ["second"]


def test_last_write_wins_leaves_a_time_that_is_later_anyway() -> None:
    old = write(EMPTY, A, "x", Conflicts.LAST_WRITE_WINS, at_ms=5)
    encoded = value("y", 6)
    new = written(old, A, 0, encoded, {}, Conflicts.LAST_WRITE_WINS)
    assert [stored for _, stored in new.dots()] == [encoded]


def test_only_the_time_is_changed_when_it_is_raised() -> None:
    old = write(EMPTY, A, "x", Conflicts.LAST_WRITE_WINS, at_ms=5)
    whole = Value(
        body=b"b",
        content_type="text/plain; charset=utf-8",
        content_encoding="gzip",
        meta=(("m", "1"),),
        links=((b"b", b"k", b"t"),),
        indexes=(("f_bin", "v"),),
        modified_at_ms=5,
    )
    new = written(old, A, 0, encode_value(whole), {}, Conflicts.LAST_WRITE_WINS)
    assert [decode_value(v) for _, v in new.dots()] == [replace(whole, modified_at_ms=6)]


def test_a_tombstone_that_is_newest_is_what_is_shown() -> None:
    old = write(EMPTY, A, "x", Conflicts.LATEST, at_ms=5)
    gone = written(EMPTY, B, 0, value("", 6, deleted=True), {}, Conflicts.LATEST)
    entries = shown(old.merge(gone), Conflicts.LATEST)
    assert [entry.deleted for _, entry in entries] == [True]
    assert len(shown(old.merge(gone), Conflicts.SIBLINGS)) == 2


@pytest.mark.parametrize("conflicts", ONE_VALUE)
def test_of_equal_times_the_greater_dot_is_shown(conflicts: Conflicts) -> None:
    states = {actor: write(EMPTY, actor, actor.decode(), conflicts, at_ms=5) for actor in (A, B)}
    assert names(states[A].merge(states[B]), conflicts) == [B.decode()]
    assert names(states[B].merge(states[A]), conflicts) == [B.decode()]


@pytest.mark.parametrize("conflicts", list(Conflicts))
def test_nothing_is_shown_of_nothing(conflicts: Conflicts) -> None:
    assert shown(EMPTY, conflicts) == []
    assert shown(EMPTY.supersede({A: 3}), conflicts) == []


@settings(max_examples=80)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from([A, B]), st.integers(0, 3), st.booleans()), max_size=12
    ),
    conflicts=st.sampled_from(list(Conflicts)),
)
def test_replicas_that_met_show_the_same(
    steps: list[tuple[Actor, int, bool]], conflicts: Conflicts
) -> None:
    """Two replicas write and sometimes merge; in the end both show one picture, equal times too."""
    replicas = {A: EMPTY, B: EMPTY}
    for i, (actor, at_ms, merges) in enumerate(steps):
        if merges:
            replicas[actor] = replicas[actor].merge(replicas[B if actor == A else A])
        replicas[actor] = write(replicas[actor], actor, f"v{i}", conflicts, at_ms=at_ms)
        if conflicts is not Conflicts.SIBLINGS:
            assert names(replicas[actor], conflicts) == [f"v{i}"]
    one, other = replicas[A].merge(replicas[B]), replicas[B].merge(replicas[A])
    assert shown(one, conflicts) == shown(other, conflicts)
    if conflicts is not Conflicts.SIBLINGS:
        assert len(shown(one, conflicts)) == min(len(steps), 1)


@settings(max_examples=150)
@given(
    writes=st.lists(
        st.tuples(st.sampled_from([A, B]), st.integers(0, 3), st.booleans(), st.booleans()),
        max_size=5,
    ),
    conflicts=st.sampled_from(list(Conflicts)),
)
def test_a_key_is_listed_if_a_value_is_shown(
    writes: list[tuple[Actor, int, bool, bool]], conflicts: Conflicts
) -> None:
    state = EMPTY
    for i, (actor, at_ms, deleted, covers) in enumerate(writes):
        context = state.context() if covers else {}
        state = state.write(actor, value(f"v{i}", at_ms, deleted=deleted), context, 0)
    is_live = any(not entry.deleted for _, entry in shown(state, conflicts))
    kinds = {decode_value(encoded).deleted for _, encoded in state.dots()}
    said = liveness(encode_siblings(state), conflicts)
    if conflicts is not Conflicts.SIBLINGS and len(kinds) == 2:
        assert said is Liveness.UNSETTLED
    else:
        assert said is (Liveness.LIVE if is_live else Liveness.DEAD)


@pytest.mark.parametrize("conflicts", Conflicts)
def test_a_state_without_values_is_not_listed(conflicts: Conflicts) -> None:
    state = EMPTY.write(A, value("v", 1), {}, 0)
    bare = state.supersede(state.context())
    assert bare.entries
    assert not bare.dots()
    assert liveness(encode_siblings(bare), conflicts) is Liveness.DEAD
