"""How a coordinator makes the state of a write: from its own copy, or from nothing.

From its own copy is the rule: the dot follows on what the key's state there has seen. From nothing
(`afresh`) is for nodes that hold no copy, and for a while after the own copy failed to store
something: a dot minted from a state that may be gone must name a new actor (`core/actors.py`), and
a full disk would else cost the keys it coordinates a clock entry with every write, which nothing
takes out again.
"""

import logging
import math
from collections.abc import Callable
from typing import NamedTuple

from dynamo.core.conflicts import written
from dynamo.core.ids import Actor, decode_key
from dynamo.core.quorum import Conflicts
from dynamo.core.siblings import Context, Siblings
from dynamo.errors import BadRequest, StorageError
from dynamo.node.afresh import Afresh
from dynamo.storage.engine import OnCommit
from dynamo.storage.objects import ObjectStore

log = logging.getLogger(__name__)

OBJECT_BYTES_LARGE = 5 * 2**20
SIBLINGS_MANY = 25
"""From here on a write is logged, as Riak does: a reader gets, and a replica sends, all of it."""

REST_S_MIN = 1.0
REST_S_MAX = 300.0
"""How long the own copy is left alone after a failure; twice as long after each further one."""

STATE_BYTES_MAX = 60 * 2**20
"""All siblings of a key together; a state must fit into one frame between nodes."""


class NewValue(NamedTuple):
    """What a client wrote.

    Attributes:
        key: encoded.
        value: encoded.
        context: what the client was shown.
        conflicts: how they are treated in the key's bucket.
    """

    key: bytes
    value: bytes
    context: Context
    conflicts: Conflicts


class Minting:
    """Makes the states of the writes that one node coordinates."""

    def __init__(
        self,
        objects: ObjectStore,
        draw: Callable[[int], bytes],
        clock_s: Callable[[], float],
        *,
        siblings_max: int,
    ) -> None:
        self._objects = objects
        self._afresh = Afresh(draw)
        self._clock_s = clock_s
        self._siblings_max = siblings_max
        self._rests_until_s = -math.inf
        self._rest_s = REST_S_MIN

    def from_own_copy(self, new: NewValue, on_stored: OnCommit) -> bytes | None:
        """Write to the own copy; the encoded state to send to the other replicas.

        None if the own copy cannot be written just now; `on_stored` is not called then.

        Raises:
            BadRequest: the key would have too many siblings.
            Overloaded: too much waits for the disk.
        """
        if self._clock_s() < self._rests_until_s:
            return None

        def update(state: Siblings, actor: Actor, floor: int) -> Siblings:
            after = written(state, actor, floor, new.value, new.context, new.conflicts)
            self._check_size(new, state, after)
            return after

        def stored(error: StorageError | None) -> None:
            self._judge(sound=error is None)
            on_stored(error)

        try:
            encoded = self._objects.write(new.key, update, stored)
        except StorageError as error:
            log.error("own copy cannot be read", extra={"reason": str(error)})
            return None
        self._afresh.forget(new.key)
        return encoded

    def from_nothing(self, new: NewValue) -> bytes:
        """The encoded state of the write, and of those made so before it."""
        return self._afresh.write(
            new.key,
            lambda state, actor: written(state, actor, 0, new.value, new.context, new.conflicts),
        )

    def forget(self, key: bytes) -> None:
        """Nothing minted from nothing for this key is sent again: it may be superseded."""
        self._afresh.forget(key)

    def on_return(self) -> None:
        """A node can be reached again that could not be before."""
        self._afresh.forget_all()

    def _judge(self, *, sound: bool) -> None:
        if sound:
            self._rest_s = REST_S_MIN
        else:
            self._rests_until_s = self._clock_s() + self._rest_s
            self._rest_s = min(2 * self._rest_s, REST_S_MAX)

    def _check_size(self, new: NewValue, state: Siblings, after: Siblings) -> None:
        siblings = len(after)
        size = len(new.value)
        if siblings > 1:
            self._check_siblings(state, after)
            size = sum(len(value) for _, value in after.dots())
        if size >= OBJECT_BYTES_LARGE or siblings >= SIBLINGS_MANY > len(state):
            key = decode_key(new.key)
            log.warning(
                "an object is large",
                extra={
                    "bucket": f"{key.bucket!r:.80}",
                    "key": f"{key.key!r:.80}",
                    "bytes": size,
                    "siblings": siblings,
                },
            )

    def _check_siblings(self, state: Siblings, after: Siblings) -> None:
        siblings = len(after)
        if siblings > max(self._siblings_max, len(state)):
            raise BadRequest(
                f"the key has {len(state)} siblings, the most is {self._siblings_max};"
                " read it and write with its context"
            )
        size = sum(len(value) for _, value in after.dots())
        if size > STATE_BYTES_MAX:
            raise BadRequest(
                f"the key's siblings would have {size} bytes, the most is {STATE_BYTES_MAX};"
                " read it and write with its context"
            )
