"""One read: what it asks for, what it fetches, what it answers, whom it repairs."""

import asyncio

import pytest

from dynamo.core.codec import clock_of, decode_siblings, encode_siblings, encode_value
from dynamo.core.ids import Actor, NodeId
from dynamo.core.quorum import ReadQuorum
from dynamo.core.ring import Slot
from dynamo.core.siblings import EMPTY, Siblings
from dynamo.core.values import Value
from dynamo.errors import DeadlineExceeded, PeerLost, QuorumError
from dynamo.node.reads import Read
from dynamo.node.stats import Counters
from dynamo.rpc.messages import MISSING, Done, Held, ReplicaGet, ReplicaPut
from tests.unit.node.replicas import N1, N2, N3, N4, N5, Replicas

PRIMARIES = (Slot(N1), Slot(N2), Slot(N3))

A, B = Actor(b"a" * 8), Actor(b"b" * 8)
OLD = EMPTY.write(A, b"old", {}, 0)
NEW = OLD.write(A, b"new", OLD.context(), 0)
SIBLING = OLD.write(B, b"sibling", {}, 0)
DELETED = EMPTY.write(A, encode_value(Value(body=b"", content_type="", deleted=True)), {}, 0)


def _read(
    replicas: Replicas,
    slots: tuple[Slot, ...] = PRIMARIES,
    me: NodeId = N1,
    counters: Counters | None = None,
    repair_for_s: float | None = 10.0,
    **quorum: int | bool,
) -> Read:
    needed = ReadQuorum(n=3, **{"r": 2, **quorum})  # type: ignore[arg-type]
    return Read(
        b"key",
        slots,
        needed,
        me=me,
        send=replicas.send,
        replica_timeout_s=1.0,
        repair_until_s=None
        if repair_for_s is None
        else asyncio.get_running_loop().time() + repair_for_s,
        counters=counters or Counters(),
    )


def _whole(state: Siblings) -> Held:
    return Held(encode_siblings(state))


def _version(state: Siblings) -> Held:
    return Held(clock_of(encode_siblings(state)))


async def test_own_copy_is_asked_for_the_object_and_the_others_for_versions() -> None:
    replicas = Replicas()
    _read(replicas, me=N2).start()
    assert [
        (node, request.version_only)
        for node, request, _ in replicas.asked
        if isinstance(request, ReplicaGet)
    ] == [(N1, True), (N3, True), (N2, False)]


async def test_stand_in_is_asked_for_what_it_keeps_for_the_primary() -> None:
    replicas = Replicas()
    _read(replicas, (Slot(N1), Slot(N4, N2))).start()
    assert replicas.request_to(N4) == ReplicaGet(b"key", "n2", version_only=True)


async def test_equal_versions_answer_without_fetching_or_repairing() -> None:
    replicas = Replicas()
    read = _read(replicas)
    read.start()
    replicas.answer(N1, _whole(NEW))
    assert not read.done.done()
    replicas.answer(N2, _version(NEW))
    assert await read.done == NEW
    replicas.answer(N3, _version(NEW))
    assert not replicas.asked


async def test_key_that_nobody_holds_is_empty() -> None:
    replicas = Replicas()
    read = _read(replicas)
    read.start()
    replicas.answer(N1, Held(MISSING))
    replicas.answer(N2, Held(MISSING))
    assert (await read.done).is_empty


async def test_newer_version_elsewhere_is_fetched_before_the_answer() -> None:
    replicas = Replicas()
    read = _read(replicas)
    read.start()
    replicas.answer(N1, _whole(OLD))
    replicas.answer(N2, _version(NEW))
    assert not read.done.done()
    assert replicas.asked[-1][:2] == (N2, ReplicaGet(b"key", "", version_only=False))
    replicas.answer(N2, _whole(NEW))
    assert await read.done == NEW


async def test_conflict_between_replicas_is_shown_whole() -> None:
    replicas = Replicas()
    read = _read(replicas)
    read.start()
    replicas.answer(N1, _whole(NEW))
    replicas.answer(N2, _version(SIBLING))
    replicas.answer(N2, _whole(SIBLING))
    answer = await read.done
    assert sorted(value for _, value in answer.dots()) == [b"new", b"sibling"]


