"""What the tombstones that a node holds wait for, as that node found it."""

from collections.abc import Sequence
from dataclasses import dataclass

from dynamo.core.ids import Key


@dataclass(frozen=True, slots=True, kw_only=True)
class TombstoneWait:
    """Deleted keys that wait for the same.

    Attributes:
        reason: what they wait for, in words.
        count: how many do.
        keys: some of them.
    """

    reason: str
    count: int
    keys: Sequence[Key]


@dataclass(frozen=True, slots=True, kw_only=True)
class TombstoneReport:
    """The deleted keys of one node.

    Attributes:
        held: how many it holds.
        owned: how many of those are this node's to forget; of very many, as it last looked.
        oldest_ms: since when the oldest of these waits, by the wall's clock, as it last looked;
            None if there was none.
        settling_s_max: how long it takes to forget a key that nothing stands in the way of.
        waits: what those owned wait for, the most frequent first.
    """

    held: int
    owned: int
    oldest_ms: int | None
    settling_s_max: float
    waits: Sequence[TombstoneWait]
