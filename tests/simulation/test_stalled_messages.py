"""What was held up on its way: bytes that arrive after their time must have no effect any more."""

import asyncio

import pytest

from dynamo.core.codec import encode_siblings, encode_value
from dynamo.core.conflicts import written
from dynamo.core.ids import Actor, NodeId, encode_key
from dynamo.core.quorum import Conflicts
from dynamo.core.siblings import EMPTY
from dynamo.core.values import Value
from dynamo.node.node import Node
from dynamo.rpc.messages import ReplicaPut
from tests.simulation.asking import key_of
from tests.simulation.copies import holders, primaries
from tests.simulation.links import Cut
from tests.simulation.scenario import in_world
from tests.simulation.world import Options, World

pytestmark = pytest.mark.simulation

TIMEOUT_S = 0.3
"""Of the write that is held up. A peer silent for a second is suspected and its connection given
up, and what is under way on it with it; what is held up for less still arrives."""

THREE = Options(nodes=3)

KEY = key_of("k")


def send_put(world: World, sender: NodeId, target: NodeId) -> None:
    """A write to one replica, without a coordinator that would send it elsewhere."""
    value = encode_value(Value(body=b"x", modified_at_ms=0))
    state = written(EMPTY, Actor(b"actor_n1"), 0, value, {}, Conflicts.SIBLINGS)
    request = ReplicaPut(encode_key(KEY), encode_siblings(state), "")

    async def send(node: Node) -> None:
        node._send(target, request, TIMEOUT_S, lambda _node, _reply: None)

    asyncio.get_running_loop().create_task(world.call(sender, send))


def received(world: World, name: NodeId) -> tuple[int, int]:
    """How many requests of peers a node took, and how many had expired by then."""
    server = world.node(name).links.server
    return server.requests_in, server.requests_expired


async def stalled(world: World, held_s: float) -> tuple[NodeId, int]:
    """A write held up for so long, then delivered.

    Returns:
        Its target, and how many requests had expired there when all was delivered.
    """
    await world.start_all()
    sender, target, *_ = primaries(next(world.running()), KEY)
    await asyncio.sleep(0.2)  # between two heartbeats, or behind one
    world.network.cut(sender, target, Cut.STALL)
    send_put(world, sender, target)
    await asyncio.sleep(held_s)
    world.network.heal(sender, target)
    await asyncio.sleep(0.05)
    return target, received(world, target)[1]


def test_a_write_held_up_for_less_than_its_timeout_is_applied() -> None:
    async def scenario(world: World) -> None:
        target, _ = await stalled(world, TIMEOUT_S / 3)
        await asyncio.sleep(0.1)
        assert holders(world, KEY) == {target}

    in_world(1, THREE, scenario)


@pytest.mark.parametrize("seed", range(5))
def test_a_write_held_up_for_longer_than_its_timeout_is_not_applied(seed: int) -> None:
    async def scenario(world: World) -> None:
        _, expired = await stalled(world, TIMEOUT_S * 2)
        assert expired == 1
        await asyncio.sleep(30)
        assert holders(world, KEY) == set()

    in_world(seed, THREE, scenario)


@pytest.mark.parametrize("seed", range(5))
def test_a_write_that_reached_a_process_standing_still_is_not_applied_when_it_goes_on(
    seed: int,
) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        sender, target, *_ = primaries(next(world.running()), KEY)
        world.freeze(target)
        send_put(world, sender, target)
        await asyncio.sleep(TIMEOUT_S * 2)
        world.thaw(target)
        await asyncio.sleep(30)
        assert holders(world, KEY) == set()

    in_world(seed, THREE, scenario)


def test_a_connection_works_for_long_without_taking_requests_for_old() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        await asyncio.sleep(600)
        assert [received(world, name)[1] for name in world.names] == [0, 0, 0]

    in_world(1, THREE, scenario)
