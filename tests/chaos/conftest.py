"""A Toxiproxy server for the tests: found, or got as a user of the lab gets it."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chaos.toxiproxy.api import Api
from chaos.toxiproxy.getting import find_or_get
from chaos.toxiproxy.server import ToxiproxyServer

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(scope="session")
def toxiproxy_bin() -> Path:
    """The program; where it cannot be had, tests fail with the sentence that says what to do."""
    # One that runs already will not do: the tests start and kill their own.
    environment = os.environ | {"TOXIPROXY_URL": NOWHERE}
    found = asyncio.run(find_or_get(print, environment))
    assert found.binary is not None
    return found.binary


@pytest.fixture
async def toxiproxy(toxiproxy_bin: Path, tmp_path: Path) -> AsyncIterator[Api]:
    """A server of the test's own."""
    async with ToxiproxyServer(toxiproxy_bin, tmp_path / "toxiproxy") as server:
        yield server.api
