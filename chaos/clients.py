"""Named clients of the cluster under test, and the history of what they asked and were told.

A client here talks to one node at a time, the one it is told to, and nobody repeats its requests
elsewhere behind its back: what it was told is what that node said. What cannot be known stays
unknown: a write without a clear answer is `info`, and so is whatever never returned.
"""

import copy
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Final, Self

import msgspec

from chaos.modes import Mode
from chaos.recording import Action, Operation, Outcome
from chaos.values import Named
from dynamo.client.buckets import BucketClient, OnReceipt
from dynamo.client.client import Client
from dynamo.client.errors import Refused, Unavailable
from dynamo.client.values import Context, Found
from dynamo.core.values import Value
from dynamo.errors import BadRequest, DeadlineExceeded, DynamoError, QuorumError, RequestError

CONTENT_TYPE: Final = "text/plain"

NEVER_RETURNED: Final = "it had not returned when the load ended"

_ERROR_CHARACTERS_MAX: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came of one request.

    Attributes:
        index: of its operation in the history.
        shown: the values shown; None if it shows none, or did not succeed.
        context: to base a write on; None if it gave none.
    """

    index: int
    outcome: Outcome
    shown: tuple[str, ...] | None = None
    context: Context | None = None

    @property
    def is_ok(self) -> bool:
        """Whether it succeeded."""
        return self.outcome is Outcome.OK


class History:
    """What all clients of a take did, numbered as it was invoked.

    Attributes:
        clock_s: seconds since the take began.
    """

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self.clock_s = clock_s
        self._invoked = 0
        self._returned: list[Operation] = []
        self._under_way: dict[int, Operation] = {}
        self._writes: dict[str, int] = {}
        self._remarks: dict[int, str] = {}

    def operations(self) -> tuple[Operation, ...]:
        """All so far, in the order of `index`; those under way as unknown, and ended now."""
        now_s = self.clock_s()
        cut_short = [
            msgspec.structs.replace(operation, returned_s=now_s)
            for operation in self._under_way.values()
        ]
        operations = sorted((*self._returned, *cut_short), key=lambda o: o.index)
        return tuple(
            msgspec.structs.replace(operation, note=self._remarks[operation.index])
            if operation.index in self._remarks
            else operation
            for operation in operations
        )

    def remark(self, index: int, note: str) -> None:
        """Note something of an operation that has returned."""
        self._remarks[index] = note

    @property
    def under_way(self) -> int:
        """How many have not returned."""
        return len(self._under_way)

    def next_number(self, client: str) -> int:
        """The number of a client's next write, from 1; no two of a take share name and number."""
        number = self._writes[client] = self._writes.get(client, 0) + 1
        return number

    def invoke(
        self,
        client: "LabClient",
        action: Action,
        mode: Mode,
        *,
        workload: str,
        bucket: str,
        key: str,
        node: str,
        intended_s: float | None,
        written: str | None = None,
        based_on: int | None = None,
        note: str = "",
    ) -> Operation:
        """A request goes out now; unknown until `end` is called with it."""
        invoked_s = self.clock_s()
        operation = Operation(
            index=self._invoked,
            workload=workload,
            mode=mode.name,
            client=client.name,
            side=client.side,
            node=node,
            action=action,
            bucket=bucket,
            key=key,
            intended_s=invoked_s if intended_s is None else intended_s,
            invoked_s=invoked_s,
            returned_s=invoked_s,
            outcome=Outcome.INFO,
            error=NEVER_RETURNED,
            written=written,
            based_on=based_on,
            note=note,
        )
        self._invoked += 1
        self._under_way[operation.index] = operation
        return operation

    def end(
        self,
        operation: Operation,
        outcome: Outcome,
        *,
        status: int | None = None,
        error: str | None = None,
        acks: int | None = None,
        shown: tuple[str, ...] | None = None,
        shown_deleted: bool = False,
    ) -> None:
        """A request's outcome is known."""
        del self._under_way[operation.index]
        ended = msgspec.structs.replace(
            operation,
            returned_s=self.clock_s(),
            outcome=outcome,
            status=status,
            error=error,
            acks=acks,
            shown=shown,
            shown_deleted=shown_deleted,
        )
        self._returned.append(ended)


