"""Looks whether this machine can run the lab, and gets what is missing.

What it finds is a list of `Probe`s: the packages, the Toxiproxy server and where it comes from,
free ports, and each way to break a network, tried out.
"""

import platform
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from chaos.errors import LabError, MeshError, ServerMissing
from chaos.ports import free_base_port, free_ports
from chaos.probes import prove
from chaos.recording import Probe
from chaos.toxiproxy.api import Api
from chaos.toxiproxy.getting import Found, Say, find_or_get
from chaos.toxiproxy.server import VERSION, ToxiproxyServer

PACKAGES: Final = ("dynamo", "toxiproxy-python", "matplotlib", "jinja2")

_NODES: Final = 5
_LINKS: Final = 60


async def examine(say: Say) -> tuple[Probe, ...]:
    """Look at everything; where there is no Toxiproxy server, one is got.

    Args:
        say: told each step of getting it.
    """
    return (*_packages(), _ports(), *await _toxiproxy(say))


def _packages() -> tuple[Probe, ...]:
    python = Probe(name="Python", passed=True, said=platform.python_version())
    return (python, *map(_package, PACKAGES))


def _package(name: str) -> Probe:
    try:
        return Probe(name=name, passed=True, said=version(name))
    except PackageNotFoundError:
        return Probe(name=name, passed=False, said="missing: pip install -e '.[chaos]'")


def _ports() -> Probe:
    try:
        ports = free_ports(_LINKS)
        base_port = free_base_port(_NODES)
    except MeshError as error:
        return Probe(name="ports", passed=False, said=str(error))
    said = f"{_LINKS} for links from {ports[0]} on, {_NODES} nodes from {base_port} on"
    return Probe(name="ports", passed=True, said=said)


async def _toxiproxy(say: Say) -> tuple[Probe, ...]:
    try:
        found = await find_or_get(say)
    except ServerMissing as error:
        return (Probe(name="Toxiproxy", passed=False, said=str(error)),)
    try:
        return await _tried(found)
    except LabError as error:
        said = f"{found.where}, {found.how}: {error}"
        return (Probe(name="Toxiproxy", passed=False, said=said),)


async def _tried(found: Found) -> tuple[Probe, ...]:
    if found.running is not None:
        async with Api(found.running) as api:
            return (_server(found, await api.version()), *await prove(api))
    assert found.binary is not None
    with tempfile.TemporaryDirectory() as directory:
        async with ToxiproxyServer(found.binary, Path(directory)) as server:
            return (_server(found, server.version), *await prove(server.api))


def _server(found: Found, its_version: str) -> Probe:
    known = "" if its_version == VERSION else f" (the lab was measured with {VERSION})"
    said = f"{its_version}{known}: {found.where}, {found.how}"
    return Probe(name="Toxiproxy", passed=True, said=said)
