import base64
import json

import pytest

from dynamo.http.wire import context_of
from tests.unit.http.fake_node import STARTED_AT_MS, FakeNode
from tests.unit.http.talk import talking


async def test_members_are_as_the_node_describes_them() -> None:
    node = FakeNode()
    async with talking(node) as talk:
        told = json.loads((await talk.get("/admin/members")).body)
    assert told == {"node": "n1", "cluster": "fakes", "members": node.operations.members()}


async def test_a_node_is_removed_only_if_it_is_down_or_by_force() -> None:
    node = FakeNode()
    async with talking(node) as talk:
        assert (await talk.ask("DELETE", "/admin/members/n3")).status == 204
        refused = await talk.ask("DELETE", "/admin/members/n2")
        assert (refused.status, refused.body) == (400, b"n2 is up\n")
        assert (await talk.ask("DELETE", "/admin/members/n2?force=true")).status == 204
    assert node.removal.removed == ["n3", "n2"]


async def test_the_ring_says_who_owns_and_holds_what() -> None:
    async with talking() as talk:
        told = json.loads((await talk.get("/admin/ring")).body)
    assert told["partitions"] == len(told["owners"]) == 8
    assert set(told["owners"]) == {"n1", "n2", "n3"}
    for node, load in told["loads"].items():
        assert load["partitions"] == told["owners"].count(node)
    assert sum(load["replicas"] for load in told["loads"].values()) == 8 * 3


async def test_a_key_is_located_by_every_way_to_write_it() -> None:
    async with talking() as talk:
        told = [
            json.loads((await talk.get(f"/admin/locate/{path}")).body)
            for path in ("b/k", "buckets/b/keys/k", "default/b/k", "types/default/buckets/b/keys/k")
        ]
        typed = json.loads((await talk.get("/admin/locate/multi/b/k")).body)
        assert (await talk.get("/admin/locate/nosuch/b/k")).status == 404
    assert all(answer == told[0] for answer in told)
    assert 0 <= told[0]["partition"] < 8
    assert told[0]["n_val"] == 3
    assert told[0]["stand_ins"] == []
    assert {entry["node"]: entry["opinion"] for entry in told[0]["primaries"]} == {
        "n1": "up",
        "n2": "up",
        "n3": "down",
    }
    assert {entry["http"] for entry in told[0]["primaries"]} == {
        "127.0.0.1:8098",
        "127.0.0.1:8099",
        "127.0.0.1:80910",
    }
    assert typed["partition"] != told[0]["partition"]


async def test_stand_ins_follow_the_primaries() -> None:
    async with talking() as talk:
        await talk.ask(
            "PUT",
            "/buckets/b/props",
            {"Content-Type": "application/json"},
            b'{"props":{"n_val":1}}',
        )
        told = json.loads((await talk.get("/admin/locate/b/k")).body)
    assert (told["n_val"], len(told["primaries"]), len(told["stand_ins"])) == (1, 1, 2)


async def test_a_node_says_what_it_holds_itself() -> None:
    async with talking() as talk:
        await talk.put("/types/multi/buckets/b/keys/k", b"\x00x")
        await talk.put("/types/multi/buckets/b/keys/k", b"y")
        shown = await talk.get("/types/multi/buckets/b/keys/k")
        told = json.loads((await talk.get("/admin/local/multi/b/k")).body)
        other = json.loads((await talk.get("/admin/local/b/k")).body)
    assert other == {"held": False, "digest": None, "context": None, "values": [], "hints": []}
    assert told["held"] is True
    assert told["context"] == shown.headers["x-riak-vclock"]
    assert context_of({"X-Riak-Vclock": told["context"]})
    assert [base64.b64decode(value["body_base64"]) for value in told["values"]] == [b"y", b"\x00x"]
    actor = b"actor_n1".hex()
    assert [value["dot"] for value in told["values"]] == [f"{actor}:2", f"{actor}:1"]
    assert {value["modified_at_ms"] for value in told["values"]} == {STARTED_AT_MS}
    assert {value["deleted"] for value in told["values"]} == {False}
    hints = told.pop("hints")
    assert hints == [{"for": "n2", **told}]
    assert len(bytes.fromhex(told["digest"])) == 16


