import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from dynamo.core.ids import Bucket
from dynamo.core.property_rules import DEFAULTS, TYPE_DEFAULTS
from dynamo.core.quorum import Conflicts, ReadQuorum
from dynamo.errors import DeadlineExceeded, DynamoError, QuorumError
from dynamo.http import buckets
from tests.unit.http.fake_node import FakeCoordinator, FakeListing, FakeNode
from tests.unit.http.talk import Talk, Told, talking

AS_JSON = {"Content-Type": "application/json"}
B = "/buckets/b/props"
FORM = """ PUT must be a JSON object of the form:
{"props":{...bucket properties...}}"""


def stream(told: Told) -> list[object]:
    """The JSON objects of a stream, which have nothing between them."""
    assert told.headers["transfer-encoding"] == "chunked"
    decoder, text, objects = json.JSONDecoder(), told.text, []
    while text:
        value, end = decoder.raw_decode(text)
        objects.append(value)
        text = text[end:]
    return objects


async def change(talk: Talk, path: str, said: object) -> Told:
    return await talk.ask("PUT", path, AS_JSON, json.dumps(said).encode())


class EndlessListing(FakeListing):
    """Goes on for ever, a page each time the loop comes round."""

    def __init__(self, coordinator: FakeCoordinator) -> None:
        super().__init__(coordinator)
        self.given_up = asyncio.Event()

    async def keys(
        self, bucket: Bucket, quorum: ReadQuorum, conflicts: Conflicts, *, timeout_s: float
    ) -> AsyncIterator[list[bytes]]:
        try:
            while True:
                yield [b"k"]
                await asyncio.sleep(0)
        finally:
            self.given_up.set()


# -- properties ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "properties"),
    [
        (B, {"name": "b", **DEFAULTS}),
        ("/riak/b", {"name": "b", **DEFAULTS}),
        ("/types/default/buckets/b/props", {"name": "b", **DEFAULTS}),
        ("/types/multi/buckets/b/props", {"name": "b", **TYPE_DEFAULTS}),
        ("/types/multi/props", TYPE_DEFAULTS),
        ("/types/default/props", DEFAULTS),
        ("/types/counters/props", {**TYPE_DEFAULTS, "datatype": "counter"}),
    ],
)
async def test_properties_are_shown(path: str, properties: dict[str, object]) -> None:
    async with talking() as talk:
        told = await talk.get(path)
        head = await talk.ask("HEAD", path)
    assert (told.status, told.headers["content-type"]) == (200, "application/json")
    assert json.loads(told.body) == {"props": properties}
    assert b" " not in told.body
    assert (head.status, head.headers) == (200, told.headers)


@pytest.mark.parametrize(
    "path", [B, "/riak/b", "/types/multi/buckets/b/props", "/types/multi/props"]
)
async def test_properties_can_be_changed(path: str) -> None:
    async with talking() as talk:
        assert (await change(talk, path, {"props": {"n_val": 2, "foo": "bar"}})).status == 204
        shown = json.loads((await talk.get(path)).body)["props"]
        assert (shown["n_val"], shown["foo"], shown["w"]) == (2, "bar", "quorum")
        assert (await change(talk, path, {"props": shown})).status == 204


async def test_changed_properties_count_at_once() -> None:
    node = FakeNode()
    async with talking(node) as talk:
        await change(talk, B, {"props": {"allow_mult": "true"}})
        await talk.put("/buckets/b/keys/k", b"1")
        await talk.put("/buckets/b/keys/k", b"2")
        assert (await talk.get("/buckets/b/keys/k")).status == 300
        assert (await talk.ask("DELETE", B)).status == 204
        assert (await talk.get("/buckets/b/keys/k")).status == 200
        assert json.loads((await talk.get(B)).body)["props"] == {"name": "b", **DEFAULTS}
        assert (await talk.ask("DELETE", B)).status == 204