async def test_older_version_elsewhere_is_not_fetched() -> None:
    replicas = Replicas()
    read = _read(replicas)
    read.start()
    replicas.answer(N1, _whole(NEW))
    replicas.answer(N2, _version(OLD))
    assert await read.done == NEW
    assert replicas.names() == [N3]


async def test_what_a_version_knows_to_be_gone_is_applied_without_fetching() -> None:
    replicas = Replicas()
    read = _read(replicas)
    read.start()
    both = OLD.merge(EMPTY.write(B, b"b", {}, 0))
    resolved = both.supersede({A: 1})
    replicas.answer(N1, _whole(both))
    replicas.answer(N2, _version(resolved))
    assert await read.done == resolved


async def test_stale_primaries_are_repaired_once_all_have_answered() -> None:
    replicas = Replicas()
    counters = Counters()
    read = _read(replicas, counters=counters)
    read.start()
    replicas.answer(N1, _whole(NEW))
    replicas.answer(N2, _version(OLD))
    await read.done
    assert counters.read_repairs == 0
    replicas.answer(N3, Held(MISSING))
    assert replicas.names() == [N2, N3]
    for node in (N2, N3):
        request = replicas.request_to(node)
        assert isinstance(request, ReplicaPut)
        assert decode_siblings(request.state) == NEW
        replicas.answer(node, Done())
    assert counters.read_repairs == 2


async def test_late_answer_that_holds_more_is_fetched_and_spread() -> None:
    replicas = Replicas()
    read = _read(replicas)
    read.start()
    replicas.answer(N1, _whole(OLD))
    replicas.answer(N2, _version(OLD))
    assert await read.done == OLD
    replicas.answer(N3, _version(NEW))
    assert replicas.names() == [N3]
    replicas.answer(N3, _whole(NEW))
    assert replicas.names() == [N1, N2]
    assert {type(request) for _, request, _ in replicas.asked} == {ReplicaPut}


async def test_repairs_are_counted_by_what_the_replica_lacked() -> None:
    replicas, counters = Replicas(), Counters()
    read = _read(replicas, counters=counters)
    read.start()
    replicas.answer(N1, _whole(NEW))
    replicas.answer(N2, _version(OLD))
    replicas.answer(N3, Held(MISSING))
    assert await read.done == NEW
    assert (counters.read_repairs_missing, counters.read_repairs_behind) == (1, 1)


@pytest.mark.parametrize("repair_for_s", [None, -1.0])
async def test_nobody_is_repaired_when_that_is_switched_off_or_the_read_is_too_old(
    repair_for_s: float | None,
) -> None:
    replicas, counters = Replicas(), Counters()
    read = _read(replicas, counters=counters, repair_for_s=repair_for_s)
    read.start()
    replicas.answer(N1, _whole(NEW))
    replicas.answer(N2, _version(OLD))
    replicas.answer(N3, Held(MISSING))
    assert await read.done == NEW
    assert replicas.asked == []
    assert counters.read_repairs == 0


async def test_stand_in_is_never_repaired() -> None:
    replicas = Replicas()
    read = _read(replicas, (Slot(N1), Slot(N2), Slot(N4, N3)))
    read.start()
    replicas.answer(N1, _whole(NEW))
    replicas.answer(N2, _version(NEW))
    replicas.answer(N4, Held(MISSING))
    assert await read.done == NEW
    assert not replicas.asked


async def test_replica_that_is_lost_before_it_hands_over_its_object_no_longer_counts() -> None:
    replicas = Replicas()
    read = _read(replicas)
    read.start()
    replicas.answer(N1, _whole(OLD))
    replicas.answer(N2, _version(NEW))
    replicas.answer(N2, PeerLost("gone"))
    assert not read.done.done()
    replicas.answer(N3, _version(OLD))
    assert await read.done == OLD


async def test_object_that_does_not_come_is_fetched_from_another_replica() -> None:
    replicas = Replicas()
    read = _read(replicas, me=N5)
    read.start()
    replicas.answer(N2, _version(NEW))
    replicas.answer(N3, _version(NEW))
    await asyncio.wait_for(replicas.until([N1, N2]), timeout=5)
    replicas.answer(N2, _whole(NEW))
    assert await read.done == NEW


