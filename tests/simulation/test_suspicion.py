import asyncio
from collections.abc import Callable

import pytest

from tests.simulation.links import Cut
from tests.simulation.scenario import in_world
from tests.simulation.world import Options, World, until

pytestmark = pytest.mark.simulation

FIVE = Options(nodes=5)

NOTICED_S = 3.0
"""A node that dies or returns is noticed within this, with default settings."""


def everybody_thinks(world: World, of: str, opinion: str) -> Callable[[], bool]:
    return lambda: all(
        world.thinks(node.view.me, of) == opinion for node in world.running() if node.view.me != of
    )


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_a_killed_node_is_suspected_and_a_returning_one_used_again(seed: int, silent: bool) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        await asyncio.sleep(5)
        world.crash("n3", silent=silent)
        await until(everybody_thinks(world, "n3", "suspect"), within_s=NOTICED_S)
        await asyncio.sleep(10)
        await world.start("n3")
        await until(everybody_thinks(world, "n3", "up"), within_s=NOTICED_S)

    in_world(seed, FIVE, scenario)


@pytest.mark.parametrize("seed", range(5))
def test_a_paused_node_is_suspected_and_used_again_after_it_resumes(seed: int) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        await asyncio.sleep(5)
        world.freeze("n3")
        await until(everybody_thinks(world, "n3", "suspect"), within_s=NOTICED_S)
        await asyncio.sleep(20)
        world.thaw("n3")
        await until(everybody_thinks(world, "n3", "up"), within_s=NOTICED_S)
        await until(
            lambda: all(world.thinks("n3", of) == "up" for of in world.names), within_s=NOTICED_S
        )

    in_world(seed, FIVE, scenario)


@pytest.mark.parametrize("silent", [False, True])
def test_a_node_that_was_away_before_is_suspected_no_later(silent: bool) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        for _ in range(5):
            world.crash("n3", silent=silent)
            await asyncio.sleep(8)
            await world.start_all()
            await asyncio.sleep(5)
        world.crash("n3", silent=True)
        await until(everybody_thinks(world, "n3", "suspect"), within_s=NOTICED_S)

    in_world(1, FIVE, scenario)


def test_a_node_that_paused_a_little_before_is_suspected_no_later() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        await asyncio.sleep(3)
        world.freeze("n3")
        await asyncio.sleep(1.6)  # too short for a suspicion, far too long for a heartbeat
        world.thaw("n3")
        await asyncio.sleep(3)
        world.crash("n3", silent=True)
        await until(everybody_thinks(world, "n3", "suspect"), within_s=NOTICED_S)

    in_world(1, FIVE, scenario)


def test_a_node_that_stood_still_itself_suspects_others_no_later() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        for _ in range(5):
            world.freeze("n1")
            await asyncio.sleep(8)
            world.thaw("n1")
            await asyncio.sleep(5)
        world.crash("n3", silent=True)
        await until(everybody_thinks(world, "n3", "suspect"), within_s=NOTICED_S)

    in_world(1, FIVE, scenario)


def test_a_pause_of_two_seconds_is_not_taken_for_the_end() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        await asyncio.sleep(5)
        world.freeze("n3")
        for _ in range(200):
            await asyncio.sleep(0.01)
            assert all(world.thinks(name, "n3") != "down" for name in world.names)
        world.thaw("n3")
        await until(everybody_thinks(world, "n3", "up"), within_s=NOTICED_S)

    in_world(1, FIVE, scenario)


@pytest.mark.parametrize("mode", [Cut.DROP, Cut.STALL])
def test_a_link_cut_one_way_is_noticed_by_its_two_ends_and_by_nobody_else(mode: Cut) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        await asyncio.sleep(5)
        world.network.cut("n1", "n2", mode)
        await until(
            lambda: world.thinks("n1", "n2") == world.thinks("n2", "n1") == "suspect",
            within_s=NOTICED_S,
        )
        await asyncio.sleep(20)
        assert len(world.unwell()) == 2
        world.network.heal("n1", "n2")
        for of in ("n1", "n2"):
            await until(everybody_thinks(world, of, "up"), within_s=NOTICED_S)

    in_world(1, FIVE, scenario)
