"""One write: when it is met, when it is lost, and what becomes of replicas that fail."""

import asyncio

import pytest

from dynamo.core.ids import NodeId
from dynamo.core.quorum import WriteQuorum
from dynamo.core.ring import Slot
from dynamo.errors import (
    CommitFailed,
    DeadlineExceeded,
    DynamoError,
    Overloaded,
    PeerLost,
    PeerUnreachable,
    QuorumError,
)
from dynamo.node.stats import Counters
from dynamo.node.writes import Write
from dynamo.rpc.failures import to_failed
from dynamo.rpc.messages import Done, Failed, ReplicaPut
from tests.unit.node.replicas import N1, N2, N3, N4, N5, Replicas

PRIMARIES = (Slot(N1), Slot(N2), Slot(N3))
ME = NodeId("me")
"""Who coordinates; in a cluster it would be among the others, most likely."""

OVERLOADED = to_failed(Overloaded("too much to do"))


def _write(
    replicas: Replicas,
    slots: tuple[Slot, ...] = PRIMARIES,
    stand_ins: tuple[NodeId, ...] = (),
    *,
    me: NodeId = ME,
    replaces_for_s: float = 10.0,
    **quorum: int,
) -> Write:
    needed = WriteQuorum(n=3, **{"w": 2, **quorum})  # type: ignore[arg-type]
    return Write(
        b"key",
        slots,
        needed,
        me=me,
        send=replicas.send,
        primaries=lambda: (N1, N2, N3),
        stand_ins=lambda: list(stand_ins),
        replica_timeout_s=1.0,
        replaces_until_s=asyncio.get_running_loop().time() + replaces_for_s,
        counters=Counters(),
    )


def hint_for(primary: NodeId) -> ReplicaPut:
    return ReplicaPut(b"key", b"state", primary)


async def test_all_slots_are_asked_but_the_one_that_stores_by_itself() -> None:
    replicas = Replicas()
    _write(replicas, (Slot(N1), Slot(N4, N2), Slot(N3))).start(b"state", stored_by=N1)
    assert replicas.names() == [N4, N3]
    assert replicas.request_to(N4) == ReplicaPut(b"key", b"state", "n2")
    assert replicas.request_to(N3) == ReplicaPut(b"key", b"state", "")


async def test_write_is_done_at_the_wth_copy_wherever_it_is() -> None:
    replicas = Replicas()
    write = _write(replicas)
    write.start(b"state", stored_by=N1)
    replicas.answer(N3, Done())
    assert not write.done.done()
    write.on_reply(N1, Done())
    assert write.done.done()
    await write.done
    assert write.acks == 2


async def test_late_copies_are_counted_after_the_answer() -> None:
    replicas = Replicas()
    write = _write(replicas)
    write.start(b"state", stored_by=None)
    for node in (N1, N2, N3):
        replicas.answer(node, Done())
    assert write.acks == 3


async def test_replica_that_fails_is_replaced_by_the_next_stand_in() -> None:
    replicas = Replicas()
    write = _write(replicas, stand_ins=(N4, N5), w=3)
    write.start(b"state", stored_by=None)
    replicas.answer(N2, PeerLost("gone"))
    assert replicas.request_to(N4) == ReplicaPut(b"key", b"state", "n2")
    replicas.answer(N4, PeerLost("gone too"))
    assert replicas.request_to(N5) == ReplicaPut(b"key", b"state", "n2")
    for node in (N1, N3, N5):
        replicas.answer(node, Done())
    await write.done


async def test_replica_that_fails_after_the_answer_is_replaced_all_the_same() -> None:
    replicas = Replicas()
    write = _write(replicas, stand_ins=(N4,))
    write.start(b"state", stored_by=None)
    replicas.answer(N1, Done())
    replicas.answer(N2, Done())
    await write.done
    replicas.answer(N3, PeerUnreachable("no route"))
    assert replicas.request_to(N4) == ReplicaPut(b"key", b"state", "n3")


async def test_stand_in_already_asked_is_not_asked_twice() -> None:
    replicas = Replicas()
    write = _write(replicas, (Slot(N1), Slot(N2), Slot(N4, N3)), stand_ins=(N4, N5), w=3)
    write.start(b"state", stored_by=None)
    replicas.answer(N1, PeerLost("gone"))
    assert replicas.names() == [N2, N4, N5]


async def test_write_is_lost_at_once_when_nobody_is_left_to_save_it() -> None:
    replicas = Replicas()
    write = _write(replicas, w=3)
    write.start(b"state", stored_by=None)
    replicas.answer(N1, Done())
    replicas.answer(N2, PeerLost("gone"))
    with pytest.raises(QuorumError, match="W-value unsatisfied: 1/3") as caught:
        await write.done
    assert not caught.value.definite, "a replica has it"
    assert caught.value.acks == 1


