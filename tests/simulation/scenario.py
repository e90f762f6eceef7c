"""Runs a scenario in a world of its own; a failure tells all that there is to know of it."""

import logging
from collections.abc import Callable, Collection, Coroutine
from typing import Any, TypeVar

from tests.simulation.loop import VirtualLoop, simulate
from tests.simulation.world import Options, World

T = TypeVar("T")


def in_world(
    seed: int,
    options: Options,
    scenario: Callable[[World], Coroutine[Any, Any, T]],
    *,
    limit_s: float = 3600.0,
    excused: Collection[str] = (),
) -> T:
    """Run a scenario in a world of its own; an error carries the trace.

    Args:
        seed: decides everything.
        options: what the world is like.
        scenario: what happens in it.
        limit_s: virtual time after which it counts as stuck.
        excused: errors that nodes may log in this world.

    Raises:
        AssertionError: a node logged an error, or something failed unheard.
        Exception: what the scenario raised.
    """
    worlds: list[World] = []
    complaints = _Complaints(excused)

    async def main(loop: VirtualLoop) -> T:
        worlds.append(World(loop, seed, options))
        try:
            return await scenario(worlds[0])
        finally:
            complaints.close()  # whatever is said while nodes are torn down does not count

    logging.getLogger("dynamo").addHandler(complaints)
    try:
        result = simulate(main, limit_s=limit_s)
        assert not complaints.texts, "nodes complained"
        return result
    except Exception as error:
        error.add_note(f"seed {seed}, {options}")
        error.add_note(str(worlds[0].trace) if worlds else "no world")
        error.add_note("\n".join(["what nodes complained of:", *complaints.texts]))
        raise
    finally:
        logging.getLogger("dynamo").removeHandler(complaints)


class _Complaints(logging.Handler):
    """Errors that nodes log: in a world without bad disks and strangers there is no reason to."""

    def __init__(self, excused: Collection[str]) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._excused = excused
        self._closed = False

    def emit(self, record: logging.LogRecord) -> None:
        strange = record.levelno >= logging.ERROR or record.getMessage() == "protocol broken"
        if strange and not self._closed and record.getMessage() not in self._excused:
            reason = getattr(record, "reason", "")
            self.texts.append(f"{record.name}: {self.format(record)} {reason}")

    def close(self) -> None:
        self._closed = True
        super().close()
