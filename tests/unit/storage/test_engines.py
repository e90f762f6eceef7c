"""The promises of the engine port, kept by every engine."""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from dynamo.errors import CommitFailed, Overloaded, StorageError
from dynamo.storage.engine import KEY_BYTES_MAX, Delete, Engine, Operation, Put, Table
from tests.unit.storage.engines import LmdbMedium, Medium, MemoryMedium, committed

T = TypeVar("T")

OBJECTS, HINTS, META = Table.OBJECTS, Table.HINTS, Table.META


@pytest.fixture(params=["memory", "lmdb"])
def medium(request: pytest.FixtureRequest, tmp_path: Path) -> Medium:
    return MemoryMedium() if request.param == "memory" else LmdbMedium(tmp_path)


@pytest.fixture
async def engine(medium: Medium) -> Any:
    engine = medium.open()
    yield engine
    await engine.close()


async def test_a_committed_batch_is_read_back_from_its_tables(engine: Engine) -> None:
    assert await committed(engine, Put(OBJECTS, b"k", b"1"), Put(HINTS, b"k", b"2")) is None
    assert engine.get(OBJECTS, b"k") == b"1"
    assert engine.get(HINTS, b"k") == b"2"
    assert engine.get(META, b"k") is None


async def test_operations_of_a_batch_are_done_in_order(engine: Engine) -> None:
    await committed(
        engine,
        Put(OBJECTS, b"a", b"1"),
        Delete(OBJECTS, b"a"),
        Delete(OBJECTS, b"absent"),
        Put(OBJECTS, b"b", b"1"),
        Put(OBJECTS, b"b", b"2"),
    )
    assert engine.scan(OBJECTS, b"", None, 10) == [(b"b", b"2")]


async def test_an_empty_value_is_not_an_absent_one(engine: Engine) -> None:
    await committed(engine, Put(OBJECTS, b"k", b""))
    assert engine.get(OBJECTS, b"k") == b""


async def test_the_pairs_of_a_table_are_counted(engine: Engine) -> None:
    await committed(
        engine, Put(OBJECTS, b"a", b"1"), Put(OBJECTS, b"b", b"1"), Put(META, b"a", b"")
    )
    await committed(engine, Put(OBJECTS, b"b", b"2"), Delete(OBJECTS, b"absent"))
    assert [engine.count(table) for table in (OBJECTS, META, HINTS)] == [2, 1, 0]
    await committed(engine, Delete(OBJECTS, b"a"))
    assert engine.count(OBJECTS) == 1


async def test_commit_returns_before_anything_is_stored_or_told(engine: Engine) -> None:
    told: list[StorageError | None] = []
    engine.commit([Put(OBJECTS, b"k", b"1")], told.append)
    assert told == []
    assert engine.get(OBJECTS, b"k") is None
    assert engine.queued_bytes > 0
    await committed(engine)
    assert told == [None]
    assert engine.get(OBJECTS, b"k") == b"1"


async def test_commits_end_in_the_order_of_their_calls(engine: Engine) -> None:
    ended: list[int] = []
    for number in range(20):
        engine.commit([Put(OBJECTS, b"k", b"%d" % number)], partial(_append, ended, number))
        if number % 3 == 0:
            await asyncio.sleep(0)  # so that they go in several groups
    await committed(engine)
    assert ended == list(range(20))
    assert engine.get(OBJECTS, b"k") == b"19"


def _append(ended: list[int], number: int, error: StorageError | None) -> None:
    assert error is None
    ended.append(number)


async def test_what_is_committed_in_on_commit_is_stored(engine: Engine) -> None:
    done: asyncio.Future[StorageError | None] = asyncio.get_running_loop().create_future()
    engine.commit(
        [Put(OBJECTS, b"a", b"1")],
        lambda error: engine.commit([Put(OBJECTS, b"b", b"2")], done.set_result),
    )
    assert await done is None
    assert engine.get(OBJECTS, b"b") == b"2"


