"""What only a real disk does: full, gone wrong, and the process killed."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from dynamo.errors import CommitFailed, StartupError, StorageError
from dynamo.storage.engine import Delete, Put, Table
from dynamo.storage.lmdb_engine import Durability, LmdbEngine
from tests.unit.storage.engines import committed, writes_cut_short

OBJECTS = Table.OBJECTS


class FullDiskEngine(LmdbEngine):
    """Its disk has nothing left."""

    def _free_bytes(self) -> int:
        return 0


async def in_one_group(engine: LmdbEngine, *puts: Put) -> list[StorageError | None]:
    return await asyncio.gather(*[committed(engine, put) for put in puts])


async def test_only_what_does_not_fit_the_map_fails(tmp_path: Path) -> None:
    engine = LmdbEngine(tmp_path, map_bytes_max=2**18)
    small, large = b"v" * 10, b"v" * 2**18
    told = await in_one_group(
        engine,
        Put(OBJECTS, b"1", small),
        Put(OBJECTS, b"2", large),
        Put(OBJECTS, b"3", small),
    )
    assert told[0] is told[2] is None
    assert isinstance(told[1], CommitFailed)
    assert "no room on the disk" in str(told[1])
    assert engine.scan(OBJECTS, b"", None, 5) == [(b"1", small), (b"3", small)]
    await engine.close()


async def test_a_map_that_filled_up_takes_again_what_fits_after_a_deletion(
    tmp_path: Path,
) -> None:
    engine = LmdbEngine(tmp_path, map_bytes_max=2**20)
    value = b"v" * 20_000
    stored = 0
    while await committed(engine, Put(OBJECTS, b"%d" % stored, value)) is None:
        stored += 1
    assert stored > 20
    assert len(engine.scan(OBJECTS, b"", None, 1000)) == stored
    for number in range(stored // 2):
        assert await committed(engine, Delete(OBJECTS, b"%d" % number)) is None
    assert await committed(engine, Put(OBJECTS, b"fits", value)) is None
    await engine.close()


async def test_only_what_does_not_fit_the_disk_fails(tmp_path: Path) -> None:
    engine = FullDiskEngine(tmp_path)
    small, large = b"v" * 10, b"v" * 100_000
    for operation in (Put(OBJECTS, b"0", large), Delete(OBJECTS, b"0"), Put(OBJECTS, b"0", small)):
        await committed(engine, operation)  # now the file has free pages to reuse
    with writes_cut_short(tmp_path):
        told = await in_one_group(engine, Put(OBJECTS, b"1", large * 10), Put(OBJECTS, b"2", small))
    assert isinstance(told[0], CommitFailed)
    assert "no room on the disk" in str(told[0])
    assert told[1] is None
    assert await committed(engine, Put(OBJECTS, b"1", large * 10)) is None
    await engine.close()


async def test_a_write_cut_short_with_room_left_is_a_failing_disk(tmp_path: Path) -> None:
    engine = LmdbEngine(tmp_path)
    with writes_cut_short(tmp_path):
        error = await committed(engine, Put(OBJECTS, b"1", b"v" * 100_000))
    assert "the disk failed" in str(error)
    assert str(await committed(engine, Put(OBJECTS, b"2", b"v"))) == str(error)
    await engine.close()


async def test_a_store_that_cannot_be_opened_says_where_and_why(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"this was never a store" * 1000)
    with pytest.raises(StartupError, match=f"{tmp_path} cannot be opened"):
        LmdbEngine(tmp_path)
    with pytest.raises(StartupError, match="Not a directory"):
        LmdbEngine(tmp_path / "data.mdb")


async def test_a_store_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    engine = LmdbEngine(tmp_path)
    engine._env.close()
    with pytest.raises(StorageError, match="cannot read objects"):
        engine.get(OBJECTS, b"k")
    with pytest.raises(StorageError, match="cannot read objects"):
        engine.scan(OBJECTS, b"", None, 1)
    await engine.close()


def test_an_engine_whose_loop_was_closed_ends_without_noise(tmp_path: Path) -> None:
    async def abandon() -> LmdbEngine:
        return LmdbEngine(tmp_path)

    engine = asyncio.run(abandon())
    engine._groups.put([])  # it ends with this group, and nobody is there to hear of it
    engine._writer.join()


async def test_the_writer_need_not_wait_long_for_the_interpreter(tmp_path: Path) -> None:
    engine = LmdbEngine(tmp_path)
    assert sys.getswitchinterval() < 50e-6
    await engine.close()


async def test_reads_do_not_keep_old_pages(tmp_path: Path) -> None:
    engine = LmdbEngine(tmp_path)
    value = b"v" * 100_000
    for _ in range(50):
        assert await committed(engine, Put(OBJECTS, b"k", value)) is None
        engine.get(OBJECTS, b"k")
        engine.scan(OBJECTS, b"", None, 1)
    assert (tmp_path / "data.mdb").stat().st_size < 10 * len(value)
    await engine.close()


WRITER = """
import asyncio, pathlib, sys
from dynamo.storage.engine import Put, Table
from dynamo.storage.lmdb_engine import LmdbEngine

async def write_until_killed():
    engine = LmdbEngine(pathlib.Path(sys.argv[1]), durability=sys.argv[2])
    loop = asyncio.get_running_loop()

    async def write(writer):
        for number in range(10**9):
            told = loop.create_future()
            key = b"%d-%d" % (writer, number)
            engine.commit([Put(Table.OBJECTS, key, key * 50)], told.set_result)
            assert await told is None
            print(key.decode(), flush=True)

    await asyncio.gather(*[write(writer) for writer in range(8)])

asyncio.run(write_until_killed())
"""


@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_what_was_acknowledged_survives_sigkill(tmp_path: Path, durability: Durability) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path), durability], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(500)]
        writer.kill()
        lines += writer.stdout.readlines()
    acknowledged = [line.strip() for line in lines if line.endswith(b"\n")]
    assert len(acknowledged) >= 500

    async def check() -> None:
        engine = LmdbEngine(tmp_path)
        for key in acknowledged:
            assert engine.get(OBJECTS, key) == key * 50
        assert await committed(engine, Put(OBJECTS, b"k", b"v")) is None
        await engine.close()

    asyncio.run(check())


async def test_data_file_that_lost_its_content_is_not_taken_for_a_new_store(tmp_path: Path) -> None:
    engine = LmdbEngine(tmp_path)
    await engine.close()
    (tmp_path / "data.mdb").write_bytes(b"")
    with pytest.raises(StartupError, match="is empty: its content was lost"):
        LmdbEngine(tmp_path)
