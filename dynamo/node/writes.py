"""One write on its way to its replicas: who was asked, who has it, and when that is enough.

The request waits on one future; replies arrive as callbacks and feed the tally. That shape is what
makes a write cheap: a task and a future for each replica cost more than all the rest of it.

The write outlives its answer: replies that come later are still counted, and a primary that fails
late is still replaced by a stand-in, so that the write ends up on N nodes and not on W.
"""

import asyncio
from collections.abc import Callable

from dynamo.core.ids import NodeId
from dynamo.core.quorum import Verdict, WriteQuorum, WriteTally
from dynamo.core.ring import Slot
from dynamo.errors import DeadlineExceeded, DynamoError, QuorumError
from dynamo.node.stats import Counters
from dynamo.rpc.messages import Done, ReplicaPut, Reply, Request

OnReply = Callable[[NodeId, Reply | DynamoError], None]
Send = Callable[[NodeId, Request, float, OnReply], None]
"""Node, request, timeout in seconds, callback: to a peer or to this node itself."""


class Write:
    """The copies of one write.

    Attributes:
        acks: how many nodes have it so far.
        done: resolved when the quorum is met, or failed with the reason why it will not be.
    """

    __slots__ = (
        "_counters",
        "_key",
        "_quorum",
        "_replica_timeout_s",
        "_send",
        "_spare",
        "_stand_ins",
        "_state",
        "_tally",
        "_waiting",
        "done",
    )

    def __init__(
        self,
        key: bytes,
        slots: tuple[Slot, ...],
        quorum: WriteQuorum,
        *,
        send: Send,
        stand_ins: Callable[[], list[NodeId]],
        replica_timeout_s: float,
        counters: Counters,
    ) -> None:
        """Nothing is sent yet.

        Args:
            key: encoded key.
            slots: who is asked first.
            quorum: what is enough.
            send: how to ask.
            stand_ins: who else could be asked now, best first; empty where only primaries may.
            replica_timeout_s: a node that does not answer in this time is replaced.
            counters: where replacements are counted.

        Raises:
            QuorumError: even if all slots were to answer it would not be enough; definite.
        """
        self._key = key
        self._quorum = quorum
        self._send = send
        self._stand_ins = stand_ins
        self._spare: list[NodeId] | None = None
        self._replica_timeout_s = replica_timeout_s
        self._counters = counters
        self._state = b""
        self._waiting: dict[NodeId, NodeId | None] = {}
        self._tally = tally = WriteTally(quorum, spare=0)
        for node, stands_in_for in slots:
            self._waiting[node] = stands_in_for
            tally.asked(primary=stands_in_for is None)
        if tally.verdict is Verdict.LOST:
            what, needed, got = tally.shortfall(before_sending=True)
            raise QuorumError(what, needed=needed, got=got, definite=True)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def acks(self) -> int:
        """How many nodes have the write so far."""
        return self._tally.acks

    def start(self, state: bytes, *, stored_by: NodeId | None) -> None:
        """Ask everybody; `stored_by` stores it by itself and reports by `on_reply`."""
        self._state = state
        for node, stands_in_for in self._waiting.items():
            if node != stored_by:
                self._ask(node, stands_in_for)

    def _ask(self, node: NodeId, stands_in_for: NodeId | None) -> None:
        request = ReplicaPut(self._key, self._state, stands_in_for or "")
        self._send(node, request, self._replica_timeout_s, self.on_reply)

    def on_reply(self, node: NodeId, reply: Reply | DynamoError) -> None:
        """A node that was asked answered; called once for each."""
        stands_in_for = self._waiting[node]
        tally = self._tally
        if type(reply) is Done:
            tally.stored(primary=stands_in_for is None)
        else:
            self._replace(node if stands_in_for is None else stands_in_for)
            tally.failed(primary=stands_in_for is None)
        if not self.done.done():
            verdict = tally.verdict
            if verdict is Verdict.MET:
                self.done.set_result(None)
            elif verdict is Verdict.LOST:
                what, needed, got = tally.shortfall()
                self.done.set_exception(QuorumError(what, needed=needed, got=got, definite=False))

    def _replace(self, primary: NodeId) -> None:
        """Send what `primary` did not take to the next stand-in, if there is one."""
        if self._spare is None:
            self._spare = [node for node in self._stand_ins() if node not in self._waiting]
            self._tally.spare = len(self._spare)
        if self._spare:
            node = self._spare.pop(0)
            self._counters.stand_ins_asked += 1
            self._waiting[node] = primary
            self._tally.replaced()
            self._ask(node, primary)

    def expire(self) -> None:
        """The request's deadline came; what was sent stays sent."""
        if not self.done.done():
            self.done.set_exception(DeadlineExceeded(got=self.acks))