async def test_a_failing_on_commit_does_not_keep_others_from_being_told(engine: Engine) -> None:
    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, problem: problems.append(problem))

    def fail(error: StorageError | None) -> None:
        raise ValueError("in on_commit")

    engine.commit([Put(OBJECTS, b"a", b"1")], fail)
    assert await committed(engine, Put(OBJECTS, b"b", b"2")) is None
    assert [str(problem["exception"]) for problem in problems] == ["in on_commit"]
    assert engine.queued_bytes == 0


async def test_a_scan_is_ordered_by_bytes_and_bounded(engine: Engine) -> None:
    keys = [b"b", b"a\x00", b"\xff\xff", b"a", b"\x00", b"ab"]
    await committed(engine, *[Put(OBJECTS, key, b"v" + key) for key in keys])
    ordered = [(key, b"v" + key) for key in [b"\x00", b"a", b"a\x00", b"ab", b"b", b"\xff\xff"]]
    assert engine.scan(OBJECTS, b"", None, 100) == ordered
    assert engine.scan(OBJECTS, b"a", b"b", 100) == ordered[1:4]
    assert engine.scan(OBJECTS, b"a\x00", None, 2) == ordered[2:4]
    assert engine.scan(OBJECTS, b"ac", b"zz", 100) == ordered[4:5]
    assert engine.scan(OBJECTS, b"b", b"a", 100) == []
    assert engine.scan(HINTS, b"", None, 100) == []


async def test_the_longest_key_can_be_kept_and_scanned_from(engine: Engine) -> None:
    key = b"\xff" * KEY_BYTES_MAX
    await committed(engine, Put(OBJECTS, key, b"1"))
    assert engine.get(OBJECTS, key) == b"1"
    assert engine.scan(OBJECTS, key, None, 5) == [(key, b"1")]


@pytest.mark.parametrize("key", [b"", b"k" * (KEY_BYTES_MAX + 1)])
async def test_a_key_that_does_not_fit_is_a_mistake_of_the_caller(
    engine: Engine, key: bytes
) -> None:
    with pytest.raises(AssertionError):
        engine.commit([Put(OBJECTS, key, b"1")], lambda error: None)


async def test_a_full_queue_refuses_and_takes_nothing(medium: Medium) -> None:
    engine = medium.open(queued_bytes_max=10_000)
    # Alone it may be of any size.
    large = asyncio.ensure_future(committed(engine, Put(OBJECTS, b"large", b"v" * 20_000)))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="10000"):
        engine.commit([Put(OBJECTS, b"refused", b"")], lambda error: None)
    assert await large is None
    assert await committed(engine, Put(OBJECTS, b"later", b"1")) is None
    assert [key for key, _ in engine.scan(OBJECTS, b"", None, 5)] == [b"large", b"later"]
    await engine.close()


async def test_closing_finishes_what_was_taken(medium: Medium) -> None:
    engine = medium.open()
    told: list[StorageError | None] = []
    for number in range(5):
        engine.commit([Put(OBJECTS, b"%d" % number, b"v")], told.append)
        await asyncio.sleep(0)
    await engine.close()
    assert told == [None] * 5
    with pytest.raises(AssertionError):
        engine.commit([], told.append)
    reopened = medium.open()
    assert len(reopened.scan(OBJECTS, b"", None, 10)) == 5
    await reopened.close()


async def test_after_a_failed_flush_nothing_is_stored_until_it_is_opened_again(
    medium: Medium,
) -> None:
    engine = medium.open()
    large = b"v" * 100_000
    assert await committed(engine, Put(OBJECTS, b"before", b"1")) is None
    with medium.failing_flush(engine):
        told: list[StorageError | None] = []
        engine.commit([Put(OBJECTS, b"failing", large)], told.append)
        engine.commit([Put(OBJECTS, b"same group", large)], told.append)
        await committed(engine)
    assert [type(error) for error in told] == [CommitFailed, CommitFailed]
    assert isinstance(await committed(engine, Put(OBJECTS, b"later", b"1")), CommitFailed)
    assert engine.scan(OBJECTS, b"", None, 10) == [(b"before", b"1")]
    assert engine.queued_bytes == 0
    await engine.close()
    reopened = medium.open()
    assert await committed(reopened, Put(OBJECTS, b"later", b"1")) is None
    assert [key for key, _ in reopened.scan(OBJECTS, b"", None, 10)] == [b"before", b"later"]
    await reopened.close()