async def test_a_node_says_what_its_deleted_keys_wait_for() -> None:
    async with talking() as talk:
        told = json.loads((await talk.get("/admin/tombstones")).body)
    key = {"bucket_type": "default", "bucket": "b", "key": "\udcffk"}
    assert told == {
        "node": "n1",
        "held": 9,
        "owned": 4,
        "oldest_ms": STARTED_AT_MS,
        "settling_s_max": 68.2,
        "waits": [{"reason": "n3 cannot be reached", "count": 4, "keys": [key]}],
    }


async def test_a_node_that_joins_answers_questions_about_itself() -> None:
    node = FakeNode()
    node.serving = False
    async with talking(node) as talk:
        assert (await talk.ask("POST", "/admin/hints/wait", {}, b"")).status == 200
        for path in (
            "/admin/members",
            "/admin/ring",
            "/admin/hints",
            "/admin/local/b/k",
            "/admin/locate/b/k",
        ):
            assert (await talk.get(path)).status == 200


async def test_a_name_that_is_too_long_is_refused() -> None:
    async with talking() as talk:
        for report in ("local", "locate"):
            assert (await talk.get(f"/admin/{report}/{'b' * 500}/k")).status == 400


async def test_a_node_tells_what_it_keeps_for_others() -> None:
    node = FakeNode()
    node.operations.hints_held = 2
    async with talking(node) as talk:
        told = json.loads((await talk.get("/admin/hints")).body)
    assert told == {"node": "n1", "hints": [{"for": "n3", "hints": 2}]}


async def test_who_waits_for_hints_is_told_when_they_are_gone_or_the_time_is_up() -> None:
    node = FakeNode()
    async with talking(node) as talk:
        done = await talk.ask("POST", "/admin/hints/wait", {}, b"")
        node.operations.hints_held = 2
        left = await talk.ask("POST", "/admin/hints/wait?timeout_s=0.5", {}, b"")
    assert done.status == 200
    assert json.loads(done.body) == {"node": "n1", "waited_for": 5, "held": 0, "for": {}}
    assert left.status == 503
    assert left.headers["retry-after"] == "1"
    assert json.loads(left.body) == {"node": "n1", "waited_for": 5, "held": 2, "for": {"n3": 2}}
    assert node.operations.waits_s == [30.0, 0.5]


@pytest.mark.parametrize("said", ["-1", "x", "nan", "inf", "3601", "%00"])
async def test_a_time_that_nobody_can_wait_is_refused(said: str) -> None:
    async with talking() as talk:
        told = await talk.ask("POST", f"/admin/hints/wait?timeout_s={said}", {}, b"")
    assert told.status == 400


async def test_divergence_says_what_is_equal_and_names_keys_that_are_not() -> None:
    node = FakeNode()
    async with talking(node) as talk:
        told = json.loads((await talk.get("/admin/divergence")).body)
        few = json.loads((await talk.get("/admin/divergence?keys_max=0&timeout=1500")).body)
        assert (await talk.get("/admin/divergence?keys_max=many")).status == 400
    assert node.divergence.asked == [(100, 60.0), (0, 1.5)]
    assert (told["node"], told["equal"], told["keys_left_out"]) == ("n1", False, False)
    assert [entry["equal"] for entry in told["partitions"]] == [True, False]
    assert told["partitions"][1] == {
        "partition": 1,
        "n_val": 3,
        "primaries": ["n1", "n2"],
        "silent": ["n1"],
        "equal": False,
    }
    assert told["keys"] == [
        {
            "bucket_type": "default",
            "bucket": "b",
            "key": "k\udcff",
            "partition": 1,
            "digests": {"n1": "00000000000000ff", "n2": None},
        }
    ]
    assert (few["keys"], few["keys_left_out"]) == ([], True)
