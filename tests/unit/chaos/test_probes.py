"""What the probes take for a fault that works, where the kernel has a choice."""

import asyncio
import socket
from dataclasses import replace
from typing import Any, cast

import pytest

from chaos import probes
from chaos.errors import MeshError
from chaos.links import LinkState
from chaos.probes import (
    ANSWER_S_MAX,
    FRAME,
    PATIENT_S,
    PRIMITIVES,
    Answer,
    Connection,
    Primitive,
    Scratch,
    Seen,
    prove,
)
from chaos.recording import Probe
from chaos.toxiproxy.api import Api
from dynamo.core.ids import Address

PRIMITIVE = {primitive.name: primitive for primitive in PRIMITIVES}
CLOSES_LATE = PRIMITIVE["close after a while"]

COME_S_MAX = 5.0


@pytest.mark.parametrize("primitive", PRIMITIVES, ids=lambda primitive: primitive.name)
def test_what_is_expected_of_a_primitive_fits_it(primitive: Primitive) -> None:
    assert primitive.fits(primitive.expected)
    assert not primitive.fits(replace(primitive.expected, done=9))


def test_a_request_may_come_just_as_its_connection_is_closed() -> None:
    seen = CLOSES_LATE.expected
    assert CLOSES_LATE.fits(replace(seen, busy=Answer.RESET))
    assert CLOSES_LATE.fits(replace(seen, fresh=Answer.RESET))


def test_who_sent_nothing_is_not_reset() -> None:
    assert not CLOSES_LATE.fits(replace(CLOSES_LATE.expected, idle=Answer.RESET))


@pytest.mark.parametrize("answer", [Answer.SILENCE, Answer.OK, Answer.TORN])
def test_a_connection_that_is_to_be_closed_must_end(answer: Answer) -> None:
    assert not CLOSES_LATE.fits(replace(CLOSES_LATE.expected, busy=answer))


def test_where_nothing_is_closed_by_the_clock_an_end_is_no_reset() -> None:
    for name in ("refuse", "torn requests"):
        primitive = PRIMITIVE[name]
        assert not primitive.fits(replace(primitive.expected, busy=Answer.RESET))
    resetting = PRIMITIVE["reset at requests"]
    assert not resetting.fits(replace(resetting.expected, fresh=Answer.CLOSED))


@pytest.mark.parametrize(("read", "ends"), [(True, Answer.CLOSED), (False, Answer.RESET)])
async def test_a_connection_closed_before_its_bytes_were_read_is_reset(
    read: bool, ends: Answer
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(COME_S_MAX)
        connection = await Connection.to(Address(*server.getsockname()))
        try:
            accepted, _ = server.accept()
            accepted.settimeout(COME_S_MAX)
            with accepted:
                asking = asyncio.create_task(connection.ask(COME_S_MAX))
                await asyncio.to_thread(accepted.recv, len(FRAME), 0 if read else socket.MSG_PEEK)
            assert await asking is ends
        finally:
            connection.close()


# Tries


async def tried(
    monkeypatch: pytest.MonkeyPatch, primitive: Primitive, *found: Seen
) -> tuple[Probe, list[float]]:
    """What is said of a primitive that looks so in one try after the other, and how long each was
    waited for.
    """
    left, waited_s = list(found), []

    async def observe(
        scratch: Scratch, broken: LinkState, patience_s: float = ANSWER_S_MAX
    ) -> Seen:
        waited_s.append(patience_s)
        return left.pop(0)

    monkeypatch.setattr(probes, "observe", observe)
    scratch = Scratch.made(cast("Api", None), (1, 2))
    return await probes._see(primitive, scratch), waited_s


async def test_what_is_as_expected_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    primitive = PRIMITIVE["drop both"]
    probe, waited_s = await tried(monkeypatch, primitive, primitive.expected)
    assert probe.passed
    assert waited_s == [ANSWER_S_MAX]


@pytest.mark.parametrize(
    ("name", "late"),
    [
        ("reset at requests", {"busy": Answer.SILENCE}),
        ("torn replies", {"busy": Answer.SILENCE, "healed": Answer.TORN}),
        ("drop replies", {"done": 1, "done_later": 1}),
        ("stall both", {"done_later": 1}),
        ("refuse", {"busy": Answer.RESET}),
    ],
)
async def test_what_a_busy_machine_does_too_late_is_tried_again_twice_with_more_patience(
    monkeypatch: pytest.MonkeyPatch, name: str, late: dict[str, Any]
) -> None:
    primitive = PRIMITIVE[name]
    seen = replace(primitive.expected, **late)
    probe, waited_s = await tried(monkeypatch, primitive, seen, primitive.expected)
    assert probe.passed
    assert waited_s == [ANSWER_S_MAX, PATIENT_S[0]]
    probe, waited_s = await tried(monkeypatch, primitive, seen, seen, primitive.expected)
    assert probe.passed
    assert waited_s == [ANSWER_S_MAX, *PATIENT_S]


async def test_what_fails_three_times_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    primitive = PRIMITIVE["reset at requests"]
    seen = replace(primitive.expected, busy=Answer.SILENCE)
    probe, waited_s = await tried(monkeypatch, primitive, *[seen] * 3)
    assert not probe.passed
    assert len(waited_s) == 3
    assert probe.said == f"expected {primitive.expected}; seen {seen}"


@pytest.mark.parametrize(
    ("name", "through"),
    [
        ("drop both", {"fresh": Answer.OK}),
        ("drop requests", {"done": 1}),
        ("drop requests", {"done_later": 1}),
        ("stall requests", {"done": 1, "done_later": 1}),
        ("stall both", {"busy": Answer.TORN}),
        ("refuse", {"connecting": Answer.OK, "fresh": Answer.SILENCE}),
    ],
)
async def test_what_gets_through_a_cut_counts_at_once(
    monkeypatch: pytest.MonkeyPatch, name: str, through: dict[str, Any]
) -> None:
    primitive = PRIMITIVE[name]
    leaked = replace(primitive.expected, **through)
    probe, waited_s = await tried(monkeypatch, primitive, leaked, primitive.expected)
    assert not probe.passed
    assert waited_s == [ANSWER_S_MAX]


async def test_where_a_port_was_taken_meanwhile_others_are_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        asked: list[int] = []

        def free_ports(count: int) -> tuple[int, ...]:
            asked.append(count)
            return 1, taken

        monkeypatch.setattr(probes, "free_ports", free_ports)
        with pytest.raises(MeshError, match=r"the links could not be tried: .*already in use"):
            await prove(cast("Api", None), ["refuse"])
    assert asked == [2, 2, 2]
