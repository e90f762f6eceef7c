"""`dynamo up` while it runs: what to try first, what happens to the nodes, until it is stopped.

Events are lines, on a terminal and elsewhere alike; on a terminal a table below them shows how the
nodes are now. A node that dies stays down: whoever runs this to see what a failure does would not
thank us for a helping hand, and the line that reports it says how to start the node again.
"""

import asyncio
import signal
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import NamedTuple

from rich.console import Console, Group
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

_COLUMNS_MAX = 1000  # no table is that wide

_TABLE_HEAD_ROWS = 2  # the titles above the nodes, and the line below them that the cursor has

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
        elsewhere: the process that answers in its place, if the one started here has ended and
            somebody started another: its number, 0 if it does not tell.
    """

    state: ProcessState
    up_by: int
    asked: int
    load: Load | None
    elsewhere: int | None = None

    @property
    def process(self) -> str:
        """What its process is doing, in a word or two."""
        return str(self.state) if self.elsewhere is None else "serving elsewhere"

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
        left = await _left_running(cluster)
        console.print("stopping all nodes")
    finally:
        await cluster.stop()
    for line in left:
        console.print(line)
    console.print(f"all {'others ' if left else ''}stopped; the data stays in {cluster.data_dir}")
    return status


async def _left_running(cluster: LocalCluster) -> list[str]:
    """What is to be said of nodes that were started by hand, which are not for us to stop."""
    died = [node for node in cluster.nodes.values() if node.state is ProcessState.DIED]
    async with AsyncExitStack() as open_here:
        clients = {
            node.node_id: await open_here.enter_async_context(
                Client([node.url], timeout_s=ASK_S_MAX)
            )
            for node in died
        }
        now = await _look(cluster, clients)
    return [
        f"{node.node_id} still runs{_as_process(pid)}; it was started by hand, so stop it by hand"
        for node in died
        if (pid := now[node.node_id].elsewhere) is not None
    ]


def _as_process(pid: int) -> str:
    return f" as process {pid}" if pid else ""


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
    through = " through one node and a read through another" if first != last else " and a read"
    console.print(f"\nTry, in another terminal, a write{through}:")
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
                live.update(overview(cluster, now, console), refresh=True)
            if all(sight.process == ProcessState.DIED for sight in now.values()):
                console.print("no node is left")
                return 1
            before = now
            await _unless(stopping, asyncio.sleep(LOOK_S))
    return 0


async def _look(cluster: LocalCluster, clients: Mapping[NodeId, Client]) -> dict[NodeId, Sight]:
    answers = dict(zip(clients, await asyncio.gather(*map(_ask, clients.values())), strict=True))
    reports = [answer.members for answer in answers.values() if answer is not None]
    sights = {}
    for node_id, node in cluster.nodes.items():
        up_by, asked = seen_up(node_id, reports)
        answer = answers.get(node_id)
        died = node.state is ProcessState.DIED
        is_it = answer is not None and answer.members.node == node_id
        sights[node_id] = Sight(
            state=node.state,
            up_by=up_by,
            asked=asked,
            load=None if answer is None else answer.load,
            elsewhere=answer.pid if answer is not None and died and is_it else None,
        )
    return sights


class _Answer(NamedTuple):
    """What a node says of itself; its process is 0 if it does not tell."""

    members: Members
    load: Load
    pid: int


async def _ask(client: Client) -> _Answer | None:
    try:
        members, stats = await members_of(client), await client.stats()
        pid = stats.get("os_pid")
        return _Answer(members, checked(stats, Load), pid if isinstance(pid, int) else 0)
    except DynamoError:
        return None


def events(node: NodeProcess, before: Sight | None, now: Sight) -> list[str]:
    """What is to be said of a node after a look at it."""
    lines = []
    if now.state is ProcessState.DIED and (before is None or before.state is not now.state):
        ending = _ending(node.exit_status)
        lines.append(f"{node.node_id} died, {ending}; last in its log: {node.last_words()}")
        lines.append(f"  start it again with: dynamo serve --config {node.settings_path}")
    if now.elsewhere is not None and (before is None or before.elsewhere is None):
        lines.append(f"{node.node_id} serves again{_as_process(now.elsewhere)}, started by hand")
    if now.asked and now.standing != ("up" if before is None else before.standing):
        lines.append(f"{node.node_id} is {now.standing}")
    return lines


def _ending(exit_status: int | None) -> str:
    if exit_status is not None and exit_status < 0:
        return f"ended by {signal.Signals(-exit_status).name}"
    return f"exit status {exit_status}"


def overview(cluster: LocalCluster, now: Mapping[NodeId, Sight], console: Console) -> Group:
    """The nodes as they are now, with what there is room for: no address is cut short."""
    rows_max = max(1, console.height - _TABLE_HEAD_ROWS)
    shown = list(cluster.nodes.values())
    hidden = len(shown) - rows_max + 1 if len(shown) > rows_max else 0
    shown = shown[: len(shown) - hidden]
    unbounded = console.options.update(width=_COLUMNS_MAX)
    for with_pid, with_load in ((True, True), (False, True), (False, False)):
        table = _columns(shown, now, with_pid=with_pid, with_load=with_load)
        if console.measure(table, options=unbounded).maximum <= console.width:
            break
    hint = [Text(f"{hidden} more nodes; a window with more lines shows them")] if hidden else []
    return Group(table, *hint)


def _columns(
    nodes: Sequence[NodeProcess],
    now: Mapping[NodeId, Sight],
    *,
    with_pid: bool,
    with_load: bool,
) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("node", "HTTP", *(["pid"] if with_pid else []), "process", "others say"):
        table.add_column(title, no_wrap=True, overflow="fold")
    for title in ("reads/min", "writes/min") if with_load else ():
        table.add_column(title, justify="right", no_wrap=True)
    for node in nodes:
        sight = now[node.node_id]
        load = ("", "") if sight.load is None else (sight.load.node_gets, sight.load.node_puts)
        pid = sight.elsewhere or node.pid or ""
        table.add_row(
            node.node_id,
            node.url.removeprefix("http://"),
            *([str(pid)] if with_pid else []),
            Text(
                sight.process, style=_COLOURS[sight.state] if sight.elsewhere is None else "yellow"
            ),
            f"up: {sight.up_by} of {sight.asked}",
            *(map(str, load) if with_load else ()),
        )
    return table
