import asyncio

import pytest

from dynamo.core.ids import Key, NodeId
from dynamo.core.quorum import ReadQuorum, WriteQuorum
from dynamo.errors import DynamoError, QuorumError
from tests.simulation.asking import get, key_of, put, seen_in
from tests.simulation.copies import hints, holders, primaries, unsettled
from tests.simulation.links import Cut
from tests.simulation.process import ProcessDied
from tests.simulation.scenario import in_world
from tests.simulation.world import Options, World, until

pytestmark = pytest.mark.simulation

FIVE = Options(nodes=5)

NOTICED_S = 3.0
"""A node that dies or returns is noticed within this, with default settings."""

STRICT = WriteQuorum(n=3, w=2, sloppy=False)
SLOPPY = WriteQuorum(n=3, w=2, sloppy=True)
READ = ReadQuorum(n=3, r=2)


async def values(world: World, at: str, key: Key, quorum: ReadQuorum = READ) -> set[str]:
    return set(seen_in(await get(world, at, key, quorum)).values)


def primaries_and_others(world: World, key: Key) -> tuple[list[NodeId], list[NodeId]]:
    first = primaries(next(world.running()), key)
    return first, [name for name in world.names if name not in first]


@pytest.mark.parametrize("silent", [False, True])
def test_requests_stop_waiting_for_a_node_that_is_suspected(silent: bool) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k")
        primaries, _ = primaries_and_others(world, key)
        world.crash(primaries[0], silent=silent)
        await asyncio.sleep(NOTICED_S)
        for at in primaries[1:]:
            begun_s = world.loop.time()
            await put(world, at, key, f"at {at}", WriteQuorum(n=3, w=3))
            await get(world, at, key, ReadQuorum(n=3, r=3))
            assert world.loop.time() - begun_s < 0.1

    in_world(1, FIVE, scenario)


# -- quorums -------------------------------------------------------------------------------------


def test_a_write_in_a_minority_is_refused_by_a_strict_quorum_and_stored_nowhere() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k")
        primaries, _ = primaries_and_others(world, key)
        alone = primaries[0]
        for name in world.names:
            world.network.cut(alone, name, Cut.DROP)
            world.network.cut(name, alone, Cut.DROP)
        await asyncio.sleep(NOTICED_S)
        with pytest.raises(QuorumError) as caught:
            await put(world, alone, key, "x", STRICT)
        assert (caught.value.what, caught.value.needed, caught.value.got) == ("W", 2, 1)
        assert caught.value.definite
        assert holders(world, key) == set()
        await put(world, primaries[1], key, "y", STRICT)
        await world.calm()
        assert await values(world, alone, key) == {"y"}

    in_world(1, FIVE, scenario)


def test_a_write_that_was_sent_before_the_cut_was_noticed_fails_indefinitely() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k")
        primaries, _ = primaries_and_others(world, key)
        alone = primaries[0]
        for name in world.names:
            world.network.cut(alone, name, Cut.DROP)
        with pytest.raises(QuorumError) as caught:
            await put(world, alone, key, "x", STRICT)
        assert (caught.value.needed, caught.value.got) == (2, 1)
        assert not caught.value.definite
        await world.calm()
        assert await values(world, primaries[1], key, ReadQuorum(n=3, r=3)) == {"x"}

    in_world(1, FIVE, scenario)


def test_a_sloppy_quorum_accepts_and_hands_off_without_a_read() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k")
        primaries, others = primaries_and_others(world, key)
        away = primaries[1:]
        for name in away:
            world.crash(name)
        await asyncio.sleep(NOTICED_S)
        written = await put(world, primaries[0], key, "x", WriteQuorum(n=3, w=3))
        assert written.acks == 3
        kept = hints(world, key)
        assert len(kept) == 2
        assert {holder for holder, _ in kept} == set(others)
        assert {target for _, target in kept} == set(away)
        assert await values(world, others[0], key, ReadQuorum(n=3, r=3)) == {"x"}
        for name in away:
            await world.start(name)
        await until(lambda: not unsettled(world, [key]), within_s=10)
        assert set(holders(world, key)) == set(primaries)

    in_world(1, FIVE, scenario)


@pytest.mark.parametrize("holder_returns_first", [False, True])
def test_a_stand_in_that_was_restarted_still_hands_off(holder_returns_first: bool) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k")
        primaries, others = primaries_and_others(world, key)
        target = primaries[2]
        world.crash(target)
        await asyncio.sleep(NOTICED_S)
        await put(world, primaries[0], key, "x", WriteQuorum(n=3, w=3))
        [(holder, _)] = hints(world, key)
        assert holder in others
        world.crash(holder)
        for name in [holder, target] if holder_returns_first else [target, holder]:
            await asyncio.sleep(10)
            await world.start(name)
            await world.all_well()
        await until(lambda: not unsettled(world, [key]), within_s=10)

    in_world(1, FIVE, scenario)


