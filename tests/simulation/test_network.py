import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dynamo.core.ids import Address
from dynamo.rpc.wire import Wire
from tests.simulation.connection import DEFAULT_HIGH_BYTES, KERNEL_BYTES_MAX
from tests.simulation.links import Cut, Weather
from tests.simulation.loop import VirtualLoop, simulate
from tests.simulation.network import DIAL_S_MAX, Network
from tests.simulation.process import Process
from tests.simulation.trace import Trace

PORT = 9098
# Nothing below waits longer than this for what is under way.
SETTLE_S = 0.1


class Recorder(asyncio.Protocol):
    """Notes what its transport tells it."""

    def __init__(self, *, echo: bool = False) -> None:
        self.told: list[str] = []
        self.data = b""
        self.pieces = 0
        self.echo = echo
        self.answered = asyncio.Event()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.pieces += 1
        self.answered.set()
        if self.echo:
            self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost" if exc is None else type(exc).__name__)

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")


class Pair:
    """Hosts a and b, and what they said to each other."""

    def __init__(self, loop: VirtualLoop, weather: Weather) -> None:
        self.trace = Trace(loop.time)
        self.network = Network(loop, random.Random(1), weather, self.trace)
        self.a = Process(loop, "a")
        self.b = Process(loop, "b")
        self.wire_a: Wire = self.network.boot(self.a)
        self.wire_b: Wire = self.network.boot(self.b)
        self.served: list[Recorder] = []

    def serve(self) -> Recorder:
        protocol = Recorder(echo=True)
        self.served.append(protocol)
        return protocol

    async def listen(self) -> None:
        await self.b.call(self.wire_b.listen(Address("b", PORT), self.serve))

    async def dial(self) -> Recorder:
        client = Recorder()
        await self.a.call(self.wire_a.dial(Address("b", PORT), lambda: client))
        return client


def with_pair(
    scenario: Callable[[Pair], Awaitable[Any]], weather: Weather | None = None, limit_s: float = 600
) -> Any:
    async def main(loop: VirtualLoop) -> Any:
        pair = Pair(loop, weather or Weather())
        await pair.listen()
        return await scenario(pair)

    return simulate(main, limit_s=limit_s)


def test_bytes_arrive_in_order_in_other_pieces() -> None:
    async def scenario(pair: Pair) -> None:
        client = await pair.dial()
        sent = b""
        for number in range(200):
            data = b"%d." % number
            client.transport.write(data)
            sent += data
            if number % 10 == 0:
                await asyncio.sleep(0.001)
        await asyncio.sleep(SETTLE_S)
        assert pair.served[0].data == client.data == sent
        assert 1 < pair.served[0].pieces != 200

    with_pair(scenario, Weather(split_share=0.5))


def test_a_split_piece_arrives_in_two() -> None:
    async def scenario(pair: Pair) -> int:
        client = await pair.dial()
        client.transport.write(b"0123456789")
        await asyncio.sleep(SETTLE_S)
        assert pair.served[0].data == b"0123456789"
        return pair.served[0].pieces

    assert with_pair(scenario, Weather(split_share=1.0)) > 1
    assert with_pair(scenario, Weather(split_share=0.0)) == 1


def test_each_direction_takes_its_latency() -> None:
    async def scenario(pair: Pair) -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        client = await pair.dial()
        dialled_s = loop.time()
        client.transport.write(b"x")
        await client.answered.wait()
        return dialled_s - begun_s, loop.time() - dialled_s

    weather = Weather(base_s=(0.5, 0.5), jitter_s=0.0, spike_share=0.0)
    dial_s, echo_s = with_pair(scenario, weather)
    assert dial_s == pytest.approx(1.0)
    assert echo_s == pytest.approx(1.0)


def test_the_same_seed_gives_the_same_bytes_at_the_same_times() -> None:
    async def scenario(pair: Pair) -> str:
        client = await pair.dial()
        for number in range(50):
            client.transport.write(b"x" * number)
            await asyncio.sleep(0.0003)
        await asyncio.sleep(SETTLE_S)
        return pair.trace.digest()

    digest = with_pair(scenario)
    assert with_pair(scenario) == digest
    assert with_pair(scenario, Weather(jitter_s=0.0006)) != digest


def test_closing_delivers_first_and_ends_both_sides() -> None:
    async def scenario(pair: Pair) -> None:
        client = await pair.dial()
        client.transport.write(b"last words")
        client.transport.close()
        client.transport.write(b"too late")
        assert client.transport.is_closing()
        await asyncio.sleep(SETTLE_S)
        assert client.told == ["made", "lost"]
        assert pair.served[0].told == ["made", "lost"]
        assert pair.served[0].data == b"last words"

    with_pair(scenario)


def test_aborting_resets_the_other_side() -> None:
    async def scenario(pair: Pair) -> None:
        client = await pair.dial()
        await asyncio.sleep(SETTLE_S)
        client.transport.write(b"never sent")
        client.transport.abort()
        await asyncio.sleep(SETTLE_S)
        assert client.told == ["made", "lost"]
        assert pair.served[0].told == ["made", "ConnectionResetError"]
        assert pair.served[0].data == b""

    with_pair(scenario)


