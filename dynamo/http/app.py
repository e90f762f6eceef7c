"""The HTTP interface of a node: who is listened to, which handler answers, what errors become.

aiohttp's low-level server does the protocol; no application and no router stand between it and the
handlers. Errors of the store become statuses here and nowhere else:

    BadRequest            400    the request is wrong
    NotReady              503    this node has not joined yet       Retry-After
    Overloaded            503    a bound was reached                Retry-After
    QuorumError           503    too few replicas                   Retry-After
    DeadlineExceeded      503    the time ran out                   Retry-After
    other RequestErrors   503    nobody knows how it ended          Retry-After
    CodecError            503    what a replica holds makes no sense    Retry-After
    anything else         500    the store's own fault, logged

The answer to a write that failed says how far it came: `X-Dynamo-Acks`, how many nodes are known
to have it, and `X-Dynamo-Definite`, whether it certainly had no effect; where it may have had some,
a second line below Riak's text says so in words. The first line stays Riak's: clients match on it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final, cast
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod

from dynamo.config import NodeConfig
from dynamo.core.figures import Count, Figure, Gauge
from dynamo.errors import (
    BadRequest,
    CodecError,
    DynamoError,
    NotReady,
    Overloaded,
    QuorumError,
    RequestError,
    StartupError,
)
from dynamo.http.admin import Admin
from dynamo.http.admission import BEAT_S, Admission
from dynamo.http.bucket_types import BucketTypes
from dynamo.http.buckets import Buckets
from dynamo.http.compression import Compressor
from dynamo.http.connections import Connection, Connections
from dynamo.http.description import Description
from dynamo.http.exchange import Answer, BodyReader, whole
from dynamo.http.framing import DATA_PATHS
from dynamo.http.metrics import Metrics
from dynamo.http.negotiation import takes_gzip
from dynamo.http.objects import Objects, receipt_line
from dynamo.http.outgoing import LARGE_BYTES, Outgoing
from dynamo.http.preflist import Preflist
from dynamo.http.render import http_date
from dynamo.http.reply import FORBIDDEN, NO_PATH, NOT_IMPLEMENTED, RETRY, Reply, Stream, page, text
from dynamo.http.routes import Resource, Target, resolve
from dynamo.http.served import ServedNode
from dynamo.http.server_info import ServerInfo

log = logging.getLogger(__name__)

STOP_S_MAX = 4.0
"""How long requests at work may take to end when the node stops."""

BACKLOG: Final = 1024
_BODIES_AT_ONCE_MIN: Final = 4

PROPERTIES_BYTES_MAX: Final = 128 * 1024
"""Of a body with properties. A bucket may have 64 KiB of them; to read so much JSON, look at it and
write it again takes some milliseconds on the loop."""

_PROPERTIES_AT_ONCE: Final = 64

_WRITING: Final = frozenset({"PUT", "POST", "DELETE"})
_KNOWN_METHODS: Final = _WRITING | {"GET", "HEAD", "OPTIONS", "TRACE", "CONNECT"}
_ALWAYS_THERE: Final = frozenset(
    {
        Resource.ROOT,
        Resource.STATS,
        Resource.METRICS,
        Resource.DESCRIPTION,
        Resource.ADMIN_MEMBERS,
        Resource.ADMIN_RING,
        Resource.ADMIN_LOCATE,
        Resource.ADMIN_LOCAL,
        Resource.ADMIN_TOMBSTONES,
        Resource.ADMIN_HINTS,
        Resource.ADMIN_HINTS_WAIT,
    }
)
"""What a node answers before it has joined: questions about itself."""

_UNTYPED: Final = frozenset({"PW", "node_confirms"})
"""Texts whose type Riak leaves to chance; here that of a page is given for a delete only."""

Handler = Callable[[web.BaseRequest, Target, str], Awaitable[Reply | Stream]]


class HttpServer:
    """Serves one node over HTTP."""

    def __init__(self, node: ServedNode, config: NodeConfig) -> None:
        self._node = node
        self._config = config
        self._admission = Admission(
            at_work_max=config.requests_in_flight_max, queue_s_max=config.queue_s_max
        )
        self._beat: asyncio.TimerHandle | None = None
        self._beaten_s = 0.0
        self._requests = 0
        self._refused = 0
        self._shed = 0
        self._shed_reads = 0
        self._failures = 0
        self._stamp = ""
        self._refusals: dict[str, bytes] = {}
        self._stamped_at_s = -1
        self._info = ServerInfo(node, self.figures)
        self._handlers = self._route()
        self._compressor = Compressor()
        self._outgoing = Outgoing(self._bytes_at_once_max)
        self._connections: Connections | None = None
        self._listener: asyncio.Server | None = None

    @property
    def _bytes_at_once_max(self) -> int:
        """Of bodies on their way in, and of large answers on their way out."""
        return max(
            self._config.queued_bytes_max, _BODIES_AT_ONCE_MIN * self._config.object_bytes_max
        )

    def _route(self) -> Mapping[Resource, Mapping[str, Handler]]:
        bodies = BodyReader(
            body_bytes_max=self._config.object_bytes_max,
            reading_bytes_max=self._bytes_at_once_max,
        )
        small_bodies = BodyReader(
            body_bytes_max=PROPERTIES_BYTES_MAX,
            reading_bytes_max=_PROPERTIES_AT_ONCE * PROPERTIES_BYTES_MAX,
        )
        objects = Objects(self._node, bodies)
        buckets = Buckets(self._node, small_bodies)
        admin = Admin(self._node)
        types = BucketTypes(self._node, small_bodies)
        info = self._info
        metrics = Metrics(
            (*self._node.operations.figures, *self.figures), self._node.config.node_id
        )

        def get(handler: Handler) -> dict[str, Handler]:
            return {"HEAD": handler, "GET": handler}

        properties = {**get(buckets.read_properties), "PUT": buckets.change_properties}
        return {
            Resource.ROOT: get(info.root),
            Resource.PING: get(info.ping),
            Resource.STATS: get(info.stats),
            Resource.METRICS: get(metrics.scrape),
            Resource.DESCRIPTION: get(Description().read),
            Resource.OBJECT: {
                **get(objects.read),
                "POST": objects.store,
                "PUT": objects.store,
                "DELETE": objects.delete,
            },
            Resource.PREFLIST: get(Preflist(self._node).read),
            Resource.KEYS: {**get(buckets.keys), "POST": objects.store},
            Resource.BUCKETS: get(buckets.buckets),
            Resource.OLD_BUCKET: {
                **get(buckets.keys),
                "PUT": buckets.change_properties,
                "POST": objects.store,
            },
            Resource.BUCKET_PROPERTIES: {**properties, "DELETE": buckets.reset_properties},
            Resource.TYPE_PROPERTIES: properties,
            Resource.ADMIN_MEMBERS: get(admin.members),
            Resource.ADMIN_MEMBER: {"DELETE": admin.remove},
            Resource.ADMIN_RING: get(admin.ring),
            Resource.ADMIN_LOCATE: get(admin.locate),
            Resource.ADMIN_LOCAL: get(admin.local),
            Resource.ADMIN_HINTS: get(admin.hints),
            Resource.ADMIN_HINTS_WAIT: {"POST": admin.wait_for_hints},
            Resource.ADMIN_DIVERGENCE: get(admin.divergence),
            Resource.ADMIN_TOMBSTONES: get(admin.tombstones),
            Resource.ADMIN_BUCKET_TYPES: get(types.list),
            Resource.ADMIN_BUCKET_TYPE: {**get(types.status), "PUT": types.create},
            Resource.ADMIN_BUCKET_TYPE_ACTIVATE: {"POST": types.activate},
        }

    # -- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen.

        Raises:
            StartupError: the address cannot be listened on.
        """
        address = self._config.http_address
        loop = asyncio.get_running_loop()
        self._connections = Connections(
            self._answer, self._broken, self._admission, self._refusal_bytes
        )
        try:
            self._listener = await loop.create_server(
                self._connections, address.host, address.port, backlog=BACKLOG
            )
        except OSError as error:
            reason = error.strerror or error
            raise StartupError(f"cannot listen on {address} for HTTP: {reason}") from error
        self._beaten_s = loop.time()
        self._beat = loop.call_later(BEAT_S, self._keep_time)

    def _keep_time(self) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        self._admission.beat(now_s - self._beaten_s)
        self._beaten_s = now_s
        self._info.look(now_s)
        self._beat = loop.call_later(BEAT_S, self._keep_time)

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._listener is not None, "not started"
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Take no more requests, let those at work end, then close all connections."""
        if self._beat is not None:
            self._beat.cancel()
        if self._listener is not None:
            self._listener.close()
        if self._connections is not None:
            self._connections.pre_shutdown()  # idle ones end at once
            # It waits so long for handlers to end, and as long again after it cancelled them.
            await self._connections.shutdown(STOP_S_MAX / 2)
        self._compressor.close()

    @property
    def methods(self) -> Mapping[Resource, frozenset[str]]:
        """What can be asked of each resource."""
        return {resource: frozenset(of_it) for resource, of_it in self._handlers.items()}

    @property
    def figures(self) -> tuple[Figure, ...]:
        """What the interface itself counts."""
        return (
            Gauge(
                "http_requests_in_flight", "requests at work now", lambda: self._admission.at_work
            ),
            Gauge(
                "http_requests_in_flight_limit", "more are refused", lambda: self._admission.limit
            ),
            Count("http_requests", "requests of clients", lambda: self._requests),
            Count("http_refused", "requests refused, most for overload", lambda: self._refused),
            Count("http_shed", "requests refused for what is at work already", lambda: self._shed),
            Count("node_get_fsm_rejected", "reads among those", lambda: self._shed_reads),
            Count(
                "node_put_fsm_rejected",
                "writes among those",
                lambda: self._shed - self._shed_reads,
            ),
            Count("http_failures", "requests that failed by a fault", lambda: self._failures),
            Gauge("http_connections", "connections of clients", self._connections_open),
            Gauge(
                "http_large_answers_bytes",
                "bytes of large answers on their way to clients",
                lambda: self._outgoing.on_the_way_bytes,
            ),
        )

    def _connections_open(self) -> int:
        return len(self._connections.connections) if self._connections else 0

    # -- requests --------------------------------------------------------------------------------

    async def _answer(self, request: web.BaseRequest) -> Answer:
        self._requests += 1
        connection = cast("Connection", request.protocol)
        if not connection.take_let_in():
            if self._is_refused(request):
                self._note_shed(request.method)
                return Answer(request, self._refusal(request.method), self._head_stamp())
            self._admission.begin()
        try:
            reply = await self._reply_or_failure(request)
            if (
                type(reply) is Reply
                and (size := len(reply.body)) > LARGE_BYTES
                and request.method != "HEAD"
            ):
                if self._outgoing.take(size):
                    return await self._large_answer(request, reply, size)
                del reply  # before it waits for what it takes
                return await self._large_answer_later(request, size)
            if takes_gzip(request.headers.get("Accept-Encoding")):
                reply = await self._compressor.compressed(reply)
        finally:
            self._admission.end()
        answer = Answer(request, reply, self._head_stamp())
        if connection.is_worn and connection.is_last:
            answer.end_connection()
        return answer

    async def _large_answer(
        self, request: web.BaseRequest, reply: Reply | Stream, size: int
    ) -> Answer:
        """Room for `size` bytes is taken; it is given back when the answer is gone."""
        try:
            if takes_gzip(request.headers.get("Accept-Encoding")):
                reply = await self._compressor.compressed(reply)
        except BaseException:
            self._outgoing.give_back(size)
            raise
        now = len(reply.body) if type(reply) is Reply else 0
        self._outgoing.give_back(size - now)
        gone = partial(self._outgoing.give_back, now)
        answer = Answer(request, reply, self._head_stamp(), gone)
        connection = cast("Connection", request.protocol)
        if connection.is_worn and connection.is_last:
            answer.end_connection()
        return answer

    async def _large_answer_later(self, request: web.BaseRequest, size: int) -> Answer:
        """There was no room: wait for it, and ask again; but nothing is written twice."""
        try:
            if request.method in _WRITING:
                raise self._outgoing.overloaded(definite=False)
            await self._outgoing.wait(size)
        except Overloaded as error:
            return Answer(request, self._reply_to(error, request), self._head_stamp())
        try:
            reply = await self._reply_or_failure(request)
        except BaseException:
            self._outgoing.give_back(size)
            raise
        return await self._large_answer(request, reply, size)

    async def _reply_or_failure(self, request: web.BaseRequest) -> Reply | Stream:
        try:
            return await self._reply(request)
        except DynamoError as error:
            return self._reply_to(error, request)
        except Exception:
            log.exception("a handler failed", extra={"method": request.method})
            self._failures += 1
            return _failed(request.method, text(500, "internal error\n"), None)

    def _is_refused(self, request: web.BaseRequest) -> bool:
        if self._admission.is_full:
            return True
        return self._admission.is_closed and request.raw_path.startswith(DATA_PATHS)

    def _note_shed(self, method: str) -> None:
        self._refused += 1
        self._shed += 1
        if method not in _WRITING:
            self._shed_reads += 1

    def _refusal(self, method: str) -> Reply:
        if self._admission.is_full:
            sentence = f"{self._admission.at_work} requests are at work, that is the most\n"
        else:
            sentence = f"more than {self._config.queue_s_max:g} s of work wait here\n"
        return _failed(method, text(503, sentence), None)

    def _refusal_bytes(self, method: str) -> bytes:
        """The whole answer to a request that is refused as it is read."""
        self._requests += 1
        self._note_shed(method)
        stamp = self._head_stamp()
        refusal = self._refusals.get(method)
        if refusal is None:
            refusal = self._refusals[method] = whole(method, self._refusal(method), stamp)
        return refusal

    async def _reply(self, request: web.BaseRequest) -> Reply | Stream:
        path, _, query = request.raw_path.partition("#")[0].partition("?")
        route = resolve(path)
        if route is None:
            return NO_PATH
        resource, target = route
        handlers = self._handlers[resource]
        handler = handlers.get(request.method)
        if handler is None:
            if request.method not in _KNOWN_METHODS:
                return NOT_IMPLEMENTED
            return page(405, f"Allow: {', '.join(_advertised(resource, handlers))}\r\n")
        if _is_forged(request.headers):
            return FORBIDDEN
        if not self._node.serving and resource not in _ALWAYS_THERE:
            raise NotReady("joining")
        return await handler(request, target, query)

    def _reply_to(self, error: DynamoError, request: web.BaseRequest) -> Reply:
        method = request.method
        said = f"{error}\n"
        if isinstance(error, BadRequest):
            return text(400, said)
        if isinstance(error, RequestError):
            reply = text(503, said)
            if isinstance(error, QuorumError) and error.what in _UNTYPED and method == "DELETE":
                reply = reply._replace(head="Content-Type: text/html\r\n")
            if isinstance(error, NotReady | Overloaded):
                self._refused += 1
            return _failed(method, reply, error)
        if isinstance(error, CodecError):
            log.error("what is held makes no sense", extra={"reason": str(error)})
            return _failed(method, text(503, said), error)
        log.error("a request failed", exc_info=error, extra={"method": method})
        self._failures += 1
        return _failed(method, text(500, f"Error:\n{said}"), error)

    def _broken(self, request: web.BaseRequest, exc: BaseException | None, said: str) -> Answer:
        """The answer to what is no HTTP request."""
        if exc is not None:
            # Its frames hold the connection, and that holds it: 30 KB until garbage is collected.
            exc.__traceback__ = None
        if isinstance(exc, BadHttpMethod):
            reply = NOT_IMPLEMENTED
        elif isinstance(exc, Overloaded):
            self._refused += 1
            reply = _failed("PUT", text(503, f"{said}\n"), exc)  # which method it is, nobody knows
        elif isinstance(exc, BadRequest):
            reply = text(431, f"{said}\n")
        else:
            reason = said.partition("\n")[0].rstrip(":")
            reply = text(400, f"not a request: {reason}\n")
        return Answer(request, reply._replace(close=True), self._head_stamp())

    def _head_stamp(self) -> str:
        """Header lines that all answers of this second have."""
        now_s = self._node.wall_ms() // 1000
        if now_s != self._stamped_at_s:
            self._stamped_at_s = now_s
            self._refusals.clear()
            self._stamp = f"Date: {http_date(now_s * 1000)}\r\nServer: dynamo\r\n"
        return self._stamp


def _failed(method: str, reply: Reply, error: DynamoError | None) -> Reply:
    """`reply` to a request that failed, with what a client needs to know to go on."""
    head = reply.head
    body = reply.body
    if reply.status == 503:
        head += RETRY
    if method in _WRITING:
        definite = reply.status == 503 if error is None else error.definite
        acks = error.acks if isinstance(error, RequestError) else 0
        head += f"X-Dynamo-Acks: {acks}\r\nX-Dynamo-Definite: {str(definite).lower()}\r\n"
        if reply.status == 503 and not definite:
            body += _in_doubt(acks)
    if error is not None and error.receipt:
        head += receipt_line(error.receipt)
    return reply._replace(head=head, body=body)


def _in_doubt(acks: int) -> bytes:
    """What is known of a write that failed and cannot be taken back."""
    nodes = {0: "no node that is known of", 1: "1 node"}.get(acks, f"{acks} nodes")
    return f"stored by {nodes}; it may still take effect\n".encode()


def _advertised(resource: Resource, handlers: Mapping[str, Handler]) -> list[str]:
    """Methods for `Allow`.

    A list of keys does not mention that objects can be posted to it: these are two resources on one
    path, and Riak speaks of the one that a GET would find.
    """
    lists = resource in (Resource.KEYS, Resource.OLD_BUCKET)
    return [method for method in handlers if not (lists and method == "POST")]


def _is_forged(headers: Mapping[str, str]) -> bool:
    """Whether a page of another origin made a browser send this (Riak's checks)."""
    if headers.get("Origin") == "null":
        return True
    referer = headers.get("Referer")
    if referer is None:
        return False
    try:
        origin = urlsplit(referer)
        return origin.scheme != "http" or origin.netloc.lower() != headers.get("Host", "").lower()
    except ValueError:
        return True
