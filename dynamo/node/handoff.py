"""Hinted handoff: what was kept for a node that was away goes to it when it is back (Dynamo 4.6).

Hints are looked for when a node returns, and at an interval as well: a holder that was restarted
after its target came back, or missed the return, delivers all the same. They go out in the order
in which they came, paced as all background work, a bounded number at a time. A target that is lost
or has too much to do is left alone until the next look.

A hint is dropped only once its target has it durably, and only if it is still the state that was
sent. What is sent was read that very moment: keys that were deleted everywhere are forgotten where
no hint speaks of them, so nothing may be sent that is not held any more.

Hints for a node that an operator removed go to those who hold the key now, and are dropped once all
of them have confirmed.

A hint that could not be delivered goes when it is too old. Its age is told by two clocks: the one
on the wall, which stamped it but may be set at any time, and the loop's, which only goes on. A wall
clock that was slow and is set right makes no hint older than it is.
"""

import asyncio
import contextlib
import enum
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from dynamo.core.ids import Bucket, NodeId, decode_key
from dynamo.errors import DynamoError, Overloaded, PeerError, StorageError
from dynamo.node.cluster_view import ClusterView
from dynamo.node.pacing import Pacer
from dynamo.node.stats import Counters
from dynamo.node.tasks import Tasks
from dynamo.node.writes import Send, is_overloaded
from dynamo.rpc.messages import Done, ReplicaPut, Reply
from dynamo.storage.hint_rows import HintRow
from dynamo.storage.hints import HintStore

log = logging.getLogger(__name__)

BATCH = 64
"""Hints on their way to one target at once."""

BATCH_BYTES = 2**20
"""Or so many bytes of them, if that is reached before."""

WAITERS_MAX = 100
"""How many may wait for hints to be gone at a time."""

_AGE_PARTS = 100
"""How finely a clock's past is remembered: in parts of the greatest age of a hint."""


class _Outcome(enum.IntEnum):
    """What became of a hint that was sent; the worst of several counts."""

    DELIVERED = enum.auto()
    SKIPPED = enum.auto()
    """It was refused, or is gone, or those who should have it are not all there."""

    UNANSWERED = enum.auto()
    """Or the target has too much to do: nothing more is sent to it for now."""


class Waited(NamedTuple):
    """What became of the hints that somebody waited for.

    Attributes:
        waited_for: how many were held when it began.
        left: how many of these still are, by whom they are for.
    """

    waited_for: int
    left: dict[NodeId, int]


class HintAge:
    """Tells which hints are too old, whatever happens to the clock on the wall.

    Of the last `age_s_max` it remembers how little the wall was ahead of the loop's clock. Nothing
    hinted in that time is stamped below its beginning, told by the wall when it was that little
    ahead; so what is stamped below came before, and is too old.
    """

    def __init__(self, age_s_max: float) -> None:
        self._age_s_max = age_s_max
        # Parts of the time gone by: when each began, and how little the wall was ahead in it.
        self._parts: deque[tuple[float, float]] = deque()

    def before_ms(self, now_s: float, wall_ms: int) -> int | None:
        """Hints with a stamp below this are too old; to be asked at every look.

        None as long as this process is not so old itself: the hints that it found may have been
        stamped by a clock that was set since.

        Args:
            now_s: by the loop's clock.
            wall_ms: by the clock on the wall.
        """
        ahead_ms = wall_ms - now_s * 1000
        parts = self._parts
        if not parts or now_s - parts[-1][0] >= self._age_s_max / _AGE_PARTS:
            parts.append((now_s, ahead_ms))
        else:
            began_s, least_ms = parts[-1]
            parts[-1] = began_s, min(least_ms, ahead_ms)
        begin_s = now_s - self._age_s_max
        if parts[0][0] > begin_s:
            return None
        while len(parts) > 1 and parts[1][0] <= begin_s:  # each goes on until the next begins
            parts.popleft()
        return int(begin_s * 1000 + min(least_ms for _, least_ms in parts))