async def test_stand_ins_are_acknowledgements_where_primaries_alone_count() -> None:
    replicas = Replicas()
    write = _write(replicas, (Slot(N1), Slot(N2), Slot(N4, N3)), pw=2)
    write.start(b"state", stored_by=None)
    replicas.answer(N4, Done())
    replicas.answer(N1, Done())
    replicas.answer(N2, PeerLost("gone"))
    with pytest.raises(QuorumError, match="PW-value unsatisfied: 1/2") as caught:
        await write.done
    assert caught.value.acks == 2


async def test_doomed_write_fails_before_anything_is_sent_and_is_definite() -> None:
    replicas = Replicas()
    with pytest.raises(QuorumError, match="PW-value unsatisfied: 1/2") as caught:
        _write(replicas, (Slot(N1), Slot(N4, N2), Slot(N5, N3)), pw=2)
    assert caught.value.definite
    assert not replicas.asked


async def test_expired_write_tells_how_many_have_it_and_is_not_definite() -> None:
    replicas = Replicas()
    write = _write(replicas)
    write.start(b"state", stored_by=None)
    replicas.answer(N1, Done())
    write.expire()
    with pytest.raises(DeadlineExceeded) as caught:
        await write.done
    assert (caught.value.acks, caught.value.definite) == (1, False)


# -- the coordinator's own hints -------------------------------------------------------------------


async def test_coordinator_keeps_the_hint_of_a_primary_that_has_no_slot() -> None:
    replicas = Replicas()
    write = _write(replicas, (Slot(N1), Slot(N4, N2)), w=2)
    write.start(b"state", stored_by=None)
    assert replicas.names() == [N1, N4, ME]
    assert replicas.request_to(ME) == hint_for(N3)


async def test_coordinator_keeps_the_hint_of_a_primary_that_fails_when_no_stand_in_is_left() -> (
    None
):
    replicas = Replicas()
    _write(replicas, stand_ins=(N4,)).start(b"state", stored_by=None)
    replicas.answer(N2, PeerLost("gone"))
    replicas.answer(N4, PeerLost("gone too"))
    assert replicas.names() == [N1, N3, ME]
    assert replicas.request_to(ME) == hint_for(N2)


async def test_hint_of_the_coordinator_never_counts() -> None:
    replicas = Replicas()
    write = _write(replicas, w=3)
    write.start(b"state", stored_by=None)
    replicas.answer(N2, PeerUnreachable("no route"))
    replicas.answer(ME, Done())
    for node in (N1, N3):
        replicas.answer(node, Done())
    with pytest.raises(QuorumError, match="W-value unsatisfied"):
        await write.done
    assert write.acks == 2


async def test_coordinator_keeps_no_hint_for_itself_nor_where_its_own_disk_failed() -> None:
    replicas = Replicas()
    write = _write(replicas, me=N1)
    write.start(b"state", stored_by=N1)
    write.on_reply(N1, to_failed(CommitFailed("no room")))
    assert replicas.names() == [N2, N3]
    stands_in = _write(replicas, (Slot(N1), Slot(N4, N2), Slot(N3)), me=N4)
    replicas.asked.clear()
    stands_in.start(b"state", stored_by=None)
    replicas.answer(N4, to_failed(CommitFailed("no room")))
    assert replicas.names() == [N1, N3]


async def test_doomed_write_leaves_no_hint() -> None:
    replicas = Replicas()
    with pytest.raises(QuorumError):
        _write(replicas, (Slot(N1),), w=2)
    assert not replicas.asked


@pytest.mark.parametrize("reply", [OVERLOADED, Overloaded("the connection is full")])
async def test_primary_with_too_much_to_do_is_not_replaced_but_remembered(
    reply: Failed | DynamoError,
) -> None:
    replicas = Replicas()
    write = _write(replicas, stand_ins=(N4, N5), w=2)
    write.start(b"state", stored_by=None)
    replicas.answer(N2, reply)
    assert replicas.names() == [N1, N3, ME]
    assert replicas.request_to(ME) == hint_for(N2)
    replicas.answer(N3, reply)
    with pytest.raises(QuorumError, match="W-value unsatisfied: 0/2"):
        await write.done


async def test_nobody_acts_for_a_write_of_long_ago() -> None:
    replicas = Replicas()
    write = _write(replicas, stand_ins=(N4,), replaces_for_s=-1.0, w=1)
    write.start(b"state", stored_by=None)
    replicas.answer(N1, Done())
    replicas.answer(N2, PeerLost("an hour ago"))
    assert replicas.names() == [N3]


async def test_a_write_that_all_primaries_take_asks_for_nothing_more() -> None:
    replicas = Replicas()

    def never() -> list[NodeId]:
        raise AssertionError("it was looked for replacements")

    write = Write(
        b"key",
        PRIMARIES,
        WriteQuorum(n=3, w=2),
        me=N1,
        send=replicas.send,
        primaries=never,
        stand_ins=never,
        replica_timeout_s=1.0,
        replaces_until_s=0.0,
        counters=Counters(),
    )
    write.start(b"state", stored_by=None)
    for node in (N1, N2, N3):
        replicas.answer(node, Done())
    await write.done
