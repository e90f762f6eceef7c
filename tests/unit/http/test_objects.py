import base64
import re

import pytest

from dynamo.core.ids import Key, NodeId
from dynamo.core.quorum import ReadQuorum, WriteQuorum
from dynamo.core.receipts import decode_receipt
from dynamo.errors import QuorumError
from dynamo.http.render import http_date
from tests.unit.http.fake_node import STARTED_AT_MS, FakeNode
from tests.unit.http.talk import PLAIN, Talk, Told, talking

K = "/buckets/b/keys/k"
M = "/types/multi/buckets/b/keys/k"
PARTS = {"Accept": "multipart/mixed"}


def vtags(text: str) -> list[str]:
    head, *tags = text.splitlines()
    assert head == "Siblings:"
    return tags


# -- one value -----------------------------------------------------------------------------------


async def test_what_is_stored_is_read() -> None:
    async with talking() as talk:
        stored = await talk.put(K, b"hello")
        assert (stored.status, stored.body) == (204, b"")
        assert "x-riak-vclock" not in stored.headers
        told = await talk.get(K)
    assert (told.status, told.body) == (200, b"hello")
    assert told.headers["content-type"] == "text/plain"
    assert told.headers["link"] == '</buckets/b>; rel="up"'
    assert told.headers["last-modified"] == http_date(STARTED_AT_MS)
    assert told.headers["vary"] == "Accept-Encoding"
    assert re.fullmatch('"[0-9A-Za-z]+"', told.headers["etag"])
    assert base64.b64decode(told.headers["x-riak-vclock"], validate=True)


async def test_head_is_get_without_the_body() -> None:
    async with talking() as talk:
        await talk.put(K, b"hello")
        get, head = await talk.get(K), await talk.ask("HEAD", K)
    assert (head.status, head.headers) == (200, get.headers)
    assert head.headers["content-length"] == "5"


@pytest.mark.parametrize(
    ("content_type", "kept"),
    [
        ("A/B", "A/B"),
        ("text/plain;charset=UTF-8", "text/plain; charset=UTF-8"),
        ('text/html ;  charset="x"', 'text/html; charset="x"'),
        ("a/b; x=y; charset=z; v", "a/b; charset=z"),
        ("a/b; boundary=charset=z", "a/b"),
        ("a/b;", "a/b"),
        ("a/b; charset", "a/b"),
    ],
)
async def test_of_a_content_type_its_media_type_and_charset_are_kept_byte_for_byte(
    content_type: str, kept: str
) -> None:
    async with talking() as talk:
        await talk.ask("PUT", K, {"Content-Type": content_type}, b"x")
        assert (await talk.get(K)).headers["content-type"] == kept


async def test_everything_that_travels_with_a_value_comes_back() -> None:
    headers = [
        ("Content-Type", "text/plain"),
        ("Content-Encoding", "gzip"),
        ("X-Riak-Meta-Color", "bl\udcffue é"),
        ("X-Riak-Meta-Empty", ""),
        ("X-Riak-Index-age_int", "7, 5"),
        ("X-Riak-Index-name_bin", "Zed, yy"),
        ("Link", '</buckets/b/keys/x%2Cy>; riaktag="t"'),
    ]
    async with talking() as talk:
        await talk.ask("PUT", K, headers, b"\x00\xff")
        told = await talk.get(K)
    assert told.body == b"\x00\xff"
    assert told.headers["content-encoding"] == "gzip"
    assert told.headers["x-riak-meta-color"] == "bl\udcffue é"
    assert told.headers["x-riak-meta-empty"] == ""
    assert told.headers["x-riak-index-age_int"] == "5, 7"
    assert told.headers["x-riak-index-name_bin"] == "Zed, yy"
    assert told.headers["link"] == '</buckets/b>; rel="up", </buckets/b/keys/x%2Cy>; riaktag="t"'
    assert "vary" not in told.headers


async def test_the_three_styles_name_the_same_data() -> None:
    async with talking() as talk:
        await talk.put("/riak/b/k", b"hello")
        for path in (K, "/types/default/buckets/b/keys/k", "/buckets//b/keys/k/"):
            assert (await talk.get(path)).body == b"hello"
        assert (await talk.get("/riak/b/k")).headers["link"] == '</riak/b>; rel="up"'
        assert (await talk.get(M)).status == 404


