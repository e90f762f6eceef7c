"""The lab looks at itself: does each way to break a network do what the experiments rely on?

Before a run counts, every primitive is tried against a scratch server, through the Toxiproxy that
the run uses, all at once. What is looked at: a request on a connection that was there before the
fault, somebody who only listens on another, a new connection and a request on it, how many requests
the server carried out, and what is left of the old connection once the fault is over.
"""

import asyncio
import enum
import secrets
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType
from typing import Final, Self

from chaos.errors import MeshError
from chaos.links import (
    Carries,
    CutKind,
    Link,
    LinkState,
    Step,
    Stream,
    Toxic,
    Way,
    after,
    bandwidth,
    cut,
    disturb,
    latency,
    limit_data,
    reset_peer,
    slicer,
    state,
    steps,
    timeout,
)
from chaos.ports import HOST, free_ports
from chaos.recording import Probe
from chaos.toxiproxy.api import Api, ProxySpec, together
from dynamo.core.ids import Address

FRAME: Final = b"8 bytes."

ANSWER_S_MAX: Final = 0.3
"""A request without an answer after this long has none; without a fault it takes 1 ms."""

PATIENT_S: Final = (3.0, 6.0)
"""What is not as expected is tried again, twice, and waited for so long: on a busy machine the end
of a connection, or a request, may be late. What gets through where nothing must is never late."""

PROVE_S_MAX: Final = 45.0

_OPEN_S_MAX: Final = 5.0
"""Where an answer is due, a busy machine may take its time."""

_PORT_TRIES: Final = 3
_FLUSH_S: Final = 0.1
_LISTEN_S: Final = 0.05
_LINK: Final = Link("probe", "scratch")
_TORN_BYTES: Final = 6

_LATENCY_MS: Final = 60
_BIG_BYTES: Final = 20_000
_KB_PER_S: Final = 100
_SLICE_BYTES: Final = 64
_SLICE_US: Final = 10_000


