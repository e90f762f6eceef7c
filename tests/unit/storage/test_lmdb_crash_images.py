"""What a power cut or a failed flush leaves of an LMDB file: the state before a commit or after.

A commit of LMDB writes its pages where no page of the state before is, frees those it replaced for
the commits after the next, flushes, and then writes one of the two meta pages, which makes the new
pages the state. So until that page is there, whatever the disk took of the others must not matter:
all, none, some of the pages, some of their sectors, a longer file with or without something in it.
Here the file is compared before and after each commit of a trace, such images are made from the
difference, and each is opened and read.

Trusted is what no image can show: that the meta page is written after the rest was flushed, and
that its first sector, 512 bytes of which a commit writes 120, is not torn. Seen with strace of a
commit with durability "fsync": `writev` and `pwrite64` of the data pages, `fdatasync`,
`pwrite64` of 120 bytes at offset 32 of a meta page, through a descriptor opened with O_DSYNC; the
acknowledgement after that.
"""

import asyncio
import errno
import mmap
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import lmdb
import pytest

from dynamo.errors import CommitFailed
from dynamo.storage.engine import Delete, Operation, Put, Table
from dynamo.storage.lmdb_engine import LmdbEngine
from tests.unit.storage.engines import committed

Pairs = dict[Table, dict[bytes, bytes]]

COMMITS = 200

PAGE_BYTES = mmap.PAGESIZE
SECTOR_BYTES = 512
META_PAGES = (0, 1)

# Of a page's header in LMDB's format.
FLAGS_AT = 10
BRANCH, OVERFLOW = 0x01, 0x04


