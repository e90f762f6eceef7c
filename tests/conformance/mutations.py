"""Requests as bytes, and what line noise, bad clients and worse people make of them.

Everything is drawn from one dice: the same number makes the same bytes.
"""

import random
from collections.abc import Callable
from typing import NamedTuple

_OBJECT = b"/types/multi/buckets/b/keys/k"


def _request(method: bytes, path: bytes, *lines: bytes, body: bytes = b"") -> bytes:
    length = [b"Content-Length: %d" % len(body)] if body else []
    head = [b"%b %b HTTP/1.1" % (method, path), b"Host: x:1", b"Connection: close", *lines, *length]
    return b"\r\n".join([*head, b"", body])


def corpus(context: bytes) -> list[bytes]:
    """Requests that are well formed; `context` is one that was read."""
    plain = b"Content-Type: text/plain"
    chunked = b"Transfer-Encoding: chunked"
    return [
        _request(
            b"PUT", _OBJECT + b"?w=1&dw=all&returnbody=true&timeout=5000", plain, body=b"x" * 99
        ),
        _request(
            b"PUT",
            b"/buckets/b/keys/k?trace=true&returnbody=true",
            b"Content-Type: text/plain; charset=utf-8",
            b"X-Riak-Vclock: " + context,
            b'Link: </buckets/b/keys/k2>; riaktag="t"',
            b"X-Riak-Meta-Colour: red",
            b"X-Riak-Index-year_int: 1999, 2000",
            b"X-Riak-Index-name_bin: a, b",
            body=b"\0\xff" * 20,
        ),
        _request(b"PUT", _OBJECT, plain, b"X-Riak-If-Not-Modified: " + context, body=b"y"),
        _request(b"PUT", _OBJECT, plain, b"If-None-Match: *", b'If-Match: "a", "b"', body=b"y"),
        _request(b"POST", b"/riak/b", plain, b"Expect: 100-continue", body=b"z"),
        _request(b"POST", b"/buckets/b/keys", plain, chunked)
        + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
        _request(b"GET", _OBJECT, b"Accept: multipart/mixed, */*;q=0.5", b"Accept-Encoding: gzip"),
        _request(b"GET", _OBJECT + b"?r=1&pr=0&basic_quorum=true&notfound_ok=false&vtag=x"),
        _request(
            b"GET",
            b"/riak/b/k",
            b"Range: bytes=2-5",
            b"If-Modified-Since: Tue, 02 Oct 2007 07:00:00 GMT",
            b"If-Unmodified-Since: Tue, 02 Oct 2029 07:00:00 GMT",
            b"Accept-Charset: utf-8;q=0.3",
        ),
        _request(b"HEAD", b"/buckets/b/keys/k"),
        _request(b"DELETE", b"/buckets/b/keys/k?rw=1", b"X-Riak-Vclock: " + context),
        _request(b"GET", b"/buckets/b/keys?keys=stream&timeout=5000", b"Accept-Encoding: gzip"),
        _request(b"GET", b"/riak/b?keys=true&props=false"),
        _request(b"GET", b"/types/multi/buckets?buckets=stream"),
        _request(
            b"PUT",
            b"/buckets/c/props",
            b"Content-Type: application/json",
            body=b'{"props":{"allow_mult":true,"r":"one","n_val":3,"precommit":[]}}',
        ),
        _request(b"DELETE", b"/buckets/c/props"),
        _request(b"GET", b"/admin/local/types/multi/buckets/b/keys/k"),
        _request(b"GET", b"/admin/divergence?keys_max=3&timeout=1000"),
        _request(b"GET", b"/stats", b"Accept: text/plain", b"Referer: http://x:1/", b"Origin: x"),
        _request(b"GET", b"/metrics", b"Accept: application/openmetrics-text; version=1.0.0"),
        _request(b"GET", b"/openapi.json", b"Accept-Encoding: gzip;q=0.1, *;q=0"),
        _request(b"OPTIONS", b"/"),
    ]


