import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.simulation.mixed import run

pytestmark = pytest.mark.simulation

REPLAY = "python -m pytest tests/simulation/test_mixed_workload.py --seed {seed}"


def test_nothing_acknowledged_is_lost_under_cuts_and_crashes(seeds: Sequence[int]) -> None:
    failures = []
    for seed in seeds:
        try:
            result = run(seed)
        except Exception as error:
            error.add_note(f"replay: {REPLAY.format(seed=seed)}")
            raise
        if result.violations:
            broken = "\n".join(map(str, result.violations))
            failures.append(f"{broken}\n{result.trace}\nreplay: {REPLAY.format(seed=seed)}")
    assert not failures, "\n\n".join(failures)


@pytest.mark.parametrize("seed", ["3", "8"])
def test_the_same_seed_gives_the_same_trace_whatever_python_hashes(seed: str) -> None:
    digests = set()
    for hash_seed in ("1", "2"):
        finished = subprocess.run(
            [sys.executable, "-m", "tests.simulation.mixed", seed],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        digests.add(finished.stdout)
    assert len(digests) == 1


def test_another_seed_gives_another_trace() -> None:
    assert run(1).digest != run(2).digest
