"""The load: streams of arrivals, each of them a client that takes steps of a workload.

Arrivals keep to their plan whatever the cluster does (`arrivals.py`), and a request's latency
counts from when it was due, also where the lab itself was late. A stream is one of two kinds:

*   concurrent: arrivals never wait. A client that still waits for answers takes further steps in
    lanes, under names of their own, so that whoever has a name does one thing at a time.
*   sequential: a step waits for the one before, as whoever reads before it writes must.
"""

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Final, Self

from chaos.arrivals import OVERFULL, evenly, poisson
from chaos.clients import History, LabClient
from chaos.errors import SettingError
from chaos.recording import Action, Outcome
from chaos.workloads.workload import Workload

UNDER_WAY_MAX: Final = 90
"""Steps of one client at a time; it has at most 100 connections to a node."""

_OVERTIME_S: Final = 0.25  # what requests take to end themselves when their time is up

_DICE_BITS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One client's arrivals.

    Attributes:
        workload: what it does at each.
        client: who.
        rate_hz: arrivals a second.
        sequential: a step waits for the one before; see above.
        at_random: arrivals know nothing of each other (Poisson), instead of coming evenly.
    """

    workload: Workload
    client: LabClient
    rate_hz: float
    sequential: bool = False
    at_random: bool = False


class Load:
    """Streams that run side by side, once.

    Attributes:
        sent: steps begun.
        never_sent: arrivals that found too many steps of their client under way; with any of them
            the take says nothing (`arrivals.never_sent`).
        overdue: arrivals of sequential streams whose turn had not come when the load was stopped.
        late_s_max: how long after it was due an arrival was seen to, at most, where it had not to
            wait for another: a lab that is too slow for its load.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        history: History,
        dice: Random,
        *,
        under_way_max: int = UNDER_WAY_MAX,
    ) -> None:
        """Say what to send; nothing is sent yet.

        Args:
            streams: see above; a client has one of each workload and mode.
            history: takes down arrivals that could not be sent; its clock is the load's.
            dice: all arrivals and all choices of workloads come from it.
            under_way_max: steps of concurrent streams of one client at a time.

        Raises:
            SettingError: a rate is none, or a client has the same stream twice.
        """
        _check(streams)
        self.sent = 0
        self.never_sent = 0
        self.overdue = 0
        self.late_s_max = 0.0
        self._streams = [(stream, Random(dice.getrandbits(_DICE_BITS))) for stream in streams]
        self._history = history
        self._clock_s: Callable[[], float] = history.clock_s
        self._lanes = {stream.client.name: _Lanes(stream.client) for stream in streams}
        self._under_way_max = under_way_max
        self._stopped = asyncio.Event()
        self._steps: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Let nothing arrive any more; `run` returns when what is under way has ended."""
        self._stopped.set()

    async def run(self) -> None:
        """Carry the load until it is stopped, and for as long after it as a request may take.

        Steps that are still not through then, as those that were to send another request, end
        without it; a request that was cut short counts as unknown.

        Raises:
            ExceptionGroup: a step raised something.
        """
        async with asyncio.TaskGroup() as group:
            streams = [
                group.create_task(
                    self._one_by_one(stream, self._plan(stream, dice), dice)
                    if stream.sequential
                    else self._all_at_once(stream, self._plan(stream, dice), dice, group)
                )
                for stream, dice in self._streams
            ]
            await self._stopped.wait()
            patience_s = max((stream.client.timeout_s for stream, _ in self._streams), default=0.0)
            if left := {*streams, *self._steps}:
                _, late = await asyncio.wait(left, timeout=patience_s + _OVERTIME_S)
                for task in late:
                    task.cancel()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """The load while the block lasts; an exception in a step ends the block, and is raised."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.run())
                yield self
                self.stop()
        except BaseExceptionGroup as failures:
            raise _first(failures) from None

    def _plan(self, stream: Stream, dice: Random) -> Iterator[float]:
        begun_s = self._clock_s()
        arrivals = poisson if stream.at_random else evenly
        return (begun_s + at_s for at_s in arrivals(stream.rate_hz, dice))

    async def _one_by_one(self, stream: Stream, plan: Iterator[float], dice: Random) -> None:
        for due_s in plan:
            if not await self._is_due(due_s):
                self.overdue += _passed(due_s, plan, self._clock_s())
                return
            self.sent += 1
            await stream.workload.step(stream.client, _own(dice), due_s)

    async def _all_at_once(
        self, stream: Stream, plan: Iterator[float], dice: Random, group: asyncio.TaskGroup
    ) -> None:
        lanes = self._lanes[stream.client.name]
        for due_s in plan:
            if not await self._is_due(due_s):
                return
            self.late_s_max = max(self.late_s_max, self._clock_s() - due_s)
            step_dice = _own(dice)
            if lanes.taken >= self._under_way_max:
                self._give_up(stream, due_s)
                continue
            self.sent += 1
            step = self._step(stream, lanes, lanes.take(), step_dice, due_s)
            task = group.create_task(step)
            self._steps.add(task)
            task.add_done_callback(self._steps.discard)

    async def _step(
        self, stream: Stream, lanes: "_Lanes", lane: int, dice: Random, intended_s: float
    ) -> None:
        try:
            await stream.workload.step(lanes[lane], dice, intended_s)
        finally:
            lanes.give_back(lane)

    async def _is_due(self, due_s: float) -> bool:
        """Wait for an instant; False if the load is stopped before."""
        try:
            async with asyncio.timeout(due_s - self._clock_s()):
                await self._stopped.wait()
        except TimeoutError:
            return not self._stopped.is_set()  # both may come in one turn of the loop
        return False

    def _give_up(self, stream: Stream, due_s: float) -> None:
        """Take down an arrival that cannot be sent; what it would have asked is not known."""
        self.never_sent += 1
        workload = stream.workload
        asked = self._history.invoke(
            stream.client,
            Action.GET,
            workload.mode,
            workload=workload.name,
            bucket=workload.bucket,
            key="",
            node="",
            intended_s=due_s,
        )
        self._history.end(asked, Outcome.FAIL, error=OVERFULL)


