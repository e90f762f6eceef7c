"""One node process: settings in, a serving node out, until a signal ends it.

This is the one place where the doors to the world (disk, network, clock, dice) are the real ones;
a simulation opens others and runs the same `Node`.
"""

import asyncio
import ctypes
import errno
import gc
import logging
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from dynamo.errors import StartupError
from dynamo.http.app import HttpServer
from dynamo.logs import log_to_stderr
from dynamo.node.node import Node
from dynamo.rpc.wire import TcpWire
from dynamo.settings import Settings, load
from dynamo.storage.directory import DataDirectory
from dynamo.storage.lmdb_engine import LmdbEngine

log = logging.getLogger(__name__)

JOIN_LOOK_S = 10.0
"""How often a node that cannot join yet says so."""

_PR_SET_PDEATHSIG = 1  # sys/prctl.h

GARBAGE_OBJECTS_MIN = 50_000
"""So many new objects before cycles are looked for. Almost nothing here makes cycles, but with the
usual 700 looking for them took a fifth of a PUT's CPU, and half of it in a node with thousands of
connections."""


def serve(path: Path, *, stop_on_eof: bool) -> None:
    """Run the node that the settings file describes, in the foreground.

    Returns after SIGTERM or SIGINT, once everything is put away.

    Args:
        path: the settings file.
        stop_on_eof: end as well when standard input ends, so that a node never outlives the
            process that holds the other end.

    Raises:
        ConfigError: a setting is wrong.
        StartupError: the node cannot start here.
    """
    settings = load(path)
    log_to_stderr(settings.node.node_id, settings.node.log_level, settings.node.log_format)
    gc.freeze()  # what is there now stays for ever
    gc.set_threshold(GARBAGE_OBJECTS_MIN, 10, 10)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_run(settings, stop_on_eof=stop_on_eof))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # it does not install everywhere; asyncio's own loop does the same, slower
        return None
    return uvloop.new_event_loop


async def _run(settings: Settings, *, stop_on_eof: bool) -> None:
    main = asyncio.current_task()
    assert main is not None

    def stop() -> None:
        if not main.cancelling():  # a second signal must not cut short what the first began
            main.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    if stop_on_eof:
        _wake_when_orphaned()
        await loop.connect_read_pipe(lambda: _UntilEof(stop), sys.stdin)
    try:
        async with _serving(settings) as node:
            config = settings.node
            sys.stdout.write(
                f"node {config.node_id} serves HTTP on http://{config.http_address},"
                f" peers on {config.rpc_address}\n"
            )
            sys.stdout.flush()
            await node.until_unfit()
    except asyncio.CancelledError:
        log.info("stopped")


def _wake_when_orphaned() -> None:
    """Have the system wake this process, if it was stopped, when its parent dies.

    Who stands still does not see that its input ends, and would stand there for ever. Only Linux
    can do that; elsewhere such a node has to be killed by hand.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # a C library without it
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)


class _UntilEof(asyncio.Protocol):
    """Calls `stop` when the other end of a pipe is closed, by its owner or by its owner's death."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop

    def eof_received(self) -> None:
        self._stop()


@asynccontextmanager
async def _serving(settings: Settings) -> AsyncIterator[Node]:
    """A node that serves inside, and has put everything away afterwards."""
    cluster, config = settings.cluster, settings.node
    async with AsyncExitStack() as put_away:
        directory = DataDirectory(
            config.data_dir,
            cluster=cluster.name,
            node_id=config.node_id,
            partitions=cluster.partitions,
        )
        put_away.callback(directory.close)
        node = await _node(settings, directory)
        put_away.push_async_callback(node.stop)
        try:
            await node.start()
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            why = "another process has it" if taken else error.strerror
            raise StartupError(f"cannot listen on {config.rpc_address} for peers: {why}") from error
        http = HttpServer(node, config)
        put_away.push_async_callback(http.stop)
        # Before it has joined: a refusal that says so tells more than a closed port.
        await http.start()
        await _joined(node)
        yield node


async def _node(settings: Settings, directory: DataDirectory) -> Node:
    engine = LmdbEngine(
        directory.engine_path,
        durability=settings.node.durability,
        map_bytes_max=settings.node.map_bytes_max,
        queued_bytes_max=settings.node.queued_bytes_max,
    )
    try:
        return Node(
            settings.cluster,
            settings.node,
            engine=engine,
            wire=TcpWire(),
            dice=random.Random(),
            wall_ms=_wall_clock(settings.node.clock_offset_s),
        )
    except BaseException:
        await engine.close()
        raise


def _wall_clock(offset_s: float) -> Callable[[], int]:
    """The time of day in milliseconds, as wrong as an experiment wants it."""
    offset_ms = round(offset_s * 1000)
    return lambda: time.time_ns() // 1_000_000 + offset_ms


async def _joined(node: Node) -> None:
    """Wait until the node serves, for as long as its cluster takes to appear."""
    while True:
        try:
            async with asyncio.timeout(JOIN_LOOK_S):
                return await node.joined()
        except TimeoutError:
            seeds = " ".join(f"{seed.node_id}@{seed.address}" for seed in node.config.seeds)
            log.warning("still waiting to join the cluster", extra={"seeds": seeds})
