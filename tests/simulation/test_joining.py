import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest

from dynamo.config import ClusterConfig
from dynamo.core.facts import PIECE_BYTES_MAX, Fact, encode_fact
from dynamo.core.ids import Address, Bucket, NodeId
from dynamo.core.membership import INCARNATION_HEARD_MAX
from dynamo.core.property_book import BOOK_BYTES_MAX
from dynamo.core.quorum import ReadQuorum, WriteQuorum
from dynamo.errors import BadRequest, NotReady
from dynamo.node.coordinator import Written
from dynamo.node.gossip import Gossip
from dynamo.node.node import Node
from dynamo.rpc.messages import GossipExchange, GossipFacts
from tests.simulation.asking import get, key_of, put, seen_in
from tests.simulation.copies import hints
from tests.simulation.links import Cut
from tests.simulation.nemesis import Nemesis, Troubles
from tests.simulation.process import ProcessDied
from tests.simulation.scenario import in_world
from tests.simulation.world import Options, World, until

pytestmark = pytest.mark.simulation


FIVE = Options(nodes=5)

N1 = NodeId("n1")

Placement = tuple[tuple[NodeId, ...], ...]


def rings(world: World) -> set[Placement]:
    """The primaries of each partition, as the nodes believe; one, if they all believe the same."""
    return {
        tuple(
            node.ring.preference_list(partition, 3).primaries
            for partition in range(world.options.partitions)
        )
        for node in world.running()
    }


@pytest.mark.parametrize("seed", range(10))
def test_nodes_that_start_at_once_believe_in_one_level_ring(seed: int) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        [ring] = rings(world)
        owned = Counter(primaries[0] for primaries in ring)
        kept = Counter(name for primaries in ring for name in primaries)
        assert set(owned) == set(world.names)
        assert max(owned.values()) <= 1.10 * 256 / 5
        assert max(kept.values()) <= 1.10 * 3 * 256 / 5

    in_world(seed, Options(nodes=5, seeds=1 + seed % 5, partitions=256), scenario)


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
        [ring] = rings(world)
        assert {name for primaries in ring for name in primaries} == set(world.names)
        await asyncio.sleep(5)
        assert rings(world) == {ring}

    in_world(seed, Options(nodes=3 + seed % 5, seeds=1 + seed % 3), scenario)


def test_a_node_that_comes_later_is_taken_in() -> None:
    async def scenario(world: World) -> None:
        await asyncio.gather(*(world.start(name) for name in world.names[:4]))
        await world.all_well()
        assert all("n5" not in primaries for [ring] in [rings(world)] for primaries in ring)
        await world.start_all()
        [ring] = rings(world)
        assert any("n5" in primaries for primaries in ring)

    in_world(1, FIVE, scenario)


@pytest.mark.parametrize("seed", range(3))
def test_a_node_that_was_away_while_others_came_loses_no_write_when_it_returns(seed: int) -> None:
    async def scenario(world: World) -> None:
        *first, late = world.names[:3]
        await asyncio.gather(*(world.start(name) for name in [*first, late]))
        await world.all_well()
        world.crash(late)
        others = [name for name in world.names if name != late]
        await asyncio.gather(*(world.start(name) for name in others[2:]))
        await world.all_well()
        await world.start(late)
        await until(lambda: world.machines[late].serving, within_s=10, every_s=0.0005)
        keys = [key_of(f"k{number}") for number in range(50)]
        # At once, on what it takes for the ring.
        written = await asyncio.gather(
            *(put(world, late, key, "x", WriteQuorum(n=3, w=1)) for key in keys),
            return_exceptions=True,
        )
        await world.calm()
        await until(lambda: not any(hints(world, key) for key in keys), within_s=10)
        for key, outcome in zip(keys, written, strict=True):
            if isinstance(outcome, Written):
                state = await get(world, "n1", key, ReadQuorum(n=3, r=3))
                assert seen_in(state).values == {"x"}

    in_world(seed, Options(nodes=7), scenario)


def hear(world: World, name: str, *, incarnation: int) -> Fact:
    """Let gossip bring a node a record of n1 that is not true."""
    node = world.node(name)
    record = node.view.membership.get(N1)
    assert record is not None
    fact = replace(record, incarnation=incarnation, rpc=Address("nowhere", 1)).to_fact()
    node.links.gossip.on_exchange(GossipExchange([encode_fact(fact)], []), NodeId("n3"))
    return fact


