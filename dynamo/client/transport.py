"""Requests over aiohttp: which endpoint, how long, and when it is safe to try another.

A request goes to one endpoint after the other until one answers, all within one deadline. It is
repeated only if it may be, as a read may, or the failure is definite: a write whose fate is unknown
may have been applied, and a second one would be a concurrent write of its own.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import aiohttp
from yarl import URL

from dynamo.client.answers import Answer, expect, failure
from dynamo.client.endpoints import Endpoints
from dynamo.client.errors import BadAnswer, Lost, Unreachable
from dynamo.client.headers import RECEIPT
from dynamo.client.paths import Option, query_text
from dynamo.errors import BadRequest, DeadlineExceeded, DynamoError

_CONNECTIONS_MAX = 100
_HEADER_BYTES_MAX = 2**20
"""A node takes lines of 64 KiB, and writes links longer than it was given them."""

_HEADERS_MAX = 2000  # a node takes 1,000, shows those that it keeps and adds its own
_ANSWER_BYTES_MAX = 1 << 30  # a hundred siblings of 10 MB each

_SERVER_SHARE = 0.9
"""Of the time an attempt has, what the server is told: its own answer says how far a write got."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, whichever endpoint it goes to.

    Attributes:
        is_idempotent: it changes something, and done twice it is as good as done once.
    """

    method: str
    path: str
    options: Sequence[Option] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    is_idempotent: bool = False

    @property
    def is_read(self) -> bool:
        """It has no effect."""
        return self.method == "GET"

    @property
    def may_be_repeated(self) -> bool:
        """Whether it may be sent again at will."""
        return self.is_read or self.is_idempotent


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """One endpoint's turn at a request.

    Attributes:
        dial_s: how long connecting may take.
        answer_s: how long all of it may take.
    """

    url: str
    dial_s: float
    answer_s: float


def checked_timeout_s(timeout_s: float) -> float:
    """The same, if one can wait that long.

    Raises:
        BadRequest: it is no finite positive number.
    """
    try:
        good = 0 < timeout_s < math.inf
    except TypeError:  # whoever calls without a type checker
        good = False
    if not good:
        raise BadRequest(f"timeout_s is {timeout_s!r:.80}, but must be a finite positive number")
    return timeout_s


class Transport:
    """The connections to the endpoints of one cluster; made inside a running loop."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._now_s = asyncio.get_running_loop().time
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS_MAX),
            cookie_jar=aiohttp.DummyCookieJar(),
            # A stored Content-Encoding is the application's business: bytes come as they went.
            auto_decompress=False,
            skip_auto_headers=("Accept-Encoding", "Content-Type"),
            max_line_size=_HEADER_BYTES_MAX,
            max_field_size=_HEADER_BYTES_MAX,
            max_headers=_HEADERS_MAX,
            middlewares=(_send_once,),
        )

    async def close(self) -> None:
        await self._session.close()

    async def exchange(self, request: Request, timeout_s: float) -> Answer:
        """The answer of the first endpoint that gives one below 500.

        Raises:
            BadRequest: `timeout_s` is no finite positive number.
            Unreachable, Lost, Unavailable, BadAnswer, QuorumError, DeadlineExceeded: what the last
                endpoint tried came to.
        """

        async def whole(attempt: _Attempt) -> Answer:
            async with asyncio.timeout(attempt.answer_s):
                return await _read(await self._open(request, attempt))

        return await self._first(request, self._now_s() + checked_timeout_s(timeout_s), whole)

    async def stream(self, request: Request, timeout_s: float) -> AsyncIterator[bytes]:
        """The body of a 200 as it arrives, from the first endpoint that gives one.

        Raises:
            Refused: the server says that the request is wrong.
            Unreachable, Lost, Unavailable, BadAnswer, QuorumError, DeadlineExceeded: as `exchange`,
                or the stream broke off.
        """
        deadline_s = self._now_s() + checked_timeout_s(timeout_s)

        async def opened(attempt: _Attempt) -> aiohttp.ClientResponse:
            async with asyncio.timeout(attempt.answer_s):
                response = await self._open(request, attempt)
                if response.status != 200:
                    expect(await _read(response), 200, read=True)
                return response

        response = await self._first(request, deadline_s, opened)
        try:
            while True:
                with _translated(request, str(response.url.origin())):
                    async with asyncio.timeout(deadline_s - self._now_s()):
                        chunk = await response.content.readany()
                if not chunk:
                    return
                yield chunk
        finally:
            response.close()

    async def _first(
        self, request: Request, deadline_s: float, answer: Callable[[_Attempt], Awaitable[_T]]
    ) -> _T:
        """What the first endpoint with an answer answers."""
        *others, last = self._endpoints.order(self._now_s())
        is_in_doubt = False
        for url in others:
            left_s = deadline_s - self._now_s()
            # While there are others to ask, a silent endpoint gets half of what is left. A write
            # that was sent cannot go to another, so it may as well wait.
            answer_s = left_s / 2 if request.may_be_repeated else left_s
            try:
                attempt = _Attempt(url=url, dial_s=left_s / 2, answer_s=answer_s)
                return await self._try(request, attempt, answer)
            except BadRequest:
                raise  # another endpoint would say the same
            except DynamoError as error:
                is_in_doubt = is_in_doubt or not error.definite
                may_go_on = error.definite or request.may_be_repeated
                if not may_go_on or self._now_s() >= deadline_s:
                    error.definite = not is_in_doubt
                    raise
        left_s = deadline_s - self._now_s()
        try:
            attempt = _Attempt(url=last, dial_s=left_s, answer_s=left_s)
            return await self._try(request, attempt, answer)
        except DynamoError as error:
            error.definite = error.definite and not is_in_doubt
            raise

    async def _try(
        self, request: Request, attempt: _Attempt, answer: Callable[[_Attempt], Awaitable[_T]]
    ) -> _T:
        try:
            with _translated(request, attempt.url):
                answered = await answer(attempt)
        except (Unreachable, Lost, DeadlineExceeded):
            self._endpoints.failed(attempt.url, self._now_s())
            raise
        self._endpoints.worked(attempt.url)
        return answered

    async def _open(self, request: Request, attempt: _Attempt) -> aiohttp.ClientResponse:
        """Send the request and wait for the head of its answer."""
        server_ms = max(1, int(attempt.answer_s * _SERVER_SHARE * 1000))
        query = query_text([*request.options, ("timeout", server_ms)])
        return await self._session.request(
            request.method,
            URL(f"{attempt.url}{request.path}?{query}", encoded=True),
            headers=request.headers,
            data=request.body,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=attempt.dial_s),
        )


