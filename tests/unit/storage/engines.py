"""Both engines, each with what it is opened on, so that one suite of tests serves for both."""

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from dynamo.errors import StorageError
from dynamo.storage.engine import Engine, Operation
from dynamo.storage.lmdb_engine import LmdbEngine
from dynamo.storage.memory_engine import Disk, Fault, MemoryEngine

QUEUED_BYTES_MAX = 64 * 2**20


class Medium(Protocol):
    """What survives an engine."""

    def open(self, *, queued_bytes_max: int = QUEUED_BYTES_MAX) -> Engine:
        """An engine over it."""
        ...

    @contextmanager
    def failing_flush(self, engine: Engine) -> Iterator[None]:
        """The next group of large values that is committed inside fails to reach the disk."""
        ...


class MemoryMedium:
    """A disk in memory."""

    def __init__(self) -> None:
        self.disk = Disk()

    def open(self, *, queued_bytes_max: int = QUEUED_BYTES_MAX) -> MemoryEngine:
        return MemoryEngine(self.disk, queued_bytes_max=queued_bytes_max)

    @contextmanager
    def failing_flush(self, engine: Engine) -> Iterator[None]:
        assert isinstance(engine, MemoryEngine)
        engine.fail_next_commit(Fault.FLUSH)
        yield


class LmdbMedium:
    """A directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self, *, queued_bytes_max: int = QUEUED_BYTES_MAX) -> LmdbEngine:
        return LmdbEngine(self.path, queued_bytes_max=queued_bytes_max)

    @contextmanager
    def failing_flush(self, engine: Engine) -> Iterator[None]:
        with writes_cut_short(self.path):
            yield


@contextmanager
def writes_cut_short(path: Path) -> Iterator[None]:
    """This process cannot write a file much beyond the length of the store's.

    The system cuts the write that crosses the limit short, which LMDB reports as EIO.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (path / "data.mdb").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def committed(engine: Engine, *batch: Operation) -> StorageError | None:
    """Commit one batch and wait: what on_commit was told."""
    told: asyncio.Future[StorageError | None] = asyncio.get_running_loop().create_future()
    engine.commit(batch, told.set_result)
    return await told