class Step(NamedTuple):
    """One commit: the file and what it holds, before and after."""

    batch: list[Operation]
    file_before: bytes
    file_after: bytes
    pairs_before: Pairs
    pairs_after: Pairs

    @property
    def changed_pages(self) -> list[int]:
        """The pages that differ, those that are new included."""
        return [
            page
            for page in range(len(self.file_after) // PAGE_BYTES)
            if part(self.file_before, page, PAGE_BYTES) != part(self.file_after, page, PAGE_BYTES)
        ]

    @property
    def data_pages(self) -> list[int]:
        return [page for page in self.changed_pages if page not in META_PAGES]

    @property
    def meta_page(self) -> int:
        (page,) = [page for page in self.changed_pages if page in META_PAGES]
        return page


def part(file: bytes, number: int, size: int) -> bytes:
    return file[number * size : (number + 1) * size]


# -- the trace -----------------------------------------------------------------------------------


async def steps(path: Path, dice: random.Random) -> AsyncIterator[Step]:
    """A store that grows, shrinks and is written over, commit by commit."""
    engine = LmdbEngine(path)
    file = (path / "data.mdb").read_bytes()
    pairs: Pairs = {table: {} for table in Table}
    for number in range(COMMITS):
        batch = drawn_batch(dice, pairs, is_shrinking=number // 25 % 2 == 1)
        assert await committed(engine, *batch) is None
        after, pairs_after = (path / "data.mdb").read_bytes(), changed(pairs, batch)
        yield Step(batch, file, after, pairs, pairs_after)
        file, pairs = after, pairs_after
    await engine.close()


def drawn_batch(dice: random.Random, pairs: Pairs, *, is_shrinking: bool) -> list[Operation]:
    batch: list[Operation] = []
    for _ in range(dice.randint(1, 6)):
        table = dice.choice(list(Table))
        if pairs[table] and dice.random() < (0.7 if is_shrinking else 0.2):
            batch.append(Delete(table, dice.choice(list(pairs[table]))))
        else:
            key = b"%d" % dice.randrange(100) * dice.choice([1, 1, 100])
            batch.append(Put(table, key, dice.randbytes(drawn_size(dice))))
    return batch


def drawn_size(dice: random.Random) -> int:
    """Small ones share a page, of more than half a page each has pages of its own."""
    return dice.choice([dice.randint(10, 200), dice.randint(500, 1900), dice.randint(2100, 20_480)])


def changed(pairs: Pairs, batch: Iterable[Operation]) -> Pairs:
    pairs = {table: dict(values) for table, values in pairs.items()}
    for operation in batch:
        if isinstance(operation, Put):
            pairs[operation.table][operation.key] = operation.value
        else:
            pairs[operation.table].pop(operation.key, None)
    return pairs


# -- the images ----------------------------------------------------------------------------------


def images_before_the_meta_page(step: Step, dice: random.Random) -> Iterator[tuple[str, bytes]]:
    pages = step.data_pages
    everything = sectors_of(pages)
    old_size, new_size = len(step.file_before), len(step.file_after)

    def drawn_end() -> int:
        return dice.choice([old_size, new_size, new_size + dice.randrange(3 * PAGE_BYTES)])

    yield "no page", image(step, [], old_size, dice)
    yield "all data pages", image(step, everything, new_size, dice)
    yield "all that fit the old length", image(step, everything, old_size, dice)
    yield "a longer file, nothing in it", image(step, [], drawn_end(), dice)
    for _ in range(2):
        some_pages = dice.sample(pages, dice.randint(0, len(pages)))
        yield f"pages {some_pages}", image(step, sectors_of(some_pages), drawn_end(), dice)
    some_sectors = dice.sample(everything, dice.randint(0, len(everything)))
    yield f"sectors {some_sectors}", image(step, some_sectors, drawn_end(), dice)


def images_with_the_meta_page(step: Step, dice: random.Random) -> Iterator[tuple[str, bytes]]:
    everything = sectors_of([*step.data_pages, step.meta_page])
    size = len(step.file_after)
    yield "all pages", image(step, everything, size, dice)
    yield "all pages and more", image(step, everything, size + dice.randrange(2**15), dice)


def sectors_of(pages: Iterable[int]) -> list[int]:
    per_page = PAGE_BYTES // SECTOR_BYTES
    return [page * per_page + number for page in pages for number in range(per_page)]


def image(step: Step, sectors: Iterable[int], size: int, dice: random.Random) -> bytes:
    """The file before, `size` bytes long, with these sectors as they are after.

    What is behind the old end and was not written is zeros or anything.
    """
    tail = size - len(step.file_before)
    content = bytearray(step.file_before)
    content += bytes(tail) if dice.random() < 0.5 else dice.randbytes(tail)
    for sector in sectors:
        written = part(step.file_after, sector, SECTOR_BYTES)
        if (sector + 1) * SECTOR_BYTES <= size:
            content[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES] = written
    return bytes(content)


class Place:
    """Where images are opened, one after the other."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self._path = path
        self._file = path / "data.mdb"
        self._file.touch()

    def open(self, content: bytes) -> LmdbEngine:
        # Not written anew: a file system may flush one that was cut to nothing before.
        with self._file.open("r+b") as file:
            file.write(content)
            file.truncate()
        return LmdbEngine(self._path, durability="os")

    async def pairs_of(self, content: bytes) -> Pairs:
        engine = self.open(content)
        try:
            return pairs_in(engine)
        finally:
            await engine.close()


def pairs_in(engine: LmdbEngine) -> Pairs:
    return {table: dict(engine.scan(table, b"", None, 10_000)) for table in Table}


# -- power cuts ----------------------------------------------------------------------------------


async def test_a_power_cut_at_any_moment_of_a_commit_leaves_the_state_before_or_after_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "store").mkdir()
    place, dice = Place(tmp_path / "image"), random.Random(1)
    seen: Counter[str] = Counter()
    async for step in steps(tmp_path / "store", random.Random("cuts")):
        for what, content in images_before_the_meta_page(step, dice):
            assert await place.pairs_of(content) == step.pairs_before, what
        for what, content in images_with_the_meta_page(step, dice):
            assert await place.pairs_of(content) == step.pairs_after, what
        seen += what_happened_in(step)
    # Otherwise the trace was too tame to show anything.
    assert min(seen[kind] for kind in ("written over", "behind the end", "branch", "overflow")) > 50


def what_happened_in(step: Step) -> Counter[str]:
    seen: Counter[str] = Counter()
    for page in step.data_pages:
        content = part(step.file_after, page, PAGE_BYTES)
        flags = int.from_bytes(content[FLAGS_AT : FLAGS_AT + 2], "little")
        is_new = page * PAGE_BYTES >= len(step.file_before)
        seen["behind the end" if is_new else "written over"] += 1
        seen["branch"] += flags == BRANCH
        seen["overflow"] += flags == OVERFLOW
    return seen


async def test_the_commit_that_a_power_cut_undid_can_be_done_again(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    place, dice = Place(tmp_path / "image"), random.Random(3)
    async for step in steps(tmp_path / "store", random.Random("again")):
        what, content = dice.choice(list(images_before_the_meta_page(step, dice)))
        engine = place.open(content)
        assert await committed(engine, *step.batch) is None
        assert pairs_in(engine) == step.pairs_after, what
        await engine.close()


async def test_a_commit_writes_of_the_meta_page_only_its_first_sector(tmp_path: Path) -> None:
    per_page = PAGE_BYTES // SECTOR_BYTES
    async for step in steps(tmp_path, random.Random("meta")):
        differing = [
            sector
            for sector in sectors_of([step.meta_page])
            if part(step.file_before, sector, SECTOR_BYTES)
            != part(step.file_after, sector, SECTOR_BYTES)
        ]
        assert differing == [step.meta_page * per_page]


async def test_a_meta_page_that_came_before_the_rest_would_be_noticed(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    place, dice = Place(tmp_path / "image"), random.Random(4)
    noticed = 0
    async for step in steps(tmp_path / "store", random.Random("early")):
        # Inside a large value: a missing page of the tree would bring LMDB down, and this process.
        inside = [page for page in step.data_pages if is_inside_a_value(step, page)]
        if not inside:
            continue
        missing = dice.choice(inside)
        landed = [page for page in step.changed_pages if page != missing]
        content = image(step, sectors_of(landed), len(step.file_after), dice)
        pairs = await place.pairs_of(content)
        assert pairs not in (step.pairs_before, step.pairs_after)
        noticed += 1
    assert noticed > 20


def is_inside_a_value(step: Step, page: int) -> bool:
    content = part(step.file_after, page, PAGE_BYTES)
    return any(
        content in value for values in step.pairs_after.values() for value in values.values()
    )


# -- failed flushes ------------------------------------------------------------------------------


class FailingOnce:
    """An environment of LMDB for writing. Its next flush fails; others would succeed.

    Attributes:
        commits: how many transactions came to their flush.
    """

    def __init__(self, env: lmdb.Environment) -> None:
        self.commits = 0
        self._env = env

    def close(self) -> None:
        self._env.close()

    @contextmanager
    def begin(self, *, write: bool) -> Iterator[lmdb.Transaction]:
        with self._env.begin(write=write) as writing:
            yield writing
            self.commits += 1
            if self.commits == 1:
                error = lmdb.Error("mdb_txn_commit: Input/output error")
                vars(error)["code"] = errno.EIO
                raise error  # and what was written is abandoned


async def test_a_failed_flush_is_not_tried_again_and_nothing_is_acknowledged_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = LmdbEngine(tmp_path)
    assert await committed(engine, Put(Table.OBJECTS, b"before", b"1")) is None
    env = FailingOnce(engine._env)
    monkeypatch.setattr(engine, "_env", env)
    group = [committed(engine, Put(Table.OBJECTS, b"%d" % number, b"2")) for number in range(3)]
    told = await asyncio.gather(*group)
    assert [type(error) for error in told] == [CommitFailed] * 3
    assert engine.failure is told[0]
    assert await committed(engine, Put(Table.OBJECTS, b"later", b"3")) is engine.failure
    assert await committed(engine, Delete(Table.OBJECTS, b"before")) is engine.failure
    assert env.commits == 1
    await engine.close()
    reopened = LmdbEngine(tmp_path)
    assert pairs_in(reopened)[Table.OBJECTS] == {b"before": b"1"}
    assert await committed(reopened, Put(Table.OBJECTS, b"later", b"3")) is None
    await reopened.close()