class LabClient:
    """One client, for use inside `async with`.

    Whatever links and nodes do to a request ends up in its reply and in the history. Only a request
    that makes no sense raises, for that is a fault of the lab.

    Attributes:
        name: who it is.
        home: the client whose connections and memories it shares; itself, unless it is a lane.
        side: where it stands in the experiment's cut.
        nodes: whom it may ask.
        timeout_s: how long it waits for an answer.
    """

    def __init__(
        self, name: str, side: str, urls: Mapping[str, str], history: History, timeout_s: float
    ) -> None:
        """Name it; nothing is opened yet.

        Args:
            name: unique in the take.
            side: see above.
            urls: node, and where this client reaches it.
            history: takes down what it does.
            timeout_s: see above; nodes are told a little less, so that they have the last word.
        """
        self.name = self.home = name
        self.side = side
        self.nodes = tuple(urls)
        self.timeout_s = timeout_s
        self.history = history
        self._urls = dict(urls)
        self._clients: dict[str, Client] = {}
        self._buckets: dict[tuple[str, str, str], BucketClient] = {}
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for node, url in self._urls.items():
            client = Client([url], timeout_s=self.timeout_s, rest_s=0.0)
            self._clients[node] = await self._open.enter_async_context(client)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._open.aclose()

    def lane(self, number: int) -> "LabClient":
        """The same client, under a name of its own for one of several requests at a time."""
        lane = copy.copy(self)
        lane.name = f"{self.home}.{number}"
        return lane

    def draw_node(self, dice: Random) -> str:
        """Somebody to ask."""
        return dice.choice(self.nodes)

    async def get(
        self,
        mode: Mode,
        workload: str,
        bucket: str,
        key: str,
        node: str,
        *,
        intended_s: float | None = None,
        note: str = "",
        on_receipt: OnReceipt | None = None,
    ) -> Reply:
        """Read.

        Args:
            mode: decides how many must answer, and the type of the bucket.
            workload: what this is part of.
            bucket: see `key`.
            key: what to read.
            node: whom to ask.
            intended_s: when this was due; None for now.
            note: for the record.
            on_receipt: told what each replica did; the request then takes until all have answered.
        """
        asked = self.history.invoke(
            self,
            Action.GET,
            mode,
            workload=workload,
            bucket=bucket,
            key=key,
            node=node,
            intended_s=intended_s,
            note=note,
        )
        door = self._bucket(node, mode, bucket, on_receipt)
        return await self._shown(asked, door.get(key, r=mode.r, sloppy_quorum=mode.sloppy))

    async def put(
        self,
        mode: Mode,
        workload: str,
        bucket: str,
        key: str,
        node: str,
        *,
        based_on: Reply | None = None,
        payload: str = "",
        returning: bool = False,
        intended_s: float | None = None,
        note: str = "",
        on_receipt: OnReceipt | None = None,
    ) -> Reply:
        """Write a value that names itself, in place of what `based_on` showed.

        `based_on` is the reply whose context is sent along; without one, or if it has no context,
        the write is blind. `payload` is what the value is about. `returning` asks to be shown what
        is there after it, with a context for the next write. The rest is as for `get`.
        """
        number = self.history.next_number(self.name)
        text = str(Named(key=key, client=self.name, number=number, payload=payload))
        asked = self.history.invoke(
            self,
            Action.PUT,
            mode,
            workload=workload,
            bucket=bucket,
            key=key,
            node=node,
            intended_s=intended_s,
            written=text,
            based_on=_index(based_on),
            note=note,
        )
        value = Value(body=text.encode(), content_type=CONTENT_TYPE)
        context = _context(based_on)
        door = self._bucket(node, mode, bucket, on_receipt)
        # Without `dw` the bucket's own would hold, which is a quorum however small `w` is.
        if returning:
            return await self._shown(
                asked,
                door.put_returning(
                    key, value, context=context, w=mode.w, dw=mode.w, sloppy_quorum=mode.sloppy
                ),
            )
        return await self._done(
            asked,
            door.put(key, value, context=context, w=mode.w, dw=mode.w, sloppy_quorum=mode.sloppy),
        )

    async def delete(
        self,
        mode: Mode,
        workload: str,
        bucket: str,
        key: str,
        node: str,
        *,
        based_on: Reply,
        intended_s: float | None = None,
        note: str = "",
    ) -> Reply:
        """Delete what `based_on` showed.

        There is no delete without a context: the node would read for itself and delete what nobody
        was shown, so nothing could be said of what must be left.

        Raises:
            BadRequest: `based_on` gave no context; there was nothing to delete.
        """
        if based_on.context is None:
            raise BadRequest(f"nothing of {key} was shown that could be deleted")
        asked = self.history.invoke(
            self,
            Action.DELETE,
            mode,
            workload=workload,
            bucket=bucket,
            key=key,
            node=node,
            intended_s=intended_s,
            written=f"{key} deleted by {self.name}, {self.history.next_number(self.name)}",
            based_on=based_on.index,
            note=note,
        )
        work = self._bucket(node, mode, bucket).delete(
            key,
            context=based_on.context,
            r=mode.r,
            w=mode.w,
            dw=mode.w,
            sloppy_quorum=mode.sloppy,
        )
        return await self._done(asked, work)

    def _bucket(
        self, node: str, mode: Mode, bucket: str, on_receipt: OnReceipt | None = None
    ) -> BucketClient:
        if on_receipt is not None:
            return self._clients[node].bucket(
                bucket, bucket_type=str(mode.conflicts), on_receipt=on_receipt
            )
        which = (node, mode.conflicts, bucket)
        if which not in self._buckets:
            client = self._clients[node]
            self._buckets[which] = client.bucket(bucket, bucket_type=str(mode.conflicts))
        return self._buckets[which]

    async def _shown(self, asked: Operation, work: Awaitable[Found]) -> Reply:
        """The reply to a request that shows what is there."""
        try:
            found = await work
        except DynamoError as error:
            return self._failed(asked, error)
        shown = tuple(value.body.decode(errors="backslashreplace") for value in found.values)
        # A context without a value, or beside a tombstone, covers a delete.
        is_deleted = found.context is not None and (
            not shown or len(found.siblings) > len(found.values)
        )
        self.history.end(
            asked,
            Outcome.OK,
            status=_status_of(found),
            shown=shown,
            shown_deleted=is_deleted,
        )
        return Reply(index=asked.index, outcome=Outcome.OK, shown=shown, context=found.context)

    async def _done(self, asked: Operation, work: Awaitable[object]) -> Reply:
        """The reply to a request that shows nothing."""
        try:
            await work
        except DynamoError as error:
            return self._failed(asked, error)
        self.history.end(asked, Outcome.OK, status=204)
        return Reply(index=asked.index, outcome=Outcome.OK)

    def _failed(self, asked: Operation, error: DynamoError) -> Reply:
        if isinstance(error, BadRequest) and not isinstance(error, Refused):
            raise error  # no node was asked: the lab does not know what it wants
        outcome = Outcome.FAIL if error.definite else Outcome.INFO
        status = _status(error)
        self.history.end(
            asked,
            outcome,
            status=status,
            error=" ".join(str(error).split())[:_ERROR_CHARACTERS_MAX] or type(error).__name__,
            acks=_acks(error) if asked.is_write and status is not None else None,
        )
        return Reply(index=asked.index, outcome=outcome)


def _context(reply: Reply | None) -> Context | None:
    return None if reply is None else reply.context


def _index(reply: Reply | None) -> int | None:
    return None if reply is None or reply.context is None else reply.index


def _status_of(found: Found) -> int:
    if not found.siblings:
        return 404
    return 200 if len(found.siblings) == 1 else 300


def _status(error: DynamoError) -> int | None:
    """The status that an error came with; None if no answer came."""
    if isinstance(error, Refused | Unavailable):
        return error.status
    # A deadline that the node reports has the node's words, one that passed here has the client's.
    if isinstance(error, DeadlineExceeded):
        return 503 if str(error) == str(DeadlineExceeded()) else None
    return 503 if isinstance(error, QuorumError) else None


def _acks(error: DynamoError) -> int | None:
    return error.acks if isinstance(error, RequestError | Unavailable) else None
