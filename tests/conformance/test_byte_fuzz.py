"""Bytes that no client should send, to the HTTP port of a real node.

A request is answered or its connection closed, in time; nothing is the node's own fault; nothing is
left behind. `DYNAMO_FUZZ_S` makes a long run of it, `DYNAMO_SEED` replays one.
"""

import asyncio
import base64
import contextlib
import datetime
import itertools
import os
import random
import re
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dynamo.cluster import LocalCluster
from dynamo.core.ids import Address
from dynamo.http.openapi.parameters import PARAMETERS
from dynamo.node_process import NodeProcess
from dynamo.settings import Settings, load_shared
from tests.cluster.harness import free_base_port
from tests.conformance.mutations import Sent, corpus, sent
from tests.conformance.unharmed import private_bytes, require_idle, require_unharmed

SHARED = load_shared(Path(__file__).parent / "schemathesis-types.toml")

SEED = 1
FRESH_SEED = int(
    os.environ.get("DYNAMO_SEED", datetime.datetime.now(datetime.UTC).timestamp() // 60)
)
FUZZ_S = float(os.environ.get("DYNAMO_FUZZ_S", "12"))
"""For damaged requests, and as long again for headers and parameters."""

AT_ONCE = 16
REPEATED = 150
EXAMPLES = 100
PATIENCE_S = 0.1
"""Who has no answer by then says that nothing more will come."""

ANSWERED_S_MAX = 10.0
"""After that a connection is stuck; the node itself lingers for a second."""

GROWTH_BYTES_MAX = 16 * 2**20
"""7 KiB a request. The allocator keeps what it has got."""

_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) [A-Z]")
_CONTEXT = re.compile(rb"^X-Riak-Vclock: (\S+)\r$", re.MULTILINE)

pytestmark = pytest.mark.cluster


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[NodeProcess]:
    """A node alone."""
    async with _serving(tmp_path, SHARED) as alone:
        yield alone


@asynccontextmanager
async def _serving(directory: Path, shared: Settings) -> AsyncIterator[NodeProcess]:
    base_port = free_base_port(1)
    async with LocalCluster(directory, nodes=1, base_port=base_port, shared=shared) as cluster:
        (alone,) = cluster.nodes.values()
        yield alone


def _address(node: NodeProcess) -> Address:
    url = urlsplit(node.url)
    assert url.hostname is not None
    assert url.port is not None
    return Address(url.hostname, url.port)


def _require_proper(answer: bytes, what: str) -> None:
    """No status says that the node is at fault; 501 is for methods that HTTP does not have."""
    for status in map(int, _STATUS.findall(answer)):
        assert 100 <= status < 500 or status in (501, 503), f"{status} for {what}: {answer[:500]!r}"


def _answers(said: bytes) -> list[bytes]:
    """The final statuses in it; 100 is none."""
    return [status for status in _STATUS.findall(said) if status != b"100"]


async def _context(address: Address) -> bytes:
    """A context of an object that is there."""
    request = (
        b"PUT /buckets/contexts/keys/k?returnbody=true HTTP/1.1\r\nHost: x:1\r\n"
        b"Connection: close\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\nx"
    )
    found = _CONTEXT.search(await _exchange(address, Sent([request], 1)))
    assert found is not None
    return found[1]


# -- damaged requests ----------------------------------------------------------------------------


async def _exchange(address: Address, sent: Sent) -> bytes:
    """All that comes back, until the connection is closed.

    Raises:
        TimeoutError: it is not; or some of the requests have no answer.
    """
    reader, writer = await asyncio.open_connection(*address)
    answer = b""
    try:
        async with asyncio.timeout(ANSWERED_S_MAX):
            for piece in sent.pieces:
                writer.write(piece)
                await writer.drain()
            while len(_answers(answer)) < sent.requests and (more := await reader.read(2**16)):
                answer += more
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_S):
                    while more := await reader.read(2**16):
                        answer += more
                    return answer
            writer.write_eof()
            while more := await reader.read(2**16):
                answer += more
    except ConnectionError:
        pass  # closed all the same
    finally:
        writer.transport.abort()
    return answer


