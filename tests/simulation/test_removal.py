"""Removing nodes: everybody hears of it, and nobody comes back by gossip."""

import pytest

from dynamo.core.ids import NodeId
from dynamo.core.membership import MemberState
from dynamo.errors import BadRequest, StartupError
from tests.simulation.scenario import in_world
from tests.simulation.world import Options, World, until

pytestmark = pytest.mark.simulation

N1, N3 = NodeId("n1"), NodeId("n3")
FOUR = Options(nodes=4)


async def remove_down(world: World, name: str, at: str = "n1") -> None:
    """Kill a node, wait until the asked one knows, and remove it."""
    world.crash(name)
    await until(lambda: world.thinks(at, name) != "up", within_s=20)
    await world.call(at, lambda node: node.removal.remove(NodeId(name), even_if_up=False))


def states(world: World, of: NodeId) -> set[MemberState]:
    """What the running nodes know of one."""
    records = [node.view.membership.get(of) for node in world.running()]
    return {record.state for record in records if record is not None}


def test_everybody_hears_of_a_removal_and_the_ring_goes_on_without_the_node() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        await remove_down(world, N3)
        await until(lambda: states(world, N3) == {MemberState.REMOVED}, within_s=10)
        assert all(N3 not in node.ring.nodes for node in world.running())

    in_world(1, FOUR, scenario)


@pytest.mark.parametrize("seed", range(3))
def test_a_removed_node_that_starts_again_does_not_come_back_by_gossip(seed: int) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        await remove_down(world, N3)
        await world.start(N3)  # with its disk, which knows nothing of it
        returned = world.node(N3)
        await until(lambda: not returned.serving, within_s=10)
        await until(lambda: states(world, N3) == {MemberState.REMOVED}, within_s=10)

    in_world(seed, FOUR, scenario)


def test_a_removed_node_that_lost_its_disk_does_not_come_back_either() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        await remove_down(world, N3)
        world.wipe(N3)
        await world.start(N3)
        with pytest.raises(StartupError, match="removed"):
            await world.call(N3, lambda node: node.until_unfit())
        assert states(world, N3) == {MemberState.REMOVED}

    in_world(1, FOUR, scenario)


def test_a_node_that_is_up_is_removed_only_by_force() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        with pytest.raises(BadRequest, match="n3 is up"):
            await world.call(N1, lambda node: node.removal.remove(N3, even_if_up=False))
        await world.call(N1, lambda node: node.removal.remove(N3, even_if_up=True))
        removed = world.node(N3)
        await until(lambda: not removed.serving, within_s=10)

    in_world(1, FOUR, scenario)


def test_nobody_removes_itself_or_a_stranger() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        with pytest.raises(BadRequest, match="cannot remove itself"):
            await world.call(N1, lambda node: node.removal.remove(N1, even_if_up=True))
        with pytest.raises(BadRequest, match="not known"):
            await world.call(N1, lambda node: node.removal.remove(NodeId("x"), even_if_up=True))

    in_world(1, FOUR, scenario)
