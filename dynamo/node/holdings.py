"""What one node holds on its disk, put together: copies, hints, hash trees, deleted keys.

They share one engine, and each write commits what belongs together in one batch: a copy, its leaf
in the trees and its place among the deleted keys (`storage/states.py`).
"""

import random
from collections.abc import Callable

from dynamo.config import NodeConfig
from dynamo.core.ids import DEFAULT_BUCKET_TYPE, Bucket
from dynamo.node.cluster_view import ClusterView
from dynamo.node.tombstone_watch import Watch
from dynamo.storage.engine import Engine
from dynamo.storage.hints import HintStore
from dynamo.storage.objects import ObjectStore
from dynamo.storage.tombstones import TombstoneStore
from dynamo.storage.trees import Trees

_DEFAULT_BUCKET = Bucket(DEFAULT_BUCKET_TYPE, b"")


class Holdings:
    """The stores of one node.

    Attributes:
        objects: its copies of keys.
        hints: what it keeps for others.
        trees: the hash trees over its copies.
        deleted: which of its copies are tombstones.
        watch: for which of these anything came since they were last asked about.
    """

    def __init__(
        self,
        view: ClusterView,
        engine: Engine,
        dice: random.Random,
        clock_s: Callable[[], float],
        wall_ms: Callable[[], int],
        config: NodeConfig,
        *,
        settle_s: float,
    ) -> None:
        """Open them.

        Args:
            view: places keys, and says how many replicas they have.
            engine: the disk.
            dice: for the numbers of watches, and of copies.
            clock_s: the loop's.
            wall_ms: dates hints and tombstones.
            config: bounds.
            settle_s: how long whatever touched a key may still have an effect.

        Raises:
            StorageError: the disk cannot be read.
        """
        self._view = view
        self.watch = Watch(clock_s, first_number=dice.randrange(1, 2**48), kept_s=3 * settle_s)
        self.deleted = TombstoneStore(engine, self._partition_of, wall_ms, on_change=self.watch.end)
        self.trees = Trees(engine, view.ring.partitions, self._partition_of, self._n_of)
        self.objects = ObjectStore(engine, self._partition_of, dice, [self.deleted, self.trees])
        self.hints = HintStore(
            engine,
            bytes_max=config.hints_bytes_max,
            queued_bytes_max=config.queued_bytes_max // 2,  # the other half is not for hints
        )

    def _partition_of(self, key: bytes) -> int:
        return self._view.ring.partition_of(key)

    def _n_of(self, bucket: Bucket) -> int:
        """How many replicas a bucket's keys have."""
        book = self._view.properties
        properties = book.known(bucket) or book.of(_DEFAULT_BUCKET)
        return properties.n_val if properties is not None else 1
