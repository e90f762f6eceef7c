"""Bucket types made while the cluster runs: no node uses one that another has not heard of."""

import asyncio
import contextlib
import random
from dataclasses import replace

import pytest

from dynamo.core.facts import encode_fact
from dynamo.core.ids import Address, Bucket, NodeId
from dynamo.errors import BadRequest, DynamoError, OutcomeUnknown
from dynamo.node.node import Node
from dynamo.rpc.messages import ConfirmType, Reply, TypeHeld
from tests.simulation.links import Cut, Weather
from tests.simulation.process import ProcessDied
from tests.simulation.scenario import in_world
from tests.simulation.world import Options, World, until

pytestmark = pytest.mark.simulation

NAME = b"carts"
TYPE = Bucket(NAME, b"")
FOUR = Options(nodes=4)
SLOW_DISKS = Options(nodes=4, commit_s=(0.002, 0.2))
SLOW_LINKS = Options(nodes=5, seeds=3, weather=Weather(base_s=(0.005, 0.02)))

LOOK_S = 0.0005


async def create(world: World, at: str, n_val: int = 3, *, name: bytes = NAME) -> None:
    await world.call(at, lambda node: node.bucket_types.create(name, {"n_val": n_val}))


async def activate(world: World, at: str, *, name: bytes = NAME) -> bool:
    return await world.call(at, lambda node: node.bucket_types.activate(name))


async def create_unheard(world: World, at: str, *, name: bytes = NAME) -> None:
    """Create a type at a node that can tell nobody before it asks for confirmations."""
    node = world.node(at)
    node.view.learn(node.properties.creation(name, {"n_val": 1}, node.view.me))


def uses(node: Node) -> int | None:
    """The n_val with which a node uses the type; None if it does not."""
    properties = node.properties.of(TYPE)
    return None if properties is None else properties.n_val


def knows(node: Node) -> int | None:
    properties = node.properties.known(TYPE)
    return None if properties is None else properties.n_val


