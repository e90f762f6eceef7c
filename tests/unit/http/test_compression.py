import asyncio
import gzip
import random
import zlib
from collections.abc import AsyncGenerator

import pytest

from dynamo.core.ids import Key
from dynamo.http.compression import LOOP_BYTES_MAX, WAITING_MAX, Compressor
from dynamo.http.reply import HTML, PLAIN, VARY, Reply, Stream, text
from tests.unit.http.fake_node import FakeNode
from tests.unit.http.talk import PLAIN as SENT_AS_PLAIN
from tests.unit.http.talk import Told, talking

GZIP = {"Accept-Encoding": "gzip"}


def unpacked(told: Told) -> bytes:
    assert told.headers["content-encoding"] == "gzip"
    return gzip.decompress(told.body)


async def test_a_value_is_sent_with_gzip_and_is_the_same_value() -> None:
    async with talking() as talk:
        await talk.put("/buckets/b/keys/k", b"a value " * 100, X_Riak_Meta_M="1")
        plain = await talk.get("/buckets/b/keys/k")
        packed = await talk.get("/buckets/b/keys/k", Accept_Encoding="gzip")
        head = await talk.ask("HEAD", "/buckets/b/keys/k", GZIP)
        unmodified = await talk.get(
            "/buckets/b/keys/k", Accept_Encoding="gzip", If_None_Match=packed.headers["etag"]
        )
    assert unpacked(packed) == plain.body
    assert len(packed.body) < len(plain.body) / 10
    ours = {"content-encoding", "content-length", "date"}
    assert {k: v for k, v in packed.headers.items() if k not in ours} == {
        k: v for k, v in plain.headers.items() if k not in ours
    }
    assert head.headers | {"date": ""} == packed.headers | {"date": ""}
    assert plain.headers["vary"] == "Accept-Encoding"
    assert unmodified.status == 304
    assert "content-encoding" not in unmodified.headers


async def test_what_is_stored_with_an_encoding_or_wanted_in_part_is_sent_as_it_is() -> None:
    async with talking() as talk:
        await talk.put("/buckets/b/keys/stored", b"xx", Content_Encoding="gzip")
        await talk.put("/buckets/b/keys/k", b"0123456789", X_Riak_Meta_M="Content-Encoding: br")
        await talk.put("/buckets/b/keys/empty", b"")
        stored = await talk.ask("GET", "/buckets/b/keys/stored", GZIP)
        part = await talk.ask("GET", "/buckets/b/keys/k", {**GZIP, "Range": "bytes=2-4"})
        whole = await talk.ask("GET", "/buckets/b/keys/k", GZIP)
        empty = await talk.ask("GET", "/buckets/b/keys/empty", GZIP)
        done = await talk.ask(
            "PUT", "/buckets/b/keys/k", {**GZIP, "Content-Type": "text/plain"}, b""
        )
    assert (stored.body, stored.headers["content-encoding"]) == (b"xx", "gzip")
    assert "vary" not in stored.headers
    assert (part.status, part.body) == (206, b"234")
    assert unpacked(whole) == b"0123456789"
    for told in (part, empty, done):
        assert "content-encoding" not in told.headers


async def test_both_forms_of_siblings_and_what_a_store_returns_are_sent_with_gzip() -> None:
    path = "/types/multi/buckets/b/keys/k"
    async with talking() as talk:
        await talk.put(path, b"one")
        stored = await talk.ask(
            "PUT", f"{path}?returnbody=true", {**SENT_AS_PLAIN, **GZIP, "Accept": "*/*"}, b"two"
        )
        listed = await talk.ask("GET", path, GZIP)
        parts = await talk.ask("GET", path, {**GZIP, "Accept": "multipart/mixed"})
    assert [told.status for told in (stored, listed, parts)] == [300, 300, 300]
    assert unpacked(listed).startswith(b"Siblings:\n")
    boundary = parts.headers["content-type"].partition("boundary=")[2]
    assert unpacked(parts).startswith(f"\r\n--{boundary}\r\n".encode())
    assert b"two" in unpacked(stored)
    assert listed.headers["vary"] == "Accept, Accept-Encoding"


