"""Receipts of whole nodes: what they tell, and that the replicas then hold just that."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from dynamo.core.codec import clock_of, encode_siblings
from dynamo.core.ids import ACTOR_BYTES, Actor, Key, NodeId, encode_key
from dynamo.core.quorum import Conflicts, ReadQuorum, WriteQuorum
from dynamo.core.receipts import Account, Outcome, Receipt, decode_receipt, version_tag
from dynamo.core.siblings import EMPTY
from dynamo.core.values import Value
from dynamo.errors import DeadlineExceeded, DynamoError, OutcomeUnknown, QuorumError
from dynamo.node.node import Node
from dynamo.node.tracing import Trace
from dynamo.rpc.failures import TEXT_CHARS_MAX
from dynamo.rpc.messages import Failed, ForwardPut, PutDone, ReplicaPut, Reply, Request
from tests.simulation.asking import key_of, put
from tests.simulation.copies import held, primaries
from tests.simulation.links import Cut
from tests.simulation.scenario import in_world
from tests.simulation.world import Options, World, until

pytestmark = pytest.mark.simulation

FIVE = Options(nodes=5)
READ_REPAIR_ALONE = Options(
    nodes=3,
    settings=replace(Options().settings, hinted_handoff=False, anti_entropy_interval_s=3600.0),
)
NOTICED_S = 3.0
WRITE = WriteQuorum(n=3, w=2, dw=2)
READ = ReadQuorum(n=3, r=2)


async def traced(
    world: World,
    at: str,
    request: Callable[[Node, Trace], Awaitable[object]],
    within_s: float = 10.0,
) -> tuple[Receipt, DynamoError | None]:
    """Make a request as the HTTP interface would; its receipt, and how it failed."""

    async def made(node: Node) -> tuple[Receipt, DynamoError | None]:
        trace = Trace(world.loop.time)
        until_s = world.loop.time() + within_s
        failure: DynamoError | None = None
        try:
            await request(node, trace)
        except DynamoError as error:
            failure = error
        await trace.whole(until_s)
        if failure is not None:
            trace.attach_to(failure)
        return trace.receipt(), failure

    return await world.call(at, made)


async def write(
    world: World, at: str, key: Key, quorum: WriteQuorum = WRITE, *, timeout_s: float = 10.0
) -> tuple[Account, DynamoError | None]:
    def request(node: Node, trace: Trace) -> Awaitable[object]:
        return node.coordinator.put(
            key,
            Value(body=b"x", modified_at_ms=node.wall_ms()),
            None,
            quorum,
            Conflicts.SIBLINGS,
            timeout_s=timeout_s,
            trace=trace,
        )

    receipt, failure = await traced(world, at, request, timeout_s)
    assert receipt.write is not None
    return receipt.write, failure


async def read(
    world: World, at: str, key: Key, quorum: ReadQuorum = READ
) -> tuple[Account, DynamoError | None]:
    receipt, failure = await traced(
        world,
        at,
        lambda node, trace: node.coordinator.get(key, quorum, timeout_s=10.0, trace=trace),
    )
    assert receipt.read is not None
    return receipt.read, failure


def places(world: World, key: Key) -> tuple[list[NodeId], list[NodeId]]:
    first = primaries(next(world.running()), key)
    return first, [name for name in world.names if name not in first]


def state_of_no_value() -> bytes:
    return encode_siblings(EMPTY.write(Actor(bytes(ACTOR_BYTES)), b"no value", {}, 0))


def forwarding_to_a_liar(world: World, garbled: Callable[[Reply], Reply]) -> tuple[NodeId, Key]:
    """A node that is no primary of a key, and hears something else of the writes it forwards."""
    key = key_of("k0")
    node = world.node(places(world, key)[1][0])
    peers = node.links.peers
    call = peers.call

    async def lied_to(to: NodeId, request: Request, timeout_s: float) -> Reply:
        reply = await call(to, request, timeout_s)
        return garbled(reply) if isinstance(request, ForwardPut) else reply

    peers.call = lied_to  # type: ignore[method-assign, assignment]
    return node.view.me, key


def agrees(account: Account, world: World, key: Key) -> None:
    """Whoever is said to have stored the write holds it, in that version, and nobody else."""
    said = {
        (answer.node, answer.stands_in_for): account.version
        for answer in (*account.replicas, *account.hints)
        if answer.outcome is Outcome.STORED
    }
    found: dict[tuple[NodeId, NodeId | None], str] = {}
    for name, (copy, hints) in held(world, key).items():
        if copy:
            found[name, None] = version_tag(clock_of(copy))
        for target, state in hints.items():
            found[name, target] = version_tag(clock_of(state))
    assert found == said


def outcomes(account: Account) -> dict[NodeId, Outcome]:
    return {answer.node: answer.outcome for answer in account.replicas}


def test_a_write_and_a_read_of_a_healthy_cluster_tell_of_three_equal_replicas() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k")
        first, _ = places(world, key)
        wrote, _ = await write(world, first[0], key)
        assert (wrote.coordinator, outcomes(wrote)) == (
            first[0],
            dict.fromkeys(first, Outcome.STORED),
        )
        assert wrote.met_ms is not None
        assert 0 < wrote.met_ms <= max(answer.took_ms or 0.0 for answer in wrote.replicas)
        agrees(wrote, world, key)
        was_read, _ = await read(world, first[1], key)
        assert outcomes(was_read) == dict.fromkeys(first, Outcome.FOUND)
        assert {answer.version for answer in was_read.replicas} == {wrote.version}
        assert was_read.version == wrote.version
        nothing, _ = await read(world, first[1], key_of("other"))
        assert {answer.outcome for answer in nothing.replicas} == {Outcome.MISSING}

    in_world(1, FIVE, scenario)


def test_a_forwarded_write_tells_who_coordinated_it() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k")
        first, others = places(world, key)
        wrote, _ = await write(world, others[0], key)
        assert (wrote.coordinator, wrote.forwarded_by) == (first[0], others[0])
        assert wrote.hop_ms is not None
        assert wrote.hop_ms > 0
        assert outcomes(wrote) == dict.fromkeys(first, Outcome.STORED)
        agrees(wrote, world, key)

    in_world(1, FIVE, scenario)


@pytest.mark.parametrize("forwards", [False, True])
def test_stand_ins_are_named_with_the_primaries_whose_place_they_take(forwards: bool) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k")
        first, others = places(world, key)
        world.crash(first[2])
        await asyncio.sleep(NOTICED_S)
        wrote, _ = await write(world, others[0] if forwards else first[0], key)
        [stand_in] = [answer for answer in wrote.replicas if answer.stands_in_for]
        assert stand_in.node in others
        assert stand_in.stands_in_for == first[2]
        agrees(wrote, world, key)
        was_read, _ = await read(world, first[0], key)
        assert outcomes(was_read)[stand_in.node] is Outcome.FOUND

    in_world(1, FIVE, scenario)


def test_a_replica_that_is_silent_is_named_and_so_is_who_replaced_it() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k")
        first, others = places(world, key)
        world.freeze(first[2])
        wrote, failure = await write(world, first[0], key)
        assert failure is None
        assert outcomes(wrote)[first[2]] is Outcome.NO_ANSWER
        [stand_in] = [answer for answer in wrote.replicas if answer.stands_in_for]
        assert stand_in.stands_in_for == first[2]
        assert stand_in.node in others
        assert stand_in.outcome is Outcome.STORED
        assert wrote.met_ms is not None
        assert stand_in.took_ms is not None
        assert wrote.met_ms < 1000 < stand_in.took_ms, "a request without a receipt does not wait"
        agrees(wrote, world, key)

    in_world(1, FIVE, scenario)


def test_where_no_stand_in_is_left_the_coordinators_hint_is_named() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k")
        first, _ = places(world, key)
        world.crash(first[2])
        await asyncio.sleep(NOTICED_S)
        wrote, _ = await write(world, first[0], key)
        [hint] = wrote.hints
        assert (hint.node, hint.stands_in_for) == (first[0], first[2])
        assert hint.outcome is Outcome.STORED
        assert wrote.acks == 2, "a hint of the coordinator is no copy that counts"
        agrees(wrote, world, key)

    in_world(1, Options(nodes=3), scenario)


def test_a_read_names_whom_it_repaired() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k")
        first, _ = places(world, key)
        stale = first[2]
        world.crash(stale)
        await put(world, first[0], key, "x", WRITE)
        await world.start(stale)
        await world.all_well()
        was_read, _ = await read(world, first[0], key)
        assert outcomes(was_read)[stale] is Outcome.MISSING
        assert [(answer.node, answer.outcome) for answer in was_read.repairs] == [
            (stale, Outcome.STORED)
        ]
        copy, _ = held(world, key)[stale]
        assert copy is not None
        assert version_tag(clock_of(copy)) == was_read.repairs[0].version == was_read.version

    in_world(1, READ_REPAIR_ALONE, scenario)


@pytest.mark.parametrize("forwards", [False, True])
def test_a_failed_write_tells_who_has_it_all_the_same(forwards: bool) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k")
        first, others = places(world, key)
        for name in first[1:]:
            world.freeze(name)
        at = others[0] if forwards else first[0]
        wrote, failure = await write(world, at, key, WriteQuorum(n=3, w=3, pw=3))
        assert isinstance(failure, QuorumError)
        assert not failure.definite
        assert (failure.what, failure.got, failure.needed) == ("PW", 1, 3)
        assert failure.acks == wrote.acks == 3, "stand-ins do not count, but they have it"
        assert decode_receipt(failure.receipt).write == wrote
        assert wrote.met_ms is None
        agrees(wrote, world, key)

    in_world(1, FIVE, scenario)


def test_a_write_whose_time_runs_out_tells_how_far_it_came() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k")
        first, _ = places(world, key)
        for name in first[1:]:
            world.freeze(name)
        wrote, failure = await write(world, first[0], key, timeout_s=0.5)
        assert isinstance(failure, DeadlineExceeded)
        assert failure.acks == wrote.acks == 1
        assert outcomes(wrote) == {
            first[0]: Outcome.STORED,
            first[1]: Outcome.NO_ANSWER,
            first[2]: Outcome.NO_ANSWER,
        }

    in_world(1, FIVE, scenario)


def test_a_receipt_does_not_put_a_forwarded_write_in_doubt() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k")
        first, others = places(world, key)
        world.freeze(first[2])
        wrote, failure = await write(world, others[0], key, timeout_s=1.0)
        assert failure is None
        assert wrote.acks == 2
        assert outcomes(wrote)[first[2]] is Outcome.NO_ANSWER

    in_world(1, FIVE, scenario)


def test_of_a_write_whose_coordinator_is_lost_that_is_all_there_is_to_tell() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k")
        first, others = places(world, key)
        world.crash(first[0])
        wrote, failure = await write(world, others[0], key)
        assert isinstance(failure, OutcomeUnknown)
        assert wrote == Account(coordinator=first[0], forwarded_by=others[0])
        assert decode_receipt(failure.receipt).write == wrote

    in_world(1, FIVE, scenario)


def test_waiting_for_a_receipt_is_not_taken_for_a_slow_write() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k")
        first, others = places(world, key)
        world.freeze(first[2])
        await write(world, others[0], key)
        assert world.node(others[0]).stats.put_latency.recent()["100"] < 1_000_000

    in_world(1, FIVE, scenario)


# -- deletes -------------------------------------------------------------------------------------


def test_a_delete_tells_of_both_its_halves() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k")
        first, _ = places(world, key)
        wrote, _ = await write(world, first[0], key)

        def request(node: Node, trace: Trace) -> Awaitable[object]:
            return node.coordinator.delete(
                key, None, READ, WRITE, Conflicts.SIBLINGS, timeout_s=10.0, trace=trace
            )

        receipt, _ = await traced(world, first[1], request)
        assert receipt.read is not None
        assert receipt.write is not None
        assert receipt.read.version == wrote.version
        assert receipt.write.version not in ("", wrote.version)
        assert receipt.write.acks == 3

    in_world(1, FIVE, scenario)


def test_a_delete_is_left_to_a_primary_that_reaches_more() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k")
        first, others = places(world, key)
        await put(world, first[0], key, "x", WriteQuorum(n=3, w=3))
        world.network.cut(others[0], first[2], Cut.DROP)
        await asyncio.sleep(NOTICED_S)
        assert world.thinks(others[0], first[2]) != "up"

        def request(node: Node, trace: Trace) -> Awaitable[object]:
            strict = WriteQuorum(n=3, w=2, pw=3)
            return node.coordinator.delete(
                key, None, READ, strict, Conflicts.SIBLINGS, timeout_s=10.0, trace=trace
            )

        receipt, failure = await traced(world, others[0], request)
        assert failure is None
        assert receipt.write is not None
        assert receipt.write.acks == 3

    in_world(1, FIVE, scenario)


def test_a_delete_that_cannot_be_stored_fails_before_it_reads() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k")
        first, _ = places(world, key)
        await put(world, first[0], key, "x", WriteQuorum(n=3, w=3))
        for name in first[1:]:
            world.crash(name)
        await asyncio.sleep(NOTICED_S)
        reads = world.node(first[0]).stats.counters.node_gets

        def request(node: Node, trace: Trace) -> Awaitable[object]:
            strict = WriteQuorum(n=3, w=2, pw=3)
            return node.coordinator.delete(
                key, None, READ, strict, Conflicts.SIBLINGS, timeout_s=10.0, trace=trace
            )

        _, failure = await traced(world, first[0], request)
        assert isinstance(failure, QuorumError)
        assert (str(failure), failure.definite) == ("PW-value unsatisfied: 1/3", True)
        assert world.node(first[0]).stats.counters.node_gets == reads

    in_world(1, Options(nodes=3), scenario)


def test_a_read_that_never_met_its_quorum_says_so_though_it_was_answered() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        account, failure = await read(
            world, "n1", key_of("nothing"), ReadQuorum(n=3, r=2, notfound_ok=False)
        )
        assert failure is None
        assert set(outcomes(account).values()) == {Outcome.MISSING}
        assert account.met_ms is None
        account, _ = await read(world, "n1", key_of("nothing"))
        assert account.met_ms is not None

    in_world(1, Options(nodes=3), scenario)


def test_what_a_peer_says_of_a_write_that_failed_reaches_no_client_unread() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        node, key = forwarding_to_a_liar(
            world, lambda _: Failed(4, "x", "W" * 10**6, 2, 1, False, -7, "{}\r\nSet-Cookie: a=b")
        )
        with pytest.raises(QuorumError) as caught:
            await put(world, node, key, "x", WRITE)
        assert (caught.value.receipt, caught.value.acks) == ("", 0)
        assert len(str(caught.value)) < 2 * TEXT_CHARS_MAX
        account, failure = await write(world, node, key)
        assert failure is not None
        assert "Set-Cookie" not in failure.receipt
        assert (account.forwarded_by, account.replicas) == (node, ())

    in_world(1, FIVE, scenario, excused=["a receipt makes no sense"])


def test_a_write_that_was_stored_is_not_denied_for_a_sibling_that_makes_no_sense() -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        key = key_of("k0")
        first = world.node(places(world, key)[0][0])
        replies: list[Reply] = []
        first.replica.put(ReplicaPut(encode_key(key), state_of_no_value(), ""), replies.append)
        await until(lambda: bool(replies), within_s=5)
        with pytest.raises(OutcomeUnknown, match="makes no sense") as caught:
            await put(world, first.view.me, key, "x", WRITE, return_state=True)
        assert not caught.value.definite
        assert caught.value.acks >= WRITE.w

    in_world(1, FIVE, scenario)


@pytest.mark.parametrize("state", [b"garbage", state_of_no_value()], ids=["state", "value"])
def test_a_write_that_was_stored_is_not_denied_for_an_answer_that_makes_no_sense(
    state: bytes,
) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()

        def garbled(reply: Reply) -> Reply:
            assert isinstance(reply, PutDone)
            return reply._replace(state=state)

        node, key = forwarding_to_a_liar(world, garbled)
        with pytest.raises(OutcomeUnknown, match="makes no sense") as caught:
            await put(world, node, key, "x", WriteQuorum(n=3, w=3), return_state=True)
        assert not caught.value.definite
        assert caught.value.acks == 3
        assert sum(copy is not None for copy, _ in held(world, key).values()) == 3

    in_world(1, FIVE, scenario)
