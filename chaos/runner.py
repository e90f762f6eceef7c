"""Runs an experiment: each take with a cluster of its own, from the wiring to the recording."""

import asyncio
import json
import platform
import shutil
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from itertools import islice
from pathlib import Path
from random import Random
from typing import Final, Protocol, TypeVar, cast

from chaos import distrust, lab
from chaos.clients import History, LabClient
from chaos.errors import ClusterError, LabError
from chaos.experiment import Experiment, TakePlan
from chaos.probes import prove
from chaos.recording import Probe, Recording, Run, Take, TakeHead, save_run, save_take
from chaos.sampling import Sampler
from chaos.stage import Stage
from chaos.toxiproxy.api import Api
from chaos.waiting import until
from dynamo.core.ids import NodeId
from dynamo.node_process import NodeProcess

REQUEST_S: Final = 1.0
"""How long a client waits for an answer."""

_LAST_LOOK_S_MAX: Final = 15.0
_PROBLEMS_MAX: Final = 20
_LINE_MAX: Final = 500
_CRASH: Final = ("Traceback", "exception was never retrieved", "was never awaited")

_T = TypeVar("_T")


class Progress(Protocol):
    """Told how a run gets on."""

    def begin(self, plan: TakePlan) -> None:
        """A take begins."""

    def say(self, text: str) -> None:
        """What is going on now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be run.

    Attributes:
        seed: of everything that the lab draws. What the machine does to the timing of processes is
            not drawn, so a run with the same seed is alike, not the same.
        cuts: ways to cut links, for experiments that cut any.
        command: what repeats the run.
        directory: where it is kept; does not exist yet, or is empty.
        wiring: what the run changes about its clusters.
    """

    experiment: Experiment
    seed: int
    cuts: tuple[str, ...]
    command: str
    directory: Path
    wiring: lab.Wiring

    def plans(self) -> tuple[TakePlan, ...]:
        """Its takes."""
        return self.experiment.takes(self.cuts, self.seed)


async def run(order: Order, api: Api, version: str, progress: Progress) -> Recording:
    """Perform all takes of an experiment and keep what was recorded.

    Args:
        order: see there.
        api: of the Toxiproxy server.
        version: of that server.
        progress: told what is going on.

    Raises:
        LabError: the lab could not do its work; takes that were done are kept.
    """
    plans = order.plans()
    head = Run(
        experiment=order.experiment.name,
        seed=order.seed,
        command=order.command,
        started_at=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        versions=_versions() | {"toxiproxy-server": version},
        takes=tuple(plan.name for plan in plans),
    )
    # First, so that a run that is interrupted says what it was; it cannot be judged.
    save_run(order.directory, head)
    takes = []
    for plan in plans:
        progress.begin(plan)
        take = await _perform(order, plan, api, progress)
        save_take(order.directory, take)
        takes.append(take)
    return Recording(run=head, takes=tuple(takes))


async def _perform(order: Order, plan: TakePlan, api: Api, progress: Progress) -> Take:
    loop = asyncio.get_running_loop()
    started_s = loop.time()

    def clock_s() -> float:
        return loop.time() - started_s

    home = order.directory / plan.name / "nodes"
    home.parent.mkdir(parents=True, exist_ok=True)
    progress.say("starting the nodes")
    async with AsyncExitStack() as put_away:
        probing = await put_away.enter_async_context(_beside(prove(api)))
        opened = await put_away.enter_async_context(
            lab.opened(plan, home, api=api, clock_s=clock_s, wiring=order.wiring)
        )
        progress.say("cutting all links, to see that nothing leaks")
        heartbeat_s = float(cast("float", {**lab.NODE, **plan.node}["heartbeat_interval_s"]))
        probes = await probing
        if not plan.direct:
            probes = (*probes, await distrust.leak_test(opened, heartbeat_s))
        history = History(clock_s)
        clients = {
            one.name: await put_away.enter_async_context(
                LabClient(
                    one.name,
                    one.side,
                    {node: opened.mesh.url(one.name, NodeId(node)) for node in one.nodes},
                    history,
                    timeout_s=REQUEST_S,
                )
            )
            for one in plan.clients
        }
        sampler = Sampler(opened, clock_s)
        stage = Stage(
            plan,
            opened,
            sampler=sampler,
            history=history,
            clients=clients,
            dice=Random(f"{order.seed} {plan.name}"),
            clock_s=clock_s,
            say=progress.say,
        )
        async with sampler.running():
            cut_short = await _performed(order.experiment, stage, probes)
            died = await _died(stage)
            if len(stage.serving) == len(plan.nodes):
                await stage.converge()
            else:
                stage.mark("quiet")
        await _last_look(sampler, stage.serving)
        progress.say("reading what every replica holds")
        final = await stage.dump()
    return Take(
        head=TakeHead(
            name=plan.name,
            title=plan.title,
            duration_s=clock_s(),
            nodes=plan.nodes,
            modes=plan.modes,
            cut=plan.cut,
            sides=plan.sides,
            marks=tuple(stage.marks),
            faults=tuple(stage.faults),
            placements=tuple(stage.placements.values()),
            probes=probes,
            converged_after_s=stage.converged_after_s(),
            convergence_s_max=plan.convergence_s_max,
            cut_short=cut_short,
            problems=(*died, *_problems(home)),
            hints=sampler.hints(),
            settings=_settings(plan),
            figures=stage.figures,
        ),
        operations=history.operations(),
        samples=tuple(sampler.samples),
        final=final,
    )


