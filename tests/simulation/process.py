"""A node's process in a simulation: it can be frozen, thawed and killed as the kernel would do it.

All tasks, callbacks and timers of a node carry its process in their context. Freezing parks what
becomes due there, as SIGSTOP does; time passes meanwhile. Killing parks it for ever: nothing of a
killed node runs again, no `finally` and no farewell, as after SIGKILL. What is parked is run down
at the very end, when the trace is closed, so that Python can tidy up.
"""

import asyncio
from collections.abc import Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from tests.simulation.loop import VirtualLoop

T = TypeVar("T")

_current: ContextVar["Process | None"] = ContextVar("process", default=None)


class ProcessDied(Exception):
    """The process was killed before it answered."""


class Process:
    """Everything that runs on behalf of one node between its start and its end.

    Attributes:
        name: of the node.
        context: callbacks run in it belong to this process.
        alive: False once it was killed.
        frozen: nothing of it runs now.
    """

    def __init__(self, loop: "VirtualLoop", name: str) -> None:
        self.name = name
        self.context = copy_context()
        self.context.run(_current.set, self)
        self.alive = True
        self.frozen = False
        self._loop = loop
        self._parked: list[asyncio.Handle] = []
        self._callers: dict[asyncio.Task[Any], asyncio.Future[Any]] = {}
        self._dead: list[asyncio.Task[Any]] = []

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task of this process."""
        return self._loop.create_task(work, context=self.context.copy())

    async def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in this process for a caller outside it.

        A caller that is cancelled stops waiting; the work goes on.

        Raises:
            ProcessDied: killed before the work was done. It may have had effects.
        """
        if not self.alive:
            work.close()
            raise ProcessDied(self.name)
        answer: asyncio.Future[T] = self._loop.create_future()
        task = self.spawn(work)
        self._callers[task] = answer
        task.add_done_callback(self._answer)
        return await answer

    def freeze(self) -> None:
        """Stop everything here until `thaw`."""
        self.frozen = True
        self._loop.held.append(self)

    def thaw(self) -> None:
        """Go on: what became due meanwhile runs now, in order."""
        if self.frozen:
            self.frozen = False
            self._loop.held.remove(self)
            self._loop.make_ready(self._parked)
            self._parked = []

    def kill(self) -> None:
        """Stop everything here for good; who waits for an answer gets `ProcessDied`."""
        self.alive = False
        if not self.frozen:
            self.freeze()
        # Else the collector would close their coroutines, and their `finally` would run.
        self._dead = [task for task in asyncio.all_tasks(self._loop) if process_of(task) is self]
        for answer in self._callers.values():
            if not answer.done():
                answer.set_exception(ProcessDied(self.name))
        self._callers.clear()

    def park(self, handle: asyncio.Handle) -> None:
        """Keep what became due while nothing may run."""
        self._parked.append(handle)

    def _answer(self, task: asyncio.Task[Any]) -> None:
        answer = self._callers.pop(task, None)
        if task.cancelled():
            if answer is not None and not answer.done():
                answer.cancel()
            return
        error = task.exception()
        if answer is None or answer.done():
            return
        if error is None:
            answer.set_result(task.result())
        else:
            answer.set_exception(error)


class NumberedTask(asyncio.Task[Any]):
    """A task that knows its process, and hashes by its age.

    So a set of tasks has the same order in every run, be it asyncio's own (`asyncio.wait`,
    `TaskGroup`).
    """

    number: int
    process: Process | None

    def __new__(cls, *_: Any, loop: "VirtualLoop", context: Context | None, **__: Any) -> Any:
        task = super().__new__(cls)
        task.number = loop.next_number()
        task.process = process_in(context)
        return task

    def __hash__(self) -> int:
        return self.number


class NumberedFuture(asyncio.Future[Any]):
    """A future that hashes by its age."""

    number: int

    def __new__(cls, *, loop: "VirtualLoop") -> Any:
        future = super().__new__(cls)
        future.number = loop.next_number()
        return future

    def __hash__(self) -> int:
        return self.number


def process_of(task: asyncio.Task[Any]) -> Process | None:
    """The process that a task belongs to, None if it is of the simulation itself."""
    return task.process if isinstance(task, NumberedTask) else None


def process_in(context: Context | None) -> Process | None:
    """The process that a context belongs to; None means the running one."""
    return _current.get() if context is None else context.get(_current)
