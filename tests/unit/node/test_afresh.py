"""Minting without a copy: the clock stays short, and no write covers one it has not seen."""

import itertools

from dynamo.core.codec import decode_siblings
from dynamo.core.ids import ACTOR_BYTES, Actor
from dynamo.core.siblings import EMPTY, Context, Siblings
from dynamo.node.afresh import Afresh


class _Minting:
    """Draws 1, 2, 3 ... as actors."""

    def __init__(self, bytes_max: int = 10_000) -> None:
        numbers = itertools.count(1)
        self._afresh = Afresh(lambda size: next(numbers).to_bytes(size, "big"), bytes_max=bytes_max)

    def forget_all(self) -> None:
        self._afresh.forget_all()

    def forget(self, key: bytes) -> None:
        self._afresh.forget(key)

    def write(self, key: bytes, value: bytes, context: Context) -> Siblings:
        def update(state: Siblings, actor: Actor) -> Siblings:
            return state.write(actor, value, context, 0)

        return decode_siblings(self._afresh.write(key, update))


def test_hot_key_keeps_one_actor_however_often_it_is_written() -> None:
    minting = _Minting()
    context: Context = {}
    for i in range(100):
        state = minting.write(b"k", b"%d" % i, context)
        context = state.context()
    assert len(state.context()) == 1
    assert [value for _, value in state.dots()] == [b"99"]


def test_blind_writes_stay_beside_each_other() -> None:
    minting = _Minting()
    first = minting.write(b"k", b"one", {})
    second = minting.write(b"k", b"two", {})
    assert sorted(value for _, value in first.merge(second).dots()) == [b"one", b"two"]


def test_keys_have_actors_of_their_own() -> None:
    minting = _Minting()
    one, other = minting.write(b"k", b"v", {}), minting.write(b"l", b"v", {})
    assert not set(one.context()) & set(other.context())


def test_forgotten_key_gets_a_new_actor_and_covers_nothing_of_before() -> None:
    minting = _Minting(bytes_max=400)
    before = minting.write(b"k", b"x" * 60, {})
    minting.write(b"l", b"y" * 60, {})
    after = minting.write(b"k", b"z", {})
    assert not set(before.context()) & set(after.context())
    assert len(EMPTY.merge(before).merge(after)) == 2


def test_drawn_actors_have_the_size_of_actors() -> None:
    (actor,) = _Minting().write(b"k", b"v", {}).context()
    assert len(actor) == ACTOR_BYTES


def test_nothing_minted_before_a_node_returned_is_sent_again() -> None:
    minting = _Minting()
    minting.write(b"k", b"one", {})
    minting.forget_all()
    assert [value for _, value in minting.write(b"k", b"two", {}).dots()] == [b"two"]
    minting.forget(b"k")
    assert [value for _, value in minting.write(b"k", b"three", {}).dots()] == [b"three"]
