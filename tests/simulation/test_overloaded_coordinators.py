"""Where a write is forwarded when those who should coordinate it have too much to do."""

import pytest

from dynamo.core.ids import NodeId
from dynamo.core.quorum import WriteQuorum
from dynamo.errors import Overloaded
from dynamo.node.minting import NewValue
from dynamo.storage.engine import OnCommit
from tests.simulation.asking import key_of, put
from tests.simulation.copies import holders, primaries
from tests.simulation.scenario import in_world
from tests.simulation.world import Options, World

pytestmark = pytest.mark.simulation

KEY = key_of("k")
W2 = WriteQuorum(n=3, w=2)


def outsider(world: World) -> NodeId:
    """A node that does not hold the key."""
    return next(name for name in world.names if name not in primaries(world.node(name), KEY))


def overload(world: World, name: NodeId, asked: list[NodeId]) -> None:
    """Let a node refuse to coordinate from its own copy, and note that it was asked to."""

    def refuse(new: NewValue, on_stored: OnCommit) -> bytes | None:
        asked.append(name)
        raise Overloaded(f"{name} has too much to do")

    world.node(name)._minting.from_own_copy = refuse  # type: ignore[method-assign]


def test_a_write_goes_to_the_next_primary_if_the_first_has_too_much_to_do() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        asked: list[NodeId] = []
        first, *_ = primaries(world.node("n1"), KEY)
        overload(world, first, asked)
        written = await put(world, outsider(world), KEY, "x", W2)
        assert written.acks >= 2
        assert asked == [first]

    in_world(1, Options(nodes=5), scenario)


def test_a_write_is_refused_for_certain_after_two_primaries_with_too_much_to_do() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        asked: list[NodeId] = []
        first, second, third = primaries(world.node("n1"), KEY)
        for name in (first, second, third):
            overload(world, name, asked)
        with pytest.raises(Overloaded) as refused:
            await put(world, outsider(world), KEY, "x", W2)
        assert refused.value.definite
        assert asked == [first, second]
        assert not holders(world, KEY)

    in_world(1, Options(nodes=5), scenario)