class _Ended(aiohttp.ClientError):
    """A connection ended under a request; unlike aiohttp's own kinds, it is not sent again."""


async def _send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from repeating a request by itself.

    It does so for PUT and DELETE too when a kept-alive connection ends before the answer. The node
    may have died after applying the write, and the second try would then report a refused
    connection: a write in doubt would look like one that certainly did not happen.
    """
    try:
        return await handler(request)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _Ended(str(error) or "the server closed it") from error


@contextmanager
def _translated(request: Request, url: str) -> Iterator[None]:
    """Turn what aiohttp raises into this client's errors."""
    read = request.is_read
    try:
        yield
    except aiohttp.ClientConnectorError as error:
        raise Unreachable(f"cannot connect to {url}: {error.os_error}") from error
    except aiohttp.ConnectionTimeoutError as error:
        raise Unreachable(f"cannot connect to {url} in time") from error
    except TimeoutError as error:
        raise DeadlineExceeded(f"no answer from {url} in time", definite=read) from error
    except aiohttp.ClientResponseError as error:
        raise BadAnswer(f"{url} does not speak HTTP: {error.message}", definite=read) from error
    except (aiohttp.ClientError, OSError) as error:
        raise Lost(f"the connection to {url} ended: {error}", definite=read) from error


async def _read(response: aiohttp.ClientResponse) -> Answer:
    """The whole answer, if its status is below 500.

    Raises:
        Unavailable, QuorumError, DeadlineExceeded: the server says that it failed.
    """
    read = response.method == "GET"
    body = bytearray()
    async with response:
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > _ANSWER_BYTES_MAX:
                raise BadAnswer(f"an answer of over {_ANSWER_BYTES_MAX} bytes", definite=read)
    headers: dict[str, str] = {}
    for name, text in response.headers.items():
        name = name.lower()
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    answer = Answer(status=response.status, headers=headers, body=bytes(body))
    error = failure(answer, read=read)
    if error is not None:
        error.receipt = headers.get(RECEIPT, "")
        raise error
    return answer
