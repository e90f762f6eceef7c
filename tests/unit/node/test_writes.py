"""One write: when it is met, when it is lost, and what becomes of replicas that fail."""

import pytest

from dynamo.core.ids import NodeId
from dynamo.core.quorum import WriteQuorum
from dynamo.core.ring import Slot
from dynamo.errors import DeadlineExceeded, PeerLost, PeerUnreachable, QuorumError
from dynamo.node.stats import Counters
from dynamo.node.writes import Write
from dynamo.rpc.messages import Done, ReplicaPut
from tests.unit.node.replicas import N1, N2, N3, N4, N5, Replicas

PRIMARIES = (Slot(N1), Slot(N2), Slot(N3))


def _write(
    replicas: Replicas,
    slots: tuple[Slot, ...] = PRIMARIES,
    stand_ins: tuple[NodeId, ...] = (),
    **quorum: int,
) -> Write:
    needed = WriteQuorum(n=3, **{"w": 2, **quorum})  # type: ignore[arg-type]
    return Write(
        b"key",
        slots,
        needed,
        send=replicas.send,
        stand_ins=lambda: list(stand_ins),
        replica_timeout_s=1.0,
        counters=Counters(),
    )


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
    assert (caught.value.got, caught.value.definite) == (1, False)
