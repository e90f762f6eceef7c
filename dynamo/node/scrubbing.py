"""Scrubbing: what is on the disk is read before somebody needs it, and the trees are kept right.

Records that nobody reads can rot for years. A slow walk reads every object, whose checksum is
checked as in any read, holds its entry in the index of the trees against it, and looks for entries
without an object. What differs is put right, the partition's trees are loaded anew, and what was
lost shows as a difference to the other replicas.

What is in doubt (a commit failed, a damaged record was met) does not wait for the walk; nor does
the index of a disk that is older than the trees: both are looked at before the trees are loaded.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable

from dynamo.errors import DynamoError, StorageError
from dynamo.node.pacing import Pacer
from dynamo.storage.engine import OnCommit
from dynamo.storage.objects import ObjectStore
from dynamo.storage.tree_index import Entry
from dynamo.storage.trees import Trees

log = logging.getLogger(__name__)

ROWS_AT_ONCE = 200
"""Entries of the index read in one go: about 1 ms."""

OBJECTS_AT_ONCE = 32

PARTITIONS_AT_ONCE = 16
"""Loaded behind one barrier: of each, what is written meanwhile is kept in memory."""

ROUND_S_MIN = 86_400.0
"""A walk over everything takes at least a day."""

RATE_MAX = 500.0
"""Rows a second in the walk, if more than a day's worth is there: 40 million a day."""

COALESCE_S = 0.05
"""What comes into doubt together is looked at together: a full disk fails a thousand commits."""

REST_S = 1.0
"""After a round that failed."""


class Scrubbing:
    """Keeps one node's trees right and loaded, and reads its disk.

    Attributes:
        rows: objects and entries looked at by the walk so far.
        entries_mended: entries of the index that were put right.
    """

    def __init__(
        self, trees: Trees, objects: ObjectStore, pacer: Pacer, *, partitions: int
    ) -> None:
        self.rows = 0
        self.entries_mended = 0
        self._trees = trees
        self._objects = objects
        self._pacer = pacer
        self._partitions = partitions
        self._doubt = asyncio.Event()
        self._doubt.set()
        trees.on_doubt.append(self._doubt.set)

    @property
    def partitions_unloaded(self) -> int:
        """How many partitions have no trees now."""
        return len(self._trees.unloaded())

    # -- what cannot wait ------------------------------------------------------------------------

    async def keep_loaded(self) -> None:
        """Wait until there is something to mend or to load, and do it."""
        await self._doubt.wait()
        await asyncio.sleep(COALESCE_S)
        self._doubt.clear()
        try:
            if not self._trees.complete:
                await self._complete()
            await self._look_at_doubts()
            await self._load()
        except DynamoError as error:
            log.warning("trees are not loaded yet", extra={"reason": str(error)})
            self._doubt.set()
            await asyncio.sleep(REST_S)

    async def _complete(self) -> None:
        """Give every object of an older disk its entry."""
        for partition in range(self._partitions):
            await self.scrub(partition)
        await _durably(self._trees.mark_complete)

    async def _look_at_doubts(self) -> None:
        doubts = self._trees.take_doubts()
        while doubts:
            partition, keys = doubts.popitem()
            try:
                if keys is None:
                    await self.scrub(partition)
                for key in keys or ():
                    await self._check(key)
            except DynamoError:
                self._trees.doubt([partition, *doubts])
                raise

    async def _load(self) -> None:
        unloaded = self._trees.unloaded()
        for start in range(0, len(unloaded), PARTITIONS_AT_ONCE):
            partitions = unloaded[start : start + PARTITIONS_AT_ONCE]
            self._trees.begin_load(partitions)
            await _durably(self._trees.barrier)
            for partition in partitions:
                while self._trees.load_page(partition, ROWS_AT_ONCE):
                    await self._pacer.admit(ROWS_AT_ONCE // 50)

    # -- the walk --------------------------------------------------------------------------------

    async def walk(self) -> None:
        """Look at everything once, slowly."""
        loop = asyncio.get_running_loop()
        for partition in range(self._partitions):
            due_s = loop.time() + ROUND_S_MIN / self._partitions
            try:
                await self.scrub(partition, rate_max=RATE_MAX)
            except DynamoError as error:
                log.warning(
                    "a partition was not scrubbed",
                    extra={"partition": partition, "reason": str(error)},
                )
            await asyncio.sleep(max(due_s - loop.time(), REST_S))

    async def scrub(self, partition: int, *, rate_max: float = math.inf) -> None:
        """Look at all entries and all objects of a partition, and put right what differs.

        Raises:
            StorageError: the disk does not do it.
            Overloaded: too much waits for the disk.
        """
        after = b""
        more = True
        while more:
            entries, more = self._trees.index.page(partition, after, OBJECTS_AT_ONCE)
            for entry in entries:
                await self._check_entry(entry)
                after = entry.place
            await self._spend(len(entries), rate_max)
        after = b""
        more = True
        while more:
            found, more = self._objects.keys(partition, b"", after, OBJECTS_AT_ONCE)
            for key, _ in found:
                await self._check(key)
                after = key
            await self._spend(len(found), rate_max)

    async def _spend(self, rows: int, rate_max: float) -> None:
        self.rows += rows
        if rows:
            await self._pacer.admit(1 + rows // 10)
            await asyncio.sleep(rows / rate_max)

    async def _check_entry(self, entry: Entry) -> None:
        index = self._trees.index
        if entry.key is None or (entry.digest is None and index.place(entry.key) != entry.place):
            # Its key is lost with it, or another than it was. Its object, if there is one, gets its
            # entry again.
            self.entries_mended += 1
            await _durably(lambda on_done: self._trees.remove(entry, on_done))
        if entry.key is not None:
            await self._check(entry.key)

    async def _check(self, key: bytes) -> None:
        """Hold the entry of a key against its object, and put it right if it is wrong.

        Both are what is durable. A write that is about to end may show in one and not yet in the
        other, so what differs is looked at again when it has.
        """
        if self._trees.index.is_right(key, self._objects.get(key)):
            return
        with contextlib.suppress(StorageError):
            await _durably(lambda on_done: self._objects.after_newest(key, on_done))
        if self._trees.index.is_right(key, self._objects.get(key)):
            return
        self.entries_mended += 1
        await _durably(
            lambda on_done: self._trees.put_right(key, self._objects.newest(key), on_done)
        )


async def _durably(begin: Callable[[OnCommit], None]) -> None:
    """Begin a commit and wait for its end.

    Raises:
        StorageError: it failed.
    """
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_done(error: StorageError | None) -> None:
        if ended.done():
            return  # nobody waits any more
        if error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)

    begin(on_done)
    await ended
