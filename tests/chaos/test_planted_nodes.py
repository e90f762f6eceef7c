"""Every bug that can be planted is in effect in real node processes, and without it nothing shows.

That an experiment of the lab finds a bug says little unless the bug was there; and a bug that works
on virtual time and a disk in memory need not work on real ones.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import pytest

from dynamo.client.client import Client
from dynamo.cluster import LocalCluster
from dynamo.config import ClusterConfig, NodeConfig
from dynamo.core.ids import NodeId
from dynamo.errors import DynamoError, QuorumError
from dynamo.node_process import COMMAND, NodeProcess
from dynamo.reports import members_of
from dynamo.settings import Settings
from tests.cluster.harness import eventually, free_base_port
from tests.planted.bugs import BUGS
from tests.planted.process import command_of

pytestmark = pytest.mark.cluster

SHOWS_S_MAX = 20.0
"""For whatever must come about sooner or later; a busy machine is slow."""

ABSENT_S = 3.0
"""So long something is waited for that must not come about."""

QUICK: Final[dict[str, Any]] = {
    "heartbeat_interval_s": 0.1,
    "gossip_interval_s": 0.1,
    "suspect_phi": 3.0,
    "replica_timeout_s": 0.5,
    "handoff_interval_s": 0.1,
    "anti_entropy_interval_s": 0.1,
    "anti_entropy": False,
    "read_repair": False,
}


class Nodes:
    """A small cluster, one bucket of it, and what is asked of single nodes."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._cluster = cluster

    def __getitem__(self, name: str) -> NodeProcess:
        return self._cluster.nodes[NodeId(name)]

    def client(self, name: str) -> Client:
        return Client([self[name].url], timeout_s=10.0)

    async def put(
        self, name: str, text: str, *, key: str = "k", w: int = 1, sloppy: bool = True
    ) -> None:
        """Write, as if nothing had been read before."""
        async with self.client(name) as client:
            bucket = client.bucket("b")
            await bucket.put(key, text.encode(), w=w, dw=w, sloppy_quorum=sloppy)

    async def replace(self, name: str, text: str) -> None:
        """Write what supersedes all that a read of one replica shows."""
        async with self.client(name) as client:
            found = await client.bucket("b").get("k", r=1)
            await client.bucket("b").put("k", text.encode(), context=found.context, w=1, dw=1)

    async def values(self, name: str, *, key: str = "k", r: int = 1) -> set[str]:
        async with self.client(name) as client:
            found = await client.bucket("b").get(key, r=r)
        return {value.body.decode() for value in found.values}

    async def digest(self, name: str) -> object:
        """What this node itself holds; None if nothing."""
        async with self.client(name) as client:
            return (await client.bucket("b").local("k"))["digest"]

    async def figure(self, name: str, figure: str) -> int:
        async with self.client(name) as client:
            return cast("int", (await client.stats())[figure])

    async def member(self, at: str, name: str) -> tuple[str, str]:
        """State and opinion of a node, as another tells them."""
        async with self.client(at) as client:
            report = await members_of(client)
        return next((m.state, m.opinion) for m in report.members if m.node == name)

    async def kill(self, name: str, *, seen_by: str = "") -> None:
        await self[name].kill()
        if seen_by:
            await self.until_up(seen_by, name, is_up=False)

    async def until_up(self, at: str, name: str, *, is_up: bool = True) -> None:
        async def said() -> bool:
            return ((await self.member(at, name))[1] == "up") is is_up

        await shows(said, f"{at} finds {name} {'up' if is_up else 'not up'}")