_WORDS = [
    *(
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b":",
        b"%",
        b"%00",
        b"%2F",
        b"+",
        b"\xff\xfe",
    ),
    *(b"HTTP/1.0", b"HTTP/9.9", b"http://", b"//", b"/../", b"?", b"&", b";", b"#", b"=", b'"'),
    *(
        b"-1",
        b"0",
        b"18446744073709551616",
        b"1e309",
        b"nan",
        b"9" * 400,
        b"\xef\xbc\x91",
        b"\xc2\xb2",
    ),
    *(b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"Content-Length: -5\r\n"),
    *(b"Transfer-Encoding: gzip, chunked\r\n", b"Connection: upgrade\r\nUpgrade: websocket\r\n"),
    *(
        b"Expect: 100-continue\r\n",
        b"Content-Encoding: gzip\r\n",
        b" folded: line\r\n",
        b": no name\r\n",
    ),
    *(b"FFFFFFFFFFFFFFFFF\r\n", b"0\r\n\r\n", b"-1\r\n", b"{", b"[" * 2000, b"default", b"multi"),
]

Mutation = Callable[[bytes, random.Random], bytes]


def _flip_bits(data: bytes, dice: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(dice.choice([1, 1, 2, 8, 64])):
        changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def _cut_off(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data))]


def _cut_out(data: bytes, dice: random.Random) -> bytes:
    start = dice.randrange(len(data))
    return data[:start] + data[start + dice.randrange(1, 30) :]


def _double(data: bytes, dice: random.Random) -> bytes:
    start = dice.randrange(len(data))
    piece = data[start : start + dice.randrange(1, 60)]
    return data[:start] + piece * dice.choice([2, 2, 3, 500]) + data[start:]


def _insert(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data))
    return data[:at] + dice.choice(_WORDS) + data[at:]


def _insert_line(data: bytes, dice: random.Random) -> bytes:
    """After the first line, so that it is read as a header."""
    first, _, rest = data.partition(b"\r\n")
    return b"%b\r\n%b%b" % (first, dice.choice(_WORDS), rest)


def _huge_line(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data))
    return data[:at] + dice.choice([b"a", b"/", b" ", b"%", b"\xff"]) * 70_000 + data[at:]


def _many_headers(data: bytes, dice: random.Random) -> bytes:
    first, _, rest = data.partition(b"\r\n")
    name = dice.choice([b"X-Riak-Meta-%d", b"X-Riak-Index-%d_int", b"Link%d", b"X-Riak-Meta-same"])
    lines = [name % i if b"%d" in name else name for i in range(dice.choice([10, 900, 3000]))]
    return b"\r\n".join([first, *(line + b": 1" for line in lines), rest])


def _swap(data: bytes, dice: random.Random) -> bytes:
    lines = data.split(b"\r\n")
    dice.shuffle(lines)
    return b"\r\n".join(lines)


def _keep_alive(data: bytes, dice: random.Random) -> bytes:
    return data.replace(b"Connection: close\r\n", b"")


_MUTATIONS: list[Mutation] = [
    *(_flip_bits, _flip_bits, _cut_off, _cut_out, _double, _insert, _insert, _insert_line),
    *(_huge_line, _many_headers, _swap, _keep_alive),
]


class Sent(NamedTuple):
    """What a client sends.

    Attributes:
        pieces: in which it arrives.
        requests: how many these are, if all are as they should be; each of them has an answer.
    """

    pieces: list[bytes]
    requests: int


def sent(requests: list[bytes], dice: random.Random) -> Sent:
    """One of the requests, or several in a row, most of them damaged."""
    *earlier, last = dice.choices(requests, k=dice.choice([1, 1, 1, 2, 5]))
    data = b"".join([*(_keep_alive(request, dice) for request in earlier), last])
    damages = dice.choice([0, 1, 1, 2, 4])
    for _ in range(damages):
        data = dice.choice(_MUTATIONS)(data or b"\0", dice)
    cuts = sorted(dice.randrange(len(data) + 1) for _ in range(dice.choice([0, 0, 1, 3])))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return Sent(pieces, 0 if damages else len(earlier) + 1)
