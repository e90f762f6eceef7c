"""Hints alone: no read repair and no anti-entropy, so whatever arrives was handed over."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dynamo.config import NodeConfig
from dynamo.core.figures import named
from dynamo.core.ids import Key, NodeId
from dynamo.core.quorum import WriteQuorum
from dynamo.errors import QuorumError
from tests.simulation.asking import key_of, put
from tests.simulation.copies import held, hints, holders, primaries, wrong_ledgers
from tests.simulation.links import Cut
from tests.simulation.scenario import in_world
from tests.simulation.world import Options, World, until

pytestmark = pytest.mark.simulation

ALONE = NodeConfig(
    node_id=NodeId("any"), data_dir=Path("any"), read_repair=False, anti_entropy=False
)
FIVE = Options(nodes=5, settings=ALONE)
THREE = Options(nodes=3, settings=ALONE)
SLOW_DISKS = Options(nodes=5, settings=ALONE, commit_s=(0.05, 0.1))

NOTICED_S = 3.0
W2 = WriteQuorum(n=3, w=2)
STRICT = WriteQuorum(n=3, w=2, sloppy=False)

KEYS = [key_of(f"k{number}") for number in range(200)]


async def write(world: World, keys: Sequence[Key], quorum: WriteQuorum = W2) -> None:
    """Write each key at the node that is its turn."""
    up = [node.view.me for node in world.running()]
    await asyncio.gather(
        *(
            put(world, up[number % len(up)], key, key.key.decode(), quorum)
            for number, key in enumerate(keys)
        )
    )


async def without(world: World, name: str, keys: Sequence[Key] = KEYS) -> None:
    """Write keys while a node is down and known to be."""
    world.crash(name)
    await asyncio.sleep(NOTICED_S)
    await write(world, keys)
    await asyncio.sleep(1)  # what was acknowledged by two is on its way to the third


def hints_for(world: World, target: str) -> int:
    """How many hints the running nodes hold for a node."""
    return sum(
        row["hints"] if isinstance(row["hints"], int) else 0
        for node in world.running()
        for row in node.operations.hints()
        if row["for"] == target
    )


def hints_at(world: World, name: str) -> float:
    """How many hints a node holds."""
    return named(world.node(name).operations.figures)["hints_held"]


def lacking(world: World, keys: Sequence[Key] = KEYS) -> list[str]:
    """Primaries that do not have what was written."""
    found = []
    for key in keys:
        copies = held(world, key)
        found += [
            f"{name} lacks {key.key.decode()}"
            for name in primaries(next(world.running()), key)
            if name not in copies or copies[name][0] is None
        ]
    return found


def total(world: World, name: str) -> float:
    """A figure of all running nodes together."""
    return sum(named(node.operations.figures)[name] for node in world.running())


async def all_arrived(world: World, keys: Sequence[Key] = KEYS) -> None:
    await until(lambda: not hints_for_anyone(world), within_s=60)
    await until(lambda: not lacking(world, keys), within_s=10, every_s=0.2)
    assert wrong_ledgers(world) == []


def hints_for_anyone(world: World) -> int:
    return sum(hints_for(world, name) for name in world.names)


def test_all_that_was_written_meanwhile_arrives_without_a_read() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        await without(world, "n5")
        assert hints_for(world, "n5") > 50
        assert lacking(world)
        await world.start("n5")
        await all_arrived(world)
        assert total(world, "hints_expired_total") == 0

    in_world(1, FIVE, scenario)


def test_a_holder_that_starts_after_its_target_came_back_still_delivers() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        await without(world, "n5")
        holding = [node.view.me for node in world.running() if node.operations.hints()]
        for name in holding:
            world.crash(name)
        await world.start("n5")
        await asyncio.sleep(20)
        assert lacking(world)
        for name in holding:
            await world.start(name)
        await all_arrived(world)

    in_world(1, FIVE, scenario)


def test_a_target_that_dies_in_the_middle_gets_the_rest_when_it_is_back() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        await without(world, "n5")
        before = hints_for(world, "n5")
        await world.start("n5")
        await until(lambda: hints_for(world, "n5") < before, within_s=30, every_s=0.001)
        world.crash("n5")
        await asyncio.sleep(5)
        assert 0 < hints_for(world, "n5") < before
        assert wrong_ledgers(world) == []
        await world.start("n5")
        await all_arrived(world)

    in_world(1, SLOW_DISKS, scenario)


def test_a_holder_that_dies_in_the_middle_delivers_the_rest_when_it_is_back() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        many = [key_of(f"m{number}") for number in range(800)]  # more than go out at once
        await without(world, "n5", many)
        [holder, *_] = [node.view.me for node in world.running() if node.operations.hints()]
        before = hints_at(world, holder)
        await world.start("n5")
        await until(lambda: hints_at(world, holder) < before, within_s=30, every_s=0.001)
        world.crash(holder)
        await world.start(holder)
        assert 0 < hints_at(world, holder) < before
        await all_arrived(world, many)

    in_world(1, SLOW_DISKS, scenario)


def test_a_node_that_missed_only_messages_is_made_good_too() -> None:
    """It can be reached all the time by some: not all holders see it return."""

    async def scenario(world: World) -> None:
        await world.start_all()
        for name in ("n1", "n2"):
            world.network.cut(name, "n5", Cut.DROP)
        await asyncio.sleep(NOTICED_S)
        await write(world, KEYS)
        await asyncio.sleep(3)
        world.network.heal_all()
        await all_arrived(world)

    in_world(1, FIVE, scenario)


# -- the coordinator's own hints -------------------------------------------------------------------


def test_with_three_nodes_the_coordinator_remembers_for_the_one_that_is_away() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        await without(world, "n3")
        assert hints_for(world, "n3") == len(KEYS)
        await world.start("n3")
        await all_arrived(world)

    in_world(1, THREE, scenario)


def test_a_primary_whose_failure_is_not_noticed_yet_is_remembered_as_well() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        world.crash("n3", silent=True)
        await write(world, KEYS)
        await asyncio.sleep(5)
        assert hints_for(world, "n3") == len(KEYS)
        await world.start("n3")
        await all_arrived(world)

    in_world(1, THREE, scenario)


def test_a_strict_write_is_remembered_and_no_hint_counts_for_it() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = KEYS[0]
        away = primaries(next(world.running()), key)[2]
        world.crash(away)
        await asyncio.sleep(NOTICED_S)
        coordinator = primaries(next(world.running()), key)[0]
        with pytest.raises(QuorumError) as caught:
            await put(world, coordinator, key, "x", replace(STRICT, w=3))
        assert caught.value.definite
        assert holders(world, key) == set()
        written = await put(world, coordinator, key, "y", STRICT)
        assert written.acks == 2
        await until(lambda: hints(world, key) == [(coordinator, away)], within_s=1)
        await world.start(away)
        await until(lambda: not lacking(world, [key]) and not hints(world, key), within_s=10)

    in_world(1, FIVE, scenario)


@pytest.mark.parametrize("sloppy", [True, False])
def test_hints_never_count_for_more_nodes_than_there_are(sloppy: bool) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        world.crash("n2")
        world.crash("n3")
        await asyncio.sleep(NOTICED_S)
        with pytest.raises(QuorumError) as caught:
            await put(world, "n1", KEYS[0], "x", replace(W2, sloppy=sloppy))
        assert (caught.value.needed, caught.value.got) == (2, 1)
        assert (await put(world, "n1", KEYS[0], "x", replace(W2, w=1, sloppy=sloppy))).acks == 1
        await until(lambda: len(hints(world, KEYS[0])) == 2, within_s=1)

    in_world(1, THREE, scenario)


# -- limits, switches, removal ---------------------------------------------------------------------


def test_when_too_much_is_held_the_oldest_goes_and_writes_go_on() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        world.crash("n3")
        await asyncio.sleep(NOTICED_S)
        for key in KEYS:
            await put(world, "n1", key, key.key.decode(), W2)
        await asyncio.sleep(1)
        assert wrong_ledgers(world) == []
        assert total(world, "hints_bytes") <= 3_000
        kept = [key for key in KEYS if hints(world, key)]
        assert 0 < len(kept) < len(KEYS)
        assert kept == KEYS[-len(kept) :]
        assert total(world, "hints_expired_total") == len(KEYS) - len(kept)
        await world.start("n3")
        await until(lambda: not lacking(world, kept), within_s=10)
        assert len(lacking(world)) == len(KEYS) - len(kept)

    in_world(1, replace(THREE, settings=replace(ALONE, hints_bytes_max=3_000)), scenario)


def test_hints_that_are_too_old_go_undelivered_and_are_counted() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        await without(world, "n5")
        stored = hints_for(world, "n5")
        await asyncio.sleep(15)
        assert hints_for(world, "n5") == 0
        assert total(world, "hints_expired_total") == stored
        assert wrong_ledgers(world) == []

    in_world(1, replace(FIVE, settings=replace(ALONE, hint_age_s_max=10.0)), scenario)


def test_hints_taken_while_the_wall_clock_was_slow_are_delivered_when_it_is_set_right() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        for name in world.names:
            world.set_clock(name, -30 * 86_400_000)  # no battery: it begins where it was built
        await without(world, "n5")
        stored = hints_for(world, "n5")
        for name in world.names:
            world.set_clock(name, 0)
        await asyncio.sleep(30)
        assert hints_for(world, "n5") == stored > 0
        await world.start("n5")
        await all_arrived(world)
        assert total(world, "hints_expired_total") == 0

    in_world(1, FIVE, scenario)


def test_hints_are_kept_but_not_delivered_where_handoff_is_off() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        await without(world, "n5")
        stored = hints_for(world, "n5")
        await world.start("n5")
        await world.all_well()
        await asyncio.sleep(30)
        assert hints_for(world, "n5") == stored > 0
        assert lacking(world)

    in_world(1, replace(FIVE, settings=replace(ALONE, hinted_handoff=False)), scenario)


def test_hints_for_a_removed_node_go_to_those_who_hold_the_keys_now() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        await without(world, "n5")
        stored = hints_for(world, "n5")
        hinted = [key for key in KEYS if hints(world, key)]
        await world.call("n1", lambda node: node.removal.remove(NodeId("n5"), even_if_up=False))
        await until(lambda: not hints_for(world, "n5"), within_s=60)
        assert lacking(world, hinted) == []
        assert total(world, "hints_rehomed_total") == stored
        assert total(world, "hints_delivered_total") == stored
        assert wrong_ledgers(world) == []

    in_world(1, FIVE, scenario)


# -- waiting ---------------------------------------------------------------------------------------


def test_who_waits_for_hints_is_told_when_all_held_at_that_moment_are_gone() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        await without(world, "n3")
        told = await world.call("n1", lambda node: node.operations.wait_for_hints(1.0))
        assert told["held"] == told["waited_for"] == hints_at(world, "n1") > 0
        assert told["for"] == {"n3": told["held"]}
        waiting = asyncio.ensure_future(
            world.call("n1", lambda node: node.operations.wait_for_hints(60.0))
        )
        await asyncio.sleep(1)
        assert not waiting.done()
        await world.start("n3")
        assert (await waiting)["held"] == 0
        assert hints_at(world, "n1") == 0
        assert not [text for text in lacking(world) if hints_for(world, "n3") == 0]

    in_world(1, THREE, scenario)


def test_a_clean_stop_loses_no_hint() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        await without(world, "n3")
        stored = hints_for(world, "n3")
        for name in ("n1", "n2"):
            await world.stop(name)
        await world.start("n1")
        await world.start("n2")
        assert hints_for(world, "n3") == stored
        assert wrong_ledgers(world) == []

    in_world(1, THREE, scenario)


def test_a_clean_stop_finishes_hints_that_wait_for_the_disk() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        world.crash("n3")
        await asyncio.sleep(NOTICED_S)
        writing = []
        for key in KEYS[:3]:
            writing.append(asyncio.ensure_future(put(world, "n1", key, "x", W2)))
            await asyncio.sleep(0.01)  # the first is on its way, the others gather behind it
        assert hints_at(world, "n1") == 0
        await world.stop("n1")
        await asyncio.gather(*writing, return_exceptions=True)
        await world.start("n1")
        assert hints_for(world, "n3") == 3

    in_world(1, replace(THREE, commit_s=(0.2, 0.2)), scenario)
