"""Records that rot are noticed, never served, and mended from other replicas."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

import pytest

from dynamo.core.ids import Key, NodeId, encode_key
from dynamo.core.quorum import ReadQuorum, WriteQuorum
from dynamo.storage.engine import Delete, Put, Table
from dynamo.storage.records import place_of
from tests.simulation.asking import get, key_of, put, seen_in
from tests.simulation.copies import held, primaries, unsettled, wrong_ledgers, wrong_trees
from tests.simulation.scenario import in_world
from tests.simulation.world import Options, World, until

pytestmark = pytest.mark.simulation

KEYS = [key_of(f"k{number}") for number in range(5)]


@pytest.mark.parametrize(
    "tables",
    [[Table.OBJECTS], [Table.TREES], [Table.OBJECTS, Table.TREES]],
    ids=["objects", "trees", "both"],
)
@pytest.mark.parametrize("restarts", [False, True])
def test_what_rots_is_mended_without_a_client(tables: Iterable[Table], restarts: bool) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        for key in KEYS:
            await put(world, "n1", key, "x", WriteQuorum(n=3, w=3))
        whole = [held(world, key)[NodeId("n1")][0] for key in KEYS]
        if restarts:
            world.crash("n2")
        rot(world, "n2", tables)
        if restarts:
            await world.start_all()
        found = [held(world, key)[NodeId("n2")][0] for key in KEYS]
        assert all(state in (None, right) for state, right in zip(found, whole, strict=True))
        await until(
            lambda: not unsettled(world, KEYS) and not wrong_trees(world, KEYS), within_s=60
        )

    in_world(1, Options(), scenario)


@pytest.mark.parametrize(
    "tables",
    [[Table.HINTS], [Table.HINT_ORDER], [Table.HINTS, Table.HINT_ORDER]],
    ids=["hints", "rows", "both"],
)
def test_hints_that_rot_are_accounted_for_and_hide_no_others(tables: Iterable[Table]) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        world.crash("n3")
        await asyncio.sleep(3)
        for key in KEYS:
            await put(world, "n1", key, "x", WriteQuorum(n=3, w=2))
        holder = next(
            name
            for name in world.names
            if world.machines[name].disk.scan(Table.HINTS, b"", None, 1)
        )
        rot(world, holder, tables)
        for key in KEYS[:2]:
            await put(world, holder, key, "y", WriteQuorum(n=3, w=2))
        await world.start_all()
        await until(lambda: not unsettled(world, KEYS) and not wrong_ledgers(world), within_s=60)

    in_world(1, Options(), scenario)


def place_of_key(world: World, key: Key) -> bytes:
    encoded = encode_key(key)
    partition = next(world.running()).ring.partition_of(encoded)
    return place_of(partition.to_bytes(2, "big"), encoded)


def test_a_replica_that_lost_its_record_does_not_vote_for_nothing() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = KEYS[0]
        rotten, slow, away = primaries(next(world.running()), key)
        world.crash(away)
        await asyncio.sleep(3)
        await put(world, rotten, key, "acked", WriteQuorum(n=3, w=2, sloppy=False))
        await world.start(away)
        await world.all_well()
        world.corrupt(rotten, Table.OBJECTS, place_of_key(world, key), world.dice("rot"))
        world.freeze(slow)
        world.loop.call_later(0.5, world.thaw, slow)
        state = await get(world, rotten, key, ReadQuorum(n=3, r=2, sloppy=False))
        assert seen_in(state).values == {"acked"}

    settings = replace(Options().settings, hinted_handoff=False, anti_entropy=False)
    in_world(1, Options(settings=settings), scenario)


def test_a_record_whose_key_rots_costs_no_write() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = KEYS[0]
        first, second, _ = primaries(next(world.running()), key)
        await put(world, first, key, "a", WriteQuorum(n=3, w=3))
        disk, place = world.machines[first].disk, place_of_key(world, key)
        record = disk.get(Table.OBJECTS, place)
        assert record is not None
        disk.apply(Delete(Table.OBJECTS, place))
        disk.apply(Put(Table.OBJECTS, place[:-1] + bytes([place[-1] ^ 1]), record))
        await put(world, first, key, "b", WriteQuorum(n=3, w=3))
        state = await get(world, second, key, ReadQuorum(n=3, r=3))
        assert seen_in(state).values == {"a", "b"}

    settings = replace(Options().settings, hinted_handoff=False, anti_entropy=False)
    in_world(1, Options(settings=settings), scenario)


def rot(world: World, name: str, tables: Iterable[Table]) -> None:
    """Let a bit flip in every record of these tables."""
    dice = world.dice("rot")
    disk = world.machines[NodeId(name)].disk
    for table in tables:
        for place, _ in disk.scan(table, b"", None, 1000):
            world.corrupt(name, table, place, dice)
