"""Whether the replicas of each partition hold the same, as one node found it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dynamo.core.ids import Key, NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedPartition:
    """The replicas of one partition, for keys that have so many replicas.

    Attributes:
        primaries: who should hold it.
        silent: those of them that did not answer, or cannot compare it now.
        equal: whether the others hold the same.
    """

    partition: int
    n_val: int
    primaries: Sequence[NodeId]
    silent: Sequence[NodeId]
    equal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DivergentKey:
    """A key whose replicas differ, and did a moment before.

    Attributes:
        digests: of the state at each primary that answered; None where there is none. Equal digests
            are equal states.
    """

    key: Key
    partition: int
    digests: Mapping[NodeId, int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DivergenceReport:
    """All partitions, and the keys that differ.

    Attributes:
        keys_left_out: more keys than these may differ.
    """

    partitions: Sequence[ComparedPartition]
    keys: Sequence[DivergentKey]
    keys_left_out: bool

    @property
    def equal(self) -> bool:
        """Whether every replica was compared and all are equal."""
        return all(found.equal and not found.silent for found in self.partitions)
