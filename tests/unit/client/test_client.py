"""The client against nodes that answer by a script: fail-over, deadlines, nothing sent twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from dynamo.client.client import Client
from dynamo.client.errors import (
    BadAnswer,
    Conflict,
    Lost,
    Refused,
    Unavailable,
    Unreachable,
)
from dynamo.client.values import Context
from dynamo.core.values import Value
from dynamo.errors import BadRequest, ConfigError, DeadlineExceeded, DynamoError, QuorumError

Answers = Callable[[web.Request], Awaitable[web.StreamResponse]]

VCLOCK = {"X-Riak-Vclock": "AQI="}
CONTEXT = Context(b"\1\2")
HELLO = Value(body=b"hello", content_type="text/plain")


class Node:
    """A node that answers by a script, the last line for ever, and notes what it was asked."""

    def __init__(self, script: Sequence[Answers]) -> None:
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self._script = list(script)
        self.server = TestServer(self._application())

    @property
    def url(self) -> str:
        return str(self.server.make_url("")).rstrip("/")

    def _application(self) -> web.Application:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        return application

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        answer = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        return await answer(request)


@asynccontextmanager
async def node(*script: Answers) -> AsyncIterator[Node]:
    made = Node(script)
    await made.server.start_server()
    try:
        yield made
    finally:
        await made.server.close()


def says(status: int, body: bytes = b"", **headers: str) -> Answers:
    lines = {name.replace("_", "-"): text for name, text in headers.items()}

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=lines)

    return answer


def shows(body: bytes = b"hello", status: int = 200, content_type: str = "text/plain") -> Answers:
    return says(status, body, Content_Type=content_type, X_Riak_Vclock="AQI=")


async def hangs_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def is_silent(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


MISSING = says(404, b"not found\n", Content_Type="text/plain")
STORED = says(204)


def refusing_url() -> str:
    return f"http://127.0.0.1:{unused_port()}"


async def test_a_value_is_read_with_its_context() -> None:
    async with node(shows()) as one, Client([one.url]) as client:
        found = await client.bucket("b").get("k", r=2, pr="one", notfound_ok=False)
    assert found.value == HELLO
    assert found.context == CONTEXT
    (request,) = one.requests
    assert (request.method, request.path) == ("GET", "/buckets/b/keys/k")
    query = dict(request.query)
    assert 0 < int(query.pop("timeout")) <= 10_000
    assert query == {"r": "2", "pr": "one", "notfound_ok": "false"}


async def test_a_missing_key_is_no_error() -> None:
    async with node(MISSING) as one, Client([one.url]) as client:
        found = await client.bucket("b").get("k")
    assert (found.value, found.context) == (None, None)


async def test_names_go_out_quoted() -> None:
    async with node(MISSING) as one, Client([one.url]) as client:
        await client.bucket("a b", bucket_type=b"\xff").get("x/../é")
    assert one.requests[0].raw_path.split("?")[0] == (
        "/types/%FF/buckets/a%20b/keys/x%2F..%2F%C3%A9"
    )


async def test_a_write_carries_its_context_and_all_that_travels_with_the_value() -> None:
    value = replace(HELLO, content_encoding="x-own", meta=(("color", "blue"),), body=b"\r\n\0\xff")
    async with node(STORED) as one, Client([one.url]) as client:
        await client.bucket("b").put("k", value, context=CONTEXT, w="all", dw=1)
    (request,) = one.requests
    assert request.method == "PUT"
    assert one.bodies == [b"\r\n\0\xff"]
    sent = {name: request.headers[name] for name in ("Content-Type", "Content-Encoding")}
    assert sent == {"Content-Type": "text/plain", "Content-Encoding": "x-own"}
    assert request.headers["X-Riak-Vclock"] == "AQI="
    assert request.headers["X-Riak-Meta-Color"] == "blue"
    assert (request.query["w"], request.query["dw"]) == ("all", "1")


async def test_plain_bytes_have_a_content_type_and_no_context() -> None:
    async with node(STORED) as one, Client([one.url]) as client:
        bucket = client.bucket("b")
        await bucket.put("k", b"")
        await bucket.put("k", b"x", content_type="a/b")
    assert [request.headers["Content-Type"] for request in one.requests] == [
        "application/octet-stream",
        "a/b",
    ]
    assert one.bodies == [b"", b"x"]
    assert "X-Riak-Vclock" not in one.requests[0].headers


async def test_a_stored_encoding_is_left_as_it_is() -> None:
    stored = says(200, b"no gzip", Content_Type="a/b", Content_Encoding="gzip", **VCLOCK)
    async with node(stored) as one, Client([one.url]) as client:
        value = (await client.bucket("b").get("k")).value
    assert value == Value(body=b"no gzip", content_type="a/b", content_encoding="gzip")
    assert "Accept-Encoding" not in one.requests[0].headers


async def test_siblings_are_shown_and_settled_by_the_resolver() -> None:
    body = (
        b"\r\n--x\r\nContent-Type: text/plain\r\n\r\n1\r\n2"
        b"\r\n--x\r\nContent-Type: text/plain\r\n\r\n3"
        b"\r\n--x\r\nContent-Type: application/octet-stream\r\nX-Riak-Deleted: true\r\n\r\n"
        b"\r\n--x--\r\n"
    )
    siblings = shows(body, 300, "multipart/mixed; boundary=x")
    async with node(siblings) as one, Client([one.url]) as client:
        plain = await client.bucket("b").get("k")
        settled = await client.bucket("b", resolve=lambda values: values[-1]).get("k")
    assert one.requests[0].headers["Accept"].startswith("multipart/mixed")
    assert [value.body for value in plain.values] == [b"1\r\n2", b"3"]
    assert len(plain.siblings) == 3
    with pytest.raises(Conflict):
        _ = plain.value
    assert settled.value == Value(body=b"3", content_type="text/plain")


async def test_a_write_can_show_what_it_left() -> None:
    async with node(shows()) as one, Client([one.url]) as client:
        found = await client.bucket("b").put_returning("k", HELLO)
    assert one.requests[0].query["returnbody"] == "true"
    assert (found.value, found.context) == (HELLO, CONTEXT)


async def test_a_delete_carries_the_context() -> None:
    async with node(STORED, MISSING) as one, Client([one.url]) as client:
        assert await client.bucket("b").delete("k", context=CONTEXT, pw=2)
        assert not await client.bucket("b").delete("k")
    first, second = one.requests
    assert (first.method, first.query["pw"]) == ("DELETE", "2")
    assert first.headers["X-Riak-Vclock"] == "AQI="
    assert "X-Riak-Vclock" not in second.headers


async def test_every_request_for_an_object_can_say_whether_stand_ins_count() -> None:
    async with node(shows(), shows(), STORED) as one, Client([one.url]) as client:
        bucket = client.bucket("b")
        await bucket.get("k", sloppy_quorum=False)
        await bucket.put_returning("k", HELLO, sloppy_quorum=True)
        await bucket.put("k", HELLO, sloppy_quorum=False)
        await bucket.delete("k", sloppy_quorum=False)
        await bucket.delete("k")
    said = [request.query.get("sloppy_quorum") for request in one.requests]
    assert said == ["false", "true", "false", "false", None]


async def test_an_update_carries_the_context_from_the_read_to_the_write() -> None:
    async with node(shows(b"1"), STORED) as one, Client([one.url]) as client:
        written = await client.bucket("b").update("k", lambda value: value and value.body + b"2")
    assert written == Value(body=b"12", content_type="text/plain")
    put = one.requests[1]
    assert (put.method, put.headers["X-Riak-Vclock"], one.bodies[1]) == ("PUT", "AQI=", b"12")
    assert put.headers["Content-Type"] == "text/plain"


async def test_an_update_may_leave_things_as_they_are() -> None:
    async with node(MISSING) as one, Client([one.url]) as client:
        assert await client.bucket("b").update("k", lambda value: None) is None
    assert [request.method for request in one.requests] == ["GET"]


async def test_a_refused_request_is_an_error_with_the_server_s_text() -> None:
    no = says(400, b'Bad timeout value "x"\n')
    async with node(no) as one, node(STORED) as two, Client([one.url, two.url]) as client:
        with pytest.raises(Refused, match="Bad timeout") as caught:
            await client.bucket("b").get("k")
    assert (caught.value.status, caught.value.definite) == (400, True)
    assert two.requests == []


async def test_endpoints_are_used_in_turn() -> None:
    async with node(STORED) as one, node(STORED) as two, Client([one.url, two.url]) as client:
        for _ in range(4):
            await client.bucket("b").put("k", b"")
    assert (len(one.requests), len(two.requests)) == (2, 2)


async def test_a_refused_connection_sends_any_request_to_the_next_endpoint() -> None:
    async with node(STORED) as one, Client([refusing_url(), one.url], rest_s=60) as client:
        bucket = client.bucket("b")
        await bucket.put("k", b"")
        assert await bucket.delete("k")
    assert len(one.requests) == 2


async def test_with_no_endpoint_left_nothing_was_sent() -> None:
    async with Client([refusing_url(), refusing_url()]) as client:
        with pytest.raises(
            Unreachable,
            match=r"cannot connect to http://127.0.0.1:\d+: .*refused|Connect call failed",
        ) as caught:
            await client.bucket("b").put("k", b"")
    assert caught.value.definite


async def test_a_read_goes_on_after_a_lost_connection_a_failure_and_nonsense() -> None:
    failed = says(503, b"R-value unsatisfied: 1/2\n")
    async with (
        node(hangs_up) as one,
        node(failed) as two,
        node(shows()) as three,
        Client([one.url, two.url, three.url]) as client,
    ):
        assert (await client.bucket("b").get("k")).value == HELLO
    assert [len(each.requests) for each in (one, two, three)] == [1, 1, 1]


async def test_a_silent_endpoint_costs_a_read_half_its_time_and_then_rests() -> None:
    async with (
        node(is_silent) as one,
        node(shows()) as two,
        Client([one.url, two.url], timeout_s=0.2, rest_s=60) as client,
    ):
        for _ in range(3):
            assert (await client.bucket("b").get("k")).value == HELLO
    assert (len(one.requests), len(two.requests)) == (1, 3)


async def test_the_deadline_covers_all_endpoints() -> None:
    async with (
        node(is_silent) as one,
        node(is_silent) as two,
        Client([one.url, two.url], timeout_s=0.1) as client,
    ):
        with pytest.raises(DeadlineExceeded) as caught:
            await client.bucket("b").get("k")
    assert caught.value.definite
    assert (len(one.requests), len(two.requests)) == (1, 1)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (hangs_up, Lost),
        (is_silent, DeadlineExceeded),
        (says(503, b"request timed out\n", X_Dynamo_Acks="1"), DeadlineExceeded),
        (says(503, b"W-value unsatisfied: 1/2\n", X_Dynamo_Definite="false"), QuorumError),
        (says(500, b"oops"), Unavailable),
    ],
)
async def test_a_write_in_doubt_is_never_sent_again(
    answer: Answers, error: type[DynamoError]
) -> None:
    async with (
        node(STORED, answer) as one,
        node(STORED) as two,
        Client([one.url, two.url], timeout_s=0.3) as client,
    ):
        bucket = client.bucket("b")
        # The first two leave a kept-alive connection to each, on which a client may be tempted.
        await bucket.put("k", b"")
        await bucket.put("k", b"")
        with pytest.raises(error) as caught:
            await bucket.put("k", b"")
    assert not caught.value.definite
    assert (len(one.requests), len(two.requests)) == (2, 1)


async def test_a_write_that_certainly_did_not_happen_goes_to_the_next_endpoint() -> None:
    no = says(503, b"PW-value unsatisfied: 1/2\n", X_Dynamo_Definite="true")
    async with node(no) as one, node(STORED) as two, Client([one.url, two.url]) as client:
        await client.bucket("b").put("k", b"")
    assert (len(one.requests), len(two.requests)) == (1, 1)


@pytest.mark.parametrize("first", [hangs_up, is_silent], ids=["lost", "silent"])
async def test_what_may_be_repeated_goes_to_the_next_endpoint_in_any_case(first: Answers) -> None:
    async with node(first) as deaf, node(says(204)) as good:
        changes: list[Callable[[Client], Awaitable[None]]] = [
            lambda client: client.create_bucket_type("t", {}),
            lambda client: client.update_bucket_type("t", {"r": 1}),
            lambda client: client.bucket("b").set_properties({"r": 1}),
            lambda client: client.bucket("b").reset_properties(),
        ]
        for change in changes:
            async with Client([deaf.url, good.url], timeout_s=0.2) as client:
                await change(client)
    assert len(deaf.requests) == len(good.requests) == 4


async def test_what_was_repeated_and_failed_in_the_end_is_in_doubt() -> None:
    async with node(hangs_up) as deaf, Client([deaf.url, refusing_url()]) as client:
        with pytest.raises(Unreachable) as failed:
            await client.create_bucket_type("t", {})
    assert not failed.value.definite


async def test_a_silent_endpoint_is_named() -> None:
    async with node(is_silent) as deaf, Client([deaf.url], timeout_s=0.05) as client:
        with pytest.raises(DeadlineExceeded, match=f"no answer from {deaf.url} in time"):
            await client.bucket_types()


async def test_as_many_and_as_long_header_lines_are_read_as_a_node_sends() -> None:
    link = ", ".join(f'</buckets/b/keys/{i:09}>; riaktag="t"' for i in range(2000))
    lines = {f"X_Riak_Meta_{i}": "x" for i in range(1000)}
    answer = says(200, b"x", X_Riak_Vclock="AQI=", Link=link, **lines)
    async with node(answer) as there, Client([there.url]) as client:
        [value] = (await client.bucket("b").get("k")).values
    assert (len(value.meta), len(value.links)) == (1000, 2000)


async def test_what_is_no_http_is_said_to_be_none() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Client([f"http://127.0.0.1:{port}"]) as client:
        with pytest.raises(BadAnswer, match="does not speak HTTP") as caught:
            await client.bucket("b").put("k", b"")
    assert not caught.value.definite


async def test_keys_are_given_as_they_stream_in() -> None:
    async def streams(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in (b'{"keys":["a",', b'"b"]}{"keys"', b':["\\u00e9"]}', b'{"keys":[]}'):
            await response.write(piece)
        return response

    async with node(streams) as one, Client([one.url]) as client:
        assert [key async for key in client.bucket("b").list_keys()] == ["a", "b", "é"]
    assert one.requests[0].path == "/buckets/b/keys"
    assert one.requests[0].query["keys"] == "stream"


async def test_a_listing_that_breaks_off_is_an_error() -> None:
    async with node(says(200, b'{"keys":["a"]}')) as one, Client([one.url]) as client:
        with pytest.raises(BadAnswer, match="breaks off"):
            _ = [key async for key in client.bucket("b").list_keys()]


async def test_a_listing_goes_to_the_next_endpoint() -> None:
    end = says(200, b'{"keys":[]}')
    async with node(end) as one, Client([refusing_url(), one.url]) as client:
        assert [key async for key in client.bucket("b").list_keys()] == []


async def test_a_listing_that_is_refused_is_refused_for_good() -> None:
    no = says(404, b"Unknown bucket type: t")
    async with node(no) as one, node(no) as two, Client([one.url, two.url]) as client:
        with pytest.raises(Refused, match="Unknown bucket type"):
            _ = [key async for key in client.bucket("b", bucket_type="t").list_keys()]
    assert (len(one.requests), len(two.requests)) == (1, 0)


async def test_properties_are_read_changed_and_reset() -> None:
    shown = says(200, b'{"props":{"n_val":3}}')
    async with node(shown, STORED, STORED) as one, Client([one.url]) as client:
        bucket = client.bucket("b", bucket_type="t")
        assert await bucket.properties() == {"n_val": 3}
        await bucket.set_properties({"allow_mult": True})
        await bucket.reset_properties()
    assert [(request.method, request.path) for request in one.requests] == [
        (method, "/types/t/buckets/b/props") for method in ("GET", "PUT", "DELETE")
    ]
    assert one.bodies[1] == b'{"props": {"allow_mult": true}}'
    assert one.requests[1].headers["Content-Type"] == "application/json"


async def test_reports_are_passed_on_as_they_come() -> None:
    async with node(says(200, b'{"a":1}')) as one, Client([one.url]) as client:
        bucket = client.bucket("b")
        reports = [
            await client.stats(),
            await client.members(),
            await client.ring(),
            await bucket.locate("k"),
            await bucket.local("k"),
        ]
    assert reports == [{"a": 1}] * 5
    assert [request.path for request in one.requests] == [
        "/stats",
        "/admin/members",
        "/admin/ring",
        "/admin/locate/types/default/buckets/b/keys/k",
        "/admin/local/types/default/buckets/b/keys/k",
    ]


async def test_a_node_that_answers_can_be_pinged() -> None:
    async with node(says(200, b"OK")) as one, Client([refusing_url(), one.url]) as client:
        await client.ping()
    assert one.requests[0].path == "/ping"


def test_a_wrong_endpoint_is_refused_before_anything_else() -> None:
    with pytest.raises(ConfigError, match="not an endpoint"):
        Client(["localhost:8098"])


@pytest.mark.parametrize("timeout_s", [0, -1.0, float("nan"), float("inf"), "3"])
async def test_a_timeout_that_is_none_is_refused(timeout_s: Any) -> None:
    url = refusing_url()
    with pytest.raises(BadRequest, match="must be a finite positive number"):
        Client([url], timeout_s=timeout_s)
    async with Client([url]) as client:
        bucket = client.bucket("b")
        for asked in (
            bucket.get("k", timeout_s=timeout_s),
            bucket.put("k", b"v", timeout_s=timeout_s),
            bucket.delete("k", timeout_s=timeout_s),
            anext(bucket.list_keys(timeout_s=timeout_s)),
        ):
            with pytest.raises(BadRequest, match="must be a finite positive number"):
                await asked


@pytest.mark.parametrize("value", [None, "text", 3, bytearray(b"x")])
async def test_a_value_that_is_none_is_refused(value: Any) -> None:
    async with Client([refusing_url()]) as client:
        with pytest.raises(BadRequest, match=r"a value is bytes or a Value, .* type \w+$"):
            await client.bucket("b").put("k", value)
        with pytest.raises(BadRequest, match="a name is text or bytes"):
            await client.bucket("b").put(cast("str", 7), b"v")


async def test_a_client_outside_of_async_with_says_so() -> None:
    client = Client([refusing_url()])
    with pytest.raises(BadRequest, match="use it inside `async with"):
        await client.ping()
    async with client:
        bucket = client.bucket("b")
    with pytest.raises(BadRequest, match="use it inside `async with"):
        await bucket.get("k")
