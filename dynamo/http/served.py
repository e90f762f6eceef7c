"""What the HTTP interface needs of a node: the port that `node/node.py` fills, and tests fake."""

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from dynamo.config import ClusterConfig, NodeConfig
from dynamo.core.bucket_types import TypeStatus
from dynamo.core.divergence import DivergenceReport
from dynamo.core.figures import Figure
from dynamo.core.ids import Bucket, Key, NodeId
from dynamo.core.properties import Properties
from dynamo.core.quorum import Conflicts, ReadQuorum, WriteQuorum
from dynamo.core.ring import Ring
from dynamo.core.siblings import Context, Siblings
from dynamo.core.tombstones import TombstoneReport
from dynamo.core.values import Value
from dynamo.node.tracing import Trace

Member = Mapping[str, object]
"""A member as `/admin/members` shows it; it has at least `node`, `http` and `opinion`."""

Stats = Mapping[str, float | str | list[str]]


class WrittenAnswer(Protocol):
    """A write that met its quorum."""

    @property
    def state(self) -> Siblings | None:
        """The key's state at the coordinator, if it was asked for."""
        ...


class ServedCoordinator(Protocol):
    """Reads and writes. All raise RequestError, and end in time."""

    async def get(
        self, key: Key, quorum: ReadQuorum, *, timeout_s: float, trace: Trace | None = None
    ) -> Siblings:
        """What is known of `key`; EMPTY if it was never written."""
        ...

    async def put(
        self,
        key: Key,
        value: Value,
        context: Context | None,
        quorum: WriteQuorum,
        conflicts: Conflicts,
        *,
        timeout_s: float,
        return_state: bool = False,
        trace: Trace | None = None,
    ) -> WrittenAnswer:
        """Store `value` as the successor of what `context` covers."""
        ...

    async def delete(
        self,
        key: Key,
        context: Context | None,
        read: ReadQuorum,
        write: WriteQuorum,
        conflicts: Conflicts,
        *,
        timeout_s: float,
        trace: Trace | None = None,
    ) -> bool:
        """Store a tombstone; False if no context is given and nothing is there."""
        ...


class ServedListing(Protocol):
    """Names of keys and buckets, page by page, each name once, in no order."""

    def keys(
        self, bucket: Bucket, quorum: ReadQuorum, conflicts: Conflicts, *, timeout_s: float
    ) -> AsyncIterator[list[bytes]]:
        """The keys of a bucket that have a value."""
        ...

    def buckets(
        self, bucket_type: bytes, quorum: ReadQuorum, conflicts: Conflicts, *, timeout_s: float
    ) -> AsyncIterator[list[bytes]]:
        """The buckets of a type that have such keys."""
        ...


class ServedProperties(Protocol):
    """Bucket properties as this node knows them."""

    def of(self, bucket: Bucket) -> Properties | None:
        """Those of a bucket; of a type as a whole if the bucket's name is empty."""
        ...

    def refused(self, bucket: Bucket, changes: Mapping[str, object]) -> dict[str, str]:
        """Why changes cannot be made."""
        ...


class ServedBucketProperties(Protocol):
    """Changes of bucket properties, on all nodes."""

    async def change(self, bucket: Bucket, changes: Mapping[str, object]) -> None:
        """Change properties of a bucket, or of a type as a whole.

        Raises:
            BadRequest: they are refused.
        """
        ...

    async def reset(self, bucket: Bucket) -> None:
        """Give a bucket its type's properties back."""
        ...


class ServedBucketTypes(Protocol):
    """Making bucket types, on all nodes."""

    def known(self) -> Mapping[bytes, bool]:
        """All types by name, and whether each is active; the default one first."""
        ...

    async def status(self, name: bytes) -> TypeStatus | None:
        """How far a type has come; None if there is none."""
        ...

    async def create(self, name: bytes, given: Mapping[str, object]) -> None:
        """Create a type that is not active yet.

        Raises:
            BadRequest: it is refused.
        """
        ...

    async def activate(self, name: bytes) -> bool:
        """Let a type be used. Returns False if it is active already.

        Raises:
            BadRequest: there is no such type, or not all nodes know it.
        """
        ...


class ServedRemoval(Protocol):
    """Removing nodes for good."""

    async def remove(self, node: NodeId, *, even_if_up: bool) -> None:
        """Remove a node.

        Raises:
            BadRequest: it cannot be removed.
        """
        ...


class ServedOperations(Protocol):
    """What an operator asks."""

    @property
    def figures(self) -> Sequence[Figure]:
        """All that the node tells of itself in numbers; the same ones all its life."""
        ...

    def members(self) -> Sequence[Member]:
        """All members this node knows."""
        ...

    def opinion(self, node_id: NodeId) -> str:
        """What this node thinks of another: up, suspect or down."""
        ...

    def local(self, encoded_key: bytes) -> tuple[bytes | None, Mapping[NodeId, bytes]]:
        """The state this node holds for a key, and the hints it keeps, by whom they are for."""
        ...

    def hints(self) -> Sequence[Mapping[str, object]]:
        """What this node keeps for others, by whom it is for."""
        ...

    async def wait_for_hints(self, timeout_s: float) -> Mapping[str, object]:
        """Return when all hints held now are gone, or the time is up; `held` says how many are not.

        Raises:
            Overloaded: too many wait already.
        """
        ...

    def tombstones(self) -> TombstoneReport:
        """How many deleted keys the node holds, and what those that are its to forget wait for."""
        ...

    def read_stats(self) -> Stats:
        """What the node counts, by the names that `/stats` shows."""
        ...


class ServedDivergence(Protocol):
    """Compares the replicas of all partitions."""

    async def report(self, *, keys_max: int, timeout_s: float) -> DivergenceReport:
        """What differs now.

        Raises:
            DeadlineExceeded: not in time.
        """
        ...


class ServedNode(Protocol):
    """One running node.

    Attributes:
        serving: it has joined its cluster.
        dice: for keys and boundaries.
    """

    @property
    def config(self) -> NodeConfig: ...
    @property
    def cluster(self) -> ClusterConfig: ...
    @property
    def serving(self) -> bool: ...
    @property
    def dice(self) -> random.Random: ...
    @property
    def coordinator(self) -> ServedCoordinator: ...
    @property
    def listing(self) -> ServedListing: ...
    @property
    def properties(self) -> ServedProperties: ...
    @property
    def bucket_properties(self) -> ServedBucketProperties: ...
    @property
    def bucket_types(self) -> ServedBucketTypes: ...
    @property
    def operations(self) -> ServedOperations: ...
    @property
    def removal(self) -> ServedRemoval: ...
    @property
    def divergence(self) -> ServedDivergence: ...
    @property
    def ring(self) -> Ring: ...

    def wall_ms(self) -> int:
        """Milliseconds since 1970."""
        ...
