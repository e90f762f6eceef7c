"""What a run is doing, for the one who waits: a bar and words, or lines where no bar can be."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from chaos.experiment import Experiment, TakePlan

_TICK_S = 0.2


class Bar:
    """Shows how far the takes of some experiments have come, by how long they usually take."""

    def __init__(self, console: Console, expected_s: float) -> None:
        self._console = console
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[where]}"),
            BarColumn(bar_width=24),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[doing]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._total_s = expected_s
        self._done_s = 0.0
        self._take_s = 0.0
        self._title = ""
        self._where = ""
        self._task: TaskID | None = None

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Show it inside."""
        with self._bar:
            self._task = self._bar.add_task("", total=self._total_s, where="", doing="")
            ticking = asyncio.create_task(self._tick())
            try:
                yield
            finally:
                ticking.cancel()

    def of(self, experiment: Experiment) -> None:
        """The takes that follow are of this experiment."""
        self._title = experiment.name

    def begin(self, plan: TakePlan) -> None:
        """A take begins."""
        self._done_s += self._take_s
        self._take_s = plan.expected_s
        self._where = f"{self._title} · {plan.title}"
        if self._task is not None:
            self._bar.update(self._task, completed=self._done_s, where=self._where)
        self._line(self._where)

    def say(self, text: str) -> None:
        """What is going on now."""
        if self._task is not None:
            self._bar.update(self._task, doing=text)
        self._line(f"  {text}")

    def _line(self, text: str) -> None:
        if not self._console.is_terminal:
            self._console.print(text, markup=False, highlight=False)

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        before_s = loop.time()
        while self._task is not None:
            await asyncio.sleep(_TICK_S)
            now_s = loop.time()
            # It never runs ahead of the take that is under way.
            limit_s = self._done_s + self._take_s
            completed_s = self._bar.tasks[self._task].completed + now_s - before_s
            self._bar.update(self._task, completed=min(completed_s, limit_s))
            before_s = now_s