def test_nobody_listening_is_refused() -> None:
    async def scenario(pair: Pair) -> None:
        with pytest.raises(ConnectionRefusedError):
            await pair.a.call(pair.wire_a.dial(Address("b", 1), Recorder))
        with pytest.raises(ConnectionRefusedError):
            await pair.b.call(pair.wire_b.dial(Address("a", PORT), Recorder))

    with_pair(scenario)


def test_an_address_is_taken_until_it_is_closed_and_has_to_be_ones_own() -> None:
    async def scenario(pair: Pair) -> None:
        wire = pair.wire_a
        listener = await wire.listen(Address("a", PORT), Recorder)
        with pytest.raises(OSError, match="taken"):
            await wire.listen(Address("a", PORT), Recorder)
        listener.close()
        await wire.listen(Address("a", PORT), Recorder)
        with pytest.raises(OSError, match="not an address of a"):
            await wire.listen(Address("b", PORT + 1), Recorder)

    with_pair(scenario)


# -- flow control --------------------------------------------------------------------------------


def test_a_reader_that_pauses_gets_nothing_and_then_everything() -> None:
    async def scenario(pair: Pair) -> None:
        client = await pair.dial()
        await asyncio.sleep(SETTLE_S)
        server = pair.served[0]
        server.transport.pause_reading()
        client.transport.write(b"held")
        client.transport.write(b" back")
        client.transport.close()
        await asyncio.sleep(SETTLE_S)
        assert server.data == b""
        assert server.told == ["made"]
        server.transport.resume_reading()
        await asyncio.sleep(SETTLE_S)
        assert server.data == b"held back"
        assert server.told == ["made", "lost"]

    with_pair(scenario)


def test_a_writer_is_paused_when_nobody_reads_and_resumed_when_somebody_does() -> None:
    async def scenario(pair: Pair) -> None:
        client = await pair.dial()
        await asyncio.sleep(SETTLE_S)
        server = pair.served[0]
        server.echo = False
        server.transport.pause_reading()
        client.transport.write(b"x" * KERNEL_BYTES_MAX)
        assert client.transport.get_write_buffer_size() == 0
        client.transport.write(b"x" * DEFAULT_HIGH_BYTES)
        assert client.told == ["made"]
        client.transport.write(b"x")
        assert client.told == ["made", "pause"]
        client.transport.close()
        await asyncio.sleep(SETTLE_S)
        assert client.told == ["made", "pause"]  # what was written has to leave first
        server.transport.resume_reading()
        await asyncio.sleep(SETTLE_S)
        assert client.told[-1] == "lost"
        assert len(server.data) == KERNEL_BYTES_MAX + DEFAULT_HIGH_BYTES + 1

    with_pair(scenario, Weather(split_share=0.0))


def test_a_paused_writer_is_resumed() -> None:
    async def scenario(pair: Pair) -> None:
        client = await pair.dial()
        await asyncio.sleep(SETTLE_S)
        client.transport.set_write_buffer_limits(high=10)
        client.transport.write(b"x" * (KERNEL_BYTES_MAX + 11))
        await asyncio.sleep(SETTLE_S)
        assert client.told == ["made", "pause", "resume"]

    with_pair(scenario)


# -- cuts ----------------------------------------------------------------------------------------


def test_refusing_resets_and_refuses() -> None:
    async def scenario(pair: Pair) -> None:
        client = await pair.dial()
        pair.network.cut("a", "b", Cut.REFUSE)
        await asyncio.sleep(SETTLE_S)
        assert client.told == pair.served[0].told == ["made", "ConnectionResetError"]
        with pytest.raises(ConnectionRefusedError):
            await pair.dial()
        pair.network.heal("a", "b")
        await pair.dial()

    with_pair(scenario)


@pytest.mark.parametrize(("source", "target", "arrived"), [("a", "b", b""), ("b", "a", b"x")])
def test_dropping_one_way_is_silent_and_the_connection_never_recovers(
    source: str, target: str, arrived: bytes
) -> None:
    async def scenario(pair: Pair) -> None:
        client = await pair.dial()
        await asyncio.sleep(SETTLE_S)
        pair.network.cut(source, target, Cut.DROP)
        client.transport.write(b"x")
        await asyncio.sleep(60)
        assert pair.served[0].data == arrived
        assert client.data == b""
        pair.network.heal_all()
        client.transport.write(b"y")
        await asyncio.sleep(60)
        assert client.data == b""
        assert client.told == ["made"]

    with_pair(scenario)


def test_a_cut_in_which_nothing_was_sent_is_not_noticed() -> None:
    async def scenario(pair: Pair) -> None:
        client = await pair.dial()
        pair.network.cut("a", "b", Cut.DROP)
        await asyncio.sleep(60)
        pair.network.heal("a", "b")
        client.transport.write(b"x")
        await asyncio.sleep(SETTLE_S)
        assert client.data == b"x"

    with_pair(scenario)