async def test_names_are_bytes() -> None:
    node = FakeNode()
    async with talking(node) as talk:
        await talk.put("/buckets/%00%ff/keys/a%2Fb+c", b"x")
        assert (await talk.get("/buckets/%00%FF/keys/a%2fb%20c")).status == 200
    assert list(node.coordinator.states) == [Key(b"default", b"\x00\xff", b"a/b c")]


@pytest.mark.parametrize("path", [f"/buckets/{'b' * 401}/keys/k", f"/buckets/b/keys/{'k' * 8193}"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_name_that_is_too_long_is_refused(path: str, method: str) -> None:
    async with talking() as talk:
        told = await talk.ask(method, path, PLAIN, b"x")
        assert told.status == 400
        assert "bytes, got" in told.text


async def test_what_is_not_there_is_not_found() -> None:
    async with talking() as talk:
        for method in ("GET", "DELETE"):
            told = await talk.ask(method, K)
            assert (told.status, told.text) == (404, "not found\n")
            assert told.headers["content-type"] == "text/plain"
            assert "x-riak-vclock" not in told.headers


@pytest.mark.parametrize("bucket_type", ["nosuch", "asleep"])
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
async def test_an_unknown_type_is_named(bucket_type: str, method: str) -> None:
    async with talking() as talk:
        told = await talk.ask(method, f"/types/{bucket_type}/buckets/b/keys/k", PLAIN, b"x")
    assert (told.status, told.text) == (404, f"Unknown bucket type: {bucket_type}")


# -- ways to store -------------------------------------------------------------------------------


async def test_a_store_can_show_what_it_stored() -> None:
    async with talking() as talk:
        told = await talk.put(f"{K}?returnbody=true", b"hello", X_Riak_Meta_A="1")
        read = await talk.get(K)
        assert told == read
        assert told.status == 200
        empty = await talk.put(f"{K}?returnbody=true", b"")
        assert (empty.status, empty.body) == (204, b"")
        assert empty.headers["x-riak-vclock"] != told.headers["x-riak-vclock"]


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("/buckets/b/keys", "/buckets/b/keys/"),
        ("/riak/b", "/riak/b/"),
        ("/types/multi/buckets/a%20b/keys", "/types/multi/buckets/a+b/keys/"),
    ],
)
async def test_a_post_without_a_key_draws_one(path: str, prefix: str) -> None:
    async with talking() as talk:
        told = [await talk.ask("POST", path, PLAIN, b"auto") for _ in range(2)]
        places = [answer.headers["location"] for answer in told]
        assert [answer.status for answer in told] == [201, 201]
        assert len(set(places)) == 2
        for place in places:
            assert re.fullmatch("[0-9A-Za-z]{27}", place.removeprefix(prefix))
            assert (await talk.get(place)).body == b"auto"
        shown = await talk.ask("POST", f"{path}?returnbody=true", PLAIN, b"auto")
        assert (shown.status, shown.body) == (201, b"auto")
        assert "x-riak-vclock" in shown.headers


async def test_a_post_to_a_key_is_a_put() -> None:
    async with talking() as talk:
        assert (await talk.ask("POST", K, PLAIN, b"x")).status == 204
        assert (await talk.get(K)).body == b"x"


async def test_a_store_without_a_content_type_is_refused() -> None:
    async with talking() as talk:
        for headers in ({}, {"Content-Type": ""}):
            told = await talk.ask("PUT", f"{K}?r=abc", headers, b"x")
            assert (told.status, told.text) == (400, "Missing Content-Type request header")
        told = await talk.ask("PUT", K, {"Content-Type": "text"}, b"x")
        assert told.status == 415
        assert told.text == '"text" is not a valid media type for the Content-type header.\n'
        assert (await talk.get(K)).status == 404


async def test_wrong_headers_are_refused_before_anything_is_stored() -> None:
    node = FakeNode()
    async with talking(node) as talk:
        for name, text in [
            ("Link", "garbage"),
            ("X-Riak-Index-a", "1"),
            ("X-Riak-Vclock", "not!base64"),
        ]:
            told = await talk.ask("PUT", K, {**PLAIN, name: text}, b"x")
            assert told.status == 400
            assert told.headers["content-type"] == "text/plain"
        assert (await talk.ask("DELETE", K, {"X-Riak-Vclock": "AAAA"})).status == 400
        assert (await talk.get(K, X_Riak_Vclock="not!base64")).status == 404
    assert node.coordinator.states == {}


