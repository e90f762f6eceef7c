"""A Toxiproxy server as a process of ours: started on a free port, ended with us."""

import asyncio
import json
import mmap
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from chaos.errors import MeshError
from chaos.ports import HOST, free_ports
from chaos.toxiproxy.api import Api
from dynamo.core.ids import Address

VERSION: Final = "2.12.0"
"""What the lab was made and measured with."""

READY_S_MAX: Final = 10.0  # 10 ms is usual

_STOP_S_MAX: Final = 5.0
_LOOK_S: Final = 0.01
_LOOK_CALL_S_MAX: Final = 1.0

# The shell becomes the server, so that its end is the server's. Beside it stays a reader of a pipe
# that breaks when we close it or die, however that comes about. When the server ends by itself the
# pipe is closed at once, before anybody else can have its process id.
_TIED: Final = 'exec 3<&0; (read _ <&3; kill -9 $$ 2>&-) & exec "$@" 3<&- </dev/null'

_MODULE: Final = re.compile(rb"mod\tgithub\.com/Shopify/toxiproxy/v2\tv([0-9][^\t\n]*)")


class ToxiproxyServer:
    """A running server: `async with ToxiproxyServer(binary, directory) as server`.

    Attributes:
        binary: what is run.
        api: how to speak to it; only inside.
        version: what it is; "" before the start.
        log_path: what it says. A file, since it would hang once a pipe is full that nobody reads.
    """

    api: Api

    def __init__(self, binary: Path, directory: Path) -> None:
        self.binary = binary
        self.version = ""
        self.log_path = directory / "toxiproxy.log"
        self._config_path = directory / "toxiproxy.json"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process; None if there is none."""
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    async def __aenter__(self) -> Self:
        (port,) = free_ports(1)
        self.api = Api(Address(HOST, port), call_s_max=_LOOK_CALL_S_MAX)
        mark = f"mark-{secrets.token_hex(8)}"
        try:
            self._process = await self._spawn(port, mark)
            await self._until_ready(mark)
        except BaseException:
            await self._end()
            raise
        self.api.close()
        self.api = Api(self.api.address)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._end()

    async def _spawn(self, port: int, mark: str) -> asyncio.subprocess.Process:
        try:
            self.log_path.parent.mkdir(parents=True, exist_ok=True)
            self._config_path.write_text(json.dumps([_marker(mark)]))
            with self.log_path.open("ab") as log:
                return await asyncio.create_subprocess_exec(
                    *("sh", "-c", _TIED, "sh", str(self.binary)),
                    *("-host", HOST, "-port", str(port), "-proxy-metrics"),
                    *("-config", str(self._config_path)),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=log,
                    stderr=asyncio.subprocess.STDOUT,
                    env=os.environ | {"LOG_LEVEL": "error"},  # else a line for each connection
                    start_new_session=True,  # Ctrl-C on a terminal is for us, not for it
                )
        except OSError as error:
            raise MeshError(f"cannot start {self.binary}: {error}") from error

    async def _until_ready(self, mark: str) -> None:
        try:
            async with asyncio.timeout(READY_S_MAX):
                # Its mark: another may have taken the port, and a server without one lives on.
                while not await self._answers(mark):
                    if self.pid is None:
                        raise MeshError(f"{self.binary} did not start: {self._last_words()}")
                    await asyncio.sleep(_LOOK_S)
                self.version = await self.api.version()
        except TimeoutError:
            raise MeshError(
                f"{self.binary} does not answer at {self.api.address} after {READY_S_MAX:g} s:"
                f" {self._last_words()}"
            ) from None
        if self.version == "git":  # as `go install` leaves it
            self.version = embedded_version(self.binary) or self.version

    async def _answers(self, mark: str) -> bool:
        with suppress(MeshError):
            return mark in await self.api.proxies()
        return False

    def _last_words(self) -> str:
        with suppress(OSError):
            lines = self.log_path.read_text(errors="replace").strip().splitlines()
            if lines:
                return lines[-1]
        return "it said nothing"

    async def _end(self) -> None:
        self.api.close()
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_S_MAX):
                await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


def _marker(mark: str) -> dict[str, object]:
    return {"name": mark, "listen": f"{HOST}:0", "upstream": f"{HOST}:1", "enabled": False}


def embedded_version(binary: Path) -> str | None:
    """The version that Go noted in a server it built; None if there is none."""
    try:
        with (
            binary.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            found = _MODULE.search(content)
            return found[1].decode() if found else None
    except (OSError, ValueError):
        return None
