"""Removing nodes: everybody hears of it, and nobody comes back by gossip."""

import pytest

from dynamo.core.codec import encode_siblings, encode_value
from dynamo.core.ids import Actor, NodeId, encode_key
from dynamo.core.membership import MemberState
from dynamo.core.siblings import EMPTY
from dynamo.core.values import Value
from dynamo.errors import BadRequest, NotReady, StartupError
from dynamo.node.calls import call
from dynamo.node.node import Node
from dynamo.rpc.messages import ReplicaPut, Reply
from tests.simulation.asking import key_of
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


def test_a_node_that_knows_it_was_removed_takes_no_writes_of_those_who_do_not() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        removed = world.node(N3)
        record = removed.view.my_record
        assert record is not None
        key = encode_key(key_of("k"))
        value = encode_value(Value(body=b"x"))
        state = encode_siblings(EMPTY.write(Actor(b"actor--a"), value, {}, 0))

        async def write(node: Node) -> Reply:
            removed.view.learn(record.removed().to_fact())
            assert not removed.serving
            return await call(node._send, N3, ReplicaPut(key, state, ""), 2.0)

        with pytest.raises(NotReady, match="n3 was removed"):
            await world.call(N1, write)
        assert removed.operations.local(key) == (None, {})

    in_world(1, FOUR, scenario)


def test_a_removed_node_that_has_not_heard_of_it_cannot_write_to_those_who_have() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        there = world.node(N1)
        record = there.view.membership.get(N3)
        assert record is not None
        key = encode_key(key_of("k"))
        state = encode_siblings(
            EMPTY.write(Actor(b"actor--a"), encode_value(Value(body=b"x")), {}, 0)
        )

        async def write(node: Node) -> Reply:
            there.view.learn(record.removed().to_fact())
            return await call(node._send, N1, ReplicaPut(key, state, ""), 2.0)

        with pytest.raises(NotReady, match="n3 was removed"):
            await world.call(N3, write)
        assert there.operations.local(key) == (None, {})

    in_world(1, FOUR, scenario)


def test_nobody_removes_itself_or_a_stranger() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        with pytest.raises(BadRequest, match="cannot remove itself"):
            await world.call(N1, lambda node: node.removal.remove(N1, even_if_up=True))
        with pytest.raises(BadRequest, match="not known"):
            await world.call(N1, lambda node: node.removal.remove(NodeId("x"), even_if_up=True))

    in_world(1, FOUR, scenario)