class Watch:
    """Looks at all nodes, again and again, from the side.

    Attributes:
        used: every n_val with which any node ever used the type.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.used: set[int] = set()
        self._task = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while True:
            self.check()
            await asyncio.sleep(LOOK_S)

    def check(self) -> None:
        """Nobody that serves lacks what anybody uses."""
        running = list(self._world.running())
        used = {n_val for node in running if (n_val := uses(node)) is not None}
        self.used |= used
        if used:
            unaware = [node.view.me for node in running if node.serving and knows(node) is None]
            assert not unaware, f"{unaware} do not know a type that others use"

    async def done(self) -> None:
        """Everybody uses the type alike."""
        await until(lambda: all(uses(node) for node in self._world.running()), within_s=30)
        self.check()
        assert len(self.used) == 1
        if self._task.done():
            self._task.result()
        self._task.cancel()


def test_a_type_is_used_by_nobody_before_it_is_activated_and_then_by_all() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        watch = Watch(world)
        await create(world, "n1", 2)
        await create(world, "n2", 1)
        await until(lambda: all(knows(node) == 1 for node in world.running()), within_s=5)
        assert not any(uses(node) for node in world.running())
        assert await activate(world, "n3")
        assert not await activate(world, "n3")
        await watch.done()
        assert watch.used == {1}
        with pytest.raises(BadRequest, match="carts is active already"):
            await create(world, "n4", 5)

    in_world(1, FOUR, scenario)


@pytest.mark.parametrize("seed", range(4))
def test_a_node_that_is_down_stands_in_the_way_until_it_is_back_or_removed(seed: int) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        watch = Watch(world)
        world.crash("n4", silent=seed % 2 == 0)
        await create(world, "n1")
        with pytest.raises(BadRequest, match=r"not every node knows it\. n4: "):
            await activate(world, "n2" if seed < 2 else "n1")
        status = await world.call("n1", lambda node: node.bucket_types.status(NAME))
        assert status is not None
        assert (status.active, set(status.unaware)) == (False, {NodeId("n4")})
        assert not any(uses(node) for node in world.running())
        if seed < 2:
            await world.start("n4")
            await world.all_well()
        else:
            await until(lambda: world.thinks("n1", "n4") != "up", within_s=20)
            await world.call("n1", lambda node: node.removal.remove(NodeId("n4"), even_if_up=False))
        assert await activate(world, "n1")
        await watch.done()

    in_world(seed, FOUR, scenario)


def test_a_cut_stands_in_the_way_as_well() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        watch = Watch(world)
        for other in ("n1", "n2", "n3"):
            world.network.cut(other, "n4", Cut.DROP)
            world.network.cut("n4", other, Cut.DROP)
        await create(world, "n1", 1)
        await create(world, "n4", 2)
        for at in ("n1", "n4"):
            with pytest.raises(BadRequest, match="not every node knows it"):
                await activate(world, at)
        world.network.heal_all()
        await world.all_well()
        assert await activate(world, "n2")
        await watch.done()
        assert watch.used == {2}

    in_world(1, FOUR, scenario)


@pytest.mark.parametrize("seed", range(3))
def test_a_confirmation_is_not_forgotten_by_a_node_that_loses_power(seed: int) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        fact = world.node("n1").properties.creation(NAME, {}, NodeId("n1"))
        for name in world.names[:3]:
            world.crash(name)
        asked, replies = ConfirmType(encode_fact(fact)), list[Reply]()
        await world.call("n4", lambda node: node.bucket_types.confirm(asked, replies.append))
        assert [type(reply) for reply in replies] == [TypeHeld]
        world.crash("n4", silent=True)
        # Alone, and with nobody to ask.
        await world.start("n4")
        await until(lambda: world.machines[NodeId("n4")].serving, within_s=30)
        assert knows(world.node("n4"))

    in_world(seed, SLOW_DISKS, scenario)


def test_a_node_that_only_a_confirming_one_knows_of_stands_in_the_way_as_well() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        await create(world, "n1")
        record = world.node("n4").view.my_record
        assert record is not None
        stranger = replace(record, node_id=NodeId("n9"), rpc=Address("nowhere", 1), tokens=())
        world.node("n2").view.learn(stranger.to_fact())
        with pytest.raises(BadRequest, match=r"not every node knows it\. n9: "):
            await activate(world, "n1")

    in_world(1, FOUR, scenario)


@pytest.mark.parametrize("seed", range(4))
def test_what_was_in_use_for_a_moment_is_never_made_anew_as_something_else(seed: int) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        watch = Watch(world)
        await create(world, "n1", 1)
        await activated_by_a_node_that_dies_of_it(world, "n1")
        await world.start_all()
        try:
            await create(world, "n2", 2)
        except BadRequest as refused:
            assert "active already" in str(refused)  # noqa: PT017  it may have been told already
        await activate(world, "n2")
        await watch.done()
        assert watch.used == {1}

    in_world(seed, SLOW_DISKS, scenario)


async def activated_by_a_node_that_dies_of_it(world: World, name: str) -> None:
    """Activate at a node whose machine loses power in the moment in which it begins to use it."""
    task = asyncio.create_task(activate(world, name))
    await until(lambda: uses(world.node(name)) is not None, within_s=10, every_s=LOOK_S)
    world.crash(name, silent=True)
    with contextlib.suppress(ProcessDied):
        await task


def test_a_disk_of_the_day_before_is_told_of_the_type_before_its_node_serves() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        watch = Watch(world)
        world.lie("n4")
        await create(world, "n1")
        assert await activate(world, "n1")
        world.crash("n4", silent=True)  # with all that it stored since
        await world.start("n4")
        await until(lambda: world.machines[NodeId("n4")].serving, within_s=30)
        assert uses(world.node("n4"))
        await watch.done()

    in_world(1, FOUR, scenario)


@pytest.mark.parametrize("seed", range(5))
def test_nodes_that_join_meanwhile_know_the_type_before_they_serve(seed: int) -> None:
    """Three nodes join while two of the others create and activate; at moments drawn anew."""

    async def scenario(world: World) -> None:
        dice = world.dice("test")
        first, late = world.names[:4], world.names[4:]
        await asyncio.gather(*(world.start(name) for name in first))
        await world.all_well()
        watch = Watch(world)

        async def join(name: NodeId) -> None:
            await asyncio.sleep(dice.uniform(0, 0.3))
            await world.start(name)

        async def make(at: NodeId) -> None:
            await asyncio.sleep(dice.uniform(0, 0.2))
            await until_activated(world, at, dice)

        await asyncio.gather(*map(join, late), *map(make, first[:2]))
        await world.all_well()
        await watch.done()

    in_world(seed, Options(nodes=7), scenario)


@pytest.mark.parametrize("seed", range(8))
def test_a_node_that_only_one_other_knows_of_serves_no_sooner_than_it_knows_all_types(
    seed: int,
) -> None:
    """One activation after the other, while a node joins that cannot be asked."""

    async def scenario(world: World) -> None:
        dice = world.dice("test")
        *first, late = world.names
        await asyncio.gather(*(world.start(name) for name in first))
        await world.all_well()
        for name in ("n1", "n2", "n4"):
            world.network.cut(name, late, Cut.REFUSE)
            world.network.cut(late, name, Cut.REFUSE)
        made: list[bytes] = []

        async def make() -> None:
            while True:
                name = b"t%d" % len(made)
                await create_unheard(world, "n1", name=name)
                made.append(name)
                with contextlib.suppress(BadRequest):
                    await activate(world, "n1", name=name)

        making = asyncio.create_task(make())
        await asyncio.sleep(dice.uniform(0.4, 0.6))
        await world.start(late)
        await until(lambda: world.machines[late].serving, within_s=30, every_s=LOOK_S)
        for _ in range(int(0.5 / LOOK_S)):
            used = {
                name
                for node in world.running()
                for name, is_active in node.properties.types().items()
                if is_active
            }
            assert used <= world.node(late).properties.types().keys()
            await asyncio.sleep(LOOK_S)
        assert len(used) > 2
        making.cancel()

    in_world(seed, SLOW_LINKS, scenario)


async def until_activated(world: World, at: NodeId, dice: random.Random) -> None:
    """Create a type, each node with an n_val of its own, and activate it, again until it is."""
    while True:
        try:
            await create(world, at, n_val=1 + int(at[1:]) % 3)
        except BadRequest as error:
            if "active already" in str(error):
                return
            raise
        try:
            await activate(world, at)
            return
        except BadRequest:
            await asyncio.sleep(dice.uniform(0, 0.2))


@pytest.mark.parametrize("seed", range(8))
def test_whoever_activates_first_decides_what_the_type_is(seed: int) -> None:
    """All nodes create and activate at once, among crashes and cuts."""

    async def scenario(world: World) -> None:
        dice = world.dice("test")
        await world.start_all()
        watch = Watch(world)

        async def make(at: NodeId) -> None:
            while not any(uses(node) for node in world.running()):
                try:
                    await until_activated(world, at, dice)
                except (DynamoError, ProcessDied):
                    await asyncio.sleep(dice.uniform(0, 0.2))

        async def trouble() -> None:
            for _ in range(4):
                await asyncio.sleep(dice.uniform(0, 0.5))
                name = dice.choice(world.names)
                if world.machines[name].process is not None and not dice.randrange(2):
                    world.crash(name, silent=bool(dice.randrange(2)))
                    await asyncio.sleep(dice.uniform(0, 0.5))
                    await world.start(name)
                else:
                    other = dice.choice(world.names)
                    world.network.cut(name, other, dice.choice(list(Cut)))
                    await asyncio.sleep(dice.uniform(0, 1.0))
                    world.network.heal_all()

        await asyncio.gather(trouble(), *map(make, world.names))
        await world.calm()
        await watch.done()

    in_world(seed, FOUR, scenario)


def test_a_bucket_whose_name_is_too_long_gets_no_properties_of_its_own() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        bucket = Bucket(b"default", b"b" * 401)
        with pytest.raises(BadRequest, match="1 to 400 bytes, got 401"):
            await world.call("n1", lambda node: node.bucket_properties.change(bucket, {"r": 1}))

    in_world(1, FOUR, scenario)


@pytest.mark.parametrize("wait_ms", range(0, 32, 2))
def test_a_creation_that_was_acknowledged_is_not_lost_to_an_activation_of_what_was_before(
    wait_ms: int,
) -> None:
    """One node creates a type anew at some moment of its activation by another."""

    async def scenario(world: World) -> None:
        await world.start_all()
        watch = Watch(world)
        await create(world, "n1", 3)
        await until(lambda: all(knows(node) == 3 for node in world.running()), within_s=5)
        activating = asyncio.create_task(activate(world, "n1"))
        await asyncio.sleep(wait_ms / 1000)
        created = activated = True
        try:
            await create(world, "n2", 1)
        except (BadRequest, OutcomeUnknown):
            created = False
        try:
            await activating
        except BadRequest:
            activated = False
        assert activated != created or watch.used == {1}
        if not activated:
            await activate(world, "n2")
        await watch.done()
        assert watch.used == {1 if created else 3}

    in_world(1, FOUR, scenario)


def test_a_type_is_not_said_to_be_activated_where_another_node_activated_it_as_something_else() -> (
    None
):
    async def scenario(world: World) -> None:
        await world.start_all()
        await create(world, "n1", 3)
        node = world.node("n1")
        other = world.node("n2")
        await until(lambda: knows(other) == 3, within_s=5)
        activating = asyncio.create_task(activate(world, "n1"))
        await asyncio.sleep(0.004)
        other.view.learn(other.properties.creation(NAME, {"n_val": 1}, other.view.me))
        node.view.learn(other.properties.activation(NAME, other.view.me))
        with pytest.raises(BadRequest, match="active already, with other properties"):
            await activating
        assert not await activate(world, "n1")

    in_world(1, FOUR, scenario)


def test_a_type_is_created_anew_only_where_all_hear_of_it() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        await create(world, "n1", 3)
        await until(lambda: all(knows(node) == 3 for node in world.running()), within_s=5)
        world.crash("n4")
        with pytest.raises(OutcomeUnknown, match=r"not every node knows .* n4: ") as caught:
            await create(world, "n1", 2)
        assert caught.value.acks == 3
        await world.start("n4")
        await world.all_well()
        await create(world, "n1", 2)
        assert knows(world.node("n4")) == 2

    in_world(1, FOUR, scenario)
