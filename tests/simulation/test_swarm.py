"""The swarm in the test run: seeds that failed before, fresh ones, and what they must come upon."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.nemesis import DISKS, LINKS, LOSSES, MACHINES
from tests.simulation.swarm import Campaign, draw, run

pytestmark = pytest.mark.simulation

# Seeds that found something, each with what it was. A change of what a seed draws makes them
# others; they are kept as long as they draw what is said of them.
FAILED_BEFORE = {
    20126: "an object and its entry in the trees' index rotted: its partition was never compared",
    20220: "a hint and its row rotted: one hint too few was held, and others were not seen",
    20361: "the same: a stand-in acknowledged a hint that it did not know it held",
    20679: "the same: a hint that was neither held nor expired",
}

SOMETIMES = (
    *(f"trouble {kind}" for kind in LINKS + MACHINES + DISKS + LOSSES),
    "writes ok",
    "writes fail",
    "writes info",
    "deletes",
    "siblings",
    "hints_stored",
    "hints_delivered",
    "hints_superseded",
    "hints_expired",
    "exchange_keys_pulled",
    "exchange_keys_pushed",
    "tombstones_collected",
    "read_repairs",
    "stand_ins_asked",
    "coord_redirs",
    "commits_failed",
)
"""What happens in any minute of the swarm: one that never gets there proves nothing."""

VIRTUAL_S_MIN = 1800.0
"""In less than this not everything that happens sometimes need have happened."""


def check_holds(seed: int) -> None:
    result = run(seed)
    broken = [str(violation) for violation in result.violations]
    assert not broken, f"{result.trace}\n{result}"


def test_the_seed_that_is_asked_for_holds(seed: int | None) -> None:
    if seed is None:
        pytest.skip("no seed is asked for")
    check_holds(seed)


@pytest.mark.parametrize("failed", FAILED_BEFORE)
def test_a_seed_that_failed_before_holds_now(failed: int, seed: int | None) -> None:
    if seed is not None:
        pytest.skip("one seed is replayed")
    check_holds(failed)


def test_nothing_acknowledged_is_lost_and_nothing_deleted_returns(
    seed: int | None, first_seed: int, swarm_cpu_s: float, capsys: pytest.CaptureFixture[str]
) -> None:
    if seed is not None:
        pytest.skip("one seed is replayed")
    campaign = Campaign(first_seed=first_seed)
    campaign.run(swarm_cpu_s, trace=True)
    with capsys.disabled():
        sys.stdout.write(f"\n{campaign}\n")
    assert not campaign.failures, "\n\n".join(campaign.failures)
    never = [name for name in SOMETIMES if not campaign.seen[name]]
    assert campaign.virtual_s < VIRTUAL_S_MIN or not never, f"never happened: {never}"


@pytest.mark.parametrize("seed", ["3", "8"])
def test_the_same_seed_gives_the_same_trace_whatever_python_hashes(seed: str) -> None:
    digests = set()
    for hash_seed in ("1", "2"):
        finished = subprocess.run(
            [sys.executable, "-m", "tests.simulation.swarm", "--seed", seed],
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


def test_what_a_seed_draws_can_be_had() -> None:
    for plan in map(draw, range(1000)):
        assert 3 <= plan.options.nodes <= 9
        assert plan.n <= plan.options.nodes
        assert all(1 <= quorum.w <= quorum.n == plan.n for quorum in plan.mix.write_quorums)
        assert all(1 <= quorum.r <= quorum.n == plan.n for quorum in plan.mix.read_quorums)


def test_only_one_machine_loses_data_and_only_where_hints_stay() -> None:
    for plan in map(draw, range(1000)):
        settings, quorums = plan.options.settings, plan.mix.write_quorums
        hints_go = settings.hint_age_s_max < 3600 or settings.hints_bytes_max < 2**20
        assert plan.has_losses == bool(set(LOSSES) & set(plan.troubles.kinds))
        assert not (plan.has_losses and hints_go)
        assert not hints_go or all(quorum.pw for quorum in quorums)
