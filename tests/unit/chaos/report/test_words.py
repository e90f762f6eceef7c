"""Numbers as people read them."""

import pytest

from chaos.report.words import NOTHING, number


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.126, "0.13 s"), (2.0, "2 s"), (2.34, "2.3 s"), (1234.5, "1,234 s"), (0.0, "0 s")],
)
def test_a_number_has_as_many_digits_as_tell_something(value: float, shown: str) -> None:
    assert number(value, "s") == shown


@pytest.mark.parametrize("value", [None, float("inf"), float("nan")])
def test_what_was_never_measured_or_never_ended_is_no_number(value: float | None) -> None:
    assert number(value, "s") == NOTHING
