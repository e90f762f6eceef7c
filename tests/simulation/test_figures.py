"""What a whole node tells of itself."""

import asyncio
import re
from typing import cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dynamo.core.figures import Histogram, named
from dynamo.core.ids import Bucket, Key
from dynamo.core.quorum import Conflicts, ReadQuorum, WriteQuorum
from dynamo.core.values import Value
from dynamo.errors import BadRequest
from dynamo.http.app import HttpServer
from dynamo.http.metrics import Metrics
from dynamo.http.server_info import ServerInfo
from dynamo.node.node import Node
from tests.simulation.scenario import in_world
from tests.simulation.world import Options, World

pytestmark = pytest.mark.simulation

KEY = Key(b"default", b"b", b"k")

DASHBOARDS = [
    "cpu_avg1",
    "cpu_avg5",
    "cpu_avg15",
    "memory_code",
    "memory_ets",
    "memory_processes",
    "memory_system",
    "memory_total",
    "node_gets",
    "node_gets_total",
    "node_puts",
    "node_puts_total",
    "vnode_gets",
    "vnode_gets_total",
    "vnode_puts",
    "vnode_puts_total",
    "vnode_index_reads",
    "vnode_index_reads_total",
    "vnode_index_writes",
    "vnode_index_writes_total",
    "read_repairs",
    "read_repairs_total",
    "pbc_active",
    "pbc_connects",
    "pbc_connects_total",
    "nodename",
    "ring_members",
    "ring_num_partitions",
    "ring_creation_size",
    "ring_ownership",
    "connected_nodes",
    "storage_backend",
    "node_get_fsm_active",
    "node_put_fsm_active",
    "node_get_fsm_rejected",
    "node_put_fsm_rejected",
    "node_get_fsm_rejected_total",
    "node_put_fsm_rejected_total",
    "coord_redirs_total",
    "list_fsm_active",
    "index_fsm_active",
    "precommit_fail",
    "postcommit_fail",
    "skipped_read_repairs",
    "vnode_counter_update",
    "vnode_set_update",
    "vnode_map_update",
    "mem_total",
    "mem_allocated",
    "disk",
    "sys_process_count",
    "riak_kv_version",
    "riak_core_version",
    "riak_api_version",
    "dynamo_version",
]
"""Names of `/stats` that monitoring reads, besides `DISTRIBUTIONS`."""

DISTRIBUTIONS = [
    f"{name}_{what}"
    for name in (
        "node_get_fsm_objsize",
        "node_get_fsm_siblings",
        "node_get_fsm_time",
        "node_put_fsm_time",
    )
    for what in ("mean", "median", "95", "99", "100")
]


async def _write(node: Node) -> None:
    quorum = WriteQuorum(n=3, w=3, pw=0, dw=0, node_confirms=0, sloppy=True)
    value = Value(body=b"value", content_type="text/plain")
    await node.coordinator.put(KEY, value, None, quorum, Conflicts.SIBLINGS, timeout_s=5)


def test_every_figure_can_be_read_and_shares_its_names_with_no_other() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        operations = world.node("n1").operations
        names = [figure.name for figure in operations.figures]
        assert len(set(names)) == len(names)
        shown = named(operations.figures)
        histograms = sum(isinstance(figure, Histogram) for figure in operations.figures)
        assert len(shown) == len(names) + 4 * histograms
        assert shown.items() <= operations.read_stats().items()
        text = Metrics(operations.figures, "n1").exposition("").body.decode()
        families = [family.name for family in text_string_to_metric_families(text)]
        assert len(set(families)) == len(families)
        assert {f"dynamo_{name}" for name in names} <= set(families)

    in_world(1, Options(nodes=3), scenario)


def _stats(node: Node) -> dict[str, object]:
    return ServerInfo(node, HttpServer(node, node.config).figures).everything()


@pytest.mark.parametrize("name", DASHBOARDS + DISTRIBUTIONS)
def test_stats_have_what_dashboards_read(name: str, stats_of_a_node: dict[str, object]) -> None:
    value = stats_of_a_node[name]
    if name in ("ring_members", "connected_nodes", "disk"):
        assert isinstance(value, list)
    elif name.endswith("_version") or name in ("nodename", "ring_ownership", "storage_backend"):
        assert isinstance(value, str)
        assert value
    else:
        assert isinstance(value, int)
        assert value >= 0


