"""The hash trees of what a node holds, in step with its objects.

On disk there is an index with an entry for each object, stored in the object's own batch
(`tree_index.py`). What is above it is in memory, a tree for each partition and n: replicas of a
partition share only the keys of buckets with an n for which both are primaries.

A partition's trees are loaded in the background, a page of its index at a time, with writes going
on. A load begins with a barrier, an empty commit: batches become durable in their order, so what
was told before the load is on disk when the barrier is. Of what is told during the load, changes at
places that were read already are applied at once, the others take the place of what will be read.
A partition that is not loaded has no trees; whoever wants to compare it must wait.
"""

from collections.abc import Callable, Collection, Iterable, Sequence

from dynamo.core.ids import Bucket
from dynamo.core.merkle import HashTree, leaves_of, position_of
from dynamo.storage.engine import KEY_BYTES_MAX, Delete, Engine, OnCommit, Operation, Put, Table
from dynamo.storage.tree_index import Entry, TreeIndex, entry_for, place_in, state_digest

_PARTITION_BYTES = 2

_COMPLETE_MARK = b"trees"
_COMPLETE_VERSION = b"1"
"""In `META`: every object has its entry. It is not there on a disk older than the index."""

_BUCKETS_MAX = 10_000
_DOUBTS_MAX = 100
"""Doubtful places of one partition; with more of them all of it is looked through."""


_Change = tuple[bytes, int, int, bytes, int, int]
"""Key, partition, position, place, the XOR of old and new digest, new digest. A plain tuple, as one
is made for every write."""

_Trees = dict[int, HashTree]
"""Of one partition, by n; without those that have no keys."""


class _Load:
    """A partition on its way into memory.

    Attributes:
        trees: what was read so far.
        last: the last place that was read.
        changed: places that changed before they were read: n, position, and the digest then. A
            later change is toggled like that of any place that was read.
    """

    __slots__ = ("changed", "last", "trees")

    def __init__(self, start: bytes) -> None:
        self.trees: _Trees = {}
        self.last = start
        self.changed: dict[bytes, tuple[int, int, int]] = {}


