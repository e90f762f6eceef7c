"""Numbers and signs as the page, the pictures and the terminal show them alike."""

from math import isfinite
from typing import Final

from chaos.judgement import Figure, Verdict

NOTHING = "-"

SIGNS: Final[dict[Verdict, str]] = {
    Verdict.PASS: "✔",
    Verdict.FAIL: "✘",
    Verdict.INVALID: "⚠",
}

MEANINGS: Final[dict[Verdict, str]] = {
    Verdict.PASS: "Every rule held, and the lab proved that it did what it meant to.",
    Verdict.FAIL: "A rule was broken: see which, and what shows it.",
    Verdict.INVALID: "The lab did not do what it meant to, so nothing may be concluded from this.",
}


def clean(text: str) -> str:
    """The text on one line, without what cannot be printed: it may come from a broken network."""
    spaced = " ".join(text.split())
    return "".join(letter if letter.isprintable() else "·" for letter in spaced)


def short(text: str, letters_max: int) -> str:
    """The text, cut where it is too long."""
    return text if len(text) <= letters_max else text[: letters_max - 1] + "…"


def number(value: float | None, unit: str = "") -> str:
    """As many digits as tell something, and the unit."""
    if value is None or not isfinite(value):
        return NOTHING
    digits = 0 if value == int(value) or abs(value) >= 1000 else 1 if abs(value) >= 1 else 2
    return f"{value:,.{digits}f} {unit}".rstrip()


def counted(count: int, noun: str) -> str:
    """`1 request`, `2 requests`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def percent(part: int, whole: int) -> float | None:
    """None of nothing."""
    return 100 * part / whole if whole else None


def apart(figure: Figure) -> str:
    """By how much it is off the prediction, with its sign."""
    if figure.measured is None or figure.predicted is None:
        return NOTHING
    difference = figure.measured - figure.predicted
    return f"{'+' if difference > 0 else ''}{number(difference)}"


def listed(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
