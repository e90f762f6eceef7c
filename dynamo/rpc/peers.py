"""The calling half of a node's RPC: one connection to each peer, dialled here and kept up.

A node sends its requests only over connections it dialled itself, and answers come back on the
same one: whoever cuts the link from A to B cuts exactly A's requests and B's answers to them. A
link dials, waits until the connection ends, pauses, and dials again, for as long as its peer is
wanted. Who is up is the failure detector's opinion; this file only tells it what it sees.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Set
from copy import copy
from functools import partial

from dynamo.core.ids import Address, NodeId
from dynamo.errors import DynamoError, HandshakeRefused, PeerError, PeerUnreachable
from dynamo.rpc.caller import Caller, CallerOwner, OnReply, PeersLimits
from dynamo.rpc.handshake import Identity
from dynamo.rpc.messages import Reply, Request
from dynamo.rpc.wire import Wire

log = logging.getLogger(__name__)

REDIAL_S_MIN = 0.05
REDIAL_S_MAX = 1.0
"""Pauses between dials double from one to the other: a node that returns is connected to within
this and a dial's own time, and one that stays away costs a dial a second."""

DEFAULT_LIMITS = PeersLimits()


class Peers(CallerOwner):
    """Calls to other nodes.

    Counters: `requests_out`, `replies_late`, `bytes_in`, `bytes_out`, `protocol_errors`,
    `connections`, `dials`, `dials_failed`.
    """

    def __init__(
        self,
        wire: Wire,
        identity: Identity,
        *,
        resolve: Callable[[NodeId], Address | None],
        dice: random.Random,
        on_outcome: Callable[[NodeId, bool], None],
        on_connected: Callable[[NodeId], None] | None = None,
        on_lost: Callable[[NodeId], None] | None = None,
        limits: PeersLimits = DEFAULT_LIMITS,
    ) -> None:
        """Nothing is dialled before `keep` says whom.

        Args:
            wire: the door to the network.
            identity: who this node is.
            resolve: where a peer listens, asked once for every dial; None if that is not known.
            dice: spreads the pauses between dials.
            on_outcome: told True when a peer answered (once for what arrived together), False when
                it did not in time, when a connection ended under calls, or when a dial failed.
            on_connected: told when a connection passed its handshake.
            on_lost: told when such a connection is gone, before the calls on it are.
            limits: bounds.
        """
        super().__init__(identity, limits, on_outcome)
        self.dials = 0
        self.dials_failed = 0
        self._wire = wire
        self._resolve = resolve
        self._dice = dice
        self._on_connected = on_connected
        self._on_lost = on_lost
        self._wanted: set[NodeId] = set()
        self._dialled: dict[NodeId, Address] = {}
        self._callers: dict[NodeId, Caller] = {}
        self._links: dict[NodeId, _Link] = {}
        # All tasks of links, those that were dropped and are about to end as well; a dict for its
        # order, as a simulation must end them in the same order every time.
        self._tasks: dict[asyncio.Task[None], NodeId] = {}

    @property
    def connected(self) -> Set[NodeId]:
        """The peers that can be sent to now; a live view."""
        return self._callers.keys()

    def send(self, node: NodeId, request: Request, timeout_s: float, on_reply: OnReply) -> None:
        """Call a peer; `on_reply` is called exactly once, after this returned.

        It gets the reply; or `PeerLost` if the connection ended or the time ran out after sending;
        or, nothing having been sent, `PeerUnreachable` (without a connection: at once),
        `HandshakeRefused`, `Overloaded` or `BadRequest` (the request is too large).
        """
        caller = self._callers.get(node)
        if caller is not None:
            caller.send(request, timeout_s, on_reply)
        else:
            asyncio.get_running_loop().call_soon(on_reply, node, self._why_not(node))

    async def call(self, node: NodeId, request: Request, timeout_s: float) -> Reply:
        """Call a peer and wait; if it is being dialled just now, wait for that first.

        Raises:
            PeerError: no answer, see `send`; definite if nothing was sent.
            Overloaded: a bound of this connection was reached.
            BadRequest: the request is too large.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        if node not in self._callers:
            link = self._link(node)
            if link is not None and link.attempt is not None:
                await asyncio.wait([link.attempt], timeout=timeout_s)
        answer: asyncio.Future[Reply] = loop.create_future()
        self.send(node, request, deadline_s - loop.time(), partial(_settle, answer))
        try:
            return await answer
        finally:
            # An error has this frame in its traceback, and the future has the error: a cycle, which
            # would keep the request in memory until somebody looks for garbage.
            del answer

    def keep(self, nodes: Iterable[NodeId]) -> None:
        """Hold connections to these peers and no others; this node itself is left out."""
        self._wanted = set(nodes) - {self.identity.node_id}
        for node in [node for node in self._links if node not in self._wanted]:
            self._links.pop(node).task.cancel()
            self._dialled.pop(node, None)
            self.reset(node)
        for node in sorted(self._wanted):
            self._link(node)

    def was_tried(self, node: NodeId) -> bool:
        """Whether a dial to a peer has ended, well or not, since it is wanted."""
        link = self._links.get(node)
        return link is not None and link.tried

    def incompatible(self) -> dict[NodeId, str]:
        """The peers that will not have this node for its settings or version, and their words."""
        return {
            node: str(link.failure)
            for node, link in sorted(self._links.items())
            if isinstance(link.failure, HandshakeRefused) and link.failure.incompatible
        }

    def reset(self, node: NodeId) -> None:
        """Give up the connection to a peer, calls included, and dial anew."""
        caller = self._callers.pop(node, None)
        if caller is not None:
            caller.abort()

    async def close(self) -> None:
        """End all connections and wait until they are gone; unanswered calls are lost."""
        self.closed = True
        self._links.clear()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._callers.clear()
        await self.close_connections()

    # -- links --

    def _link(self, node: NodeId) -> "_Link | None":
        """The link to a node that is wanted; what is sent to another makes none."""
        link = self._links.get(node)
        if link is None and node in self._wanted and not self.closed:
            link = self._links[node] = _Link(self, node)
            self._tasks[link.task] = node
            link.task.add_done_callback(self._link_ended)
        return link

    def _link_ended(self, task: asyncio.Task[None]) -> None:
        node = self._tasks.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Only a bug in who was told of an outcome can end a link; the next need makes it anew.
            log.error("a link failed", extra={"peer": node}, exc_info=error)
            if (link := self._links.get(node)) is not None and link.task is task:
                del self._links[node]

    def _why_not(self, node: NodeId) -> PeerError:
        link = self._link(node)
        if link is None and self.closed:
            return PeerUnreachable("this node is shutting down")
        if link is None:
            return PeerUnreachable(f"no connection to {node} is wanted")
        return copy(link.failure)

    async def dial(self, node: NodeId) -> Caller:
        """A connection to `node` that passed its handshake.

        Raises:
            PeerUnreachable: there is none to be had now.
            HandshakeRefused: one side does not want the other.
        """
        self.dials += 1
        address = self._resolve(node)
        if address is None:
            raise PeerUnreachable(f"no address is known for {node}")
        self._dialled[node] = address
        caller = Caller(asyncio.get_running_loop(), self, node)
        timeout_s = self.limits.dial_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                await self._wire.dial(address, lambda: caller)
                refusal = await caller.welcomed
        except TimeoutError as error:
            caller.abort()
            text = f"{node} at {address} did not greet back within {timeout_s:g} s"
            raise PeerUnreachable(text) from error
        except ConnectionRefusedError as error:
            raise PeerUnreachable(f"nobody listens for {node} at {address}") from error
        except OSError as error:
            raise PeerUnreachable(f"{node} at {address}: {error}") from error
        except BaseException:
            caller.abort()
            raise
        if refusal is not None:
            raise refusal
        if caller.lost.done():
            raise PeerUnreachable(f"{node} at {address} hung up after the handshake")
        return caller

    def connect(self, caller: Caller) -> None:
        """`caller` is the connection to its node from now on."""
        self._callers[caller.node] = caller
        caller.announced = True
        self._tell(self._on_connected, caller.node)

    def lost(self, caller: Caller) -> None:
        if self._callers.get(caller.node) is caller:
            del self._callers[caller.node]
        if caller.announced:
            self._tell(self._on_lost, caller.node)

    def _tell(self, hook: Callable[[NodeId], None] | None, node: NodeId) -> None:
        if hook is None:
            return
        try:
            hook(node)
        except Exception:
            # The link must be dialled again, whatever is wrong with who listens.
            log.exception("a hook failed", extra={"peer": node})

    def dial_failed(self, node: NodeId, error: PeerError) -> None:
        """Count it, and tell whoever should know."""
        self.dials_failed += 1
        if isinstance(error, HandshakeRefused):
            self.complaints.log(
                "handshake refused",
                peer=node,
                address=str(self._dialled[node]),
                reason=str(error),
                now_s=asyncio.get_running_loop().time(),
            )
        self.on_outcome(node, False)

    def pause_s(self, redial_s: float) -> float:
        """A pause between dials: nodes that lost a peer together do not return together."""
        return redial_s * self._dice.uniform(0.5, 1.0)


class _Link:
    """The connection to one peer, kept up by a task of its own.

    Attributes:
        attempt: done when the dial that is under way has succeeded or failed; None between dials.
        failure: why there was no connection when last tried.
        tried: a dial has ended.
    """

    def __init__(self, peers: Peers, node: NodeId) -> None:
        self._peers = peers
        self._node = node
        self._loop = asyncio.get_running_loop()
        self.failure: PeerError = PeerUnreachable(f"{node} is being dialled")
        self.tried = False
        self.attempt: asyncio.Future[None] | None = self._loop.create_future()
        self.task = self._loop.create_task(self._keep_up(), name=f"link to {node}")
        # A task that is cancelled before its first step runs none of its code.
        self.task.add_done_callback(lambda _task: self._attempt_over())

    async def _keep_up(self) -> None:
        redial_s = REDIAL_S_MIN
        while True:
            # One that is taken in and thrown out again at once is no better than one refused.
            if await self._once() >= REDIAL_S_MAX:
                redial_s = REDIAL_S_MIN
            await asyncio.sleep(self._peers.pause_s(redial_s))
            redial_s = min(2 * redial_s, REDIAL_S_MAX)
            self.attempt = self._loop.create_future()

    async def _once(self) -> float:
        """Dial, and hold the connection until it ends; returns how many seconds that was."""
        try:
            caller = await self._peers.dial(self._node)
            self.failure = PeerUnreachable(f"the connection to {self._node} has ended")
            self._peers.connect(caller)
        except Exception as error:
            self.failure = self._failure(error)
            self._peers.dial_failed(self._node, self.failure)
            return 0.0
        finally:
            self._attempt_over()
        since_s = self._loop.time()
        try:
            await asyncio.wait([caller.lost])
        finally:
            caller.abort()
        return self._loop.time() - since_s

    def _attempt_over(self) -> None:
        self.tried = True
        if self.attempt is not None:
            self.attempt.set_result(None)
            self.attempt = None

    def _failure(self, error: Exception) -> PeerError:
        if isinstance(error, PeerError):
            return error
        # An address from elsewhere can be wrong in ways that are no OSError.
        log.error("a dial failed", extra={"peer": self._node}, exc_info=error)
        return PeerUnreachable(f"{self._node} cannot be dialled: {error}")


def _settle(answer: asyncio.Future[Reply], _node: NodeId, outcome: Reply | DynamoError) -> None:
    if answer.done():
        return  # Nobody waits any more.
    if isinstance(outcome, DynamoError):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)
