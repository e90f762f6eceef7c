"""What the commands that use a cluster print, and the status they exit with."""

import io
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from rich.console import Console

from dynamo.ask import Exit, Target, delete, get, locate, put, status
from dynamo.client.errors import BadAnswer, Unreachable
from dynamo.errors import BadRequest

CONTEXT = "Y29udGV4dA=="

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
async def fake_node() -> AsyncIterator[FakeNode]:
    fake = FakeNode()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.answer)
    async with TestServer(app) as server:
        fake.url = str(server.make_url("")).rstrip("/")
        yield fake


@pytest.fixture
async def node() -> AsyncIterator[FakeNode]:
    async with fake_node() as fake:
        yield fake


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200, soft_wrap=True)


def printed(console: Console) -> list[list[str]]:
    assert isinstance(console.file, io.StringIO)
    return [line.split() for line in console.file.getvalue().splitlines()]


VALUE = "GET /buckets/b/keys/k"
SHOWN = {"X-Riak-Vclock": CONTEXT, "Content-Type": "text/plain"}
SIBLINGS = {
    "X-Riak-Vclock": CONTEXT,
    "Content-Type": "multipart/mixed; boundary=x",
}
TWO = (
    b"\r\n--x\r\nContent-Type: text/plain\r\n\r\nred"
    b"\r\n--x\r\nContent-Type: text/plain\r\nX-Riak-Meta-who: me\r\n\r\ngreen\r\n--x--\r\n"
)


