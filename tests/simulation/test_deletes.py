"""Deleted keys: nothing brings them back, and they are forgotten when nothing can."""

import asyncio
import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest

from dynamo.config import ClusterConfig
from dynamo.core.ids import Key, NodeId
from dynamo.core.quorum import ReadQuorum, WriteQuorum
from dynamo.errors import DynamoError
from dynamo.node import pacing
from dynamo.storage.engine import Table
from tests.simulation.asking import delete, get, key_of, put, seen_in
from tests.simulation.copies import hints, holders, primaries
from tests.simulation.links import Cut, Weather
from tests.simulation.scenario import in_world
from tests.simulation.world import Options, World, until

pytestmark = pytest.mark.simulation

FIVE = Options(nodes=5, cluster=ClusterConfig(stragglers_s_max=3.0))

SETTLING_S = 22.0
COLLECTED_S = 60.0
"""What is deleted everywhere is collected within this, with the first lot or with the second."""

NOTICED_S = 3.0

KEY = key_of("k")
ALL = WriteQuorum(n=3, w=3)
TWO = WriteQuorum(n=3, w=2)
ONE = WriteQuorum(n=3, w=1)
READ = ReadQuorum(n=3, r=2)
READ_ALL = ReadQuorum(n=3, r=3)


async def values(world: World, at: str, quorum: ReadQuorum = READ_ALL, key: Key = KEY) -> set[str]:
    return set(seen_in(await get(world, at, key, quorum)).values)


async def put_and_delete(world: World, at: str, key: Key = KEY) -> None:
    await put(world, at, key, "old", ALL)
    assert await delete(world, at, key, READ_ALL, ALL)


def rows(world: World, *tables: Table) -> int:
    """What is on the disks of all machines."""
    return sum(machine.disk.count(table) for machine in world.machines.values() for table in tables)


def reasons(world: World) -> set[str]:
    """What the owners of tombstones say that these wait for."""
    reports = [node.operations.tombstones() for node in world.running()]
    return {wait.reason for report in reports for wait in report.waits}


async def collected(world: World, key: Key = KEY) -> None:
    await until(lambda: not holders(world, key), within_s=COLLECTED_S)


def places(world: World, key: Key = KEY) -> tuple[list[NodeId], list[NodeId]]:
    """The primaries of a key, and the other nodes."""
    first = primaries(next(world.running()), key)
    return first, [name for name in world.names if name not in first]


def keys_at(world: World, first: list[NodeId]) -> Iterator[Key]:
    """Keys that have these primaries, in this order."""
    node = next(world.running())
    keys = (key_of(f"k{number}") for number in itertools.count())
    return (key for key in keys if primaries(node, key) == first)


# -- collecting ----------------------------------------------------------------------------------


def test_a_key_deleted_everywhere_is_forgotten_everywhere_and_its_space_is_free() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        keys = [key_of(f"k{number}") for number in range(50)]
        for key in keys:
            await put_and_delete(world, "n1", key)
        await put(world, "n1", KEY, "kept", ALL)
        assert rows(world, Table.OBJECTS) == 3 * 51
        assert rows(world, Table.TOMBSTONES) == 3 * 50
        await until(lambda: not any(holders(world, key) for key in keys), within_s=COLLECTED_S)
        assert rows(world, Table.OBJECTS) == 3
        assert rows(world, Table.TOMBSTONES, Table.HINTS) == 0
        assert world.counted()["tombstones_collected"] == 50
        assert await values(world, "n2") == {"kept"}

    in_world(1, FIVE, scenario)


def test_a_node_that_is_down_keeps_tombstones_waiting() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        (owner, replica, _), (other, _) = places(world)
        for away in (owner, replica, other):
            await put_and_delete(world, "n1")
            world.crash(away)
            await asyncio.sleep(60)
            assert reasons(world) <= {f"{away} cannot be reached", "not looked at yet"}
            assert len(holders(world, KEY)) >= 2
            await world.start(away)
            await world.all_well()
            await collected(world)

    in_world(1, FIVE, scenario)


def test_a_hint_for_the_key_keeps_its_tombstone_waiting() -> None:
    async def scenario(world: World) -> None:
        world.options = replace(FIVE, settings=replace(FIVE.settings, hinted_handoff=False))
        await world.start_all()
        first, others = places(world)
        await put(world, first[0], KEY, "old", ALL)
        world.crash(first[2])
        await asyncio.sleep(NOTICED_S)
        assert await delete(world, first[0], KEY, READ, ALL)
        [(holder, _)] = hints(world, KEY)
        assert holder in others
        await world.start(first[2])
        await world.all_well()
        assert await values(world, first[0]) == set()
        await asyncio.sleep(100)
        assert reasons(world) == {f"{holder} keeps a hint"}
        assert holders(world, KEY) == {*first, holder}
        world.options = FIVE
        world.crash(holder)
        await world.start(holder)
        await collected(world)

    in_world(1, FIVE, scenario)


