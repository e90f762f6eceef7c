"""The load: arrivals keep to their plan, nothing is hidden, and nothing outlives it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice, pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.arrivals import OVERFULL, evenly, never_sent, poisson
from chaos.clients import History, LabClient
from chaos.errors import LabError, SettingError
from chaos.load import Load, Stream
from chaos.modes import Mode
from chaos.recording import Action, Outcome
from chaos.workloads.workload import Workload

MODE = Mode(r=2, w=2, sloppy=True)
WITHIN_S = 10.0

Do = Callable[[LabClient], Awaitable[None]]


async def nothing(client: LabClient) -> None:
    """Be done at once."""


class Steps(Workload):
    """Notes its steps; what they do is up to the test."""

    def __init__(self, do: Do = nothing, *, name: str = "steps") -> None:
        super().__init__(name, MODE, keys=1)
        self.do = do
        self.begun: list[tuple[str, float, float]] = []
        self.ended = 0
        self._changed = asyncio.Event()

    async def step(self, client: LabClient, dice: Random, intended_s: float) -> None:
        self.begun.append((client.name, intended_s, dice.random()))
        self._changed.set()
        await self.do(client)
        self.ended += 1

    async def until_begun(self, count: int) -> None:
        async with asyncio.timeout(WITHIN_S):
            while len(self.begun) < count:
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
async def history() -> History:
    return History(asyncio.get_running_loop().time)


def client(history: History, name: str = "c1", timeout_s: float = 0.05) -> LabClient:
    return LabClient(name, "A", {"n1": "http://127.0.0.1:1"}, history, timeout_s)


def load(
    history: History,
    *streams: Stream,
    seed: int = 1,
    under_way_max: int = 90,
) -> Load:
    return Load(streams, history, Random(seed), under_way_max=under_way_max)


async def until_never_sent(running: Load, count: int) -> None:
    async with asyncio.timeout(WITHIN_S):
        while running.never_sent < count:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)


def distances(intended_s: Iterator[float]) -> list[float]:
    return [round(later - earlier, 6) for earlier, later in pairwise(intended_s)]


@given(st.floats(0.01, 10_000), st.integers(0, 2**32), st.integers(1, 200))
def test_even_arrivals_are_as_many_as_their_rate_says(rate: float, seed: int, count: int) -> None:
    due_s = list(islice(evenly(rate, Random(seed)), count))
    assert all(number <= at_s * rate + 1e-6 for number, at_s in enumerate(due_s))
    assert all(at_s * rate <= number + 1 + 1e-6 for number, at_s in enumerate(due_s))


@given(st.integers(0, 2**32))
def test_random_arrivals_come_in_order_at_their_rate_on_average(seed: int) -> None:
    due_s = list(islice(poisson(50.0, Random(seed)), 4000))
    assert due_s == sorted(due_s)
    assert 50 * 0.85 < 4000 / due_s[-1] < 50 * 1.15
    spread = [later - earlier for earlier, later in pairwise(due_s)]
    assert sum(distance < 0.02 for distance in spread) > sum(d >= 0.02 for d in spread)


async def test_arrivals_keep_to_their_plan_while_requests_wait(history: History) -> None:
    answered = asyncio.Event()

    async def wait(client: LabClient) -> None:
        await answered.wait()

    steps = Steps(wait)
    async with load(history, Stream(workload=steps, client=client(history), rate_hz=500)).running():
        await steps.until_begun(10)
        answered.set()
    names, intended_s, _ = zip(*steps.begun[:10], strict=True)
    assert distances(iter(intended_s)) == [0.002] * 9
    assert names == tuple(f"c1.{number}" for number in range(1, 11))


async def test_a_name_is_free_again_when_its_step_is_over(history: History) -> None:
    steps = Steps()
    async with load(history, Stream(workload=steps, client=client(history), rate_hz=500)).running():
        await steps.until_begun(20)
    assert {name for name, _, _ in steps.begun} == {"c1.1"}


async def test_a_sequential_step_waits_for_the_one_before_and_is_due_all_the_same(
    history: History,
) -> None:
    at_once = [0, 0]

    async def take_long(client: LabClient) -> None:
        at_once[0] += 1
        at_once[1] = max(at_once)
        await asyncio.sleep(0.01)
        at_once[0] -= 1

    steps = Steps(take_long)
    running = load(
        history,
        Stream(workload=steps, client=client(history), rate_hz=1000, sequential=True),
    )
    async with running.running():
        await steps.until_begun(8)
    assert at_once[1] == 1
    names, intended_s, _ = zip(*steps.begun, strict=True)
    assert set(names) == {"c1"}
    assert distances(iter(intended_s)) == [0.001] * (len(intended_s) - 1)
    assert running.sent == len(steps.begun)
    assert running.overdue > 0, "arrivals whose turn never came are counted"


async def test_an_arrival_that_finds_no_room_is_taken_down_as_the_labs_failure(
    history: History,
) -> None:
    answered = asyncio.Event()

    async def wait(client: LabClient) -> None:
        await answered.wait()

    steps = Steps(wait)
    running = load(
        history,
        Stream(workload=steps, client=client(history), rate_hz=500),
        under_way_max=3,
    )
    async with running.running():
        await until_never_sent(running, 5)
        answered.set()
    operations = history.operations()
    assert never_sent(operations) == running.never_sent == len(operations)
    first = operations[0]
    assert (first.outcome, first.error, first.action) == (Outcome.FAIL, OVERFULL, Action.GET)
    assert (first.workload, first.bucket, first.key) == ("steps", steps.bucket, "")
    assert first.intended_s == pytest.approx(steps.begun[2][1] + 0.002)
    assert running.sent == len(steps.begun) >= 3


async def test_a_client_has_room_for_so_many_steps_in_all_its_streams_together(
    history: History,
) -> None:
    async def wait(client: LabClient) -> None:
        await asyncio.Event().wait()

    one, other = Steps(wait, name="one"), Steps(wait, name="other")
    asking = client(history)
    running = load(
        history,
        Stream(workload=one, client=asking, rate_hz=400),
        Stream(workload=other, client=asking, rate_hz=400),
        under_way_max=4,
    )
    async with asyncio.timeout(WITHIN_S), running.running():
        await until_never_sent(running, 1)
    names = [name for name, _, _ in one.begun + other.begun]
    assert sorted(names) == ["c1.1", "c1.2", "c1.3", "c1.4"]


async def test_steps_under_way_may_end_when_the_load_is_stopped(history: History) -> None:
    answered = asyncio.Event()

    async def wait(client: LabClient) -> None:
        await answered.wait()

    steps = Steps(wait)
    asking = client(history, timeout_s=WITHIN_S)
    running = load(history, Stream(workload=steps, client=asking, rate_hz=100))
    task = asyncio.create_task(running.run())
    await steps.until_begun(3)
    running.stop()
    begun = len(steps.begun)
    answered.set()
    await asyncio.wait_for(task, WITHIN_S)
    assert steps.ended == len(steps.begun) == begun


async def test_what_does_not_end_is_cut_short_when_a_request_had_its_time(history: History) -> None:
    async def hang(client: LabClient) -> None:
        await asyncio.Event().wait()

    steps, sequential = Steps(hang), Steps(hang, name="sequential")
    asking = client(history)
    async with asyncio.timeout(WITHIN_S):
        async with load(
            history,
            Stream(workload=steps, client=asking, rate_hz=100),
            Stream(workload=sequential, client=asking, rate_hz=100, sequential=True),
        ).running():
            await steps.until_begun(2)
            await sequential.until_begun(1)
    assert steps.ended == sequential.ended == 0


@pytest.mark.parametrize("sequential", [False, True])
async def test_an_exception_in_a_step_ends_the_block_and_is_raised(
    history: History, sequential: bool
) -> None:
    async def fail(client: LabClient) -> None:
        raise ZeroDivisionError

    stream = Stream(
        workload=Steps(fail), client=client(history), rate_hz=100, sequential=sequential
    )

    async def wait_for_it() -> None:
        async with asyncio.timeout(WITHIN_S), load(history, stream).running():
            await asyncio.Event().wait()

    with pytest.raises(ZeroDivisionError):
        await wait_for_it()


async def test_an_exception_in_the_block_ends_the_load_and_is_raised_as_it_is(
    history: History,
) -> None:
    steps = Steps()
    stream = Stream(workload=steps, client=client(history), rate_hz=100)

    async def fail() -> None:
        async with load(history, stream).running():
            await steps.until_begun(1)
            raise LabError("no mesh")

    with pytest.raises(LabError, match="no mesh"):
        await fail()


@pytest.mark.parametrize("at_random", [False, True])
async def test_a_seed_decides_when_requests_are_due_and_what_they_do(at_random: bool) -> None:
    async def drawn(seed: int) -> list[tuple[float, float]]:
        history = History(lambda: 0.0)
        steps = Steps()
        stream = Stream(workload=steps, client=client(history), rate_hz=1000, at_random=at_random)
        async with load(history, stream, seed=seed).running():
            await steps.until_begun(10)
        return [(round(at_s, 9), choice) for _, at_s, choice in steps.begun[:10]]

    assert await drawn(1) == await drawn(1) != await drawn(2)


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, float("nan")])
async def test_a_rate_that_is_none_is_refused(history: History, rate_hz: float) -> None:
    with pytest.raises(SettingError):
        load(history, Stream(workload=Steps(), client=client(history), rate_hz=rate_hz))


async def test_a_client_cannot_have_two_streams_of_one_workload(history: History) -> None:
    stream = Stream(workload=Steps(), client=client(history), rate_hz=1)
    with pytest.raises(SettingError, match="c1 has two streams"):
        load(history, stream, stream)
