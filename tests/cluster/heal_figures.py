"""Measures what a long cut costs once it heals: how soon all replicas are equal, and what requests
take meanwhile against before.

    python -m tests.cluster.heal_figures [--cut-s 30] [--rate 1500]

Five nodes on this machine, cut 2|3 while clients of all nodes write and read at a fixed rate; then
the cut is healed under the same load. Prints a line per phase, the seconds from the heal until no
hint was left and until the replicas of every partition were equal. No test: a machine that is busy
otherwise makes the figures worthless.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from dynamo.client.client import Client
from dynamo.cluster import RPC_PORT_OFFSET, LocalCluster
from dynamo.errors import DynamoError
from tests.cluster.harness import free_base_port
from tests.cluster.relays import Mesh

QUIET_S = 20.0
HEALING_S = 20.0
CONVERGED_S_MAX = 300.0


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cut-s", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=1500.0)
    options = parser.parse_args()
    base_port = free_base_port(5)
    mesh = Mesh(5, rpc_base_port=base_port + RPC_PORT_OFFSET, relay_base_port=free_base_port(25))
    await mesh.open()
    with tempfile.TemporaryDirectory() as directory:
        async with LocalCluster(
            Path(directory) / "data", nodes=5, base_port=base_port, adjust=mesh.adjust
        ) as cluster:
            await _bench(cluster, options.rate, 5.0, preload=True)
            _say("quiet", await _bench(cluster, options.rate, QUIET_S))
            await mesh.cut([["n1", "n2"], ["n3", "n4", "n5"]])
            _say("cut", await _bench(cluster, options.rate, options.cut_s))
            _tell(f"hints held at the heal: {await _sum(cluster, 'hints_held')}")
            await mesh.heal()
            healed_s = time.monotonic()
            async with asyncio.TaskGroup() as group:
                bench = group.create_task(_bench(cluster, options.rate, HEALING_S))
                emptied = group.create_task(_until_no_hints(cluster, healed_s))
            _tell(f"no hint left after {emptied.result():.1f} s")
            _say("healing", bench.result())
            _tell(f"all replicas equal after {await _until_equal(cluster, healed_s):.1f} s")
            for figure in ("hints_delivered", "exchange_keys_pushed", "exchange_keys_pulled"):
                _tell(f"{figure}: {await _sum(cluster, f'{figure}_total')}")
    await mesh.close()


async def _bench(
    cluster: LocalCluster, rate: float, duration_s: float, *, preload: bool = False
) -> Mapping[str, object]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dynamo", "bench", "--json", "-"),
        *("--node", ",".join(cluster.urls), "--rate", str(rate), "--timeout-s", "5"),
        *("--duration-s", str(duration_s), "--warmup-s", "0"),
        "--preload" if preload else "--no-preload",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(duration_s + 120):
        out, _ = await process.communicate()
    result: Mapping[str, object] = json.loads(out)
    return result


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _say(phase: str, result: Mapping[str, object]) -> None:
    _tell(f"{phase}: {json.dumps(result.get('result', result))}")


async def _sum(cluster: LocalCluster, figure: str) -> int:
    """One figure of `/stats`, over all nodes."""
    total = 0
    for url in cluster.urls:
        async with Client([url]) as client:
            value = (await client.stats())[figure]
            assert isinstance(value, int)
            total += value
    return total


async def _until_no_hints(cluster: LocalCluster, since_s: float) -> float:
    # Looked at once a second, and not in `/stats`, whose percentiles cost more than the hints.
    while await _held_hints(cluster):
        assert time.monotonic() - since_s < CONVERGED_S_MAX, "hints are left"
        await asyncio.sleep(1)
    return time.monotonic() - since_s


async def _held_hints(cluster: LocalCluster) -> int:
    held = 0
    for url in cluster.urls:
        async with Client([url]) as client:
            rows = (await client.hints())["hints"]
        assert isinstance(rows, list)
        held += len(rows)
    return held


async def _until_equal(cluster: LocalCluster, since_s: float) -> float:
    async with Client(cluster.urls, timeout_s=30) as client:
        while True:
            assert time.monotonic() - since_s < CONVERGED_S_MAX, "replicas differ"
            try:
                if (await client.divergence(keys_max=1))["equal"]:
                    return time.monotonic() - since_s
            except DynamoError:
                pass
            await asyncio.sleep(0.2)


if __name__ == "__main__":
    asyncio.run(main())
