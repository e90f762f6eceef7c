"""Toxiproxy's HTTP interface, asynchronous, with a deadline and a checked answer for every call.

The requests are made by `toxiproxy-python`. Used as it is, it waits for ever for a server that
hangs, takes a reply of 500 for success (and dies of a KeyError later), keeps stale copies of what
the server knows, cannot change a toxic, asks the environment's HTTP proxy for the way to this
machine, and keeps the server's address in its class, so that there is one server per process. Here
each `Api` has a class, and with it a server, of its own.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self, TypeVar, cast

import msgspec
from toxiproxy.api import APIConsumer
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists

from chaos.errors import MeshError
from chaos.links import (
    AddToxic,
    ChangeToxic,
    Enable,
    LinkState,
    RemoveToxic,
    Step,
    Stream,
    Toxic,
    ToxicKind,
)
from dynamo.core.ids import Address

CALL_S_MAX: Final = 15.0
"""A call that removes a toxic whose bytes nobody takes any more needs 10 s, and succeeds."""

_THREADS_MAX: Final = 8

_NAME: Final = re.compile(r"[a-z0-9._~-]+")  # they become parts of paths, and are not quoted there

# The counters are of connections that have ended: there is nothing yet of those that are open.
_SENT: Final = re.compile(
    r'^toxiproxy_proxy_sent_bytes_total\{direction="downstream",.*?proxy="([^"]+)".*?\} (\S+)$',
    re.MULTILINE,
)

_T = TypeVar("_T")


class ProxySpec(NamedTuple):
    """A proxy to be made."""

    name: str
    listen: Address
    upstream: Address


class ProxyState(NamedTuple):
    """A proxy as the server has it."""

    spec: ProxySpec
    state: LinkState


class _ToxicJson(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    type: ToxicKind
    stream: Stream
    toxicity: float
    attributes: dict[str, int]


class _ProxyJson(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    listen: str
    upstream: str
    enabled: bool
    toxics: list[_ToxicJson] = []


class _VersionJson(msgspec.Struct, frozen=True, kw_only=True):
    version: str


class _Response(Protocol):
    """What is needed of a response of `requests`."""

    status_code: int
    content: bytes
    text: str


class Api:
    """One Toxiproxy server. Closing it leaves the server as it is.

    Every method raises `MeshError` if the server cannot be reached, does not answer in time, or
    refuses, with its own words.

    Attributes:
        address: where it listens.
    """

    def __init__(self, address: Address, *, call_s_max: float = CALL_S_MAX) -> None:
        self.address = address
        self._call_s_max = call_s_max
        self._consumer = cast(
            "type[APIConsumer]",
            type("Consumer", (APIConsumer,), {"host": address.host, "port": address.port}),
        )
        # Of its own: one that hangs must not take the threads that resolve names for everybody.
        self._threads = ThreadPoolExecutor(_THREADS_MAX, thread_name_prefix="toxiproxy")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take no more calls; those under way end by their deadline."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def version(self) -> str:
        """What it says of itself; `git` if it was built by `go install`."""
        return _decoded(await self._get("/version"), _VersionJson).version

    async def proxies(self) -> dict[str, ProxyState]:
        """All proxies, of others as well, with their toxics."""
        found = _decoded(await self._get("/proxies"), dict[str, _ProxyJson])
        return {name: _proxy_state(proxy) for name, proxy in found.items()}

    async def populate(self, specs: Collection[ProxySpec]) -> None:
        """Make proxies, all in one call; all or none of them are there afterwards.

        One of the same name is replaced only if it differs, and keeps its toxics otherwise.
        """
        for spec in specs:
            _require_name(spec.name)
        try:
            await self._post("/populate", [_json(spec) for spec in specs])
        except MeshError:
            # It stops at the first that fails, and keeps those before.
            await self.delete({spec.name for spec in specs} & (await self.proxies()).keys())
            raise

    async def create(self, spec: ProxySpec) -> None:
        """Make a proxy, open and without toxics, in place of one of that name if there is one."""
        _require_name(spec.name)
        if spec.name in await self.proxies():
            await self.delete([spec.name])
        await self._post("/proxies", _json(spec))

    async def delete(self, names: Iterable[str]) -> None:
        """Remove proxies, with all their connections; those that are gone already are no error."""
        async with together() as group:
            for name in sorted(names):
                group.create_task(self._remove(name))

    async def _remove(self, name: str) -> None:
        with suppress(_NotThere):
            await self._delete(f"/proxies/{name}")

    async def take(self, proxy: str, step: Step) -> None:
        """Change one thing of a proxy."""
        home = f"/proxies/{proxy}"
        match step:
            case Enable(enabled):
                await self._post(home, {"enabled": enabled})
            case AddToxic(name, toxic):
                _require_name(name)
                await self._post(f"{home}/toxics", _toxic_json(name, toxic))
            case ChangeToxic(name, toxic):
                await self._post(f"{home}/toxics/{name}", _toxic_json(name, toxic))
            case RemoveToxic(name):
                await self._delete(f"{home}/toxics/{name}")

    async def sent_bytes(self) -> dict[str, int]:
        """For each proxy, the bytes of replies on connections that have ended, since it started.

        {} if the server was not started with `-proxy-metrics`.
        """
        try:
            text = (await self._get("/metrics")).decode()
        except _NotThere:
            return {}
        return {name: int(float(number)) for name, number in _SENT.findall(text)}

    async def _get(self, path: str) -> bytes:
        return await self._call(f"GET {path}", lambda: self._consumer.get(path, **self._options))

    async def _post(self, path: str, body: object) -> None:
        await self._call(
            f"POST {path}", lambda: self._consumer.post(path, json=body, **self._options)
        )

    async def _delete(self, path: str) -> None:
        await self._call(f"DELETE {path}", lambda: self._consumer.delete(path, **self._options))

    @property
    def _options(self) -> dict[str, object]:
        """What `requests` is told: so that no thread hangs, and no proxy is asked."""
        return {"timeout": self._call_s_max, "proxies": {"http": None, "all": None}}

    async def _call(self, what: str, call: Callable[[], _Response]) -> bytes:
        said = f"Toxiproxy at {self.address}, {what}"
        loop = asyncio.get_running_loop()
        try:
            # The library's own timeout starts anew with each byte that trickles in.
            async with asyncio.timeout(self._call_s_max):
                response = await loop.run_in_executor(self._threads, call)
        except NotFound as error:
            raise _NotThere(f"{said}: {_words(error)}") from None
        except (ProxyExists, InvalidToxic) as error:
            raise MeshError(f"{said}: {_words(error)}") from None
        except TimeoutError:
            raise MeshError(f"{said}: no answer in {self._call_s_max:g} s") from None
        except OSError as error:  # all errors of `requests` are
            raise MeshError(f"{said}: {_reason(error)}") from None
        if not 200 <= response.status_code < 300:
            raise MeshError(f"{said}: {response.status_code}, {response.text.strip()}")
        return response.content


class _NotThere(MeshError):
    """404."""


@asynccontextmanager
async def together() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group that fails with its first error as it is, not with a group of errors."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _json(spec: ProxySpec) -> dict[str, object]:
    return {
        "name": spec.name,
        "listen": str(spec.listen),
        "upstream": str(spec.upstream),
        "enabled": True,
    }


def _toxic_json(name: str, toxic: Toxic) -> dict[str, object]:
    return {
        "name": name,
        "type": toxic.kind,
        "stream": toxic.stream,
        "toxicity": 1.0,
        "attributes": dict(toxic.attributes),
    }


def _proxy_state(proxy: _ProxyJson) -> ProxyState:
    return ProxyState(
        ProxySpec(proxy.name, _address(proxy.listen), _address(proxy.upstream)),
        LinkState(
            enabled=proxy.enabled,
            toxics={
                toxic.name: Toxic(kind=toxic.type, stream=toxic.stream, attributes=toxic.attributes)
                for toxic in proxy.toxics
            },
        ),
    )


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return Address(host.strip("[]"), int(port) if port.isdecimal() else 0)


def _require_name(name: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise MeshError(f"{name!r} cannot name a proxy or toxic: a-z 0-9 . _ ~ - may be in it")


def _decoded(content: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MeshError(f"this is no answer of Toxiproxy: {content[:80]!r} ({error})") from None


def _words(error: Exception) -> str:
    """What the server said, out of an exception that holds the body of its reply."""
    body = error.args[0] if error.args else b""
    return body.decode(errors="replace").strip() if isinstance(body, bytes) else str(body)


def _reason(error: OSError) -> str:
    text = str(error)
    known = {"refused": "it is not there", "timed out": "no answer in time"}
    return next((said for part, said in known.items() if part in text.lower()), text)
