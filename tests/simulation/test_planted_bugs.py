"""Every bug that can be planted is found, by the rule that is there for it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from dynamo.core.ids import Key, NodeId
from dynamo.core.quorum import ReadQuorum, WriteQuorum
from tests.planted import bugs as planted
from tests.planted.bugs import Bug
from tests.simulation.asking import get, key_of, put
from tests.simulation.copies import held
from tests.simulation.links import Cut
from tests.simulation.nemesis import Troubles
from tests.simulation.scenario import in_world
from tests.simulation.swarm import Plan, draw, follow
from tests.simulation.world import Options, World

pytestmark = pytest.mark.simulation

Change = Callable[[Plan], Plan]

SEEDS_MAX = 30
"""A bug that shows in none of so many worlds is not found."""


def check_found(bug: Bug, rule: str, change: Change) -> None:
    """With the bug some world breaks the rule; without it the same world breaks none."""
    broken: set[str] = set()
    for seed in range(SEEDS_MAX):
        plan = change(draw(seed))
        with bug():
            broken = rules(seed, plan)
        if rule in broken:
            assert rules(seed, plan) == set()
            return
    pytest.fail(f"no world of {SEEDS_MAX} breaks the rule {rule!r}; the last broke {broken}")


def rules(seed: int, plan: Plan) -> set[str]:
    """The rules that a world breaks."""
    return {violation.rule for violation in follow(seed, plan).violations}


def with_troubles(plan: Plan, *kinds: str, loser: NodeId | None = None) -> Plan:
    """The same, with these troubles and no others."""
    troubles = Troubles(at_once=2, pause_s=0.3, lasts_s=3.0, kinds=kinds, loser=loser)
    return replace(plan, troubles=troubles, trouble_s=20.0)


def with_quorums(plan: Plan, w: int, *, sloppy: bool, n: int = 3) -> Plan:
    """Five nodes and one quorum for all writes."""
    mix = replace(
        plan.mix,
        clients=4,
        keys=["k0", "k1", "k2"],
        weights=(),
        pause_s=0.1,
        write_quorums=[WriteQuorum(n=n, w=w, sloppy=sloppy)],
        read_quorums=[ReadQuorum(n=n, r=n // 2 + 1, sloppy=sloppy)],
    )
    cluster = replace(plan.options.cluster, bucket_defaults={"n_val": n, "allow_mult": True})
    plan = replace(plan, options=replace(plan.options, nodes=5, cluster=cluster), n=n, mix=mix)
    return with_settings(plan, hint_age_s_max=86_400.0)


def with_settings(plan: Plan, **settings: float | bool) -> Plan:
    """The same, with nodes that are set otherwise."""
    options = plan.options
    changed = replace(options.settings, **settings)  # type: ignore[arg-type]
    return replace(plan, options=replace(options, settings=changed))


def test_an_acknowledgement_before_the_commit_is_found_by_counting_copies() -> None:
    def slow_disks(plan: Plan) -> Plan:
        plan = with_troubles(with_quorums(plan, 2, sloppy=True), "kill")
        return replace(plan, options=replace(plan.options, commit_s=(0.01, 0.2)))

    check_found(planted.acknowledges_before_commit, "copies", slow_disks)


def test_hints_that_are_only_in_memory_are_found_as_lost_writes() -> None:
    check_found(
        planted.keeps_hints_in_memory,
        "lost",
        lambda plan: with_troubles(with_quorums(plan, 1, sloppy=True, n=1), "split", "power"),
    )


def test_a_hint_that_goes_unconfirmed_is_found_as_a_lost_write() -> None:
    check_found(
        planted.drops_hints_before_they_are_confirmed,
        "lost",
        lambda plan: with_troubles(with_quorums(plan, 1, sloppy=True, n=1), "isolate", "flap"),
    )


def test_a_tombstone_that_goes_early_is_found_as_a_value_that_is_back() -> None:
    def with_deletes(plan: Plan) -> Plan:
        plan = with_troubles(with_quorums(plan, 1, sloppy=True), "split", "isolate")
        plan = with_settings(plan, tombstone_collection=True)
        return replace(plan, mix=replace(plan.mix, delete=0.5))

    check_found(planted.forgets_tombstones_early, "resurrected", with_deletes)


def test_an_exchange_that_compares_counts_is_found_as_replicas_that_stay_unequal() -> None:
    def without_read_repair(plan: Plan) -> Plan:
        plan = with_troubles(with_quorums(plan, 1, sloppy=False), "split", "isolate")
        return with_settings(plan, read_repair=False)

    check_found(planted.compares_counts_of_keys, "unsettled", without_read_repair)


def test_a_stand_in_that_counts_in_strict_mode_is_found_by_counting_copies() -> None:
    check_found(
        planted.counts_stand_ins_in_strict_mode,
        "copies",
        lambda plan: with_troubles(with_quorums(plan, 2, sloppy=False), "split", "isolate"),
    )


def test_a_merge_by_the_wall_clock_is_found_as_lost_writes() -> None:
    check_found(
        planted.merges_by_wall_clock,
        "lost",
        lambda plan: with_troubles(with_quorums(plan, 2, sloppy=True), "split", "clock"),
    )


def test_a_dot_that_is_used_twice_is_found_as_a_lost_write() -> None:
    def often_wiped(plan: Plan) -> Plan:
        plan = with_troubles(with_quorums(plan, 2, sloppy=True), "wipe", loser=NodeId("n2"))
        # Long enough in between to mint dots that can be used twice.
        troubles = replace(plan.troubles, at_once=1, pause_s=3.0, lasts_s=0.5)
        mix = replace(plan.mix, clients=8, pause_s=0.05, blind=0.3)
        return replace(plan, troubles=troubles, mix=mix)

    check_found(planted.reuses_dots_after_a_restart, "lost", often_wiped)


def test_an_ignored_context_is_found_as_a_value_that_is_back() -> None:
    check_found(
        planted.ignores_contexts,
        "resurrected",
        lambda plan: with_troubles(with_quorums(plan, 2, sloppy=True), "kill"),
    )


def test_a_timeout_called_definite_is_found_when_the_write_is_seen() -> None:
    check_found(
        planted.calls_timeouts_definite,
        "failed",
        lambda plan: with_troubles(with_quorums(plan, 2, sloppy=False), "isolate", "freeze"),
    )


# -- scenarios of their own ------------------------------------------------------------------------


def is_mended_by_a_read(seed: int) -> bool:
    """Whether one read brings a replica up to date, with nothing else there to do it."""
    settings = replace(Options().settings, anti_entropy=False, hinted_handoff=False)

    async def scenario(world: World) -> bool:
        await world.start_all()
        key = key_of("k")
        await put(world, "n1", key, "a", WriteQuorum(n=3, w=3))
        world.crash("n3")
        await asyncio.sleep(3)
        await put(world, "n1", key, "b", WriteQuorum(n=3, w=2, sloppy=False))
        await world.start_all()
        assert len(copies(world, key)) == 2
        await get(world, "n2", key, ReadQuorum(n=3, r=3))
        await asyncio.sleep(3)
        return len(copies(world, key)) == 1

    return in_world(seed, Options(settings=settings), scenario)


def copies(world: World, key: Key) -> set[bytes | None]:
    """The different states that nodes hold of a key."""
    return {copy for copy, _ in held(world, key).values()}


def test_read_repair_with_an_older_state_is_found_where_it_alone_must_do() -> None:
    with planted.repairs_with_the_older_state():
        assert not is_mended_by_a_read(1)
    assert is_mended_by_a_read(1)


def stays_removed(seed: int) -> bool:
    """Whether a removed node stays away, though a node that heard nothing of it comes back."""

    async def scenario(world: World) -> bool:
        await world.start_all()
        teller, deaf, removed = NodeId("n1"), NodeId("n4"), NodeId("n5")
        for name in world.names:
            world.network.cut(name, deaf, Cut.DROP)
            world.network.cut(deaf, name, Cut.DROP)
        record = world.node(teller).view.membership.get(removed)
        assert record is not None
        world.node(teller).view.say(record.removed())
        await asyncio.sleep(10)
        world.crash(removed)
        world.network.heal_all()
        await asyncio.sleep(20)
        return removed_in(world, removed) == {"n1", "n2", "n3", deaf}

    excused = ["this node was removed from the cluster"]
    return in_world(seed, Options(nodes=5), scenario, excused=excused)


def removed_in(world: World, of: NodeId) -> set[str]:
    """The nodes that know a node to be removed."""
    return {node.view.me for node in world.running() if node.view.is_removed(of)}


def test_gossip_that_revives_a_removed_node_is_found() -> None:
    with planted.gossip_revives_the_removed():
        assert not all(stays_removed(seed) for seed in range(SEEDS_MAX))
    assert all(stays_removed(seed) for seed in range(3))