class Answer(enum.StrEnum):
    """What came of a request, or of an attempt to connect."""

    OK = "ok"
    SILENCE = "silence"
    """Nothing within the time."""

    CLOSED = "closed"
    """The connection ended before the answer."""

    RESET = "reset"
    """It was reset."""

    TORN = "torn"
    """A part of the answer came, then the end."""

    REFUSED = "refused"
    """No connection was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one fault looked like.

    Attributes:
        busy: of a request on a connection that was there before.
        idle: what somebody who only listened heard.
        connecting: of a new connection.
        fresh: of a request on that.
        done: requests carried out by the server while the fault lasted.
        done_later: requests of that time that it carried out once the fault was over.
        healed: of a request on the old connection, once the fault was over.
    """

    busy: Answer
    idle: Answer
    connecting: Answer
    fresh: Answer
    done: int
    done_later: int
    healed: Answer

    def __str__(self) -> str:
        return (
            f"busy connection: {self.busy}, idle: {self.idle}, new: {self.connecting},"
            f" request on it: {self.fresh}, done meanwhile: {self.done}, later: {self.done_later},"
            f" afterwards: {self.healed}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Primitive:
    """One way to break a link, and what must be seen then.

    Attributes:
        name: e.g. `drop requests`.
        broken: what the link is like.
        expected: what must be seen.
        may_reset: a request may see a reset where an end is expected.
    """

    name: str
    broken: LinkState
    expected: Seen
    may_reset: bool = False

    def fits(self, seen: Seen) -> bool:
        """Whether that is what must be seen, or as good.

        Linux ends a connection by a reset if bytes came that were not read when it was closed. A
        server that closes by its clock does so to a request that comes in that very moment: seldom,
        but in one of three tries if it was held up in between.
        """
        if self.may_reset:
            seen = replace(seen, busy=_ended(seen.busy), fresh=_ended(seen.fresh))
        return seen == self.expected

    def leaks(self, seen: Seen) -> bool:
        """Whether something got through that must not; no other try can undo that."""
        expected = self.expected
        answers = (
            (seen.busy, expected.busy),
            (seen.idle, expected.idle),
            (seen.connecting, expected.connecting),
            (seen.fresh, expected.fresh),
        )
        return (
            any(got in _THROUGH and got is not due for got, due in answers)
            or seen.done > expected.done
            or seen.done + seen.done_later > expected.done + expected.done_later
        )


_THROUGH: Final = frozenset({Answer.OK, Answer.TORN})
"""Answers of which a part at least came."""


def _ended(answer: Answer) -> Answer:
    return Answer.CLOSED if answer is Answer.RESET else answer


def _cut_off(kind: CutKind, *streams: Stream) -> LinkState:
    ways = {
        Stream.UPSTREAM: Way(_LINK.source, _LINK.target, Carries.REQUESTS),
        Stream.DOWNSTREAM: Way(_LINK.target, _LINK.source, Carries.REPLIES),
    }
    return state(_LINK, [cut([ways[stream] for stream in streams], kind, [_LINK])])


def _with(*toxics: Toxic) -> LinkState:
    return state(_LINK, [disturb("probe", [_LINK], toxics)])


_UP, _DOWN = Stream.UPSTREAM, Stream.DOWNSTREAM
_OK, _SILENCE, _CLOSED = Answer.OK, Answer.SILENCE, Answer.CLOSED


def _silent(*, done: int, done_later: int = 0, healed: Answer) -> Seen:
    return Seen(
        busy=_SILENCE,
        idle=_SILENCE,
        connecting=_OK,
        fresh=_SILENCE,
        done=done,
        done_later=done_later,
        healed=healed,
    )


def _broken(busy: Answer, fresh: Answer, *, done: int, idle: Answer = _SILENCE) -> Seen:
    return Seen(
        busy=busy,
        idle=idle,
        connecting=_OK,
        fresh=fresh,
        done=done,
        done_later=0,
        healed=_CLOSED,
    )


PRIMITIVES: Final = (
    Primitive(
        name="refuse",
        broken=_cut_off(CutKind.REFUSE, _UP),
        expected=Seen(
            busy=_CLOSED,
            idle=_CLOSED,
            connecting=Answer.REFUSED,
            fresh=Answer.REFUSED,
            done=0,
            done_later=0,
            healed=_CLOSED,
        ),
    ),
    Primitive(
        name="drop requests",
        broken=_cut_off(CutKind.DROP, _UP),
        expected=_silent(done=0, healed=_CLOSED),
    ),
    Primitive(
        name="drop replies",
        broken=_cut_off(CutKind.DROP, _DOWN),
        expected=_silent(done=2, healed=_CLOSED),
    ),
    Primitive(
        name="drop both",
        broken=_cut_off(CutKind.DROP, _UP, _DOWN),
        expected=_silent(done=0, healed=_CLOSED),
    ),
    Primitive(
        name="stall requests",
        broken=_cut_off(CutKind.STALL, _UP),
        expected=_silent(done=0, done_later=2, healed=_OK),
    ),
    Primitive(
        name="stall replies",
        broken=_cut_off(CutKind.STALL, _DOWN),
        expected=_silent(done=2, healed=_OK),
    ),
    Primitive(
        name="stall both",
        broken=_cut_off(CutKind.STALL, _UP, _DOWN),
        expected=_silent(done=0, done_later=2, healed=_OK),
    ),
    Primitive(
        name="close after a while",
        broken=_with(timeout(_UP, 50), timeout(_DOWN, 50)),
        expected=_broken(_CLOSED, _CLOSED, done=0, idle=_CLOSED),
        may_reset=True,
    ),
    Primitive(
        name="reset at requests",
        broken=_with(reset_peer(_UP)),
        expected=_broken(_CLOSED, Answer.RESET, done=0),
    ),
    Primitive(
        name="reset at replies",
        broken=_with(reset_peer(_DOWN)),
        expected=_broken(_CLOSED, Answer.RESET, done=2),
    ),
    Primitive(
        name="torn requests",
        broken=_with(limit_data(_UP, _TORN_BYTES)),
        expected=_broken(_CLOSED, _CLOSED, done=0),
    ),
    Primitive(
        name="torn replies",
        broken=_with(limit_data(_DOWN, _TORN_BYTES)),
        expected=_broken(Answer.TORN, Answer.TORN, done=2),
    ),
)
"""What Toxiproxy 2.12 was seen to do to connections (asyncio, Linux)."""


class Connection:
    """A client's connection to a scratch server; one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._unanswered = 0

    @classmethod
    async def to(cls, address: Address) -> Self:
        return cls(*await asyncio.open_connection(*address))

    async def ask(self, timeout_s: float = ANSWER_S_MAX) -> Answer:
        """Send a frame and wait for the answer to it, and to those before that had none."""
        self._unanswered += 1
        try:
            self._writer.write(FRAME)
            await self._writer.drain()
        except ConnectionError:
            return Answer.CLOSED  # it ended before: that it did so by a reset is no news
        answer = await self.hear(len(FRAME) * self._unanswered, timeout_s)
        if answer is Answer.OK:
            self._unanswered = 0
        return answer

    async def send(self, content: bytes) -> None:
        """Send, and wait for nothing but room."""
        self._writer.write(content)
        await self._writer.drain()

    async def hear(self, count: int, timeout_s: float) -> Answer:
        """Wait for so many bytes."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._reader.readexactly(count)
        except TimeoutError:
            return Answer.SILENCE
        except asyncio.IncompleteReadError as error:
            return Answer.TORN if error.partial else Answer.CLOSED
        except ConnectionError:
            return Answer.RESET
        return Answer.OK

    def close(self) -> None:
        self._writer.transport.abort()


@dataclass(slots=True, kw_only=True)
class Scratch:
    """A server that sends back what it gets, behind a proxy of its own.

    Attributes:
        api: of the Toxiproxy server.
        spec: its proxy.
        done: whole frames that it has got.
        pieces: in how many pieces its bytes came.
    """

    api: Api
    spec: ProxySpec
    done: int = 0
    pieces: int = 0
    _server: asyncio.Server | None = None
    _connections: list[Connection] = field(default_factory=list)
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @classmethod
    def made(cls, api: Api, ports: tuple[int, int]) -> Self:
        """One on these two ports, not started."""
        listen, upstream = (Address(HOST, port) for port in ports)
        return cls(api=api, spec=ProxySpec(f"probe-{secrets.token_hex(6)}", listen, upstream))

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, *self.spec.upstream)
        try:
            await self.api.create(self.spec)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self.api.delete([self.spec.name])
        finally:
            await self._close()

    async def _close(self) -> None:
        assert self._server is not None
        for connection in self._connections:
            connection.close()
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        held = 0
        try:
            while piece := await reader.read(65_536):
                self.pieces += 1
                held += len(piece)
                frames, held = divmod(held, len(FRAME))
                self.done += frames
                writer.write(FRAME * frames)
                await writer.drain()
        except ConnectionError:
            pass  # that is what it is for
        finally:
            writer.close()

    async def connect(self) -> Connection:
        """A new connection through the proxy, closed in the end."""
        connection = await Connection.to(self.spec.listen)
        self._connections.append(connection)
        return connection

    async def become(self, wanted: LinkState) -> None:
        """Bring the proxy to this state, as the mesh does.

        Raises:
            MeshError: it did not come about.
        """
        actual = await self._state()
        while todo := steps(actual, wanted):
            await self._take(todo)
            expected, actual = after(actual, todo), await self._state()
            if actual != expected:
                raise MeshError(f"the server took {todo} and has {actual}")
            if steps(actual, wanted):
                await asyncio.sleep(_FLUSH_S)

    async def _take(self, todo: Iterable[Step]) -> None:
        for step in todo:
            await self.api.take(self.spec.name, step)

    async def _state(self) -> LinkState:
        proxies = await self.api.proxies()
        return proxies[self.spec.name].state