# -- against a dict ------------------------------------------------------------------------------

tables = st.sampled_from([OBJECTS, HINTS])
keys = st.binary(min_size=1, max_size=3).map(lambda key: bytes(byte & 3 for byte in key))
operations = st.one_of(
    st.builds(Put, tables, keys, st.binary(max_size=8)), st.builds(Delete, tables, keys)
)


class EngineModel(RuleBasedStateMachine):
    """An engine beside one dict per table."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.model: dict[Table, dict[bytes, bytes]] = {OBJECTS: {}, HINTS: {}}

    def medium(self) -> Medium:
        raise NotImplementedError

    def run(self, doing: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(doing)

    async def opened(self) -> Engine:
        return self.kept.open()

    @initialize()
    def open_first(self) -> None:
        self.kept = self.medium()
        self.engine = self.run(self.opened())

    @rule(batches=st.lists(st.lists(operations, max_size=4), max_size=4))
    def commit(self, batches: list[list[Operation]]) -> None:
        async def commit_all() -> list[StorageError | None]:
            return await asyncio.gather(*[committed(self.engine, *batch) for batch in batches])

        assert self.run(commit_all()) == [None] * len(batches)
        for batch in batches:
            for operation in batch:
                if isinstance(operation, Put):
                    self.model[operation.table][operation.key] = operation.value
                else:
                    self.model[operation.table].pop(operation.key, None)

    @rule(table=tables, key=keys)
    def get(self, table: Table, key: bytes) -> None:
        assert self.engine.get(table, key) == self.model[table].get(key)

    @rule(table=tables, start=st.just(b"") | keys, stop=st.none() | keys, limit=st.integers(0, 6))
    def scan(self, table: Table, start: bytes, stop: bytes | None, limit: int) -> None:
        wanted = sorted(
            (key, value)
            for key, value in self.model[table].items()
            if key >= start and (stop is None or key < stop)
        )
        assert self.engine.scan(table, start, stop, limit) == wanted[:limit]

    @rule()
    def open_again(self) -> None:
        self.run(self.engine.close())
        self.engine = self.run(self.opened())

    def teardown(self) -> None:
        self.run(self.engine.close())
        self.loop.close()


class MemoryModel(EngineModel):
    def medium(self) -> Medium:
        return MemoryMedium()


class LmdbModel(EngineModel):
    def medium(self) -> Medium:
        self.path = Path(tempfile.mkdtemp())
        return LmdbMedium(self.path)

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.path)


TestMemoryEngineAgainstDicts = MemoryModel.TestCase
TestLmdbEngineAgainstDicts = LmdbModel.TestCase
TestMemoryEngineAgainstDicts.settings = settings(max_examples=30, stateful_step_count=15)
TestLmdbEngineAgainstDicts.settings = settings(
    max_examples=15, stateful_step_count=15, deadline=None
)


async def test_a_scan_of_large_values_ends_early_and_has_one_at_least(engine: Engine) -> None:
    rows = [(b"%d" % number, b"v" * 1000) for number in range(6)]
    await committed(engine, *(Put(OBJECTS, key, value) for key, value in rows))
    assert engine.scan(OBJECTS, b"", None, 10, 2500) == rows[:3]
    assert engine.scan(OBJECTS, b"", None, 2, 2500) == rows[:2]
    assert engine.scan(OBJECTS, b"", None, 10, 0) == rows[:1]
    assert engine.scan(OBJECTS, b"", None, 10, 10_000) == rows