async def test_chunks_are_a_body_too() -> None:
    async with talking() as talk:
        talk.writer.write(
            f"PUT {K} HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\n"
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n".encode()
        )
        await talk.writer.drain()
        talk.writer.write(b"2\r\nde\r\n0\r\n\r\n")
        assert (await talk.hear()).status == 204
        assert (await talk.get(K)).body == b"abcde"


# -- siblings ------------------------------------------------------------------------------------


async def two_siblings(talk: Talk, path: str = M) -> list[str]:
    await talk.put(path, b"A")
    await talk.ask("PUT", path, {"Content-Type": "a/b", "X-Riak-Meta-Who": "bob"}, b"B")
    return vtags((await talk.get(path)).text)


async def test_siblings_are_listed_by_their_tags() -> None:
    async with talking() as talk:
        tags = await two_siblings(talk)
        assert len(tags) == 2
        told = await talk.get(M)
        assert told.status == 300
        assert told.headers["content-type"] == "text/plain"
        assert told.headers["vary"] == "Accept, Accept-Encoding"
        assert told.headers["etag"].strip('"') not in tags
        assert told.headers.keys().isdisjoint({"link", "x-riak-meta-who"})
        bodies = set()
        for tag in tags:
            one = await talk.get(f"{M}?vtag={tag}")
            assert one.status == 200
            assert one.headers["etag"] == f'"{tag}"'
            assert one.headers["x-riak-vclock"] == told.headers["x-riak-vclock"]
            bodies.add(one.body)
        assert bodies == {b"A", b"B"}
        assert (await talk.get(f"{M}?vtag=bogus")).status == 404
        assert (await talk.get(f"{M}?vtag={tags[0]}", **PARTS)).status == 406


async def test_siblings_come_whole_if_parts_are_preferred() -> None:
    async with talking() as talk:
        tags = await two_siblings(talk)
        for accept in ("multipart/mixed", "multipart/mixed, */*;q=0.5"):
            told = await talk.get(M, Accept=accept)
            assert told.status == 300
            boundary = re.fullmatch(
                r"multipart/mixed; boundary=([0-9A-Za-z]+)", told.headers["content-type"]
            )
            assert boundary
            assert told.text.startswith(f"\r\n--{boundary[1]}\r\nContent-Type: ")
            assert told.text.endswith(f"\r\n--{boundary[1]}--\r\n")
            assert all(f"\r\nEtag: {tag}\r\n" in told.text for tag in tags)
            assert "\r\nX-Riak-Meta-who: bob\r\n" in told.text
        for accept in ("*/*", "text/plain", "*/*, multipart/mixed;q=0.5"):
            assert (await talk.get(M, Accept=accept)).headers["content-type"] == "text/plain"
        assert (await talk.get(M, Accept="application/json")).status == 406
        head = await talk.ask("HEAD", M, PARTS)
        assert (head.status, int(head.headers["content-length"]) > 100) == (300, True)


async def test_a_store_that_makes_siblings_shows_them_in_parts() -> None:
    async with talking() as talk:
        await talk.put(M, b"A")
        told = await talk.put(f"{M}?returnbody=true", b"B")
        assert told.status == 300
        assert told.headers["content-type"].startswith("multipart/mixed; boundary=")
        assert told.text.count("\r\nEtag: ") == 2


async def test_the_context_of_siblings_replaces_them_all_and_nothing_later() -> None:
    async with talking() as talk:
        await two_siblings(talk)
        context = (await talk.get(M)).headers["x-riak-vclock"]
        await talk.put(M, b"C")
        await talk.put(M, b"D", X_Riak_Vclock=context)
        told = await talk.get(M, **PARTS)
        assert told.status == 300
        assert [f"\r\n\r\n{body}\r\n" in told.text for body in "ABCD"] == [
            False,
            False,
            True,
            True,
        ]


