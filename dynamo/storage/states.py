"""The states of keys in one table, those on their way to the disk included.

A commit takes a while, and the next write of the same key must build on the one before it: what
is not durable yet is kept here, per place, until the last commit of that place has ended. Reads
for clients and peers see committed states only; `merge` and `write` see the newest.

`merge` and `write` are plain functions on the event loop, from the read to the queued commit.
That is the key's lock: nothing else of this process can run in between, and nobody else has the
directory open.

When a commit fails, writes behind it that were built on its state may still be stored, with that
state in them. This is right: the failed write was reported as in doubt, not as undone, other
replicas may hold it too, and to take its dots out again would declare its value gone.
"""

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Sequence
from typing import Protocol

from dynamo.core.codec import clock_of, decode_siblings, encode_siblings
from dynamo.core.ids import decode_key
from dynamo.core.siblings import Siblings
from dynamo.errors import CodecError, Corrupted, StorageError
from dynamo.storage.engine import (
    KEY_BYTES_MAX,
    Delete,
    Engine,
    OnCommit,
    Operation,
    Put,
    Table,
)
from dynamo.storage.records import place_of, seal, unseal

Page = tuple[list[tuple[bytes, bytes]], bool]
"""Encoded keys with what is kept for them, in the order of their places; whether more follow.

If more follow, the page is not empty, so that its last key says where to go on.
"""

# A page holds the values too, and is read in one go on the event loop: 4 MiB are 4,000 objects
# of 1 KiB (5 ms), or one of 50 MiB. Rows are fetched few at a time, to overshoot by few.
PAGE_BYTES_MAX = 4 * 2**20
_ROWS_AT_ONCE = 16


class Companion(Protocol):
    """Something kept in step with the states: stored in the same batch, or not at all."""

    def along(self, key: bytes, before: bytes | None, after: bytes | None) -> Sequence[Operation]:
        """What to store along with a change. It may still be refused, so nothing else is done.

        Args:
            key: encoded.
            before: the encoded state until now; None if there is none.
            after: the encoded state from now on; None if there is none.
        """
        ...

    def changed(self, key: bytes, before: bytes | None, after: bytes | None) -> None:
        """The change is on its way to the disk, after all that were told before it."""
        ...

    def remembers(self, key: bytes) -> bool:
        """Whether this says that there is a state on the disk. Asked where none is found."""
        ...

    def in_doubt(self, place: bytes) -> None:
        """A commit failed or a record is corrupted: what was told of this place may be wrong."""
        ...


class _Pending:
    """What of one place is not durable yet.

    Attributes:
        state: the newest; None if it is a deletion.
        followers: who waits for the newest. The list itself tells its commit from those before.
    """

    __slots__ = ("followers", "state")

    def __init__(self) -> None:
        self.state: bytes | None = None
        self.followers: list[OnCommit] = []