async def _bombard(address: Address, names: Iterator[str]) -> Counter[bytes]:
    """A damaged request for each name, some at the same time; how often each status came."""
    requests = corpus(await _context(address))
    statuses: Counter[bytes] = Counter()

    async def send_some() -> None:
        for name in names:
            dice = random.Random(name)
            drawn = sent(requests, dice)
            what = f"request {name}: {b''.join(drawn.pieces)[:2000]!r}"
            try:
                answer = await _exchange(address, drawn)
            except TimeoutError:
                raise AssertionError(f"stuck: {what}") from None
            answered = len(_answers(answer))
            assert answered == drawn.requests or not drawn.requests, f"{answered} answers: {what}"
            _require_proper(answer, what)
            statuses.update(_STATUS.findall(answer) or [b"closed"])

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(send_some())
    return statuses


def _names(seed: int, within_s: float) -> Iterator[str]:
    """As many as are used up in that time."""
    end_s = time.monotonic() + within_s
    for number in itertools.count():
        if time.monotonic() >= end_s:
            return
        yield f"{seed}:{number}"


async def test_damaged_requests_do_no_harm(node: NodeProcess) -> None:
    address = _address(node)
    statuses = await _bombard(address, _names(SEED, FUZZ_S / 2))
    statuses += await _bombard(address, _names(FRESH_SEED, FUZZ_S / 2))
    assert {b"200", b"204", b"300", b"400", b"404", b"501", b"closed"} <= set(statuses), statuses
    await require_idle(node)
    await require_unharmed(node)


def _without_siblings(shared: Settings) -> Settings:
    alone: dict[str, object] = {"allow_mult": False}
    types = dict.fromkeys(shared.cluster.bucket_types, alone)
    return replace(
        shared, cluster=replace(shared.cluster, bucket_defaults=alone, bucket_types=types)
    )


async def test_damaged_requests_leave_nothing_behind(tmp_path: Path) -> None:
    """The same few again and again: once caches are full and buffers grown, nothing grows.

    Siblings would, and should: they are what clients stored.
    """
    names = [f"{SEED}:{number}" for number in range(REPEATED)]
    async with _serving(tmp_path, _without_siblings(SHARED)) as node:
        address = _address(node)
        await _bombard(address, iter(names * 5))
        before_bytes = private_bytes(node)
        await _bombard(address, iter(names * 15))
        await require_idle(node)
        grown_bytes = private_bytes(node) - before_bytes
    assert grown_bytes < GROWTH_BYTES_MAX, f"{grown_bytes} bytes after {15 * REPEATED} requests"


# -- headers and parameters ----------------------------------------------------------------------

_BYTES = st.binary(max_size=40).map(lambda text: re.sub(rb"[\r\n]", b" ", text))
_NUMBERS = st.one_of(
    st.integers().map(lambda number: b"%d" % number),
    st.sampled_from(
        [
            b"",
            b"+5",
            b"-0",
            b"1e3",
            b"0x10",
            b"1_000",
            b" 7 ",
            b"NaN",
            b"inf",
            b"1" * 999,
            b"1" * 1001,
        ]
    ),
    st.sampled_from(["५", "①", "²"]).map(str.encode),
)
_DATES = st.one_of(
    st.datetimes().map(lambda at: at.strftime("%a, %d %b %Y %H:%M:%S GMT").encode()),
    st.tuples(*[st.integers(-5, 99), st.integers(-(10**12), 10**12)] * 2, st.integers()).map(
        lambda n: b"Tue, %d Oct %d %d:00:%d %d" % n
    ),
    st.sampled_from([b"0", b"-1", b"Tue, , , , , ", b"Tue, 02 Oct 2007 07:00:00 GMT"]),
    _BYTES,
)


def _lists(entries: st.SearchStrategy[bytes], separator: bytes) -> st.SearchStrategy[bytes]:
    return st.lists(entries, max_size=6).map(separator.join)


_TAGS = _lists(st.one_of(st.sampled_from([b"*", b'"a"', b'W/"a"', b'"', b'""']), _BYTES), b", ")
_QUALITIES = st.one_of(
    st.sampled_from([b"", b";q=0", b";q=1.000", b";q=0.5", b";q=-1", b";q=nan", b";Q=.5;x=y"]),
    _BYTES,
)


