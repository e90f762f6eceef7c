"""What a receipt tells of reads and writes whose replicas answer when the test says so."""

import asyncio
import logging

import pytest

from dynamo.core.codec import clock_of, encode_siblings
from dynamo.core.ids import Actor, NodeId
from dynamo.core.quorum import ReadQuorum, WriteQuorum
from dynamo.core.receipts import Account, Outcome, ReplicaAnswer, version_tag
from dynamo.core.ring import Slot
from dynamo.core.siblings import EMPTY, Siblings
from dynamo.errors import Overloaded, PeerLost, PeerUnreachable, QuorumError, StorageError
from dynamo.node.reads import Read
from dynamo.node.stats import Counters
from dynamo.node.tracing import Trace
from dynamo.node.writes import Write
from dynamo.rpc.failures import to_failed
from dynamo.rpc.messages import MISSING, Done, Held
from tests.unit.node.replicas import N1, N2, N3, N4, Replicas

PRIMARIES = (Slot(N1), Slot(N2), Slot(N3))
OLD = EMPTY.write(Actor(b"a" * 8), b"old", {}, 0)
NEW = OLD.write(Actor(b"a" * 8), b"new", OLD.context(), 0)
STATE = encode_siblings(NEW)


class Traced:
    """A trace, a clock that the test sets, and replicas."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.trace = Trace(lambda: self.now_s)
        self.replicas = Replicas()

    def read(self, slots: tuple[Slot, ...] = PRIMARIES, r: int = 2) -> Read:
        read = Read(
            b"key",
            slots,
            ReadQuorum(n=3, r=r),
            me=N1,
            send=self.replicas.send,
            replica_timeout_s=1.0,
            repair_until_s=asyncio.get_running_loop().time() + 10.0,
            counters=Counters(),
            notes=self.trace.begin_read(N1),
        )
        read.start()
        return read

    def write(
        self,
        slots: tuple[Slot, ...] = PRIMARIES,
        stand_ins: tuple[NodeId, ...] = (),
        w: int = 2,
    ) -> Write:
        write = Write(
            b"key",
            slots,
            WriteQuorum(n=3, w=w),
            me=N1,
            send=self.replicas.send,
            primaries=lambda: (N1, N2, N3),
            stand_ins=lambda: list(stand_ins),
            replica_timeout_s=1.0,
            replaces_until_s=asyncio.get_running_loop().time() + 10.0,
            counters=Counters(),
            notes=self.trace.begin_write(N1),
        )
        write.start(STATE, stored_by=N1)
        return write

    def read_account(self) -> Account:
        account = self.trace.receipt().read
        assert account is not None
        return account

    def write_account(self) -> Account:
        account = self.trace.receipt().write
        assert account is not None
        return account

    async def is_whole(self) -> bool:
        """Whether nobody is awaited any more."""
        waiting = asyncio.create_task(self.trace.whole(asyncio.get_running_loop().time() + 60))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        whole = waiting.done()
        waiting.cancel()
        return whole


def told(account: Account) -> dict[NodeId, tuple[Outcome, str]]:
    return {answer.node: (answer.outcome, answer.version) for answer in account.replicas}


def tag(state: Siblings) -> str:
    return version_tag(clock_of(encode_siblings(state)))


async def test_a_read_tells_who_holds_which_version_and_whom_it_repaired() -> None:
    traced = Traced()
    read = traced.read((Slot(N1), Slot(N2), Slot(N4, N3)))
    traced.now_s += 0.002
    traced.replicas.answer(N1, Held(STATE))
    traced.replicas.answer(N2, Held(clock_of(encode_siblings(OLD))))
    await read.done
    assert told(traced.read_account()) == {
        N1: (Outcome.FOUND, tag(NEW)),
        N2: (Outcome.FOUND, tag(OLD)),
        N4: (Outcome.NO_ANSWER, ""),
    }
    assert not await traced.is_whole()
    traced.replicas.answer(N4, Held(MISSING))
    assert told(traced.read_account())[N4] == (Outcome.MISSING, "")
    assert not await traced.is_whole(), "a repair is under way"
    traced.now_s += 0.003
    traced.replicas.answer(N2, Done())
    assert await traced.is_whole()
    account = traced.read_account()
    assert account.repairs == (
        ReplicaAnswer(node=N2, outcome=Outcome.STORED, version=tag(NEW), took_ms=5.0),
    )
    assert account.replicas[2].stands_in_for == N3
    assert account.replicas[0].took_ms == 2.0


async def test_an_object_that_is_fetched_is_awaited_and_one_that_does_not_come_has_failed() -> None:
    traced = Traced()
    read = traced.read(r=1)
    traced.replicas.answer(N1, Held(MISSING))
    traced.replicas.answer(N2, Held(clock_of(STATE)))
    traced.replicas.answer(N3, Held(MISSING))
    await read.done
    assert not await traced.is_whole()
    traced.replicas.answer(N2, PeerLost("n2 did not answer in time"))
    assert await traced.is_whole()
    assert told(traced.read_account())[N2][0] is Outcome.NO_ANSWER


async def test_every_way_to_fail_is_told_apart() -> None:
    traced = Traced()
    read = traced.read()
    traced.replicas.answer(N1, StorageError("the disk cannot be read"))
    traced.replicas.answer(N2, PeerLost("n2 did not answer in time"))
    traced.replicas.answer(N3, Held(b"nonsense"))
    with pytest.raises(QuorumError):
        await read.done
    assert [(answer.outcome, answer.reason) for answer in traced.read_account().replicas] == [
        (Outcome.FAILED, "the disk cannot be read"),
        (Outcome.NO_ANSWER, "n2 did not answer in time"),
        (Outcome.FAILED, "its answer makes no sense"),
    ]
    assert await traced.is_whole()


async def test_a_write_tells_who_stood_in_and_for_whom_a_hint_was_kept() -> None:
    traced = Traced()
    write = traced.write(stand_ins=(N4,), w=3)
    write.on_reply(N1, Done())
    traced.replicas.answer(N2, PeerUnreachable("no connection to n2"))
    traced.replicas.answer(N3, to_failed(Overloaded("too much to do")))
    traced.replicas.answer(N4, Done())
    with pytest.raises(QuorumError, match="W-value unsatisfied: 1/3") as caught:
        await write.done
    assert not await traced.is_whole(), "the hint is on its way to the disk"
    traced.replicas.answer(N1, Done())
    assert await traced.is_whole()
    account = traced.write_account()
    assert account.version == tag(NEW)
    assert account.replicas == (
        ReplicaAnswer(node=N1, outcome=Outcome.STORED, took_ms=0.0),
        ReplicaAnswer(node=N2, outcome=Outcome.FAILED, reason="no connection to n2", took_ms=0.0),
        ReplicaAnswer(node=N3, outcome=Outcome.FAILED, reason="too much to do", took_ms=0.0),
        ReplicaAnswer(node=N4, outcome=Outcome.STORED, stands_in_for=N2, took_ms=0.0),
    )
    assert account.hints == (
        ReplicaAnswer(node=N1, outcome=Outcome.STORED, stands_in_for=N3, took_ms=0.0),
    )
    traced.trace.attach_to(caught.value)
    assert caught.value.acks == 2, "what came in after the quorum was lost counts"
    assert '"n4"' in caught.value.receipt


async def test_waiting_for_a_receipt_ends_at_its_deadline() -> None:
    traced = Traced()
    traced.write()
    await traced.trace.whole(asyncio.get_running_loop().time() - 1.0)
    await traced.trace.whole(asyncio.get_running_loop().time() + 0.001)
    assert told(traced.write_account())[N2] == (Outcome.NO_ANSWER, "")


async def test_nonsense_from_who_coordinated_costs_the_details_and_not_the_write(
    caplog: pytest.LogCaptureFixture,
) -> None:
    traced = Traced()
    traced.trace.forwarded(N2, N1)
    with caplog.at_level(logging.ERROR):
        traced.trace.told(N2, N1, "[", 0.5)
    assert [record.getMessage() for record in caplog.records] == ["a receipt makes no sense"]
    assert traced.write_account() == Account(coordinator=N2, forwarded_by=N1)


async def test_a_write_that_nobody_took_over_tells_of_who_coordinated_it_instead() -> None:
    traced = Traced()
    traced.trace.forwarded(N2, N1)
    traced.write()
    assert (traced.write_account().coordinator, traced.write_account().forwarded_by) == (N1, None)


async def test_a_forwarded_write_tells_what_the_way_added() -> None:
    traced = Traced()
    traced.trace.forwarded(N2, N1)
    receipt = '{"write":{"coordinator":"n2","met_ms":3,"took_ms":10,"replicas":[]}}'
    traced.trace.told(N2, N1, receipt, 0.012)
    assert traced.write_account() == Account(
        coordinator=N2, forwarded_by=N1, met_ms=3.0, took_ms=10.0, hop_ms=2.0
    )
