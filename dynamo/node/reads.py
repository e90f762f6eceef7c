"""One read: whom it asks, when the answers suffice, what it fetches, and whom it repairs after.

One replica is asked for the whole object and the others for its clock only: where all clocks are
equal, which is nearly always, one object crosses the wire. Where they differ, the objects that hold
something new are fetched, and what a clock says to be gone is applied without fetching.

Like a write, a read outlives its answer: when the last reply is in, primaries that lack what the
read found are sent it (read repair, Dynamo 5).
"""

import asyncio
import logging

from dynamo.core.codec import (
    clock_of,
    decode_clock,
    decode_siblings,
    encode_siblings,
    only_tombstones,
)
from dynamo.core.ids import NodeId
from dynamo.core.quorum import ReadQuorum, ReadTally, Verdict
from dynamo.core.ring import Slot
from dynamo.core.siblings import EMPTY, Clock, Siblings
from dynamo.errors import CodecError, DeadlineExceeded, DynamoError, QuorumError
from dynamo.node.stats import Counters
from dynamo.node.tracing import Notes
from dynamo.node.writes import Send
from dynamo.rpc.messages import MISSING, Held, ReplicaGet, ReplicaPut, Reply

log = logging.getLogger(__name__)

HEDGE_S = 0.02
"""How long an answered quorum waits for the object before it asks another replica for it."""


