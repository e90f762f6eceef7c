"""A run from beginning to end: prepare the bucket, write the keys, carry the load, sum up."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from random import Random

from dynamo.bench.cluster import NodeProcesses, find_processes, set_n_val
from dynamo.bench.connection import Connection, ContextConnection, Phase, Preloading
from dynamo.bench.cpu import cpu_s, rss_bytes
from dynamo.bench.load import SWEEP_S, Load
from dynamo.bench.plan import Plan
from dynamo.bench.requests import key_names
from dynamo.bench.schedule import ClosedLoop, EveryKeyOnce, Mix, OpenLoop
from dynamo.bench.summary import CpuUse, Summary, summarize
from dynamo.bench.tally import Tally
from dynamo.errors import DynamoError

_LOOK_S = 0.2  # how often progress is shown


class BenchFailed(DynamoError):
    """The run could not be made; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """What a run needs of the world beside the network.

    Attributes:
        now_s: a monotonic clock.
        own_cpu_s: CPU time of this process.
        progress: told now and then what is going on: phase, part of it done (0 to 1), and how
            many requests have succeeded in it.
    """

    now_s: Callable[[], float]
    own_cpu_s: Callable[[], float]
    progress: Callable[[str, float, int], None]


async def run(plan: Plan, doors: Doors, pids: tuple[int, ...]) -> Summary:
    """Make the run.

    Args:
        plan: what to do.
        doors: clock and display.
        pids: the node processes whose CPU counts; empty to look for them.

    Raises:
        ConfigError: the bucket's `n_val` cannot be set.
        BenchFailed: the keys cannot be written.
    """
    if plan.n_val is not None:
        await set_n_val(plan, plan.n_val)
    keys = key_names(plan.keys)
    if plan.preload:
        await _preload(plan, doors, keys)
    processes = NodeProcesses(pids=pids) if pids else await find_processes(plan)
    return await _measure(plan, doors, keys, processes)


async def _preload(plan: Plan, doors: Doors, keys: list[bytes]) -> None:
    """Write every key, however often it takes, as long as something works."""
    tally = Tally(start_s=doors.now_s())
    work = EveryKeyOnce(keys=plan.keys)
    pace = ClosedLoop(end_s=inf)
    phase = Phase(pace=pace, work=work, tally=tally, keys=keys, now_s=doors.now_s)
    load = Load(plan, phase, Preloading)
    stored, stored_at_s = 0, doors.now_s()
    async with asyncio.TaskGroup() as group:
        carrying = group.create_task(load.run())
        while (
            tally.ok < plan.keys
            and not phase.refusal
            and doors.now_s() - stored_at_s < plan.timeout_s
        ):
            await asyncio.sleep(_LOOK_S)
            if tally.ok > stored:
                stored, stored_at_s = tally.ok, doors.now_s()
            doors.progress("preload", tally.ok / plan.keys, tally.ok)
        carrying.cancel()
    if phase.refusal:
        raise BenchFailed(f"preload: the server refuses the writes with {phase.refusal}")
    if tally.ok < plan.keys:
        raise BenchFailed(
            f"preload: {tally.ok} of {plan.keys} keys written, then none for"
            f" {plan.timeout_s:g} s ({tally.blame() or 'no answer'})"
        )


async def _measure(
    plan: Plan, doors: Doors, keys: list[bytes], processes: NodeProcesses
) -> Summary:
    begin_s = doors.now_s()
    start_s = begin_s + plan.warmup_s
    end_s = start_s + plan.duration_s
    tally = Tally(start_s=start_s, deadline_s=inf if plan.deadline_s is None else plan.deadline_s)
    rss_bytes_max: dict[int, int] = {}
    pace: ClosedLoop | OpenLoop = (
        ClosedLoop(end_s=end_s)
        if plan.rate is None
        else OpenLoop(rate=plan.rate, start_s=begin_s, end_s=end_s)
    )
    work = Mix(keys=plan.keys, read_fraction=plan.read_fraction, dice=Random(plan.seed))
    phase = Phase(pace=pace, work=work, tally=tally, keys=keys, now_s=doors.now_s)
    load = Load(plan, phase, ContextConnection if plan.contexts else Connection)
    async with asyncio.TaskGroup() as group:
        carrying = group.create_task(load.run())
        cpu = group.create_task(_cpu_between(start_s, end_s, doors, processes))
        # The last requests have their time; nothing has more.
        last_s = end_s + plan.timeout_s + 2 * SWEEP_S
        while doors.now_s() < end_s or (load.busy and doors.now_s() < last_s):
            await asyncio.sleep(_LOOK_S)
            for pid in processes.pids:
                rss_bytes_max[pid] = max(rss_bytes_max.get(pid, 0), rss_bytes(pid) or 0)
            done = min(1.0, (doors.now_s() - begin_s) / (end_s - begin_s))
            doors.progress("load", done, tally.ok)
        carrying.cancel()
    return summarize(
        tally,
        duration_s=plan.duration_s,
        never_sent=pace.never_sent() if isinstance(pace, OpenLoop) else 0,
        cpu=cpu.result(),
        rss_bytes_max=rss_bytes_max,
    )


async def _cpu_between(
    start_s: float, end_s: float, doors: Doors, processes: NodeProcesses
) -> CpuUse:
    await asyncio.sleep(start_s - doors.now_s())
    nodes_before_s, own_before_s = cpu_s(processes.pids), doors.own_cpu_s()
    await asyncio.sleep(end_s - doors.now_s())
    nodes_after_s, own_after_s = cpu_s(processes.pids), doors.own_cpu_s()
    nodes_s, unknown = None, processes.unknown
    if nodes_before_s is None or nodes_after_s is None:
        unknown = "a node's process ended during the run"
    elif not unknown:
        nodes_s = nodes_after_s - nodes_before_s
    return CpuUse(
        node_pids=processes.pids,
        nodes_s=nodes_s,
        unknown=unknown,
        load_s=own_after_s - own_before_s,
    )