async def test_object_that_does_not_come_does_not_hold_up_a_conflict_either() -> None:
    replicas = Replicas()
    read = _read(replicas, me=N5)
    read.start()
    replicas.answer(N2, _version(NEW))
    replicas.answer(N3, _version(SIBLING))
    await asyncio.wait_for(replicas.until([N1, N2, N3]), timeout=5)
    replicas.answer(N2, _whole(NEW))
    replicas.answer(N3, _whole(SIBLING))
    assert len(await read.done) == 2


async def test_failed_object_replica_does_not_make_the_read_wait() -> None:
    replicas = Replicas()
    read = _read(replicas, me=N5)
    read.start()
    replicas.answer(N1, PeerLost("gone"))
    replicas.answer(N2, _version(NEW))
    replicas.answer(N3, _version(NEW))
    replicas.answer(N2, _whole(NEW))
    assert await read.done == NEW


async def test_answer_that_does_not_decode_counts_as_a_failure() -> None:
    replicas = Replicas()
    read = _read(replicas)
    read.start()
    replicas.answer(N1, _whole(NEW))
    replicas.answer(N2, Held(b"nonsense"))
    assert not read.done.done()
    replicas.answer(N3, _version(NEW))
    assert await read.done == NEW


async def test_lost_read_tells_needed_and_got() -> None:
    replicas = Replicas()
    read = _read(replicas, r=3)
    read.start()
    replicas.answer(N1, _whole(NEW))
    replicas.answer(N2, PeerLost("gone"))
    with pytest.raises(QuorumError, match="R-value unsatisfied: 1/3"):
        await read.done


async def test_only_missing_answers_without_notfound_ok_are_an_empty_answer() -> None:
    replicas = Replicas()
    read = _read(replicas, notfound_ok=False)
    read.start()
    replicas.answer(N1, Held(MISSING))
    replicas.answer(N2, Held(MISSING))
    assert not read.done.done(), "whether it is nowhere, or too rare, the third will tell"
    replicas.answer(N3, Held(MISSING))
    assert (await read.done).is_empty


async def test_tombstones_among_missing_answers_are_an_empty_answer_too() -> None:
    replicas = Replicas()
    read = _read(replicas, notfound_ok=False)
    read.start()
    replicas.answer(N1, Held(MISSING))
    replicas.answer(N2, Held(MISSING))
    replicas.answer(N3, _version(DELETED))
    assert not read.done.done(), "a clock does not tell a tombstone from a value"
    replicas.answer(N3, _whole(DELETED))
    assert (await read.done).is_empty


async def test_a_tombstone_is_no_empty_answer_while_a_value_may_come() -> None:
    replicas = Replicas()
    read = _read(replicas, r=3, notfound_ok=False)
    read.start()
    replicas.answer(N1, _whole(DELETED))
    replicas.answer(N2, Held(MISSING))
    assert not read.done.done()
    replicas.answer(N3, _version(NEW))
    replicas.answer(N3, _whole(NEW))
    with pytest.raises(QuorumError, match="R-value unsatisfied: 2/3"):
        await read.done


async def test_too_rare_is_not_the_same_as_nowhere() -> None:
    replicas = Replicas()
    read = _read(replicas, notfound_ok=False)
    read.start()
    replicas.answer(N1, Held(MISSING))
    replicas.answer(N2, Held(MISSING))
    replicas.answer(N3, _version(NEW))
    replicas.answer(N3, _whole(NEW))
    with pytest.raises(QuorumError, match="R-value unsatisfied: 1/2"):
        await read.done


async def test_doomed_read_fails_before_anything_is_sent() -> None:
    replicas = Replicas()
    with pytest.raises(QuorumError, match="PR-value unsatisfied: 1/2"):
        _read(replicas, (Slot(N1), Slot(N4, N2)), pr=2)
    assert not replicas.asked


async def test_expired_read_fails() -> None:
    replicas = Replicas()
    read = _read(replicas)
    read.start()
    read.expire()
    with pytest.raises(DeadlineExceeded):
        await read.done
