"""What only the engine of simulations does: delays, crashes and faults on order."""

import asyncio
import random

import pytest

from dynamo.errors import CommitFailed, Corrupted, StorageError
from dynamo.storage.engine import Delete, Put, Table
from dynamo.storage.memory_engine import Disk, Fault, MemoryEngine
from dynamo.storage.records import seal, unseal
from tests.unit.storage.engines import committed

OBJECTS = Table.OBJECTS

K1, K2, K3 = (Put(OBJECTS, b"%d" % number, b"v") for number in (1, 2, 3))


def stored(disk: Disk) -> list[bytes]:
    return [key for key, _ in disk.scan(OBJECTS, b"", None, 100)]


async def test_a_group_takes_its_delay_and_what_comes_meanwhile_is_the_next() -> None:
    delays = iter([0.002, 0.001])
    disk = Disk()
    engine = MemoryEngine(disk, delay_s=lambda: next(delays))
    seen: list[list[bytes]] = []
    engine.commit([K1], lambda error: seen.append(stored(disk)))
    engine.commit([K2], lambda error: seen.append(stored(disk)))
    await asyncio.sleep(0)
    assert await committed(engine, K3) is None
    assert seen == [[b"1", b"2"]] * 2
    assert stored(disk) == [b"1", b"2", b"3"]
    assert next(delays, None) is None


async def test_a_crash_loses_what_is_not_durable_and_tells_nobody() -> None:
    disk = Disk()
    engine = MemoryEngine(disk)
    await committed(engine, K1)
    told: list[StorageError | None] = []
    engine.commit([K2], told.append)
    engine.crash()
    reopened = MemoryEngine(disk)
    assert await committed(reopened, K3) is None
    assert told == []
    assert stored(disk) == [b"1", b"3"]


async def test_a_crash_between_gathering_and_storing_loses_the_group() -> None:
    disk = Disk()
    engine = MemoryEngine(disk, delay_s=lambda: 0.001)
    told: list[StorageError | None] = []
    engine.commit([K1], told.append)
    await asyncio.sleep(0)  # the group is under way
    engine.commit([K2], told.append)
    engine.crash()
    await committed(MemoryEngine(disk, delay_s=lambda: 0.002), K3)
    assert told == []
    assert stored(disk) == [b"3"]


@pytest.mark.parametrize(
    ("survivors", "kept"),
    [(0, []), (1, [b"1"]), (2, [b"2", b"3"]), (3, [b"2", b"3"])],
)
async def test_a_crash_keeps_so_many_whole_batches_of_the_group_under_way(
    survivors: int, kept: list[bytes]
) -> None:
    disk = Disk()
    engine = MemoryEngine(disk, delay_s=lambda: 60.0)
    told: list[StorageError | None] = []
    engine.commit([K1], told.append)
    engine.commit([Delete(OBJECTS, K1.key), K2, K3], told.append)
    assert engine.under_way == 0
    await asyncio.sleep(0)
    engine.commit([Put(OBJECTS, b"of the next group", b"v")], told.append)
    assert engine.under_way == 2
    engine.crash(survivors)
    assert told == []
    assert stored(disk) == kept


async def test_nothing_is_under_way_once_it_was_acknowledged() -> None:
    disk = Disk()
    engine = MemoryEngine(disk)
    await committed(engine, K1)
    await committed(engine, Delete(OBJECTS, K1.key))
    assert engine.under_way == 0
    engine.crash(survivors=2)
    assert stored(disk) == []


async def test_a_group_whose_flush_failed_may_be_there_after_a_crash_but_nothing_behind_it() -> (
    None
):
    disk = Disk()
    engine = MemoryEngine(disk)
    engine.fail_next_commit(Fault.FLUSH)
    assert await committed(engine, K1) is not None
    assert await committed(engine, K2) is not None
    assert stored(disk) == []
    engine.crash(survivors=2)
    assert stored(disk) == [b"1"]


