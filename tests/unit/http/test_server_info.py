import asyncio
import json

import pytest

from dynamo.core.figures import Count
from dynamo.http import app
from dynamo.http.last_minute import LastMinute
from tests.unit.http.fake_node import FakeNode
from tests.unit.http.talk import talking


async def test_ping_is_ok_once_the_node_has_joined() -> None:
    node = FakeNode()
    async with talking(node) as talk:
        told = await talk.get("/ping")
        assert (told.status, told.headers["content-type"], told.body) == (200, "text/html", b"OK")
        node.serving = False
        told = await talk.get("/ping")
        assert (told.status, told.text) == (503, "joining\n")
        assert told.headers["retry-after"] == "1"


async def test_the_root_lists_what_there_is() -> None:
    async with talking() as talk:
        page = await talk.get("/")
        listed = await talk.get("/", Accept="application/json")
        assert (await talk.get("/", Accept="image/png")).status == 406
    assert page.headers["content-type"] == "text/html"
    assert page.headers["vary"] == "Accept"
    resources = json.loads(listed.body)
    assert resources["riak_kv_wm_bucket_type"] == "/types"
    assert resources["riak_kv_wm_object"] == "/buckets"
    for name, path in resources.items():
        assert f'<{path}>; rel="{name}"' in listed.headers["link"]
        assert f'<a href="{path}">{name}</a>' in page.text


async def test_stats_are_what_node_and_interface_count() -> None:
    async with talking() as talk:
        await talk.get("/ping")
        told = await talk.get("/stats")
        figures = json.loads(told.body)
        plain = await talk.get("/stats", Accept="text/plain")
        assert (await talk.get("/stats", Accept="image/png")).status == 406
    assert told.headers["content-type"] == "application/json"
    assert figures["node_gets_total"] == 7
    assert figures["ring_members"] == ["n1", "n2", "n3"]
    assert figures["nodename"] == "n1"
    assert figures["http_requests_total"] == 2
    assert figures["http_requests_in_flight"] == 1
    assert tuple(map(int, figures["riak_kv_version"].split("."))) >= (2, 1)
    assert figures["riak_core_version"]
    assert plain.headers["content-type"] == "text/plain"
    assert json.loads(plain.body).keys() == figures.keys()
    assert plain.body.count(b"\n") == len(figures) + 2 + 3 + 1


async def test_stats_tell_the_last_minute_of_what_is_counted_from_the_start() -> None:
    node, reads = FakeNode(), 5
    node.operations.figures = (Count("vnode_gets", "reads", lambda: reads),)
    async with talking(node) as talk:
        reads += 3
        figures = json.loads((await talk.get("/stats")).body)
    assert (figures["vnode_gets"], figures["vnode_gets_total"]) == (3, 8)


async def test_a_server_that_runs_looks_at_what_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = asyncio.Event()
    monkeypatch.setattr(LastMinute, "look", lambda self, now_s: looked.set())
    monkeypatch.setattr(app, "BEAT_S", 0.001)
    async with talking(), asyncio.timeout(10):
        await looked.wait()