def test_a_node_rises_above_whatever_is_said_of_it_and_all_believe_it() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        before = rings(world)
        true = world.node(N1).view.my_record
        assert true is not None
        hear(world, "n2", incarnation=INCARNATION_HEARD_MAX - 1)
        answer = replace(true, incarnation=INCARNATION_HEARD_MAX)
        await until(
            lambda: all(node.view.membership.get(N1) == answer for node in world.running()),
            within_s=10,
        )
        assert rings(world) == before
        # It is taken up again, and removed, like any other.
        world.crash(N1)
        await world.start(N1)
        await world.all_well()
        assert rings(world) == before
        world.crash(N1)
        await until(lambda: world.thinks("n2", N1) != "up", within_s=20)
        await world.call("n2", lambda node: node.removal.remove(N1, even_if_up=False))
        await until(lambda: all(N1 not in n.ring.nodes for n in world.running()), within_s=10)

    in_world(1, FIVE, scenario)


@pytest.mark.parametrize("name", ["n1", "n2"])
def test_nobody_believes_what_a_node_could_not_answer(name: str) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        before = rings(world)
        fact = hear(world, name, incarnation=INCARNATION_HEARD_MAX)
        assert world.node(name).view.facts.get(fact.name) != fact
        assert rings(world) == before

    in_world(1, FIVE, scenario)


OTHER_TYPES = ClusterConfig(bucket_types={"carts": {"n_val": 1}})


@pytest.mark.parametrize("seed", range(5))
def test_a_node_that_returns_with_other_settings_than_all_others_does_not_serve_alone(
    seed: int,
) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        world.crash("n2")
        ours, world.cluster = world.cluster, replace(OTHER_TYPES, partitions=32)
        await world.start("n2")
        machine = world.machines[NodeId("n2")]
        await until(lambda: machine.gave_up is not None, within_s=30)
        assert "have different settings for bucket types" in (machine.gave_up or "")
        assert not world.node("n2").serving
        world.crash("n2")
        world.cluster = ours
        await world.start_all()

    in_world(seed, Options(nodes=3, partitions=32), scenario)


def test_a_new_node_with_other_settings_says_so_and_ends() -> None:
    async def scenario(world: World) -> None:
        for name in ("n1", "n2"):
            await world.start(name)
        await until(lambda: world.node("n1").serving and world.node("n2").serving, within_s=30)
        world.cluster = replace(OTHER_TYPES, partitions=32)
        await world.start("n3")
        machine = world.machines[NodeId("n3")]
        await until(lambda: machine.gave_up is not None, within_s=30)
        assert "have different settings for bucket types" in (machine.gave_up or "")

    in_world(1, Options(nodes=3, seeds=1, partitions=32), scenario)


@pytest.mark.parametrize("seed", range(3))
def test_nodes_whose_settings_were_all_changed_while_they_were_down_serve_again(seed: int) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        for name in world.names:
            world.crash(name)
        world.cluster = replace(OTHER_TYPES, partitions=32)
        await world.start_all()

    in_world(seed, Options(nodes=3, partitions=32), scenario)


# -- many facts ----------------------------------------------------------------------------------

BUCKETS = [Bucket(b"default", b"b%d" % number) for number in range(100)]


def make_many_facts(node: Node) -> None:
    """A dozen pieces of them, as clients of that node would."""
    for bucket in BUCKETS:
        changes = {"n_val": 1, "foo": "x" * 60_000}
        node.view.learn(node.properties.changed(bucket, changes, node.view.me))


def knows_all(node: Node) -> bool:
    return all(
        properties is not None and properties.n_val == 1
        for properties in map(node.properties.of, BUCKETS)
    )


@dataclass(slots=True)
class Pieces:
    """What nodes let through of exchanges.

    Attributes:
        left: so many pieces with more than a fact; then none.
        sizes_bytes: of the answers.
    """

    left: int
    sizes_bytes: list[int] = field(default_factory=list)


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> Pieces:
    allowed = Pieces(left=1_000_000)
    right = Gossip.on_exchange

    def on_exchange(gossip: Gossip, exchange: GossipExchange, peer: NodeId) -> GossipFacts:
        if exchange.wanted or len(exchange.facts) > 1:
            if not allowed.left:
                raise NotReady("not now")
            allowed.left -= 1
        answer = right(gossip, exchange, peer)
        allowed.sizes_bytes.append(sum(map(len, answer.facts)))
        return answer

    monkeypatch.setattr(Gossip, "on_exchange", on_exchange)
    return allowed