def test_a_replica_without_the_tombstone_keeps_it_waiting() -> None:
    async def scenario(world: World) -> None:
        quiet = replace(FIVE.settings, anti_entropy=False, read_repair=False)
        world.options = replace(FIVE, settings=quiet)
        await world.start_all()
        first, _ = places(world)
        await put_and_delete(world, first[0])
        world.crash(first[1])
        world.wipe(first[1])
        await world.start(first[1])
        await world.all_well()
        await asyncio.sleep(100)
        assert reasons(world) == {f"{first[1]} does not hold it"}
        assert holders(world, KEY) == {first[0], first[2]}

    in_world(1, FIVE, scenario)


def test_tombstones_go_though_they_are_many_and_the_pace_is_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pacing, "RATE_START", 50.0)
    monkeypatch.setattr(pacing, "RATE_MAX", 50.0)

    async def scenario(world: World) -> None:
        await world.start_all()
        keys = [key_of(f"k{number}") for number in range(2400)]
        for start in range(0, len(keys), 50):
            lot = keys[start : start + 50]
            await asyncio.gather(*(put_and_delete(world, "n1", key) for key in lot))
        await until(lambda: not rows(world, Table.OBJECTS), within_s=600, every_s=1.0)

    settings = replace(FIVE.settings, replica_timeout_s=1.0, anti_entropy=False)
    in_world(1, Options(cluster=ClusterConfig(stragglers_s_max=1.0), settings=settings), scenario)


# -- what could bring a value back ---------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_write_held_up_on_its_way_until_all_is_forgotten_brings_nothing_back(seed: int) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        owner, writer, late = places(world)[0]
        world.network.cut(writer, late, Cut.STALL)
        await put(world, writer, KEY, "old", TWO)
        assert await delete(world, owner, KEY, READ, TWO)
        await collected(world)
        world.network.heal_all()
        await asyncio.sleep(60)
        assert holders(world, KEY) == set()

    in_world(seed, FIVE, scenario)


@pytest.mark.parametrize("seed", range(2))
def test_a_write_that_comes_late_but_in_time_finds_the_tombstone_still_there(seed: int) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        owner, writer, late = first = places(world)[0]
        keys = list(itertools.islice(keys_at(world, first), 80))
        for number in range(40):
            world.network.cut(writer, late, Cut.STALL)
            for key in keys[number::40]:
                await put(world, writer, key, "old", TWO)
                assert await delete(world, owner, key, READ, TWO)
            await asyncio.sleep(0.6)  # for longer, and the connection would be given up
            world.network.heal_all()
            await asyncio.sleep(0.2)
        await until(lambda: not rows(world, Table.OBJECTS), within_s=COLLECTED_S)
        assert world.counted()["tombstones_collected"] == len(keys)

    in_world(seed, FIVE, scenario)


@pytest.mark.parametrize("seed", range(3))
def test_a_frozen_coordinator_with_a_write_in_hand_brings_nothing_back(seed: int) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        owner, writer, late = places(world)[0]
        world.network.cut(writer, late, Cut.DROP)
        await put(world, writer, KEY, "old", TWO)
        world.freeze(writer)
        world.network.heal_all()
        await asyncio.sleep(NOTICED_S)
        assert await delete(world, owner, KEY, READ, ALL)
        await asyncio.sleep(100)
        assert holders(world, KEY)
        assert f"{writer} cannot be reached" in reasons(world)
        world.thaw(writer)
        await world.all_well()
        assert await values(world, owner) == set()
        await collected(world)
        await asyncio.sleep(60)
        assert holders(world, KEY) == set()

    in_world(seed, FIVE, scenario)


SLOW = Weather(spike_share=0.1, spike_s=1.5)
"""So slow that replicas are replaced, and what they were sent arrives late."""


def change_weather(world: World, weather: Weather) -> None:
    for one, other in itertools.permutations(world.names, 2):
        world.network.link(one, other)._weather = weather


