"""Hinted handoff: what was kept for a node that was away goes to it when it is back (Dynamo 4.6).

Hints are looked for when a node returns, and at an interval as well: a holder that was restarted
after its target came back, or missed the return, delivers all the same. A hint is
dropped only once its target has it durably, and only if it is still the state that was sent.
"""

import asyncio
import contextlib
import enum
import logging

from dynamo.core.ids import NodeId
from dynamo.errors import DynamoError, PeerError, StorageError
from dynamo.node.cluster_view import ClusterView
from dynamo.node.stats import Counters
from dynamo.rpc.messages import Done, ReplicaPut
from dynamo.rpc.peers import Peers
from dynamo.storage.hints import HintStore

log = logging.getLogger(__name__)

BATCH = 64
"""Hints on their way to one target at once."""


class _Outcome(enum.Enum):
    DELIVERED = enum.auto()
    REFUSED = enum.auto()
    UNREACHABLE = enum.auto()


class Handoff:
    """Delivers one node's hints."""

    def __init__(
        self,
        view: ClusterView,
        hints: HintStore,
        peers: Peers,
        counters: Counters,
        *,
        interval_s: float,
        call_timeout_s: float,
    ) -> None:
        self._view = view
        self._hints = hints
        self._peers = peers
        self._counters = counters
        self._interval_s = interval_s
        self._call_timeout_s = call_timeout_s
        self._returned = asyncio.Event()
        view.on_return.append(self._returned.set)

    async def step(self) -> None:
        """Deliver what can be, then wait for the interval to pass or a node to return."""
        self._returned.clear()
        for target in sorted(self._hints.targets()):
            if target in self._view.reachable:
                try:
                    await self._deliver_all(target)
                except DynamoError as error:  # the disk, most likely; the hints stay
                    log.warning("handoff stopped", extra={"target": target, "reason": str(error)})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._interval_s):
                await self._returned.wait()

    async def _deliver_all(self, target: NodeId) -> None:
        """Deliver everything kept for `target`, in order, as long as it answers.

        A hint that it refuses stays and is tried again; it keeps none behind it waiting.
        """
        after = b""
        more = True
        delivered = 0
        while more:
            batch, more = self._hints.scan(target, after, BATCH)
            if not batch:
                break
            confirmed = await asyncio.gather(
                *(self._deliver(target, key, state) for key, state in batch)
            )
            delivered += confirmed.count(_Outcome.DELIVERED)
            if _Outcome.UNREACHABLE in confirmed:
                break
            after = batch[-1][0]
        if delivered:
            log.info("hints delivered", extra={"target": target, "hints": delivered})

    async def _deliver(self, target: NodeId, key: bytes, state: bytes) -> "_Outcome":
        """Deliver one hint, and drop it if the target has it."""
        try:
            reply = await self._peers.call(target, ReplicaPut(key, state, ""), self._call_timeout_s)
        except PeerError:
            return _Outcome.UNREACHABLE
        except DynamoError as error:
            log.warning("a hint cannot be sent", extra={"target": target, "reason": str(error)})
            return _Outcome.REFUSED
        if not isinstance(reply, Done):
            return _Outcome.REFUSED
        self._counters.hints_delivered += 1
        self._hints.drop(target, key, state, _dropped)
        return _Outcome.DELIVERED


def _dropped(error: StorageError | None) -> None:
    """A hint that could not be dropped is delivered once more, which changes nothing."""
    if error is not None:
        log.error("a delivered hint could not be dropped", extra={"reason": str(error)})
