"""An asyncio event loop on virtual time, sealed from the real world.

When nothing is ready the clock jumps to the next timer, so an hour of heartbeats takes seconds;
when everything waits and there is no timer, that is a deadlock, and it is reported at once instead
of hanging (trio's autojump clock and FoundationDB's simulator do the same).

The order of everything is fixed: ready callbacks first in first out, timers by time and then by
age, and tasks and futures hash by their age, so that sets of them iterate the same way in every
run. The garbage collector is off inside, since it calls finalizers when it likes.
"""

import asyncio
import gc
import heapq
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any, NoReturn, TypeVar, TypeVarTuple, Unpack

from tests.simulation.process import NumberedFuture, NumberedTask, Process, process_in, process_of
from tests.simulation.seal import Seal, sealed

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# A protocol step is a handful of callbacks; this many without a moment passing is an endless loop.
CALLBACKS_PER_INSTANT_MAX = 1_000_000
# Garbage in cycles is collected by count, hence at the same place in every run.
CALLBACKS_PER_COLLECTION = 500_000
# How long what is cancelled at the end may take, in virtual time.
BURIAL_S_MAX = 600.0


class SimulationStuck(Exception):
    """Everything waits for ever, or time no longer passes, or the simulation ran past its limit."""


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop.

    Attributes:
        errors: what reached the loop's exception handler; a simulation with any of these failed.
        held: processes that are frozen or killed.
        seal: tells what was refused.
    """

    _ready: deque[asyncio.Handle]
    _stopping: bool

    def __init__(self, seal: Seal, *, limit_s: float) -> None:
        super().__init__()
        self.errors: list[dict[str, Any]] = []
        self.held: list[Process] = []
        self.seal = seal
        self._limit_s = limit_s
        self._thread = threading.get_ident()
        self._now_s = 0.0
        self._numbers = 0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timers_cancelled = 0
        self._callbacks = 0
        self._callbacks_at_jump = 0
        self.set_exception_handler(lambda _, context: self.errors.append(context))

    # -- time ------------------------------------------------------------------------------------

    def time(self) -> float:
        return self._now_s

    @property
    def callbacks(self) -> int:
        """How many have run: the cost of a simulation."""
        return self._callbacks

    def next_number(self) -> int:
        """1, 2, 3, ...: the age of things made in this loop."""
        self._numbers += 1
        return self._numbers

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """As asyncio's, but timers of one instant run in the order in which they were set."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        timer._scheduled = True  # type: ignore[attr-defined]
        heapq.heappush(self._timers, (when, self.next_number(), timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if not handle._scheduled:  # type: ignore[attr-defined]
            return
        self._timers_cancelled += 1
        if self._timers_cancelled > 1000 and self._timers_cancelled * 2 > len(self._timers):
            self._timers = [entry for entry in self._timers if not entry[2].cancelled()]
            heapq.heapify(self._timers)
            self._timers_cancelled = 0

    # -- running ---------------------------------------------------------------------------------

    def _run_once(self) -> None:
        self._take_due_timers()
        if not self._ready and not self._stopping:
            self._jump()
        ready, held = self._ready, self.held
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            if held:
                process = process_in(handle._context)  # type: ignore[attr-defined]
                if process is not None and process.frozen:
                    process.park(handle)
                    continue
            self._callbacks += 1
            handle._run()
            if self._callbacks % CALLBACKS_PER_COLLECTION == 0:
                gc.collect()

    def _jump(self) -> None:
        """Move the clock to the next timer."""
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
            self._timers_cancelled -= 1
        if not timers:
            raise SimulationStuck(f"everything waits, and for nothing:\n{self._waiting()}")
        if timers[0][0] > self._limit_s:
            raise SimulationStuck(f"not done after {self._limit_s} s:\n{self._waiting()}")
        self._now_s = max(self._now_s, timers[0][0])
        self._callbacks_at_jump = self._callbacks
        self._take_due_timers()

    def _take_due_timers(self) -> None:
        timers = self._timers
        while timers and timers[0][0] <= self._now_s:
            timer = heapq.heappop(timers)[2]
            timer._scheduled = False  # type: ignore[attr-defined]
            if timer.cancelled():
                self._timers_cancelled -= 1
            else:
                self._ready.append(timer)
        if self._callbacks - self._callbacks_at_jump > CALLBACKS_PER_INSTANT_MAX:
            raise SimulationStuck(f"time stands still at {self._now_s} s:\n{self._waiting()}")

    def make_ready(self, handles: list[asyncio.Handle]) -> None:
        """Run these next, in this order."""
        self._ready.extend(handles)

    def _waiting(self) -> str:
        lines = []
        for task in self._tasks():
            frames = task.get_stack(limit=1)
            where = f"{frames[0].f_code.co_filename}:{frames[0].f_lineno}" if frames else "?"
            process = process_of(task)
            name = getattr(task.get_coro(), "__qualname__", "?")
            lines.append(f"  {process.name if process else '-'} {name} at {where}")
        return "\n".join(lines)

    # -- tasks and futures -----------------------------------------------------------------------

    def create_task(  # type: ignore[override]
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        task: asyncio.Task[T] = NumberedTask(coro, loop=self, name=name, context=context)
        return task

    def create_future(self) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = NumberedFuture(loop=self)
        return future

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Another thread has no business here; the own one may call it as `call_soon`.

        Raises:
            Escaped: from another thread.
        """
        if threading.get_ident() != self._thread:
            raise self.seal.refuse("call_soon_threadsafe from another thread")
        return self.call_soon(callback, *args, context=context)

    def _tasks(self) -> list[asyncio.Task[Any]]:
        return sorted(asyncio.all_tasks(self), key=hash)

    # -- the end ---------------------------------------------------------------------------------

    def bury(self) -> None:
        """Cancel what still runs and wait for it; nothing that happens now counts."""
        self.set_exception_handler(lambda _, __: None)
        for process in list(self.held):
            process.thaw()
        self._limit_s = self._now_s + BURIAL_S_MAX
        self._callbacks_at_jump = self._callbacks
        while tasks := self._tasks():
            for task in tasks:
                task.cancel()
            try:
                self.run_until_complete(asyncio.wait(tasks, timeout=BURIAL_S_MAX / 4))
            except SimulationStuck:
                for task in self._tasks():
                    task._log_destroy_pending = False  # type: ignore[attr-defined]
                return
        self.run_until_complete(self.shutdown_asyncgens())

    def check(self) -> None:
        """Raise if something went wrong that nobody heard of.

        Raises:
            AssertionError: an exception that no one retrieved, or a callback that failed.
        """
        for context in self.errors:
            message = f"unhandled in the simulation: {context.get('message')}"
            raise AssertionError(message) from context.get("exception")


def simulate(
    main: Callable[[VirtualLoop], Coroutine[Any, Any, T]], *, limit_s: float = 3600.0
) -> T:
    """Run `main` on virtual time, sealed from the real world, and give back what it returns.

    :param limit_s: virtual time after which the simulation counts as stuck.

    Raises:
        SimulationStuck: all wait for nothing, or the limit passed.
        Escaped: something inside reached for the real world.
        AssertionError: an exception inside that nobody retrieved.
    """
    with _collector_off(), sealed() as seal:
        loop = VirtualLoop(seal, limit_s=limit_s)
        try:
            result = loop.run_until_complete(main(loop))
            gc.collect()  # a task that failed unheard says so when it is collected
        finally:
            loop.bury()
            loop.close()
            gc.collect()
    seal.check()
    loop.check()
    return result


@contextmanager
def _collector_off() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    gc.collect()  # else the world before this one, garbage by now, would be frozen with the rest
    gc.freeze()  # what exists already need not be looked at again and again
    try:
        yield
    finally:
        gc.unfreeze()
        if was_on:
            gc.enable()


# What a loop of the real world can do, and this one must not.
_REAL_WORLD = (
    "run_in_executor",
    "set_default_executor",
    "getaddrinfo",
    "getnameinfo",
    "create_connection",
    "create_server",
    "create_datagram_endpoint",
    "create_unix_connection",
    "create_unix_server",
    "connect_accepted_socket",
    "connect_read_pipe",
    "connect_write_pipe",
    "sendfile",
    "sock_sendfile",
    "start_tls",
    "subprocess_exec",
    "subprocess_shell",
    "add_reader",
    "remove_reader",
    "add_writer",
    "remove_writer",
    "add_signal_handler",
    "remove_signal_handler",
    "sock_accept",
    "sock_connect",
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_recvfrom_into",
    "sock_sendall",
    "sock_sendto",
)


def _refused(name: str) -> Callable[..., NoReturn]:
    def refuse(loop: VirtualLoop, *_: object, **__: object) -> NoReturn:
        raise loop.seal.refuse(f"loop.{name}")

    return refuse


for _name in _REAL_WORLD:
    setattr(VirtualLoop, _name, _refused(_name))
