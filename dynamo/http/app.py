"""The HTTP interface of a node: who is listened to, who is let in, and what leaves.

aiohttp's low-level server does the protocol. A request passes the door (`admission`), its handler
answers (`router`), an error becomes a status (`failures`), and what is large waits for room on its
way out (`outgoing`).
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, cast

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod

from dynamo.config import NodeConfig
from dynamo.core.figures import Count, Figure, Gauge
from dynamo.errors import BadRequest, CodecError, DynamoError, NotReady, Overloaded, StartupError
from dynamo.http.admission import BEAT_S, Admission
from dynamo.http.compression import Compressor
from dynamo.http.connections import Connection, Connections
from dynamo.http.exchange import Answer, whole
from dynamo.http.failures import WRITING, failed, reply_to
from dynamo.http.framing import DATA_PATHS
from dynamo.http.negotiation import takes_gzip
from dynamo.http.outgoing import LARGE_BYTES, Outgoing
from dynamo.http.render import http_date
from dynamo.http.reply import NOT_IMPLEMENTED, Reply, Stream, text
from dynamo.http.router import Router
from dynamo.http.routes import Resource
from dynamo.http.served import ServedNode
from dynamo.http.server_info import ServerInfo

log = logging.getLogger(__name__)

STOP_S_MAX = 4.0
"""How long requests at work may take to end when the node stops."""

BACKLOG: Final = 1024
_BODIES_AT_ONCE_MIN: Final = 4


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
        self._router = Router(
            node, self._info, self.figures, reading_bytes_max=self._bytes_at_once_max
        )
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
        return self._router.methods

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
        return self._leaving(request, reply)

    def _leaving(
        self,
        request: web.BaseRequest,
        reply: Reply | Stream,
        gone: Callable[[], None] | None = None,
    ) -> Answer:
        answer = Answer(request, reply, self._head_stamp(), gone)
        connection = cast("Connection", request.protocol)
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
        return self._leaving(request, reply, partial(self._outgoing.give_back, now))

    async def _large_answer_later(self, request: web.BaseRequest, size: int) -> Answer:
        """There was no room: wait for it, and ask again; but nothing is written twice."""
        try:
            if request.method in WRITING:
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
            return await self._router.reply(request)
        except DynamoError as error:
            return self._reply_to(error, request)
        except Exception:
            log.exception("a handler failed", extra={"method": request.method})
            self._failures += 1
            return failed(request.method, text(500, "internal error\n"), None)

    def _is_refused(self, request: web.BaseRequest) -> bool:
        if self._admission.is_full:
            return True
        return self._admission.is_closed and request.raw_path.startswith(DATA_PATHS)

    def _note_shed(self, method: str) -> None:
        self._refused += 1
        self._shed += 1
        if method not in WRITING:
            self._shed_reads += 1

    def _refusal(self, method: str) -> Reply:
        if self._admission.is_full:
            sentence = f"{self._admission.at_work} requests are at work, that is the most\n"
        else:
            sentence = f"more than {self._config.queue_s_max:g} s of work wait here\n"
        return failed(method, text(503, sentence), None)

    def _refusal_bytes(self, method: str) -> bytes:
        """The whole answer to a request that is refused as it is read."""
        self._requests += 1
        self._note_shed(method)
        stamp = self._head_stamp()
        refusal = self._refusals.get(method)
        if refusal is None:
            refusal = self._refusals[method] = whole(method, self._refusal(method), stamp)
        return refusal

    def _reply_to(self, error: DynamoError, request: web.BaseRequest) -> Reply:
        reply = reply_to(error, request.method)
        if isinstance(error, NotReady | Overloaded):
            self._refused += 1
        elif isinstance(error, CodecError):
            log.error("what is held makes no sense", extra={"reason": str(error)})
        elif reply.status == 500:
            log.error("a request failed", exc_info=error, extra={"method": request.method})
            self._failures += 1
        return reply

    def _broken(self, request: web.BaseRequest, exc: BaseException | None, said: str) -> Answer:
        """The answer to what is no HTTP request."""
        if exc is not None:
            # Its frames hold the connection, and that holds it: 30 KB until garbage is collected.
            exc.__traceback__ = None
        if isinstance(exc, BadHttpMethod):
            reply = NOT_IMPLEMENTED
        elif isinstance(exc, Overloaded):
            self._refused += 1
            reply = failed("PUT", text(503, f"{said}\n"), exc)  # which method it is, nobody knows
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