async def test_without_siblings_the_last_write_is_all_there_is() -> None:
    async with talking() as talk:
        for path in (K, "/types/lww/buckets/b/keys/k", "/types/once/buckets/b/keys/k"):
            await talk.put(path, b"1")
            await talk.put(path, b"2")
            told = await talk.get(path)
            assert (told.status, told.body) == (200, b"2")


# -- deleting ------------------------------------------------------------------------------------


async def test_what_is_deleted_is_gone_and_says_so() -> None:
    async with talking() as talk:
        await talk.put(K, b"x")
        told = await talk.ask("DELETE", K)
        assert (told.status, told.body) == (204, b"")
        for method in ("GET", "HEAD"):
            gone = await talk.ask(method, K)
            assert gone.status == 404
            assert gone.headers["x-riak-deleted"] == "true"
        assert (await talk.get(K)).text == "not found\n"
        context = gone.headers["x-riak-vclock"]
        await talk.put(K, b"again", X_Riak_Vclock=context)
        assert (await talk.get(K)).body == b"again"


async def test_a_delete_with_a_context_is_done_even_where_nothing_is() -> None:
    async with talking() as talk:
        await talk.put(K, b"x")
        context = (await talk.get(K)).headers["x-riak-vclock"]
        assert (
            await talk.ask("DELETE", "/buckets/b/keys/other", {"X-Riak-Vclock": context})
        ).status == 204


async def test_a_delete_leaves_what_its_context_does_not_cover() -> None:
    async with talking() as talk:
        await talk.put(M, b"old")
        context = (await talk.get(M)).headers["x-riak-vclock"]
        await talk.put(M, b"new", X_Riak_Vclock=context)
        await talk.ask("DELETE", M, {"X-Riak-Vclock": context})
        told = await talk.get(M)
        assert told.status == 300
        parts = (await talk.get(M, **PARTS)).text
        assert parts.count("\r\nX-Riak-Deleted: true\r\n") == 1
        assert "\r\n\r\nnew\r\n" in parts
        deleted = {}
        for tag in vtags(told.text):
            one = await talk.get(f"{M}?vtag={tag}")
            deleted[one.headers.get("x-riak-deleted")] = (one.status, one.body)
        assert deleted == {"true": (200, b""), None: (200, b"new")}
        await talk.ask("DELETE", M, {"X-Riak-Vclock": told.headers["x-riak-vclock"]})
        assert (await talk.get(M)).status == 404


# -- what the client takes -----------------------------------------------------------------------


async def test_a_value_of_a_type_that_is_not_admitted_is_not_sent() -> None:
    async with talking() as talk:
        await talk.ask("PUT", K, {"Content-Type": "application/json; charset=utf-8"}, b"{}")
        for accept in ("image/png", "multipart/mixed"):
            assert (await talk.get(K, Accept=accept)).status == 406
        assert (await talk.get(K, Accept_Charset="iso-8859-1")).status == 406
        assert (await talk.get(K, Accept="text/*;q=0.5, application/json")).status == 200
        assert (await talk.put(K, b"x", Accept="image/png")).status == 406


async def test_a_part_of_a_value_can_be_read() -> None:
    async with talking() as talk:
        await talk.put(K, b"0123456789")
        told = await talk.get(K, Range="bytes=2-4")
        assert (told.status, told.body) == (206, b"234")
        assert told.headers["content-range"] == "bytes 2-4/10"
        assert (await talk.get(K, Range="bytes=99-")).status == 200
        assert (await talk.get(K, Range="bytes=2-4", If_Range='"x"')).status == 200


# -- conditions ----------------------------------------------------------------------------------


async def test_a_read_can_be_spared() -> None:
    async with talking() as talk:
        await talk.put(K, b"x")
        first = await talk.get(K)
        told = await talk.get(K, If_None_Match=first.headers["etag"])
        assert (told.status, told.body) == (304, b"")
        assert told.headers["etag"] == first.headers["etag"]
        assert "x-riak-vclock" not in told.headers
        assert (await talk.get(K, If_Modified_Since=first.headers["last-modified"])).status == 304
        assert (await talk.get(K, If_Match='"zzz"')).status == 412
        assert (await talk.get(K, If_None_Match='"zzz"')).status == 200
        await two_siblings(talk)
        siblings = await talk.get(M)
        assert (await talk.get(M, If_None_Match=siblings.headers["etag"])).status == 304


