"""What a node answers about deleted keys, and the watch it keeps over those it was asked about.

Two equal answers do not show that nothing happened between them: a hint may have come and gone.
So whoever is asked about a key watches it from then on, and says by the number of the watch whether
it is still the same one. A watch ends when anything comes for its key, be it a state for the own
copy or a hint for another node, and when the process does.
"""

import enum
import hashlib
from collections import OrderedDict
from collections.abc import Callable

from dynamo.core.codec import clock_of, only_tombstones
from dynamo.core.ids import decode_key
from dynamo.errors import BadRequest, DynamoError, StorageError
from dynamo.node.cluster_view import ClusterView
from dynamo.rpc.messages import (
    Reply,
    TombstoneAsk,
    TombstoneCollect,
    TombstonesKept,
    TombstoneStands,
)
from dynamo.storage.hints import HintStore
from dynamo.storage.objects import ObjectStore

KEYS_MAX = 100
"""Of one question: a look at a key takes some 10 us, and all of them in one go on the loop."""

WATCHED_MAX = 100_000
"""Keys watched at once, for all who ask; some 25 MiB, however long they are."""

_DIGEST_BYTES = 16

Respond = Callable[[Reply], None]


class Standing(enum.IntEnum):
    """What is in the way at the node that was asked. The numbers are on the wire."""

    BUSY = 0
    """Something of the key is on its way to the disk."""

    HINT = -1
    """It keeps a hint for the key."""

    FULL = -2
    """It watches too many keys already."""


def digest_of(state: bytes | None) -> bytes:
    """Tells states apart, by their clocks: equal clocks, equal states; b"" for none."""
    return _digest(clock_of(state)) if state else b""


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()


class Watch:
    """Which keys nothing has come for since they were asked about.

    It must be told of every change of a copy and of every hint that comes (`end`).
    """

    def __init__(
        self,
        clock_s: Callable[[], float],
        *,
        first_number: int,
        kept_s: float,
        watched_max: int = WATCHED_MAX,
    ) -> None:
        """Nothing is watched yet.

        Args:
            clock_s: the loop's clock.
            first_number: above zero, and of no watch of an earlier process, most likely.
            kept_s: how long after the last question a watch goes on.
            watched_max: most keys watched at once.
        """
        self._clock_s = clock_s
        self._next = first_number
        self._kept_s = kept_s
        self._watched_max = watched_max
        # By digest of the key: the number, and when it was last asked for; the longest ago first.
        self._watched: OrderedDict[bytes, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._watched)

    def number(self, key: bytes) -> int:
        """The number of the watch over a key, which begins now if there is none.

        `Standing.FULL` if there is no room for another.
        """
        now_s = self._clock_s()
        self._end_old(now_s)
        place = _digest(key)
        watched = self._watched.get(place)
        if watched is None:
            if len(self._watched) >= self._watched_max:
                return Standing.FULL
            watched = self._next, now_s
            self._next += 1
        self._watched[place] = watched[0], now_s
        self._watched.move_to_end(place)
        return watched[0]

    def end(self, key: bytes) -> None:
        """Something came for a key."""
        if self._watched:
            self._watched.pop(_digest(key), None)

    def _end_old(self, now_s: float) -> None:
        while self._watched:
            place, (_, asked_s) = next(iter(self._watched.items()))
            if asked_s + self._kept_s > now_s:
                return
            del self._watched[place]


class TombstoneAnswers:
    """One node's answers to those who collect tombstones, itself among them."""

    def __init__(
        self,
        view: ClusterView,
        objects: ObjectStore,
        hints: HintStore,
        watch: Watch,
        clock_s: Callable[[], float],
        forget_minted: Callable[[bytes], None],
    ) -> None:
        """Ready.

        Args:
            view: the cluster as this node sees it.
            objects: its own copies, every change of which ends the watch over its key.
            hints: what it keeps for others.
            watch: over the keys asked about.
            clock_s: the loop's clock.
            forget_minted: drops what was minted from nothing for a key (`afresh`).
        """
        self._view = view
        self._objects = objects
        self._hints = hints
        self._watch = watch
        self._clock_s = clock_s
        self._forget_minted = forget_minted

    def stand(self, request: TombstoneAsk) -> TombstoneStands:
        """How this node stands to deleted keys.

        Raises:
            BadRequest: they are too many.
            CodecError: one is no key.
            StorageError: the disk cannot be read.
        """
        _check_count(request.keys)
        digests: list[bytes] = []
        watches: list[int] = []
        for key in request.keys:
            decode_key(key)
            self._forget_minted(key)
            state = self._objects.newest(key)
            digests.append(digest_of(state))
            watches.append(self._standing(key, state))
        clock_ms = int(self._clock_s() * 1000)
        return TombstoneStands(self._view.facts.hash, clock_ms, digests, watches)

    def _standing(self, key: bytes, state: bytes | None) -> int:
        if state is not None and not only_tombstones(state):
            return self._watch.number(key)  # a value is in the way itself, and may be large
        if state != self._objects.get(key):
            return Standing.BUSY
        if self._hints.speaks_of(key):
            return Standing.HINT
        return self._watch.number(key)

    def collect(self, request: TombstoneCollect, respond: Respond) -> None:
        """Forget deleted keys of which just what is asked for is held; answer when it is durable.

        Raises:
            BadRequest: they are too many, or not as many as digests.
        """
        _check_count(request.keys)
        if len(request.digests) != len(request.keys):
            raise BadRequest(f"{len(request.keys)} keys and {len(request.digests)} digests")
        digests = dict(zip(request.keys, request.digests, strict=True))
        kept: set[bytes] = set()
        waiting: set[bytes] = set()

        def ended(key: bytes, error: StorageError | None) -> None:
            waiting.discard(key)
            if error is not None:
                kept.add(key)
            if not waiting:
                respond(TombstonesKept(sorted(kept)))

        for key, digest in digests.items():
            (waiting if self._forget(key, digest, ended) else kept).add(key)
        if not waiting:
            respond(TombstonesKept(sorted(kept)))

    def _forget(
        self, key: bytes, digest: bytes, ended: Callable[[bytes, StorageError | None], None]
    ) -> bool:
        """Begin to forget; False, and `ended` is not called, if the key is to be kept.

        Else `ended` is called later.
        """
        try:
            decode_key(key)
            state = self._objects.newest(key)
            if state is None or digest_of(state) != digest or not only_tombstones(state):
                return False
            self._objects.forget(key, state, lambda error: ended(key, error))
        except DynamoError:  # it is no key, or its turn comes again
            return False
        return True


def _check_count(keys: list[bytes]) -> None:
    if len(keys) > KEYS_MAX:
        raise BadRequest(f"at most {KEYS_MAX} deleted keys at once, got {len(keys)}")
