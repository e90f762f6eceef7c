"""A store of one copy that speaks as much of the interface as the lab's clients do, and never errs.

What a workload loses here it lost by itself. Tests may let it fail instead, request by request.
"""

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.test_utils import TestServer

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Object:
    """Siblings by number; None is a tombstone."""

    siblings: dict[int, bytes | None] = field(default_factory=dict)
    writes: int = 0


class LittleStore:
    """The store, and what it was asked.

    Attributes:
        requests: all of them.
        instead: what answers in its place; None for the store itself.
        siblings: the most that there ever were of one object.
    """

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.instead: Answer | None = None
        self.siblings = 0
        self._objects: dict[str, Object] = {}
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._server = TestServer(application)

    @property
    def url(self) -> str:
        return str(self._server.make_url("")).rstrip("/")

    def values(self, path: str) -> list[str]:
        held = self._objects.get(path, Object()).siblings.values()
        return [value.decode() for value in held if value is not None]

    async def start(self) -> None:
        await self._server.start_server()

    async def stop(self) -> None:
        await self._server.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        body = await request.read()
        if self.instead is not None:
            return await self.instead(request)
        held = self._objects.setdefault(request.path, Object())
        if request.method == "GET":
            return _shown(held)
        context = request.headers.get("X-Riak-Vclock")
        seen = set(json.loads(base64.b64decode(context))) if context else set()
        if request.path.startswith("/types/lww/"):
            seen = set(held.siblings)
        held.siblings = {n: value for n, value in held.siblings.items() if n not in seen}
        held.writes += 1
        held.siblings[held.writes] = None if request.method == "DELETE" else body
        self.siblings = max(self.siblings, len(held.siblings))
        return _shown(held) if "returnbody" in request.query else web.Response(status=204)


def _shown(held: Object) -> web.Response:
    context = {"X-Riak-Vclock": base64.b64encode(json.dumps(list(held.siblings)).encode()).decode()}
    if not held.siblings:
        return web.Response(status=404, text="not found\n")
    if set(held.siblings.values()) == {None}:
        return web.Response(
            status=404, text="not found\n", headers={"X-Riak-Deleted": "true"} | context
        )
    if len(held.siblings) == 1:
        [value] = held.siblings.values()
        return web.Response(body=value, content_type="text/plain", headers=context)
    parts = [
        b"\r\n--x\r\nX-Riak-Deleted: true\r\n\r\n"
        if value is None
        else b"\r\n--x\r\nContent-Type: text/plain\r\n\r\n" + value
        for value in held.siblings.values()
    ]
    headers = {"Content-Type": "multipart/mixed; boundary=x"} | context
    return web.Response(status=300, body=b"".join(parts) + b"\r\n--x--\r\n", headers=headers)


@asynccontextmanager
async def little_store() -> AsyncIterator[LittleStore]:
    made = LittleStore()
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
