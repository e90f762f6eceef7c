"""The ways in which Riak lost acknowledged writes when a clock went backwards (its issue kv679).

A node forgot what it had minted (its disk was wiped, a hint was delivered and dropped, a tombstone
was collected), began again from nothing under its old name, and what it wrote next lay below what
others still had of it. Named after riak_test's `kv679_dataloss`, `_dataloss_fb`, `_dataloss_fb2`,
`_tombstone` and `_tombstone2`.
"""

import asyncio
from dataclasses import replace

import pytest

from dynamo.config import ClusterConfig
from dynamo.core.ids import Key, NodeId
from dynamo.core.quorum import ReadQuorum, WriteQuorum
from tests.simulation.asking import delete, get, key_of, put, seen_in
from tests.simulation.copies import hints, holders, primaries
from tests.simulation.scenario import in_world
from tests.simulation.world import Options, World, until

pytestmark = pytest.mark.simulation

FIVE = Options(nodes=5, cluster=ClusterConfig(stragglers_s_max=3.0))

NOTICED_S = 3.0
SETTLING_S = 22.0
COLLECTED_S = 60.0

KEY = key_of("k")
ALL = WriteQuorum(n=3, w=3)
TWO = WriteQuorum(n=3, w=2)
READ = ReadQuorum(n=3, r=2)
READ_ALL = ReadQuorum(n=3, r=3)


async def values(world: World, at: str, key: Key = KEY) -> set[str]:
    return set(seen_in(await get(world, at, key, READ_ALL)).values)


def places(world: World) -> tuple[list[NodeId], list[NodeId]]:
    """The primaries of the key, and the other nodes."""
    first = primaries(next(world.running()), KEY)
    return first, [name for name in world.names if name not in first]


async def crash(world: World, *names: NodeId) -> None:
    for name in names:
        world.crash(name)
    await asyncio.sleep(NOTICED_S)


async def hints_gone(world: World) -> None:
    await until(lambda: not hints(world, KEY), within_s=10)


def test_dataloss_a_coordinator_whose_data_is_wiped_between_blind_writes_loses_none() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        coordinator, *others = places(world)[0]
        for text in ("a", "b", "c"):
            await put(world, coordinator, KEY, text, ALL)
        world.crash(coordinator)
        world.wipe(coordinator)
        await world.start_all()
        await put(world, coordinator, KEY, "d", ALL)
        for name in (coordinator, *others):
            assert await values(world, name) == {"a", "b", "c", "d"}

    in_world(1, FIVE, scenario)


def test_dataloss_fb_a_fallback_that_coordinates_and_is_wiped_between_writes_loses_none() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        first, (fallback, other) = places(world)
        await crash(world, *first)
        for text in ("a", "b"):
            await put(world, fallback, KEY, text, TWO)
        assert {holder for holder, _ in hints(world, KEY)} == {fallback, other}
        world.crash(fallback)
        world.wipe(fallback)
        await world.start(fallback)
        await until(lambda: world.machines[fallback].serving, within_s=20)
        await until(lambda: world.thinks(fallback, other) == "up", within_s=10)
        await put(world, fallback, KEY, "c", TWO)
        await world.calm()
        await hints_gone(world)
        assert await values(world, first[0]) == {"a", "b", "c"}

    in_world(1, FIVE, scenario)


@pytest.mark.parametrize("restarted", [False, True])
def test_dataloss_fb2_a_fallback_that_delivered_and_forgot_coordinates_again_and_loses_none(
    restarted: bool,
) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        first, (fallback, _) = places(world)
        written = set[str]()
        for outage in range(3):
            await crash(world, *first)
            for number in range(2):
                text = f"{outage}.{number}"
                await put(world, fallback, KEY, text, TWO)
                written.add(text)
            if restarted:
                world.crash(fallback)
            await world.calm()
            await hints_gone(world)
            assert await values(world, first[0]) == written
            assert holders(world, KEY) == set(first)

    in_world(1, FIVE, scenario)


@pytest.mark.parametrize("with_context", [False, True])
def test_tombstone_a_tombstone_left_on_a_dead_fallback_does_not_eat_a_newer_value(
    with_context: bool,
) -> None:
    async def scenario(world: World) -> None:
        no_handoff = replace(FIVE, settings=replace(FIVE.settings, hinted_handoff=False))
        world.options = no_handoff
        await world.start_all()
        first, _ = places(world)
        await put(world, first[0], KEY, "old", ALL)
        await crash(world, first[2])
        assert await delete(world, first[0], KEY, READ, ALL)
        [(fallback, target)] = hints(world, KEY)
        assert target == first[2]
        await crash(world, fallback)
        await world.start(first[2])
        await until(lambda: world.thinks(first[0], first[2]) == "up", within_s=10)
        assert await values(world, first[0]) == set()
        await asyncio.sleep(2 * COLLECTED_S)
        assert holders(world, KEY) == set(first), "the fallback is down: nothing may be forgotten"
        context = seen_in(await get(world, first[0], KEY, READ)).context
        await put(world, first[0], KEY, "new", ALL, context=context if with_context else None)
        world.options = FIVE
        await world.start_all()
        await hints_gone(world)
        await asyncio.sleep(2 * COLLECTED_S)
        for name in world.names:
            assert await values(world, name) == {"new"}

    in_world(1, FIVE, scenario)


@pytest.mark.parametrize("with_context", [False, True])
@pytest.mark.parametrize("wiped", [False, True])
def test_tombstone2_a_tombstone_on_a_crashed_primary_does_not_eat_a_newer_value(
    with_context: bool, wiped: bool
) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        first, _ = places(world)
        await put(world, first[0], KEY, "old", ALL)
        assert await delete(world, first[0], KEY, READ_ALL, ALL)
        await crash(world, first[1])
        await asyncio.sleep(2 * COLLECTED_S)
        assert holders(world, KEY) == {first[0], first[2]}
        context = seen_in(await get(world, first[0], KEY, READ)).context
        if wiped:
            # The coordinator of all this forgets its part, and what comes next has a new actor.
            world.crash(first[0])
            world.wipe(first[0])
            await world.start(first[0])
            await until(lambda: world.machines[first[0]].serving, within_s=20)
        await put(world, first[0], KEY, "new", TWO, context=context if with_context else None)
        await world.start(first[1])
        await world.all_well()
        await hints_gone(world)
        await asyncio.sleep(2 * COLLECTED_S)
        for name in world.names:
            assert await values(world, name) == {"new"}

    in_world(1, FIVE, scenario)


def test_a_tombstone_that_one_replica_dropped_and_others_keep_does_not_eat_a_newer_value() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        first, _ = places(world)
        await put(world, first[0], KEY, "old", ALL)
        assert await delete(world, first[0], KEY, READ_ALL, ALL)
        # The owner drops last: it is killed the moment another has.
        await asyncio.sleep(SETTLING_S)
        await until(lambda: len(holders(world, KEY)) < 3, within_s=COLLECTED_S, every_s=0.0001)
        world.crash(first[0])
        dropped = next(name for name in first[1:] if name not in holders(world, KEY))
        await put(world, dropped, KEY, "new", TWO)
        await world.start_all()
        await hints_gone(world)
        await asyncio.sleep(COLLECTED_S)
        for name in world.names:
            assert await values(world, name) == {"new"}

    in_world(1, FIVE, scenario)