@pytest.mark.parametrize("seed", range(4))
def test_nothing_that_was_deleted_on_a_slow_network_comes_back(seed: int) -> None:
    async def scenario(world: World) -> None:
        world.options = replace(FIVE, settings=replace(FIVE.settings, replica_timeout_s=0.3))
        await world.start_all()
        dice = world.dice("scenario")
        deleted: list[Key] = []

        async def live_and_die(key: Key) -> None:
            await asyncio.sleep(dice.uniform(0, 30))
            with contextlib.suppress(DynamoError):
                await put(world, dice.choice(world.names), key, "old", ONE)
                if await delete(world, dice.choice(world.names), key, READ, ONE):
                    deleted.append(key)

        change_weather(world, SLOW)
        await asyncio.gather(*(live_and_die(key_of(f"k{number}")) for number in range(200)))
        change_weather(world, Weather())
        await world.calm()
        assert len(deleted) > 50
        await until(
            lambda: not any(holders(world, key) for key in deleted), within_s=2 * COLLECTED_S
        )
        await asyncio.sleep(60)
        assert not any(holders(world, key) for key in deleted)

    in_world(seed, FIVE, scenario)


async def carried_out(
    world: World, steps: tuple[str, ...], key: Key, there: str, elsewhere: str
) -> set[str]:
    """What must be left of a value after it is deleted there, and another written elsewhere."""
    covered: set[str] = set()
    await put(world, there, key, "old", ALL)
    for step in steps:
        if step == "delete":
            await delete(
                world,
                there,
                key,
                ReadQuorum(n=3, r=1),
                ONE,
                overhear=lambda state: covered.update(seen_in(state).values),
            )
        elif step == "write":
            await put(world, elsewhere, key, "new", ONE)
        elif step == "cut":
            for name in world.names:
                world.network.cut(there, name, Cut.DROP)
                world.network.cut(name, there, Cut.DROP)
            await asyncio.sleep(NOTICED_S)
        else:
            world.network.heal_all()
            await asyncio.sleep(NOTICED_S)
    await world.calm()
    return {"old", "new"} - covered


@pytest.mark.parametrize("deletes_at", [0, 1, 2])
def test_delete_cut_write_elsewhere_and_heal_in_any_order(deletes_at: int) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        first, _ = places(world)
        left: dict[Key, set[str]] = {}
        keys = keys_at(world, first)
        for steps in itertools.permutations(("delete", "cut", "write", "heal")):
            key = next(keys)
            there, elsewhere = first[deletes_at], first[deletes_at - 1]
            left[key] = await carried_out(world, steps, key, there, elsewhere)
        assert {frozenset(values) for values in left.values()} == {frozenset({"new"}), frozenset()}
        await asyncio.sleep(COLLECTED_S)
        for key, expected in left.items():
            for name in world.names:
                assert await values(world, name, key=key) == expected
            if not expected:
                await collected(world, key)

    in_world(1, FIVE, scenario)


# -- new values ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_a_key_that_is_written_anew_while_it_is_collected_keeps_the_new_value(seed: int) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        dice = world.dice("scenario")
        keys = [key_of(f"k{number}") for number in range(30)]
        for key in keys:
            await put_and_delete(world, "n1", key)
        contexts = {key: seen_in(await get(world, "n1", key, READ)).context for key in keys}

        async def write_anew(key: Key) -> None:
            # Some before the keys are dropped, some while they are, some after.
            await asyncio.sleep(SETTLING_S + dice.uniform(-0.5, 5.5))
            context = contexts[key] if dice.random() < 0.5 else None
            await put(world, dice.choice(world.names), key, "new", TWO, context=context)

        await asyncio.gather(*(write_anew(key) for key in keys))
        await asyncio.sleep(COLLECTED_S)
        for key in keys:
            assert await values(world, dice.choice(world.names), key=key) == {"new"}
        await asyncio.sleep(COLLECTED_S)
        assert all(len(holders(world, key)) == 3 for key in keys)

    in_world(seed, FIVE, scenario)


def test_writes_with_a_context_of_before_the_collection_are_siblings_of_each_other() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        await put(world, "n1", KEY, "old", ALL)
        context = seen_in(await get(world, "n1", KEY, READ)).context
        assert await delete(world, "n1", KEY, READ_ALL, ALL)
        await collected(world)
        for name in world.names:
            await put(world, name, KEY, f"new at {name}", ALL, context=context)
        assert await values(world, "n1") == {f"new at {name}" for name in world.names}
        assert await delete(world, "n1", KEY, READ, ALL, context=context)
        assert await values(world, "n1") == {f"new at {name}" for name in world.names}

    in_world(1, FIVE, scenario)


def test_a_key_can_be_written_deleted_and_collected_again_and_again() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        for number in range(10):
            at = world.names[number % 5]
            await put(world, at, KEY, f"{number}", ALL)
            assert await values(world, "n1") == {f"{number}"}
            assert await delete(world, at, KEY, READ_ALL, ALL)
            await collected(world)
        assert world.counted()["tombstones_collected"] == 10

    in_world(1, FIVE, scenario)
