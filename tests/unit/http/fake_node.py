"""A node without a cluster behind it: one copy of everything in memory, and failures on demand."""

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dynamo.config import ClusterConfig, NodeConfig
from dynamo.core.bucket_types import TypeStatus
from dynamo.core.codec import clock_of, encode_siblings, encode_value
from dynamo.core.conflicts import shown, written
from dynamo.core.divergence import ComparedPartition, DivergenceReport, DivergentKey
from dynamo.core.figures import Count, Figure, named
from dynamo.core.ids import Actor, Bucket, Key, NodeId, encode_key
from dynamo.core.property_book import PropertyBook
from dynamo.core.quorum import Conflicts, ReadQuorum, WriteQuorum
from dynamo.core.ring import Ring, RingMember
from dynamo.core.siblings import EMPTY, Context, Siblings
from dynamo.core.tombstones import TombstoneReport, TombstoneWait
from dynamo.core.values import Value
from dynamo.errors import BadRequest
from dynamo.node.tracing import Trace
from dynamo.rpc.messages import Done

ME = NodeId("n1")
STARTED_AT_MS = 1_795_000_000_000

BUCKET_TYPES: dict[str, dict[str, object]] = {
    "multi": {},
    "lww": {"last_write_wins": True, "allow_mult": False, "dvv_enabled": False},
    "once": {"write_once": True},
    "asleep": {"active": False},
    "strict": {"pr": "quorum", "pw": "quorum", "sloppy_quorum": False},
    "counters": {"datatype": "counter"},
}


@dataclass(frozen=True)
class Written:
    state: Siblings | None


@dataclass
class FakeCoordinator:
    """Does as it is told, and notes what it was asked.

    Attributes:
        error: raised by the next request, whatever it is.
        asked: the quorum and the timeout of each request.
        silent: a replica that a write asks, and that never answers; in receipts alone.
    """

    now_ms: Callable[[], int]
    states: dict[Key, Siblings] = field(default_factory=dict)
    error: Exception | None = None
    asked: list[tuple[str, ReadQuorum | WriteQuorum, float]] = field(default_factory=list)
    before: Callable[[], object] | None = None
    silent: NodeId | None = None

    async def get(
        self, key: Key, quorum: ReadQuorum, *, timeout_s: float, trace: Trace | None = None
    ) -> Siblings:
        encode_key(key)
        self._note_read(key, trace)
        self._note("get", quorum, timeout_s)
        return self.states.get(key, EMPTY)

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
    ) -> Written:
        encode_key(key)
        if trace is not None:
            notes = trace.begin_write(ME)
            notes.asked(ME, None)
            notes.acknowledged(ME, Done())
            if self.silent is not None:
                notes.asked(self.silent, None)
        self._note("put", quorum, timeout_s)
        state = self.states.get(key, EMPTY)
        self.states[key] = written(
            state, Actor(b"actor_n1"), 0, encode_value(value), context or {}, conflicts
        )
        return Written(self.states[key] if return_state else None)

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
        encode_key(key)
        self._note("read of delete", read, timeout_s)
        if context is None:
            self._note_read(key, trace)
            if not any(not value.deleted for _, value in shown(await self._of(key), conflicts)):
                return False
            context = self.states[key].context()
        tombstone = Value(body=b"", modified_at_ms=self.now_ms(), deleted=True)
        await self.put(key, tombstone, context, write, conflicts, timeout_s=timeout_s, trace=trace)
        return True

    def _note_read(self, key: Key, trace: Trace | None) -> None:
        if trace is not None:
            notes = trace.begin_read(ME)
            notes.asked(ME, None)
            notes.held(ME, clock_of(encode_siblings(self.states.get(key, EMPTY))))

    async def _of(self, key: Key) -> Siblings:
        return self.states.get(key, EMPTY)

    def _note(self, what: str, quorum: ReadQuorum | WriteQuorum, timeout_s: float) -> None:
        self.asked.append((what, quorum, timeout_s))
        if self.error is not None:
            error, self.error = self.error, None
            raise error


@dataclass
class FakeListing:
    """Lists what the coordinator holds, two names a page, then fails if it is told to."""

    coordinator: FakeCoordinator
    error: Exception | None = None
    timeouts_s: list[float] = field(default_factory=list)
    asked: list[tuple[ReadQuorum, Conflicts]] = field(default_factory=list)

    async def keys(
        self, bucket: Bucket, quorum: ReadQuorum, conflicts: Conflicts, *, timeout_s: float
    ) -> AsyncIterator[list[bytes]]:
        self.timeouts_s.append(timeout_s)
        self.asked.append((quorum, conflicts))
        held = self.coordinator.states
        names = [key.key for key in held if (key.bucket_type, key.bucket) == bucket]
        async for page in self._paged(names):
            yield page

    async def buckets(
        self, bucket_type: bytes, quorum: ReadQuorum, conflicts: Conflicts, *, timeout_s: float
    ) -> AsyncIterator[list[bytes]]:
        self.timeouts_s.append(timeout_s)
        self.asked.append((quorum, conflicts))
        held = self.coordinator.states
        names = {key.bucket for key in held if key.bucket_type == bucket_type}
        async for page in self._paged(sorted(names)):
            yield page

    async def _paged(self, names: Sequence[bytes]) -> AsyncIterator[list[bytes]]:
        for start in range(0, len(names), 2):
            yield list(names[start : start + 2])
        if self.error is not None:
            raise self.error


@dataclass
class FakeBucketProperties:
    """Changes them here and now."""

    properties: PropertyBook

    async def change(self, bucket: Bucket, changes: Mapping[str, object]) -> None:
        self.properties.apply(self.properties.decode(self.properties.changed(bucket, changes, ME)))

    async def reset(self, bucket: Bucket) -> None:
        fact = self.properties.reset(bucket, ME)
        if fact is not None:
            self.properties.apply(self.properties.decode(fact))