def _preferences(*names: bytes) -> st.SearchStrategy[bytes]:
    name = st.one_of(st.sampled_from([b"*", b"*/*", b"text/*", b"", *names]), _BYTES)
    return _lists(st.tuples(name, _QUALITIES).map(b"".join), b",")


_LINKS = _lists(
    st.one_of(
        st.tuples(
            st.sampled_from([b"</buckets/", b"</riak/", b"<", b""]),
            _BYTES,
            st.sampled_from([b"/keys/", b"/", b""]),
            _BYTES,
            st.sampled_from([b'>; riaktag="', b'>; rel="', b">;", b""]),
            _BYTES,
            st.sampled_from([b'"', b""]),
        ).map(b"".join),
        st.sampled_from([b'</buckets/b>; rel="up"', b'</riak/%ff/%00>;riaktag="%zz"', b","]),
    ),
    b", ",
)
_RANGES = st.one_of(
    st.tuples(st.sampled_from([b"bytes=", b"Bytes = ", b"lines=", b""]), _NUMBERS, _NUMBERS).map(
        lambda parts: b"%b%b-%b" % parts
    ),
    st.sampled_from(
        [b"bytes=-", b"bytes=0-0,2-3", b"bytes=5-2", b"bytes=-0", b"bytes=0-" + b"9" * 30]
    ),
    _BYTES,
)
_TYPES = st.one_of(
    st.sampled_from(
        [b"a/b", b"/", b"a/", b"text/plain; charset=\xff", b"multipart/form-data", b"a/b;"]
    ),
    _BYTES,
)


