"""Dynamo §4.6, hinted handoff: what the section says, one test for each statement.

Whole nodes on virtual time, with read repair and anti-entropy off. As in the paper's example, A is
the first node that should hold the key, and D the first behind those that should.
"""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from dynamo.config import NodeConfig
from dynamo.core.ids import NodeId, encode_key
from dynamo.core.quorum import ReadQuorum, WriteQuorum
from dynamo.core.ring import Ring, RingMember
from dynamo.errors import QuorumError
from dynamo.storage.engine import Table
from tests.simulation.asking import get, key_of, put, seen_in
from tests.simulation.copies import held, hints, holders
from tests.simulation.links import Cut
from tests.simulation.scenario import in_world
from tests.simulation.world import Options, World, until

pytestmark = pytest.mark.simulation

SETTINGS = NodeConfig(
    node_id=NodeId("any"), data_dir=Path("any"), read_repair=False, anti_entropy=False
)
FIVE = Options(nodes=5, settings=SETTINGS)

K = key_of("k")
NOTICED_S = 3.0
WRITE, READ = WriteQuorum(n=3, w=2), ReadQuorum(n=3, r=2)


class Names(NamedTuple):
    """The nodes by the letters of the paper."""

    a: NodeId
    b: NodeId
    c: NodeId
    d: NodeId
    e: NodeId


async def cluster(world: World) -> Names:
    await world.start_all()
    preferred = next(world.running()).view.preference_list(encode_key(K), 3)
    return Names(*preferred.primaries, *preferred.stand_ins)


@pytest.mark.parametrize("how", ["down", "unreachable"])
def test_a_replica_that_would_have_lived_on_a_is_sent_to_d(how: str) -> None:
    async def scenario(world: World) -> None:
        names = await cluster(world)
        if how == "down":
            world.crash(names.a)
        else:
            for other in names[1:]:
                world.network.cut(other, names.a, Cut.DROP)
                world.network.cut(names.a, other, Cut.DROP)
        await asyncio.sleep(NOTICED_S)
        await put(world, names.b, K, "x", replace(WRITE, w=3))
        assert holders(world, K) == {names.b, names.c, names.d}

    in_world(1, FIVE, scenario)


def test_operations_are_performed_on_the_first_n_healthy_nodes_of_the_preference_list() -> None:
    async def scenario(world: World) -> None:
        names = await cluster(world)
        world.crash(names.b)
        world.crash(names.d)
        await asyncio.sleep(NOTICED_S)
        written = await put(world, names.a, K, "x", replace(WRITE, w=3))
        assert written.acks == 3
        assert holders(world, K) == {names.a, names.c, names.e}
        state = await get(world, names.c, K, replace(READ, r=3))
        assert seen_in(state).values == {"x"}

    in_world(1, FIVE, scenario)


def test_the_replica_sent_to_d_tells_that_it_was_meant_for_a() -> None:
    async def scenario(world: World) -> None:
        names = await cluster(world)
        world.crash(names.a)
        await asyncio.sleep(NOTICED_S)
        await put(world, names.b, K, "x", replace(WRITE, w=3))
        assert hints(world, K) == [(names.d, names.a)]

    in_world(1, FIVE, scenario)


def test_hinted_replicas_are_kept_in_a_separate_local_database() -> None:
    async def scenario(world: World) -> None:
        names = await cluster(world)
        world.crash(names.a)
        await asyncio.sleep(NOTICED_S)
        await put(world, names.b, K, "x", replace(WRITE, w=3))
        disk = world.machines[names.d].disk
        assert len(disk.scan(Table.HINTS, b"", None, 10)) == 1
        assert disk.scan(Table.OBJECTS, b"", None, 10) == []

    in_world(1, FIVE, scenario)


