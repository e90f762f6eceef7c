"""One node of a local cluster as a process: started, paused, killed, wiped, restarted, watched.

A node ends itself when the pipe to its standard input breaks (`--stop-on-eof`), so a parent that is
killed leaves no processes behind.
"""

import asyncio
import enum
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from dynamo.client.client import Client
from dynamo.config import NodeConfig
from dynamo.core.ids import NodeId
from dynamo.errors import DynamoError, StartupError
from dynamo.settings import Settings, write

COMMAND: Final = (sys.executable, "-m", "dynamo")
"""What is run as `... serve --config FILE` to be a node."""

READY_S_MAX: Final = 30.0  # two seconds is usual; five nodes on one busy core need some more

STOP_S_MAX: Final = 10.0  # a store that must be flushed has its time; then it is killed

_PING_S_MAX: Final = 1.0
_LOOK_S: Final = 0.05
_LAST_WORDS_BYTES_MAX: Final = 4096

# What a wildcard that is listened on is dialled as.
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class ProcessState(enum.StrEnum):
    """What a node's process is doing, as the one who started it knows."""

    STARTING = "starting"
    SERVING = "serving"
    PAUSED = "paused"
    STOPPED = "stopped"
    DIED = "died"


class NodeProcess:
    """One node of a local cluster, whether it runs at the moment or not.

    Attributes:
        config: its settings, from its next start on.
        settings_path: its settings file.
        log_path: its standard output and error.
    """

    def __init__(
        self,
        settings: Settings,
        directory: Path,
        lock_fd: int,
        *,
        command: Sequence[str] = COMMAND,
    ) -> None:
        """Start nothing yet.

        Args:
            settings: what it is told at its start.
            directory: its own, which exists; a relative `data_dir` lies in it.
            lock_fd: a file that its process inherits.
            command: what to run in place of `python -m dynamo`.
        """
        self.config = settings.node
        self.settings_path = directory / "node.toml"
        self.log_path = directory / "log"
        self._settings = settings
        self._lock_fd = lock_fd
        self._command = tuple(command)
        self._process: asyncio.subprocess.Process | None = None
        self._state = ProcessState.STOPPED

    @property
    def node_id(self) -> NodeId:
        """Its name."""
        return self.config.node_id

    @property
    def url(self) -> str:
        """Where it serves HTTP."""
        http = self.config.http_address
        return f"http://{http._replace(host=_LOOPBACK.get(http.host, http.host))}"

    @property
    def state(self) -> ProcessState:
        """What it is doing now."""
        if self.exit_status is not None and self._state is not ProcessState.STOPPED:
            return ProcessState.DIED
        return self._state

    @property
    def pid(self) -> int | None:
        """The process, None if there is none."""
        return None if self._process is None or self.exit_status is not None else self._process.pid

    @property
    def exit_status(self) -> int | None:
        """How the last process ended: its status, or minus the signal; None if none has ended."""
        return None if self._process is None else self._process.returncode

    def last_words(self) -> str:
        """The last line of its log."""
        try:
            with self.log_path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_WORDS_BYTES_MAX))
                lines = file.read().decode(errors="replace").strip().splitlines()
        except OSError as error:
            return f"no log at {self.log_path}: {error.strerror}"
        return lines[-1] if lines else "it said nothing"

    async def start(self) -> None:
        """Start the process; `ready` waits until it serves.

        Raises:
            StartupError: its files cannot be written, or no process can be made.
        """
        assert self.pid is None, f"{self.node_id} runs already"
        try:
            self._process = await self._spawn()
        except OSError as error:
            raise StartupError(f"cannot start {self.node_id}: {error}") from error
        self._state = ProcessState.STARTING

    async def _spawn(self) -> asyncio.subprocess.Process:
        write(self._settings, self.settings_path)
        log_fd = os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            return await asyncio.create_subprocess_exec(
                *self._command,
                *("serve", "--config", str(self.settings_path), "--stop-on-eof"),
                stdin=asyncio.subprocess.PIPE,
                stdout=log_fd,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=(self._lock_fd,),
                start_new_session=True,  # Ctrl-C on a terminal is for the parent, not for all
            )
        finally:
            os.close(log_fd)

    async def ready(self, timeout_s: float = READY_S_MAX) -> None:
        """Wait until it serves.

        Raises:
            StartupError: it ended, or the time ran out.
        """
        try:
            async with (
                asyncio.timeout(timeout_s),
                Client([self.url], timeout_s=_PING_S_MAX) as client,
            ):
                await self._until_answered(client)
        except TimeoutError:
            raise StartupError(
                f"{self.node_id} does not serve on {self.url} after {timeout_s:g} s;"
                f" its log is {self.log_path}"
            ) from None
        self._state = ProcessState.SERVING

    async def _until_answered(self, client: Client) -> None:
        served = False
        while not served:
            try:
                await client.ping()
                served = True
            except DynamoError:
                await asyncio.sleep(_LOOK_S)
            # Asked afterwards: the answer of another process on that port does not count.
            if self.pid is None:
                why = self.last_words().removeprefix("Error: ")  # ours will stand before it
                raise StartupError(f"{self.node_id} did not start: {why}")

    async def stop(self, timeout_s: float = STOP_S_MAX) -> None:
        """End it cleanly, or by force once the time is up. Nothing happens if it does not run."""
        self._state = ProcessState.STOPPED
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)  # one that is paused would not hear
        try:
            await self._end(timeout_s)
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self._end(STOP_S_MAX)

    async def kill(self) -> None:
        """End it as a crash would: SIGKILL."""
        self._state = ProcessState.STOPPED
        self._signal(signal.SIGKILL)
        await self._end(STOP_S_MAX)

    def pause(self) -> None:
        """Let it stand still, connections open, until `resume`."""
        self._signal(signal.SIGSTOP)
        self._state = ProcessState.PAUSED

    def resume(self) -> None:
        """Let a paused node go on; nothing happens to one that was killed meanwhile."""
        self._signal(signal.SIGCONT)
        if self._state is ProcessState.PAUSED:
            self._state = ProcessState.SERVING

    async def restart(self) -> None:
        """Stop it if it runs, start it, and wait until it serves.

        Raises:
            StartupError: it does not start.
        """
        await self.stop()
        await self.start()
        await self.ready()

    def reconfigure(self, change: Callable[[NodeConfig], NodeConfig]) -> None:
        """Have it start with other settings the next time; what runs is not touched.

        Its name and its place on the disk are its own for ever.
        """
        changed = change(self.config)
        assert changed.node_id == self.config.node_id
        assert changed.data_dir == self.config.data_dir
        self.config = changed
        self._settings = replace(self._settings, node=changed)

    def wipe(self) -> None:
        """Take from it what it stored, as a new disk would; settings and log stay.

        Raises:
            StartupError: something cannot be removed.
        """
        assert self.pid is None, f"{self.node_id} runs"
        data_dir = self.settings_path.parent / self.config.data_dir
        try:
            with suppress(FileNotFoundError):
                shutil.rmtree(data_dir)
        except OSError as error:
            raise StartupError(f"cannot empty {data_dir}: {error.strerror}") from error

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is not None:
            # Not Process.send_signal: that may reap a process that has just ended, and asyncio then
            # reports 255 for its status (CPython issue 87744, mended in 3.13).
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def _end(self, timeout_s: float) -> None:
        if self._process is not None:
            async with asyncio.timeout(timeout_s):
                await self._process.wait()
