"""What the engines tell of their commits."""

import asyncio
from pathlib import Path

import pytest

from dynamo.errors import StorageError
from dynamo.storage.engine import Delete, Put, Table
from dynamo.storage.memory_engine import Disk, Fault, MemoryEngine
from tests.unit.storage.engines import LmdbMedium, Medium, MemoryMedium, committed


@pytest.fixture(params=["memory", "lmdb"])
def medium(request: pytest.FixtureRequest, tmp_path: Path) -> Medium:
    return MemoryMedium() if request.param == "memory" else LmdbMedium(tmp_path)


async def test_commits_are_counted_by_group_by_batch_and_by_byte(medium: Medium) -> None:
    engine = medium.open()
    assert engine.commit_counts == (0, 0, 0)
    ends: list[StorageError | None] = []
    engine.commit([Put(Table.META, b"key", b"value"), Delete(Table.META, b"k")], ends.append)
    engine.commit([Put(Table.META, b"other", b"")], ends.append)
    assert engine.commit_counts == (0, 0, 0), "what is under way is not counted"
    await committed(engine, Put(Table.META, b"last", b"12345"))
    assert engine.commit_counts == (1, 3, 3 + 5 + 1 + 5 + 4 + 5)
    await committed(engine, Delete(Table.META, b"last"))
    assert engine.commit_counts == (2, 4, 3 + 5 + 1 + 5 + 4 + 5 + 4)
    await engine.close()


async def test_what_was_not_stored_is_not_counted() -> None:
    engine = MemoryEngine(Disk())
    engine.fail_next_commit(Fault.FULL)
    ends = [asyncio.get_running_loop().create_future() for _ in range(2)]
    for key, end in zip((b"a", b"bb"), ends, strict=True):
        engine.commit([Put(Table.META, key, b"")], end.set_result)
    await asyncio.gather(*ends)
    assert engine.commit_counts == (1, 1, 2)
    engine.fail_next_commit(Fault.FLUSH)
    assert await committed(engine, Put(Table.META, b"c", b"")) is not None
    assert engine.commit_counts == (1, 1, 2)
    await engine.close()
