"""Nodes that are killed while clients write: what was acknowledged stays, and service goes on."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dynamo.client.client import Client
from dynamo.cluster import LocalCluster
from dynamo.errors import DynamoError
from tests.cluster.harness import eventually, free_base_port

pytestmark = pytest.mark.cluster


@pytest.fixture
async def five(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    made = LocalCluster(tmp_path / "data", nodes=5, base_port=free_base_port(5))
    async with made:
        yield made


async def _write_until(client: Client, stop: asyncio.Event, name: str) -> set[str]:
    """Write keys one after the other until told to stop; the keys acknowledged."""
    bucket = client.bucket("b")
    acknowledged = set()
    number = 0
    while not stop.is_set():
        key = f"{name}-{number}"
        number += 1
        try:
            await bucket.put(key, key.encode(), timeout_s=5)
            acknowledged.add(key)
        except DynamoError:
            await asyncio.sleep(0.01)  # whoever is down is not asked in a busy loop
    return acknowledged


async def _assert_readable(client: Client, keys: set[str]) -> None:
    bucket = client.bucket("b")
    for key in sorted(keys):
        found = await bucket.get(key, timeout_s=10)
        assert found.value is not None, f"{key} was acknowledged and is gone"
        assert found.value.body == key.encode()


async def _wait_for_writes(client: Client, name: str, number: int) -> None:
    async def written() -> bool:
        try:
            return (await client.bucket("b").get(f"{name}-{number}")).value is not None
        except DynamoError:
            return False

    await eventually(written, within_s=60, what=f"{number} writes of {name}")


async def _wait_until_all_are_up(url: str) -> None:
    async def all_up() -> bool:
        async with Client([url]) as client:
            members = (await client.members())["members"]
        assert isinstance(members, list)
        return all(member["opinion"] == "up" for member in members if isinstance(member, dict))

    await eventually(all_up, within_s=30, what=f"{url} reaches every node")


async def _wait_until_hints_are_delivered(url: str) -> None:
    """A write that stand-ins acknowledged is read from its primaries once it was handed to them."""

    async def delivered() -> bool:
        async with Client([url]) as client:
            return (await client.stats())["hints_held"] == 0

    await eventually(delivered, within_s=30, what=f"{url} has delivered its hints")


async def test_every_acknowledged_write_survives_a_kill_of_all_nodes(five: LocalCluster) -> None:
    stop = asyncio.Event()
    async with Client(five.urls) as client:
        async with asyncio.TaskGroup() as group:
            writers = [
                group.create_task(_write_until(client, stop, f"w{number}")) for number in range(8)
            ]
            await _wait_for_writes(client, "w0", 50)
            for node in five.nodes.values():
                await node.kill()
            stop.set()
        acknowledged = set().union(*(writer.result() for writer in writers))
        assert len(acknowledged) > 100
        await asyncio.gather(*(node.restart() for node in five.nodes.values()))
        for url in five.urls:
            await _wait_until_all_are_up(url)
        for url in five.urls:
            await _wait_until_hints_are_delivered(url)
        await _assert_readable(client, acknowledged)


async def test_killed_node_costs_no_acknowledged_write_and_is_whole_again_after_reads(
    five: LocalCluster,
) -> None:
    stop = asyncio.Event()
    victim, *others = five.nodes.values()
    async with Client([node.url for node in others]) as client:
        async with asyncio.TaskGroup() as group:
            writers = [
                group.create_task(_write_until(client, stop, f"w{number}")) for number in range(4)
            ]
            await _wait_for_writes(client, "w0", 25)
            await victim.kill()
            await _wait_for_writes(client, "w0", 75)
            await victim.restart()
            await _wait_for_writes(client, "w0", 100)
            stop.set()
        acknowledged = set().union(*(writer.result() for writer in writers))
        await _assert_readable(client, acknowledged)
        async with Client([victim.url]) as returned:
            for key in sorted(acknowledged):
                await _assert_held_if_it_should_be(client, returned, str(victim.node_id), key)


async def _assert_held_if_it_should_be(
    client: Client, returned: Client, victim: str, key: str
) -> None:
    located = await client.bucket("b").locate(key)
    primaries = located["primaries"]
    assert isinstance(primaries, list)
    if victim not in [entry["node"] for entry in primaries if isinstance(entry, dict)]:
        return

    async def held() -> bool:
        return (await returned.bucket("b").local(key))["held"] is True

    await eventually(held, within_s=20, what=f"{victim} holds {key} again")
