"""The seal round a simulation: real time, real dice, threads and sockets raise inside it.

A simulation is worth something only if its seed decides everything. What is asked of the real world
by mistake would work, and show up months later as a failure that does not replay. So the module
functions that lead out are replaced while a simulation runs, for its thread only, and each call
raises `Escaped` with the caller's name. A product that swallows the error is found all the same:
the seal remembers, and `Seal.check` raises at the end.

Not seen: a function that was imported by name before (`from time import monotonic`), and what C
code asks for by itself (`datetime.now`). Lint rules and the comparison of traces cover those.
"""

import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

# These may ask: a log record carries a time of its own, and Hypothesis measures the collector.
_TRUSTED = frozenset({"logging", "hypothesis"})

# These only pass on what others asked of them, so the caller named is the one behind them.
_CARRIERS = frozenset(
    {"random", "secrets", "uuid", "tempfile", "threading", "socket", "subprocess", "concurrent"}
)

_CLOCK_NAMES = (
    "time",
    "time_ns",
    "monotonic",
    "monotonic_ns",
    "perf_counter",
    "perf_counter_ns",
    "process_time",
    "process_time_ns",
    "sleep",
)


class Escaped(Exception):
    """Code under simulation reached for the real world."""


class Seal:
    """What one simulation was refused."""

    def __init__(self) -> None:
        self.escapes: list[Escaped] = []
        self._thread = threading.get_ident()

    def refuse(self, what: str) -> Escaped:
        """Remember and return the error to raise."""
        frame = _asker()
        where = f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}"
        escape = Escaped(f"{what} was called inside a simulation by {where}")
        self.escapes.append(escape)
        return escape

    def check(self) -> None:
        """Raise the first escape, if there was one."""
        if self.escapes:
            raise self.escapes[0]

    def guard(self, what: str, original: Callable[..., Any]) -> Callable[..., Any]:
        """`original` for other threads and trusted callers, an error for everybody else."""

        def guarded(*args: Any, **options: Any) -> Any:
            if threading.get_ident() != self._thread or _package(_asker()) in _TRUSTED:
                return original(*args, **options)
            raise self.refuse(what)

        return guarded

    def guard_unseeded(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """`Random.seed` that refuses to seed itself from the operating system."""

        def guarded(dice: random.Random, a: Any = None, version: int = 2) -> Any:
            if a is not None:
                return original(dice, a, version)
            return self.guard("random.Random() without a seed", original)(dice)

        return guarded


@contextmanager
def sealed() -> Iterator[Seal]:
    """Close the doors to the real world for this thread; they open again afterwards."""
    seal = Seal()
    with ExitStack() as undo:

        def replace(owner: object, name: str, replacement: Callable[..., Any]) -> None:
            undo.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, replacement)

        for owner, name, what in _doors():
            replace(owner, name, seal.guard(what, getattr(owner, name)))
        replace(random.Random, "seed", seal.guard_unseeded(random.Random.seed))
        yield seal


def _doors() -> Iterator[tuple[object, str, str]]:
    for name in _CLOCK_NAMES:
        yield time, name, f"time.{name}"
    # The module's functions are methods of one hidden generator that anybody may have moved.
    shared = random.random.__self__  # type: ignore[attr-defined]
    for name in random.__all__:
        if getattr(getattr(random, name), "__self__", None) is shared:
            yield random, name, f"random.{name}"
    yield os, "urandom", "os.urandom"
    yield random, "_urandom", "random.SystemRandom"
    yield threading.Thread, "start", "threading.Thread.start"
    yield socket.socket, "__init__", "socket.socket"
    yield socket, "getaddrinfo", "socket.getaddrinfo"
    yield subprocess.Popen, "__init__", "subprocess.Popen"


def _asker() -> FrameType:
    """The innermost frame that belongs neither to this file nor to a carrier."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename != __file__ and _package(frame) not in _CARRIERS:
            return frame
        frame = frame.f_back
    return sys._getframe(1)


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
