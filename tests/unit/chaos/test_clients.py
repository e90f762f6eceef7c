"""Clients and their history: what each request came to, whatever answered it."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import unused_port

from chaos.clients import NEVER_RETURNED, History, LabClient, Reply
from chaos.modes import Conflicts, Mode
from chaos.recording import Action, Operation, Outcome
from chaos.values import named
from dynamo.errors import BadRequest
from tests.unit.chaos.little_store import Answer, LittleStore, little_store

STRICT = Mode(r=2, w=1, sloppy=False)
LWW = Mode(r=1, w=1, sloppy=True, conflicts=Conflicts.LWW)


@pytest.fixture
async def store() -> AsyncIterator[LittleStore]:
    async with little_store() as made:
        yield made


@asynccontextmanager
async def client_of(url: str, *, timeout_s: float = 5.0) -> AsyncIterator[LabClient]:
    history = History(itertools.count(0.0, 0.5).__next__)
    async with LabClient("c1", "A", {"n1": url}, history, timeout_s) as client:
        yield client


@pytest.fixture
async def client(store: LittleStore) -> AsyncIterator[LabClient]:
    async with client_of(store.url) as made:
        yield made


async def get(client: LabClient, key: str = "k", mode: Mode = STRICT) -> Reply:
    return await client.get(mode, "work", "b", key, "n1")


async def put(
    client: LabClient,
    based_on: Reply | None = None,
    *,
    key: str = "k",
    mode: Mode = STRICT,
    returning: bool = False,
) -> Reply:
    return await client.put(
        mode, "work", "b", key, "n1", based_on=based_on, payload="7", returning=returning
    )


async def delete(client: LabClient, based_on: Reply) -> Reply:
    return await client.delete(STRICT, "work", "b", "k", "n1", based_on=based_on)


def last(client: LabClient) -> Operation:
    return client.history.operations()[-1]


async def test_a_write_names_itself_and_a_read_shows_it(client: LabClient) -> None:
    written = await put(client)
    read = await get(client)
    first, second = client.history.operations()
    assert first.written is not None
    value = named(first.written)
    assert value is not None
    assert (value.key, value.client, value.number, value.payload) == ("k", "c1", 1, "7")
    assert (written.shown, first.shown, first.status) == (None, None, 204)
    assert read.shown == second.shown == (first.written,)
    assert (first.action, second.action, second.status) == (Action.PUT, Action.GET, 200)
    assert [op.outcome for op in (first, second)] == [Outcome.OK, Outcome.OK]


async def test_a_key_that_was_never_written_shows_nothing_and_gives_no_context(
    client: LabClient,
) -> None:
    nothing = await get(client)
    assert (nothing.shown, nothing.context, nothing.is_ok) == ((), None, True)
    await put(client, nothing)
    assert last(client).based_on is None, "without a context the write was blind"


async def test_a_write_replaces_what_it_is_based_on_and_nothing_else(client: LabClient) -> None:
    first = await put(client, returning=True)
    blind = await put(client, returning=True)
    assert first.shown is not None
    assert blind.shown is not None
    assert (len(first.shown), len(blind.shown)) == (1, 2)
    over_first = await put(client, first, returning=True)
    operation = last(client)
    assert operation.based_on == first.index
    assert over_first.shown is not None
    assert set(over_first.shown) == {operation.written, *set(blind.shown) - set(first.shown)}
    assert operation.status == 300


async def test_a_deleted_key_shows_nothing_but_that_it_was_deleted(client: LabClient) -> None:
    await delete(client, await put(client, returning=True))
    deletion = last(client)
    gone = await get(client)
    assert (deletion.action, deletion.based_on, deletion.status) == (Action.DELETE, 0, 204)
    assert (gone.shown, last(client).shown_deleted, last(client).status) == ((), True, 404)
    assert gone.context is not None
    await put(client, gone)
    assert last(client).based_on == gone.index
    assert (await get(client)).shown != ()
    assert last(client).shown_deleted is False


async def test_a_delete_beside_a_value_is_shown_as_both(client: LabClient) -> None:
    first = await put(client, returning=True)
    await put(client)
    await delete(client, first)
    reply = await get(client)
    assert reply.shown is not None
    assert len(reply.shown) == 1
    assert last(client).shown_deleted is True


async def test_a_delete_without_a_context_is_never_sent(
    client: LabClient, store: LittleStore
) -> None:
    nothing = await get(client)
    with pytest.raises(BadRequest):
        await delete(client, nothing)
    assert [request.method for request in store.requests] == ["GET"]
    assert len(client.history.operations()) == 1


async def test_requests_say_what_their_mode_wants(client: LabClient, store: LittleStore) -> None:
    shown = await put(client, returning=True)
    await put(client)
    await get(client)
    await delete(client, shown)
    await put(client, mode=LWW)
    queries = [
        {name: text for name, text in request.query.items() if name != "timeout"}
        for request in store.requests
    ]
    strict = {"w": "1", "dw": "1", "sloppy_quorum": "false"}
    assert queries == [
        strict | {"returnbody": "true"},
        strict,
        {"r": "2", "sloppy_quorum": "false"},
        strict | {"r": "2"},
        {"w": "1", "dw": "1", "sloppy_quorum": "true"},
    ]
    paths = ["/types/siblings/buckets/b/keys/k"] * 4 + ["/types/lww/buckets/b/keys/k"]
    assert [request.path for request in store.requests] == paths


def says(status: int, body: bytes = b"", **headers: str) -> Answer:
    lines = {name.replace("_", "-"): text for name, text in headers.items()}

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=lines)

    return answer


async def hangs_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def breaks_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "100", "Content-Type": "text/plain"})
    await response.prepare(request)
    await response.write(b"half of it")
    assert request.transport is not None
    request.transport.close()
    return response


CASES = {
    "certainly not stored": (
        says(503, b"W-value unsatisfied: 1/2\n", X_Dynamo_Definite="true"),
        (Outcome.FAIL, 503, 0),
    ),
    "stored by one": (
        says(503, b"request timed out\n", X_Dynamo_Definite="false", X_Dynamo_Acks="1"),
        (Outcome.INFO, 503, 1),
    ),
    "does not say how many": (says(500, b"oh\n"), (Outcome.INFO, 500, None)),
    "refused": (says(400, b"no\n"), (Outcome.FAIL, 400, 0)),
    "hung up": (hangs_up, (Outcome.INFO, None, None)),
    "broke off": (breaks_off, (Outcome.INFO, None, None)),
    "makes no sense": (says(299, b"what?"), (Outcome.INFO, None, None)),
    "torn siblings": (
        says(300, b"\r\n--x\r\n", Content_Type="multipart/mixed; boundary=x", X_Riak_Vclock="AQ=="),
        (Outcome.INFO, None, None),
    ),
    "no such thing as a context": (
        says(200, b"v", Content_Type="text/plain", X_Riak_Vclock="-"),
        (Outcome.INFO, None, None),
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_what_a_client_may_conclude(case: str, client: LabClient, store: LittleStore) -> None:
    known = await put(client, returning=True)
    store.instead, (outcome, status, acks) = CASES[case]
    asked: list[Callable[[], Awaitable[Reply]]] = [
        lambda: put(client, known, returning=True),
        lambda: delete(client, known),
    ]
    for ask in asked:
        reply = await ask()
        operation = last(client)
        assert (reply.outcome, reply.shown, reply.context) == (outcome, None, None)
        assert (operation.outcome, operation.status, operation.acks) == (outcome, status, acks)
        assert operation.error
        assert operation.shown is None
    read = await get(client)
    assert (read.outcome, last(client).acks) == (Outcome.FAIL, None), "a read has no effect"


async def test_a_node_that_takes_no_connection_certainly_does_nothing() -> None:
    async with client_of(f"http://127.0.0.1:{unused_port()}") as client:
        reply = await put(client)
        operation = last(client)
    assert reply.outcome is Outcome.FAIL
    assert (operation.status, operation.acks) == (None, None)


async def test_a_node_that_stays_silent_may_have_stored_it(store: LittleStore) -> None:
    async def is_silent(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    store.instead = is_silent
    async with client_of(store.url, timeout_s=0.05) as client:
        assert (await put(client)).outcome is Outcome.INFO
        assert (last(client).status, last(client).acks) == (None, None)
        assert (await get(client)).outcome is Outcome.FAIL


async def test_bytes_that_are_no_text_are_shown_as_what_nobody_wrote(
    client: LabClient, store: LittleStore
) -> None:
    store.instead = says(200, b"\xff\xfe", Content_Type="text/plain", X_Riak_Vclock="AQ==")
    reply = await get(client)
    assert reply.shown == (r"\xff\xfe",)


async def test_what_never_returned_is_unknown(client: LabClient, store: LittleStore) -> None:
    reached = asyncio.Event()

    async def is_silent(request: web.Request) -> web.StreamResponse:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    store.instead = is_silent
    asking = asyncio.create_task(put(client))
    await reached.wait()
    assert client.history.under_way == 1
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    [operation] = client.history.operations()
    assert (operation.outcome, operation.error) == (Outcome.INFO, NEVER_RETURNED)
    assert operation.returned_s > operation.invoked_s


async def test_operations_are_numbered_as_they_are_invoked_and_timed_by_one_clock(
    client: LabClient,
) -> None:
    for key in ("k", "l"):
        await put(client, key=key)
    await client.get(STRICT, "work", "b", "k", "n1", intended_s=0.25, note="late")
    operations = client.history.operations()
    assert [operation.index for operation in operations] == [0, 1, 2]
    assert [(op.intended_s, op.invoked_s, op.returned_s) for op in operations] == [
        (0.0, 0.0, 0.5),
        (1.0, 1.0, 1.5),
        (0.25, 2.0, 2.5),
    ]
    assert [operation.note for operation in operations] == ["", "", "late"]
    assert operations[2].latency_s == 2.25


async def test_lanes_of_a_client_have_names_of_their_own_and_its_connections(
    client: LabClient,
) -> None:
    lane = client.lane(2)
    assert (lane.name, lane.home, lane.side, lane.nodes) == ("c1.2", "c1", "A", ("n1",))
    await put(lane)
    await put(client)
    await put(lane)
    texts = [named(operation.written or "") for operation in client.history.operations()]
    assert [(t.client, t.number) for t in texts if t] == [("c1.2", 1), ("c1", 1), ("c1.2", 2)]
