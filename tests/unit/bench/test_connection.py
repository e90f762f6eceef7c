"""One connection of the load, on a transport and a clock made for it."""

import asyncio
from typing import cast

import pytest

from dynamo.bench.connection import Connection, ContextConnection, Phase
from dynamo.bench.plan import Node, Plan
from dynamo.bench.requests import Requests
from dynamo.bench.schedule import Choice, ClosedLoop, OpenLoop, Pace
from dynamo.bench.tally import Tally

NODE = Node(host="a", port=1)
PLAN = Plan(
    nodes=(NODE,),
    bucket_type="default",
    bucket="b",
    connections=1,
    rate=None,
    read_fraction=0.5,
    keys=3,
    value_bytes=1,
    contexts=False,
    n_val=None,
    quorums=(),
    duration_s=1.0,
    warmup_s=0.0,
    timeout_s=1.0,
    deadline_s=None,
    preload=False,
    seed=1,
)
REQUESTS = Requests(PLAN, NODE)
STORED = b"HTTP/1.1 204 No Content\r\n\r\n"
SHOWN = b"HTTP/1.1 200 OK\r\nX-Riak-Vclock: AQI=\r\nContent-Length: 2\r\n\r\nhi"
MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
FAILED = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def abort(self) -> None:
        self.aborted = True


class Script:
    """Work that is given, and what of it failed."""

    def __init__(self, *choices: Choice) -> None:
        self.failures: list[Choice] = []
        self._choices = list(choices)

    def next(self) -> Choice | None:
        return self._choices.pop(0) if self._choices else None

    def failed(self, choice: Choice) -> None:
        self.failures.append(choice)


class Rig:
    """A connection, just made, and what is around it."""

    def __init__(self, work: Script, kind: type[Connection], pace: Pace) -> None:
        self.now_s = 10.0
        self.work = work
        self.tally = Tally(start_s=0.0)
        self.wire = Wire()
        self.phase = Phase(
            pace=pace,
            work=work,
            tally=self.tally,
            keys=[b"k0", b"k1", b"k2"],
            now_s=lambda: self.now_s,
        )
        self.connection = kind(self.phase, REQUESTS)
        self.connection.connection_made(cast("asyncio.BaseTransport", self.wire))

    def answers(self) -> dict[str, tuple[dict[int, int], dict[str, int], dict[int, int]]]:
        return {
            str(operation): (
                {status: count for status, count in enumerate(tally.statuses) if count},
                dict(tally.failures),
                tally.latency_counts(),
            )
            for operation, tally in self.tally.operations()
        }


READ_0, READ_1 = Choice(False, 0), Choice(False, 1)
WRITE_0, WRITE_2 = Choice(True, 0), Choice(True, 2)


def rig(*choices: Choice, kind: type[Connection] = Connection, pace: Pace | None = None) -> Rig:
    return Rig(Script(*choices), kind, pace or ClosedLoop(end_s=100.0))


async def test_the_next_request_goes_out_when_the_answer_is_whole() -> None:
    made = rig(READ_0, WRITE_2)
    assert made.wire.written == [REQUESTS.read(b"k0")]
    made.now_s = 10.001
    made.connection.data_received(SHOWN[:-1])
    assert len(made.wire.written) == 1
    made.now_s = 10.002
    made.connection.data_received(SHOWN[-1:])
    assert made.wire.written[1:] == [REQUESTS.write(b"k2")]
    made.now_s = 10.005
    made.connection.data_received(STORED)
    answers = made.answers()
    assert answers["read"][0] == {200: 1}
    assert list(answers["read"][2]) == [pytest.approx(2000, abs=1)]
    assert list(answers["write"][2]) == [pytest.approx(3000, abs=1)]


async def test_a_connection_with_nothing_to_do_waits_among_the_idle() -> None:
    made = rig(READ_0)
    assert made.phase.idle == set()
    made.connection.data_received(SHOWN)
    assert made.phase.idle == {made.connection}
    assert made.connection.sent_s is None


