"""Listings while nodes die, return, join and lose each other: what a quorum has is listed."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from dynamo.config import NodeConfig
from dynamo.core.ids import DEFAULT_BUCKET_TYPE, Bucket, Key, NodeId, encode_key
from dynamo.core.quorum import Conflicts, ReadQuorum, WriteQuorum
from dynamo.errors import QuorumError
from dynamo.node import scans
from dynamo.node.node import Node
from dynamo.storage.engine import Table
from dynamo.storage.records import place_of
from tests.simulation.asking import delete, get, key_of, put, seen_in
from tests.simulation.copies import hints, primaries, unsettled
from tests.simulation.links import Cut
from tests.simulation.scenario import in_world
from tests.simulation.world import Options, World, until

pytestmark = pytest.mark.simulation

BUCKET = Bucket(DEFAULT_BUCKET_TYPE, b"b")
FIVE = Options(nodes=5)
UNREPAIRED = Options(
    nodes=3,
    settings=NodeConfig(
        node_id=NodeId("any"),
        data_dir=Path("any"),
        read_repair=False,
        anti_entropy=False,
        hinted_handoff=False,
    ),
)

R2 = ReadQuorum(n=3, r=2)
W2 = WriteQuorum(n=3, w=2)
STRICT_R2 = ReadQuorum(n=3, r=2, sloppy=False)
STRICT_W2 = WriteQuorum(n=3, w=2, sloppy=False)

NOTICED_S = 3.0


async def listed(world: World, at: str, quorum: ReadQuorum = R2) -> list[str]:
    """The keys that a node lists, in order."""

    async def keys(node: Node) -> list[bytes]:
        listing = node.listing.keys(BUCKET, quorum, Conflicts.SIBLINGS, timeout_s=60.0)
        return [key async for page in listing for key in page]

    return sorted(key.decode() for key in await world.call(at, keys))


async def buckets(world: World, at: str, quorum: ReadQuorum = R2) -> list[bytes]:
    """The buckets that a node lists, in order."""

    async def names(node: Node) -> list[bytes]:
        listing = node.listing.buckets(
            DEFAULT_BUCKET_TYPE, quorum, Conflicts.SIBLINGS, timeout_s=60.0
        )
        return [name async for page in listing for name in page]

    return sorted(await world.call(at, names))


async def listed_by_all(world: World, quorum: ReadQuorum = R2) -> list[list[str]]:
    """What the nodes that serve list, all at the same time."""
    names = [name for name, machine in world.machines.items() if machine.serving]
    return await asyncio.gather(*(listed(world, name, quorum) for name in names))


async def write(
    world: World, names: Sequence[str], quorum: WriteQuorum, at: Sequence[str] = ()
) -> None:
    """Write each key at the node that is its turn."""
    up = at or [node.view.me for node in world.running()]
    await asyncio.gather(
        *(
            put(world, up[number % len(up)], key_of(name), name, quorum)
            for number, name in enumerate(names)
        )
    )


async def settled(world: World, names: Sequence[str]) -> None:
    keys = [key_of(name) for name in names]
    await until(lambda: not unsettled(world, keys), within_s=300, every_s=1)


@pytest.mark.parametrize("seed", range(3))
def test_what_a_strict_quorum_has_is_listed_by_all_while_nodes_die_and_return(seed: int) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        dice = world.dice("test")
        live: list[str] = []

        async def listings_are_right() -> None:
            for found in await listed_by_all(world, STRICT_R2):
                assert found == sorted(live)

        async def change(round_: int) -> None:
            fresh = [f"{round_}-{number}" for number in range(30)]
            await write(world, fresh, STRICT_W2)
            live.extend(fresh)
            up = [node.view.me for node in world.running()]
            for _ in range(8):
                gone = live.pop(dice.randrange(len(live)))
                await delete(world, dice.choice(up), key_of(gone), STRICT_R2, STRICT_W2)

        await change(0)
        await listings_are_right()
        for round_ in range(1, 5):
            victim = dice.choice(world.names)
            world.crash(victim, silent=dice.random() < 0.5)
            await listings_are_right()  # before anybody has noticed
            await asyncio.sleep(NOTICED_S)
            await change(round_)
            await listings_are_right()
            await world.start(victim)
            await listings_are_right()
            await world.all_well()
            await listings_are_right()

    in_world(seed, FIVE, scenario)


@pytest.mark.parametrize("seed", range(2))
def test_all_is_listed_while_a_node_joins(seed: int) -> None:
    async def scenario(world: World) -> None:
        for name in world.names[:4]:
            await world.start(name)
        await world.all_well()
        names = [f"k{number:03}" for number in range(150)]
        await write(world, names, W2)
        await settled(world, names)
        joining = asyncio.ensure_future(world.start("n5"))
        for _ in range(25):
            for found in await listed_by_all(world):
                assert found == names
            await asyncio.sleep(0.05)
        await joining
        await world.all_well()
        assert len(await listed_by_all(world)) == 5
        assert any("n5" in primaries(world.node("n1"), key_of(name)) for name in names)

    in_world(seed, FIVE, scenario)


def test_each_side_of_a_cut_lists_what_its_stand_ins_took_and_all_list_it_all_afterwards() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        before = [f"before-{number}" for number in range(40)]
        await write(world, before, W2)
        sides = ["n1", "n2"], ["n3", "n4", "n5"]
        for one in sides[0]:
            for other in sides[1]:
                world.network.cut(one, other, Cut.DROP)
                world.network.cut(other, one, Cut.DROP)
        await asyncio.sleep(NOTICED_S)
        meanwhile = []
        for side in sides:
            names = [f"{'+'.join(side)}-{number}" for number in range(40)]
            await write(world, names, W2, side)
            meanwhile += names
            there = [
                name
                for name in before
                if not set(side).isdisjoint(primaries(world.node(side[0]), key_of(name)))
            ]
            for at in side:
                found = await listed(world, at)
                assert found == sorted(there + names)
                assert len(await buckets(world, at)) == 1
        assert any(hints(world, key_of(name)) for name in meanwhile)
        world.network.heal_all()
        await world.all_well()
        await settled(world, meanwhile)
        for found in await listed_by_all(world):
            assert found == sorted(before + meanwhile)

    in_world(1, FIVE, scenario)


def test_what_only_stand_ins_took_is_listed_where_none_of_the_primaries_can_be_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scans, "PAGE_KEYS", 3)

    async def scenario(world: World) -> None:
        await world.start_all()
        lost = primaries(world.node("n1"), key_of("k0"))
        for name in lost:
            world.crash(name)
        await asyncio.sleep(NOTICED_S)
        up = [node.view.me for node in world.running()]
        long = ["l" * 600 + f"{number}" for number in range(20)]
        names = sorted([f"k{number}" for number in range(100)] + long)
        await write(world, names, W2)
        await delete(world, up[0], key_of("k1"), R2, W2)
        names.remove("k1")
        for at in up:
            assert await listed(world, at) == names
            assert await buckets(world, at) == [b"b"]
        with pytest.raises(QuorumError) as caught:
            await listed(world, up[0], STRICT_R2)
        assert (caught.value.what, caught.value.needed) == ("R", 2)

    in_world(1, FIVE, scenario)


def test_a_deleted_key_is_not_listed_by_the_replica_that_has_not_heard_of_it() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        names = [f"k{number}" for number in range(30)]
        await write(world, names, STRICT_W2)
        lone = Key(DEFAULT_BUCKET_TYPE, b"lone", b"k")
        await put(world, "n1", lone, "x", STRICT_W2)
        await settled(world, names)
        world.crash("n3")
        await asyncio.sleep(NOTICED_S)
        for key in [*map(key_of, names[:20]), lone]:
            await delete(world, "n1", key, STRICT_R2, STRICT_W2)
        await world.start("n3")
        await world.all_well()
        for found in await listed_by_all(world):
            assert found == sorted(names[20:])
        assert [await buckets(world, name) for name in world.names] == [[b"b"]] * 3

    in_world(1, UNREPAIRED, scenario)


def test_a_replica_that_dies_in_the_middle_is_followed_by_another() -> None:
    """Pages of three keys, so that every partition takes several."""

    async def scenario(world: World) -> None:
        await world.start_all()
        names = [f"k{number:03}" for number in range(600)]
        await write(world, names, W2)
        await settled(world, names[:20])
        for victim in ("n2", "n3", "n4"):
            dice = random.Random(victim)
            listing = asyncio.ensure_future(listed(world, "n1"))
            await asyncio.sleep(dice.uniform(0.01, 0.1))
            assert not listing.done()
            world.crash(victim, silent=dice.random() < 0.5)
            assert await listing == names
            await world.start(victim)
            await world.all_well()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scans, "PAGE_KEYS", 3)
        in_world(1, FIVE, scenario)


@pytest.mark.parametrize("name", ["k", "k" * 600], ids=["short", "long"])
def test_a_key_is_listed_though_one_of_the_copies_that_were_acknowledged_cannot_be_read(
    name: str,
) -> None:
    """A place of the disk tells which key it is of; of a long one it does not, and others tell."""

    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of(name)
        rotten, empty, _ = primaries(next(world.running()), key)
        world.crash(empty)
        await asyncio.sleep(NOTICED_S)
        await put(world, rotten, key, "x", STRICT_W2)
        await world.start(empty)
        await world.all_well()
        partition = world.node("n1").ring.partition_of(encode_key(key)).to_bytes(2, "big")
        place = place_of(partition, encode_key(key))
        world.corrupt(rotten, Table.OBJECTS, place, world.dice("rot"))
        for at in world.names:
            assert await listed(world, at, STRICT_R2) == [name]
            assert await buckets(world, at, STRICT_R2) == [b"b"]
            assert seen_in(await get(world, at, key, STRICT_R2)).values == {"x"}

    in_world(1, UNREPAIRED, scenario)


@pytest.mark.parametrize("seed", range(2))
def test_all_is_listed_while_two_nodes_join_at_the_same_time(seed: int) -> None:
    """Two of the three primaries of a key are new then, and hold nothing yet."""

    async def scenario(world: World) -> None:
        for name in world.names[:3]:
            await world.start(name)
        await world.all_well()
        names = [f"k{number:03}" for number in range(150)]
        await write(world, names, WriteQuorum(n=3, w=3))
        joining = [asyncio.ensure_future(world.start(name)) for name in world.names[3:]]
        for _ in range(25):
            for found in await listed_by_all(world):
                assert found == names
            await asyncio.sleep(0.05)
        await asyncio.gather(*joining)
        await world.all_well()
        assert len(await listed_by_all(world)) == 5
        new = {"n4", "n5"}
        assert any(new <= set(primaries(world.node("n1"), key_of(name))) for name in names)

    in_world(seed, FIVE, scenario)