@pytest.mark.parametrize(
    ("path", "status", "vary"),
    [
        ("/", 200, "Accept, Accept-Encoding"),
        ("/ping", 200, "Accept-Encoding"),
        ("/stats", 200, "Accept, Accept-Encoding"),
        ("/metrics", 200, "Accept, Accept-Encoding"),
        ("/buckets/b/props", 200, "Accept-Encoding"),
        ("/buckets/b/keys?keys=true", 200, "Accept-Encoding"),
        ("/buckets/b/keys/none", 404, "Accept-Encoding"),
        ("/buckets/b/keys/k?r=x", 400, "Accept-Encoding"),
        ("/nosuch", 404, "Accept-Encoding"),
    ],
)
async def test_every_answer_with_a_body_is_sent_with_gzip(
    path: str, status: int, vary: str
) -> None:
    async with talking() as talk:
        packed = await talk.ask("GET", path, GZIP)
    assert packed.status == status
    assert unpacked(packed)
    assert packed.headers["vary"] == vary


async def test_a_stream_is_compressed_batch_by_batch() -> None:
    node = FakeNode()
    async with talking(node) as talk:
        for number in range(5):
            await talk.put(f"/buckets/b/keys/{number}")
        path = "/buckets/b/keys?keys=stream"
        plain = await talk.get(path)
        packed = await talk.ask("GET", path, GZIP)
        head = await talk.ask("HEAD", path, GZIP)
        after = await talk.get("/ping")
    assert packed.headers["transfer-encoding"] == "chunked"
    assert unpacked(packed) == plain.body
    assert head.headers["content-encoding"] == "gzip"
    assert after.status == 200


async def test_a_reader_of_a_stream_has_each_batch_before_the_next_is_made() -> None:
    made: list[bytes] = []

    async def batches() -> AsyncGenerator[bytes, None]:
        for batch in (b"one", b"x" * (LOOP_BYTES_MAX + 1), b"three"):
            made.append(batch)
            yield batch

    compressor = Compressor()
    stream = await compressor.compressed(Stream(PLAIN, batches()))
    assert isinstance(stream, Stream)
    reader = zlib.decompressobj(16 + 15)
    read: list[bytes] = []
    async for piece in stream.chunks:
        read.append(reader.decompress(piece))
        assert b"".join(read) == b"".join(made)
    assert reader.eof
    compressor.close()


async def test_a_stream_that_nobody_reads_on_ends_where_it_comes_from() -> None:
    ended = False

    async def batches() -> AsyncGenerator[bytes, None]:
        nonlocal ended
        try:
            while True:
                yield b"more"
        finally:
            ended = True

    compressor = Compressor()
    stream = await compressor.compressed(Stream(PLAIN, batches()))
    assert isinstance(stream, Stream)
    await anext(stream.chunks)
    await stream.chunks.aclose()
    assert ended
    compressor.close()


async def test_large_values_are_compressed_in_threads_and_arrive_whole() -> None:
    body = random.Random(1).randbytes(300_000) + bytes(300_000)
    node = FakeNode()
    async with talking(node) as talk:
        await talk.put("/buckets/b/keys/k", body)
        assert Key(b"default", b"b", b"k") in node.coordinator.states
        packed = await talk.ask("GET", "/buckets/b/keys/k", GZIP)
    assert unpacked(packed) == body


async def test_a_large_answer_is_sent_as_it_is_where_too_many_wait_for_a_thread() -> None:
    compressor = Compressor()
    large = Reply(200, PLAIN, bytes(LOOP_BYTES_MAX + 1))
    replies = await asyncio.gather(
        *(compressor.compressed(large) for _ in range(WAITING_MAX + 3)),
        compressor.compressed(text(200, "small")),
    )
    assert [reply is large for reply in replies] == [False] * WAITING_MAX + [True] * 3 + [False]
    assert await compressor.compressed(large) is not large
    compressor.close()


async def test_a_head_says_once_what_the_answer_varies_by() -> None:
    compressor = Compressor()
    for head, vary in (
        (HTML, VARY),
        (HTML + VARY, VARY),
        (HTML + "Vary: Accept\r\n", "Vary: Accept, Accept-Encoding\r\n"),
        ("X-Riak-Meta-M: Vary: Accept\r\n" + VARY, VARY),
    ):
        packed = await compressor.compressed(Reply(200, head, b"body"))
        lines = packed.head.splitlines(keepends=True)
        assert [line for line in lines if line.startswith("Vary")] == [vary]
        assert "Content-Encoding: gzip\r\n" in lines
        assert all(line in lines for line in head.splitlines(keepends=True) if line[0] == "X")
    assert await compressor.compressed(text(200, "")) == text(200, "")
    compressor.close()
