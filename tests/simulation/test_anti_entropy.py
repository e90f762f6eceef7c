"""Replicas that differ find each other and mend, with nobody reading and no hint delivered."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from dynamo.config import ClusterConfig, NodeConfig
from dynamo.core.codec import decode_siblings, encode_siblings, encode_value
from dynamo.core.divergence import DivergenceReport
from dynamo.core.ids import Actor, Bucket, Key, NodeId, encode_key
from dynamo.core.quorum import ReadQuorum, WriteQuorum
from dynamo.core.siblings import EMPTY, Context
from dynamo.core.values import Value
from dynamo.errors import BadRequest
from dynamo.node.anti_entropy import AntiEntropy
from dynamo.node.node import Node
from dynamo.node.orphans import Orphans
from dynamo.storage.engine import Table
from tests.simulation.asking import get, key_of, put, seen_in
from tests.simulation.copies import held, primaries
from tests.simulation.links import Cut, Weather
from tests.simulation.scenario import in_world
from tests.simulation.world import Options, World, until

pytestmark = pytest.mark.simulation

ALONE = NodeConfig(
    node_id=NodeId("any"),
    data_dir=Path("any"),
    hinted_handoff=False,
    read_repair=False,
)
"""Nothing mends but anti-entropy."""

THREE = Options(settings=ALONE)
FOUR = replace(THREE, nodes=4)

HEALED_S = 60.0

ALL = WriteQuorum(n=3, w=3, dw=3)
SOME = WriteQuorum(n=3, w=1, dw=1)


def keys(count: int, prefix: str = "k") -> list[Key]:
    return [key_of(f"{prefix}{number}") for number in range(count)]


async def put_all(
    world: World, names: Iterable[Key], text: str, quorum: WriteQuorum = ALL, at: str = "n1"
) -> None:
    await asyncio.gather(*(put(world, at, key, text, quorum) for key in names))


def differing(world: World, names: Iterable[Key], n: int = 3) -> list[str]:
    """Keys that their primaries hold in different states, or that others hold."""
    found = []
    for key in names:
        copies = {name: copy for name, (copy, _) in held(world, key).items() if copy is not None}
        wanted = primaries(next(world.running()), key, n)
        if set(copies) != set(wanted) or len(set(copies.values())) > 1:
            found.append(f"{key.key.decode()} is held by {sorted(copies)}, wanted: {wanted}")
    return found


async def healed(world: World, names: Iterable[Key], n: int = 3) -> None:
    names = list(names)
    await until(lambda: not differing(world, names, n), within_s=HEALED_S, every_s=0.5)


def counted(world: World, count: Callable[[Node], int]) -> int:
    return sum(count(node) for node in world.running())


def moved(world: World) -> int:
    """How many keys comparisons have mended."""
    return sum(
        node.stats.counters.exchange_keys_pulled + node.stats.counters.exchange_keys_pushed
        for node in world.running()
    )


def mended(world: World, name: str) -> object:
    return world.node(name).operations.read_stats()["records_mended_total"]


async def compared(world: World) -> None:
    """Wait until every node has compared itself with every other since now."""
    before = {node.view.me: node.stats.counters.exchanges for node in world.running()}
    rounds = len(before)
    await until(
        lambda: all(
            node.stats.counters.exchanges >= before[node.view.me] + rounds
            for node in world.running()
        ),
        within_s=HEALED_S,
        every_s=0.5,
    )


async def set_n(world: World, n: int) -> None:
    bucket = Bucket(b"default", b"b")
    await world.call("n1", lambda node: node.bucket_properties.change(bucket, {"n_val": n}))


async def scrub(world: World, name: str) -> None:
    """Read all that a node holds, now."""

    async def everything(node: Node) -> None:
        for partition in range(world.options.partitions):
            await node.upkeep.scrubbing.scrub(partition)

    await world.call(name, everything)


async def report(world: World, at: str = "n1", keys_max: int = 100) -> DivergenceReport:
    return await world.call(
        at, lambda node: node.divergence.report(keys_max=keys_max, timeout_s=30)
    )


async def told_equal(world: World) -> None:
    """Wait until a report finds nothing; a node that just returned is silent at first."""
    async with asyncio.timeout(HEALED_S):
        while not (await report(world)).equal:
            pass


@pytest.mark.parametrize("seed", range(5))
def test_a_wiped_replica_is_whole_again_without_reads_and_hints(seed: int) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        names = keys(300)
        await put_all(world, names, "x")
        world.crash("n2")
        world.wipe("n2")
        await world.start_all()
        await healed(world, names)
        counters = world.node("n2").stats.counters
        assert counters.exchange_keys_pulled + counters.vnode_puts >= len(names)

    in_world(seed, THREE, scenario)


@pytest.mark.parametrize("seed", range(5))
def test_a_replica_that_missed_writes_is_healed_without_its_hints(seed: int) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        names = keys(60)
        await put_all(world, names, "x")
        world.crash("n3")
        await put_all(world, names[:20], "y", SOME)
        await put_all(world, keys(20, "new"), "z", SOME)
        await world.start_all()
        await healed(world, names + keys(20, "new"))

    in_world(seed, THREE, scenario)


@pytest.mark.parametrize("seed", range(5))
def test_writes_on_both_sides_of_a_cut_end_as_siblings_on_both(seed: int) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        names = keys(30)
        await put_all(world, names, "x")
        for name in ("n2", "n3"):
            world.network.cut("n1", name, Cut.DROP)
            world.network.cut(name, "n1", Cut.DROP)
        await put_all(world, names, "here", SOME, at="n1")
        await put_all(world, names, "there", SOME, at="n2")
        world.network.heal_all()
        await healed(world, names)
        for key in names:
            state = world.node("n3").operations.local(encode_key(key))[0]
            assert state is not None
            assert seen_in(decode_siblings(state)).values == {"x", "here", "there"}

    in_world(seed, THREE, scenario)


@pytest.mark.parametrize("seed", range(3))
def test_after_convergence_comparisons_move_nothing(seed: int) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        names = keys(50)
        await put_all(world, names, "x")
        world.crash("n2")
        await put_all(world, names, "y", SOME)
        await world.start_all()
        await healed(world, names)
        await compared(world)
        before = moved(world)
        compared_keys = counted(world, lambda node: node.stats.counters.exchange_keys_compared)
        await compared(world)
        assert moved(world) == before
        assert counted(world, lambda n: n.stats.counters.exchange_keys_compared) == compared_keys
        assert counted(world, lambda node: node.stats.counters.exchanges_failed) < 10

    in_world(seed, THREE, scenario)


@pytest.mark.parametrize("seed", range(5))
def test_rot_that_nobody_read_is_mended_from_the_other_replicas(seed: int) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        names = keys(40)
        await put_all(world, names, "x")
        dice = world.dice("rot")
        disk = world.machines[NodeId("n2")].disk
        rotten = dice.sample([place for place, _ in disk.scan(Table.OBJECTS, b"", None, 1000)], 5)
        for place in rotten:
            disk.corrupt(Table.OBJECTS, place, dice)
        await scrub(world, "n2")
        await until(lambda: mended(world, "n2") == 5, within_s=HEALED_S, every_s=0.5)
        assert not differing(world, names)

    in_world(seed, THREE, scenario)


@pytest.mark.parametrize("seed", range(3))
def test_a_rotten_value_is_not_served_and_is_mended_after_it_was_met(seed: int) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        [name] = names = keys(1)
        await put_all(world, names, "x")
        disk = world.machines[NodeId("n1")].disk
        [(place, _)] = disk.scan(Table.OBJECTS, b"", None, 10)
        disk.corrupt(Table.OBJECTS, place, world.dice("rot"))
        state = await get(world, "n1", name, ReadQuorum(n=3, r=1))
        assert seen_in(state).values <= {"x"}
        await healed(world, names)
        assert mended(world, "n1") == 1

    in_world(seed, THREE, scenario)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_keys_of_buckets_with_other_numbers_of_replicas_are_healed_too(n: int) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        await set_n(world, n)
        await world.all_well()
        names, others = keys(60), [Key(b"default", b"other", key.key) for key in keys(60)]
        await put_all(world, names, "x", WriteQuorum(n=n, w=n, dw=n))
        await put_all(world, others, "x")
        assert not differing(world, names, n)
        world.crash("n2")
        world.wipe("n2")
        await world.start_all()
        await healed(world, others)
        if n > 1:
            await healed(world, names, n)
            await told_equal(world)

    in_world(1, FOUR, scenario)


def test_a_bucket_that_gets_more_replicas_has_them_all_in_the_end_and_gives_them_back() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        names = keys(40)
        await put_all(world, names, "x")
        for n in (4, 2):
            await set_n(world, n)
            await healed(world, names, n)

    in_world(1, FOUR, scenario)


@pytest.mark.parametrize("seed", range(5))
def test_a_node_that_joins_gets_its_share_and_the_old_holders_let_go(seed: int) -> None:
    async def scenario(world: World) -> None:
        await asyncio.gather(*(world.start(name) for name in world.names[:3]))
        await world.all_well()
        names = keys(200)
        await put_all(world, names, "x")
        assert not differing(world, names)
        await world.start_all()
        assert differing(world, names)
        await healed(world, names)
        assert counted(world, lambda node: node.stats.counters.orphans_handed_over) > 0
        # As actors are drawn anew for what they gave away, nothing they write now is lost.
        await put_all(world, names, "y", ALL)
        await healed(world, names)

    in_world(seed, FOUR, scenario)


def test_orphans_bring_a_new_node_its_share_by_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def compares_nothing(*_: object) -> bool:
        return False

    async def scenario(world: World) -> None:
        await asyncio.gather(*(world.start(name) for name in world.names[:3]))
        await world.all_well()
        names = keys(100)
        await put_all(world, names, "x")
        await world.start_all()
        await healed(world, names)

    monkeypatch.setattr(AntiEntropy, "exchange", compares_nothing)
    in_world(1, FOUR, scenario)


def test_orphans_that_are_written_while_they_are_handed_over_are_not_lost() -> None:
    async def scenario(world: World) -> None:
        await asyncio.gather(*(world.start(name) for name in world.names[:3]))
        await world.all_well()
        names = keys(60)
        await put_all(world, names, "x")
        await world.start("n4")
        begun_s = world.loop.time()
        rounds = 0
        # Blind writes, and each is a sibling: whatever is lost is missed in the end.
        while world.loop.time() < begun_s + 20:
            at = world.names[rounds % 3]
            await put_all(world, names, f"y{rounds}", SOME, at=at)
            await asyncio.sleep(1)
            rounds += 1
        await healed(world, names)
        wanted = {"x", *(f"y{number}" for number in range(rounds))}
        for key in names:
            held_by = primaries(world.node("n1"), key)
            state = world.node(held_by[0]).operations.local(encode_key(key))[0]
            assert state is not None
            assert seen_in(decode_siblings(state)).values == wanted

    in_world(1, FOUR, scenario)


@pytest.mark.parametrize("seed", range(3))
def test_the_share_of_a_node_that_was_removed_goes_to_the_others(seed: int) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        names = keys(100)
        await put_all(world, names, "x")
        world.crash("n4")
        await until(lambda: world.thinks("n1", "n4") != "up", within_s=10)
        await world.call("n1", lambda node: node.removal.remove(NodeId("n4"), even_if_up=True))
        await until(lambda: len(world.views()) == 1, within_s=10)
        await healed(world, names)

    in_world(seed, FOUR, scenario)


LONE = replace(THREE, cluster=ClusterConfig(bucket_defaults={"n_val": 1, "allow_mult": True}))
"""Each key has one replica."""

FULL_DISK = {"a write could not be stored", "a fact could not be written down"}


async def orphans_at(world: World, name: str) -> list[Key]:
    """Keys that a node holds by the ring of before."""
    node = world.node(name)
    names = [key for key in keys(200) if primaries(node, key, 1) != [name]]
    await world.call(name, lambda node: hold(node, names))
    return names


async def hold(node: Node, names: Iterable[Key]) -> None:
    """Store keys at one node alone."""
    value = encode_value(Value(body=b"x"))
    state = encode_siblings(EMPTY.write(Actor(b"actor--a"), value, {}, 0))
    for key in names:
        stored: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        node.held.objects.merge(encode_key(key), state, stored.set_result)
        assert await stored is None


def test_orphans_that_one_node_cannot_take_keep_no_others_waiting() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        names = await orphans_at(world, "n1")
        [full] = primaries(world.node("n1"), names[0], 1)
        world.machines[full].disk.full = True
        others = [key for key in names if primaries(world.node("n1"), key, 1) != [full]]
        await until(lambda: not differing(world, others, 1), within_s=HEALED_S, every_s=0.5)
        assert differing(world, names, 1)
        world.machines[full].disk.full = False
        await healed(world, names, 1)

    in_world(1, LONE, scenario, excused=FULL_DISK)


def test_an_orphan_that_cannot_travel_keeps_no_others_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    give = Orphans._give
    stuck: set[bytes] = set()

    async def give_what_can_travel(self: Orphans, node: NodeId, key: bytes, state: bytes) -> None:
        if key in stuck:
            raise BadRequest("too large for a frame")
        await give(self, node, key, state)

    async def scenario(world: World) -> None:
        await world.start_all()
        names = await orphans_at(world, "n1")
        ring = world.node("n1").ring
        # Of every partition one.
        of_each = {ring.partition_of(encode_key(key)): key for key in names}
        stuck.update(encode_key(key) for key in of_each.values())
        others = [key for key in names if encode_key(key) not in stuck]
        await until(lambda: not differing(world, others, 1), within_s=HEALED_S, every_s=0.5)
        assert len(others) > len(stuck) > 0
        assert len(differing(world, names, 1)) == len(stuck)

    monkeypatch.setattr(Orphans, "_give", give_what_can_travel)
    in_world(1, LONE, scenario)


def test_an_orphan_mends_the_only_replica_that_cannot_read_its_own() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        [key, *_] = names = (await orphans_at(world, "n1"))[:1]
        [replica] = primaries(world.node("n1"), key, 1)
        await world.call(replica, lambda node: hold(node, names))
        disk = world.machines[replica].disk
        place = next(p for p, _ in disk.scan(Table.OBJECTS, b"", None, 10) if key.key in p)
        disk.corrupt(Table.OBJECTS, place, world.dice("rot"))
        await healed(world, names, 1)
        assert mended(world, replica) == 1

    in_world(1, LONE, scenario)


def test_a_node_whose_disk_is_full_still_gives_what_it_has_and_counts_what_it_cannot_take() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        given, lacking = keys(60, "given"), keys(200, "lacking")
        await asyncio.gather(
            world.call("n1", lambda node: hold(node, given)),
            *(world.call(name, lambda node: hold(node, lacking)) for name in ("n2", "n3")),
        )
        assert differing(world, given)
        world.machines[NodeId("n1")].disk.full = True
        await healed(world, given)
        assert counted(world, lambda node: node.stats.counters.exchange_keys_failed) > 0
        assert len(differing(world, lacking)) == len(lacking)

    in_world(1, THREE, scenario, excused=FULL_DISK)


def test_orphans_stay_while_one_of_their_replicas_is_away() -> None:
    async def scenario(world: World) -> None:
        await asyncio.gather(*(world.start(name) for name in world.names[:3]))
        await world.all_well()
        names = keys(50)
        await put_all(world, names, "x")
        await world.start("n4")
        await world.all_well()
        world.crash("n4")
        await asyncio.sleep(30)
        for key in names:
            copies = held(world, key)
            assert all(copies[name][0] for name in world.names[:3])
        await world.start("n4")
        await healed(world, names)

    in_world(1, FOUR, scenario)


@pytest.mark.parametrize("seed", range(3))
def test_divergence_names_the_keys_that_differ_and_who_holds_what(seed: int) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        names = keys(30)
        await put_all(world, names, "x")
        found = await report(world)
        assert (found.equal, found.keys, len(found.partitions)) == (True, [], 32)
        world.crash("n3")
        await put_all(world, names[:5], "y", SOME)
        found = await report(world)
        assert not found.equal
        assert all(partition.silent == [NodeId("n3")] for partition in found.partitions)
        await world.start_all()
        await asyncio.sleep(1)
        found = await report(world, "n3")
        assert sorted(key.key.key for key in found.keys) == [f"k{i}".encode() for i in range(5)]
        partitions = {key.partition for key in found.keys}
        assert {p.partition for p in found.partitions if not p.equal} == partitions
        for key in found.keys:
            one, two, three = (key.digests[name] for name in world.names)
            assert one == two != three
        few = await report(world, keys_max=2)
        assert (len(few.keys), few.keys_left_out) == (2, True)

    still = replace(ALONE, anti_entropy=False)
    in_world(seed, replace(THREE, settings=still), scenario)


def test_divergence_does_not_take_writes_under_way_for_differences() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        names = keys(5)
        await put_all(world, names, "x")

        reported = asyncio.Event()

        async def write(key: Key) -> None:
            context: Context | None = None
            while not reported.is_set():
                written = await put(world, "n1", key, "y", SOME, context=context, return_state=True)
                assert written.state is not None
                context = written.state.context()

        writing = asyncio.gather(*(write(key) for key in names))
        for at in world.names * 2:
            assert (await report(world, at)).equal
        assert not writing.done()
        reported.set()
        await writing

    slow = replace(THREE, weather=Weather(base_s=(0.05, 0.2)), commit_s=(0.01, 0.05))
    in_world(1, slow, scenario)