async def test_a_value_is_printed_byte_for_byte(
    node: FakeNode, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    node.says(VALUE, body=b"\xff\x00red", headers=SHOWN)
    assert await get(node.target(), r=None, as_json=False) is Exit.DONE
    assert capfdbinary.readouterr().out == b"\xff\x00red"


async def test_a_terminal_gets_a_line_end_after_the_value(
    node: FakeNode, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    node.says(VALUE, body=b"red", headers=SHOWN)
    await get(node.target(), r=None, as_json=False)
    assert capsys.readouterr().out == "red\n"


async def test_a_read_asks_for_as_many_replicas_as_it_was_told(node: FakeNode) -> None:
    node.says(VALUE, body=b"red", headers=SHOWN)
    await get(node.target(), r="all", as_json=True)
    assert "r=all" in node.asked[0][2].split("&")


async def test_a_missing_key_has_a_status_of_its_own(
    node: FakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await get(node.target(), r=None, as_json=False) is Exit.NOT_FOUND
    assert capsys.readouterr() == ("", "not found\n")


async def test_siblings_are_all_shown_with_the_write_that_settles_them(
    node: FakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    node.says("GET /buckets/b/keys/a key", status=300, body=TWO, headers=SIBLINGS)
    assert await get(node.target("a key"), r=None, as_json=False) is Exit.SIBLINGS
    assert capsys.readouterr().out.splitlines() == [
        "--- sibling 1 of 2: text/plain, 3 bytes",
        "red",
        "--- sibling 2 of 2: text/plain, 5 bytes",
        "green",
        "--- 2 concurrent writes; a write with this context replaces them:",
        f"dynamo put --context {CONTEXT} --type default b 'a key' VALUE",
    ]


async def test_json_shows_siblings_whole(
    node: FakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    node.says(VALUE, status=300, body=TWO.replace(b"red", b"\xff"), headers=SIBLINGS)
    assert await get(node.target(), r=None, as_json=True) is Exit.SIBLINGS
    assert json.loads(capsys.readouterr().out) == {
        "context": CONTEXT,
        "siblings": [
            {"content_type": "text/plain", "deleted": False, "meta": {}, "body_base64": "/w=="},
            {
                "content_type": "text/plain",
                "deleted": False,
                "meta": {"who": "me"},
                "body": "green",
            },
        ],
    }


async def test_a_write_carries_its_context_and_type(node: FakeNode) -> None:
    node.says("PUT /buckets/b/keys/k", status=204)
    outcome = await put(node.target(), b"red", content_type="text/x", context=CONTEXT, w=2)
    assert outcome is Exit.DONE
    (method, path, query, body) = node.asked[0]
    assert (method, path, body) == ("PUT", "/buckets/b/keys/k", b"red")
    assert {"w=2", "dw=2"} <= set(query.split("&"))
    assert node.headers[0]["x-riak-vclock"] == CONTEXT
    assert node.headers[0]["content-type"] == "text/x"


async def test_a_context_that_is_none_is_refused_before_anything_is_sent(node: FakeNode) -> None:
    with pytest.raises(BadRequest, match="not a context"):
        await put(node.target(), b"red", content_type="text/x", context="!", w=None)
    with pytest.raises(BadRequest, match="not a context"):
        await delete(node.target(), context="!", r=None, w=None)
    assert node.asked == []


async def test_a_delete_says_whether_there_was_something(
    node: FakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await delete(node.target(), context=None, r=None, w=None) is Exit.NOT_FOUND
    assert capsys.readouterr().err == "not found\n"
    node.says("DELETE /buckets/b/keys/k", status=204)
    assert await delete(node.target(), context=None, r=None, w=None) is Exit.DONE


async def test_a_delete_asks_for_as_many_replicas_as_it_was_told(node: FakeNode) -> None:
    await delete(node.target(), context=None, r="one", w=1)
    assert {"r=one", "w=1", "dw=1"} <= set(node.asked[0][2].split("&"))


async def test_a_deleted_sibling_is_shown_as_deleted(
    node: FakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    deleted = TWO.replace(b"X-Riak-Meta-who: me", b"X-Riak-Deleted: true").replace(b"green", b"")
    node.says(VALUE, status=300, body=deleted, headers=SIBLINGS)
    assert await get(node.target(), r=None, as_json=False) is Exit.SIBLINGS
    assert "--- sibling 2 of 2: deleted" in capsys.readouterr().out.splitlines()


def holder(node: str, opinion: str = "up") -> dict[str, str]:
    return {"node": node, "http": f"{node}:8098", "opinion": opinion}


LOCATED = {
    "partition": 17,
    "primaries": [holder("n2"), holder("n3", "suspect")],
    "stand_ins": [holder("n1")],
}


async def test_locate_shows_primaries_before_stand_ins(node: FakeNode, console: Console) -> None:
    node.reports("/admin/locate/types/default/buckets/b/keys/k", LOCATED)
    assert await locate(node.target(), console, as_json=False) is Exit.DONE
    first, _, *rows = printed(console)
    assert first == ["partition", "17"]
    assert rows == [
        ["n2", "primary", "n2:8098", "up"],
        ["n3", "primary", "n3:8098", "suspect"],
        ["n1", "stand-in", "n1:8098", "up"],
    ]


async def test_locate_gives_json_as_the_node_sent_it(
    node: FakeNode, console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    node.reports("/admin/locate/types/default/buckets/b/keys/k", LOCATED)
    await locate(node.target(), console, as_json=True)
    assert json.loads(capsys.readouterr().out) == LOCATED


async def test_a_report_that_is_none_is_an_error(node: FakeNode, console: Console) -> None:
    node.reports("/admin/locate/types/default/buckets/b/keys/k", {"partition": "x"})
    with pytest.raises(BadAnswer, match="a report that is none"):
        await locate(node.target(), console, as_json=False)


def member(
    node: str, http: str, *, state: str = "member", opinion: str = "up"
) -> dict[str, object]:
    return {
        "node": node,
        "state": state,
        "incarnation": 1,
        "rpc": "h:9098",
        "http": http,
        "zone": "",
        "weight": 1,
        "tokens": 64,
        "opinion": opinion,
        "phi": 0.0,
    }


async def test_status_counts_what_the_others_say(node: FakeNode, console: Console) -> None:
    async with fake_node() as second:
        port_of_nobody = unused_port()
        third = f"127.0.0.1:{port_of_nobody}"
        for fake, opinion in ((node, "up"), (second, "down")):
            members = [
                member("n1", node.address),
                member("n2", second.address),
                member("n3", third, opinion=opinion),
                member("n4", third, state="removed"),
            ]
            me = "n1" if fake is node else "n2"
            fake.reports("/admin/members", {"node": me, "cluster": "c", "members": members})
        assert await status([node.url], console, as_json=False) is Exit.DONE
    first, _, *rows = printed(console)
    assert " ".join(first) == "cluster c, 3 nodes, 2 answer"
    assert [row[:6] for row in rows] == [
        ["n1", "member", "up:", "1", "of", "1"],
        ["n2", "member", "up:", "1", "of", "1"],
        ["n3", "member", "up:", "1", "of", "2"],
    ]


async def test_status_in_json_has_the_same(
    node: FakeNode, console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = {"node": "n1", "cluster": "c", "members": [member("n1", node.address)]}
    node.reports("/admin/members", alone)
    await status([node.url], console, as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["cluster"] == "c"
    assert [(m["node"], m["up_say"], m["asked"]) for m in shown["members"]] == [("n1", 0, 0)]


async def test_status_of_nobody_is_an_error(console: Console) -> None:
    with pytest.raises(Unreachable):
        await status([f"http://127.0.0.1:{unused_port()}"], console, as_json=False)
