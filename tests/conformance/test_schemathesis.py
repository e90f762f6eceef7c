"""Whatever the description allows, and much that it does not, is answered as it says.

The first seed is always the same. The second is a fresh one for each run, drawn from the date; what
fails says how to replay it, which `DYNAMO_SEED` does here as well.
"""

import asyncio
import datetime
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dynamo.cluster import LocalCluster
from dynamo.node_process import NodeProcess
from dynamo.settings import load_shared
from tests.cluster.harness import free_base_port
from tests.conformance.unharmed import require_unharmed

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

SEED = 1
FRESH_SEED = int(
    os.environ.get("DYNAMO_SEED", datetime.datetime.now(datetime.UTC).timestamp() // 60)
)
SECONDS = int(os.environ.get("DYNAMO_SCHEMATHESIS_S", "25"))
"""Of one run of one seed; there are four."""

OVERDUE_S = 60.0
"""How much longer than that it may take until it has ended by itself."""

EVERYTHING = "examples,coverage,fuzzing,stateful"
DRAWN = "fuzzing,stateful"
"""What depends on the seed."""

pytestmark = pytest.mark.cluster


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    """Three nodes that serve, with the bucket types that the hooks name."""
    made = LocalCluster(
        tmp_path / "data",
        nodes=3,
        base_port=free_base_port(3),
        shared=load_shared(HERE / "schemathesis-types.toml"),
    )
    async with made:
        yield made


async def _run(node: NodeProcess, directory: Path, *, seed: int, phases: str) -> Counter[int]:
    """One run of schemathesis against a node; how often each status came."""
    har = directory / f"{seed}.har"
    options = [
        *("--seed", str(seed), "--phases", phases, "--max-time", str(SECONDS)),
        *("--report", "har", "--report-har-path", str(har), "--no-color"),
        f"{node.url}/openapi.json",
    ]
    config = HERE / "schemathesis.toml"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", *options),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])},
        cwd=directory,
    )
    try:
        async with asyncio.timeout(SECONDS + OVERDUE_S):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, (
        f"{said.decode(errors='replace')}\n"
        f"to replay: DYNAMO_SEED={seed} pytest tests/conformance/test_schemathesis.py"
    )
    entries = json.loads(har.read_text())["log"]["entries"]
    assert any(_has_receipt(entry["response"]["headers"]) for entry in entries)
    return Counter(entry["response"]["status"] for entry in entries)


def _has_receipt(headers: list[dict[str, str]]) -> bool:
    return any(header["name"].lower() == "x-dynamo-replicas" for header in headers)


async def _try_all(node: NodeProcess, directory: Path) -> Counter[int]:
    answers = await _run(node, directory, seed=SEED, phases=EVERYTHING)
    return answers + await _run(node, directory, seed=FRESH_SEED, phases=DRAWN)


async def test_a_healthy_cluster_answers_as_described(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    first, *others = cluster.nodes.values()
    answers = await _try_all(first, tmp_path)
    assert {200, 201, 204, 300, 400, 404, 405, 406, 412} <= set(answers), answers
    await require_unharmed(first, *others)


async def test_a_cluster_with_a_dead_node_answers_as_described(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    first, second, third = cluster.nodes.values()
    await third.kill()
    answers = await _try_all(first, tmp_path)
    assert {200, 201, 204, 300, 400, 404, 503} <= set(answers), answers
    await require_unharmed(first, second)