async def observe(scratch: Scratch, broken: LinkState, patience_s: float = ANSWER_S_MAX) -> Seen:
    """What such a fault looks like to those who wait so long."""
    busy, idle = await scratch.connect(), await scratch.connect()
    for connection in (busy, idle):
        if (answer := await connection.ask(_OPEN_S_MAX)) is not Answer.OK:
            raise MeshError(f"a request through an open proxy had the answer: {answer}")
    before = scratch.done
    await scratch.become(broken)
    # The listener also hears what comes of waiting: a fault may take its time.
    of_busy, of_idle, (connecting, fresh) = await asyncio.gather(
        busy.ask(patience_s), idle.hear(1, patience_s + _LISTEN_S), _fresh(scratch, patience_s)
    )
    during = scratch.done
    await scratch.become(LinkState())
    healed = await busy.ask(_OPEN_S_MAX)
    # The last is the one that has just been asked.
    later = scratch.done - during - (healed is Answer.OK)
    return Seen(
        busy=of_busy,
        idle=of_idle,
        connecting=connecting,
        fresh=fresh,
        done=during - before,
        done_later=later,
        healed=healed,
    )


async def _fresh(scratch: Scratch, patience_s: float) -> tuple[Answer, Answer]:
    try:
        connection = await scratch.connect()
    except ConnectionRefusedError:
        return Answer.REFUSED, Answer.REFUSED
    return Answer.OK, await connection.ask(patience_s)


