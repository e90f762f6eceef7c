"""What a whole node tells of itself."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dynamo.core.figures import Histogram, named
from dynamo.core.ids import Key
from dynamo.core.quorum import Conflicts, ReadQuorum, WriteQuorum
from dynamo.core.values import Value
from dynamo.http.metrics import Metrics
from dynamo.node.node import Node
from tests.simulation.scenario import in_world
from tests.simulation.world import Options, World

pytestmark = pytest.mark.simulation

KEY = Key(b"default", b"b", b"k")


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
