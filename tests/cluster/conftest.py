"""Local clusters for tests, on ports and in directories of their own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dynamo.cluster import LocalCluster
from tests.cluster.harness import free_base_port


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    """Three nodes that serve."""
    made = LocalCluster(tmp_path / "data", nodes=3, base_port=free_base_port(3))
    async with made:
        yield made
