"""One connection of the load: a request, its answer, the next request.

`asyncio.Protocol` with httptools under it and no coroutine per request: the load shares its machine
with the nodes, and every microsecond it takes is one they do not have.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import httptools

from dynamo.bench.requests import Requests
from dynamo.bench.schedule import Choice, Pace, Work
from dynamo.bench.tally import Tally

_REFUSAL_BYTES_MAX = 300


@dataclass(slots=True, kw_only=True)
class Phase:
    """What all connections of one stretch of load share.

    Attributes:
        keys: names by number.
        idle: the connections that found nothing due.
        refusal: what the server said of a write that it refuses, if `Preloading` met one.
    """

    pace: Pace
    work: Work
    tally: Tally
    keys: list[bytes]
    now_s: Callable[[], float]
    idle: "set[Connection]" = field(default_factory=set)
    refusal: str = ""


class Connection(asyncio.Protocol):
    """A connection from its making to its end.

    Attributes:
        ended: set when the connection is gone.
        sent_s: when the request under way was sent; None if there is none.
        leave: close between two requests, at the next opportunity.
        left: it was closed from here, between two requests.
        has_worked: it has brought an answer.
    """

    def __init__(self, phase: Phase, requests: Requests) -> None:
        self.ended = asyncio.Event()
        self.sent_s: float | None = None
        self.leave = False
        self.left = False
        self.has_worked = False
        self._phase = phase
        self._requests = requests
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._choice = Choice(False, 0)
        self._began_s = 0.0
        self._broken_by = "connection lost"

    def begin(self, began_s: float, now_s: float) -> None:
        """Make the next request, which counts from `began_s`; wait if there is none."""
        choice = self._phase.work.next()
        if choice is None:
            self._phase.idle.add(self)
        else:
            self._begun(choice, began_s, now_s)

    def give_up(self, reason: str) -> None:
        """End the connection under its request."""
        self._broken_by = reason
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """End the connection between two requests."""
        self.left = True
        # It is gone a moment later only, and in that moment must not be handed a request.
        self._phase.idle.discard(self)
        if self._transport is not None:
            self._transport.abort()

    # -- what the loop calls ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # a connection has both directions
        self._go_on(self._phase.now_s())

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.give_up("not HTTP")

    def connection_lost(self, error: Exception | None) -> None:
        self._phase.idle.discard(self)
        if self.sent_s is not None:
            now_s = self._phase.now_s()
            self._phase.tally.broke(self._choice.is_write, self._broken_by, self._began_s, now_s)
            self._phase.work.failed(self._choice)
            self.sent_s = None
        self.ended.set()

    # -- what the parser calls -------------------------------------------------------------------

    def on_message_complete(self) -> None:
        if self.sent_s is None:
            self.give_up("not HTTP")
            return
        now_s = self._phase.now_s()
        self.sent_s = None
        self.has_worked = True
        choice = self._choice
        status = self._parser.get_status_code()
        ok = self._phase.tally.ended(choice.is_write, status, self._began_s, now_s)
        if not ok:
            self._phase.work.failed(choice)
        if self.leave or not self._parser.should_keep_alive():
            self.close()
        else:
            self._answered(ok, now_s)

    # -- one request -----------------------------------------------------------------------------

    def _go_on(self, now_s: float) -> None:
        began_s = self._phase.pace.next(now_s)
        if began_s is None:
            self._phase.idle.add(self)
        else:
            self.begin(began_s, now_s)

    def _begun(self, choice: Choice, began_s: float, now_s: float) -> None:
        key = self._phase.keys[choice.key]
        request = self._requests.write(key) if choice.is_write else self._requests.read(key)
        self._send(request, choice, began_s, now_s)

    def _send(self, request: bytes, choice: Choice, began_s: float, now_s: float) -> None:
        self._choice = choice
        self._began_s = began_s
        self.sent_s = now_s
        assert self._transport is not None
        self._transport.write(request)

    def _answered(self, ok: bool, now_s: float) -> None:
        self._go_on(now_s)


class Preloading(Connection):
    """A connection that notes what the server says where it refuses a request as wrong."""

    def __init__(self, phase: Phase, requests: Requests) -> None:
        super().__init__(phase, requests)
        self._body = b""

    def on_body(self, body: bytes) -> None:
        self._body = (self._body + body)[:_REFUSAL_BYTES_MAX]

    def on_message_complete(self) -> None:
        status, said = self._parser.get_status_code(), self._body.decode(errors="replace")
        self._body = b""
        if 400 <= status < 500 and not self._phase.refusal:
            self._phase.refusal = f"{status}: {' '.join(said.split())}"
        super().on_message_complete()


class ContextConnection(Connection):
    """A connection whose writes first read the key and hand on the context they got."""

    def __init__(self, phase: Phase, requests: Requests) -> None:
        super().__init__(phase, requests)
        self._then: Choice | None = None
        self._context = b""

    def on_header(self, name: bytes, text: bytes) -> None:
        if name.lower() == b"x-riak-vclock":
            self._context = text

    def _begun(self, choice: Choice, began_s: float, now_s: float) -> None:
        self._then = choice if choice.is_write else None
        self._context = b""
        super()._begun(Choice(False, choice.key), began_s, now_s)

    def _answered(self, ok: bool, now_s: float) -> None:
        choice, self._then = self._then, None
        if choice is None or not ok:
            self._go_on(now_s)
            return
        key = self._phase.keys[choice.key]
        # Nothing read is nothing to go by: such a write is blind.
        request = (
            self._requests.write_after(key, self._context)
            if self._context
            else self._requests.write(key)
        )
        self._send(request, choice, now_s, now_s)
