"""The gate of background work: its pace follows what the requests of clients take."""

import asyncio

import pytest

from dynamo.node.pacing import (
    GROWTH,
    RATE_MAX,
    RATE_MIN,
    RATE_START,
    SAMPLES_MIN,
    TARGET_FACTOR,
    TARGET_S_MIN,
    Pacer,
)
from tests.simulation.loop import VirtualLoop, simulate


def _pacer(loop: asyncio.AbstractEventLoop, p99_s_max: float = 0.1) -> Pacer:
    return Pacer(loop.time, p99_s_max=p99_s_max)


async def _window(pacer: Pacer, latency_s: float, *, works: bool) -> None:
    for _ in range(SAMPLES_MIN):
        pacer.observe(latency_s)
    if works:
        pacer.units += int(pacer.rate)
    await pacer.step()


def test_so_many_units_pass_in_a_second_as_the_rate_says() -> None:
    async def main(loop: VirtualLoop) -> float:
        pacer = _pacer(loop)
        for _ in range(int(RATE_START)):
            await pacer.admit()
        return loop.time()

    assert simulate(main) == pytest.approx(1.0, rel=0.06)


def test_work_after_a_rest_does_not_come_in_a_rush() -> None:
    async def main(loop: VirtualLoop) -> float:
        pacer = _pacer(loop)
        await asyncio.sleep(100.0)
        for _ in range(int(RATE_START)):
            await pacer.admit()
        return loop.time() - 100.0

    assert simulate(main) == pytest.approx(1.0, rel=0.06)


def test_background_work_slows_down_while_requests_are_slow_and_never_ends() -> None:
    async def main(loop: VirtualLoop) -> list[float]:
        pacer = _pacer(loop)
        await _window(pacer, 0.01, works=False)
        rates = []
        for _ in range(10):
            await _window(pacer, 0.05, works=True)
            rates.append(pacer.rate)
        return rates

    rates = simulate(main)
    assert rates[0] == max(RATE_START / 4, RATE_MIN)
    assert min(rates) == RATE_MIN


def test_background_work_speeds_up_again_when_requests_are_fast() -> None:
    async def main(loop: VirtualLoop) -> tuple[float, float]:
        pacer = _pacer(loop)
        await _window(pacer, 0.01, works=False)
        await _window(pacer, 0.05, works=True)
        slow = pacer.rate
        await _window(pacer, 0.01, works=True)
        return slow, pacer.rate

    slow, fast = simulate(main)
    assert fast == GROWTH * slow


def test_without_requests_background_work_gets_as_fast_as_it_may() -> None:
    async def main(loop: VirtualLoop) -> float:
        pacer = _pacer(loop)
        for _ in range(20):
            await pacer.step()
        return pacer.rate

    assert simulate(main) == RATE_MAX


def test_few_requests_are_gathered_until_they_say_something() -> None:
    async def main(loop: VirtualLoop) -> tuple[float, float]:
        pacer = _pacer(loop)
        await _window(pacer, 0.01, works=False)
        for _ in range(2):
            for _ in range(SAMPLES_MIN // 2):
                pacer.observe(0.05)
            pacer.units += int(pacer.rate)
            before = pacer.rate
            await pacer.step()
        return before, pacer.rate

    before, after = simulate(main)
    assert before == RATE_START
    assert after == max(RATE_START / 4, RATE_MIN)


def test_requests_that_come_find_background_work_at_the_pace_to_begin_with() -> None:
    async def main(loop: VirtualLoop) -> float:
        pacer = _pacer(loop)
        for _ in range(20):
            await pacer.step()
        assert pacer.rate == RATE_MAX
        pacer.observe(0.01)
        return pacer.rate

    assert simulate(main) == RATE_START


def test_work_that_does_not_need_the_pace_does_not_raise_it() -> None:
    async def main(loop: VirtualLoop) -> float:
        pacer = _pacer(loop)
        await _window(pacer, 0.01, works=False)
        for _ in range(SAMPLES_MIN):
            pacer.observe(0.01)
        pacer.units += 1
        await pacer.step()
        return pacer.rate

    assert simulate(main) == RATE_START


def test_the_target_follows_the_quiet_latency_within_bounds() -> None:
    async def main(loop: VirtualLoop) -> list[float]:
        targets = []
        for quiet_s in (0.0001, 0.02, 3.0):
            pacer = _pacer(loop)
            await _window(pacer, quiet_s, works=False)
            targets.append(pacer.target_s)
        return targets

    assert simulate(main) == [TARGET_S_MIN, TARGET_FACTOR * 0.02, 0.1]


def test_requests_that_stay_slow_at_the_lowest_pace_are_taken_for_slow_by_themselves() -> None:
    async def main(loop: VirtualLoop) -> tuple[float, float]:
        pacer = _pacer(loop, p99_s_max=1.0)
        await _window(pacer, 0.01, works=False)
        for _ in range(30):
            await _window(pacer, 0.05, works=True)
        return pacer.target_s, pacer.rate

    target_s, rate = simulate(main)
    assert target_s > 0.05
    assert rate > RATE_MIN
