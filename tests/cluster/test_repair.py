"""A node that was down or lost its disk gets everything back, by one mechanism at a time.

Hints alone, then anti-entropy alone: the others are switched off in the settings of all nodes, and
nobody reads the keys, so nothing else can do the work. How long the node is down is 30 s, as long
as a machine takes to restart.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from dynamo.client.client import Client
from dynamo.cluster import LocalCluster
from dynamo.config import NodeConfig
from dynamo.errors import DynamoError
from dynamo.node_process import NodeProcess
from tests.cluster.harness import eventually, free_base_port

pytestmark = pytest.mark.cluster

DOWN_S = 30.0
MENDED_S_MAX = 60.0


def hints_alone(config: NodeConfig) -> NodeConfig:
    return replace(config, anti_entropy=False, read_repair=False)


def anti_entropy_alone(config: NodeConfig) -> NodeConfig:
    return replace(config, hinted_handoff=False, read_repair=False, anti_entropy_interval_s=0.5)


@asynccontextmanager
async def five_nodes(
    tmp_path: Path, adjust: Callable[[NodeConfig], NodeConfig]
) -> AsyncIterator[LocalCluster]:
    data_dir = tmp_path / "data"
    async with LocalCluster(
        data_dir, nodes=5, base_port=free_base_port(5), adjust=adjust
    ) as cluster:
        yield cluster


class Writer:
    """Writes keys one after the other, each once, until it is told to stop.

    Attributes:
        acknowledged: the keys that were.
    """

    def __init__(self, urls: list[str]) -> None:
        self.acknowledged: set[str] = set()
        self._urls = urls
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Writer":
        self._task = asyncio.create_task(self._write())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        assert self._task is not None
        await self._task

    async def more(self, count: int) -> None:
        """Wait until that many more are acknowledged."""
        wanted = len(self.acknowledged) + count
        await eventually(
            lambda: len(self.acknowledged) >= wanted, within_s=60, what=f"{count} more writes"
        )

    async def _write(self) -> None:
        number = 0
        async with Client(self._urls) as client:
            bucket = client.bucket("b")
            while not self._stop.is_set():
                number += 1
                key = f"k{number}"
                try:
                    await bucket.put(key, key.encode(), timeout_s=5)
                    self.acknowledged.add(key)
                except DynamoError:
                    await asyncio.sleep(0.01)
                # A few hundred keys a second are plenty, and leave the machine to the nodes.
                await asyncio.sleep(0.002)


async def keys_of(cluster: LocalCluster, victim: NodeProcess, keys: set[str]) -> set[str]:
    """Those of the keys that the victim is a primary of."""
    its = set()
    async with Client([url for url in cluster.urls if url != victim.url]) as client:
        for key in sorted(keys):
            primaries = (await client.bucket("b").locate(key))["primaries"]
            assert isinstance(primaries, list)
            if victim.node_id in [entry["node"] for entry in primaries if isinstance(entry, dict)]:
                its.add(key)
    return its


async def holds_all(node: NodeProcess, keys: set[str], *, within_s: float) -> None:
    """Wait until the node itself holds every key; nothing is read through the cluster."""
    missing = set(keys)
    async with Client([node.url]) as client:

        async def none_missing() -> bool:
            for key in sorted(missing):
                try:
                    if (await client.bucket("b").local(key))["held"] is not True:
                        return False
                except DynamoError:
                    return False
                missing.discard(key)
            return True

        what = f"{node.node_id} holds all {len(keys)} keys"
        await eventually(none_missing, within_s=within_s, what=what)


async def held_hints(cluster: LocalCluster) -> dict[str, int]:
    """How many hints each node holds."""
    held = {}
    for node in cluster.nodes.values():
        async with Client([node.url]) as client:
            stats = await client.stats()
        hints = stats["hints_held"]
        assert isinstance(hints, int)
        held[str(node.node_id)] = hints
    return held


async def test_all_keys_of_a_node_that_was_killed_arrive_by_hints_alone(tmp_path: Path) -> None:
    async with five_nodes(tmp_path, hints_alone) as cluster:
        victim, *others = cluster.nodes.values()
        async with Writer([node.url for node in others]) as writer:
            await writer.more(100)
            await victim.kill()
            await asyncio.sleep(DOWN_S)
            await victim.restart()
            await writer.more(100)
        its = await keys_of(cluster, victim, writer.acknowledged)
        assert len(its) > 200
        await holds_all(victim, its, within_s=MENDED_S_MAX)

        async def all_delivered() -> bool:
            return not any((await held_hints(cluster)).values())

        await eventually(all_delivered, within_s=MENDED_S_MAX, what="no hint is left")


async def test_hints_arrive_though_their_holder_is_killed_and_restarted_in_between(
    tmp_path: Path,
) -> None:
    async with five_nodes(tmp_path, hints_alone) as cluster:
        victim, *others = cluster.nodes.values()
        async with Writer([node.url for node in others]) as writer:
            await victim.kill()
            await writer.more(300)
        # Every holder dies with its hints, and comes back only after their target has.
        await asyncio.gather(*(node.kill() for node in others))
        await victim.restart()
        await asyncio.gather(*(node.restart() for node in others))
        its = await keys_of(cluster, victim, writer.acknowledged)
        assert len(its) > 50
        await holds_all(victim, its, within_s=MENDED_S_MAX)


async def test_all_keys_of_a_node_that_lost_its_disk_arrive_by_anti_entropy_alone(
    tmp_path: Path,
) -> None:
    async with five_nodes(tmp_path, anti_entropy_alone) as cluster:
        victim, *others = cluster.nodes.values()
        async with Writer([node.url for node in others]) as writer:
            await writer.more(300)
            await victim.kill()
            await writer.more(100)
            shutil.rmtree(cluster.data_dir / str(victim.node_id) / "data")
            await victim.restart()
            await writer.more(50)
        its = await keys_of(cluster, victim, writer.acknowledged)
        assert len(its) > 100
        await holds_all(victim, its, within_s=MENDED_S_MAX)
