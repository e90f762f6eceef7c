import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynamo.core.figures import named
from dynamo.http.app import HttpServer
from dynamo.http.openapi.parameters import PARAMETERS
from tests.unit.http.fake_node import FakeNode
from tests.unit.http.talk import connected, talking

K = "/buckets/b/keys/k"

_PIECES = [
    *(b"GET ", b"PUT ", b"POST ", b"DELETE ", b"HEAD ", b"/buckets/b/keys/k", b"/riak/b", b"?"),
    *(
        b"/types/multi/",
        b"buckets",
        b"/props",
        b"/admin/local/b/k",
        b"keys=stream",
        b"r=",
        b"vtag=",
    ),
    *(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"Host: x\r\n", b"\r\n", b"Content-Length: 1\r\n\r\nx"),
    *(b"Content-Type: a/b\r\n", b"X-Riak-Vclock: AAAA\r\n", b"Link: <", b"If-Match: *\r\n"),
    *(
        b"Range: bytes=0-\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"%",
        b"\xff",
    ),
    *(b"X-Riak-Index-a_int: 1\r\n", b"Accept: ", b"{", b'"', b"\0", b"Expect: 100-continue\r\n"),
]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(pieces=st.lists(st.sampled_from(_PIECES) | st.binary(max_size=4), max_size=14))
def test_no_bytes_make_the_server_fail(pieces: list[bytes]) -> None:
    async def send() -> None:
        node = FakeNode()
        server = HttpServer(node, node.config)
        await server.start()
        async with connected(server) as talk:
            talk.writer.write(b"".join(pieces))
            talk.writer.write_eof()
            assert b" 500 " not in await talk.reader.read(2**20)
        async with connected(server) as talk:
            assert (await talk.get("/ping")).status == 200
        assert named(server.figures)["http_failures_total"] == 0
        await server.stop()

    asyncio.run(send())


_PATHS = st.lists(
    st.sampled_from(
        [
            *[
                "buckets",
                "types",
                "riak",
                "admin",
                "multi",
                "b",
                "keys",
                "k",
                "props",
                "local",
                "locate",
                "ring",
                "divergence",
                "default",
            ],
            *("%ff", "%00", "a+b", "%zz", "x" * 500),
        ]
    ),
    max_size=7,
).map(lambda parts: "/" + "/".join(parts))
_REAL_PATHS = st.sampled_from([K, "/types/multi/buckets/b/keys/k", "/riak/b", "/buckets/b/props"])
_QUERIES = st.lists(
    st.sampled_from(
        ["r", "w", "rw", "pr", "n_val", "timeout", "vtag", "returnbody", "keys", "x"]
    ).flatmap(
        lambda name: st.sampled_from(["1", "0", "-1", "true", "stream", "", "%ff", "all"]).map(
            lambda value: f"{name}={value}"
        )
    ),
    max_size=3,
).map("&".join)
_HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "Content-Type",
                "Accept",
                "Accept-Charset",
                "X-Riak-Vclock",
                "If-None-Match",
                "If-Match",
                "Link",
                "Range",
                "If-Modified-Since",
                "If-Unmodified-Since",
                "X-Riak-If-Not-Modified",
                "Referer",
                "X-Riak-Meta-~e",
                "X-Riak-Index-a_int",
                "X-Riak-Index-b_bin",
            ]
        ),
        st.sampled_from(
            ["text/plain", "*", "*/*;q=0.1", '"x"', "1, 2", "bytes=0-", "AAAA", "\udcff"]
        )
        | st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f")),
    ),
    max_size=4,
    unique_by=lambda line: line[0],
)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    requests=st.lists(
        st.tuples(
            st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE"]),
            _REAL_PATHS | _PATHS,
            _QUERIES,
            _HEADERS,
            st.sampled_from([b"", b"x", b'{"props":{"allow_mult":true}}', b"\xff" * 100]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_no_request_makes_the_server_fail(
    requests: list[tuple[str, str, str, list[tuple[str, str]], bytes]],
) -> None:
    async def send() -> None:
        async with talking() as talk:
            for method, path, query, headers, body in requests:
                told = await talk.ask(method, f"{path}?{query}", headers, body)
                assert told.status != 500, told

    asyncio.run(send())


@pytest.mark.parametrize("name", [n for n, said in PARAMETERS.items() if said["in"] == "query"])
@pytest.mark.parametrize("path", [K, "/buckets/b/keys?keys=true", "/admin/divergence", "/riak/b"])
async def test_no_number_is_too_long(path: str, name: str) -> None:
    async with talking() as talk:
        for method in ("GET", "PUT", "POST", "DELETE"):
            query = f"{'&' if '?' in path else '?'}{name}={'1' * 999}"
            told = await talk.ask(method, path + query, {"Content-Type": "text/plain"}, b"x")
            assert told.status != 500, told
