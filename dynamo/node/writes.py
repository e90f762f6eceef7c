"""One write on its way to its replicas: who was asked, who has it, and when that is enough.

The request waits on one future; replies arrive as callbacks and feed the tally. That shape is what
makes a write cheap: a task and a future for each replica cost more than all the rest of it.

The write outlives its answer: replies that come later are still counted, and a primary that fails
late is still replaced by a stand-in, so that the write ends up on N nodes and not on W. Where no
stand-in is left or none may be asked, the coordinator keeps the hint itself, beside its own copy
if it has one; that is one node more that remembers, and none more that counts.

A primary that has too much to do is not replaced: it is there, and what it refuses would be work
for another node twice over, to store and to hand over, just when there is too much of it. Its hint
stays with the coordinator, whose disk has the state before it anyway. The price is that such a
replica is missing from W, so clients are told of overload where it is.
"""

import asyncio
from collections.abc import Callable, Sequence

from dynamo.core.codec import clock_of
from dynamo.core.ids import NodeId
from dynamo.core.quorum import Verdict, WriteQuorum, WriteTally
from dynamo.core.ring import Slot
from dynamo.errors import DeadlineExceeded, DynamoError, Overloaded, QuorumError
from dynamo.node.stats import Counters
from dynamo.node.tracing import Notes
from dynamo.rpc.failures import FailureCode
from dynamo.rpc.messages import Done, Failed, ReplicaPut, Reply, Request

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
        "_me",
        "_notes",
        "_primaries",
        "_quorum",
        "_replaces_until_s",
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
        me: NodeId,
        send: Send,
        primaries: Callable[[], Sequence[NodeId]],
        stand_ins: Callable[[], list[NodeId]],
        replica_timeout_s: float,
        replaces_until_s: float,
        counters: Counters,
        notes: Notes | None = None,
    ) -> None:
        """Nothing is sent yet.

        Args:
            key: encoded key.
            slots: who is asked first.
            quorum: what is enough.
            me: who coordinates, and keeps the hints that nobody else takes.
            send: how to ask.
            primaries: who should hold the key, whoever can be reached.
            stand_ins: who else could be asked now, best first; empty where only primaries may.
            replica_timeout_s: a node that does not answer in this time is replaced.
            replaces_until_s: loop time after which nobody is replaced any more: what is written
                may have been deleted and forgotten since.
            counters: where replacements are counted.
            notes: for the receipt, if one is asked for.

        Raises:
            QuorumError: even if all slots were to answer it would not be enough; definite.
        """
        self._key = key
        self._quorum = quorum
        self._me = me
        self._send = send
        self._primaries = primaries
        self._stand_ins = stand_ins
        self._spare: list[NodeId] | None = None
        self._replica_timeout_s = replica_timeout_s
        self._replaces_until_s = replaces_until_s
        self._counters = counters
        self._notes = notes
        self._state = b""
        self._waiting: dict[NodeId, NodeId | None] = {}
        self._tally = tally = WriteTally(quorum)
        for node, stands_in_for in slots:
            self._waiting[node] = stands_in_for
            tally.asked(primary=stands_in_for is None)
        if tally.verdict is Verdict.LOST:
            raise doomed(tally)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def acks(self) -> int:
        """How many nodes have the write so far."""
        return self._tally.acks

    def start(self, state: bytes, *, stored_by: NodeId | None) -> None:
        """Ask everybody; `stored_by` stores it by itself and reports by `on_reply`."""
        self._state = state
        if self._notes is not None:
            self._note_start(self._notes)
        for node, stands_in_for in self._waiting.items():
            if node != stored_by:
                self._ask(node, stands_in_for)
        if len(self._waiting) < self._quorum.n:
            self._keep_for_those_without_a_slot()

    def _note_start(self, notes: Notes) -> None:
        notes.of_version(clock_of(self._state))
        for node, stands_in_for in self._waiting.items():
            notes.asked(node, stands_in_for)

    def _keep_for_those_without_a_slot(self) -> None:
        placed = {stands_in_for or node for node, stands_in_for in self._waiting.items()}
        for primary in self._primaries():
            if primary not in placed:
                self._keep_for(primary)

    def _ask(self, node: NodeId, stands_in_for: NodeId | None) -> None:
        request = ReplicaPut(self._key, self._state, stands_in_for or "")
        self._send(node, request, self._replica_timeout_s, self.on_reply)

    def on_reply(self, node: NodeId, reply: Reply | DynamoError) -> None:
        """A node that was asked answered; called once for each."""
        stands_in_for = self._waiting[node]
        tally = self._tally
        if self._notes is not None:
            self._notes.acknowledged(node, reply)
        if type(reply) is Done:
            tally.stored(primary=stands_in_for is None)
        else:
            self._make_good(stands_in_for or node, node, reply)
            tally.failed(primary=stands_in_for is None)
        if not self.done.done():
            verdict = tally.verdict
            if verdict is Verdict.MET:
                self.done.set_result(None)
            elif verdict is Verdict.LOST:
                what, needed, got = tally.shortfall()
                self.done.set_exception(
                    QuorumError(what, needed=needed, got=got, definite=False, acks=tally.acks)
                )

    def _make_good(self, primary: NodeId, failed: NodeId, reply: Reply | DynamoError) -> None:
        """Let somebody keep for `primary` what `failed` did not take."""
        if asyncio.get_running_loop().time() > self._replaces_until_s:
            return
        replaced = not is_overloaded(reply) and self._replace(primary)
        if not replaced and failed != self._me:
            self._keep_for(primary)

    def _replace(self, primary: NodeId) -> bool:
        """Send what `primary` did not take to the next stand-in; returns whether there is one."""
        if self._spare is None:
            self._spare = [node for node in self._stand_ins() if node not in self._waiting]
        if not self._spare:
            return False
        node = self._spare.pop(0)
        self._counters.stand_ins_asked += 1
        self._waiting[node] = primary
        self._tally.asked(primary=False)
        if self._notes is not None:
            self._notes.asked(node, primary)
        self._ask(node, primary)
        return True

    def _keep_for(self, primary: NodeId) -> None:
        """Keep a hint here; if that fails, anti-entropy mends."""
        self._counters.hints_kept_by_coordinator += 1
        request = ReplicaPut(self._key, self._state, primary)
        kept = _ignore if self._notes is None else self._notes.hints(primary)
        self._send(self._me, request, self._replica_timeout_s, kept)

    def expire(self) -> None:
        """The request's deadline came; what was sent stays sent."""
        if not self.done.done():
            self.done.set_exception(DeadlineExceeded(acks=self.acks))


def doomed(tally: WriteTally) -> QuorumError:
    """Why a write is not even begun; nobody was asked yet."""
    what, needed, got = tally.shortfall(before_sending=True)
    return QuorumError(what, needed=needed, got=got, definite=True)


def is_overloaded(reply: Reply | DynamoError) -> bool:
    """Whether a node refused because it, or the connection to it, has too much to do."""
    if isinstance(reply, Failed):
        return reply.code == FailureCode.OVERLOADED
    return isinstance(reply, Overloaded)


def _ignore(_node: NodeId, _reply: Reply | DynamoError) -> None:
    """It never counts."""
