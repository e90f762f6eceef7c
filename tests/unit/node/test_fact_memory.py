"""Facts on disk: kept, recalled, and not confused by what cannot be read."""

import asyncio

import pytest

from dynamo.core.facts import NAME_BYTES_MAX, Fact, FactBook, decode_fact, encode_fact
from dynamo.errors import CommitFailed
from dynamo.node import fact_memory
from dynamo.node.fact_memory import FactMemory
from dynamo.storage.engine import Put, Table
from dynamo.storage.memory_engine import Disk, Fault, MemoryEngine

OLD, NEW = Fact(b"mn1", b"1", b"old"), Fact(b"mn1", b"2", b"new")


async def test_newest_facts_are_recalled_after_a_restart() -> None:
    disk = Disk()
    book = FactBook([OLD, Fact(b"mn2", b"1", b"x")])
    memory = FactMemory(MemoryEngine(disk), book)
    memory.keep(b"mn2")
    book.merge(NEW)
    await memory.keep_durably(b"mn1")
    recalled = FactMemory(MemoryEngine(disk), FactBook()).recall()
    assert sorted(recalled) == [NEW, Fact(b"mn2", b"1", b"x")]


async def test_fact_that_the_book_does_not_have_yet_is_recalled_as_well() -> None:
    disk = Disk()
    memory = FactMemory(MemoryEngine(disk), FactBook([OLD]))
    await memory.write(NEW)
    assert FactMemory(MemoryEngine(disk), FactBook()).recall() == [NEW]


async def test_fact_that_does_not_decode_keeps_no_other_out() -> None:
    disk = Disk()
    memory = FactMemory(MemoryEngine(disk), FactBook([NEW]))
    await memory.keep_durably(b"mn1")
    disk.apply(Put(Table.META, b"fact:broken", b"\xc1"))
    assert FactMemory(MemoryEngine(disk), FactBook()).recall() == [NEW]


async def test_fact_that_could_not_be_stored_is_reported() -> None:
    engine = MemoryEngine(Disk())
    engine.fail_next_commit(Fault.FULL)
    with pytest.raises(CommitFailed):
        await FactMemory(engine, FactBook([NEW])).keep_durably(b"mn1")


async def test_fact_that_the_disk_refused_is_written_down_as_soon_as_it_takes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fact_memory, "RETRY_S", 0.001)
    disk = Disk()
    engine = MemoryEngine(disk)
    memory = FactMemory(engine, FactBook([OLD, Fact(b"mn2", b"1", b"x")]))
    engine.fail_next_commit(Fault.FULL)
    memory.keep(b"mn1")
    async with asyncio.timeout(5):
        await memory.step()
        await memory.keep_durably(b"mn2")
    assert sorted(memory.recall()) == [OLD, Fact(b"mn2", b"1", b"x")]


async def test_longest_name_that_gossip_brings_fits_the_disk() -> None:
    name = b"?" * NAME_BYTES_MAX
    assert decode_fact(encode_fact(Fact(name, b"1", b"x"))).name == name
    memory = FactMemory(MemoryEngine(Disk()), FactBook([Fact(name, b"1", b"x")]))
    await memory.keep_durably(name)
    assert [fact.name for fact in memory.recall()] == [name]