class States:
    """Encoded siblings by place, over one table of an engine.

    Attributes:
        corrupted: how many records were found corrupted, and then treated as missing.
        mended: how many of them have been replaced.
    """

    def __init__(
        self,
        engine: Engine,
        table: Table,
        *,
        prefix_bytes: int,
        on_loss: Callable[[], None],
        companions: Sequence[Companion] = (),
    ) -> None:
        """Serve one table.

        Args:
            engine: where it is.
            table: which; nobody else writes it.
            prefix_bytes: how many bytes of a place are not the key's.
            on_loss: a commit failed or a record is corrupted: states may be gone or fall back.
            companions: what is kept in step.
        """
        self._engine = engine
        self._table = table
        self._prefix_bytes = prefix_bytes
        self._on_loss = on_loss
        self._companions = companions
        self._pending: dict[bytes, _Pending] = {}
        # Corrupted records are lost once, however often they are read before they are replaced.
        # Places in order.
        self._lost: list[bytes] = []
        self.corrupted = 0
        self.mended = 0

    def committed(self, place: bytes) -> bytes | None:
        """The durable state; None if there is none that can be read.

        Raises:
            StorageError: the disk cannot be read.
        """
        return self._unsealed(place, self._engine.get(self._table, place))

    def newest(self, place: bytes) -> bytes | None:
        """The state that the next write builds on, durable or not.

        Raises:
            StorageError: the disk cannot be read.
        """
        pending = self._pending.get(place)
        return self.committed(place) if pending is None else pending.state

    def scan(self, start: bytes, stop: bytes | None, limit: int) -> Page:
        """Durable states at places behind `start` and before `stop`; None: to the end.

        A page ends early when it gets large. Records that cannot be read are left out.

        Raises:
            StorageError: the disk cannot be read.
        """
        found: list[tuple[bytes, bytes]] = []
        size = 0
        while True:
            count, room = min(limit + 2, _ROWS_AT_ONCE), max(PAGE_BYTES_MAX - size, 0)
            rows = self._engine.scan(self._table, start, stop, count, room)
            if len(rows) == 1 and rows[0][0] == start:
                # It took all the room there was, and has been seen already.
                rows = self._engine.scan(self._table, start, stop, 2)
            if not rows or rows[-1][0] == start:
                return found, False
            for place, record in rows:
                if place == start:
                    continue
                if len(found) == limit or size > PAGE_BYTES_MAX:
                    return found, True
                try:
                    row = unseal(place, self._prefix_bytes, record)
                except Corrupted:
                    self._lose(place)
                    continue
                found.append(row)
                size += len(record)
            start = rows[-1][0]

    def survey(self, start: bytes, stop: bytes | None, limit: int) -> Page:
        """As `scan`, but a key whose record is lost is told too, with b"" for its state.

        Who lists keys must not take it for one that is not there.

        Raises:
            Corrupted: a record is lost, and which key it was of.
            StorageError: the disk cannot be read.
        """
        found, more = self.scan(start, stop, limit)
        if not self._lost:
            return found, more
        prefix = start[: self._prefix_bytes]
        rows = [(place_of(prefix, key), key, state) for key, state in found]
        end = rows[-1][0] if more else stop
        lost = self._lost_between(start, end)
        if not lost:
            return found, more
        rows += [(place, key, b"") for place, key in lost]
        rows.sort()
        return [(key, state) for _, key, state in rows[:limit]], more or len(rows) > limit

    def _lost_between(self, start: bytes, end: bytes | None) -> list[tuple[bytes, bytes]]:
        """Places of lost records behind `start` and before `end`, with their keys."""
        first = bisect_right(self._lost, start)
        last = len(self._lost) if end is None else bisect_left(self._lost, end)
        lost: list[tuple[bytes, bytes]] = []
        for place in self._lost[first:last]:
            if len(place) == KEY_BYTES_MAX:
                raise Corrupted(f"a record of {place[:64]!r}... is lost, and its key with it")
            key = place[self._prefix_bytes :]
            try:
                decode_key(key)
            except CodecError:  # the place itself rotted; whose it was is missed elsewhere
                continue
            lost.append((place, key))
        return lost

    def merge(self, place: bytes, key: bytes, incoming: bytes, on_done: OnCommit) -> None:
        """Join encoded siblings to what is kept, and call `on_done` once the result is durable.

        Raises:
            CodecError: `incoming` or `key` does not decode; nothing was stored.
            Overloaded: too much waits for the disk; nothing was stored.
            StorageError: the disk cannot be read.
        """
        held = self.newest(place) or b""
        if clock_of(held) == clock_of(incoming):
            self.after_newest(place, on_done)
            return
        # Decoded even where it is stored as it is: what does not decode now never will, and a key
        # that does not would break listings.
        theirs = decode_siblings(incoming)
        if not held:
            decode_key(key)
        ours = decode_siblings(held)
        if theirs.merge(ours) is theirs:
            self._store(place, key, held, incoming, on_done)
            return
        merged = ours.merge(theirs)
        if merged is ours:
            self.after_newest(place, on_done)
        else:
            self._store(place, key, held, encode_siblings(merged), on_done)

    def write(
        self,
        place: bytes,
        key: bytes,
        update: Callable[[Siblings], Siblings],
        on_done: OnCommit,
    ) -> bytes:
        """Replace what is kept by its update, and call `on_done` once that is durable.

        Returns:
            The encoded state after the update; not durable yet.

        Raises:
            Overloaded: too much waits for the disk; nothing was stored.
            StorageError: the disk cannot be read.
        """
        held = self.newest(place) or b""
        if not held and place not in self._pending and self._is_missed(key):
            self._lose(place)
        encoded = encode_siblings(update(decode_siblings(held)))
        if encoded == held:
            self.after_newest(place, on_done)
        else:
            self._store(place, key, held, encoded, on_done)
        return encoded

    def drop(self, place: bytes, key: bytes, expected: bytes, on_done: OnCommit) -> bool:
        """Remove the record if its newest state is still `expected`; returns whether it is.

        `on_done` is called once the record is durably gone, or soon if it stays.

        Raises:
            Overloaded: too much waits for the disk; nothing was removed.
            StorageError: the disk cannot be read.
        """
        is_expected = self.newest(place) == expected
        if is_expected:
            self._store(place, key, expected, None, on_done)
        else:
            self.after_newest(place, on_done)
        return is_expected

    def after_newest(self, place: bytes, on_done: OnCommit) -> None:
        """Call `on_done`, never at once, when the newest state of the place is durable."""
        pending = self._pending.get(place)
        if pending is not None:
            pending.followers.append(on_done)
        else:
            asyncio.get_running_loop().call_soon(on_done, None)

    def _store(
        self, place: bytes, key: bytes, held: bytes, after: bytes | None, on_done: OnCommit
    ) -> None:
        """Begin to store `after`, or nothing, where the newest state is `held` (b"": none)."""
        followers = [on_done]

        def ended(error: StorageError | None) -> None:
            self._ended(place, followers, after is not None, error)

        before = held or None
        batch: list[Operation] = [
            Delete(self._table, place)
            if after is None
            else Put(self._table, place, seal(place, key, after))
        ]
        for companion in self._companions:
            batch += companion.along(key, before, after)
        self._engine.commit(batch, ended)
        for companion in self._companions:
            companion.changed(key, before, after)
        pending = self._pending.get(place)
        if pending is None:
            pending = self._pending[place] = _Pending()
        pending.state = after
        pending.followers = followers

    def _ended(
        self, place: bytes, followers: list[OnCommit], stores: bool, error: StorageError | None
    ) -> None:
        if self._pending[place].followers is followers:
            del self._pending[place]
        if error is not None:
            self._lost_at(place)
        elif self._lost and self.is_lost(place):
            self._lost.remove(place)
            self.mended += stores
        for follower in followers:
            try:
                follower(error)
            except Exception as failure:  # the others must hear of theirs
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "a follower of a commit raised", "exception": failure}
                )

    def _unsealed(self, place: bytes, record: bytes | None) -> bytes | None:
        if record is None:
            return None
        try:
            return unseal(place, self._prefix_bytes, record)[1]
        except Corrupted:
            self._lose(place)
            return None

    def is_lost(self, place: bytes) -> bool:
        """Whether the record of a place was found corrupted or gone, and not replaced since."""
        at = bisect_left(self._lost, place)
        return at < len(self._lost) and self._lost[at] == place

    def _is_missed(self, key: bytes) -> bool:
        """Whether there should be a record where none is: rot may strike its key, too."""
        return any(companion.remembers(key) for companion in self._companions)

    def _lose(self, place: bytes) -> None:
        if not self.is_lost(place):
            insort(self._lost, place)
            self.corrupted += 1
            self._lost_at(place)

    def _lost_at(self, place: bytes) -> None:
        self._on_loss()
        for companion in self._companions:
            companion.in_doubt(place)