@pytest.mark.parametrize("path", [B, "/riak/b", "/types/multi/props", "/admin/bucket-types/carts"])
async def test_a_body_of_properties_has_a_bound_of_its_own(path: str) -> None:
    node = FakeNode(object_bytes_max=2**25)
    async with talking(node) as talk:
        head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        talk.writer.write(f"{head}Content-Length: {2**24}\r\n\r\n".encode())
        told = await talk.hear()
        assert told.status == 413
        assert told.text == "a body has at most 131072 bytes, got 16777216\n"


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"n_val": "abc"}, {"n_val": "not_integer"}),
        (
            {"allow_mult": "maybe", "r": "zzz"},
            {"allow_mult": "not_boolean", "r": "not_valid_quorum"},
        ),
    ],
)
async def test_wrong_properties_are_named_and_nothing_is_changed(
    changes: dict[str, object], reasons: dict[str, str]
) -> None:
    async with talking() as talk:
        told = await change(talk, B, {"props": {"w": 1, **changes}})
        assert (told.status, told.headers["content-type"]) == (400, "application/json")
        assert json.loads(told.body) == reasons
        assert json.loads((await talk.get(B)).body)["props"] == {"name": "b", **DEFAULTS}


@pytest.mark.parametrize(
    "body",
    [b"", b"{x", b'{"x":1}', b"[1]", b'{"props":[]}', b"\xff", b"[" * 100_000, b'{"props":1e999}'],
)
async def test_a_body_of_another_form_is_refused(body: bytes) -> None:
    async with talking() as talk:
        told = await talk.ask("PUT", B, AS_JSON, body)
        assert (told.status, told.text) == (400, f"bucket{FORM}")
        told = await talk.ask("PUT", "/types/multi/props", AS_JSON, body)
        assert (told.status, told.text) == (400, f"bucket type{FORM}")


async def test_properties_must_be_json() -> None:
    body = b'{"props":{"n_val":2}}'
    async with talking() as talk:
        assert (await talk.put(B, body)).status == 415
        assert (await talk.ask("PUT", B, {}, body)).status == 415
        charset = {"Content-Type": "application/json; charset=utf-8"}
        assert (await talk.ask("PUT", B, charset, body)).status == 204
        assert (await talk.get(B, Accept="text/plain")).status == 406


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/types/nosuch/buckets/b/props", "no_type"),
        ("/types/nosuch/props", "not_active"),
        ("/types/default/props", "no_default_update"),
    ],
)
async def test_changes_of_what_is_not_there_are_refused(path: str, said: str) -> None:
    async with talking() as talk:
        told = await change(talk, path, {"props": {"n_val": 2}})
    assert (told.status, json.loads(told.body)) == (400, said)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/types/nosuch/props"),
        ("GET", "/types/nosuch/buckets/b/props"),
        ("DELETE", "/types/nosuch/buckets/b/props"),
        ("GET", "/types/nosuch/buckets/b/keys?keys=true"),
        ("GET", "/types/nosuch/buckets?buckets=true"),
    ],
)
async def test_an_unknown_type_is_a_page_not_found(method: str, path: str) -> None:
    async with talking() as talk:
        told = await talk.ask(method, path)
    assert (told.status, told.headers["content-type"]) == (404, "text/html")


async def test_properties_that_are_too_many_or_odd_are_refused() -> None:
    async with talking() as talk:
        told = await change(talk, B, {"props": {"foo": "x" * 70_000}})
        assert (told.status, told.text.split(",")[0]) == (
            400,
            "the properties of one bucket take at most 65536 bytes",
        )
        told = await talk.ask("PUT", B, AS_JSON, b'{"props":{"foo":NaN}}')
        assert told.status == 400
        told = await talk.ask("PUT", B, AS_JSON, b'{"props":{"\\ud800":"\\udfff"}}')
        assert told.status == 204
        assert "\ud800" in json.loads((await talk.get(B)).body)["props"]


# -- lists ---------------------------------------------------------------------------------------


async def five_keys(talk: Talk) -> set[str]:
    for i in range(5):
        await talk.put(f"/buckets/b/keys/k{i}")
    return {f"k{i}" for i in range(5)}


