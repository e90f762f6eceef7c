"""The owner of a node's background tasks: it bounds them, ends them, and sees every failure.

`asyncio.TaskGroup` ends all tasks when one fails; a node must not stop gossiping because one
handoff went wrong, so here a failure is logged and counted and the others go on.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine

from dynamo.errors import DynamoError, Overloaded

log = logging.getLogger(__name__)

REST_S = 1.0
"""What a job gets to calm down after a round that failed."""


class Tasks:
    """Tasks that end with their owner.

    Attributes:
        failures: tasks that ended with an exception that is not one of the store's own errors.
    """

    def __init__(self, *, tasks_max: int) -> None:
        self._tasks_max = tasks_max
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self.failures = 0

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, coroutine: Coroutine[object, object, None], name: str) -> None:
        """Run `coroutine` until it ends or this owner closes.

        Raises:
            Overloaded: too many run already, or the owner is closed; the coroutine was not started.
        """
        if self._closed or len(self._tasks) >= self._tasks_max:
            coroutine.close()
            raise Overloaded(f"{len(self._tasks)} tasks are at work, the most is {self._tasks_max}")
        task = asyncio.get_running_loop().create_task(self._run(coroutine, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def repeat(self, step: Callable[[], Awaitable[None]], name: str) -> None:
        """Run `step` again and again; one that fails does not keep the next from running."""
        self.spawn(self._repeat(step, name), name)

    async def _repeat(self, step: Callable[[], Awaitable[None]], name: str) -> None:
        while True:
            try:
                await step()
            except Exception:
                self.failures += 1
                log.exception("a job's round failed", extra={"task": name})
                await asyncio.sleep(REST_S)

    async def _run(self, coroutine: Coroutine[object, object, None], name: str) -> None:
        try:
            await coroutine
        except DynamoError as error:
            log.warning("task gave up", extra={"task": name, "reason": str(error)})
        except Exception:
            self.failures += 1
            log.exception("task failed", extra={"task": name})

    async def close(self) -> None:
        """Cancel all tasks and wait for their ends."""
        self._closed = True
        for task in tuple(self._tasks):
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
