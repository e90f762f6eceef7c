"""`dynamo bucket-type`, word for word, on a cluster of real processes."""

import json

import aiohttp
import pytest

from dynamo.cluster import LocalCluster
from dynamo.printing import Exit
from tests.cluster.harness import dynamo, eventually

pytestmark = pytest.mark.cluster


async def said(node: str, *arguments: str, status: int = 0) -> str:
    """What a command says, errors too."""
    command, *others = arguments
    async with dynamo("bucket-type", command, "--node", node, *others) as asked:
        assert await asked.ends() == status, asked.said + await asked.errors()
        return asked.said + await asked.errors()


async def test_a_type_goes_from_its_creation_to_use_and_waits_for_nodes_that_are_down(
    cluster: LocalCluster,
) -> None:
    n1, n2, n3 = cluster.urls
    assert "carts created" in await said(n1, "create", "carts", '{"props":{"n_val":2}}')
    listed = await said(n2, "list")
    assert listed.splitlines() == ["default (active)", "carts (not active)"]
    assert (await said(n2, "status", "carts")).splitlines()[:3] == [
        "carts has been created and may be activated",
        "",
        "active: false",
    ]
    async with aiohttp.ClientSession() as session:
        key = f"{n3}/types/carts/buckets/b/keys/k"
        plain = {"Content-Type": "text/plain"}
        assert (await session.put(key, data=b"1", headers=plain)).status == 404
        assert await said(n3, "activate", "carts") == "carts has been activated\n"
        assert await said(n1, "activate", "carts") == "carts is active already\n"
        assert (await session.put(key, data=b"1", headers=plain)).status == 204
        refused = await said(n1, "create", "carts", status=1)
        assert refused == "Error: carts is active already; it can be updated, not created anew\n"
        assert await said(n2, "update", "carts", '{"r":1}') == "carts updated\n"
        assert "claimant: Cannot" in await said(n2, "update", "carts", '{"claimant":"x"}', status=1)

        async def shows_through() -> bool:
            answer = await session.get(f"{n1}/types/carts/buckets/b/props")
            props = json.loads(await answer.read())["props"]
            return (props["n_val"], props["r"], props["claimant"]) == (2, 1, "n1")

        await eventually(shows_through, within_s=10, what="the update is known to n1")

    last = list(cluster.nodes.values())[2]
    await last.kill()
    await said(n1, "create", "logs")
    status = await said(n1, "status", "logs", status=Exit.UNSETTLED)
    assert "logs has been created, but cannot be activated yet: not known by n3 (" in status
    refused = await said(n1, "activate", "logs", status=1)
    assert refused.startswith("Error: logs cannot be activated yet: not every node knows it. n3: ")
    assert "Start these nodes, or remove those that are gone for good" in refused
    await last.start()
    await last.ready()

    async def is_ready() -> bool:
        async with dynamo("bucket-type", "status", "--node", n1, "logs") as asked:
            ended = await asked.ends()
            return ended == 0 and "logs has been created and may be activated\n" in asked.said

    await eventually(is_ready, within_s=20, what="n3 is back and knows the type")
    assert await said(n1, "activate", "logs") == "logs has been activated\n"
