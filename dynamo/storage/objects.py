"""What a node holds of its own: the states of keys by partition, and the minting of dots.

A place is the partition (2 bytes) and the encoded key, so that a partition, and in it a bucket, is
one contiguous range: what is listed, handed over or rebuilt together is read together.
"""

import random
from collections.abc import Callable, Sequence

from dynamo.core.actors import Minter
from dynamo.core.codec import decode_siblings
from dynamo.core.conflicts import is_live
from dynamo.core.ids import ACTOR_BYTES, Actor, Bucket, decode_key, encode_bucket
from dynamo.core.siblings import Siblings
from dynamo.storage.engine import Engine, OnCommit, Table
from dynamo.storage.records import after_prefix, place_of
from dynamo.storage.states import PAGE_BYTES_MAX, Companion, Page, States

PARTITION_BYTES = 2

Update = Callable[[Siblings, Actor, int], Siblings]
"""The state after a write: of the state before, the actor to mint as, and its floor.

The caller decides what is written and what it supersedes, see `Siblings.write`.
"""


class ObjectStore:
    """The states this node holds as an owner of their partitions. Keys are encoded keys."""

    def __init__(
        self,
        engine: Engine,
        partition_of: Callable[[bytes], int],
        dice: random.Random,
        companions: Sequence[Companion] = (),
    ) -> None:
        """Serve the objects of an engine, as an actor that never was before.

        Args:
            engine: where they are.
            partition_of: the partition of an encoded key.
            dice: draws actors. Two processes must never get the same numbers from theirs.
            companions: what is kept in step with the objects.
        """
        self._minter = Minter(lambda: dice.randbytes(ACTOR_BYTES))
        self._partition_of = partition_of
        self._states = States(
            engine,
            Table.OBJECTS,
            prefix_bytes=PARTITION_BYTES,
            on_loss=self._minter.renew,
            companions=companions,
        )

    @property
    def corrupted(self) -> int:
        """How many records were found corrupted, and then treated as missing."""
        return self._states.corrupted

    @property
    def mended(self) -> int:
        """How many of them have been replaced, by another replica's copy or by a new write."""
        return self._states.mended

    def get(self, key: bytes) -> bytes | None:
        """The durable state, encoded; None if there is none that can be read.

        Raises:
            StorageError: the disk cannot be read.
        """
        return self._states.committed(self._place(key))

    def is_lost(self, key: bytes) -> bool:
        """Whether what was held of a key cannot be read any more, as far as that was noticed.

        Then nothing is known of it here, which is not the same as that there is nothing.
        """
        return self._states.is_lost(self._place(key))

    def after_newest(self, key: bytes, on_done: OnCommit) -> None:
        """Call `on_done`, never at once, when the newest state of a key is durable, or is not."""
        self._states.after_newest(self._place(key), on_done)

    def merge(self, key: bytes, incoming: bytes, on_done: OnCommit) -> None:
        """Join a state from another replica, and call `on_done` once what came is durable here.

        Raises:
            CodecError: `incoming` or `key` does not decode; nothing was stored.
            Overloaded: too much waits for the disk; nothing was stored.
            StorageError: the disk cannot be read.
        """
        self._states.merge(self._place(key), key, incoming, on_done)

    def write(self, key: bytes, update: Update, on_done: OnCommit) -> bytes:
        """Coordinate a write: mint its dot in the newest state, and store what comes of it.

        Returns:
            The encoded state to send to the other replicas. `on_done` is called once it is
            durable here.

        Raises:
            Overloaded: too much waits for the disk; nothing was stored.
            StorageError: the disk cannot be read.
        """
        return self._states.write(
            self._place(key),
            key,
            # Reading the state may find a loss and change the actor, so it is asked for after.
            lambda state: update(state, *self._minter.mint()),
            on_done,
        )

    def newest(self, key: bytes) -> bytes | None:
        """The state that the next write builds on, durable or not.

        Raises:
            StorageError: the disk cannot be read.
        """
        return self._states.newest(self._place(key))

    def forget(self, key: bytes, expected: bytes, on_done: OnCommit) -> bool:
        """Hold nothing of a key any more, if its newest state is still `expected`.

        Only what is held wherever it should be may be forgotten. Returns whether it is; `on_done`
        is called once that is durable, or soon if the state has changed and stays.

        Raises:
            Overloaded: too much waits for the disk; nothing was forgotten.
            StorageError: the disk cannot be read.
        """
        state = decode_siblings(expected)
        is_mine = self._minter.actor in state.entries
        if is_mine and (is_live(state) or not self._minter.has_minted(state.context())):
            # It lives on elsewhere, and what this actor minted next from nothing would deny it; or
            # others may know of higher dots of this actor, and would deny what it mints.
            self._minter.renew()
        return self._states.drop(self._place(key), key, expected, on_done)

    def keys(self, partition: int, bucket: bytes, after: bytes, limit: int) -> Page:
        """The keys of a bucket in a partition that can be read, deleted ones included.

        Args:
            partition: which.
            bucket: the encoded bucket; b"" for all of the partition.
            after: the last key of the page before; b"" for the first page.
            limit: at most this many, at least one.

        Raises:
            StorageError: the disk cannot be read.
        """
        return self._states.scan(*_range_of(partition, bucket, after), limit)

    def listed(self, partition: int, bucket: bytes, after: bytes, limit: int) -> Page:
        """As `keys`, but a key whose record is lost is told too, with b"" for its state.

        Raises:
            Corrupted: a record is lost, and which key it was of.
            StorageError: the disk cannot be read.
        """
        return self._states.survey(*_range_of(partition, bucket, after), limit)

    def buckets(
        self,
        partition: int,
        bucket: bytes,
        after: bytes,
        limit: int,
        shows_value: Callable[[bytes], bool],
    ) -> Page:
        """The first live key of each bucket in a partition, by jumping from bucket to bucket.

        Deleted and lost keys before a bucket's first live one are in the page too, the lost with
        b"" for their state: who lists buckets looks what they are, and who asks for the next page
        may have to start at one.

        Args:
            partition: which.
            bucket: an encoded bucket, to ask for only that one; b"" for all.
            after: the last key of the page before; b"" for the first page.
            limit: at most this many keys, at least one.
            shows_value: whether an encoded state is that of a live key, beyond doubt.

        Raises:
            CodecError: `after` is no encoded key.
            Corrupted: a record is lost, and which key it was of.
            StorageError: the disk cannot be read.
        """
        prefix = partition.to_bytes(PARTITION_BYTES, "big")
        start: bytes | None = prefix + bucket
        stop = after_prefix(prefix + bucket)
        if after:
            held = self._states.committed(place_of(prefix, after))
            start = _next_place(prefix, after, is_live=held is not None and shows_value(held))
        found: list[tuple[bytes, bytes]] = []
        size = 0
        while start is not None:
            rows, _ = self._states.survey(start, stop, 1)
            if not rows:
                break
            if len(found) == limit or size > PAGE_BYTES_MAX:
                return found, True
            found += rows
            size += len(rows[0][1])
            key, state = rows[0]
            start = _next_place(prefix, key, is_live=bool(state) and shows_value(state))
        return found, False

    def partition_of(self, key: bytes) -> int:
        """The partition of an encoded key."""
        return self._partition_of(key)

    def _place(self, key: bytes) -> bytes:
        return place_of(self._partition_of(key).to_bytes(PARTITION_BYTES, "big"), key)


def _range_of(partition: int, bucket: bytes, after: bytes) -> tuple[bytes, bytes | None]:
    """Behind which place, and before which, a page of keys is."""
    prefix = partition.to_bytes(PARTITION_BYTES, "big")
    whole = prefix + bucket
    return place_of(prefix, after) if after else whole, after_prefix(whole)


def _next_place(prefix: bytes, key: bytes, *, is_live: bool) -> bytes | None:
    """Behind which place a listing of buckets goes on after this key."""
    if not is_live:
        return place_of(prefix, key)
    bucket_type, bucket, _ = decode_key(key)
    # No key is exactly this place: it would be one without its last part.
    return after_prefix(prefix + encode_bucket(Bucket(bucket_type, bucket)))
