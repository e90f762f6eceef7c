"""A lab that cannot fail proves nothing: broken stores end in FAIL, a broken lab in INVALID.

Each planted bug (`tests/planted`) is run in the experiment that is meant to find it. A few are
tried each time; `DYNAMO_PLANTED=all` tries them all, which takes some minutes.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

RUN_S_MAX = 170.0

FAIL, INVALID = 1, 3

FOUND_BY = {
    "counts_stand_ins_in_strict_mode": ("half-split", "what was measured is what was predicted"),
    "merges_by_wall_clock": ("siblings-or-clocks", "no acknowledged write is lost"),
    "forgets_tombstones_early": ("deletes", "nothing comes back"),
    "keeps_hints_in_memory": ("hinted-handoff", "hints survive the crash of who keeps them"),
    "drops_hints_before_they_are_confirmed": ("hinted-handoff", "replicas converge without reads"),
    "ignores_contexts": ("cart", "siblings are exactly the writes that nobody replaced"),
    "calls_timeouts_definite": ("half-split", "what failed for certain is never seen"),
    "compares_counts_of_keys": ("lost-disk", "replicas converge without reads"),
    "acknowledges_before_commit": ("kill-storm", "no acknowledged write is lost"),
}
"""Bug, the experiment that finds it, and a rule that then does not hold."""

ALWAYS = ("counts_stand_ins_in_strict_mode", "merges_by_wall_clock", "forgets_tombstones_early")

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(200)]


def run(toxiproxy_bin: Path, out: Path, *arguments: str) -> tuple[int, dict[str, str]]:
    """The exit status of a run of the lab, and the rules that did not hold with their verdicts."""
    done = subprocess.run(
        [sys.executable, "-m", "chaos", "run", *arguments, "--seed", "1", "--out", str(out)],
        cwd=ROOT,
        env=os.environ | {"TOXIPROXY_BIN": str(toxiproxy_bin)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_S_MAX,
        check=False,
    )
    (summary,) = out.glob("*/summary.json")
    rules = json.loads(summary.read_text())["findings"]["rules"]
    broken = {rule["rule"]: rule["verdict"] for rule in rules if rule["verdict"] != "pass"}
    assert broken, done.stdout[-4000:] + done.stderr[-4000:]
    return done.returncode, broken


def tried() -> Iterator[str]:
    yield from FOUND_BY if os.environ.get("DYNAMO_PLANTED") == "all" else ALWAYS


@pytest.mark.parametrize("bug", list(tried()))
def test_a_broken_store_fails_the_experiment_that_is_made_for_it(
    bug: str, toxiproxy_bin: Path, tmp_path: Path
) -> None:
    experiment, rule = FOUND_BY[bug]
    command = shlex.join([sys.executable, "-m", "tests.planted", bug])
    options = ("--cut", "drop", "--node-command", command)
    status, broken = run(toxiproxy_bin, tmp_path, experiment, *options)
    assert status == FAIL, broken
    assert broken.get(rule) == "fail", broken


def test_a_link_that_leads_past_the_mesh_makes_a_run_invalid(
    toxiproxy_bin: Path, tmp_path: Path
) -> None:
    status, broken = run(
        toxiproxy_bin, tmp_path, "isolate-one", "--cut", "drop", "--bypass", "n1>n2"
    )
    assert status == INVALID, broken
    assert broken.get("the lab's tools were seen to work") == "invalid", broken
