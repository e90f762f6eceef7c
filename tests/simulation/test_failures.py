"""What a cluster does when one thing goes wrong, step by step, at the times it promises."""

import asyncio
import contextlib
from collections.abc import Callable

import pytest

from dynamo.core.ids import Key, NodeId
from dynamo.core.quorum import Conflicts, ReadQuorum, WriteQuorum
from dynamo.core.values import Value
from dynamo.errors import DynamoError, QuorumError
from dynamo.node.coordinator import Written
from tests.simulation.links import Cut
from tests.simulation.nemesis import Nemesis, Troubles
from tests.simulation.process import ProcessDied
from tests.simulation.workload import key_of, seen_in
from tests.simulation.world import Options, World, in_world, until

pytestmark = pytest.mark.simulation

FIVE = Options(nodes=5)

NOTICED_S = 3.0
"""A node that dies or returns is noticed within this, with default settings."""

STRICT = WriteQuorum(n=3, w=2, sloppy=False)
SLOPPY = WriteQuorum(n=3, w=2, sloppy=True)
READ = ReadQuorum(n=3, r=2)


async def put(
    world: World, at: str, key: Key, text: str, quorum: WriteQuorum, *, timeout_s: float = 10.0
) -> Written:
    return await world.call(
        at,
        lambda node: node.coordinator.put(
            key,
            Value(body=text.encode()),
            None,
            quorum,
            Conflicts.SIBLINGS,
            timeout_s=timeout_s,
        ),
    )


async def values(world: World, at: str, key: Key, quorum: ReadQuorum = READ) -> set[str]:
    return set(seen_in(await world.get(at, key, quorum)).values)


def primaries_and_others(world: World, key: Key) -> tuple[list[NodeId], list[NodeId]]:
    primaries = world.holders(key, 3)
    return primaries, [name for name in world.names if name not in primaries]


def held_by(world: World, key: Key) -> set[NodeId]:
    """Who has anything of a key, as a copy or as a hint."""
    return {name for name, (copy, hints) in world.held(key).items() if copy or hints}


def everybody_thinks(world: World, of: str, opinion: str) -> Callable[[], bool]:
    return lambda: all(
        world.thinks(node.view.me, of) == opinion for node in world.running() if node.view.me != of
    )


# -- opinions ------------------------------------------------------------------------------------


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
            await world.get(at, key, ReadQuorum(n=3, r=3))
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
        assert held_by(world, key) == set()
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
        assert set(world.hints(key)) == set(zip(others, away, strict=True))
        assert await values(world, others[0], key, ReadQuorum(n=3, r=3)) == {"x"}
        for name in away:
            await world.start(name)
        await until(lambda: not world.unsettled([key], 3), within_s=10)
        assert set(held_by(world, key)) == set(primaries)

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
        [(holder, _)] = world.hints(key)
        assert holder in others
        world.crash(holder)
        for name in [holder, target] if holder_returns_first else [target, holder]:
            await asyncio.sleep(10)
            await world.start(name)
            await world.all_well()
        await until(lambda: not world.unsettled([key], 3), within_s=10)

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
        await until(lambda: not world.hints(key), within_s=10)
        # Two stand-ins kept two copies; a read makes the third.
        every = ReadQuorum(n=3, r=3)
        assert await values(world, primaries[0], key, every) == {"x0", "x1", "x2", "x3"}
        await until(lambda: not world.unsettled([key], 3), within_s=1)

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
        assert held_by(world, key) == set(primaries[1:])
        assert await values(world, others[0], key) == {"x"}
        await world.start_all()
        await put(world, others[0], key, "y", STRICT)
        assert await values(world, others[1], key) == {"x", "y"}

    in_world(1, SLOW_DISK, scenario)


def test_a_hint_stays_until_its_target_has_it_on_disk() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k")
        _, others = primaries_and_others(world, key)
        holder = others[0]
        for name in world.names:
            world.network.cut(holder, name, Cut.DROP)
            world.network.cut(name, holder, Cut.DROP)
        await asyncio.sleep(NOTICED_S)
        await put(world, holder, key, "x", WriteQuorum(n=3, w=1))
        [(_, target)] = world.hints(key)
        world.network.heal_all()
        await until(lambda: is_committing(world, target), within_s=10, every_s=0.001)
        world.crash(target, silent=True)
        await asyncio.sleep(10)
        assert world.hints(key) == [(holder, target)]
        await world.start(target)
        await until(lambda: held_by(world, key) == {target}, within_s=10)

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


# -- the start -----------------------------------------------------------------------------------


def rings(world: World) -> set[tuple[NodeId, ...]]:
    """The primaries of all partitions, as each node believes."""
    return {
        tuple(
            name
            for partition in range(world.options.partitions)
            for name in node.ring.preference_list(partition, 3).primaries
        )
        for node in world.running()
    }


@pytest.mark.parametrize("seed", range(10))
def test_nodes_that_start_at_once_believe_in_one_level_ring(seed: int) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        assert len(rings(world)) == 1
        owned = sorted(
            sum(node == name for node in next(iter(rings(world)))) for name in FIVE_NAMES
        )
        assert owned[0] > 0
        assert owned[-1] <= 1.10 * 3 * 256 / 5

    in_world(seed, Options(nodes=5, seeds=1 + seed % 5, partitions=256), scenario)


FIVE_NAMES = [f"n{number}" for number in range(1, 6)]


@pytest.mark.parametrize("mode", list(Cut))
@pytest.mark.parametrize("seed", range(5))
def test_nodes_that_start_while_links_are_cut_agree_after_the_heal(seed: int, mode: Cut) -> None:
    async def scenario(world: World) -> None:
        dice = world.dice("scenario")
        links = [(a, b) for a in world.names for b in world.names if a != b]
        for source, target in dice.sample(links, dice.randint(1, len(links))):
            world.network.cut(source, target, mode)
            world.loop.call_later(dice.uniform(0, 8), world.network.heal, source, target)
        await asyncio.gather(*(world.start(name) for name in world.names))
        await asyncio.sleep(8)
        await world.all_well(within_s=10)
        assert len(rings(world)) == 1

    in_world(seed, Options(nodes=5, seeds=5), scenario)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_while_nodes_join_they_agree_in_the_end(seed: int) -> None:
    async def scenario(world: World) -> None:
        dice = world.dice("scenario")
        troubles = Troubles(at_once=3, pause_s=0.3, lasts_s=1.0)

        async def start(name: str) -> None:
            await asyncio.sleep(dice.uniform(0, dice.choice([0.1, 1, 5])))
            if world.machines[NodeId(name)].process is None:
                with contextlib.suppress(ProcessDied):
                    await world.start(name)

        async with asyncio.TaskGroup() as group:
            for name in world.names:
                group.create_task(start(name))
            group.create_task(Nemesis(world, troubles).run(8.0))
        await world.calm()
        before = rings(world)
        await asyncio.sleep(5)
        assert rings(world) == before
        assert len(before) == 1
        assert set(next(iter(before))) == set(world.names)

    in_world(seed, Options(nodes=3 + seed % 5, seeds=1 + seed % 3), scenario)


def test_a_node_that_comes_later_is_taken_in() -> None:
    async def scenario(world: World) -> None:
        await asyncio.gather(*(world.start(name) for name in world.names[:4]))
        await world.all_well()
        before = world.views()
        assert len(before) == 1
        await world.start_all()
        assert world.views() != before
        assert len(rings(world)) == 1
        assert "n5" in next(iter(rings(world)))

    in_world(1, FIVE, scenario)
