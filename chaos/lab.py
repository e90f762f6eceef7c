"""The cluster of one take: node processes on this machine, wired through the mesh.

Every node dials every other at a proxy of that directed link, and every client dials every node at
a proxy of its own. What the lab itself looks at goes past them (`observer.py`).
"""

import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from chaos.errors import ClusterError, SettingError
from chaos.experiment import TakePlan
from chaos.links import Link
from chaos.mesh import Mesh, NodePorts
from chaos.modes import BUCKET_TYPES
from chaos.observer import Observer
from chaos.ports import free_base_port
from chaos.toxiproxy.api import Api
from dynamo.cluster import RPC_PORT_OFFSET, LocalCluster
from dynamo.config import ClusterConfig, NodeConfig
from dynamo.core.ids import NodeId
from dynamo.errors import ConfigError, StartupError
from dynamo.node_process import COMMAND, NodeProcess
from dynamo.settings import Settings

NODE: Final[Mapping[str, object]] = {
    "heartbeat_interval_s": 0.2,
    "gossip_interval_s": 0.2,
    "replica_timeout_s": 0.5,
    "request_timeout_s": 2.0,
    "handoff_interval_s": 0.5,
    "anti_entropy_interval_s": 1.0,
    "log_format": "json",
}
"""The lab is in more of a hurry than a data centre: what may take minutes there takes seconds."""

CLUSTER: Final[Mapping[str, object]] = {
    "name": "chaos",
    "partitions": 64,
    "bucket_types": BUCKET_TYPES,
    "stragglers_s_max": 2.0,
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What a run changes about its clusters, for all its takes.

    Attributes:
        node_command: the program that is a node, if not the store's own.
        bypassed: links that lead past the mesh: a lab that is broken on purpose.
    """

    node_command: tuple[str, ...] = ()
    bypassed: frozenset[Link] = frozenset()


class Lab:
    """A running cluster and its mesh. Made by `opened`.

    Attributes:
        nodes: the processes, by name.
        mesh: the links.
        observer: what sees all.
    """

    def __init__(self, cluster: LocalCluster, mesh: Mesh, observer: Observer) -> None:
        self.nodes: dict[str, NodeProcess] = {str(n): p for n, p in cluster.nodes.items()}
        self.mesh = mesh
        self.observer = observer


@asynccontextmanager
async def opened(
    plan: TakePlan,
    directory: Path,
    *,
    api: Api,
    clock_s: Callable[[], float],
    wiring: Wiring,
) -> AsyncIterator[Lab]:
    """A cluster that serves inside, with all links open.

    Args:
        plan: how many nodes with which settings, and who their clients are.
        directory: where the nodes keep what they keep.
        api: of the server that does the proxying.
        clock_s: stamps faults.
        wiring: of the run.

    Raises:
        ClusterError: the nodes do not start.
        MeshError: the links do not.
        SettingError: the plan has settings that no node takes.
    """
    base_port = free_base_port(len(plan.nodes))
    ports = [
        NodePorts(NodeId(node), base_port + RPC_PORT_OFFSET + i, base_port + i)
        for i, node in enumerate(plan.nodes)
    ]
    async with AsyncExitStack() as put_away:
        mesh = Mesh(
            api,
            ports,
            [client.name for client in plan.clients],
            clock_s=clock_s,
            bypassed=wiring.bypassed,
        )
        if plan.direct:
            mesh.bypassed = mesh.links
        await put_away.enter_async_context(mesh)
        cluster = _cluster(plan, directory, base_port, mesh, wiring)
        try:
            await put_away.enter_async_context(cluster)
        except (ConfigError, StartupError) as error:
            raise ClusterError(f"the cluster under test does not start: {error}") from error
        urls = {str(node): process.url for node, process in cluster.nodes.items()}
        observer = await put_away.enter_async_context(Observer(urls))
        yield Lab(cluster, mesh, observer)


def _cluster(
    plan: TakePlan, directory: Path, base_port: int, mesh: Mesh, wiring: Wiring
) -> LocalCluster:
    def adjust(config: NodeConfig) -> NodeConfig:
        own = plan.own.get(config.node_id, {})
        changes = {"peer_addresses": mesh.peer_addresses(config.node_id), **own}
        return dataclasses.replace(config, **changes)  # type: ignore[arg-type]

    try:
        shared = Settings(
            cluster=ClusterConfig(**{**CLUSTER, **plan.cluster}),  # type: ignore[arg-type]
            node=NodeConfig(
                node_id=NodeId("n1"),
                data_dir=Path("data"),
                **{**NODE, **plan.node},  # type: ignore[arg-type]
            ),
        )
    except (TypeError, ConfigError) as error:
        raise SettingError(f"settings of the take {plan.name}: {error}") from error
    return LocalCluster(
        directory,
        nodes=len(plan.nodes),
        base_port=base_port,
        shared=shared,
        adjust=adjust,
        command=wiring.node_command or COMMAND,
    )