async def test_keys_are_listed_whole() -> None:
    async with talking() as talk:
        assert (await talk.get("/buckets/b/keys?keys=true")).body == b'{"keys":[]}'
        names = await five_keys(talk)
        told = await talk.get("/buckets/b/keys?keys=true")
        assert (told.status, told.headers["content-type"]) == (200, "application/json")
        assert set(json.loads(told.body)["keys"]) == names
        typed = await talk.get("/types/default/buckets/b/keys?keys=true")
        assert typed.body == told.body


async def test_keys_are_listed_as_a_stream() -> None:
    async with talking() as talk:
        names = await five_keys(talk)
        objects = stream(await talk.get("/buckets/b/keys?keys=stream"))
        head = await talk.ask("HEAD", "/buckets/b/keys?keys=stream")
        assert (head.status, head.body) == (200, b"")
        assert (await talk.get("/ping")).status == 200
    assert all(isinstance(entry, dict) and set(entry) == {"keys"} for entry in objects)
    assert {name for entry in objects for name in entry["keys"]} == names  # type: ignore[index]
    assert objects[-1] == {"keys": []}
    assert len(objects) == 4


@pytest.mark.parametrize("query", ["", "?keys=false", "?keys=abc"])
async def test_keys_are_not_listed_unasked(query: str) -> None:
    async with talking() as talk:
        await talk.put("/buckets/b/keys/k")
        assert (await talk.get(f"/buckets/b/keys{query}")).body == b"{}"


async def test_old_paths_list_keys_along_with_properties() -> None:
    shown = {"props": {"name": "b", **DEFAULTS}}
    async with talking() as talk:
        await talk.put("/riak/b/k")
        assert json.loads((await talk.get("/riak/b?keys=true")).body) == {**shown, "keys": ["k"]}
        assert (await talk.get("/riak/b?keys=true&props=false")).body == b'{"keys":["k"]}'
        assert stream(await talk.get("/riak/b?keys=stream")) == [
            shown,
            {"keys": ["k"]},
            {"keys": []},
        ]
        assert stream(await talk.get("/riak/b?keys=stream&props=false"))[0] == {}
        assert json.loads((await talk.get("/riak/b")).body) == shown
        assert (await talk.get("/riak/b?props=false")).status == 404


@pytest.mark.parametrize("path", ["/buckets", "/riak", "/types/default/buckets"])
async def test_buckets_are_listed(path: str) -> None:
    async with talking() as talk:
        for bucket in "abc":
            await talk.put(f"/buckets/{bucket}/keys/k")
        await talk.put("/types/multi/buckets/other/keys/k")
        assert (await talk.get(path)).body == b'{"buckets":[]}'
        assert (await talk.get(f"{path}?buckets=true")).body == b'{"buckets":["a","b","c"]}'
        assert stream(await talk.get(f"{path}?buckets=stream")) == [
            {"buckets": ["a", "b"]},
            {"buckets": ["c"]},
            {"buckets": []},
        ]
        typed = await talk.get("/types/multi/buckets?buckets=true")
        assert typed.body == b'{"buckets":["other"]}'


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (DeadlineExceeded(), "timeout"),
        (QuorumError("R", needed=1, got=0, definite=True), "insufficient_vnodes_available"),
    ],
)
async def test_a_list_that_fails_says_so_with_status_200(error: DynamoError, said: str) -> None:
    node = FakeNode()
    node.listing.error = error
    async with talking(node) as talk:
        await talk.put("/buckets/b/keys/k")
        for path, name in (("/buckets/b/keys?keys=", "keys"), ("/buckets?buckets=", "buckets")):
            whole = await talk.get(f"{path}true")
            assert (whole.status, json.loads(whole.body)) == (200, {"error": said})
            objects = stream(await talk.get(f"{path}stream"))
            assert objects[0] != {name: []}
            assert objects[-1] == {"error": said}


