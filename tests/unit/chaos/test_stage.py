"""The stage: faults are logged and taken back, waits wait for what must be, the load is counted."""

import asyncio
from contextlib import AbstractAsyncContextManager
from random import Random

import pytest

from chaos import stage as stage_module
from chaos import waiting
from chaos.clients import LabClient
from chaos.errors import ClusterError
from chaos.links import CutKind, Link, Stream, latency, one_way, replies_only, split
from chaos.recording import Edge, Fault
from chaos.sampling import WATCHED_MAX
from chaos.stage import Stage, Traffic
from chaos.workloads.workload import Workload
from tests.unit.chaos.stand_ins import MODE, NAMES, Cluster

LINK = Link("n1", "n2")
SIDES = split([["n1"], ["n2", "n3"]])


class GivenUp(Exception):
    """What a script may end with."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_LOOK_S", 0.001)
    monkeypatch.setattr(stage_module, "_ACT_S", 0.0)


@pytest.fixture
async def cluster() -> Cluster:
    return Cluster()


def names(stage: Stage) -> list[str]:
    return [mark.name for mark in stage.marks]


FAULTS = ["cut", "toxic", "killed", "paused", "clock_off"]


def breaking(stage: Stage, what: str) -> AbstractAsyncContextManager[None]:
    """The fault that is called so, of n1 or its links."""
    if what == "cut":
        return stage.cut(SIDES, CutKind.DROP, "n1 | n2 n3")
    if what == "toxic":
        return stage.toxic("latency", [LINK], [latency(Stream.UPSTREAM, 5)], "slow")
    if what == "clock_off":
        return stage.clock_off("n1", -30.0)
    return stage.killed("n1") if what == "killed" else stage.paused("n1")


@pytest.mark.parametrize("what", FAULTS)
async def test_a_fault_is_logged_from_edge_to_edge(cluster: Cluster, what: str) -> None:
    stage = cluster.stage()
    begun_s = cluster.clock_s()
    async with breaking(stage, what):
        broken_s = cluster.clock_s()
        [fault] = stage.faults
        assert fault.ended is None
    [fault] = stage.faults
    assert begun_s < fault.began.from_s < fault.began.until_s < broken_s
    assert fault.ended is not None
    assert broken_s < fault.ended.from_s < fault.ended.until_s
    assert [(mark.name, mark.at_s) for mark in stage.marks] == [
        ("broken", fault.began.until_s),
        ("healed", fault.ended.until_s),
    ]


@pytest.mark.parametrize("what", FAULTS)
async def test_a_fault_is_taken_back_however_its_block_ends(cluster: Cluster, what: str) -> None:
    stage = cluster.stage()
    with pytest.raises(GivenUp):
        async with breaking(stage, what):
            raise GivenUp
    assert stage.faults[0].ended is not None
    assert cluster.mesh.lasting == set()
    assert {node.state for node in cluster.nodes.values()} == {"serving"}


async def test_what_a_fault_is_called_and_what_it_hit_are_for_a_legend(cluster: Cluster) -> None:
    stage = cluster.stage()
    for what in FAULTS:
        async with breaking(stage, what):
            pass
    legend = [(fault.kind, fault.said, fault.targets) for fault in stage.faults]
    assert legend == [
        ("cut", "n1 | n2 n3, dropped", tuple(str(way) for way in sorted(SIDES))),
        ("latency", "slow", ("n1>n2",)),
        ("kill", "n1 killed", ("n1",)),
        ("pause", "n1 stands still", ("n1",)),
        ("clock", "the clock of n1 is -30 s off", ("n1",)),
    ]


async def test_a_wipe_is_over_as_soon_as_it_is_done(cluster: Cluster) -> None:
    stage = cluster.stage()
    async with stage.killed("n1"):
        await stage.wipe("n1")
    wipe = stage.faults[1]
    assert wipe == Fault(
        kind="wipe",
        said="n1 lost its disk",
        targets=("n1",),
        began=wipe.began,
        ended=wipe.began,
    )
    assert names(stage) == ["broken", "healed"]
    assert cluster.done == ["n1 killed", "n1 wiped", "n1 started"]


async def test_a_clock_is_wrong_from_one_start_of_its_node_to_the_next(cluster: Cluster) -> None:
    async with cluster.stage().clock_off("n2", 5.0):
        during = list(cluster.done)
    assert during == ["n2 stopped", "n2 is +5 s off", "n2 started"]
    assert cluster.done[3:] == ["n2 stopped", "n2 is +0 s off", "n2 started"]


async def test_what_a_node_counted_is_looked_at_before_it_goes(cluster: Cluster) -> None:
    stage = cluster.stage()
    cluster.observer.seen["n1"]["hints_stored_total"] = 3.0
    async with stage.killed("n1"):
        del cluster.observer.seen["n1"]
        assert cluster.sampler.hints()["stored"] == 3


async def test_what_was_counted_on_a_disk_that_is_lost_is_not_forgotten(cluster: Cluster) -> None:
    stage = cluster.stage()
    cluster.observer.seen["n1"]["hints_stored_total"] = 3.0
    async with stage.killed("n1"):
        await stage.wipe("n1")
    cluster.observer.seen["n1"]["hints_stored_total"] = 1.0
    await cluster.sampler.look()
    assert cluster.sampler.hints()["stored"] == 4


async def test_a_node_that_does_not_come_back_ends_the_run(cluster: Cluster) -> None:
    stage = cluster.stage()
    with pytest.raises(ClusterError, match="did not come back: n1 cannot open its store"):
        async with stage.killed("n1"):
            cluster.nodes["n1"].comes_back = False
    assert stage.faults[0].ended is None


async def test_a_disk_that_cannot_be_wiped_ends_the_run(cluster: Cluster) -> None:
    cluster.nodes["n1"].is_wipeable = False
    with pytest.raises(ClusterError, match="n1 cannot remove"):
        await cluster.stage().wipe("n1")


async def test_two_cuts_that_begin_at_once_are_two(cluster: Cluster) -> None:
    stage = cluster.stage()
    both = asyncio.Barrier(2)

    async def cut(source: str) -> None:
        async with stage.cut(one_way([source], ["n3"]), CutKind.STALL, source):
            await both.wait()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for source in ("n1", "n2"):
            group.create_task(cut(source))
    assert sorted(fault.said for fault in stage.faults) == ["n1, stalled", "n2, stalled"]
    assert names(stage) == ["broken", "healed"]


# Waiting


async def settles(stage: Stage) -> bool:
    """Whether the nodes know by now whom they reach."""
    before, eyes = len(stage.marks), cluster_of(stage).observer
    asking, looks = asyncio.ensure_future(stage.noticed()), eyes.looks

    async def looked_at_or_done() -> bool:
        return asking.done() or eyes.looks >= looks + 10

    assert await waiting.until(looked_at_or_done, within_s=5)
    if not asking.done():
        asking.cancel()
        return False
    await asking
    assert names(stage)[before:] == ["settled"]
    return True


def cluster_of(stage: Stage) -> Cluster:
    lab: object = stage.lab
    assert isinstance(lab, Cluster)
    return lab


async def test_a_cut_is_noticed_when_both_sides_take_the_other_for_down(cluster: Cluster) -> None:
    stage = cluster.stage()
    async with stage.cut(SIDES, CutKind.DROP, "n1 | n2 n3"):
        assert not await settles(stage)
        cluster.divided("n1 n2", "n3")
        assert not await settles(stage)
        cluster.divided("n1", "n2 n3")
        assert await settles(stage)
    assert not await settles(stage)
    cluster.divided("n1 n2 n3")
    assert await settles(stage)


async def test_whom_a_node_does_not_reach_one_way_it_does_not_reach(cluster: Cluster) -> None:
    stage = cluster.stage()
    async with stage.cut(one_way(["n1"], ["n2"]), CutKind.DROP, "n1 to n2"):
        assert not await settles(stage)
        cluster.observer.opinions |= {"n1": {"n1", "n3"}, "n2": {"n2", "n3"}}
        assert await settles(stage)


async def test_who_gets_every_answer_is_reached_whatever_else_is_lost(cluster: Cluster) -> None:
    stage = cluster.stage()
    async with stage.cut(replies_only(one_way(["n2"], ["n1"])), CutKind.DROP, "n2 is mute to n1"):
        assert not await settles(stage)
        cluster.observer.opinions["n1"] = {"n1", "n3"}  # n2 has answers from n1
        assert await settles(stage)


@pytest.mark.parametrize("what", ["killed", "paused"])
async def test_of_a_node_that_is_away_the_others_know(cluster: Cluster, what: str) -> None:
    stage = cluster.stage()
    async with breaking(stage, what):
        del cluster.observer.opinions["n1"]  # it is not asked, and could not answer
        assert not await settles(stage)
        cluster.divided("n2 n3")
        assert await settles(stage)


async def test_a_slow_link_keeps_nobody_apart(cluster: Cluster) -> None:
    stage = cluster.stage()
    async with breaking(stage, "toxic"):
        assert await settles(stage)


async def test_a_node_that_serves_and_does_not_answer_is_waited_for(cluster: Cluster) -> None:
    stage = cluster.stage()
    del cluster.observer.opinions["n2"]
    assert not await settles(stage)


async def test_if_the_nodes_never_notice_the_run_ends(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_module, "NOTICED_S_MAX", 0.01)
    stage = cluster.stage()
    with pytest.raises(ClusterError, match=r"after 0\.01 s the nodes do not know"):
        async with stage.cut(SIDES, CutKind.REFUSE, "n1 | n2 n3"):
            await stage.noticed()
    assert names(stage) == ["broken", "healed"]


async def test_replicas_have_converged_once_all_are_equal(cluster: Cluster) -> None:
    stage = cluster.stage()
    cluster.observer.equal_after = 3
    await stage.converge()
    assert cluster.observer.equal_after == -1
    assert names(stage) == ["quiet", "converged"]


async def test_convergence_counts_from_the_later_of_healed_and_quiet(cluster: Cluster) -> None:
    stage = cluster.stage()
    async with breaking(stage, "cut"):
        pass
    await stage.converge()
    at_s = {mark.name: mark.at_s for mark in stage.marks}
    assert at_s["healed"] < at_s["quiet"]
    assert stage.converged_after_s() == at_s["converged"] - at_s["quiet"]

    async with breaking(stage, "cut"):
        pass
    stage.mark("converged")
    at_s = {mark.name: mark.at_s for mark in stage.marks}
    assert stage.converged_after_s() == at_s["converged"] - at_s["healed"] == 1.0


async def test_replicas_that_stay_apart_have_not_converged(cluster: Cluster) -> None:
    stage = cluster.stage(convergence_s_max=0.01)
    cluster.observer.equal_after = 1_000_000
    await stage.converge()
    assert names(stage) == ["quiet"]
    assert stage.converged_after_s() is None


# Load


class Steps(Workload):
    """Does nothing, and notes what it was asked to do."""

    def __init__(self, name: str = "steps", *, keys: int = 2) -> None:
        super().__init__(name, MODE, keys=keys)
        self.prepared = 0
        self.begun = asyncio.Event()

    async def prepare(self, clients: object) -> None:
        self.prepared += 1

    async def step(self, client: LabClient, dice: Random, intended_s: float) -> None:
        self.begun.set()


async def test_a_load_prepares_what_nobody_prepared_yet(cluster: Cluster) -> None:
    stage, known, new = cluster.stage(), Steps("known"), Steps("new")
    await stage.prepare(known)
    for _ in range(2):
        async with stage.load(*(Traffic(workload=each, rate_hz=100) for each in (known, new))):
            pass
    assert (known.prepared, new.prepared) == (1, 1)
    assert set(stage.placements) == {*known.objects(), *new.objects()}
    assert dict(cluster.sampler.watched) == dict.fromkeys(stage.placements, NAMES)


async def test_no_more_objects_are_watched_than_looks_can_bear(cluster: Cluster) -> None:
    stage = cluster.stage()
    await stage.prepare(Steps(keys=50))
    assert len(cluster.sampler.watched) == WATCHED_MAX
    assert len(await stage.dump()) == 3 * 50


async def test_a_load_lasts_as_long_as_its_block_and_is_counted(cluster: Cluster) -> None:
    stage, workload = cluster.stage(), Steps()
    async with stage.load(Traffic(workload=workload, rate_hz=500)) as load, asyncio.timeout(5):
        await workload.begun.wait()
    assert names(stage) == ["warm"]
    once = load.sent
    assert stage.figures["arrivals"] == once > 0
    assert stage.figures["arrivals never sent"] == 0
    assert stage.figures["arrivals whose turn never came"] == 0
    workload.begun.clear()
    async with stage.load(Traffic(workload=workload, rate_hz=500)) as load, asyncio.timeout(5):
        await workload.begun.wait()
    assert stage.figures["arrivals"] == once + load.sent


async def test_the_one_who_waits_is_told_what_is_going_on(cluster: Cluster) -> None:
    stage = cluster.stage()
    await stage.last(0, "all is well")
    await stage.converge()
    assert cluster.said == ["all is well", "waiting until all replicas are equal"]


async def test_an_edge_lasts_from_before_the_work_to_after_it(cluster: Cluster) -> None:
    stage = cluster.stage()
    async with stage.paused("n1"):
        pass
    assert stage.faults[0].began == Edge(from_s=1.0, until_s=2.0)
