"""Where a write is forwarded when those who should coordinate it reach too few replicas."""

import asyncio

import pytest

from dynamo.core.ids import NodeId
from dynamo.core.quorum import WriteQuorum
from dynamo.errors import QuorumError
from tests.simulation.asking import key_of, put
from tests.simulation.copies import holders, primaries
from tests.simulation.links import Cut
from tests.simulation.scenario import in_world
from tests.simulation.world import Options, World

pytestmark = pytest.mark.simulation

KEY = key_of("k")
W2 = WriteQuorum(n=3, w=2, sloppy=False)
NOTICED_S = 5.0


def outsider(world: World) -> NodeId:
    """A node that does not hold the key."""
    return next(name for name in world.names if name not in primaries(world.node(name), KEY))


def cut_between(world: World, a: NodeId, b: NodeId) -> None:
    world.network.cut(a, b, Cut.REFUSE)
    world.network.cut(b, a, Cut.REFUSE)


def test_a_write_goes_past_a_primary_that_reaches_too_few() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        first, second, third = primaries(world.node("n1"), KEY)
        cut_between(world, first, second)
        cut_between(world, first, third)
        await asyncio.sleep(NOTICED_S)
        written = await put(world, outsider(world), KEY, "x", W2)
        assert written.acks >= 2
        assert set(holders(world, KEY)) >= {second, third}

    in_world(1, Options(nodes=5), scenario)


def test_a_write_that_every_primary_reaches_too_few_for_is_refused_for_certain() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        first, second, third = primaries(world.node("n1"), KEY)
        for a, b in ((first, second), (first, third), (second, third)):
            cut_between(world, a, b)
        await asyncio.sleep(NOTICED_S)
        with pytest.raises(QuorumError) as refused:
            await put(world, outsider(world), KEY, "x", W2)
        assert refused.value.definite
        assert not holders(world, KEY)

    in_world(1, Options(nodes=5), scenario)
