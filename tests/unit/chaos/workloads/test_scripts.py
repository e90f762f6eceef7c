"""Workloads whose keys a script changes: fates, and data that is only there."""

import itertools
from collections.abc import AsyncIterator
from random import Random

import pytest
from aiohttp import web

from chaos.clients import History, LabClient
from chaos.errors import ClusterError
from chaos.modes import Mode
from chaos.recording import Action
from chaos.values import named
from chaos.workloads.archive import Archive
from chaos.workloads.doomed import LOOK, Doomed, Fate
from tests.unit.chaos.little_store import LittleStore, little_store

MODE = Mode(r=2, w=2, sloppy=False)


@pytest.fixture
async def store() -> AsyncIterator[LittleStore]:
    async with little_store() as made:
        yield made


@pytest.fixture
def history() -> History:
    return History(itertools.count(0.0, 0.5).__next__)


@pytest.fixture
async def client(store: LittleStore, history: History) -> AsyncIterator[LabClient]:
    urls = {"n1": store.url, "n2": store.url}
    async with LabClient("script", "A", urls, history, 5.0) as made:
        yield made


async def refused(_: web.Request) -> web.Response:
    return web.Response(status=503, headers={"X-Dynamo-Definite": "true"}, text="no")


async def test_fates_are_dealt_evenly_and_a_new_value_knows_the_deletion(
    client: LabClient, history: History
) -> None:
    doomed, dice = Doomed(MODE, each=2), Random(1)
    await doomed.prepare({"script": client})
    assert [len(doomed.of(fate)) for fate in Fate] == [2, 2, 2]
    await doomed.delete(client, doomed.of(Fate.GONE, Fate.ANEW), dice)
    await doomed.write(client, doomed.of(Fate.ANEW, Fate.KEPT), dice)
    await doomed.look(client, doomed.keys)
    looks = [o for o in history.operations() if o.note == LOOK]
    assert {look.node for look in looks} == {"n1", "n2"}
    shown = {look.key: len(look.shown or ()) for look in looks}
    assert shown == {key: key not in doomed.of(Fate.GONE) for key in doomed.keys}
    for put in history.operations():
        if put.action is Action.PUT and put.key in doomed.of(Fate.ANEW) and not put.note:
            assert put.based_on is not None


async def test_what_is_gone_already_is_not_deleted_again(
    client: LabClient, history: History
) -> None:
    doomed = Doomed(MODE, each=1)
    await doomed.delete(client, doomed.keys, Random(1))
    assert {operation.action for operation in history.operations()} == {Action.GET}


async def test_a_fate_that_does_not_come_about_is_no_fate(
    client: LabClient, store: LittleStore
) -> None:
    doomed = Doomed(MODE, each=1)
    store.instead = refused
    with pytest.raises(ClusterError, match="could not be changed as planned"):
        await doomed.write(client, doomed.keys, Random(1))


async def test_an_archive_holds_values_of_a_size_and_replaces_few(
    client: LabClient, store: LittleStore, history: History
) -> None:
    archive = Archive(MODE, keys=4, value_bytes=100)
    await archive.prepare({"script": client})
    await archive.replace(client, ["k1", "k3"], Random(1))
    puts = [o for o in history.operations() if o.action is Action.PUT]
    assert [put.key for put in puts[-2:]] == ["k1", "k3"]
    assert all(put.based_on is not None for put in puts[-2:])
    values = [named(put.written or "") for put in puts]
    assert {len(value.payload) for value in values if value} == {100}
    assert store.siblings == 1


async def test_an_archive_that_cannot_be_changed_says_so(
    client: LabClient, store: LittleStore
) -> None:
    archive = Archive(MODE, keys=1)
    store.instead = refused
    with pytest.raises(ClusterError, match="could not be replaced as planned"):
        await archive.replace(client, ["k0"], Random(1))