class Handoff:
    """Delivers one node's hints."""

    def __init__(
        self,
        view: ClusterView,
        hints: HintStore,
        send: Send,
        pacer: Pacer,
        tasks: Tasks,
        counters: Counters,
        clock_s: Callable[[], float],
        wall_ms: Callable[[], int],
        *,
        serving: Callable[[], bool],
        delivers: bool,
        interval_s: float,
        replica_timeout_s: float,
        hint_age_s_max: float,
    ) -> None:
        """Nothing is delivered yet.

        Args:
            view: who can be reached, and who holds a key.
            hints: what is to be delivered.
            send: how to ask a node.
            pacer: the gate of background work.
            tasks: owns the deliveries; one for each target at most.
            counters: where hints that found a new home are counted.
            clock_s: the loop's clock.
            wall_ms: stamps hints.
            serving: whether this node has heard the news since it started. Before that it cannot
                know who holds a key instead of a node that was removed.
            delivers: whether hints are delivered at all; they grow old all the same.
            interval_s: between looks.
            replica_timeout_s: how long a target may take.
            hint_age_s_max: what is older goes undelivered, once this process is as old.
        """
        self._view = view
        self._hints = hints
        self._send = send
        self._pacer = pacer
        self._tasks = tasks
        self._counters = counters
        self._clock_s = clock_s
        self._wall_ms = wall_ms
        self._serving = serving
        self._delivers = delivers
        self._interval_s = interval_s
        self._replica_timeout_s = replica_timeout_s
        self._age = HintAge(hint_age_s_max)
        self._at_work: set[NodeId] = set()
        self._waiters = 0
        self._news = asyncio.Event()
        view.on_return.append(self._news.set)

    async def step(self) -> None:
        """Begin to deliver what can be, then wait for the interval to pass or a node to return."""
        self._news.clear()
        if (before_ms := self._age.before_ms(self._clock_s(), self._wall_ms())) is not None:
            self._hints.expire(before_ms)
        if self._delivers:
            for target in sorted(self._hints.targets()):
                self._begin(target)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._interval_s):
                await self._news.wait()

    async def wait(self, timeout_s: float) -> Waited:
        """Return when all hints that are held now are gone, or the time is up.

        A hint that later writes are joined to is waited for until it is gone itself.

        Raises:
            Overloaded: too many wait already.
        """
        if self._waiters >= WAITERS_MAX:
            raise Overloaded(f"{self._waiters} wait for hints already, and that is the most")
        self._waiters += 1
        backlog = self._hints.backlog()
        waited_for = sum(backlog.left.values())
        self._news.set()
        try:
            async with asyncio.timeout(timeout_s):
                await backlog.empty.wait()
        except TimeoutError:
            pass
        finally:
            self._hints.forget(backlog)
            self._waiters -= 1
        return Waited(waited_for, dict(backlog.left))

    def _begin(self, target: NodeId) -> None:
        """Begin a round for `target`, unless one goes on or it cannot be reached."""
        can = self._serving() if self._view.is_removed(target) else target in self._view.reachable
        if can and target not in self._at_work:
            with contextlib.suppress(Overloaded):  # the next look is soon
                self._tasks.spawn(self._hand_over(target), f"hints for {target}")
                self._at_work.add(target)

    async def _hand_over(self, target: NodeId) -> None:
        """One round: everything kept for `target`, in order, as long as it answers.

        A hint that it refuses stays and is tried again; it keeps none behind it waiting.
        """
        delivered = after = 0
        try:
            while rows := self._hints.rows(target, after, BATCH):
                outcomes = await self._deliver_some(rows)
                delivered += outcomes.count(_Outcome.DELIVERED)
                if _Outcome.UNANSWERED in outcomes:
                    break
                after = rows[len(outcomes) - 1].sequence
        finally:
            self._at_work.discard(target)
            if delivered:
                log.info("hints delivered", extra={"target": target, "hints": delivered})

    async def _deliver_some(self, rows: Sequence[HintRow]) -> list[_Outcome]:
        """Deliver hints, from the first to as many as may be on their way at once."""
        on_way: list[asyncio.Future[_Outcome]] = []
        size_bytes = 0
        for row in rows:
            size_bytes += row.size_bytes
            if on_way and size_bytes > BATCH_BYTES:
                break
            await self._pacer.admit()
            on_way.append(self._deliver(row))
        return await asyncio.gather(*on_way)

    def _deliver(self, row: HintRow) -> "asyncio.Future[_Outcome]":
        """Send what is held now, and drop it once all who should have it confirm."""
        target, key = row.target, row.key
        outcome: asyncio.Future[_Outcome] = asyncio.get_running_loop().create_future()
        state = self._hints.get(target, key)
        homes = self._homes(target, key)
        if state is None or not homes:
            outcome.set_result(_Outcome.SKIPPED)
            return outcome
        outcomes: list[_Outcome] = []

        def on_reply(node: NodeId, reply: Reply | DynamoError) -> None:
            outcomes.append(_outcome_of(node, reply))
            if len(outcomes) < len(homes):
                return
            if max(outcomes) is _Outcome.DELIVERED:
                self._counters.hints_rehomed += homes != (target,)
                self._hints.drop(target, key, state, _dropped)
            if not outcome.done():
                outcome.set_result(max(outcomes))

        request = ReplicaPut(key, state, "")
        for node in homes:
            self._send(node, request, self._replica_timeout_s, on_reply)
        return outcome

    def _homes(self, target: NodeId, key: bytes) -> tuple[NodeId, ...]:
        """Who is to have a hint: its target, or all who hold the key if that was removed.

        Nobody as long as one of them cannot be reached.
        """
        view = self._view
        if not view.is_removed(target):
            return (target,)
        bucket_type, bucket, _ = decode_key(key)
        properties = view.properties.of(Bucket(bucket_type, bucket))
        if properties is None:
            return ()
        primaries = view.preference_list(key, properties.n_val).primaries
        return primaries if view.reachable.issuperset(primaries) else ()


def _outcome_of(node: NodeId, reply: Reply | DynamoError) -> _Outcome:
    if isinstance(reply, Done):
        return _Outcome.DELIVERED
    if isinstance(reply, PeerError) or is_overloaded(reply):
        return _Outcome.UNANSWERED
    log.warning("a hint was refused", extra={"target": node, "reason": str(reply)[:200]})
    return _Outcome.SKIPPED


def _dropped(error: StorageError | None) -> None:
    """A hint that could not be dropped is delivered once more, which changes nothing."""
    if error is not None:
        log.error("a delivered hint could not be dropped", extra={"reason": str(error)})