def test_stalled_bytes_arrive_after_the_heal_in_order() -> None:
    async def scenario(pair: Pair) -> None:
        client = await pair.dial()
        pair.network.cut("a", "b", Cut.STALL)
        client.transport.write(b"1")
        await asyncio.sleep(30)
        client.transport.write(b"2")
        client.transport.close()
        await asyncio.sleep(30)
        assert pair.served[0].data == b""
        pair.network.heal("a", "b")
        await asyncio.sleep(SETTLE_S)
        assert pair.served[0].data == b"12"
        assert pair.served[0].told == ["made", "lost"]

    with_pair(scenario)


@pytest.mark.parametrize("mode", [Cut.DROP, Cut.STALL])
@pytest.mark.parametrize(("source", "target"), [("a", "b"), ("b", "a")])
def test_dialling_through_a_silent_cut_waits_for_the_heal(
    mode: Cut, source: str, target: str
) -> None:
    async def scenario(pair: Pair) -> None:
        loop = asyncio.get_running_loop()
        pair.network.cut(source, target, mode)
        begun_s = loop.time()
        with pytest.raises(TimeoutError):
            await pair.dial()
        assert DIAL_S_MAX < loop.time() - begun_s < DIAL_S_MAX + 2
        loop.call_later(10, pair.network.heal, source, target)
        begun_s = loop.time()
        await pair.dial()
        assert 10 < loop.time() - begun_s < 12

    with_pair(scenario)


def test_a_reset_between_two_leaves_others_alone() -> None:
    async def scenario(pair: Pair) -> None:
        client = await pair.dial()
        pair.network.reset("c", "b")
        await asyncio.sleep(SETTLE_S)
        assert client.told == pair.served[0].told == ["made"]
        pair.network.reset("b", "a")
        await asyncio.sleep(SETTLE_S)
        assert client.told == pair.served[0].told == ["made", "ConnectionResetError"]

    with_pair(scenario)


# -- hosts that stop -----------------------------------------------------------------------------


def kill(pair: Pair, *, silent: bool) -> None:
    pair.b.kill()
    pair.network.kill("b", silent=silent)


def test_a_killed_process_closes_its_connections_and_says_no_more() -> None:
    async def scenario(pair: Pair) -> None:
        client = await pair.dial()
        await asyncio.sleep(SETTLE_S)
        kill(pair, silent=False)
        await asyncio.sleep(SETTLE_S)
        assert client.told == ["made", "lost"]
        assert pair.served[0].told == ["made"]
        with pytest.raises(ConnectionRefusedError):
            await pair.dial()
        with pytest.raises(OSError, match="switched off"):
            await pair.wire_b.listen(Address("b", PORT), pair.serve)

    with_pair(scenario)


def test_a_host_without_power_is_silent_until_it_is_on_again() -> None:
    async def scenario(pair: Pair) -> None:
        client = await pair.dial()
        kill(pair, silent=True)
        client.transport.write(b"x")
        await asyncio.sleep(60)
        assert client.told == ["made"]
        pair.b = Process(pair.a._loop, "b")
        pair.wire_b = pair.network.boot(pair.b)
        await pair.listen()
        client.transport.write(b"x")
        await asyncio.sleep(SETTLE_S)
        assert client.told == ["made", "ConnectionResetError"]
        assert (await pair.dial()).told == ["made"]

    with_pair(scenario)


def test_a_frozen_process_takes_connections_and_bytes_but_does_nothing_with_them() -> None:
    async def scenario(pair: Pair) -> None:
        pair.b.freeze()
        client = await pair.dial()
        client.transport.write(b"x")
        await asyncio.sleep(60)
        assert pair.served == []
        pair.b.thaw()
        await asyncio.sleep(SETTLE_S)
        assert client.data == b"x"

    with_pair(scenario)


def test_a_connection_broken_before_it_was_accepted_is_made_and_lost() -> None:
    async def scenario(pair: Pair) -> None:
        pair.b.freeze()
        await pair.dial()
        pair.network.reset("a", "b")
        await asyncio.sleep(SETTLE_S)
        pair.b.thaw()
        await asyncio.sleep(SETTLE_S)
        assert pair.served[0].told == ["made", "ConnectionResetError"]

    with_pair(scenario)


def test_a_protocol_that_fails_fails_the_simulation() -> None:
    class Failing(Recorder):
        def data_received(self, data: bytes) -> None:
            raise KeyError("data")

    async def scenario(pair: Pair) -> None:
        client = Failing()
        await pair.a.call(pair.wire_a.dial(Address("b", PORT), lambda: client))
        client.transport.write(b"x")
        await asyncio.sleep(SETTLE_S)
        assert client.told == ["made", "lost"]

    with pytest.raises(AssertionError, match="Failing"):
        with_pair(scenario)
