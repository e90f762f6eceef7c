"""Reads and writes of clients: any node takes them, and sees them through (Dynamo 4.5, 6.4).

A read is coordinated where it arrives. A write is coordinated by a primary of its key, which mints
the dot from the state it holds; a node that is none forwards to one. Where no primary can be
reached, whoever has the request coordinates it as a new actor: it holds no copy to continue from
(`minting`).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dynamo.core.codec import (
    clock_of,
    decode_context,
    decode_siblings,
    decode_value,
    encode_context,
    encode_siblings,
    encode_value,
)
from dynamo.core.conflicts import is_live
from dynamo.core.ids import Key, NodeId, decode_key, encode_key
from dynamo.core.quorum import N_MAX, Conflicts, ReadQuorum, Verdict, WriteQuorum, WriteTally
from dynamo.core.receipts import encode_receipt
from dynamo.core.ring import Slot
from dynamo.core.siblings import Context, Siblings
from dynamo.core.values import Value
from dynamo.errors import (
    CodecError,
    DeadlineExceeded,
    DynamoError,
    NotReady,
    OutcomeUnknown,
    Overloaded,
    PeerError,
    ProtocolError,
    QuorumError,
    StorageError,
)
from dynamo.node.cluster_view import ClusterView
from dynamo.node.minting import Minting, NewValue
from dynamo.node.pacing import Pacer
from dynamo.node.reads import Read
from dynamo.node.replica import Replica
from dynamo.node.stats import Distribution, Stats
from dynamo.node.tracing import Trace
from dynamo.node.writes import Send, Write, doomed
from dynamo.rpc.failures import to_error
from dynamo.rpc.messages import Failed, ForwardPut, PutDone
from dynamo.rpc.peers import Peers


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A write that met its quorum.

    Attributes:
        acks: how many nodes had it then.
        state: the key's state at the coordinator, if it was asked for.
    """

    acks: int
    state: Siblings | None


class _Work(NamedTuple):
    """One write to see through.

    Attributes:
        request: as it would be forwarded.
        new: what it says.
        quorum: what is enough.
        deadline_s: by the loop's clock.
        trace: None if nobody wants a receipt.
    """

    request: ForwardPut
    new: NewValue
    quorum: WriteQuorum
    deadline_s: float
    trace: Trace | None