def _contexts(valid: bytes) -> st.SearchStrategy[bytes]:
    """One that was read, and what is left of it: other bytes in good base64, and bad base64."""
    raw = base64.b64decode(valid)
    flipped = st.lists(st.integers(0, 8 * len(raw) - 1), min_size=1, max_size=4).map(
        lambda bits: bytes(
            byte ^ sum(1 << bit % 8 for bit in set(bits) if bit // 8 == at)
            for at, byte in enumerate(raw)
        )
    )
    cut = st.integers(0, len(raw)).map(lambda length: raw[:length])
    longer = st.binary(max_size=64).map(lambda more: raw + more)
    drawn = st.binary(max_size=64)
    encoded = st.one_of(flipped, cut, longer, drawn).map(base64.b64encode)
    return st.one_of(st.just(valid), encoded, encoded, _BYTES)


def _headers(context: bytes) -> dict[bytes, st.SearchStrategy[bytes]]:
    """Every header that is read, and what may stand in it."""
    origins = st.one_of(
        st.sampled_from(
            [b"null", b"http://x:1/", b"http://[::1", b"http://x:99999999", b"//", b""]
        ),
        _BYTES,
    )
    codings = _preferences(b"gzip", b"identity", b"deflate")
    return {
        b"X-Riak-Vclock": _contexts(context),
        b"X-Riak-If-Not-Modified": _contexts(context),
        b"If-None-Match": _TAGS,
        b"If-Match": _TAGS,
        b"If-Modified-Since": _DATES,
        b"If-Unmodified-Since": _DATES,
        b"If-Range": _TAGS,
        b"Range": _RANGES,
        b"Accept": _preferences(b"text/plain", b"multipart/mixed", b"application/json"),
        b"Accept-Charset": _preferences(b"utf-8", b"latin-1"),
        b"Accept-Encoding": codings,
        b"Content-Type": _TYPES,
        b"Content-Encoding": st.one_of(codings, _BYTES),
        b"Link": _LINKS,
        b"X-Riak-Meta-a": _BYTES,
        b"X-Riak-Meta-": _BYTES,
        b"X-Riak-Index-a_bin": _lists(_BYTES, b", "),
        b"X-Riak-Index-a_int": _lists(_NUMBERS, b", "),
        b"X-Riak-Index-a": _BYTES,
        b"X-Riak-ClientId": _BYTES,
        b"Referer": origins,
        b"Origin": origins,
        b"Host": origins,
        b"Expect": st.one_of(st.just(b"100-continue"), _BYTES),
        b"Connection": st.one_of(st.sampled_from([b"close", b"keep-alive", b"upgrade"]), _BYTES),
        b"Content-Length": _NUMBERS,
    }


_QUERY_NAMES = [str(name).encode() for name, said in PARAMETERS.items() if said["in"] == "query"]
_QUERY_VALUES = st.one_of(
    _NUMBERS,
    st.sampled_from([b"true", b"false", b"all", b"one", b"default", b"backend", b"stream", b"%ff"]),
    st.binary(max_size=12).map(lambda text: b"".join(b"%%%02x" % byte for byte in text)),
)
_QUERIES = _lists(st.tuples(st.sampled_from(_QUERY_NAMES), _QUERY_VALUES).map(b"=".join), b"&")
_PATHS = st.sampled_from(
    [
        *[b"/types/multi/buckets/b/keys/k"] * 15,
        *[b"/buckets/b/keys/k", b"/riak/b/k", b"/types/lww/buckets/b/keys/k"] * 2,
        *(
            b"/buckets/b/keys",
            b"/riak/b",
            b"/buckets",
            b"/types/multi/buckets",
            b"/buckets/b/props",
        ),
        *(b"/types/changed/props", b"/buckets/b/keys/k/preflist", b"/stats", b"/", b"/metrics"),
        *(b"/openapi.json", b"/ping", b"/admin/divergence", b"/admin/local/b/k", b"/admin/ring"),
        *(b"/admin/hints", b"/admin/bucket-types", b"/admin/bucket-types/multi"),
    ]
)
_FRAMING = {b"Content-Length", b"Expect", b"Connection", b"Host"}
"""Headers that decide where a request ends, or whether there is one."""

_BODIES = st.sampled_from([b"", b"x", b'{"props":{"allow_mult":"TRUE"}}', b"\xff\0" * 50])


def _ask(address: Address, request: bytes, *, whole: bool) -> bytes:
    """All that comes back; to a whole request that is something.

    Raises:
        TimeoutError: it does not, or the connection is not closed when the client is done.
    """
    with socket.create_connection(address, timeout=ANSWERED_S_MAX) as connection:
        answer = b""
        with contextlib.suppress(ConnectionError):
            connection.sendall(request)
            if whole:
                answer = connection.recv(2**16)
            connection.settimeout(PATIENCE_S)
            try:
                while more := connection.recv(2**16):
                    answer += more
                return answer
            except TimeoutError:
                connection.settimeout(ANSWERED_S_MAX)
                connection.shutdown(socket.SHUT_WR)
            while more := connection.recv(2**16):
                answer += more
        return answer


def _try_headers(address: Address, context: bytes, within_s: float) -> None:
    """Headers and parameters for so long; hypothesis itself only knows a number of examples."""
    known = _headers(context)
    lines = st.lists(
        st.sampled_from([*sorted(known.keys() - _FRAMING) * 4, *sorted(_FRAMING)]), max_size=6
    ).flatmap(lambda names: st.tuples(*(st.tuples(st.just(name), known[name]) for name in names)))

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # a request that gets stuck would be shrunk for minutes
    )
    @given(
        method=st.sampled_from([b"GET", b"GET", b"PUT", b"PUT", b"HEAD", b"POST", b"DELETE"]),
        path=_PATHS,
        query=_QUERIES,
        lines=lines,
        body=_BODIES,
    )
    def no_header_and_no_parameter_does_harm(
        method: bytes,
        path: bytes,
        query: bytes,
        lines: tuple[tuple[bytes, bytes], ...],
        body: bytes,
    ) -> None:
        given_names = {name for name, _ in lines}
        usual = {
            b"Host": b"x:1",
            b"Connection": b"close",
            b"Content-Type": b"text/plain",
            b"Content-Length": b"%d" % len(body),
        }
        said = [*lines, *((name, text) for name, text in usual.items() if name not in given_names)]
        head = b"".join(b"%b: %b\r\n" % line for line in said)
        request = b"%b %b?%b HTTP/1.1\r\n%b\r\n%b" % (method, path, query, head, body)
        whole = _FRAMING.isdisjoint(given_names)
        answer = _ask(address, request, whole=whole)
        assert answer or not whole, request
        _require_proper(answer, repr(request))

    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        no_header_and_no_parameter_does_harm()


async def test_no_header_and_no_parameter_does_harm(node: NodeProcess) -> None:
    address = _address(node)
    context = await _context(address)
    await asyncio.to_thread(_try_headers, address, context, FUZZ_S)
    await require_idle(node)
    await require_unharmed(node)
