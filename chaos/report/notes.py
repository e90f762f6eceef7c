"""What checkers found of single operations, for the pictures that colour them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """Of one take; a picture leaves out what nobody looked for.

    Attributes:
        stale: indexes of reads that missed an acknowledged write; None if nobody looked.
        lost: indexes of acknowledged writes that are gone; None if nobody looked.
    """

    stale: frozenset[int] | None = None
    lost: frozenset[int] | None = None


NO_NOTES = Notes()
