"""Workloads against a store that never errs, and against links that do."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from random import Random

import pytest
from aiohttp import web

from chaos.clients import History, LabClient
from chaos.errors import ClusterError
from chaos.modes import Conflicts, Mode
from chaos.recording import Action, Operation, Outcome
from chaos.workloads.blind import UNSETTLED_MAX, Blind
from chaos.workloads.cart import ITEMS_MAX, Cart
from chaos.workloads.deletes import Deletes
from chaos.workloads.elements import cart_outcome, elements, set_outcome
from chaos.workloads.registers import Registers
from chaos.workloads.set_add import SetAdd
from chaos.workloads.workload import PRELOAD, UNKNOWN_MAX, Workload
from tests.unit.chaos.little_store import LittleStore, little_store

MODE = Mode(r=2, w=2, sloppy=False)
LWW = Mode(r=2, w=2, sloppy=False, conflicts=Conflicts.LWW)

ALL: dict[str, Callable[[], Workload]] = {
    "registers": lambda: Registers(MODE, keys=3),
    "set-add": lambda: SetAdd(MODE),
    "cart": lambda: Cart(MODE),
    "deletes": lambda: Deletes(MODE),
    "blind": lambda: Blind(MODE),
}


@pytest.fixture
async def store() -> AsyncIterator[LittleStore]:
    async with little_store() as made:
        yield made


@pytest.fixture
def history() -> History:
    return History(itertools.count(0.0, 0.5).__next__)


@pytest.fixture
async def clients(store: LittleStore, history: History) -> AsyncIterator[dict[str, LabClient]]:
    urls = {"n1": store.url, "n2": store.url}
    async with (
        LabClient("a1", "A", urls, history, 5.0) as one,
        LabClient("b1", "B", urls, history, 5.0) as other,
    ):
        yield {"a1": one, "b1": other}


async def walk(
    workload: Workload, clients: Sequence[LabClient], *, steps: int, seed: int = 1
) -> None:
    """All clients at once, each one step after the other."""

    async def one(client: LabClient) -> None:
        dice = Random(f"{seed} {client.name}")
        for _ in range(steps):
            await workload.step(client, dice, 0.0)

    await asyncio.gather(*map(one, clients))


def of_key(history: History, key: str) -> list[Operation]:
    return [operation for operation in history.operations() if operation.key == key]


def values(store: LittleStore, workload: Workload, key: str) -> list[str]:
    return store.values(f"/types/{workload.mode.conflicts}/buckets/{workload.bucket}/keys/{key}")


@pytest.mark.parametrize("name", ALL)
async def test_every_object_that_a_workload_touches_is_named_before(
    name: str, clients: dict[str, LabClient], history: History
) -> None:
    workload = ALL[name]()
    await workload.prepare(clients)
    await walk(workload, list(clients.values()), steps=20)
    operations = history.operations()
    assert {op.outcome for op in operations} == {Outcome.OK}
    places = {("siblings", op.bucket, op.key) for op in operations}
    assert places <= set(workload.objects())
    assert {(op.workload, op.mode) for op in operations} == {(name, "strict 2/2")}
    assert {op.node for op in operations} == {"n1", "n2"}


@pytest.mark.parametrize("name", ALL)
async def test_a_step_ends_however_its_requests_end(
    name: str, clients: dict[str, LabClient], history: History, store: LittleStore
) -> None:
    async def hangs_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    store.instead = hangs_up
    await walk(ALL[name](), list(clients.values()), steps=10)
    operations = history.operations()
    assert operations
    assert {(op.is_write, op.outcome) for op in operations} <= {
        (False, Outcome.FAIL),
        (True, Outcome.INFO),
    }


async def test_two_modes_of_a_workload_never_meet() -> None:
    assert not set(SetAdd(MODE).objects()) & set(SetAdd(LWW).objects())
    assert not set(SetAdd(MODE).objects()) & set(SetAdd(MODE, name="set-add-locked").objects())


async def test_a_cluster_that_takes_no_preload_is_not_worked_on(
    clients: dict[str, LabClient], store: LittleStore
) -> None:
    async def unavailable(request: web.Request) -> web.StreamResponse:
        return web.Response(status=503, text="no\n")

    store.instead = unavailable
    with pytest.raises(ClusterError, match="registers-strict-2-2"):
        await Registers(MODE, keys=2).prepare(clients)


# -- registers -----------------------------------------------------------------------------------


async def test_each_write_of_a_register_is_one_request_based_on_what_its_client_was_shown(
    clients: dict[str, LabClient], history: History, store: LittleStore
) -> None:
    registers = Registers(MODE, keys=3, read_fraction=0.4)
    await registers.prepare(clients)
    await walk(registers, list(clients.values()), steps=60)
    operations = history.operations()
    preload, rest = operations[:3], operations[3:]
    assert {op.note for op in preload} == {PRELOAD}
    assert len(rest) == 120, "a step is one request"
    assert 20 < sum(not op.is_write for op in rest) < 80
    for write in (op for op in rest if op.is_write):
        assert write.based_on is not None
        basis = operations[write.based_on]
        assert basis.key == write.key
        assert basis.client == write.client or basis.note == PRELOAD
        newest = [
            op.index
            for op in of_key(history, write.key)
            if op.client == write.client and op.returned_s < write.invoked_s
        ]
        assert basis.index == max(newest, default=basis.index)
    assert store.siblings <= 3, "as many as there are clients, and the preload"


async def test_lanes_share_what_their_client_knows(
    clients: dict[str, LabClient], history: History
) -> None:
    registers = Registers(MODE, keys=1, read_fraction=0.0)
    await registers.prepare(clients)
    for number in (1, 2):
        await registers.step(clients["a1"].lane(number), Random(1), 0.0)
    assert [op.based_on for op in history.operations()] == [None, 0, 1]


async def test_writes_of_which_nobody_knows_what_became_do_not_pile_up_as_siblings(
    clients: dict[str, LabClient], history: History, store: LittleStore
) -> None:
    async def no_answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=503, text="no\n")

    workload = ALL["registers"]()
    await workload.prepare(clients)
    store.instead = no_answer
    await walk(workload, [clients["a1"]], steps=100)
    store.instead = None
    keys = len(workload.keys)
    unknown = [op for op in history.operations() if op.outcome is Outcome.INFO]
    assert len(unknown) == keys * UNKNOWN_MAX
    await walk(workload, [clients["a1"]], steps=30)
    assert any(op.is_write for op in history.operations()[-10:]), "it looked, and goes on"


# -- sets and carts ------------------------------------------------------------------------------


async def test_a_store_with_siblings_loses_no_element_however_clients_race(
    clients: dict[str, LabClient], history: History, store: LittleStore
) -> None:
    work = SetAdd(MODE)
    await walk(work, list(clients.values()), steps=50)
    outcome = set_outcome(of_key(history, "k0"), values(store, work, "k0"))
    assert len(outcome.acknowledged) == len(outcome.survivors) == 100
    assert outcome.losses == ()
    assert store.siblings == 2, "they did race"


async def test_a_store_where_the_last_write_wins_loses_what_raced(
    clients: dict[str, LabClient], history: History, store: LittleStore
) -> None:
    work = SetAdd(LWW)
    await walk(work, list(clients.values()), steps=50)
    outcome = set_outcome(of_key(history, "k0"), values(store, work, "k0"))
    assert len(outcome.acknowledged) == 100
    assert outcome.lost
    assert any(loss.hidden_by is not None for loss in outcome.losses)


async def test_with_a_lock_nothing_races_and_nothing_is_lost(
    clients: dict[str, LabClient], history: History, store: LittleStore
) -> None:
    work = SetAdd(LWW, lock=asyncio.Lock())
    await walk(work, list(clients.values()), steps=50)
    outcome = set_outcome(of_key(history, "k0"), values(store, work, "k0"))
    assert len(outcome.survivors) == 100
    operations = history.operations()
    assert [op.action for op in operations] == [Action.GET, Action.PUT] * 100


async def test_a_cart_loses_no_item_and_stays_small(
    clients: dict[str, LabClient], history: History, store: LittleStore
) -> None:
    work = Cart(MODE, keys=1, remove_fraction=0.1)
    await walk(work, list(clients.values()), steps=60)
    final = values(store, work, "k0")
    outcome = cart_outcome(of_key(history, "k0"), final)
    assert outcome.lost == set()
    assert outcome.removed
    assert len(elements(final)) <= 2 * ITEMS_MAX


# -- deletes and blind writes --------------------------------------------------------------------


async def test_keys_are_deleted_and_written_again_with_what_was_shown(
    clients: dict[str, LabClient], history: History
) -> None:
    await walk(Deletes(MODE, keys=2), list(clients.values()), steps=60)
    operations = history.operations()
    deletes = [op for op in operations if op.action is Action.DELETE]
    anew = [
        op
        for op in operations
        if op.action is Action.PUT
        and op.based_on is not None
        and operations[op.based_on].shown == ()
        and operations[op.based_on].shown_deleted
    ]
    assert deletes
    assert anew
    assert all(op.based_on is not None and operations[op.based_on].shown for op in deletes)
    names = [op.written for op in operations if op.is_write]
    assert len(set(names)) == len(names)


async def test_blind_writes_are_settled_before_they_pile_up(
    clients: dict[str, LabClient], history: History, store: LittleStore
) -> None:
    await walk(Blind(MODE, keys=1), list(clients.values()), steps=100)
    operations = history.operations()
    blind = [op for op in operations if op.is_write and op.based_on is None]
    assert len(blind) > 100
    assert UNSETTLED_MAX <= store.siblings < 30
