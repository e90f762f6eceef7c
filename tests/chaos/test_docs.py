"""Every command that docs/chaos.md shows is run here, as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.recording import read_run

ROOT = Path(__file__).parents[2]

COMMANDS_S_MAX = 400.0

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]


def blocks(page: Path, mark: str) -> list[str]:
    """The code blocks under `<!-- mark -->`."""
    return re.findall(rf"^<!-- {mark} -->\n```\w+\n(.*?)^```\n", page.read_text(), re.M | re.S)


def said_by(commands: str, directory: Path, toxiproxy_bin: Path) -> str:
    """What shell commands print when they run in `directory`; they have to succeed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMANDS_S_MAX,
        check=False,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "TOXIPROXY_BIN": str(toxiproxy_bin),
        },
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout[-4000:]}"
    return done.stdout


def test_the_page_for_newcomers_does_what_it_says(tmp_path: Path, toxiproxy_bin: Path) -> None:
    commands = blocks(ROOT / "docs" / "chaos.md", "try")
    assert len(commands) >= 4
    said = "".join([said_by(one, tmp_path, toxiproxy_bin) for one in commands])
    assert "quick, all together" in said
    runs = sorted(path.parent for path in tmp_path.glob("chaos-runs/**/run.json"))
    assert {read_run(run).experiment for run in runs} >= {
        "baseline",
        "half-split",
        "siblings-or-clocks",
        "hinted-handoff",
        "deletes",
        "quorum-is-not-atomic",
        "matrix",
        "soak",
    }
    assert all((run / "report.html").exists() for run in runs)
    again = said_by(f"python -m chaos report {runs[0]}", tmp_path, toxiproxy_bin)
    assert "PASS" in again


def test_the_readme_runs_the_quick_set_with_one_command() -> None:
    (command,) = blocks(ROOT / "README.md", "quick command")
    assert command.strip().endswith(".venv/bin/python -m chaos run quick")
