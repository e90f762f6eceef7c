"""Modes: what a client may choose for each request, and what a bucket does with conflicts.

CAP is not one choice of a system. N is set when the data is laid out; R, W and whether stand-ins
count come with each request; whether conflicts are kept or settled by clocks belongs to the bucket.
A mode is one such choice, so several can be measured side by side under the very same fault.
"""

import enum
from typing import Final

import msgspec


class Conflicts(enum.StrEnum):
    """What becomes of concurrent writes; the value is the name of the bucket type."""

    SIBLINGS = "siblings"
    """All are kept until a client settles them."""

    LWW = "lww"
    """The last by the clocks of the nodes stays, the others are dropped."""


BUCKET_TYPES: Final[dict[str, dict[str, object]]] = {
    Conflicts.SIBLINGS.value: {"allow_mult": True},
    Conflicts.LWW.value: {"last_write_wins": True, "allow_mult": False, "dvv_enabled": False},
}


class Mode(msgspec.Struct, frozen=True, kw_only=True):
    """One choice.

    Attributes:
        r: replicas that must answer a read.
        w: replicas that must hold a write.
        sloppy: whether stand-ins take the place of replicas that cannot be reached.
        conflicts: what becomes of concurrent writes.
        n: replicas of a key.
    """

    r: int
    w: int
    sloppy: bool
    conflicts: Conflicts = Conflicts.SIBLINGS
    n: int = 3

    @property
    def name(self) -> str:
        """As tables and charts show it, e.g. `strict 2/2` (R/W), `sloppy 1/1 lww`."""
        quorum = f"{'sloppy' if self.sloppy else 'strict'} {self.r}/{self.w}"
        return quorum if self.conflicts is Conflicts.SIBLINGS else f"{quorum} {self.conflicts}"

    @property
    def slug(self) -> str:
        """As bucket names have it, e.g. `strict-2-2`."""
        return self.name.replace(" ", "-").replace("/", "-")