class Read:
    """The answers to one read.

    Attributes:
        done: resolved with what the answering replicas know together, or failed with the reason.
        met: its quorum was; a read without the key may be answered though it was not.
    """

    __slots__ = (
        "_clocks",
        "_counters",
        "_decoded",
        "_fetching",
        "_hedge",
        "_hedged",
        "_key",
        "_notes",
        "_object_from",
        "_repair_until_s",
        "_repaired",
        "_replica_timeout_s",
        "_send",
        "_slots",
        "_states",
        "_tally",
        "_uniform",
        "done",
        "met",
    )

    def __init__(
        self,
        key: bytes,
        slots: tuple[Slot, ...],
        quorum: ReadQuorum,
        *,
        me: NodeId,
        send: Send,
        replica_timeout_s: float,
        repair_until_s: float | None,
        counters: Counters,
        notes: Notes | None = None,
    ) -> None:
        """Nothing is sent yet.

        Args:
            key: encoded key.
            slots: who is asked.
            quorum: what is enough.
            me: asked for the whole object if it is among the slots.
            send: how to ask.
            replica_timeout_s: a node that does not answer in this time has failed.
            repair_until_s: loop time after which nobody is repaired any more: what this read has
                found may have been deleted and forgotten since. None: nobody ever is.
            counters: where fetches and repairs are counted.
            notes: for the receipt, if one is asked for.

        Raises:
            QuorumError: even if all slots were to answer it would not be enough; definite.
        """
        self._key = key
        self._slots = slots
        self._send = send
        self._replica_timeout_s = replica_timeout_s
        self._counters = counters
        self._notes = notes
        self._repair_until_s = repair_until_s
        self._repaired = repair_until_s is None
        self._clocks: dict[NodeId, bytes] = {}
        self._states: dict[NodeId, Siblings] = {}
        self._decoded: dict[bytes, Clock] = {}
        self._fetching: set[NodeId] = set()
        self._hedge: asyncio.TimerHandle | None = None
        self._hedged = False
        self._uniform = True
        self.met = False
        self._tally = tally = ReadTally(quorum)
        self._object_from: NodeId | None = slots[0].node if slots else None
        for node, stands_in_for in slots:
            tally.asked(primary=stands_in_for is None)
            if node == me:
                self._object_from = me
        if tally.verdict is Verdict.LOST:
            what, needed, got = tally.shortfall(before_sending=True)
            raise QuorumError(what, needed=needed, got=got, definite=True)
        self.done: asyncio.Future[Siblings] = asyncio.get_running_loop().create_future()

    def start(self) -> None:
        """Ask everybody, the one with the object last: it may be this node, and answer at once."""
        object_slot: Slot | None = None
        if self._notes is not None:
            for node, stands_in_for in self._slots:
                self._notes.asked(node, stands_in_for)
        for slot in self._slots:
            if slot.node == self._object_from:
                object_slot = slot
            else:
                self._ask(slot, version_only=True)
        if object_slot is not None:
            self._ask(object_slot, version_only=False)

    def _ask(self, slot: Slot, *, version_only: bool) -> None:
        request = ReplicaGet(self._key, slot.stands_in_for or "", version_only)
        self._send(slot.node, request, self._replica_timeout_s, self._on_reply)

    def _on_reply(self, node: NodeId, reply: Reply | DynamoError) -> None:
        primary = self._is_primary(node)
        if type(reply) is Held and self._take(node, reply.data, whole=node == self._object_from):
            if self._clocks[node] == MISSING:
                self._tally.missing(primary=primary)
            else:
                self._tally.found(primary=primary)
        else:
            self._tally.failed(primary=primary)
            if node == self._object_from:
                self._object_from = None
        if self._notes is not None:
            self._note(self._notes, node, reply)
        self._advance()

    def _note(self, notes: Notes, node: NodeId, reply: Reply | DynamoError) -> None:
        clock = self._clocks.get(node)
        if clock is None:
            notes.failed(node, reply)
        else:
            notes.held(node, clock)

    def _is_primary(self, node: NodeId) -> bool:
        for slot in self._slots:
            if slot.node == node:
                return slot.stands_in_for is None
        raise AssertionError(f"{node} was not asked")

    def _take(self, node: NodeId, data: bytes, *, whole: bool) -> bool:
        """Note what `node` holds. Returns False if its bytes make no sense."""
        clock = data
        try:
            if data != MISSING:
                if whole:
                    self._states[node] = decode_siblings(data)
                    clock = clock_of(data)
                elif clock not in self._clocks.values():
                    self._decoded[clock] = decode_clock(clock)
        except CodecError as error:
            log.error("a replica's answer does not decode", extra={"peer": node, "why": str(error)})
            return False
        clocks = self._clocks
        if clocks and self._uniform:
            self._uniform = next(iter(clocks.values())) == clock
        clocks[node] = clock
        return True

    def _advance(self) -> None:
        """Answer if it is time to, then repair if it is time to."""
        if not self.done.done():
            verdict = self._tally.verdict
            if verdict is Verdict.MET:
                known = self._known()
                if known is not None:
                    self.met = True
                    self.done.set_result(known)
            elif verdict is Verdict.LOST:
                self._give_up()
        if self._tally.settled and not self._fetching and not self._uniform:
            self._repair_primaries()

    def _give_up(self) -> None:
        if self._tally.only_not_found:
            self.done.set_result(EMPTY)
            return
        if self._tally.may_be_not_found:
            known = self._merged()
            if known is None:
                return  # what the others hold is being fetched
            if not len(known) or only_tombstones(encode_siblings(known)):
                if self._tally.settled:
                    self.done.set_result(EMPTY)
                return
        what, needed, got = self._tally.shortfall()
        self.done.set_exception(QuorumError(what, needed=needed, got=got, definite=True))

    def _known(self) -> Siblings | None:
        """What all that answered know together; None while some of it is still being fetched."""
        if self._uniform:
            if next(iter(self._clocks.values())) == MISSING:
                return EMPTY
            if self._states:
                return next(iter(self._states.values()))
        object_from = self._object_from
        if object_from is not None and object_from not in self._clocks and not self._hedged:
            self._wait_for_object()
            return None
        return self._merged()

    def _wait_for_object(self) -> None:
        """The object is on its way, most likely; give it a moment before asking someone else."""
        if self._hedge is None:
            loop = asyncio.get_running_loop()
            self._hedge = loop.call_later(HEDGE_S, self._stop_waiting_for_object)

    def _stop_waiting_for_object(self) -> None:
        self._hedged = True
        self._advance()

    def _merged(self) -> Siblings | None:
        """Merge the states at hand and what the clocks add; fetch states that hold more."""
        known = EMPTY
        for state in self._states.values():
            known = known.merge(state)
        clock = known.clock()
        gone: list[Clock] = []
        for node, encoded in self._clocks.items():
            if encoded == MISSING or node in self._states:
                continue
            theirs = self._decoded.get(encoded) or decode_clock(encoded)
            if theirs.missing_from(clock):
                self._fetch(node)
            gone.append(theirs)
            clock = clock.merge(theirs)
        if self._fetching:
            return None
        for theirs in gone:
            known = known.supersede(theirs.gone())
        return known

    def _fetch(self, node: NodeId) -> None:
        if node in self._fetching:
            return
        self._fetching.add(node)
        self._counters.objects_fetched += 1
        if self._notes is not None:
            self._notes.fetches()
        slot = next(slot for slot in self._slots if slot.node == node)
        request = ReplicaGet(self._key, slot.stands_in_for or "", False)
        self._send(node, request, self._replica_timeout_s, self._on_fetched)

    def _on_fetched(self, node: NodeId, reply: Reply | DynamoError) -> None:
        self._fetching.discard(node)
        if (
            type(reply) is not Held
            or reply.data == MISSING
            or not self._take(node, reply.data, whole=True)
        ):
            self._clocks.pop(node, None)
            self._tally.retracted(primary=self._is_primary(node))
        if self._notes is not None:
            self._notes.fetched(node, self._clocks.get(node), reply)
        self._advance()

    def _repair_primaries(self) -> None:
        """Send what the read found to each primary that lacks some of it."""
        if self._repaired or not self._clocks:
            return
        known = self._merged()
        if known is None:
            return
        self._repaired = True
        assert self._repair_until_s is not None
        if asyncio.get_running_loop().time() > self._repair_until_s:
            return
        state = encode_siblings(known)
        clock = clock_of(state)
        request = ReplicaPut(self._key, state, "")
        notes = self._notes
        for node, stands_in_for in self._slots:
            held = self._clocks.get(node, clock)
            if stands_in_for is None and held != clock:
                self._count_repair(was_missing=held == MISSING)
                if notes is not None:
                    notes.repairs(node, clock)
                repaired = _ignore if notes is None else notes.repaired
                self._send(node, request, self._replica_timeout_s, repaired)

    def _count_repair(self, *, was_missing: bool) -> None:
        self._counters.read_repairs += 1
        if was_missing:
            self._counters.read_repairs_missing += 1
        else:
            self._counters.read_repairs_behind += 1

    def expire(self) -> None:
        """The request's deadline came."""
        if not self.done.done():
            self.done.set_exception(DeadlineExceeded(definite=True))


def _ignore(_node: NodeId, _reply: Reply | DynamoError) -> None:
    """A repair that fails is made good by the next read or by anti-entropy."""