async def test_a_list_has_the_time_it_asks_for() -> None:
    node = FakeNode()
    async with talking(node) as talk:
        await talk.get("/buckets/b/keys?keys=true&timeout=1")
        await talk.get("/buckets/b/keys?keys=true")
        await talk.get("/buckets?buckets=true")
        await talk.get("/buckets?buckets=true&timeout=999999999")
        told = await talk.get("/buckets/b/keys?keys=true&timeout=x")
    assert node.listing.timeouts_s == [0.001, 480.0, 300.0, 300.0]
    assert (told.status, told.text) == (400, 'Bad timeout value "x"\n')


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/buckets/b/keys?keys=stream", 400),
        ("/buckets/b/keys?keys=none", 400),
        ("/types/multi/buckets/b/keys?keys=true", 400),
        ("/riak/b?keys=true", 400),
        ("/riak/b?props=true", 200),
        ("/buckets?buckets=stream", 400),
        ("/riak?buckets=true", 400),
        ("/types/nosuch/buckets?buckets=true", 400),
    ],
)
async def test_a_bad_timeout_is_refused_wherever_a_list_could_be(path: str, status: int) -> None:
    async with talking() as talk:
        assert (await talk.get(f"{path}&timeout=soon")).status == status


async def test_a_list_is_asked_of_as_many_as_a_read_is() -> None:
    node = FakeNode()
    async with talking(node) as talk:
        await change(talk, B, {"props": {"n_val": 5, "r": 4, "allow_mult": True}})
        await talk.get("/buckets/b/keys?keys=true")
        await talk.get("/types/strict/buckets/b/keys?keys=stream")
        await talk.get("/types/lww/buckets?buckets=true")
    one_bucket, strict, lww = node.listing.asked
    assert one_bucket == (ReadQuorum(n=5, r=4), Conflicts.SIBLINGS)
    assert (strict[0].pr, strict[0].sloppy) == (2, False)
    assert lww == (ReadQuorum(n=3, r=2), Conflicts.LAST_WRITE_WINS)


async def test_no_list_is_begun_of_what_cannot_be_a_bucket() -> None:
    async with talking() as talk:
        for listing in ("true", "stream"):
            told = await talk.get(f"/buckets/{'b' * 401}/keys?keys={listing}")
            assert (told.status, "400 bytes" in told.text) == (400, True)


async def test_a_list_that_comes_whole_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "LIST_BYTES_MAX", 20)
    async with talking() as talk:
        await five_keys(talk)
        assert "stream it" in (await talk.get("/buckets/b/keys?keys=true")).text
        assert len(stream(await talk.get("/buckets/b/keys?keys=stream"))) == 4


async def test_names_that_are_no_text_are_listed_in_ascii() -> None:
    async with talking() as talk:
        await talk.put("/buckets/b/keys/%ff%C3%A9")
        told = await talk.get("/buckets/b/keys?keys=true")
        assert told.body == b'{"keys":["\\udcff\\u00e9"]}'
        assert (await talk.get("/buckets/b/keys?keys=true", Accept="text/plain")).status == 406


@pytest.mark.parametrize("line", ["", "Connection: keep-alive\r\n"])
async def test_a_stream_to_an_old_client_ends_with_the_connection(line: str) -> None:
    async with talking() as talk:
        await five_keys(talk)
        talk.writer.write(f"GET /buckets/b/keys?keys=stream HTTP/1.0\r\n{line}\r\n".encode())
        answer = await talk.reader.read()
    assert b"Connection: close" in answer
    assert b"chunked" not in answer
    assert answer.endswith(b'{"keys":[]}')


async def test_a_stream_nobody_hears_is_given_up() -> None:
    node = FakeNode()
    listing = EndlessListing(node.coordinator)
    node.listing = listing
    async with talking(node) as talk:
        talk.writer.write(b"GET /buckets/b/keys?keys=stream HTTP/1.1\r\nHost: x\r\n\r\n")
        await talk.reader.readuntil(b'{"keys":["k"]}')
        talk.writer.close()
        await listing.given_up.wait()
