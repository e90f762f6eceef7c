"""`/admin/bucket-types`: types made over HTTP, and what Riak's paths make of them."""

import json

import pytest

from dynamo.core.ids import NodeId
from dynamo.core.property_rules import TYPE_DEFAULTS
from tests.unit.http.fake_node import ME, FakeNode
from tests.unit.http.talk import Talk, Told, talking

CARTS = "/admin/bucket-types/carts"
AS_JSON = {"Content-Type": "application/json"}


async def create(talk: Talk, path: str, said: object) -> Told:
    return await talk.ask("PUT", path, {}, json.dumps(said).encode())


async def test_a_type_is_created_shown_activated_and_used() -> None:
    async with talking() as talk:
        assert (await create(talk, CARTS, {"props": {"n_val": 5}})).status == 204
        assert (await talk.put("/types/carts/buckets/b/keys/k")).status == 404
        assert (await talk.get("/types/carts/props")).status == 404
        shown = json.loads((await talk.get(CARTS)).body)
        props = {**TYPE_DEFAULTS, "n_val": 5, "active": False, "claimant": ME}
        assert shown == {
            "name": "carts",
            "active": False,
            "created": True,
            "unaware": {},
            "props": props,
        }
        told = await talk.ask("POST", f"{CARTS}/activate", {}, b"")
        assert (told.status, json.loads(told.body)["was_active"]) == (200, False)
        told = await talk.ask("POST", f"{CARTS}/activate", {}, b"")
        assert (told.status, json.loads(told.body)["was_active"]) == (200, True)
        assert (await talk.put("/types/carts/buckets/b/keys/k")).status == 204
        told = await talk.get("/types/carts/props")
        assert json.loads(told.body)["props"] == {**props, "active": True}


async def test_types_are_listed_with_the_default_one_first() -> None:
    async with talking() as talk:
        await create(talk, "/admin/bucket-types/a%20%C3%BC", {"props": {}})
        types = json.loads((await talk.get("/admin/bucket-types")).body)["types"]
        head = await talk.ask("HEAD", "/admin/bucket-types")
    assert types[:3] == [
        {"name": "default", "active": True},
        {"name": "a ü", "active": False},
        {"name": "asleep", "active": False},
    ]
    assert head.status == 200


@pytest.mark.parametrize(
    ("name", "said", "sentence"),
    [
        ("carts", {"props": {"n_val": 0}}, "carts cannot be created: n_val: not_integer"),
        ("carts", {"props": {"consistent": True}}, "there is no strong consistency here"),
        ("carts", {"props": []}, "a JSON object of the form"),
        ("carts", {"n_val": 5}, "a JSON object of the form"),
        ("any", {"props": {}}, "the name 'any' is reserved"),
        ("default", {"props": {}}, "the name 'default' is reserved"),
        ("multi", {"props": {}}, "multi is a bucket type of the settings"),
        ("%ff", {"props": {}}, "the name of a bucket type is printable text in UTF-8"),
        (
            "..",
            {"props": {}},
            "the name of a bucket type is printable text in UTF-8, and no . or ..",
        ),
        ("a%0Ab", {"props": {}}, "the name of a bucket type is printable text in UTF-8"),
        ("x" * 65, {"props": {}}, "a bucket type has 1 to 64 bytes, got 65"),
    ],
)
async def test_a_type_that_cannot_be_is_refused_in_a_sentence(
    name: str, said: object, sentence: str
) -> None:
    async with talking() as talk:
        told = await create(talk, f"/admin/bucket-types/{name}", said)
    assert told.status == 400
    assert sentence in told.text
    assert told.text.count("\n") == 1


@pytest.mark.parametrize("name", ["nosuch", "%ff"])
async def test_an_unknown_type_is_not_found(name: str) -> None:
    async with talking() as talk:
        for told in (
            await talk.get(f"/admin/bucket-types/{name}"),
            await talk.ask("POST", f"/admin/bucket-types/{name}/activate", {}, b""),
        ):
            assert told.status == 404
            assert b"is not an existing bucket type" in told.body


async def test_nodes_that_do_not_know_a_type_are_named_and_stand_in_the_way() -> None:
    node = FakeNode()
    node.bucket_types.unaware = {NodeId("n3"): "no connection"}
    async with talking(node) as talk:
        await create(talk, CARTS, {"props": {}})
        assert json.loads((await talk.get(CARTS)).body)["unaware"] == {"n3": "no connection"}
        told = await talk.ask("POST", f"{CARTS}/activate", {}, b"")
        assert (told.status, told.text) == (400, "not every node knows it\n")


async def test_a_node_that_has_not_joined_makes_no_types() -> None:
    node = FakeNode()
    node.serving = False
    async with talking(node) as talk:
        assert (await create(talk, CARTS, {"props": {}})).status == 503
        assert (await talk.get("/admin/bucket-types")).status == 503


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
async def test_the_media_type_of_properties_has_no_case(kind: str) -> None:
    async with talking() as talk:
        body = b'{"props":{"n_val":2}}'
        told = await talk.ask("PUT", "/types/multi/props", {"Content-Type": kind}, body)
    assert told.status == 204


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"write_once": True}, {"write_once": "cannot update write_once property"}),
        (
            {"last_write_wins": True, "dvv_enabled": True, "n_val": "x"},
            {
                "dvv_enabled": "If last_write_wins is true, dvv_enabled must be false",
                "n_val": "not_integer",
            },
        ),
    ],
)
async def test_a_bucket_without_a_type_refuses_what_riak_refuses(
    changes: dict[str, object], reasons: dict[str, str]
) -> None:
    async with talking() as talk:
        body = json.dumps({"props": changes}).encode()
        told = await talk.ask("PUT", "/buckets/b/props", AS_JSON, body)
    assert (told.status, json.loads(told.body)) == (400, reasons)
