"""Objects over HTTP: GET, HEAD, PUT, POST and DELETE of one key, and POST of a value without one.

Siblings are shown, never chosen from: a read that finds several answers 300 with all of them. The
context in `X-Riak-Vclock` covers what that answer showed and nothing else, so a write that brings
it back replaces just that (Dynamo 4.4).

With `?trace=true` the answer carries a receipt in `X-Dynamo-Replicas`. It waits for it: until all
who were asked have answered or were given up, at most until the request's own deadline.
"""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from dynamo.core.ids import Bucket, Key
from dynamo.core.properties import Properties
from dynamo.core.receipts import encode_receipt
from dynamo.core.siblings import Siblings
from dynamo.errors import BadRequest, DeadlineExceeded, DynamoError
from dynamo.http.exchange import BodyReader
from dynamo.http.found import Found, context_line, find, lone_lines, version_lines
from dynamo.http.large_reads import VALUE_BYTES, LargeReads
from dynamo.http.negotiation import (
    NOT_MODIFIED,
    byte_range,
    charset_admitted,
    choose,
    guards_read,
    guards_write,
    unmet,
)
from dynamo.http.render import (
    base62,
    location,
    siblings_multipart,
    siblings_text,
    vtag,
)
from dynamo.http.reply import (
    CONFLICT,
    HTML,
    NO_PATH,
    NOT_ACCEPTABLE,
    NOT_FOUND,
    PLAIN,
    PRECONDITION_FAILED,
    STORED,
    VARY,
    VARY_SIBLINGS,
    Reply,
    receipt_line,
    text,
    unknown_type,
)
from dynamo.http.routes import Target
from dynamo.http.served import ServedNode
from dynamo.http.wire import (
    DESCRIBED_BYTES_MAX,
    IF_NOT_MODIFIED,
    Parameters,
    context_of,
    describe,
    is_media_type,
    parameters,
    value_bytes,
)
from dynamo.node.tracing import Trace

TIMEOUT_S_MAX = 3600.0

_KEY_DIGITS = 27
_KEY_BITS = 161  # what 27 digits to the base of 62 hold
_TEXT_OR_PARTS = ("text/plain", "multipart/mixed")
_PARTS_OR_TEXT = ("multipart/mixed", "text/plain")
_MISSING_CONTENT_TYPE = text(400, "Missing Content-Type request header")

Handle = Callable[[web.BaseRequest, Target, Parameters, Trace | None], Awaitable[Reply]]
"""What answers a request for an object, and notes what comes of it if there is a trace."""