@dataclass
class FakeBucketTypes:
    """Makes them here and now.

    Attributes:
        unaware: nodes that have not confirmed any type.
    """

    properties: PropertyBook
    unaware: dict[NodeId, str] = field(default_factory=dict)

    def known(self) -> dict[bytes, bool]:
        return self.properties.types()

    async def status(self, name: bytes) -> TypeStatus | None:
        properties = self.properties.known(Bucket(name, b""))
        if properties is None:
            return None
        return TypeStatus(
            active=self.known()[name],
            created=self.properties.is_created(name),
            unaware=self.unaware,
            everything=properties.everything,
        )

    async def create(self, name: bytes, given: Mapping[str, object]) -> None:
        self.properties.apply(self.properties.decode(self.properties.creation(name, given, ME)))

    async def activate(self, name: bytes) -> bool:
        if self.known()[name]:
            return False
        self.properties.awaits_activation(name)
        if self.unaware:
            raise BadRequest("not every node knows it")
        self.properties.apply(self.properties.decode(self.properties.activation(name, ME)))
        return True


@dataclass
class FakeOperations:
    """Answers an operator with made-up figures, and what the coordinator holds."""

    coordinator: FakeCoordinator
    figures: Sequence[Figure] = (Count("node_gets", "reads it pretends to have seen", lambda: 7),)
    hints_held: int = 0
    waits_s: list[float] = field(default_factory=list)

    def members(self) -> list[dict[str, object]]:
        return [
            {"node": f"n{i}", "http": f"127.0.0.1:809{7 + i}", "opinion": "up"} for i in (1, 2, 3)
        ]

    def opinion(self, node_id: NodeId) -> str:
        return "down" if node_id == "n3" else "up"

    def local(self, encoded_key: bytes) -> tuple[bytes | None, dict[NodeId, bytes]]:
        for key, state in self.coordinator.states.items():
            if encode_key(key) == encoded_key:
                return encode_siblings(state), {NodeId("n2"): encode_siblings(state)}
        return None, {}

    def tombstones(self) -> TombstoneReport:
        wait = TombstoneWait(
            reason="n3 cannot be reached", count=4, keys=[Key(b"default", b"b", b"\xffk")]
        )
        return TombstoneReport(
            held=9, owned=4, oldest_ms=STARTED_AT_MS, settling_s_max=68.2, waits=[wait]
        )

    def hints(self) -> list[dict[str, object]]:
        return [{"for": "n3", "hints": self.hints_held}] if self.hints_held else []

    async def wait_for_hints(self, timeout_s: float) -> dict[str, object]:
        self.waits_s.append(timeout_s)
        left = {"n3": self.hints_held} if self.hints_held else {}
        return {"waited_for": 5, "held": self.hints_held, "for": left}

    def read_stats(self) -> dict[str, int | float | str | list[str]]:
        return {**named(self.figures), "ring_members": ["n1", "n2", "n3"]}


class FakeRemoval:
    """Removes nobody that is up, and notes whom it was told to remove.

    Attributes:
        removed: names.
    """

    def __init__(self) -> None:
        self.removed: list[NodeId] = []

    async def remove(self, node: NodeId, *, even_if_up: bool) -> None:
        if node != "n3" and not even_if_up:
            raise BadRequest(f"{node} is up")
        self.removed.append(node)


class FakeDivergence:
    """Has compared two partitions.

    Attributes:
        asked: with how many keys at most, and how many seconds.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[int, float]] = []

    async def report(self, *, keys_max: int, timeout_s: float) -> DivergenceReport:
        self.asked.append((keys_max, timeout_s))
        nodes = (ME, NodeId("n2"))
        key = DivergentKey(
            key=Key(b"default", b"b", b"k\xff"), partition=1, digests={ME: 255, NodeId("n2"): None}
        )
        return DivergenceReport(
            partitions=[
                ComparedPartition(partition=0, n_val=3, primaries=nodes, silent=(), equal=True),
                ComparedPartition(partition=1, n_val=3, primaries=nodes, silent=(ME,), equal=False),
            ],
            keys=[key][:keys_max],
            keys_left_out=keys_max == 0,
        )


class FakeNode:
    """Everything that the HTTP interface asks of a node."""

    def __init__(
        self,
        *,
        http_port: int = 0,
        requests_in_flight_max: int = 100,
        object_bytes_max: int = 2**20,
    ) -> None:
        self.cluster = ClusterConfig(name="fakes", bucket_types=BUCKET_TYPES)
        self.config = NodeConfig(
            node_id=ME,
            data_dir=Path("unused"),
            http_port=http_port,
            requests_in_flight_max=requests_in_flight_max,
            object_bytes_max=object_bytes_max,
        )
        self.serving = True
        self.dice = random.Random(1)
        self.now_ms = STARTED_AT_MS
        self.coordinator = FakeCoordinator(self.wall_ms)
        self.listing = FakeListing(self.coordinator)
        self.properties = PropertyBook(self.cluster.bucket_types, self.cluster.bucket_defaults)
        self.bucket_properties = FakeBucketProperties(self.properties)
        self.bucket_types = FakeBucketTypes(self.properties)
        self.operations = FakeOperations(self.coordinator)
        self.removal = FakeRemoval()
        self.divergence = FakeDivergence()
        tokens = {ME: (0, 1, 2), NodeId("n2"): (3, 4, 5), NodeId("n3"): (6, 7), NodeId("n4"): ()}
        self.ring = Ring(
            [RingMember(node_id=node, tokens=held) for node, held in tokens.items() if held], 8
        )

    def wall_ms(self) -> int:
        return self.now_ms