async def test_after_the_end_nothing_is_sent() -> None:
    made = rig(READ_0, READ_1, pace=ClosedLoop(end_s=10.5))
    made.now_s = 10.6
    made.connection.data_received(SHOWN)
    assert len(made.wire.written) == 1


async def test_in_an_open_loop_latency_counts_from_when_the_request_was_due() -> None:
    made = rig(READ_0, READ_1, pace=OpenLoop(rate=1.0, start_s=8.0, end_s=100.0))
    made.now_s = 10.25
    made.connection.data_received(SHOWN)
    assert made.answers()["read"][2] == {2_250_000: 1}


async def test_a_failed_write_is_told_to_the_work() -> None:
    made = rig(WRITE_0, WRITE_2)
    made.connection.data_received(FAILED)
    made.connection.data_received(STORED)
    assert made.work.failures == [WRITE_0]
    assert made.answers()["write"][0] == {204: 1, 503: 1}


async def test_a_lost_connection_fails_the_request_under_way_only() -> None:
    made = rig(WRITE_0)
    made.connection.connection_lost(None)
    assert made.answers()["write"][1] == {"connection lost": 1}
    assert made.work.failures == [WRITE_0]
    assert made.connection.ended.is_set()

    idle = rig(READ_0)
    idle.connection.data_received(SHOWN)
    idle.connection.connection_lost(None)
    assert idle.answers()["read"][1] == {}
    assert idle.phase.idle == set()


async def test_what_is_given_up_has_its_reason() -> None:
    made = rig(READ_0)
    made.connection.give_up("timeout")
    assert made.wire.aborted
    made.connection.connection_lost(None)
    assert made.answers()["read"][1] == {"timeout": 1}
    assert not made.connection.left


@pytest.mark.parametrize("data", [b"220 mail ESMTP\r\n", SHOWN + SHOWN])
async def test_what_is_no_answer_ends_the_connection(data: bytes) -> None:
    made = rig(READ_0)
    made.connection.data_received(data)
    assert made.wire.aborted
    assert not made.connection.left


async def test_a_server_that_closes_is_left_after_its_answer() -> None:
    made = rig(READ_0, READ_1)
    made.connection.data_received(MISSING.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert made.wire.aborted
    assert made.connection.left
    assert made.connection.has_worked
    assert len(made.wire.written) == 1


async def test_who_shall_leave_does_so_between_two_requests() -> None:
    made = rig(READ_0, READ_1)
    made.connection.leave = True
    assert not made.wire.aborted
    made.connection.data_received(SHOWN)
    assert made.wire.aborted
    made.connection.connection_lost(None)
    assert made.answers()["read"][1] == {}


async def test_a_closed_connection_is_not_handed_a_request_any_more() -> None:
    made = rig(READ_0)
    made.connection.data_received(SHOWN)
    made.connection.close()
    assert made.phase.idle == set()


async def test_a_write_with_context_reads_first_and_hands_on_what_it_got() -> None:
    made = rig(WRITE_2, READ_1, kind=ContextConnection)
    assert made.wire.written == [REQUESTS.read(b"k2")]
    made.connection.data_received(SHOWN)
    assert made.wire.written[1:] == [REQUESTS.write_after(b"k2", b"AQI=")]
    made.connection.data_received(STORED)
    assert made.wire.written[2:] == [REQUESTS.read(b"k1")]
    made.connection.data_received(SHOWN)
    answers = made.answers()
    assert (answers["read"][0], answers["write"][0]) == ({200: 2}, {204: 1})


async def test_a_write_after_a_missing_key_is_blind() -> None:
    made = rig(WRITE_0, WRITE_2, kind=ContextConnection)
    made.connection.data_received(SHOWN)
    made.connection.data_received(STORED)
    made.connection.data_received(MISSING)
    assert made.wire.written[3:] == [REQUESTS.write(b"k2")]


async def test_a_write_whose_read_failed_is_not_made() -> None:
    made = rig(WRITE_0, READ_1, kind=ContextConnection)
    made.connection.data_received(FAILED)
    assert made.wire.written[1:] == [REQUESTS.read(b"k1")]