class Objects:
    """Handlers for the paths of objects."""

    def __init__(self, node: ServedNode, bodies: BodyReader) -> None:
        self._node = node
        self._bodies = bodies
        self._large = LargeReads()

    # -- reading ---------------------------------------------------------------------------------

    def read(self, request: web.BaseRequest, target: Target, query: str) -> Awaitable[Reply]:
        """GET or HEAD of an object."""
        return self._handled(self._read, request, target, parameters(query))

    async def _read(
        self, request: web.BaseRequest, target: Target, wanted: Parameters, trace: Trace | None
    ) -> Reply:
        properties = self._node.properties.of(Bucket(target.bucket_type, target.bucket))
        if properties is None:
            return unknown_type(target.bucket_type)
        try:
            quorum = properties.read_quorum(wanted.asked)
        except BadRequest as error:
            return _beyond_n(error, "")
        key = Key(target.bucket_type, target.bucket, target.key)
        get = self._node.coordinator.get
        timeout_s = self._timeout_s(wanted)
        if self._large.expects(key):
            async with self._large.turn():
                state = await get(key, quorum, timeout_s=timeout_s, trace=trace)
        else:
            state = await get(key, quorum, timeout_s=timeout_s, trace=trace)
        found = find(state, properties.conflicts)
        if not found.values:
            return NOT_FOUND
        if len(found.values[0][1].body) > VALUE_BYTES:
            self._large.note(key)
        if not found.exists:
            return _deleted(found)
        if wanted.vtag is not None:
            chosen = [entry for entry in found.values if vtag(entry[0]) == wanted.vtag]
            if not chosen:
                return NO_PATH
            found = found._replace(values=chosen)
        if len(found.values) > 1:
            return self._read_siblings(request, target, found)
        return self._read_one(request, target, found)

    def _read_one(self, request: web.BaseRequest, target: Target, found: Found) -> Reply:
        headers = request.headers
        value = found.values[0][1]
        if choose(headers.get("Accept"), (value.content_type,)) is None or not charset_admitted(
            headers.get("Accept-Charset"), value.content_type
        ):
            return NOT_ACCEPTABLE
        vary = "" if value.content_encoding else VARY
        if guards_read(headers) and (refusal := self._unmet_read(request, found, vary)):
            return refusal
        head = lone_lines(found, target) + vary
        part = byte_range(headers.get("Range"), len(value.body))
        if part is None or "If-Range" in headers:
            return Reply(200, head, value.body)
        start, end = part
        head += f"Content-Range: bytes {start}-{end - 1}/{len(value.body)}\r\n"
        return Reply(206, f"{head}Accept-Ranges: bytes\r\n", value.body[start:end])

    def _read_siblings(self, request: web.BaseRequest, target: Target, found: Found) -> Reply:
        form = choose(request.headers.get("Accept"), _TEXT_OR_PARTS)
        if form is None:
            return NOT_ACCEPTABLE
        if refusal := self._unmet_read(request, found, VARY_SIBLINGS):
            return refusal
        return self._siblings(found, target, form)

    def _unmet_read(self, request: web.BaseRequest, found: Found, vary: str) -> Reply | None:
        current = found.current
        status = unmet(request.headers, current, now_ms=self._node.wall_ms(), reading=True)
        if status is None:
            return None
        if status == NOT_MODIFIED:
            return Reply(NOT_MODIFIED, f'ETag: "{current.tag}"\r\n{vary}')
        return PRECONDITION_FAILED

    def _siblings(self, found: Found, target: Target, form: str) -> Reply:
        current = found.current
        lines = version_lines(found, current.tag, current.modified_at_ms) + VARY_SIBLINGS
        if form == "text/plain":
            return Reply(300, PLAIN + lines, siblings_text(dot for dot, _ in found.values))
        boundary = self._drawn()
        return Reply(
            300,
            f"Content-Type: multipart/mixed; boundary={boundary}\r\n{lines}",
            siblings_multipart(found.values, target, boundary),
        )

    # -- writing ---------------------------------------------------------------------------------

    def store(self, request: web.BaseRequest, target: Target, query: str) -> Awaitable[Reply]:
        """PUT or POST of an object; without a key in the path one is drawn."""
        if not request.headers.get("Content-Type"):
            return _at_once(_MISSING_CONTENT_TYPE)
        return self._handled(self._store, request, target, parameters(query))

    async def _store(
        self, request: web.BaseRequest, target: Target, wanted: Parameters, trace: Trace | None
    ) -> Reply:
        headers = request.headers
        content_type = headers["Content-Type"]
        described = describe(headers, content_type, target)
        context = context_of(headers)
        properties = self._node.properties.of(Bucket(target.bucket_type, target.bucket))
        if properties is None:
            return unknown_type(target.bucket_type)
        try:
            quorum = properties.write_quorum(wanted.asked)
        except BadRequest as error:
            return _beyond_n(error, PLAIN)
        if choose(headers.get("Accept"), (content_type,)) is None:
            return NOT_ACCEPTABLE
        timeout_s = self._timeout_s(wanted)
        if target.key and _is_conditional(request):
            refusal, timeout_s = await self._check_conditions(
                request, target, wanted, properties, timeout_s, trace
            )
            if refusal is not None:
                return refusal
        if not is_media_type(content_type):
            media_type = content_type.partition(";")[0]
            return text(
                415, f'"{media_type}" is not a valid media type for the Content-type header.\n'
            )
        body, timeout_s = await self._body(request, wanted, timeout_s)
        if isinstance(body, Reply):
            return body
        value = described.value(body, self._node.wall_ms())
        object_bytes_max = self._node.config.object_bytes_max
        may_be_too_large = described.indexes or len(body) > object_bytes_max - DESCRIBED_BYTES_MAX
        if may_be_too_large and (size := value_bytes(value)) > object_bytes_max:
            return text(413, f"an object has at most {object_bytes_max} bytes, got {size}\n")
        stored_at = target if target.key else target._replace(key=self._drawn().encode())
        key = Key(stored_at.bucket_type, stored_at.bucket, stored_at.key)
        if len(body) > VALUE_BYTES:
            self._large.note(key)
        written = await self._node.coordinator.put(
            key,
            value,
            context,
            quorum,
            properties.conflicts,
            timeout_s=timeout_s,
            return_state=wanted.return_body,
            trace=trace,
        )
        if written.state is None:
            if target.key:
                return STORED
            reply = Reply(201, f"Content-Type: {content_type}\r\n{VARY}")
        else:
            reply = self._stored(request, stored_at, find(written.state, properties.conflicts))
            if target.key:
                return reply
        return reply._replace(status=201, head=f"Location: {location(stored_at)}\r\n{reply.head}")

    def _stored(self, request: web.BaseRequest, target: Target, found: Found) -> Reply:
        """What a store with `returnbody` shows: what a read after it would."""
        if len(found.values) > 1:
            form = choose(request.headers.get("Accept"), _PARTS_OR_TEXT) or "text/plain"
            return self._siblings(found, target, form)
        value = found.values[0][1]
        head = lone_lines(found, target) + VARY
        return Reply(200 if value.body else 204, head, value.body)

    def delete(self, request: web.BaseRequest, target: Target, query: str) -> Awaitable[Reply]:
        """DELETE of an object."""
        return self._handled(self._delete, request, target, parameters(query))

    async def _delete(
        self, request: web.BaseRequest, target: Target, wanted: Parameters, trace: Trace | None
    ) -> Reply:
        context = context_of(request.headers)
        properties = self._node.properties.of(Bucket(target.bucket_type, target.bucket))
        if properties is None:
            return unknown_type(target.bucket_type)
        try:
            read_quorum, write_quorum = properties.delete_quorums(wanted.asked)
        except BadRequest as error:
            return _beyond_n(error, HTML)
        timeout_s = self._timeout_s(wanted)
        if _is_conditional(request):
            refusal, timeout_s = await self._check_conditions(
                request, target, wanted, properties, timeout_s, trace
            )
            if refusal is not None:
                return refusal
        deleted = await self._node.coordinator.delete(
            Key(target.bucket_type, target.bucket, target.key),
            context,
            read_quorum,
            write_quorum,
            properties.conflicts,
            timeout_s=timeout_s,
            trace=trace,
        )
        return STORED if deleted else NOT_FOUND

    async def _check_conditions(
        self,
        request: web.BaseRequest,
        target: Target,
        wanted: Parameters,
        properties: Properties,
        timeout_s: float,
        trace: Trace | None,
    ) -> tuple[Reply | None, float]:
        """Read what is there and hold a write's conditions against it.

        Returns:
            The answer to give instead of writing, if a condition does not hold; and the time left.
        """
        clock_s = asyncio.get_running_loop().time
        deadline_s = clock_s() + timeout_s
        state = await self._node.coordinator.get(
            Key(target.bucket_type, target.bucket, target.key),
            properties.read_quorum(wanted.asked),
            timeout_s=timeout_s,
            trace=trace,
        )
        found = find(state, properties.conflicts)
        refusal = None
        if _is_modified(request, found, state):
            refusal = CONFLICT
        elif unmet(request.headers, found.current, now_ms=self._node.wall_ms(), reading=False):
            refusal = PRECONDITION_FAILED
        remaining_s = deadline_s - clock_s()
        if remaining_s <= 0:
            raise DeadlineExceeded(definite=True)
        return refusal, remaining_s

    async def _body(
        self, request: web.BaseRequest, wanted: Parameters, timeout_s: float
    ) -> tuple[bytes | Reply, float]:
        """The body, and the time left: a timeout that the client names runs while it sends."""
        if wanted.timeout_ms is None or request.content.is_eof():
            return await self._bodies.read(request), timeout_s
        clock_s = asyncio.get_running_loop().time
        deadline_s = clock_s() + timeout_s
        body = await self._bodies.read(request, within_s=timeout_s)
        # With no time left the coordinator sends nothing.
        return body, max(deadline_s - clock_s(), 0.0)

    # -- both ------------------------------------------------------------------------------------

    def _handled(
        self, handle: Handle, request: web.BaseRequest, target: Target, wanted: Parameters
    ) -> Awaitable[Reply]:
        """No coroutine of its own: most requests want no receipt, and pay nothing for those."""
        if wanted.trace:
            return self._traced(handle, request, target, wanted)
        return handle(request, target, wanted, None)

    async def _traced(
        self, handle: Handle, request: web.BaseRequest, target: Target, wanted: Parameters
    ) -> Reply:
        """Let `handle` answer, then wait for the receipt; an error carries it too."""
        clock_s = asyncio.get_running_loop().time
        trace = Trace(clock_s)
        until_s = clock_s() + self._timeout_s(wanted)
        try:
            reply = await handle(request, target, wanted, trace)
        except DynamoError as error:
            await trace.whole(until_s)
            trace.attach_to(error)
            raise
        await trace.whole(until_s)
        receipt = trace.receipt()
        if receipt.is_empty:
            return reply
        return reply._replace(head=reply.head + receipt_line(encode_receipt(receipt)))

    def _timeout_s(self, wanted: Parameters) -> float:
        if wanted.timeout_ms is None:
            return self._node.config.request_timeout_s
        if wanted.timeout_ms == 0:
            raise DeadlineExceeded(definite=True)
        return min(wanted.timeout_ms / 1000, TIMEOUT_S_MAX)

    def _drawn(self) -> str:
        """A name nobody drew before: for a key, for a boundary."""
        return base62(self._node.dice.getrandbits(_KEY_BITS), _KEY_DIGITS)


async def _at_once(reply: Reply) -> Reply:
    return reply


def _is_conditional(request: web.BaseRequest) -> bool:
    return guards_write(request.headers) or (
        request.method == "PUT" and IF_NOT_MODIFIED in request.headers
    )


def _is_modified(request: web.BaseRequest, found: Found, state: Siblings) -> bool:
    """Whether a PUT names a version that is not the one that is there."""
    if request.method != "PUT":
        return False
    expected = context_of(request.headers, IF_NOT_MODIFIED)
    return expected is not None and not (found.exists and expected == state.context())


def _beyond_n(error: BadRequest, head: str) -> Reply:
    """More is asked for than there are replicas; Riak leaves this text's type to chance."""
    return Reply(400, head, f"{error}\n".encode())


def _deleted(found: Found) -> Reply:
    return NOT_FOUND._replace(head=f"{PLAIN}X-Riak-Deleted: true\r\n{context_line(found)}")
