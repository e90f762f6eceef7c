import io
from collections.abc import AsyncIterator

import pytest
from rich.console import Console

from tests.unit.commands.asked import FakeNode, fake_node


@pytest.fixture
async def node() -> AsyncIterator[FakeNode]:
    async with fake_node() as fake:
        yield fake


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200, soft_wrap=True)