class _Lanes:
    """A client under as many names as it does things at a time; low numbers are used first."""

    def __init__(self, client: LabClient) -> None:
        self._client = client
        self._lanes: list[LabClient] = []
        self._free: list[int] = []

    def __getitem__(self, number: int) -> LabClient:
        return self._lanes[number]

    @property
    def taken(self) -> int:
        return len(self._lanes) - len(self._free)

    def take(self) -> int:
        if self._free:
            return heapq.heappop(self._free)
        self._lanes.append(self._client.lane(len(self._lanes) + 1))
        return len(self._lanes) - 1

    def give_back(self, number: int) -> None:
        heapq.heappush(self._free, number)


def _own(dice: Random) -> Random:
    """Dice for one step, so that what it draws does not depend on when others draw."""
    return Random(dice.getrandbits(_DICE_BITS))


def _passed(first_s: float, plan: Iterator[float], now_s: float) -> int:
    """How many instants of a plan, and `first_s` before them, have come."""
    passed, at_s = 0, first_s
    while at_s <= now_s:
        passed += 1
        at_s = next(plan)
    return passed


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first; the others are mostly what came of it."""
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _check(streams: Sequence[Stream]) -> None:
    seen = set[tuple[str, str]]()
    for stream in streams:
        if not stream.rate_hz > 0:
            raise SettingError(
                f"{stream.workload.name}: a rate of {stream.rate_hz} a second is none"
            )
        who = (stream.client.name, stream.workload.bucket)
        if who in seen:
            raise SettingError(
                f"{who[0]} has two streams of {who[1]}; one of twice the rate will do"
            )
        seen.add(who)
