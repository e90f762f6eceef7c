"""What tests with real processes need: free ports, waits that end, and `dynamo` as a process."""

import asyncio
import os
import random
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from dynamo.cluster import RPC_PORT_OFFSET

START_S_MAX = 60.0
"""Several interpreters start at once on a machine that may be busy with other tests."""


def free_base_port(nodes: int) -> int:
    """A base port whose block, and the block for the peers above it, nobody listens on.

    Below 32768: the kernel takes the ports of outgoing connections from there on.
    """
    for base_port in random.sample(range(18000, 31000, 50), 100):
        ports = [base_port + i + offset for i in range(nodes) for offset in (0, RPC_PORT_OFFSET)]
        if all(map(is_free, ports)):
            return base_port
    raise AssertionError("no free ports")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def is_alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


async def eventually(
    holds: Callable[[], bool | Awaitable[bool]], *, within_s: float, what: str
) -> None:
    """Return once `holds` does; looked at often, for as long as `within_s`."""
    try:
        async with asyncio.timeout(within_s):
            while True:
                now = holds()
                if now if isinstance(now, bool) else await now:
                    return
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {within_s:g} s: {what}") from None


@dataclass
class Command:
    """A running `dynamo ...`.

    Attributes:
        said: what it wrote to standard output so far, and was read.
    """

    process: asyncio.subprocess.Process
    said: str = ""

    async def says(self, pattern: str, *, within_s: float = START_S_MAX) -> re.Match[str]:
        """Read its output until `pattern` is in it."""
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(within_s):
                while (found := re.search(pattern, self.said)) is None:
                    more = await self.process.stdout.read(65536)
                    assert more, f"{pattern!r} was never said: {self.said}{await self.errors()}"
                    self.said += more.decode()
        except TimeoutError:
            raise AssertionError(f"{pattern!r} not within {within_s:g} s: {self.said}") from None
        return found

    async def errors(self) -> str:
        """Everything on standard error, once it has ended."""
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()

    async def ends(self, number: signal.Signals | None = None) -> int:
        """Its exit status, after it was sent a signal if one is given."""
        if number is not None:
            os.kill(self.process.pid, number)
        async with asyncio.timeout(START_S_MAX):
            assert self.process.stdout is not None
            self.said += (await self.process.stdout.read()).decode()
            return await self.process.wait()


@asynccontextmanager
async def dynamo(*arguments: object) -> AsyncIterator[Command]:
    """`python -m dynamo ...`, killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dynamo", *map(str, arguments)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Command(process)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        await process.communicate()
