"""A cluster of real node processes on this machine: started, watched, broken and ended.

`dynamo up`, the cluster tests and the chaos lab start their nodes here. Node i, from 1, is called
`ni`, serves HTTP on base port + i - 1 and other nodes on base port + 1000 + i - 1.
"""

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

from dynamo.client.client import Client
from dynamo.cluster_directory import DATA, ClusterDirectory
from dynamo.config import ClusterConfig, NodeConfig, Seed
from dynamo.core.ids import Address, NodeId
from dynamo.core.property_rules import DEFAULTS
from dynamo.errors import ConfigError, DynamoError, StartupError
from dynamo.node_process import COMMAND, NodeProcess
from dynamo.reports import members_of
from dynamo.settings import Settings, load_shared, write_shared

BASE_PORT_DEFAULT: Final = 8098

RPC_PORT_OFFSET: Final = 1000

ACQUAINTED_S_MAX: Final = 3.0
"""How long a start waits for the nodes to reach each other, once each serves.

A node that restarts serves at once, and for some 100 ms knows of nobody who could answer it.
"""

_LOOK_S: Final = 0.05

_N_VAL_DEFAULT: Final = cast("int", DEFAULTS["n_val"])


class LocalCluster:
    """Node processes n1, n2, ... on one machine, with one directory.

    Used as `async with LocalCluster(...) as cluster`: all serve inside, all are gone afterwards.

    Attributes:
        data_dir: its directory.
        nodes: the nodes by name, in order; empty before the start.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        nodes: int | None = None,
        base_port: int = BASE_PORT_DEFAULT,
        fresh: bool = False,
        shared: Settings | None = None,
        adjust: Callable[[NodeConfig], NodeConfig] = lambda config: config,
        command: Sequence[str] = COMMAND,
    ) -> None:
        """Say what is to be started; nothing happens yet.

        Args:
            data_dir: see `cluster_directory`.
            nodes: how many; None for as many as `data_dir` has, 5 if it is new.
            base_port: HTTP port of n1.
            fresh: forget what an earlier cluster stored in `data_dir`.
            shared: what the nodes have in common; None for what an earlier start in `data_dir`
                was told, defaults if it is new. Where there are too few nodes for Riak's `n_val`,
                it is their number wherever these settings leave it open.
            adjust: makes of a node's settings those it starts with.
            command: what to run in place of `python -m dynamo` to be a node.
        """
        self.nodes: dict[NodeId, NodeProcess] = {}
        self.data_dir = data_dir
        self._count = nodes
        self._base_port = base_port
        self._fresh = fresh
        self._shared = shared
        self._adjust = adjust
        self._command = command
        self._directory: ClusterDirectory | None = None

    @property
    def urls(self) -> list[str]:
        """Where the nodes serve HTTP."""
        return [node.url for node in self.nodes.values()]

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Take the directory, start all nodes, and wait until each serves and reaches the others.

        Raises:
            ConfigError: there is no room for so many ports, or the settings kept here are wrong.
            StartupError: the directory or a port is taken, its data is of another cluster, or a
                node does not start; nothing runs.
        """
        try:
            self._prepare()
            for node in self.nodes.values():
                await node.start()
            outcomes = await asyncio.gather(
                *(node.ready() for node in self.nodes.values()), return_exceptions=True
            )
            for outcome in outcomes:
                if outcome is not None:
                    raise outcome
            with suppress(TimeoutError):  # who cut a link on purpose need not wait for it
                async with asyncio.timeout(ACQUAINTED_S_MAX):
                    await asyncio.gather(*map(self._acquainted, self.urls))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End all nodes, those that do not listen by force, and let go of the directory."""
        await asyncio.gather(*(node.stop() for node in self.nodes.values()))
        if self._directory is not None:
            self._directory.close()
            self._directory = None

    async def _acquainted(self, url: str) -> None:
        async with Client([url], timeout_s=ACQUAINTED_S_MAX) as client:
            while True:
                with suppress(DynamoError):
                    report = await members_of(client)
                    reached = {member.node for member in report.members if member.opinion == "up"}
                    if reached.issuperset(self.nodes):
                        return
                await asyncio.sleep(_LOOK_S)

    def _prepare(self) -> None:
        assert self._directory is None, "the cluster runs already"
        directory = ClusterDirectory(self.data_dir, nodes=self._count, fresh=self._fresh)
        self._directory = directory
        shared = self._shared or _remembered(directory)
        of_nodes = self._settings(shared, directory.nodes)
        directory.require_birth(shared.cluster.name, shared.cluster.partitions)
        for settings in of_nodes:
            config = settings.node
            directory.require_idle(config.node_id)
            _require_free(config.http_address, f"for HTTP of {config.node_id}")
            _require_free(config.rpc_address, f"for the peers of {config.node_id}")
        _remember(shared, directory)
        homes = [directory.of_node(settings.node.node_id) for settings in of_nodes]
        for settings, home in zip(of_nodes, homes, strict=True):
            config = settings.node
            node = NodeProcess(settings, home, directory.lock_fd, command=self._command)
            if node.log_path.exists():
                node.log_path.replace(home / "log.old")
            self.nodes[config.node_id] = node

    def _settings(self, shared: Settings, count: int) -> list[Settings]:
        highest = self._base_port + RPC_PORT_OFFSET + count - 1
        if self._base_port < 1 or highest > 65535:
            raise ConfigError(
                f"base port {self._base_port} is wrong: {count} nodes on ports from it, and"
                f" {RPC_PORT_OFFSET} above, need one from 1 to {65535 - highest + self._base_port}"
            )
        pattern = shared.node
        alone = [
            replace(
                pattern,
                node_id=NodeId(f"n{i + 1}"),
                data_dir=Path(DATA),
                http_port=self._base_port + i,
                rpc_port=self._base_port + RPC_PORT_OFFSET + i,
            )
            for i in range(count)
        ]
        seeds = tuple(Seed(config.node_id, config.advertised_rpc) for config in alone)
        cluster = _within_reach(shared.cluster, count)
        return [
            Settings(cluster=cluster, node=self._adjust(replace(config, seeds=seeds)))
            for config in alone
        ]


def _within_reach(cluster: ClusterConfig, nodes: int) -> ClusterConfig:
    """The same, with no more replicas by default than there are nodes to hold them."""
    if nodes >= _N_VAL_DEFAULT:
        return cluster
    reachable = {"n_val": nodes}
    return replace(
        cluster,
        bucket_defaults=reachable | dict(cluster.bucket_defaults),
        bucket_types={
            name: reachable | dict(properties) for name, properties in cluster.bucket_types.items()
        },
    )


def _remembered(directory: ClusterDirectory) -> Settings:
    if directory.shared_path.exists():
        return load_shared(directory.shared_path)
    node = NodeConfig(node_id=NodeId("n1"), data_dir=Path(DATA))
    return Settings(cluster=ClusterConfig(), node=node)


def _remember(shared: Settings, directory: ClusterDirectory) -> None:
    try:
        write_shared(shared, directory.shared_path)
    except OSError as error:
        raise StartupError(f"cannot write {directory.shared_path}: {error.strerror}") from error


def _require_free(address: Address, purpose: str) -> None:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As asyncio listens: what a closed connection leaves behind for a minute is not in the way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            why = "another process has it" if taken else error.strerror
            raise StartupError(f"cannot listen on {address} {purpose}: {why}") from error