@pytest.mark.parametrize("kind", ["a new node", "a node that was away", "an empty disk"])
def test_a_node_serves_no_sooner_than_it_knows_all_that_the_others_do(
    kind: str, pieces: Pieces, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(world: World) -> None:
        first = world.names if kind != "a new node" else world.names[:3]
        await asyncio.gather(*(world.start(name) for name in first))
        await world.all_well()
        if kind != "a new node":
            world.crash("n4")
        if kind == "an empty disk":
            world.wipe("n4")
        make_many_facts(world.node("n1"))
        await until(lambda: all(map(knows_all, world.running())), within_s=10)
        assert len(world.views()) == 1
        pieces.left = 3
        await world.start("n4")
        for _ in range(600):
            await asyncio.sleep(0.1)
            assert not world.node("n4").serving
        assert pieces.left == 0
        assert not knows_all(world.node("n4"))
        pieces.left = 1_000_000
        await until(lambda: world.node("n4").serving, within_s=10, every_s=0.001)
        assert knows_all(world.node("n4"))
        await world.all_well()
        assert max(pieces.sizes_bytes) <= PIECE_BYTES_MAX

    in_world(1, Options(nodes=4), scenario)
    if kind == "a node that was away":
        said = [record for record in caplog.records if "not serving yet" in record.getMessage()]
        assert 1 <= len(said) <= 7
        assert said[0].__dict__["reason"] == "not now"


@pytest.mark.parametrize("seed", range(3))
def test_a_node_that_was_told_a_part_and_can_reach_nobody_any_more_serves(
    seed: int, pieces: Pieces
) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        world.crash("n3")
        make_many_facts(world.node("n1"))
        pieces.left = 3
        await world.start("n3")
        await until(lambda: pieces.left == 0, within_s=10)
        await asyncio.sleep(5)
        assert not world.node("n3").serving
        for name in ("n1", "n2"):
            world.crash(name, silent=seed == 1)
        await until(lambda: world.node("n3").serving, within_s=20)

    in_world(seed, Options(nodes=3), scenario)


@pytest.mark.parametrize("seed", range(3))
def test_nodes_that_each_accepted_what_fills_a_book_agree_in_the_end(seed: int) -> None:
    """What clients may change is bounded, what was accepted elsewhere is taken all the same."""

    async def scenario(world: World) -> None:
        await world.start_all()
        for other in ("n1", "n2"):
            world.network.cut(other, "n3", Cut.DROP)
            world.network.cut("n3", other, Cut.DROP)
        for name in ("n1", "n3"):
            node = world.node(name)
            for number in range(400):
                bucket = Bucket(b"default", b"%s/%d" % (name.encode(), number))
                try:
                    fact = node.properties.changed(bucket, {"foo": "x" * 60_000}, node.view.me)
                except BadRequest:
                    break
                node.view.learn(fact)
            assert number > 200
        world.network.heal_all()
        await world.all_well(within_s=60)
        for node in world.running():
            assert node.properties.size_bytes > 1.9 * BOOK_BYTES_MAX
            with pytest.raises(BadRequest, match="together"):
                node.properties.changed(BUCKETS[0], {"n_val": 1}, node.view.me)

    in_world(seed, Options(nodes=3), scenario)


def test_more_than_a_piece_is_refused_in_words() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        make_many_facts(world.node("n1"))
        facts = [encode_fact(fact) for fact in world.node("n1").view.facts]
        before = world.node("n2").view.facts.hash
        with pytest.raises(BadRequest, match="in pieces of 256 and 524288 bytes"):
            world.node("n2").links.gossip.on_exchange(GossipExchange(facts, []), N1)
        with pytest.raises(BadRequest, match="in pieces"):
            world.node("n2").links.gossip.on_exchange(GossipExchange([], [b"p"] * 257), N1)
        assert world.node("n2").view.facts.hash == before

    in_world(1, Options(nodes=3), scenario)
