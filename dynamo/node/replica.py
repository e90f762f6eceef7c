"""What a node does as a replica: it answers peers, and itself, about what it holds.

Every answer here is given at once or when a commit is done; nothing waits and nothing is spawned,
which is what makes a replica cheap. Its own coordinator asks through the same door as a peer's.
"""

import logging
from collections.abc import Callable

from dynamo.core.codec import clock_of
from dynamo.core.conflicts import Liveness, liveness
from dynamo.core.ids import NodeId, is_node_id
from dynamo.core.quorum import Conflicts
from dynamo.errors import BadRequest, Corrupted, StorageError
from dynamo.node.stats import Counters
from dynamo.rpc.failures import to_failed
from dynamo.rpc.messages import (
    MISSING,
    Done,
    Failed,
    Held,
    KeysPage,
    ListKeys,
    ReplicaGet,
    ReplicaPut,
    Reply,
)
from dynamo.storage.hints import HintStore
from dynamo.storage.objects import ObjectStore

log = logging.getLogger(__name__)

KEYS_PAGE_MAX = 1000

_POLICIES = frozenset(Conflicts)

COMPLAINT_EVERY = 1000
"""A full disk fails thousands of writes a second; the log need not."""

DONE = Done()

Respond = Callable[[Reply], None]


class Replica:
    """One node's copies: its own, and those it keeps for others."""

    def __init__(
        self,
        objects: ObjectStore,
        hints: HintStore,
        counters: Counters,
        wall_ms: Callable[[], int],
        *,
        partitions: int,
    ) -> None:
        self._objects = objects
        self._hints = hints
        self._counters = counters
        self._wall_ms = wall_ms
        self._partitions = partitions

    def put(self, request: ReplicaPut, respond: Respond) -> None:
        """Merge a state into what is held, and answer once that is durable.

        Raises:
            BadRequest: it is for nobody that could be a node; nothing was stored.
            CodecError: the state does not decode; nothing was stored.
            Overloaded: too much waits for the disk; nothing was stored.
        """

        def stored(error: StorageError | None) -> None:
            respond(self.outcome(error))

        self._counters.vnode_puts += 1
        if request.stands_in_for:
            target = _target_of(request)
            self._hints.merge(target, request.key, request.state, self._wall_ms(), stored)
        else:
            self._objects.merge(request.key, request.state, stored)

    def outcome(self, error: StorageError | None) -> Done | Failed:
        """The answer that tells how a commit ended; a failed one is counted and complained of."""
        if error is None:
            return DONE
        failed = self._counters.commits_failed
        self._counters.commits_failed += 1
        if failed % COMPLAINT_EVERY == 0:
            log.error("a write could not be stored", extra={"reason": str(error), "before": failed})
        return to_failed(error)

    def get(self, request: ReplicaGet) -> Held:
        """What is held for a key: the state, or its clock.

        Raises:
            BadRequest: it asks for hints for nobody that could be a node.
            Corrupted: what is held cannot be read.
            StorageError: the disk cannot be read.
        """
        self._counters.vnode_gets += 1
        if request.stands_in_for:
            state = self._hints.get(_target_of(request), request.key)
        else:
            state = self._objects.get(request.key)
        if state is None:
            if not request.stands_in_for and self._objects.is_lost(request.key):
                # "I hold nothing" would count for a read; this replica does not know.
                raise Corrupted("what is held of the key cannot be read")
            return Held(MISSING)
        return Held(bytes(clock_of(state)) if request.version_only else state)

    def list_keys(self, request: ListKeys) -> KeysPage:
        """A page of the keys of a bucket in one partition, the live and the dead.

        A key is both where that cannot be told from what is held here: because its record is lost,
        or because it depends on what others hold.

        Raises:
            BadRequest: the page is too large, there is no such partition or policy, or it asks for
                hints for nobody that could be a node.
            CodecError: the page begins after what is no key.
            Corrupted: a record is lost, and which key it was of.
            StorageError: the disk cannot be read.
        """
        if not 0 <= request.partition < self._partitions:
            raise BadRequest(f"there is no partition {request.partition}")
        if (
            not 0
            < request.partitions
            <= (self._partitions - request.partition if request.stands_in_for else 1)
        ):
            raise BadRequest(f"{request.partitions} partitions cannot be listed at once")
        if not 0 < request.limit <= KEYS_PAGE_MAX:
            raise BadRequest(f"a page has 1 to {KEYS_PAGE_MAX} keys, got {request.limit}")
        if request.policy not in _POLICIES:
            raise BadRequest(f"{request.policy} is no way to treat conflicts")
        policy = Conflicts(request.policy)
        found, last = self._held_keys(request, policy)
        page = KeysPage([], [], last)
        for key, state in found:
            said = liveness(state, policy) if state else Liveness.UNSETTLED
            if said is not Liveness.DEAD:
                page.keys.append(key)
            if said is not Liveness.LIVE:
                page.dead.append(key)
        return page

    def _held_keys(
        self, request: ListKeys, policy: Conflicts
    ) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Keys with their states, b"" if lost, and the last one looked at if there may be more."""
        partition, bucket, after, limit = request[:4]
        objects = self._objects
        if request.stands_in_for:
            wanted = range(partition, partition + request.partitions)
            return self._hints.keys(
                _target_of(request),
                bucket,
                after,
                limit,
                lambda key: objects.partition_of(key) in wanted,
            )
        if request.buckets_only:
            found, more = objects.buckets(
                partition,
                bucket,
                after,
                limit,
                lambda state: liveness(state, policy) is Liveness.LIVE,
            )
        else:
            found, more = objects.listed(partition, bucket, after, limit)
        return found, found[-1][0] if more else b""


def _target_of(request: ReplicaPut | ReplicaGet | ListKeys) -> NodeId:
    if not is_node_id(request.stands_in_for):
        raise BadRequest(f"{request.stands_in_for!r:.80} is no node to stand in for")
    return NodeId(request.stands_in_for)
