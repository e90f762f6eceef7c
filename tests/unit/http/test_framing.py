"""Which reads are one whole request for data."""

import pytest

from dynamo.http.framing import WHOLE_BYTES_MAX, method_of_whole

HOST = b"Host: x:1\r\n"
PUT = b"PUT /buckets/b/keys/k?w=2 HTTP/1.1\r\n" + HOST + b"Content-Type: text/plain\r\n"


def put(length: bytes, body: bytes, more: bytes = b"") -> bytes:
    return PUT + more + b"Content-Length: " + length + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("data", "method"),
    [
        (b"GET /buckets/b/keys/k HTTP/1.1\r\n" + HOST + b"\r\n", "GET"),
        (b"HEAD /riak/b/k HTTP/1.1\r\n\r\n", "HEAD"),
        (b"DELETE /types/t/buckets/b/keys/k HTTP/1.1\r\n" + HOST + b"\r\n", "DELETE"),
        (b"GET /buckets/b/keys/k HTTP/1.1\r\nConnection: keep-alive\r\n\r\n", "GET"),
        (put(b"5", b"hello"), "PUT"),
        (put(b"0", b""), "PUT"),
        (put(b"5", b"\r\n\r\nx"), "PUT"),
        (put(b"5", b"hello").replace(b"Length", b"LENGTH"), "PUT"),
    ],
)
def test_a_whole_request_for_data_is_seen(data: bytes, method: str) -> None:
    assert method_of_whole(data) == method


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET /ping HTTP/1.1\r\n\r\n",
        b"GET /stats HTTP/1.1\r\n\r\n",
        b"GET /admin/members HTTP/1.1\r\n\r\n",
        b"GET /buckets/b/keys/k HTTP/1.0\r\n\r\n",
        b"PATCH /buckets/b/keys/k HTTP/1.1\r\n\r\n",
        b"GET /buckets/b/keys/k k HTTP/1.1\r\n\r\n",
        b"GET /buckets/b/keys/k HTTP/1.1\r\nHost: x",
        b"GET /buckets/b/keys/k HTTP/1.1\r\n\r\nGET /buckets/b/keys/k HTTP/1.1\r\n\r\n",
        put(b"5", b"hell"),
        put(b"5", b"hello!"),
        put(b"x", b"hello"),
        put(b"-5", b"hello"),
        put(b"99999", b"hello"),
        put(b"5", b"hello", b"Content-Length: 4\r\n"),
        put(b"5", b"hello", b"Transfer-Encoding: chunked\r\n"),
        put(b"5", b"hello", b"\nTransfer-Encoding: chunked\r\n"),
        put(b"5", b"hello", b"Expect: 100-continue\r\n"),
        put(b"5", b"hello", b"Connection: close\r\n"),
        put(b"5", b"hello", b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
        PUT + b"Content-Length : 5\r\n\r\nhello",
        put(b"4000", bytes(4000)).ljust(WHOLE_BYTES_MAX + 1),
    ],
)
def test_anything_else_goes_the_long_way(data: bytes) -> None:
    assert method_of_whole(data) is None
