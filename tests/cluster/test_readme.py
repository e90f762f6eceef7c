"""Every command that the README shows is run here, as it stands there, against a fresh cluster."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from dynamo.cluster import LocalCluster
from tests.cluster.harness import free_base_port

README = Path(__file__).parents[2] / "README.md"

pytestmark = pytest.mark.cluster


def _blocks(mark: str) -> list[str]:
    """The code blocks under `<!-- mark -->`."""
    return re.findall(rf"^<!-- {mark} -->\n```\w+\n(.*?)^```$", README.read_text(), re.M | re.S)


def _moved(text: str, base_port: int) -> str:
    """`text` for a cluster that listens elsewhere than on the default ports."""
    return re.sub(
        r"127\.0\.0\.1:(8\d{3})",
        lambda found: f"127.0.0.1:{base_port + int(found[1]) - 8098}",
        text,
    )


async def _run(*command: str, base_port: int) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "DYNAMO_NODES": f"http://127.0.0.1:{base_port}",
        },
    )
    async with asyncio.timeout(60):
        said = (await process.communicate())[0].decode()
    assert process.returncode == 0, f"{command[-1]}\n{said}"
    return said


async def test_what_the_readme_shows_does_what_it_says(tmp_path: Path) -> None:
    base_port = free_base_port(3)
    async with LocalCluster(tmp_path / "data", nodes=3, base_port=base_port):
        said = [
            await _run(
                "bash", "-euo", "pipefail", "-c", _moved(block, base_port), base_port=base_port
            )
            for block in _blocks("try")
        ]
        first, conflict, resolved, deleted, commands, repair = said
        assert first.endswith("hello")
        assert "300 Multiple Choices" in conflict
        assert "milk" in conflict
        assert "bread" in conflict
        assert resolved.endswith("milk, bread")
        assert "404 Not Found" in deleted
        assert "red" in commands
        assert "all hints are delivered" in repair
        assert "256 partitions: 0 differ" in repair
        assert "is to forget" in repair
        (script,) = _blocks("try python")
        shown = await _run(sys.executable, "-c", _moved(script, base_port), base_port=base_port)
        assert "b'tea'" in shown


def test_readme_states_one_command_that_starts_a_cluster_and_one_that_tests() -> None:
    (tests,) = _blocks("test command")
    assert tests.strip().endswith(".venv/bin/pytest")
    starts = re.findall(r"^python3 -m venv .*dynamo up$", README.read_text(), re.M)
    assert len(starts) == 1