def test_that_database_is_scanned_periodically() -> None:
    """So that a node that did not see A recover, as it was down itself, delivers all the same."""

    async def scenario(world: World) -> None:
        names = await cluster(world)
        world.crash(names.a)
        await asyncio.sleep(NOTICED_S)
        await put(world, names.b, K, "x", replace(WRITE, w=3))
        world.crash(names.d)
        await world.start(names.a)
        await asyncio.sleep(60)
        await world.start(names.d)
        await until(lambda: holders(world, K) == {names.a, names.b, names.c}, within_s=10)

    in_world(1, FIVE, scenario)


def test_upon_detecting_that_a_has_recovered_d_delivers_the_replica_to_a() -> None:
    async def scenario(world: World) -> None:
        names = await cluster(world)
        world.crash(names.a)
        await asyncio.sleep(NOTICED_S)
        await put(world, names.b, K, "x", replace(WRITE, w=3))
        await world.start(names.a)
        await until(lambda: held(world, K)[names.a][0] is not None, within_s=5)
        copies = held(world, K)
        assert copies[names.a][0] == copies[names.b][0]

    in_world(1, FIVE, scenario)


def test_d_deletes_its_replica_without_decreasing_the_number_of_replicas() -> None:
    async def scenario(world: World) -> None:
        names = await cluster(world)
        world.crash(names.a)
        await asyncio.sleep(NOTICED_S)
        await put(world, names.b, K, "x", replace(WRITE, w=3))
        await world.start(names.a)
        fewest = len(holders(world, K))

        def is_handed_over() -> bool:
            nonlocal fewest
            fewest = min(fewest, len(holders(world, K)))
            return not hints(world, K)

        await until(is_handed_over, within_s=10, every_s=0.0005)
        assert fewest == 3
        assert holders(world, K) == {names.a, names.b, names.c}

    in_world(1, FIVE, scenario)


def test_reads_and_writes_do_not_fail_because_of_temporary_failures() -> None:
    """All who should hold the key are gone one after the other, and come back."""

    async def scenario(world: World) -> None:
        names = await cluster(world)
        for number, away in enumerate(names[:3]):
            world.crash(away)
            await asyncio.sleep(NOTICED_S)
            at = names[(number + 1) % 3]
            state = await get(world, at, K, READ)
            await put(world, at, K, f"x{number}", WRITE, context=state.context())
            assert seen_in(await get(world, at, K, READ)).values == {f"x{number}"}
            await world.start(away)
            await world.all_well()
            await until(lambda: not hints(world, K), within_s=10)

    in_world(1, FIVE, scenario)


def test_with_w_1_a_write_is_accepted_as_long_as_a_single_node_writes_it_durably() -> None:
    async def scenario(world: World) -> None:
        names = await cluster(world)
        for name in names[:4]:
            world.crash(name)
        await asyncio.sleep(NOTICED_S)
        written = await put(world, names.e, K, "x", replace(WRITE, w=1))
        assert written.acks == 1
        world.crash(names.e)
        await world.start_all()
        await until(lambda: holders(world, K) == {*names[:3]}, within_s=30)

    in_world(1, FIVE, scenario)


def test_a_strict_quorum_membership_would_be_unavailable_there() -> None:
    """Which is why the paper does not enforce it; here a request may."""

    async def scenario(world: World) -> None:
        names = await cluster(world)
        world.crash(names.a)
        world.crash(names.b)
        await asyncio.sleep(NOTICED_S)
        with pytest.raises(QuorumError):
            await put(world, names.c, K, "x", replace(WRITE, sloppy=False))
        await put(world, names.c, K, "x", WRITE)

    in_world(1, FIVE, scenario)


def test_each_object_is_replicated_across_data_centers() -> None:
    centers = {f"n{number}": f"center {number % 3}" for number in range(9)}
    ring = Ring(
        [
            RingMember(node_id=NodeId(name), tokens=(number * 3,), zone=zone)
            for number, (name, zone) in enumerate(centers.items())
        ],
        32,
    )
    for partition in range(32):
        primaries = ring.preference_list(partition, 3).primaries
        assert len({centers[name] for name in primaries}) == 3
