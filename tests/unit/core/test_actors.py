"""Who mints dots, and how it changes at a loss."""

import random

import pytest

from dynamo.core.actors import Minter
from dynamo.core.ids import ACTOR_BYTES


def minter() -> Minter:
    dice = random.Random(1)
    return Minter(lambda: dice.randbytes(ACTOR_BYTES))


def test_the_floor_counts_the_dots_minted_before() -> None:
    subject = minter()
    assert [subject.mint() for _ in range(3)] == [(subject.actor, floor) for floor in range(3)]


def test_a_renewed_minter_is_another_actor_that_has_minted_nothing() -> None:
    subject = minter()
    before, _ = subject.mint()
    subject.renew()
    after, floor = subject.mint()
    assert after != before
    assert floor == 0


def test_an_actor_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(AssertionError):
        Minter(lambda: b"short")
