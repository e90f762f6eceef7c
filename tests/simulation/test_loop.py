import asyncio
import contextlib
import gc
import logging
import random
import secrets
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulation.loop import SimulationStuck, VirtualLoop, simulate
from tests.simulation.process import Process, ProcessDied
from tests.simulation.seal import Escaped


def test_an_hour_passes_at_once() -> None:
    async def main(loop: VirtualLoop) -> float:
        await asyncio.sleep(3600)
        return loop.time()

    assert simulate(main, limit_s=4000) == 3600


def test_timers_run_by_time_and_then_by_age() -> None:
    async def main(loop: VirtualLoop) -> list[str]:
        ran: list[str] = []
        for name, delay_s in [("b1", 2.0), ("a", 1.0), ("b2", 2.0), ("now", 0.0), ("b3", 2.0)]:
            loop.call_later(delay_s, ran.append, name)
        loop.call_later(1.5, ran.append, "cancelled").cancel()
        await asyncio.sleep(3)
        return ran

    assert simulate(main) == ["now", "a", "b1", "b2", "b3"]


def test_many_cancelled_timers_disturb_nobody() -> None:
    async def main(loop: VirtualLoop) -> list[int]:
        ran: list[int] = []
        for number in range(5000):
            timer = loop.call_later(1 + number / 1000, ran.append, number)
            if number % 10:
                timer.cancel()
        await asyncio.sleep(10)
        return ran

    assert simulate(main) == list(range(0, 5000, 10))


def test_timeouts_and_task_groups_work() -> None:
    async def main(loop: VirtualLoop) -> float:
        async def work() -> None:
            async with asyncio.timeout(5), asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(1))
                group.create_task(asyncio.sleep(100))

        with pytest.raises(TimeoutError):
            await work()
        return loop.time()

    assert simulate(main) == 5


def test_a_deadlock_is_reported_with_who_waits() -> None:
    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    async def main(loop: VirtualLoop) -> None:
        await wait_for_ever()

    with pytest.raises(SimulationStuck, match=r"- .*main at .*test_loop\.py"):
        simulate(main)


def test_a_simulation_past_its_limit_is_stuck() -> None:
    async def main(loop: VirtualLoop) -> None:
        for _ in range(1000):
            await asyncio.sleep(1)

    with pytest.raises(SimulationStuck, match=r"not done after 100 s"):
        simulate(main, limit_s=100)


def test_an_endless_loop_in_one_instant_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.simulation.loop.CALLBACKS_PER_INSTANT_MAX", 1000)

    async def main(loop: VirtualLoop) -> None:
        for _ in range(2000):
            await asyncio.sleep(0)

    with pytest.raises(SimulationStuck, match="time stands still"):
        simulate(main)


def test_an_error_that_nobody_retrieves_fails_the_simulation() -> None:
    async def fail() -> None:
        raise KeyError("lost")

    async def main(loop: VirtualLoop) -> None:
        circle: list[object] = [asyncio.ensure_future(fail())]
        circle.append(circle)  # so that only the collector can find it
        await asyncio.sleep(1)

    with pytest.raises(AssertionError, match="never retrieved") as caught:
        simulate(main)
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_callback_that_fails_fails_the_simulation() -> None:
    async def main(loop: VirtualLoop) -> None:
        loop.call_soon(int, "no number")
        await asyncio.sleep(1)

    with pytest.raises(AssertionError) as caught:
        simulate(main)
    assert isinstance(caught.value.__cause__, ValueError)


def test_sets_of_tasks_and_futures_keep_their_order() -> None:
    async def main(loop: VirtualLoop) -> tuple[list[int], list[int]]:
        async def answer(number: int) -> int:
            return number

        tasks = {loop.create_task(answer(number)) for number in range(50)}
        done, _ = await asyncio.wait(tasks)
        futures = {loop.create_future() for _ in range(50)}
        for number, future in enumerate(futures):
            future.set_result(number)
        return [task.result() for task in done], [future.result() for future in futures]

    tasks, futures = simulate(main)
    assert tasks == simulate(main)[0]
    assert sorted(tasks) == futures == list(range(50))


