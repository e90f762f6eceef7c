"""What only the engine of simulations does: delays, crashes and faults on order."""

import asyncio

from dynamo.errors import CommitFailed, StorageError
from dynamo.storage.engine import Put, Table
from dynamo.storage.memory_engine import Disk, Fault, MemoryEngine
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
