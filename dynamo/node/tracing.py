"""Notes on a request while it is under way, from which its receipt is made.

Only a request that asks for a receipt is traced. It is coordinated as any other; whoever wants the
receipt then waits until nobody is awaited any more (`whole`), so that it tells of all replicas and
not of the quick ones alone.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace

from dynamo.core.ids import NodeId
from dynamo.core.receipts import (
    REASON_CHARS_MAX,
    Account,
    Outcome,
    Receipt,
    ReplicaAnswer,
    decode_receipt,
    encode_receipt,
    version_tag,
)
from dynamo.errors import CodecError, DynamoError, PeerLost, RequestError
from dynamo.rpc.messages import Done, Failed, Reply

log = logging.getLogger(__name__)


class Trace:
    """What is noted of one request: of its read, and of its write."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._read: Notes | None = None
        self._write: Notes | None = None
        self._elsewhere: Account | None = None
        self._awaited = 0
        self._news = asyncio.Event()

    def begin_read(self, me: NodeId) -> "Notes":
        """Notes on the read that this node coordinates now."""
        self._read = Notes(self, me, self._clock_s)
        return self._read

    def begin_write(self, me: NodeId) -> "Notes":
        """Notes on the write that this node coordinates now."""
        self._elsewhere = None
        self._write = Notes(self, me, self._clock_s)
        return self._write

    def forwarded(self, node: NodeId, me: NodeId) -> None:
        """The write went to `node`; should nothing be heard of it, that is all that is known."""
        self._elsewhere = Account(coordinator=node, forwarded_by=me)

    def told(self, node: NodeId, me: NodeId, receipt: str, took_s: float) -> None:
        """What the node says of the write that was forwarded to it.

        Args:
            node: who coordinated.
            me: who forwarded.
            receipt: encoded; "" if it has nothing to say.
            took_s: from sending the write there to its answer.
        """
        if not receipt:
            return
        try:
            account = decode_receipt(receipt).write
        except CodecError as error:
            log.error("a receipt makes no sense", extra={"peer": node, "reason": str(error)})
            return
        if account is not None:
            hop_ms = max(_ms(took_s) - (account.took_ms or 0.0), 0.0)
            self._elsewhere = replace(account, forwarded_by=me, hop_ms=round(hop_ms, 3))

    async def whole(self, until_s: float) -> None:
        """Wait until nobody is awaited any more, and no longer than `until_s` by the loop's clock.

        Everybody who was asked answers or is given up in time, see `replica_timeout_s`; a stand-in
        that is asked in their place has as long again.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until_s):
                while self._awaited:
                    self._news.clear()
                    await self._news.wait()

    def receipt(self) -> Receipt:
        """What is known now."""
        write = self._elsewhere
        if write is None and self._write is not None:
            write = self._write.account()
        return Receipt(read=self._read.account() if self._read else None, write=write)

    def attach_to(self, error: DynamoError) -> None:
        """Let the error that the request ended with tell what is known now."""
        receipt = self.receipt()
        if not receipt.is_empty:
            error.receipt = encode_receipt(receipt)
        if isinstance(error, RequestError) and receipt.write is not None:
            error.acks = max(error.acks, receipt.write.acks)

    def asked(self) -> None:
        """One more is awaited."""
        self._awaited += 1

    def answered(self) -> None:
        """One less is."""
        self._awaited -= 1
        self._news.set()


class _Note:
    """One question to one node, and what came of it."""

    __slots__ = ("node", "outcome", "reason", "stands_in_for", "took_s", "version")

    def __init__(self, node: NodeId, stands_in_for: NodeId | None) -> None:
        self.node = node
        self.stands_in_for = stands_in_for
        self.outcome = Outcome.NO_ANSWER
        self.version = ""
        self.reason = ""
        self.took_s: float | None = None

    def answer(self) -> ReplicaAnswer:
        return ReplicaAnswer(
            node=self.node,
            outcome=self.outcome,
            stands_in_for=self.stands_in_for,
            version=self.version,
            reason=self.reason[:REASON_CHARS_MAX],
            took_ms=None if self.took_s is None else _ms(self.took_s),
        )


class Notes:
    """What is noted of one read or write by whoever coordinates it."""

    def __init__(self, trace: Trace, me: NodeId, clock_s: Callable[[], float]) -> None:
        self._trace = trace
        self._me = me
        self._clock_s = clock_s
        self._began_s = clock_s()
        self._met_s: float | None = None
        self._version = ""
        self._replicas: dict[NodeId, _Note] = {}
        self._repairs: dict[NodeId, _Note] = {}
        self._hints: list[_Note] = []

    def account(self) -> Account:
        """What is known now."""
        return Account(
            coordinator=self._me,
            version=self._version,
            met_ms=None if self._met_s is None else _ms(self._met_s - self._began_s),
            took_ms=_ms(self._took_s()),
            replicas=tuple(note.answer() for note in self._replicas.values()),
            repairs=tuple(note.answer() for note in self._repairs.values()),
            hints=tuple(note.answer() for note in self._hints),
        )

    def _took_s(self) -> float:
        took_s = 0.0
        for note in (*self._replicas.values(), *self._repairs.values(), *self._hints):
            if note.took_s is None:
                return self._clock_s() - self._began_s
            took_s = max(took_s, note.took_s)
        return took_s

    def met(self) -> None:
        """The quorum is met."""
        self._met_s = self._clock_s()

    def of_version(self, clock: bytes) -> None:
        """This is what the read answers, or the write stores."""
        self._version = version_tag(clock)

    # -- replicas --------------------------------------------------------------------------------

    def asked(self, node: NodeId, stands_in_for: NodeId | None) -> None:
        """A node is asked; it is awaited from now on."""
        self._replicas[node] = self._ask(node, stands_in_for)

    def held(self, node: NodeId, clock: bytes) -> None:
        """A node answered a read."""
        note = self._replicas[node]
        note.version = version_tag(clock)
        self._end(note, Outcome.FOUND if clock else Outcome.MISSING)

    def acknowledged(self, node: NodeId, reply: Reply | DynamoError) -> None:
        """A node has the write, or has not."""
        self._conclude(self._replicas[node], reply)

    def failed(self, node: NodeId, reply: Reply | DynamoError) -> None:
        """A node did not answer a read."""
        self._fail(self._replicas[node], reply)

    def fetches(self) -> None:
        """A node that answered is asked for all that it holds; it is awaited once more."""
        self._trace.asked()

    def fetched(self, node: NodeId, clock: bytes | None, reply: Reply | DynamoError) -> None:
        """It answered: it holds what has this clock, or it failed."""
        note = self._replicas[node]
        self._trace.answered()
        if clock is not None:
            note.version = version_tag(clock)
        else:
            note.outcome, note.reason = _failure(reply)

    # -- what is sent for good measure -----------------------------------------------------------

    def repairs(self, node: NodeId, clock: bytes) -> None:
        """A primary is sent what it lacks, up to this clock; `repaired` gets its answer."""
        note = self._repairs[node] = self._ask(node, None)
        note.version = version_tag(clock)

    def repaired(self, node: NodeId, reply: Reply | DynamoError) -> None:
        """A primary that was sent what it lacks answered."""
        self._conclude(self._repairs[node], reply)

    def hints(self, primary: NodeId) -> Callable[[NodeId, Reply | DynamoError], None]:
        """The coordinator keeps a hint for a primary; what is returned gets the answer."""
        note = self._ask(self._me, primary)
        self._hints.append(note)

        def kept(_node: NodeId, reply: Reply | DynamoError) -> None:
            self._conclude(note, reply)

        return kept

    # --------------------------------------------------------------------------------------------

    def _ask(self, node: NodeId, stands_in_for: NodeId | None) -> _Note:
        self._trace.asked()
        return _Note(node, stands_in_for)

    def _conclude(self, note: _Note, reply: Reply | DynamoError) -> None:
        if type(reply) is Done:
            self._end(note, Outcome.STORED)
        else:
            self._fail(note, reply)

    def _fail(self, note: _Note, reply: Reply | DynamoError) -> None:
        outcome, note.reason = _failure(reply)
        self._end(note, outcome)

    def _end(self, note: _Note, outcome: Outcome) -> None:
        note.outcome = outcome
        note.took_s = self._clock_s() - self._began_s
        self._trace.answered()


def _failure(reply: Reply | DynamoError) -> tuple[Outcome, str]:
    if isinstance(reply, PeerLost):
        return Outcome.NO_ANSWER, str(reply)
    if isinstance(reply, Failed):
        return Outcome.FAILED, reply.text
    if isinstance(reply, DynamoError):
        return Outcome.FAILED, str(reply)
    return Outcome.FAILED, "its answer makes no sense"


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