# -- the seal ------------------------------------------------------------------------------------


REAL_WORLD: dict[str, Callable[[], Any]] = {
    "time.time": lambda: time.time(),
    "time.time_ns": lambda: time.time_ns(),
    "time.monotonic": lambda: time.monotonic(),
    "time.perf_counter": lambda: time.perf_counter(),
    "time.sleep": lambda: time.sleep(0),
    "random.random": lambda: random.random(),
    "random.choice": lambda: random.choice([1]),
    "random.shuffle": lambda: random.shuffle([]),
    r"random.Random\(\) without a seed": lambda: random.Random(),
    "random.SystemRandom": lambda: random.SystemRandom().random(),
    "os.urandom": lambda: uuid.uuid4(),
    "secrets": lambda: secrets.token_bytes(8),
    "threading.Thread.start": lambda: threading.Thread(target=print).start(),
    "socket.socket": lambda: socket.socket().close(),
    "socket.getaddrinfo": lambda: socket.getaddrinfo("localhost", 80),
    "subprocess.Popen": lambda: subprocess.run(["true"], check=True),
}


@pytest.mark.parametrize("what", REAL_WORLD)
def test_the_real_world_is_out_of_reach(what: str) -> None:
    async def main(loop: VirtualLoop) -> None:
        REAL_WORLD[what]()

    name = "random.SystemRandom|os.urandom" if what == "secrets" else what
    with pytest.raises(Escaped, match=rf"({name}) was called .* by .*test_loop\.py:\d+, in "):
        simulate(main)
    REAL_WORLD[what]()  # and back in reach afterwards


LOOP_CALLS: dict[str, Callable[[VirtualLoop], Any]] = {
    "run_in_executor": lambda loop: asyncio.to_thread(print),
    "create_connection": lambda loop: asyncio.open_connection("localhost", 80),
    "create_server": lambda loop: asyncio.start_server(print, "localhost", 0),
    "getaddrinfo": lambda loop: loop.getaddrinfo("localhost", 80),
    "subprocess_exec": lambda loop: asyncio.create_subprocess_exec("true"),
    "add_reader": lambda loop: loop.add_reader(0, print),
    "add_signal_handler": lambda loop: loop.add_signal_handler(1, print),
}


@pytest.mark.parametrize("name", LOOP_CALLS)
def test_the_loop_itself_leads_nowhere_outside(name: str) -> None:
    async def main(loop: VirtualLoop) -> None:
        await LOOP_CALLS[name](loop)

    with pytest.raises(Escaped, match=rf"loop\.{name} was called"):
        simulate(main)


def test_an_escape_that_is_swallowed_is_found_all_the_same() -> None:
    async def main(loop: VirtualLoop) -> None:
        with contextlib.suppress(Exception):
            time.monotonic()

    with pytest.raises(Escaped, match=r"time\.monotonic"):
        simulate(main)


def test_other_threads_may_use_the_real_world_but_not_the_loop() -> None:
    begin, seen = threading.Event(), list[Any]()
    loops: list[VirtualLoop] = []

    def outside() -> None:
        begin.wait(10)
        seen.append(time.monotonic())
        try:
            loops[0].call_soon_threadsafe(print)
        except Escaped as escape:
            seen.append(escape)

    thread = threading.Thread(target=outside)
    thread.start()

    async def main(loop: VirtualLoop) -> None:
        loop.call_soon_threadsafe(loops.append, loop)
        await asyncio.sleep(1)
        begin.set()
        thread.join()

    with pytest.raises(Escaped, match="from another thread"):
        simulate(main)
    assert isinstance(seen[0], float)
    assert len(seen) == 2