def test_a_write_without_any_primary_is_kept_by_stand_ins_and_handed_off() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k")
        primaries, others = primaries_and_others(world, key)
        for name in primaries:
            world.crash(name)
        await asyncio.sleep(NOTICED_S)
        for number, at in enumerate(others * 2):
            await put(world, at, key, f"x{number}", SLOPPY)
        with pytest.raises(QuorumError) as caught:
            await put(world, others[0], key, "strict", STRICT)
        assert caught.value.definite
        await world.calm()
        await until(lambda: not hints(world, key), within_s=10)
        # Two stand-ins kept two copies; a read makes the third.
        every = ReadQuorum(n=3, r=3)
        assert await values(world, primaries[0], key, every) == {"x0", "x1", "x2", "x3"}
        await until(lambda: not unsettled(world, [key]), within_s=1)

    in_world(1, FIVE, scenario)


# -- crashes in the middle -----------------------------------------------------------------------

SLOW_DISK = Options(nodes=5, commit_s=(0.2, 0.2))


def test_a_coordinator_that_dies_mid_write_leaves_the_outcome_open() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k")
        primaries, others = primaries_and_others(world, key)
        writing = asyncio.ensure_future(put(world, others[0], key, "x", STRICT))
        await asyncio.sleep(0.05)
        begun_s = world.loop.time()
        world.crash(primaries[0])
        with pytest.raises(DynamoError) as caught:
            await writing
        assert not caught.value.definite
        assert world.loop.time() - begun_s < 0.1
        await asyncio.sleep(1)
        # It had been sent, so it is there, at those who live.
        assert holders(world, key) == set(primaries[1:])
        assert await values(world, others[0], key) == {"x"}
        await world.start_all()
        await put(world, others[0], key, "y", STRICT)
        assert await values(world, others[1], key) == {"x", "y"}

    in_world(1, SLOW_DISK, scenario)


def test_a_hint_stays_until_its_target_has_it_on_disk() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k")
        primaries, others = primaries_and_others(world, key)
        holder = others[0]
        for name in world.names:
            world.network.cut(holder, name, Cut.DROP)
            world.network.cut(name, holder, Cut.DROP)
        await asyncio.sleep(NOTICED_S)
        await put(world, holder, key, "x", WriteQuorum(n=3, w=1))
        kept = hints(world, key)
        assert kept == [(holder, primary) for primary in sorted(primaries)]
        target = primaries[0]
        world.network.heal_all()
        await until(lambda: is_committing(world, target), within_s=10, every_s=0.001)
        world.crash(target, silent=True)
        await asyncio.sleep(10)
        assert hints(world, key) == [(holder, target)]
        await world.start(target)
        await until(lambda: holders(world, key) == set(primaries), within_s=10)

    in_world(1, SLOW_DISK, scenario)


def is_committing(world: World, name: NodeId) -> bool:
    engine = world.machines[name].engine
    return engine is not None and engine.queued_bytes > 0


def test_a_client_of_a_node_that_dies_is_told_nothing() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k")
        primaries, _ = primaries_and_others(world, key)
        writing = asyncio.ensure_future(put(world, primaries[0], key, "x", STRICT))
        await asyncio.sleep(0.0)
        world.crash(primaries[0])
        with pytest.raises(ProcessDied):
            await writing
        await asyncio.sleep(NOTICED_S)
        assert await values(world, primaries[1], key) in (set(), {"x"})

    in_world(1, SLOW_DISK, scenario)


@pytest.mark.parametrize("seed", range(3))
def test_every_acknowledged_write_is_there_after_all_nodes_died_at_once(seed: int) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        acknowledged: set[str] = set()

        dice = world.dice("scenario")

        async def write(number: int) -> None:
            text = f"k{number}"
            await asyncio.sleep(dice.uniform(0, 1))
            await put(world, world.names[number % 5], key_of(text), text, STRICT)
            acknowledged.add(text)

        writing = [asyncio.ensure_future(write(number)) for number in range(50)]
        await asyncio.sleep(0.5)
        for node in list(world.running()):
            world.crash(node.view.me, silent=True)
        await asyncio.gather(*writing, return_exceptions=True)
        assert 0 < len(acknowledged) < 50
        await world.start_all()
        for text in acknowledged:
            assert await values(world, "n1", key_of(text)) == {text}

    in_world(seed, Options(nodes=5, commit_s=(0.05, 0.2)), scenario)


def test_a_clean_stop_and_start_keeps_everything() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k")
        await put(world, "n1", key, "x", WriteQuorum(n=3, w=3))
        for name in world.names:
            await world.stop(name)
        await world.start_all()
        assert await values(world, "n2", key, ReadQuorum(n=3, r=3)) == {"x"}

    in_world(1, FIVE, scenario)


def test_a_node_that_lost_its_disk_overwrites_nothing_that_others_hold() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k")
        coordinator, *_ = primaries_and_others(world, key)[0]
        for text in ("a", "b", "c"):
            await put(world, coordinator, key, text, STRICT)
        world.crash(coordinator)
        world.wipe(coordinator)
        await world.start_all()
        # From nothing, blindly: beside what it wrote before, of which it knows no more.
        await put(world, coordinator, key, "d", WriteQuorum(n=3, w=3))
        every = ReadQuorum(n=3, r=3)
        assert await values(world, coordinator, key, every) == {"a", "b", "c", "d"}

    in_world(1, FIVE, scenario)