async def _see(primitive: Primitive, scratch: Scratch) -> Probe:
    seen = await observe(scratch, primitive.broken)
    for patience_s in PATIENT_S:
        if primitive.fits(seen) or primitive.leaks(seen):
            break
        seen = await observe(scratch, primitive.broken, patience_s)
    passed = primitive.fits(seen)
    said = f"as expected: {seen}" if passed else f"expected {primitive.expected}; seen {seen}"
    return Probe(name=primitive.name, passed=passed, said=said)


async def _see_latency(scratch: Scratch) -> Probe:
    took_s = await _exchange_s(scratch, _with(latency(_UP, _LATENCY_MS)), len(FRAME))
    return _at_least("latency", took_s, _LATENCY_MS / 1000, f"{_LATENCY_MS} ms on requests")


async def _see_bandwidth(scratch: Scratch) -> Probe:
    took_s = await _exchange_s(scratch, _with(bandwidth(_UP, _KB_PER_S)), _BIG_BYTES)
    least_s = _BIG_BYTES / (_KB_PER_S * 1000)
    # The last piece goes out before its time is up.
    told = f"{_BIG_BYTES} bytes at {_KB_PER_S} kB/s"
    return _at_least("bandwidth", took_s, least_s * 0.8, told)


def _at_least(name: str, took_s: float, least_s: float, told: str) -> Probe:
    return Probe(
        name=name,
        passed=took_s >= least_s,
        said=f"{told}: {took_s * 1000:.0f} ms, of {least_s * 1000:.0f} ms at the least",
    )


async def _see_slices(scratch: Scratch) -> Probe:
    sliced = slicer(_UP, _SLICE_BYTES, delay_us=_SLICE_US)
    count = _BIG_BYTES // 20
    took_s = await _exchange_s(scratch, _with(sliced), count)
    # Pieces may have come together again before they were looked at; the pauses stay.
    least_s = (count // _SLICE_BYTES - 1) * _SLICE_US / 1_000_000
    told = f"{count} bytes in slices of {_SLICE_BYTES}, which came in {scratch.pieces} pieces"
    return _at_least("slices", took_s, least_s, told)


async def _exchange_s(scratch: Scratch, broken: LinkState, count: int) -> float:
    """How long it takes until so many bytes have come back; at the end the link is open."""
    connection = await scratch.connect()
    await scratch.become(broken)
    clock_s = asyncio.get_running_loop().time
    began_s = clock_s()
    await connection.send(FRAME * (count // len(FRAME)))
    answer = await connection.hear(count // len(FRAME) * len(FRAME), PROVE_S_MAX)
    took_s = clock_s() - began_s
    if answer is not Answer.OK:
        raise MeshError(f"a slowed exchange had the answer: {answer}")
    await scratch.become(LinkState())
    return took_s


See = Callable[[Scratch], Coroutine[None, None, Probe]]

_ALL: Final[Mapping[str, See]] = {
    **{primitive.name: partial(_see, primitive) for primitive in PRIMITIVES},
    "latency": _see_latency,
    "bandwidth": _see_bandwidth,
    "slices": _see_slices,
}

NAMES: Final = tuple(_ALL)
"""All primitives that can be tried."""


async def prove(api: Api, names: Collection[str] = NAMES) -> tuple[Probe, ...]:
    """Try primitives, all at once, in about a second.

    Args:
        api: of the server that the run uses.
        names: which.

    Raises:
        MeshError: the server or its proxies do not work at all.
    """
    for _ in range(_PORT_TRIES - 1):
        with suppress(_PortTaken):
            return await _proved(api, names)
    return await _proved(api, names)


class _PortTaken(MeshError):
    """Somebody took a port since it was seen to be free."""


async def _proved(api: Api, names: Collection[str]) -> tuple[Probe, ...]:
    ports = free_ports(2 * len(names))
    pairs = zip(ports[::2], ports[1::2], strict=True)
    try:
        async with asyncio.timeout(PROVE_S_MAX), AsyncExitStack() as stack:
            scratches = [await stack.enter_async_context(Scratch.made(api, p)) for p in pairs]
            async with together() as group:
                tasks = [
                    group.create_task(_ALL[name](scratch))
                    for name, scratch in zip(names, scratches, strict=True)
                ]
    except (TimeoutError, OSError, MeshError) as error:
        said = f"the links could not be tried: {str(error) or 'no end in sight'}"
        taken = "address already in use" in said.lower()
        raise (_PortTaken if taken else MeshError)(said) from error
    return tuple(task.result() for task in tasks)
