"""The real Toxiproxy: got, started, spoken to, and what it does to connections."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from chaos.errors import MeshError, ServerMissing
from chaos.links import AddToxic, LinkState, Stream, latency
from chaos.ports import free_ports
from chaos.probes import NAMES, PRIMITIVES, Scratch, observe, prove
from chaos.toxiproxy import getting, server
from chaos.toxiproxy.api import Api, ProxySpec
from chaos.toxiproxy.getting import Route, RouteFailed, find, find_or_get, get
from chaos.toxiproxy.server import VERSION, ToxiproxyServer
from dynamo.core.ids import Address
from tests.chaos.conftest import NOWHERE
from tests.cluster.harness import eventually, is_alive

pytestmark = pytest.mark.chaos

HOST = "127.0.0.1"


def heard(said: list[str]) -> str:
    return " / ".join(said)


# What it does to connections


async def test_it_breaks_connections_as_the_experiments_rely_on(toxiproxy: Api) -> None:
    probes = await prove(toxiproxy)
    assert [probe.name for probe in probes] == list(NAMES)
    assert [f"{probe.name}: {probe.said}" for probe in probes if not probe.passed] == []
    assert not [name for name in await toxiproxy.proxies() if name.startswith("probe")]


async def test_a_fault_that_does_nothing_is_not_taken_for_one_that_works(toxiproxy: Api) -> None:
    ports = free_ports(2)
    async with Scratch.made(toxiproxy, (ports[0], ports[1])) as scratch:
        seen = await observe(scratch, LinkState())
    assert not any(primitive.fits(seen) for primitive in PRIMITIVES)


async def test_a_primitive_that_is_broken_fails_its_probe(
    toxiproxy: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lazy(self: Api, proxy: str, step: object) -> None:
        del self, proxy, step

    monkeypatch.setattr(Api, "take", lazy)
    with pytest.raises(MeshError, match="has"):
        await prove(toxiproxy, ["refuse"])


# The interface


async def test_it_says_what_it_refuses_and_why(toxiproxy: Api) -> None:
    (port,) = free_ports(1)
    spec = ProxySpec("a", Address(HOST, port), Address(HOST, 1))
    slow = AddToxic("slow", latency(Stream.UPSTREAM, 5))
    await toxiproxy.create(spec)
    await toxiproxy.take("a", slow)
    with pytest.raises(MeshError, match="toxic already exists"):
        await toxiproxy.take("a", slow)
    with pytest.raises(MeshError, match="proxy not found"):
        await toxiproxy.take("b", slow)
    with pytest.raises(MeshError, match="address already in use"):
        await toxiproxy.create(replace_name(spec, "c"))
    with pytest.raises(MeshError, match="'a/b' cannot name"):
        await toxiproxy.create(replace_name(spec, "a/b"))


def replace_name(spec: ProxySpec, name: str) -> ProxySpec:
    return spec._replace(name=name)


async def test_to_create_what_is_there_makes_it_anew(toxiproxy: Api) -> None:
    (port,) = free_ports(1)
    spec = ProxySpec("a", Address(HOST, port), Address(HOST, 1))
    await toxiproxy.create(spec)
    await toxiproxy.take("a", AddToxic("slow", latency(Stream.UPSTREAM, 5)))
    await toxiproxy.create(spec)
    assert (await toxiproxy.proxies())["a"] == (spec, LinkState())


async def test_of_several_proxies_all_or_none_are_made(toxiproxy: Api) -> None:
    free, taken = free_ports(2)
    upstream = Address(HOST, 1)
    before = set(await toxiproxy.proxies())
    async with listening(taken, lambda _r, _w: asyncio.sleep(0)):
        with pytest.raises(MeshError, match="address already in use"):
            await toxiproxy.populate(
                [
                    ProxySpec("a", Address(HOST, free), upstream),
                    ProxySpec("b", Address(HOST, taken), upstream),
                ]
            )
    assert set(await toxiproxy.proxies()) == before


async def test_the_http_proxy_of_the_environment_is_not_asked_for_the_way_to_this_machine(
    toxiproxy: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, NOWHERE)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert await toxiproxy.version()


@asynccontextmanager
async def listening(port: int, serve: object) -> AsyncIterator[Address]:
    writers: list[asyncio.StreamWriter] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        assert callable(serve)
        with suppress(ConnectionError):
            await serve(reader, writer)

    listener = await asyncio.start_server(note, HOST, port)
    try:
        yield Address(HOST, port)
    finally:
        listener.close()
        for writer in writers:
            writer.transport.abort()
        await listener.wait_closed()


async def test_a_server_that_never_answers_is_given_up_in_time() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with (
        asyncio.timeout(5),
        listening(free_ports(1)[0], silent) as address,
        Api(address, call_s_max=0.1) as api,
    ):
        with pytest.raises(MeshError, match=r"no answer in"):
            await api.version()


async def test_a_server_whose_answer_has_no_end_is_given_up_in_time() -> None:
    async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with (
        asyncio.timeout(5),
        listening(free_ports(1)[0], trickle) as address,
        Api(address, call_s_max=0.1) as api,
    ):
        with pytest.raises(MeshError, match=r"no answer in 0.1 s"):
            await api.version()


async def test_somebody_else_s_answer_is_not_taken_for_toxiproxy_s() -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        writer.close()

    async with listening(free_ports(1)[0], other) as address, Api(address) as api:
        with pytest.raises(MeshError, match="no answer of Toxiproxy: b'hello'"):
            await api.proxies()


async def test_where_nobody_listens_it_says_so() -> None:
    async with Api(Address(HOST, *free_ports(1))) as api:
        with pytest.raises(MeshError, match="it is not there"):
            await api.version()


# The process


async def test_two_servers_of_one_process_do_not_mix(toxiproxy_bin: Path, tmp_path: Path) -> None:
    async with (
        ToxiproxyServer(toxiproxy_bin, tmp_path / "a") as a,
        ToxiproxyServer(toxiproxy_bin, tmp_path / "b") as b,
    ):
        assert a.version == b.version == VERSION
        spec = ProxySpec("only-a", Address(HOST, *free_ports(1)), Address(HOST, 1))
        await a.api.create(spec)
        assert "only-a" in await a.api.proxies()
        assert "only-a" not in await b.api.proxies()


async def test_it_is_gone_afterwards(toxiproxy_bin: Path, tmp_path: Path) -> None:
    async with ToxiproxyServer(toxiproxy_bin, tmp_path) as running:
        address = running.api.address
    async with Api(address) as api:
        with pytest.raises(MeshError, match="it is not there"):
            await api.version()


async def test_one_that_was_killed_is_ended_without_a_word(
    toxiproxy_bin: Path, tmp_path: Path
) -> None:
    async with ToxiproxyServer(toxiproxy_bin, tmp_path) as running:
        assert running.pid is not None
        os.kill(running.pid, signal.SIGKILL)
        await eventually(lambda: running.pid is None, within_s=5, what="it has ended")


STARTS_ONE = """
import asyncio, sys
from pathlib import Path
from chaos.toxiproxy.server import ToxiproxyServer
async def main():
    async with ToxiproxyServer(Path(sys.argv[1]), Path(sys.argv[2])) as server:
        print(server.pid, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_it_dies_with_who_started_it(toxiproxy_bin: Path, tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", STARTS_ONE, str(toxiproxy_bin), str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert parent.stdout is not None
    async with asyncio.timeout(30):
        pid = int(await parent.stdout.readline())
    assert is_alive(pid)
    parent.kill()
    await parent.wait()
    await eventually(lambda: not is_alive(pid), within_s=5, what="it died with its parent")


async def test_another_server_on_its_port_is_not_taken_for_it(
    toxiproxy_bin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "READY_S_MAX", 0.3)
    async with ToxiproxyServer(toxiproxy_bin, tmp_path / "a") as first:
        monkeypatch.setattr(server, "free_ports", lambda _: (first.api.address.port,))
        with pytest.raises(MeshError, match="address already in use"):
            async with ToxiproxyServer(toxiproxy_bin, tmp_path / "b"):
                pass


# Finding and getting it


def elsewhere(tmp_path: Path, **names: str) -> dict[str, str]:
    """An environment in which there is no server."""
    return {"PATH": "", "XDG_CACHE_HOME": str(tmp_path), "TOXIPROXY_URL": NOWHERE} | names


async def test_it_is_found_by_name_in_path_in_the_cache_and_where_it_runs(
    toxiproxy_bin: Path, toxiproxy: Api, tmp_path: Path
) -> None:
    assert await find(elsewhere(tmp_path)) is None

    named = await find(elsewhere(tmp_path, TOXIPROXY_BIN=str(toxiproxy_bin)))
    assert named is not None
    assert named.binary == toxiproxy_bin

    running = await find(elsewhere(tmp_path, TOXIPROXY_URL=f"http://{toxiproxy.address}"))
    assert running is not None
    assert (running.binary, running.running) == (None, toxiproxy.address)

    cached = getting.cached_path(elsewhere(tmp_path))
    cached.parent.mkdir(parents=True)
    cached.symlink_to(toxiproxy_bin)
    kept = await find(elsewhere(tmp_path))
    assert kept is not None
    assert kept.binary == cached

    in_path = tmp_path / "toxiproxy-server"
    in_path.symlink_to(toxiproxy_bin)
    found = await find(elsewhere(tmp_path, PATH=str(tmp_path)))
    assert found is not None
    assert found.binary == in_path


async def test_a_wrong_name_in_the_environment_is_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(ServerMissing, match=r"\$TOXIPROXY_BIN is /nowhere/server"):
        await find(elsewhere(tmp_path, TOXIPROXY_BIN="/nowhere/server"))


async def fails(_: Path) -> Path:
    raise RouteFailed("the moon is full")


async def test_where_it_cannot_be_had_a_sentence_says_why_and_what_to_do(tmp_path: Path) -> None:
    said: list[str] = []
    routes = [Route("a long walk", fails), Route("a short walk", fails)]
    with pytest.raises(ServerMissing) as missing:
        await find_or_get(said.append, elsewhere(tmp_path), routes)
    assert "install Go 1.23" in str(missing.value)
    assert "$TOXIPROXY_BIN" in str(missing.value)
    assert "a long walk: the moon is full; a short walk: the moon is full" in str(missing.value)
    assert "trying a short walk" in said


async def test_it_is_got_by_the_first_way_that_leads_to_a_server_that_runs(
    toxiproxy_bin: Path, tmp_path: Path
) -> None:
    async def no_server(directory: Path) -> Path:
        made = directory / "server"
        made.write_text("#!/bin/sh\necho I am something else\n")
        return made

    async def copied(directory: Path) -> Path:
        return Path(shutil.copy(toxiproxy_bin, directory / "server"))

    said: list[str] = []
    routes = [Route("a fake", no_server), Route("a copy", copied)]
    environment = elsewhere(tmp_path)
    found = await find_or_get(said.append, environment, routes)
    assert found.binary == getting.cached_path(environment)
    assert "I am something else" in heard(said)
    again = await find_or_get(said.append, environment, [Route("never", fails)])
    assert again.binary == found.binary
    assert [path.name for path in found.binary.parent.iterdir()] == [found.binary.name]


async def test_two_that_get_it_at_once_do_not_hurt_each_other(
    toxiproxy_bin: Path, tmp_path: Path
) -> None:
    async def copied(directory: Path) -> Path:
        return Path(shutil.copy(toxiproxy_bin, directory / "server"))

    destination = tmp_path / "cache" / "server"
    routes = [Route("a copy", copied)]
    await asyncio.gather(*(get(print, destination, routes) for _ in range(3)))
    assert [path.name for path in destination.parent.iterdir()] == ["server"]


async def test_an_old_toolchain_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho go1.19.8\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    installed, *_ = getting.default_routes()
    with pytest.raises(RouteFailed, match=r"go1\.19\.8 is older than 1\.23"):
        await installed.get(tmp_path)


async def test_a_build_that_never_ends_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = tmp_path / "go"
    go.write_text('#!/bin/sh\n[ "$1" = env ] && echo go1.30.1 || /bin/sleep 60\n')
    go.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(getting, "BUILD_S_MAX", 0.1)
    installed, *_ = getting.default_routes()
    async with asyncio.timeout(5):
        with pytest.raises(RouteFailed, match=r"go install took longer than 0.1 s"):
            await installed.get(tmp_path)


async def test_a_download_that_is_not_what_was_pinned_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def something(url: str) -> bytes:
        assert "/v2.12.0/toxiproxy-server-linux-amd64" in url
        return b"something"

    monkeypatch.setattr(getting, "_downloaded", something)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    *_, release = getting.default_routes()
    with pytest.raises(RouteFailed, match="hashes to"):
        await release.get(tmp_path)
    assert os.listdir(tmp_path) == []


def test_each_release_is_pinned_by_a_whole_hash() -> None:
    for release in getting.RELEASES.values():
        assert len(bytes.fromhex(release.sha256)) == 32
    assert len({release.sha256 for release in getting.RELEASES.values()}) == len(getting.RELEASES)