async def test_a_batch_that_does_not_fit_fails_alone() -> None:
    disk = Disk()
    engine = MemoryEngine(disk)
    engine.fail_next_commit(Fault.FULL)
    told = await asyncio.gather(committed(engine, K1), committed(engine, K2))
    assert isinstance(told[0], CommitFailed)
    assert told[1] is None
    assert stored(disk) == [b"2"]


async def test_a_failed_flush_takes_the_whole_group_along() -> None:
    disk = Disk()
    engine = MemoryEngine(disk)
    told: list[StorageError | None] = []
    engine.commit([K1], told.append)
    engine.fail_next_commit(Fault.FULL)
    engine.fail_next_commit(Fault.FLUSH)
    engine.commit([K2], told.append)
    await committed(engine, K3)
    assert [type(error) for error in told] == [CommitFailed, CommitFailed]
    assert stored(disk) == []


async def test_a_copy_of_a_disk_can_be_restored_and_a_disk_wiped() -> None:
    disk = Disk()
    await committed(MemoryEngine(disk), K1)
    backup = disk.copy()
    await committed(MemoryEngine(disk), K2)
    assert stored(backup) == [b"1"]
    assert backup.get(OBJECTS, b"2") is None
    disk.restore(backup)
    await committed(MemoryEngine(disk), K3)
    assert stored(disk) == [b"1", b"3"]
    assert stored(backup) == [b"1"]
    disk.wipe()
    assert stored(disk) == []
    assert disk.get(OBJECTS, b"1") is None


async def test_a_full_disk_refuses_every_batch_until_there_is_room_again() -> None:
    disk = Disk()
    engine = MemoryEngine(disk)
    await committed(engine, K1)
    disk.full = True
    told = await asyncio.gather(committed(engine, K2), committed(engine, Delete(OBJECTS, K1.key)))
    assert [str(error) for error in told] == ["the disk is full"] * 2
    assert engine.failure is None
    assert stored(disk) == [b"1"]
    disk.full = False
    assert await committed(engine, K3) is None
    assert stored(disk) == [b"1", b"3"]


async def test_nothing_survives_on_a_disk_that_was_full() -> None:
    disk = Disk()
    engine = MemoryEngine(disk, delay_s=lambda: 60.0)
    engine.commit([K1], lambda error: None)
    await asyncio.sleep(0)
    disk.full = True
    engine.crash(survivors=1)
    assert stored(disk) == []


async def test_a_disk_that_lies_loses_what_it_acknowledged_since_at_the_next_power_cut() -> None:
    disk = Disk()
    engine = MemoryEngine(disk)
    await committed(engine, K1)
    disk.lie()
    assert await committed(engine, K2) is None
    disk.lie()  # it lies already: what it has kept is of before
    assert await committed(engine, Delete(OBJECTS, K1.key)) is None
    assert stored(disk) == [b"2"]
    engine.crash()
    disk.lose_tail()
    assert stored(disk) == [b"1"]
    await committed(MemoryEngine(disk), K3)
    disk.lose_tail()  # honest again
    assert stored(disk) == [b"1", b"3"]


async def test_what_was_restored_or_wiped_on_a_disk_that_lies_stays_so() -> None:
    disk = Disk()
    await committed(MemoryEngine(disk), K1)
    disk.lie()
    disk.wipe()
    disk.lose_tail()
    assert stored(disk) == []


def test_a_flipped_bit_is_noticed_by_the_checksum_of_a_record() -> None:
    dice = random.Random(1)
    for _ in range(200):
        disk = Disk()
        disk.apply(Put(OBJECTS, b"place", seal(b"place", b"place", b"payload")))
        disk.corrupt(OBJECTS, b"place", dice)
        record = disk.get(OBJECTS, b"place")
        assert record is not None
        with pytest.raises(Corrupted):
            unseal(b"place", 0, record)