async def test_a_write_can_depend_on_what_is_there() -> None:
    async with talking() as talk:
        assert (await talk.put(K, b"no", If_Match="*")).status == 412
        assert (await talk.put(K, b"1", If_None_Match="*")).status == 204
        assert (await talk.put(K, b"no", If_None_Match="*")).status == 412
        assert (await talk.ask("POST", K, {**PLAIN, "If-None-Match": "*"}, b"no")).status == 412
        tag = (await talk.get(K)).headers["etag"]
        assert (await talk.put(K, b"no", If_Match='"zzz"')).status == 412
        assert (await talk.ask("DELETE", K, {"If-Match": '"zzz"'})).status == 412
        now = http_date(STARTED_AT_MS)
        told = await talk.put(K, b"2", If_Match=tag, If_Modified_Since=now)
        assert told.status == 204
        old = "Mon, 01 Jan 2001 00:00:00 GMT"
        assert (await talk.put(K, b"no", If_Unmodified_Since=old)).status == 412
        assert (await talk.get(K)).body == b"2"
        await talk.ask("DELETE", K)
        assert (await talk.put(K, b"no", If_Match="*")).status == 412
        assert (await talk.put(K, b"3", If_None_Match="*")).status == 204


async def test_a_put_can_depend_on_a_version() -> None:
    async with talking() as talk:
        await talk.put(K, b"1")
        stale = (await talk.get(K)).headers["x-riak-vclock"]
        await talk.put(K, b"2")
        fresh = (await talk.get(K)).headers["x-riak-vclock"]
        other = "/buckets/b/keys/other"
        assert (await talk.put(K, b"no", X_Riak_If_Not_Modified=stale)).status == 409
        assert (await talk.put(other, b"no", X_Riak_If_Not_Modified=fresh)).status == 409
        assert (await talk.put(K, b"no", X_Riak_If_Not_Modified="not!base64")).status == 400
        assert (await talk.put(K, b"3", X_Riak_If_Not_Modified=fresh)).status == 204
        assert (await talk.get(K)).body == b"3"


# -- quorums -------------------------------------------------------------------------------------


async def test_a_request_asks_for_its_own_quorum_and_time() -> None:
    node = FakeNode()
    async with talking(node) as talk:
        await talk.put(f"{K}?w=3&pw=1&timeout=250", b"x")
        await talk.get(f"{K}?r=1&sloppy_quorum=false&timeout=99999999999")
        await talk.ask("DELETE", f"{K}?rw=all")
        await talk.put("/types/strict/buckets/b/keys/k", b"x")
    assert node.coordinator.asked == [
        ("put", WriteQuorum(n=3, w=3, pw=1, dw=2), 0.25),
        ("get", ReadQuorum(n=3, r=1, sloppy=False), 3600.0),
        ("read of delete", ReadQuorum(n=3, r=3), 60.0),
        ("put", WriteQuorum(n=3, w=3, dw=2), 60.0),
        ("put", WriteQuorum(n=3, w=2, pw=2, dw=2, sloppy=False), 60.0),
    ]


async def test_a_condition_and_its_write_share_their_time() -> None:
    node = FakeNode()
    async with talking(node) as talk:
        await talk.put(f"{K}?timeout=5000", b"x", If_None_Match="*")
    (read, _, whole_s), (write, _, rest_s) = node.coordinator.asked
    assert (read, write, whole_s) == ("get", "put", 5.0)
    assert 0 < rest_s < 5.0


@pytest.mark.parametrize(
    ("method", "query", "content_type"),
    [
        ("GET", "r=4", None),
        ("GET", "pr=4", None),
        ("PUT", "w=4", "text/plain"),
        ("POST", "node_confirms=4", "text/plain"),
        ("DELETE", "rw=4", "text/html"),
    ],
)
async def test_more_than_there_are_replicas_cannot_be_asked_for(
    method: str, query: str, content_type: str | None
) -> None:
    async with talking() as talk:
        told = await talk.ask(method, f"{K}?{query}", PLAIN, b"x")
    assert told.status == 400
    assert told.text == "Specified w/dw/pw/node_confirms values invalid for bucket n value of 3\n"
    assert told.headers.get("content-type") == content_type


