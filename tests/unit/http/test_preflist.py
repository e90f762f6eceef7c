import json

from dynamo.core.ids import Key as ObjectKey
from dynamo.core.ids import NodeId, encode_key
from dynamo.core.ring import Ring, RingMember
from tests.unit.http.fake_node import FakeNode
from tests.unit.http.talk import Talk, Told, talking

PATH = "/buckets/b/keys/k1/preflist"


def _node(*members: str) -> FakeNode:
    """A cluster of these members, of which `FakeOperations` thinks n3 to be down."""
    node = FakeNode()
    tokens = {name: tuple(range(i, 8, len(members))) for i, name in enumerate(members)}
    node.ring = Ring(
        [RingMember(node_id=NodeId(name), tokens=held) for name, held in tokens.items()], 8
    )
    return node


def _entries(told: Told) -> list[dict[str, object]]:
    assert told.status == 200
    assert told.headers["content-type"] == "application/json"
    said = json.loads(told.body)
    assert list(said) == ["preflist"]
    entries = said["preflist"]
    assert isinstance(entries, list)
    return entries


async def _asked(talk: Talk, path: str = PATH) -> list[dict[str, object]]:
    return _entries(await talk.get(path))


async def test_all_primaries_are_listed_in_order_with_the_partition_of_the_key() -> None:
    node = _node("n1", "n2", "n4")
    partition = node.ring.partition_of(encode_key(ObjectKey(b"default", b"b", b"k1")))
    async with talking(node) as talk:
        entries = await _asked(talk)
        assert await _asked(talk, "/types/default/buckets/b/keys/k1/preflist") == entries
        head = await talk.ask("HEAD", PATH)
    assert [entry["node"] for entry in entries] == list(
        node.ring.preference_list(partition, 3).primaries
    )
    for entry in entries:
        assert list(entry) == ["partition", "node", "primary"]
        assert (entry["partition"], entry["primary"]) == (partition, True)
    assert (head.status, head.body) == (200, b"")


async def test_who_stands_in_for_a_primary_that_is_down_is_none() -> None:
    node = _node("n1", "n2", "n3", "n4", "n5")
    partition = node.ring.partition_of(encode_key(ObjectKey(b"default", b"b", b"k1")))
    async with talking(node) as talk:
        await talk.ask(
            "PUT",
            "/buckets/b/props",
            {"Content-Type": "application/json"},
            b'{"props":{"n_val":4}}',
        )
        entries = await _asked(talk)
        await talk.ask(
            "PUT",
            "/buckets/b/props",
            {"Content-Type": "application/json"},
            b'{"props":{"sloppy_quorum":false}}',
        )
        strict = await _asked(talk)
    preferred = node.ring.preference_list(partition, 4)
    assert "n3" in preferred.primaries, "another key has to be taken"
    assert {entry["node"] for entry in entries} == {"n1", "n2", "n4", "n5"}
    assert [entry["node"] for entry in entries if not entry["primary"]] == [preferred.stand_ins[0]]
    assert strict == [entry for entry in entries if entry["primary"]]


async def test_an_unknown_type_and_another_form_are_refused() -> None:
    async with talking() as talk:
        unknown = await talk.get("/types/none/buckets/b/keys/k/preflist")
        refused = await talk.get(PATH, Accept="text/html")
        put = await talk.put(PATH)
    assert (unknown.status, unknown.text) == (404, "Unknown bucket type: none")
    assert refused.status == 406
    assert (put.status, put.headers["allow"]) == (405, "HEAD, GET")
