"""`dynamo up` while it runs: what to try first, what happens to the nodes, until it is stopped.

Events are lines, on a terminal and elsewhere alike; on a terminal a table below them shows how the
nodes are now. A node that dies stays down: whoever runs this to see what a failure does would not
thank us for a helping hand, and the line that reports it says how to start the node again.
"""

import asyncio
import signal
from collections.abc import Awaitable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dynamo.client.client import Client
from dynamo.cluster import LocalCluster
from dynamo.core.ids import NodeId
from dynamo.errors import DynamoError
from dynamo.node_process import NodeProcess, ProcessState
from dynamo.reports import Load, Members, checked, members_of, seen_up

LOOK_S = 1.0

ASK_S_MAX = 0.8

_COLOURS = {
    ProcessState.STARTING: "yellow",
    ProcessState.SERVING: "green",
    ProcessState.PAUSED: "yellow",
    ProcessState.STOPPED: "red",
    ProcessState.DIED: "red",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One node at one moment.

    Attributes:
        state: of its process.
        up_by: how many of the other nodes say that they can reach it.
        asked: how many other nodes answered.
        load: what clients ask of it; None if it does not answer.
    """

    state: ProcessState
    up_by: int
    asked: int
    load: Load | None

    @property
    def standing(self) -> str:
        """What the other nodes think of it, in a word."""
        if self.asked == 0:
            return "seen by nobody"
        if self.up_by == self.asked:
            return "up"
        return "suspected by all" if self.up_by == 0 else "suspected by some"


async def run_up(cluster: LocalCluster, console: Console) -> int:
    """Start `cluster`, show it, and stop it at SIGINT, SIGTERM or SIGHUP.

    Returns:
        The exit status: 0 after a signal, for that is how it is meant to end; 1 if no node is left.

    Raises:
        ConfigError, StartupError: it cannot start.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopping.set)
    console.print(f"starting nodes in {cluster.data_dir}")
    if not await _unless(stopping, cluster.start()):
        return 0
    try:
        _welcome(cluster, console)
        status = await _watch(cluster, console, stopping)
        console.print("stopping all nodes")
    finally:
        await cluster.stop()
    console.print(f"all stopped; the data stays in {cluster.data_dir}")
    return status


async def _unless(stopping: asyncio.Event, work: Awaitable[None]) -> bool:
    """Do `work` unless told to stop before it is done. Returns whether it is done."""
    task = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
            return True
        return False
    finally:
        task.cancel()
        waiting.cancel()
        await asyncio.wait((task, waiting))


def _welcome(cluster: LocalCluster, console: Console) -> None:
    for node in cluster.nodes.values():
        console.print(
            f"{node.node_id}: HTTP on {node.url}, peers on {node.config.rpc_address},"
            f" process {node.pid}, log {node.log_path}"
        )
    first, last = cluster.urls[0], cluster.urls[-1]
    console.print(
        "\nTry, in another terminal, a write through one node and a read through another:"
    )
    console.print(
        "  curl -X PUT -H 'Content-Type: text/plain' -d hello " + f"{first}/buckets/b/keys/k"
    )
    console.print(f"  curl {last}/buckets/b/keys/k")
    console.print(f"  dynamo status --node {first}")
    console.print("\nCtrl-C stops all nodes.")


async def _watch(cluster: LocalCluster, console: Console, stopping: asyncio.Event) -> int:
    """Tell what happens until told to stop (0) or until no node is left (1)."""
    before: dict[NodeId, Sight] = {}
    async with AsyncExitStack() as open_here:
        clients = {
            node_id: await open_here.enter_async_context(Client([node.url], timeout_s=ASK_S_MAX))
            for node_id, node in cluster.nodes.items()
        }
        live = None
        if console.is_terminal:
            live = open_here.enter_context(Live(console=console, auto_refresh=False))
        while not stopping.is_set():
            now = await _look(cluster, clients)
            for node in cluster.nodes.values():
                for line in events(node, before.get(node.node_id), now[node.node_id]):
                    console.print(line)
            if live is not None:
                live.update(_table(cluster, now), refresh=True)
            if all(sight.state is ProcessState.DIED for sight in now.values()):
                console.print("no node is left")
                return 1
            before = now
            await _unless(stopping, asyncio.sleep(LOOK_S))
    return 0


async def _look(cluster: LocalCluster, clients: Mapping[NodeId, Client]) -> dict[NodeId, Sight]:
    answers = dict(zip(clients, await asyncio.gather(*map(_ask, clients.values())), strict=True))
    reports = [answer[0] for answer in answers.values() if answer is not None]
    sights = {}
    for node_id, node in cluster.nodes.items():
        up_by, asked = seen_up(node_id, reports)
        answer = answers[node_id]
        load = None if answer is None else answer[1]
        sights[node_id] = Sight(state=node.state, up_by=up_by, asked=asked, load=load)
    return sights


async def _ask(client: Client) -> tuple[Members, Load] | None:
    try:
        return await members_of(client), checked(await client.stats(), Load)
    except DynamoError:
        return None


def events(node: NodeProcess, before: Sight | None, now: Sight) -> list[str]:
    """What is to be said of a node after a look at it."""
    lines = []
    if now.state is ProcessState.DIED and (before is None or before.state is not now.state):
        ending = _ending(node.exit_status)
        lines.append(f"{node.node_id} died, {ending}; last in its log: {node.last_words()}")
        lines.append(f"  start it again with: dynamo serve --config {node.settings_path}")
    if now.asked and now.standing != ("up" if before is None else before.standing):
        lines.append(f"{node.node_id} is {now.standing}")
    return lines


def _ending(exit_status: int | None) -> str:
    if exit_status is not None and exit_status < 0:
        return f"ended by {signal.Signals(-exit_status).name}"
    return f"exit status {exit_status}"


def _table(cluster: LocalCluster, now: Mapping[NodeId, Sight]) -> Table:
    table = Table("node", "HTTP", "pid", "process", "others say")
    table.add_column("reads/min", justify="right")
    table.add_column("writes/min", justify="right")
    for node_id, node in cluster.nodes.items():
        sight = now[node_id]
        load = ("", "") if sight.load is None else (sight.load.node_gets, sight.load.node_puts)
        table.add_row(
            node_id,
            node.url,
            str(node.pid or ""),
            Text(sight.state, style=_COLOURS[sight.state]),
            f"up: {sight.up_by} of {sight.asked}",
            *map(str, load),
        )
    return table