def test_log_records_may_have_their_time(caplog: pytest.LogCaptureFixture) -> None:
    async def main(loop: VirtualLoop) -> None:
        logging.getLogger("dynamo.test").warning("noted")

    simulate(main)
    assert [record.message for record in caplog.records] == ["noted"]


@given(st.lists(st.floats(0, 100), max_size=5))
def test_a_simulation_runs_inside_a_property(delays_s: list[float]) -> None:
    async def main(loop: VirtualLoop) -> float:
        await asyncio.gather(*map(asyncio.sleep, delays_s))
        gc.collect()  # Hypothesis measures it, on the real clock
        return loop.time()

    assert simulate(main) == max(delays_s, default=0)


# -- processes -----------------------------------------------------------------------------------


async def _tick(loop: VirtualLoop, ticks: list[float]) -> None:
    try:
        while True:
            await asyncio.sleep(1)
            ticks.append(loop.time())
    finally:
        ticks.append(-1.0)


def test_a_frozen_process_stands_still_and_then_goes_on() -> None:
    async def main(loop: VirtualLoop) -> list[float]:
        ticks: list[float] = []
        process = Process(loop, "n1")
        process.spawn(_tick(loop, ticks))
        await asyncio.sleep(2.5)
        process.freeze()
        await asyncio.sleep(3)
        assert ticks == [1.0, 2.0]
        process.thaw()
        await asyncio.sleep(2)
        return list(ticks)

    assert simulate(main) == [1.0, 2.0, 5.5, 6.5]


def test_nothing_of_a_killed_process_runs_again() -> None:
    async def main(loop: VirtualLoop) -> tuple[list[float], list[float]]:
        ticks: list[float] = []
        other: list[float] = []
        process = Process(loop, "n1")
        process.spawn(_tick(loop, ticks))
        Process(loop, "n2").spawn(_tick(loop, other))
        await asyncio.sleep(2.5)
        process.kill()
        await asyncio.sleep(3)
        return list(ticks), list(other)

    assert simulate(main) == ([1.0, 2.0], [1.0, 2.0, 3.0, 4.0, 5.0])


def test_tasks_and_timers_inherit_their_process() -> None:
    async def main(loop: VirtualLoop) -> list[str]:
        ran: list[str] = []

        async def child() -> None:
            loop.call_later(1, ran.append, "timer")
            await asyncio.sleep(2)
            ran.append("child")

        async def parent() -> None:
            await asyncio.gather(child())

        process = Process(loop, "n1")
        process.spawn(parent())
        await asyncio.sleep(0.5)
        process.kill()
        await asyncio.sleep(5)
        return list(ran)

    assert simulate(main) == []


def test_who_waits_for_a_killed_process_is_told() -> None:
    async def main(loop: VirtualLoop) -> float:
        process = Process(loop, "n1")
        loop.call_later(2, process.kill)
        with pytest.raises(ProcessDied):
            await process.call(asyncio.sleep(10))
        with pytest.raises(ProcessDied):
            await process.call(asyncio.sleep(10))
        return loop.time()

    assert simulate(main) == 2


def test_a_call_into_a_process_returns_or_raises() -> None:
    async def double(number: int) -> int:
        await asyncio.sleep(1)
        return number * 2

    async def fail() -> None:
        raise KeyError("no")

    async def main(loop: VirtualLoop) -> int:
        process = Process(loop, "n1")
        with pytest.raises(KeyError):
            await process.call(fail())
        return await process.call(double(21))

    assert simulate(main) == 42


def test_a_simulation_leaves_no_task_behind() -> None:
    async def main(loop: VirtualLoop) -> list[float]:
        ticks: list[float] = []
        process = Process(loop, "n1")
        process.spawn(_tick(loop, ticks))
        asyncio.ensure_future(_tick(loop, ticks))  # noqa: RUF006
        await asyncio.sleep(1.5)
        process.kill()
        return ticks

    assert simulate(main)[-2:] == [-1.0, -1.0]
    assert "tests.simulation.loop" in sys.modules