async def shows(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    await eventually(holds, within_s=SHOWS_S_MAX, what=what)


async def comes_about(holds: Callable[[], Awaitable[bool]]) -> bool:
    """Whether it does within a short time."""
    try:
        await eventually(holds, within_s=ABSENT_S, what="")
    except AssertionError:
        return False
    return True


# -- what shows that a bug is there ----------------------------------------------------------------


async def loses_what_it_acknowledged(nodes: Nodes) -> bool:
    async with nodes.client("n1") as client:
        bucket = client.bucket("b")
        keys = [f"k{number}" for number in range(20)]
        await asyncio.gather(*(bucket.put(key, b"v") for key in keys))
        await nodes.kill("n1")
        await nodes["n1"].restart()
        found = await asyncio.gather(*(bucket.get(key) for key in keys))
    return any(not one.values for one in found)


async def loses_a_hint_with_the_process(nodes: Nodes) -> bool:
    await nodes.kill("n2", seen_by="n1")
    await nodes.put("n1", "v")

    async def is_kept() -> bool:
        return await nodes.figure("n1", "hints_held") == 1

    await shows(is_kept, "n1 keeps a hint")  # which the acknowledgement does not wait for
    await nodes.kill("n1")
    await nodes["n1"].restart()
    return await nodes.figure("n1", "hints_held") == 0


async def meets_a_strict_quorum_with_a_stand_in(nodes: Nodes) -> bool:
    async with nodes.client("n1") as client:
        await client.bucket("b").set_properties({"n_val": 2})
        located = [(key, await client.bucket("b").locate(key)) for key in map(str, range(20))]
    key = next(key for key, report in located if "'n3'" in str(report["primaries"]))
    await nodes.kill("n3", seen_by="n1")
    await nodes.until_up("n2", "n3", is_up=False)
    try:
        await nodes.put("n1", "v", key=key, w=2, sloppy=False)
    except QuorumError:
        return False
    return True


async def drops_a_concurrent_value(nodes: Nodes) -> bool:
    await nodes.kill("n2", seen_by="n1")
    await nodes.put("n1", "one")
    await nodes.kill("n1")
    await nodes["n2"].restart()
    await nodes.put("n2", "other")
    await nodes["n1"].restart()

    async def are_equal() -> bool:
        return await nodes.digest("n1") == await nodes.digest("n2")

    await shows(are_equal, "both hold the same")
    return await nodes.values("n1", r=2) != {"one", "other"}


async def loses_a_write_under_an_old_dot(nodes: Nodes) -> bool:
    for number in range(3):
        await nodes.put("n2", f"before {number}", w=2)
    await nodes.kill("n2")
    nodes["n2"].wipe()
    await nodes["n2"].restart()
    await nodes.until_up("n2", "n1")
    await nodes.until_up("n1", "n2")
    await nodes.put("n2", "after", w=2)
    return "after" not in await nodes.values("n1", r=2)


async def drops_a_hint_for_a_silent_node(nodes: Nodes) -> bool:
    async def is_held() -> bool:
        return await nodes.figure("n1", "hints_held") == 1

    async def is_gone() -> bool:
        return not await is_held()

    nodes["n2"].pause()
    try:
        await nodes.put("n1", "v")
        await shows(is_held, "a hint for n2")
        return await comes_about(is_gone)
    finally:
        nodes["n2"].resume()


async def forgets_a_deleted_key_at_once(nodes: Nodes) -> bool:
    await nodes.put("n1", "v")
    async with nodes.client("n1") as client:
        assert await client.bucket("b").delete("k")

    async def is_forgotten() -> bool:
        return await nodes.digest("n1") is None

    return await comes_about(is_forgotten)


async def miss_a_write(nodes: Nodes) -> None:
    """Leave n2 with an older state than n1."""
    await nodes.put("n1", "old", w=2)
    await nodes.kill("n2", seen_by="n1")
    await nodes.replace("n1", "new")
    await nodes["n2"].restart()
    await nodes.until_up("n1", "n2")


async def are_unequal(nodes: Nodes) -> bool:
    return await nodes.digest("n1") != await nodes.digest("n2")


async def compares_without_seeing_a_difference(nodes: Nodes) -> bool:
    await miss_a_write(nodes)
    before = await nodes.figure("n1", "exchanges_total")

    async def have_compared() -> bool:
        return await nodes.figure("n1", "exchanges_total") >= before + 3

    await shows(have_compared, "three comparisons")
    return await are_unequal(nodes)


async def is_not_mended_by_a_read(nodes: Nodes) -> bool:
    await miss_a_write(nodes)
    assert await nodes.values("n1", r=2) == {"new"}

    async def are_equal() -> bool:
        return not await are_unequal(nodes)

    return not await comes_about(are_equal)


async def keeps_what_was_superseded(nodes: Nodes) -> bool:
    await nodes.put("n1", "old")
    await nodes.replace("n1", "new")
    return await nodes.values("n1") != {"new"}


async def denies_what_it_does_not_know(nodes: Nodes) -> bool:
    nodes["n2"].pause()
    try:
        with pytest.raises(DynamoError) as caught:
            await nodes.put("n1", "v", w=2, sloppy=False)
    finally:
        nodes["n2"].resume()
    return caught.value.definite


async def takes_a_removed_node_back(nodes: Nodes) -> bool:
    await nodes.kill("n2", seen_by="n1")
    async with nodes.client("n1") as client:
        await client.remove("n3", even_if_up=True)
    await nodes.kill("n3")
    assert (await nodes.member("n1", "n3"))[0] == "removed"
    await nodes["n2"].restart()

    async def is_back() -> bool:
        return "member" in {(await nodes.member(at, "n3"))[0] for at in ("n1", "n2")}

    return await comes_about(is_back)


@dataclass(frozen=True, kw_only=True)
class Check:
    """How a bug shows.

    Attributes:
        shows: whether it does.
        nodes: how many it takes.
        settings: what they are told beyond `QUICK`.
    """

    shows: Callable[[Nodes], Awaitable[bool]]
    nodes: int
    settings: dict[str, Any] = field(default_factory=dict)


CHECKS: Final = {
    "acknowledges_before_commit": Check(nodes=1, shows=loses_what_it_acknowledged),
    "keeps_hints_in_memory": Check(nodes=2, shows=loses_a_hint_with_the_process),
    "counts_stand_ins_in_strict_mode": Check(nodes=3, shows=meets_a_strict_quorum_with_a_stand_in),
    "merges_by_wall_clock": Check(
        nodes=2, shows=drops_a_concurrent_value, settings={"anti_entropy": True}
    ),
    "reuses_dots_after_a_restart": Check(nodes=2, shows=loses_a_write_under_an_old_dot),
    "drops_hints_before_they_are_confirmed": Check(
        nodes=2,
        shows=drops_a_hint_for_a_silent_node,
        settings={"suspect_phi": 30.0, "heartbeat_interval_s": 0.5},
    ),
    "forgets_tombstones_early": Check(nodes=1, shows=forgets_a_deleted_key_at_once),
    "compares_counts_of_keys": Check(
        nodes=2,
        shows=compares_without_seeing_a_difference,
        settings={"hinted_handoff": False, "anti_entropy": True},
    ),
    "repairs_with_the_older_state": Check(
        nodes=2,
        shows=is_not_mended_by_a_read,
        settings={"hinted_handoff": False, "read_repair": True},
    ),
    "ignores_contexts": Check(nodes=1, shows=keeps_what_was_superseded),
    "calls_timeouts_definite": Check(nodes=2, shows=denies_what_it_does_not_know),
    "gossip_revives_the_removed": Check(nodes=3, shows=takes_a_removed_node_back),
}


@pytest.mark.parametrize("planted", [True, False], ids=["planted", "sound"])
@pytest.mark.parametrize("bug", BUGS)
async def test_a_bug_shows_where_it_is_planted_and_only_there(
    tmp_path: Path, bug: str, planted: bool
) -> None:
    check = CHECKS[bug]
    pattern = NodeConfig(node_id=NodeId("n1"), data_dir=Path("data"), **(QUICK | check.settings))
    shared = Settings(cluster=ClusterConfig(bucket_defaults={"allow_mult": True}), node=pattern)
    cluster = LocalCluster(
        tmp_path,
        nodes=check.nodes,
        base_port=free_base_port(check.nodes),
        shared=shared,
        command=command_of(bug) if planted else COMMAND,
    )
    async with cluster:
        assert await check.shows(Nodes(cluster)) is planted
