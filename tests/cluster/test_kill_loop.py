"""One node, killed with SIGKILL again and again while it writes: what was acknowledged stays so.

The system's page cache outlives a kill, so a flush that is missing goes unnoticed here; that is for
the crash images of `tests/unit/storage`. What shows is an acknowledgement that came too early, and
what a start makes of a store that was left in the middle of something. `DYNAMO_KILLS=200` in the
environment makes a long run of it.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dynamo.client.buckets import BucketClient
from dynamo.client.client import Client
from dynamo.cluster import LocalCluster
from dynamo.errors import DynamoError
from dynamo.node_process import NodeProcess
from tests.cluster.harness import free_base_port

KILLS = int(os.environ.get("DYNAMO_KILLS", "12"))

WRITERS = 8
KEYS = 40  # of each writer: few enough to be read after every kill
RESTART_S_MAX = 20.0

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120 + 10 * KILLS)]


class Writer:
    """A client that writes and deletes keys of its own, and knows what must be there.

    Attributes:
        acknowledged: how many writes and deletes were.
    """

    def __init__(self, name: str, dice: random.Random) -> None:
        self.acknowledged = 0
        self._dice = dice
        # What a key may hold, None for nothing: one thing, and a second while a write is in doubt.
        self._possible: dict[str, list[bytes | None]] = {
            f"{name}-{number}": [None] for number in range(KEYS)
        }

    async def write_until(self, killed: asyncio.Event, bucket: BucketClient) -> None:
        """Change one key after the other until the node is gone."""
        while not killed.is_set():
            key = self._dice.choice(list(self._possible))
            try:
                await self._change(bucket, key)
            except DynamoError:
                if not killed.is_set():
                    raise

    async def _change(self, bucket: BucketClient, key: str) -> None:
        found = await bucket.get(key)
        before = None if found.value is None else found.value.body
        assert [before] == self._possible[key], f"{key} is not what was acknowledged"
        is_delete = before is not None and self._dice.random() < 0.3
        after = None if is_delete else self._dice.randbytes(self._dice.randint(1, 8192))
        self._possible[key] = [before, after]
        if after is None:
            await bucket.delete(key, context=found.context)
        else:
            await bucket.put(key, after, context=found.context)
        self._possible[key] = [after]
        self.acknowledged += 1

    async def check(self, bucket: BucketClient) -> None:
        """Read every key; what was in doubt is decided from now on."""
        for key, possible in self._possible.items():
            value = (await bucket.get(key)).value
            held = None if value is None else value.body
            assert held in possible, f"{key} lost an acknowledged write"
            self._possible[key] = [held]


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[NodeProcess]:
    async with LocalCluster(tmp_path / "data", nodes=1, base_port=free_base_port(1)) as cluster:
        (only,) = cluster.nodes.values()
        yield only


async def test_every_acknowledged_write_survives_every_kill(node: NodeProcess) -> None:
    dice = random.Random("kills")
    writers = [Writer(f"w{number}", random.Random(number)) for number in range(WRITERS)]
    async with Client([node.url]) as client:
        await client.bucket("b").set_properties({"allow_mult": True})  # a conflict would be told
    for _ in range(KILLS):
        await _write_until_killed(node, writers, after_s=dice.uniform(0.001, 0.3))
        await node.start()
        await node.ready(RESTART_S_MAX)
        async with Client([node.url]) as client:
            await asyncio.gather(*(writer.check(client.bucket("b")) for writer in writers))
            assert (await client.stats())["corrupted_records_total"] == 0
    assert sum(writer.acknowledged for writer in writers) > 10 * KILLS
    troubles = [line for line in node.log_path.read_text().splitlines() if _tells_of_trouble(line)]
    assert troubles == []


async def _write_until_killed(node: NodeProcess, writers: list[Writer], *, after_s: float) -> None:
    killed = asyncio.Event()
    async with Client([node.url]) as client, asyncio.TaskGroup() as group:
        for writer in writers:
            group.create_task(writer.write_until(killed, client.bucket("b")))
        await asyncio.sleep(after_s)
        killed.set()
        await node.kill()


def _tells_of_trouble(line: str) -> bool:
    return any(word in line for word in (" ERROR ", " CRITICAL ", "Traceback", "orrupt"))
