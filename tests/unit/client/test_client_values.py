"""A conflict can be settled or looked at, not overlooked."""

from collections.abc import Sequence
from typing import cast

import pytest

from dynamo.client.errors import Conflict
from dynamo.client.values import Context, Found
from dynamo.core.values import Value
from dynamo.errors import BadRequest

MILK = Value(body=b"milk")
EGGS = Value(body=b"eggs")
TOMBSTONE = Value(body=b"", deleted=True)
CONTEXT = Context(b"\x00\xffclock")


def union(values: Sequence[Value]) -> Value:
    return Value(body=b"+".join(sorted(value.body for value in values)))


def test_one_value_is_the_value() -> None:
    assert Found(siblings=(MILK,), context=CONTEXT).value == MILK


def test_a_missing_key_has_no_value() -> None:
    found = Found(siblings=(), context=None)
    assert found.value is None
    assert found.values == ()


def test_siblings_without_a_resolver_raise_and_can_be_looked_at() -> None:
    found = Found(siblings=(MILK, EGGS), context=CONTEXT)
    with pytest.raises(Conflict, match="2 concurrent values") as caught:
        _ = found.value
    assert caught.value.siblings == (MILK, EGGS)
    assert caught.value.definite
    assert found.values == (MILK, EGGS)


def test_a_resolver_makes_one_value_of_siblings() -> None:
    found = Found(siblings=(MILK, EGGS), context=CONTEXT, resolve=union)
    assert found.value == Value(body=b"eggs+milk")


def test_a_resolver_is_not_asked_about_a_lone_value() -> None:
    def never(values: Sequence[Value]) -> Value:
        raise AssertionError(values)

    assert Found(siblings=(MILK,), context=CONTEXT, resolve=never).value == MILK
    assert Found(siblings=(), context=None, resolve=never).value is None
    assert Found(siblings=(MILK, TOMBSTONE), context=None, resolve=never).value == MILK
    assert Found(siblings=(TOMBSTONE, TOMBSTONE), context=None, resolve=never).value is None


def test_a_value_beside_a_tombstone_is_a_conflict_too() -> None:
    found = Found(siblings=(MILK, TOMBSTONE), context=CONTEXT)
    with pytest.raises(Conflict):
        _ = found.value
    assert found.values == (MILK,)


def test_a_resolver_never_sees_a_tombstone() -> None:
    found = Found(siblings=(MILK, TOMBSTONE, EGGS), context=CONTEXT, resolve=union)
    assert found.value == Value(body=b"eggs+milk")


def test_a_context_survives_its_text() -> None:
    assert str(CONTEXT) == "AP9jbG9jaw=="
    assert Context.parse(str(CONTEXT)) == CONTEXT


@pytest.mark.parametrize("text", ["not!base64", "AP9jbG9jaw", "é"])
def test_a_context_that_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="not a context"):
        Context.parse(text)


def test_a_resolver_that_returns_something_else_is_told_so() -> None:
    found = Found(siblings=(MILK, EGGS), context=CONTEXT, resolve=lambda values: cast("Value", b""))
    with pytest.raises(BadRequest, match="must return a Value, and this one returned a bytes"):
        _ = found.value