class Trees:
    """The trees of one node; a `Companion` of its objects.

    Attributes:
        index: what is on disk.
        on_doubt: called when there is something to mend or to load.
        complete: every object has its entry in the index.
    """

    def __init__(
        self,
        engine: Engine,
        partitions: int,
        partition_of: Callable[[bytes], int],
        n_of: Callable[[Bucket], int],
    ) -> None:
        """Nothing is loaded yet.

        Args:
            engine: where objects and index are.
            partitions: of the cluster.
            partition_of: the partition of an encoded key.
            n_of: how many replicas the keys of a bucket have.

        Raises:
            StorageError: the disk cannot be read.
        """
        self._engine = engine
        self._partitions = partitions
        self._partition_of = partition_of
        self._n_of_bucket = n_of
        self._ns: dict[bytes, int] = {}
        self._ns_dropped = False
        self._ns_met: set[int] = set()
        self._leaves = leaves_of(partitions)
        self.index = TreeIndex(engine, partition_of)
        self._loaded: dict[int, _Trees] = {}
        self._loading: dict[int, _Load] = {}
        self._doubts: dict[int, dict[bytes, None]] = {}
        self._change: _Change = (b"", 0, 0, b"", 0, 0)
        self.on_doubt: list[Callable[[], None]] = []
        self.complete = engine.get(Table.META, _COMPLETE_MARK) == _COMPLETE_VERSION

    # -- in step with the objects ----------------------------------------------------------------

    def along(self, key: bytes, before: bytes | None, after: bytes | None) -> Sequence[Operation]:
        """The entry to store along with a change of an object."""
        digest = state_digest(key, after)
        partition, position = self._partition_of(key), position_of(key)
        place = place_in(partition, position, key)
        self._change = key, partition, position, place, state_digest(key, before) ^ digest, digest
        return (entry_for(place, key, digest),)

    def changed(self, key: bytes, before: bytes | None, after: bytes | None) -> None:
        """The change that `along` was just asked about is on its way to the disk."""
        told, partition, position, place, toggled, digest = self._change
        assert told == key, "changes come one by one"
        trees = self._loaded.get(partition)
        if trees is not None:
            self._toggle(trees, self.n_of(key), position, toggled)
            return
        load = self._loading.get(partition)
        if load is None:
            return
        if place > load.last:
            load.changed[place] = self.n_of(key), position, digest
        else:
            self._toggle(load.trees, self.n_of(key), position, toggled)

    def remembers(self, key: bytes) -> bool:
        """Whether the key has an entry, which came and goes with its object."""
        return self.index.holds(key)

    def in_doubt(self, place: bytes) -> None:
        """An object was lost, or a change that was told did not come about."""
        partition = int.from_bytes(place[:_PARTITION_BYTES], "big")
        doubts = self._doubts.setdefault(partition, {})
        if len(doubts) <= _DOUBTS_MAX:
            doubts[place] = None
        self.unload([partition])

    # -- what is in memory -----------------------------------------------------------------------

    def trees_of(self, partition: int) -> "dict[int, HashTree] | None":
        """The trees of a partition by n, those without keys left out; None if not loaded."""
        return self._loaded.get(partition)

    def ns(self) -> list[int]:
        """Every n for which there are keys here, or were since it was last loaded; in order."""
        return sorted(self._ns_met)

    def n_of(self, key: bytes) -> int:
        """How many replicas an encoded key has."""
        type_end = 1 + key[0] if key else 0
        bucket_end = type_end + 2 + int.from_bytes(key[type_end : type_end + 2], "big")
        n = self._ns.get(key[:bucket_end])
        if n is None:
            if len(self._ns) >= _BUCKETS_MAX:
                self._ns.clear()
                self._ns_dropped = True
            bucket = Bucket(key[1:type_end], key[type_end + 2 : bucket_end])
            n = self._ns[key[:bucket_end]] = self._n_of_bucket(bucket)
            self._ns_met.add(n)
        return n

    def properties_changed(self) -> None:
        """Some bucket may have another n now: then all trees are loaded anew."""
        known, self._ns = self._ns, {}
        if self._ns_dropped or any(self.n_of(bucket) != n for bucket, n in known.items()):
            self._ns = {}
            self._ns_dropped = False
            self._ns_met = set()
            self.unload(range(self._partitions))

    # -- loading ---------------------------------------------------------------------------------

    def unload(self, partitions: Iterable[int]) -> None:
        """Have these partitions loaded anew."""
        for partition in partitions:
            self._loaded.pop(partition, None)
            self._loading.pop(partition, None)
        for tell in self.on_doubt:
            tell()

    def unloaded(self) -> list[int]:
        """Partitions that wait to be loaded, in order."""
        if len(self._loaded) == self._partitions:
            return []
        return [p for p in range(self._partitions) if p not in self._loaded]

    def begin_load(self, partitions: Iterable[int]) -> None:
        """Note what changes in these partitions from now on. A barrier has to follow."""
        for partition in partitions:
            self._loading[partition] = _Load(_prefix(partition))

    def barrier(self, on_done: OnCommit) -> None:
        """Call `on_done` once all that is on its way to the disk is there.

        Raises:
            Overloaded: too much waits for the disk.
        """
        self._engine.commit((), on_done)

    def load_page(self, partition: int, limit: int) -> bool:
        """Read on in a partition whose load was begun; returns whether there is more to read.

        Raises:
            StorageError: the disk cannot be read.
        """
        load = self._loading.get(partition)
        if load is None:
            return False
        entries, more = self.index.page(partition, load.last, limit)
        for entry in entries:
            load.last, key, digest = entry
            if load.last in load.changed:
                continue
            if key is None or digest is None:
                self.doubt([partition])
                return False
            self._toggle(load.trees, self.n_of(key), entry.position, digest)
        if not more:
            for n, position, digest in load.changed.values():
                self._toggle(load.trees, n, position, digest)
            del self._loading[partition]
            self._loaded[partition] = load.trees
        return more

    # -- what is wrong on disk --------------------------------------------------------------------

    def put_right(self, key: bytes, newest: bytes | None, on_done: OnCommit) -> None:
        """Store the entry that a key in its newest state should have.

        Raises:
            Overloaded: too much waits for the disk.
        """
        digest = state_digest(key, newest)
        partition = self._partition_of(key)
        self._engine.commit((entry_for(self.index.place(key), key, digest),), on_done)
        self.unload([partition])

    def remove(self, entry: Entry, on_done: OnCommit) -> None:
        """Remove a damaged entry of which nobody knows what key it is of.

        Raises:
            Overloaded: too much waits for the disk.
        """
        self._engine.commit((Delete(Table.TREES, entry.place),), on_done)
        self.unload([entry.partition])

    def mark_complete(self, on_done: OnCommit) -> None:
        """Remember that every object has its entry.

        Raises:
            Overloaded: too much waits for the disk.
        """
        self._engine.commit((Put(Table.META, _COMPLETE_MARK, _COMPLETE_VERSION),), on_done)
        self.complete = True

    def take_doubts(self) -> dict[int, list[bytes] | None]:
        """By partition the keys in doubt since this was asked last; None: which ones is unknown."""
        doubts, self._doubts = self._doubts, {}
        return {partition: _keys_at(places) for partition, places in doubts.items()}

    def check_later(self, key: bytes, state: bytes | None) -> None:
        """Have the entry of a key looked at, if it is not that of this durable state.

        Raises:
            StorageError: the disk cannot be read.
        """
        if not self.index.is_right(key, state):
            self.in_doubt(_prefix(self._partition_of(key)) + key)

    def doubt(self, partitions: Iterable[int]) -> None:
        """Have all entries of these partitions looked at."""
        for partition in partitions:
            self.in_doubt(_prefix(partition))

    def _toggle(self, trees: _Trees, n: int, position: int, digest: int) -> None:
        tree = trees.get(n)
        if tree is None:
            tree = trees[n] = HashTree(self._leaves)
        tree.toggle(position, digest)


def _prefix(partition: int) -> bytes:
    return partition.to_bytes(_PARTITION_BYTES, "big")


def _keys_at(places: Collection[bytes]) -> list[bytes] | None:
    """The keys of objects by their places; None if there are too many or one is not told whole."""
    keys = [p[_PARTITION_BYTES:] for p in places if _PARTITION_BYTES < len(p) < KEY_BYTES_MAX]
    return keys if len(keys) == len(places) <= _DOUBTS_MAX else None
