"""Looks at the cluster: what is kept of them, hints over all disks, errors that are not hidden."""

import asyncio

import pytest

from chaos import sampling
from chaos.sampling import KEPT, Sampler
from chaos.waiting import until
from tests.unit.chaos.stand_ins import NAMES, Cluster

PLACE = ("siblings", "b", "k")


class Rotten(Exception):
    """What nobody expected of a look."""


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def hints(cluster: Cluster, node: str, **counted: float) -> None:
    """Have a node say so much of its hints from now on."""
    figures = {name if name == "held" else f"{name}_total": n for name, n in counted.items()}
    cluster.observer.seen[node].update({f"hints_{name}": n for name, n in figures.items()})


async def test_a_sample_shows_what_every_node_says_and_does(cluster: Cluster) -> None:
    await cluster.nodes["n2"].kill()
    cluster.nodes["n3"].pause()
    cluster.observer.seen["n1"] |= {"up": 1.0, "sys_logger_version": 3.0}
    await cluster.sampler.look()
    [sample] = cluster.sampler.samples
    assert sample.states == {"n1": "serving", "n2": "stopped", "n3": "paused"}
    assert sample.nodes.keys() == {"n1"}  # nobody asks those that cannot answer
    assert sample.nodes["n1"]["up"] == 1.0
    assert sample.nodes["n1"].keys() <= KEPT
    assert sample.at_s == cluster.clock_s.now_s
    assert sample.link_bytes == {"n1>n2": 7}


async def test_objects_are_compared_only_if_some_are_watched(cluster: Cluster) -> None:
    cluster.observer.unlike = 1
    await cluster.sampler.look()
    cluster.sampler.watched = {PLACE: NAMES}
    await cluster.sampler.look()
    assert [(s.watched, s.divergent) for s in cluster.sampler.samples] == [(0, None), (1, 1)]


async def test_a_sample_without_what_links_carried_is_better_than_none(cluster: Cluster) -> None:
    cluster.mesh.carried = None
    await cluster.sampler.look()
    assert cluster.sampler.samples[0].link_bytes == {}
    assert cluster.sampler.samples[0].nodes.keys() == set(NAMES)


async def test_looks_go_on_for_as_long_as_the_block_and_no_longer(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "INTERVAL_S", 0.0)
    sampler = cluster.sampler

    async def several() -> bool:
        return len(sampler.samples) >= 5

    async with sampler.running():
        assert await until(several, within_s=5)
    seen = len(sampler.samples)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(sampler.samples) == seen


async def test_a_look_that_fails_ends_the_block_with_the_error_itself(cluster: Cluster) -> None:
    cluster.observer.broken = Rotten("a figure that is none")
    with pytest.raises(Rotten, match="a figure that is none"):
        async with asyncio.timeout(5), cluster.sampler.running():
            await asyncio.Event().wait()


async def test_what_ends_the_block_is_not_hidden_by_the_looks(cluster: Cluster) -> None:
    with pytest.raises(Rotten, match="the script"):
        async with cluster.sampler.running():
            raise Rotten("the script")


async def test_hints_are_summed_over_nodes_and_only_the_newest_count(cluster: Cluster) -> None:
    hints(cluster, "n1", stored=2, held=2)
    await cluster.sampler.look()
    hints(cluster, "n1", stored=5, delivered=3, superseded=1, expired=1, held=0)
    hints(cluster, "n3", stored=4, held=4)
    await cluster.sampler.look()
    expected = {"stored": 9, "delivered": 3, "superseded": 1, "expired": 1, "held": 4}
    assert cluster.sampler.hints() == expected


async def test_hints_of_a_process_that_came_back_are_counted_once(cluster: Cluster) -> None:
    hints(cluster, "n1", stored=5, held=5)
    await cluster.sampler.look()
    await cluster.nodes["n1"].kill()
    await cluster.sampler.look()
    assert cluster.sampler.hints()["stored"] == 5
    await cluster.nodes["n1"].start()
    hints(cluster, "n1", delivered=5, held=0)  # the disk still knows of all five
    await cluster.sampler.look()
    kept = cluster.sampler.hints()
    assert (kept["stored"], kept["delivered"], kept["held"]) == (5, 5, 0)


async def test_hints_of_a_disk_that_was_lost_are_still_counted(cluster: Cluster) -> None:
    hints(cluster, "n1", stored=5, held=5)
    await cluster.sampler.look()
    cluster.sampler.disk_lost("n1")
    hints(cluster, "n1", stored=1, held=1)
    await cluster.sampler.look()
    kept = cluster.sampler.hints()
    assert (kept["stored"], kept["held"]) == (6, 1)


def test_where_nobody_looked_there_are_no_hints(cluster: Cluster) -> None:
    kept = Sampler(cluster.lab, cluster.clock_s).hints()
    assert kept == dict.fromkeys(("stored", "delivered", "superseded", "expired", "held"), 0)
