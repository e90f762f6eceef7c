"""Workloads that must know where objects live, against a store that never errs."""

import itertools
from collections.abc import AsyncIterator
from random import Random

import pytest

from chaos.clients import History, LabClient
from chaos.errors import SettingError
from chaos.modes import Mode
from chaos.recording import Action, Operation, Placement
from chaos.workloads.looks import Looks, lag_note
from chaos.workloads.races import READS_AFTER, Races
from chaos.workloads.traced import Traced, took_s
from chaos.workloads.workload import PRELOAD
from tests.unit.chaos.little_store import little_store

MODE = Mode(r=2, w=2, sloppy=False)
NODES = ("n1", "n2", "n3", "n4")


@pytest.fixture
def history() -> History:
    return History(itertools.count(0.0, 0.001).__next__)


@pytest.fixture
async def clients(history: History) -> AsyncIterator[dict[str, LabClient]]:
    async with little_store() as store:
        urls = dict.fromkeys(NODES, store.url)
        async with (
            LabClient("w", "roaming", urls, history, 5.0) as writer,
            LabClient("r1", "roaming", urls, history, 5.0) as one,
            LabClient("r2", "roaming", urls, history, 5.0) as other,
        ):
            yield {"w": writer, "r1": one, "r2": other}


def placed(bucket: str, homes: dict[str, tuple[str, ...]]) -> dict[tuple[str, str], Placement]:
    return {
        (bucket, key): Placement(bucket=bucket, key=key, primaries=nodes, stand_ins=())
        for key, nodes in homes.items()
    }


def of(history: History, action: Action) -> list[Operation]:
    return [o for o in history.operations() if o.action is action and o.note != PRELOAD]


async def test_a_race_is_one_write_and_reads_of_the_other_homes(
    clients: dict[str, LabClient], history: History
) -> None:
    races = Races(MODE, readers=("r1", "r2"), written_at="n2", keys=2)
    await races.prepare(clients)
    races.locate(placed(races.bucket, {"k0": ("n1", "n2", "n3"), "k1": ("n1", "n3", "n4")}))
    for _ in range(3):
        await races.step(clients["w"], Random(1), 0.0)
    [write] = of(history, Action.PUT)
    reads = of(history, Action.GET)
    assert (write.key, write.node) == ("k0", "n2")
    assert {(read.client, read.node) for read in reads} in (
        {("r1", "n1"), ("r2", "n3")},
        {("r1", "n3"), ("r2", "n1")},
    )
    for reader in ("r1", "r2"):
        after = [o for o in reads if o.client == reader and o.invoked_s > write.returned_s]
        assert len(after) in (READS_AFTER - 1, READS_AFTER)
        assert after[-1].shown == (write.written,)


async def test_a_race_without_a_place_to_be_run_is_refused(clients: dict[str, LabClient]) -> None:
    races = Races(MODE, readers=("r1", "r2"), written_at="n2", keys=1)
    await races.prepare(clients)
    with pytest.raises(SettingError):
        races.locate(placed(races.bucket, {"k0": ("n1", "n3", "n4")}))


async def test_each_write_is_looked_at_once_at_each_time_and_elsewhere(
    clients: dict[str, LabClient], history: History
) -> None:
    looks = Looks(MODE, readers={"r2": 0.01, "r1": 0.002}, keys=2)
    await looks.prepare(clients)
    looks.locate(placed(looks.bucket, dict.fromkeys(looks.keys, NODES[:3])))
    for _ in range(4):
        await looks.step(clients["w"].lane(3), Random(1), 0.0)
    writes, reads = of(history, Action.PUT), of(history, Action.GET)
    assert [(write.key, write.node) for write in writes] == 2 * [("k0", "n1"), ("k1", "n2")]
    assert all(write.based_on is not None for write in writes)
    assert [(read.client, read.note) for read in reads] == 4 * [
        ("r1.3", lag_note(0.002)),
        ("r2.3", lag_note(0.01)),
    ]
    written_at = {write.key: write.node for write in writes}
    assert all(read.node != written_at[read.key] for read in reads)


async def test_traced_requests_write_at_homes_and_read_anywhere(
    clients: dict[str, LabClient], history: History
) -> None:
    traced = Traced(MODE, keys=2)
    await traced.prepare(clients)
    traced.locate(placed(traced.bucket, dict.fromkeys(traced.keys, ("n4",))))
    for _ in range(4):
        await traced.step(clients["w"], Random(1), 0.0)
    assert [write.node for write in of(history, Action.PUT)] == ["n4", "n4"]
    assert [read.key for read in of(history, Action.GET)] == ["k0", "k1"]


@pytest.mark.parametrize(
    ("note", "expected"),
    [
        ("took_ms n1=0 n2=104.25", {"n1": 0.0, "n2": 0.10425}),
        ("took_ms ", {}),
        ("lag_ms=5", {}),
        ("", {}),
    ],
)
def test_notes_tell_what_replicas_took(note: str, expected: dict[str, float]) -> None:
    assert took_s(note) == pytest.approx(expected)


async def test_a_remark_stands_beside_what_has_returned(
    clients: dict[str, LabClient], history: History
) -> None:
    reply = await clients["w"].get(MODE, "made up", "b", "k", "n1")
    history.remark(reply.index, "seen")
    assert [operation.note for operation in history.operations()] == ["seen"]
