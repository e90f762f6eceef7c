"""A node that commands ask: it answers with what it was told to, over real HTTP."""

import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.test_utils import TestServer
from rich.console import Console

from dynamo.ask import Target

Response = tuple[int, bytes, Mapping[str, str]]

NOT_FOUND: Response = (404, b"not found\n", {"Content-Type": "text/plain"})


@dataclass
class FakeNode:
    """Answers with what it was told to, and keeps what it was asked."""

    answers: dict[str, Response] = field(default_factory=dict)
    asked: list[tuple[str, str, str, bytes]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        asked = (request.method, request.path, request.query_string, await request.read())
        self.asked.append(asked)
        self.headers.append({name.lower(): text for name, text in request.headers.items()})
        status, body, headers = self.answers.get(f"{request.method} {request.path}", NOT_FOUND)
        return web.Response(status=status, body=body, headers=headers)

    def says(
        self, what: str, *, status: int = 200, body: bytes = b"", headers: Mapping[str, str] = {}
    ) -> None:
        self.answers[what] = (status, body, headers)

    def reports(self, path: str, report: object) -> None:
        headers = {"Content-Type": "application/json"}
        self.says(f"GET {path}", body=json.dumps(report).encode(), headers=headers)

    @property
    def address(self) -> str:
        return self.url.removeprefix("http://")

    def target(self, key: str = "k") -> Target:
        return Target(urls=[self.url], bucket_type="default", bucket="b", key=key, timeout_s=5.0)


@asynccontextmanager
async def fake_node(fake: FakeNode | None = None) -> AsyncIterator[FakeNode]:
    fake = fake or FakeNode()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.answer)
    async with TestServer(app) as server:
        fake.url = str(server.make_url("")).rstrip("/")
        yield fake


def printed(console: Console) -> list[list[str]]:
    assert isinstance(console.file, io.StringIO)
    return [line.split() for line in console.file.getvalue().splitlines()]