@pytest.fixture(scope="module")
def stats_of_a_node() -> dict[str, object]:
    """After a write and a read."""
    stats: dict[str, object] = {}

    async def scenario(world: World) -> None:
        await world.start_all()
        node = world.node("n1")
        await _write(node)
        quorum = ReadQuorum(n=3, r=2, pr=0, node_confirms=0, sloppy=True)
        await node.coordinator.get(KEY, quorum, timeout_s=5)
        stats.update(_stats(node))

    in_world(1, Options(nodes=3), scenario)
    return stats


def test_stats_tell_what_is_so(stats_of_a_node: dict[str, object]) -> None:
    stats = stats_of_a_node
    assert stats["memory_total"] == stats["memory_system"]
    assert cast("int", stats["memory_total"]) > 2**20
    assert cast("int", stats["mem_total"]) > cast("int", stats["mem_allocated"]) > 0
    assert stats["ring_members"] == ["n1", "n2", "n3"]
    assert stats["connected_nodes"] == ["n2", "n3"]
    owned = dict(re.findall(r"\{'(n[123])',([0-9]+)\}", cast("str", stats["ring_ownership"])))
    assert sum(map(int, owned.values())) == stats["ring_num_partitions"]
    assert (stats["node_gets"], stats["node_get_fsm_active"]) == (1, 0)
    assert stats["node_get_fsm_siblings_100"] == 1


def test_reads_and_writes_at_work_are_told() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        node = world.node("n1")
        writing = asyncio.create_task(_write(node))
        await asyncio.sleep(0)
        assert _stats(node)["node_put_fsm_active"] == 1
        await writing
        with pytest.raises(BadRequest):
            await node.coordinator.put(
                Key(b"default", b"b", b"k" * 2**16),
                Value(body=b"", content_type="text/plain"),
                None,
                WriteQuorum(n=3, w=1, pw=0, dw=0, node_confirms=0, sloppy=True),
                Conflicts.SIBLINGS,
                timeout_s=5,
            )
        assert _stats(node)["node_put_fsm_active"] == 0

    in_world(1, Options(nodes=3), scenario)


def test_listings_at_work_are_told() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        node = world.node("n1")
        await _write(node)
        quorum = ReadQuorum(n=3, r=2, pr=0, node_confirms=0, sloppy=True)
        pages = node.listing.keys(Bucket(b"default", b"b"), quorum, Conflicts.SIBLINGS, timeout_s=5)
        assert _stats(node)["list_fsm_active"] == 0
        assert await anext(pages) == [b"k"]
        assert _stats(node)["list_fsm_active"] == 1
        assert [page async for page in pages] == []
        assert _stats(node)["list_fsm_active"] == 0

    in_world(1, Options(nodes=3), scenario)


def test_a_write_shows_in_the_commits_of_all_its_replicas() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        nodes = list(world.running())
        before = [named(node.operations.figures) for node in nodes]
        await _write(nodes[0])
        for node, then in zip(nodes, before, strict=True):
            now = named(node.operations.figures)
            assert now["commits_total"] > then["commits_total"]
            assert now["commit_writes_total"] > then["commit_writes_total"]
            assert now["commit_bytes_total"] >= then["commit_bytes_total"] + len(b"value")
            assert now["commit_queued_bytes"] == 0

    in_world(1, Options(nodes=3), scenario)


def test_a_read_shows_in_the_figures_of_the_node_that_was_asked() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        node = world.node("n1")
        await _write(node)
        quorum = ReadQuorum(n=3, r=2, pr=0, node_confirms=0, sloppy=True)
        await node.coordinator.get(KEY, quorum, timeout_s=5)
        now = named(node.operations.figures)
        assert now["node_gets_total"] == 1
        assert node.operations.read_stats()["node_gets"] == 1
        assert now["node_get_fsm_time_100"] > 0

    in_world(1, Options(nodes=3), scenario)