class Coordinator:
    """One node's side of all requests that clients bring it."""

    def __init__(
        self,
        view: ClusterView,
        minting: Minting,
        replica: Replica,
        peers: Peers,
        send: Send,
        stats: Stats,
        pacer: Pacer,
        clock_s: Callable[[], float],
        wall_ms: Callable[[], int],
        *,
        replica_timeout_s: float,
        read_repair: bool,
        stragglers_s_max: float,
    ) -> None:
        self._view = view
        self._minting = minting
        self._replica = replica
        self._peers = peers
        self._send = send
        self._stats = stats
        self._pacer = pacer
        self._clock_s = clock_s
        self._wall_ms = wall_ms
        self._replica_timeout_s = replica_timeout_s
        self._read_repair = read_repair
        self._stragglers_s_max = stragglers_s_max

    # -- reads -----------------------------------------------------------------------------------

    async def get(
        self, key: Key, quorum: ReadQuorum, *, timeout_s: float, trace: Trace | None = None
    ) -> Siblings:
        """What the answering replicas know of `key` together; EMPTY if it was never written.

        Args:
            key: what to read.
            quorum: what is enough.
            timeout_s: for all of it.
            trace: where it is noted what comes of it, if anybody wants to know.

        Raises:
            BadRequest: the key is no key.
            QuorumError: too few replicas answered, or can.
            DeadlineExceeded: not in time.
        """
        started_s = self._clock_s()
        encoded = encode_key(key)
        counters = self._stats.counters
        counters.node_gets += 1
        self._stats.gets.add()
        self._stats.gets_at_work += 1
        notes = None if trace is None else trace.begin_read(self._view.me)
        try:
            read = Read(
                encoded,
                self._view.slots(encoded, quorum.n, sloppy=quorum.sloppy),
                quorum,
                me=self._view.me,
                send=self._send,
                replica_timeout_s=self._replica_timeout_s,
                repair_until_s=started_s + self._stragglers_s_max if self._read_repair else None,
                counters=counters,
                notes=notes,
            )
            deadline = asyncio.get_running_loop().call_later(timeout_s, read.expire)
            try:
                read.start()
                state = await read.done
                self._stats.answered(state)
                if notes is not None:
                    if read.met:
                        notes.met()
                    notes.of_version(clock_of(encode_siblings(state)))
                return state
            finally:
                deadline.cancel()
        except DynamoError:
            counters.reads_unmet += 1
            raise
        finally:
            self._stats.gets_at_work -= 1
            self._ended(self._stats.get_latency, started_s)

    def _ended(self, latency: Distribution, started_s: float) -> None:
        took_s = self._clock_s() - started_s
        latency.add(took_s)
        self._pacer.observe(took_s)

    # -- writes ----------------------------------------------------------------------------------

    async def put(
        self,
        key: Key,
        value: Value,
        context: Context | None,
        quorum: WriteQuorum,
        conflicts: Conflicts,
        *,
        timeout_s: float,
        return_state: bool = False,
        trace: Trace | None = None,
    ) -> Written:
        """Store `value` as the successor of what `context` covers.

        A write that is traced and forwarded is answered when the receipt is whole, which can be
        long after its quorum was met.

        Raises:
            BadRequest: the key is no key, or it has too many siblings already; definite.
            QuorumError: too few replicas have it, or can have it.
            DeadlineExceeded: not in time; replicas that were reached keep the write.
            OutcomeUnknown: the node that coordinated it was lost meanwhile, or told nonsense.
            Overloaded: this node has too much to do; definite.
        """
        started_s = self._clock_s()
        counters = self._stats.counters
        counters.node_puts += 1
        self._stats.puts.add()
        request = ForwardPut(
            encode_key(key),
            encode_value(value),
            encode_context(context) if context else b"",
            [
                quorum.n,
                quorum.w,
                quorum.pw,
                quorum.dw,
                quorum.node_confirms,
                int(quorum.sloppy),
            ],
            conflicts,
            return_state,
            trace is not None,
        )
        self._stats.puts_at_work += 1
        try:
            new = NewValue(request.key, request.value, context or {}, conflicts)
            work = _Work(request, new, quorum, started_s + timeout_s, trace)
            return await self._route(work)
        except DynamoError:
            counters.writes_unmet += 1
            raise
        finally:
            self._stats.puts_at_work -= 1
            if trace is None:  # waiting for a receipt says nothing of how long writes take
                self._ended(self._stats.put_latency, started_s)

    async def delete(
        self,
        key: Key,
        context: Context | None,
        read: ReadQuorum,
        write: WriteQuorum,
        conflicts: Conflicts,
        *,
        timeout_s: float,
        trace: Trace | None = None,
    ) -> bool:
        """Store a tombstone over what `context` covers; without a context, over what a read shows.

        Returns False, and stores nothing, if no context is given and there is nothing to delete.
        Where a tombstone could not be stored anyway, nothing is read.

        Raises:
            RequestError: as `get` and `put`.
        """
        deadline_s = self._clock_s() + timeout_s
        if context is None:
            self._check_storable(key, write, trace)
            state = await self.get(key, read, timeout_s=timeout_s, trace=trace)
            if not is_live(state):
                return False
            context = state.context()
        tombstone = Value(body=b"", content_type="", modified_at_ms=self._wall_ms(), deleted=True)
        remaining_s = max(deadline_s - self._clock_s(), 0.0)
        await self.put(
            key, tombstone, context, write, conflicts, timeout_s=remaining_s, trace=trace
        )
        return True

    def _check_storable(self, key: Key, quorum: WriteQuorum, trace: Trace | None) -> None:
        """See that a write that this node would coordinate is not doomed before it is begun.

        Of one that it would forward, the other node knows better who can be reached.

        Raises:
            QuorumError: it is doomed; definite.
        """
        slots = self._view.slots(encode_key(key), quorum.n, sloppy=quorum.sloppy)
        if any(stands_in_for is None for _, stands_in_for in slots) and not self._is_primary(slots):
            return
        tally = WriteTally(quorum)
        for _, stands_in_for in slots:
            tally.asked(primary=stands_in_for is None)
        if tally.verdict is Verdict.LOST:
            self._stats.counters.writes_unmet += 1
            if trace is not None:
                trace.begin_write(self._view.me)
            raise doomed(tally)

    async def forwarded(self, request: ForwardPut, deadline_s: float) -> PutDone:
        """Coordinate a write that a peer forwarded.

        Raises:
            CodecError: the peer's request makes no sense.
            DynamoError: as `put`.
        """
        quorum = _quorum_of(request)
        decode_key(request.key)
        decode_value(request.value)
        context = decode_context(request.context) if request.context else {}
        new = NewValue(request.key, request.value, context, Conflicts(request.policy))
        trace = Trace(self._clock_s) if request.trace else None
        work = _Work(request, new, quorum, deadline_s, trace)
        try:
            done = await self._coordinate(work, self._slots(work))
        except DynamoError as error:
            if trace is not None:
                await self._close(trace, deadline_s)
                trace.attach_to(error)
            raise
        receipt = ""
        if trace is not None:
            await self._close(trace, deadline_s)
            receipt = encode_receipt(trace.receipt())
        return PutDone(done.acks, encode_siblings(done.state) if done.state else b"", receipt)

    async def _close(self, trace: Trace, deadline_s: float) -> None:
        """Wait for the rest of a forwarded write's receipt.

        Half of the time that is left, no more: the answer must be back before whoever forwarded it
        gives up, or a write that was stored would be said to be in doubt for its receipt's sake.
        """
        now_s = self._clock_s()
        await trace.whole(now_s + max(deadline_s - now_s, 0.0) / 2)

    def _slots(self, work: "_Work") -> tuple[Slot, ...]:
        return self._view.slots(work.request.key, work.quorum.n, sloppy=work.quorum.sloppy)

    async def _route(self, work: "_Work") -> Written:
        """Coordinate here if this node is a primary, else at the first that takes it."""
        slots = self._slots(work)
        if not self._is_primary(slots):
            done = await self._forward_to_one(
                [node for node, stands_in in slots if not stands_in], work
            )
            if done is not None:
                return done
            slots = self._slots(work)  # who could be reached may have changed meanwhile
        return await self._coordinate(work, slots)

    async def _forward_to_one(self, primaries: Sequence[NodeId], work: "_Work") -> Written | None:
        """Have the first of them coordinate that can. None if certainly none has tried.

        One that reaches too few replicas may be half cut off, and the next may reach enough.

        Raises:
            Overloaded: who could be reached has too much to do. At most two are asked, for asking
                on would give all of them more; nothing was tried, so it is definite.
            QuorumError: each that could be asked reaches too few replicas.
            DynamoError: as `put`.
        """
        overloaded: Overloaded | None = None
        doomed: QuorumError | None = None
        for node in primaries:
            try:
                done = await self._forward(node, work)
            except Overloaded as error:
                if overloaded is not None:
                    raise
                overloaded = error
            except QuorumError as error:
                if not error.definite:
                    raise
                doomed = error
            else:
                if done is not None:
                    return done
        if refused := overloaded or doomed:
            raise refused
        return None

    def _is_primary(self, slots: tuple[Slot, ...]) -> bool:
        return Slot(self._view.me, None) in slots

    async def _forward(self, node: NodeId, work: "_Work") -> Written | None:
        """Have `node` coordinate. None if it cannot be reached, or does not serve.

        Raises:
            Overloaded: it has too much to do; definite.
            DynamoError: as `put`.
        """
        self._stats.counters.coord_redirs += 1
        sent_s = self._clock_s()
        remaining_s = work.deadline_s - sent_s
        if remaining_s <= 0:
            raise DeadlineExceeded(definite=True)
        if work.trace is not None:
            work.trace.forwarded(node, self._view.me)
        try:
            reply = await self._peers.call(node, work.request, remaining_s)
        except PeerError as error:
            if error.definite:
                return None
            if self._clock_s() >= work.deadline_s:
                raise DeadlineExceeded from error
            raise OutcomeUnknown(f"{node}, which coordinated the write, was lost") from error
        if work.trace is not None and isinstance(reply, PutDone | Failed):
            work.trace.told(node, self._view.me, reply.receipt, self._clock_s() - sent_s)
        if isinstance(reply, PutDone):
            acks = min(max(reply.acks, 0), N_MAX)
            state = _readable(reply.state, node, acks) if reply.state else None
            return Written(acks=acks, state=state)
        if not isinstance(reply, Failed):
            raise OutcomeUnknown(f"{node} answered a write with {type(reply).__name__}")
        failure = to_error(reply)
        if isinstance(failure, NotReady):
            return None
        # The trace has it, decoded; as it is, it would go to the client unread.
        failure.receipt = ""
        raise failure

    async def _coordinate(self, work: "_Work", slots: tuple[Slot, ...]) -> Written:
        if self._clock_s() >= work.deadline_s:
            raise DeadlineExceeded(definite=True)  # nobody waits; nothing was sent
        key = work.request.key
        notes = None if work.trace is None else work.trace.begin_write(self._view.me)
        write = Write(
            key,
            slots,
            work.quorum,
            me=self._view.me,
            send=self._send,
            primaries=lambda: self._view.preference_list(key, work.quorum.n).primaries,
            stand_ins=lambda: self._stand_ins(key, work.quorum),
            replica_timeout_s=self._replica_timeout_s,
            replaces_until_s=self._clock_s() + self._stragglers_s_max,
            counters=self._stats.counters,
            notes=notes,
        )
        me = self._view.me

        def stored(error: StorageError | None) -> None:
            write.on_reply(me, self._replica.outcome(error))

        state = self._minting.from_own_copy(work.new, stored) if self._is_primary(slots) else None
        if state is not None:
            write.start(state, stored_by=me)
        else:
            state = self._minting.from_nothing(work.new)
            write.start(state, stored_by=None)
        deadline = asyncio.get_running_loop().call_at(work.deadline_s, write.expire)
        try:
            await write.done
        finally:
            deadline.cancel()
        if notes is not None:
            notes.met()
        left = _readable(state, me, write.acks) if work.request.return_state else None
        return Written(acks=write.acks, state=left)

    def _stand_ins(self, key: bytes, quorum: WriteQuorum) -> list[NodeId]:
        if not quorum.sloppy:
            return []
        reachable = self._view.reachable
        stand_ins = self._view.preference_list(key, quorum.n).stand_ins
        return [node for node in stand_ins if node in reachable]


def _readable(state: bytes, coordinator: NodeId, acks: int) -> Siblings:
    """The state after a write that met its quorum.

    Raises:
        OutcomeUnknown: it, or a value in it, makes no sense. A `CodecError` would say that nothing
            was stored.
    """
    try:
        decoded = decode_siblings(state)
        for _, value in decoded.dots():
            decode_value(value)
    except CodecError as error:
        doubt = OutcomeUnknown(f"{coordinator} stored a write, and what it tells makes no sense")
        doubt.acks = acks
        raise doubt from error
    return decoded


def _quorum_of(request: ForwardPut) -> WriteQuorum:
    if len(request.quorum) != 6 or not 0 < request.quorum[0] <= N_MAX:
        raise ProtocolError(f"{request.quorum!r:.80} is no write quorum")
    n, w, pw, dw, node_confirms, sloppy = request.quorum
    if request.policy not in tuple(Conflicts):
        raise ProtocolError(f"{request.policy} is no way to treat conflicts")
    return WriteQuorum(n=n, w=w, pw=pw, dw=dw, node_confirms=node_confirms, sloppy=bool(sloppy))