def _settings(plan: TakePlan) -> dict[str, object]:
    """What nodes were told; their bucket types are those of the modes."""
    told = {**lab.CLUSTER, **lab.NODE, **plan.cluster, **plan.node, **plan.own}
    return {name: value for name, value in told.items() if name != "bucket_types"}


@asynccontextmanager
async def _beside(work: Coroutine[None, None, _T]) -> AsyncIterator[asyncio.Task[_T]]:
    """Something that is done meanwhile; after the block it has ended, if it must by force."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # who awaited it has got it; else something worse went wrong before


async def _performed(experiment: Experiment, stage: Stage, probes: Sequence[Probe]) -> str:
    """Perform a take; why it was cut short, "" if it was not.

    What a script cannot do without a node that ended by itself is the store's failure, and what it
    cannot do with tools that do not work is known to be the lab's; both are to be recorded.

    Raises:
        LabError: the script cannot be performed, and nobody knows why.
    """
    nodes = stage.lab.nodes
    try:
        await experiment.perform(stage)
    except LabError as error:
        if not _dead(nodes) and all(probe.passed for probe in probes):
            raise
        stage.say(f"cut short: {error}")
        return str(error)
    for name, node in nodes.items():
        if node.state not in ("serving", "died"):
            raise ClusterError(f"{name} is {node.state} at the end, though nobody left it so")
    return ""


async def _died(stage: Stage) -> list[str]:
    """Who ended by itself, with its last words; started again, if possible, to see what is left."""
    died = _dead(stage.lab.nodes)
    if died:
        stage.say("; ".join(died))
        with suppress(ClusterError):  # then what they hold is not known, and that is said
            await stage.revive()
    return died


def _dead(nodes: Mapping[str, NodeProcess]) -> list[str]:
    return [
        f"{name} ended by itself; its last words: {node.last_words()[:_LINE_MAX]}"
        for name, node in nodes.items()
        if node.state == "died"
    ]


async def _last_look(sampler: Sampler, serving: Sequence[str]) -> None:
    """Take the sample that says what became of hints; whoever serves has to be in it.

    Raises:
        ClusterError: one does not answer.
    """

    async def shows_all() -> bool:
        await sampler.look()
        return sampler.samples[-1].nodes.keys() >= set(serving)

    if not await until(shows_all, within_s=_LAST_LOOK_S_MAX):
        raise ClusterError(f"after {_LAST_LOOK_S_MAX:g} s a node does not tell its figures")


def _problems(home: Path) -> list[str]:
    """Lines of the nodes' logs that tell of something nobody caught; their data goes."""
    found: list[str] = []
    for directory in sorted(path for path in home.iterdir() if path.is_dir()):
        for log in sorted(directory.glob("log*")):
            few = islice(_telling(log), _PROBLEMS_MAX - len(found))
            found += [f"{directory.name}: {line}" for line in few]
        shutil.rmtree(directory / "data", ignore_errors=True)
    return found


def _telling(log: Path) -> Iterator[str]:
    with log.open(errors="replace") as lines:
        for line in lines:
            if any(mark in line for mark in _CRASH) or _level(line) in ("error", "critical"):
                yield line.rstrip()[:_LINE_MAX]


def _level(line: str) -> str:
    try:
        entry = json.loads(line)
    except ValueError:
        return ""
    return str(entry.get("level", "")).lower() if isinstance(entry, dict) else ""


def _versions() -> dict[str, str]:
    names = ("dynamo", "aiohttp", "lmdb", "toxiproxy-python")
    found = {name: metadata.version(name) for name in names}
    return found | {"python": platform.python_version(), "system": platform.platform()}
