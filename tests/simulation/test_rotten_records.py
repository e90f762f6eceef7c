"""Records that rot are noticed, never served, and mended from other replicas."""

import asyncio
from collections.abc import Iterable

import pytest

from dynamo.core.ids import NodeId
from dynamo.core.quorum import WriteQuorum
from dynamo.storage.engine import Table
from tests.simulation.asking import key_of, put
from tests.simulation.copies import held, unsettled, wrong_ledgers, wrong_trees
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


def rot(world: World, name: str, tables: Iterable[Table]) -> None:
    """Let a bit flip in every record of these tables."""
    dice = world.dice("rot")
    disk = world.machines[NodeId(name)].disk
    for table in tables:
        for place, _ in disk.scan(table, b"", None, 1000):
            world.corrupt(name, table, place, dice)