async def test_all_wrong_parameters_are_named_on_every_method() -> None:
    async with talking() as talk:
        for method in ("GET", "PUT", "DELETE"):
            told = await talk.ask(method, f"{K}?r=x&notfound_ok=7", PLAIN, b"x")
            assert told.status == 400
            assert [line.split(" ")[0] for line in told.text.splitlines()] == ["r", "notfound_ok"]
            assert told.text.endswith("\n")


async def test_no_time_is_too_little() -> None:
    node = FakeNode()
    async with talking(node) as talk:
        for method in ("GET", "PUT", "DELETE"):
            told = await talk.ask(method, f"{K}?timeout=0", PLAIN, b"x")
            assert (told.status, told.text) == (503, "request timed out\n")
    assert node.coordinator.asked == []


# -- receipts ------------------------------------------------------------------------------------


def halves(told: Told) -> list[str]:
    """Which halves a receipt has."""
    receipt = decode_receipt(told.headers["x-dynamo-replicas"])
    accounts = {"read": receipt.read, "write": receipt.write}
    assert all(account is None or account.coordinator == "n1" for account in accounts.values())
    return [name for name, account in accounts.items() if account is not None]


async def test_a_receipt_is_given_to_whoever_asks_and_to_nobody_else() -> None:
    async with talking() as talk:
        keyless = await talk.ask("POST", "/buckets/b/keys?trace=true", PLAIN, b"x")
        assert (keyless.status, halves(keyless)) == (201, ["write"])
        for method, status, wanted in [
            ("PUT", 204, ["write"]),
            ("POST", 204, ["write"]),
            ("GET", 200, ["read"]),
            ("HEAD", 200, ["read"]),
            ("DELETE", 204, ["read", "write"]),
            ("GET", 404, ["read"]),
            ("DELETE", 404, ["read"]),
        ]:
            body = b"x" if method in ("PUT", "POST") else None
            told = await talk.ask(method, f"{K}?trace=true", PLAIN, body)
            assert (told.status, halves(told)) == (status, wanted), method
            plain = await talk.ask(method, f"{K}?trace=false", PLAIN, body)
            assert "x-dynamo-replicas" not in plain.headers
        context = (await talk.put(f"{K}?returnbody=true")).headers["x-riak-vclock"]
        told = await talk.ask("DELETE", f"{K}?trace=true", {"X-Riak-Vclock": context})
        assert halves(told) == ["write"], "what a context covers need not be read"


async def test_a_write_that_its_condition_stops_has_the_receipt_of_its_read() -> None:
    async with talking() as talk:
        told = await talk.put(f"{K}?trace=true", If_Match="*")
        assert (told.status, halves(told)) == (412, ["read"])
        told = await talk.put(f"{K}?trace=true", If_None_Match="*")
        assert (told.status, halves(told)) == (204, ["read", "write"])


async def test_a_request_that_fails_has_a_receipt_too() -> None:
    node = FakeNode()
    async with talking(node) as talk:
        for method, half in [("PUT", "write"), ("GET", "read")]:
            node.coordinator.error = QuorumError("PW", needed=3, got=0, definite=False)
            told = await talk.ask(method, f"{K}?trace=true", PLAIN, b"x")
            assert (told.status, halves(told)) == (503, [half])
            assert told.headers.get("x-dynamo-acks") == ("1" if half == "write" else None)
            assert ("stored by 1 node;" in told.text) == (half == "write")


async def test_a_request_that_was_not_tried_has_no_receipt() -> None:
    async with talking() as talk:
        for query, status in [("r=x", 400), ("w=4&r=4", 400), ("timeout=0", 503)]:
            for method in ("GET", "PUT", "DELETE"):
                told = await talk.ask(method, f"{K}?trace=true&{query}", PLAIN, b"x")
                assert told.status == status
                assert "x-dynamo-replicas" not in told.headers


async def test_waiting_for_a_receipt_ends_with_the_requests_time() -> None:
    node = FakeNode()
    node.coordinator.silent = NodeId("n2")
    async with talking(node) as talk:
        told = await talk.put(f"{K}?trace=true&timeout=20")
    assert told.status == 204
    receipt = decode_receipt(told.headers["x-dynamo-replicas"])
    assert receipt.write is not None
    assert [answer.outcome.value for answer in receipt.write.replicas] == ["stored", "no answer"]
