"""What must be true of a node after whatever was sent to it."""

from pathlib import Path

from dynamo.client.client import Client
from dynamo.node_process import NodeProcess
from tests.cluster.harness import eventually


async def require_unharmed(*nodes: NodeProcess) -> None:
    """They answer, report no fault of their own, and their logs tell of none."""
    for node in nodes:
        async with Client([node.url]) as client:
            stats = await client.stats()
        assert stats["http_failures_total"] == 0, node.node_id
        log = node.log_path.read_text(errors="replace")
        assert "Traceback" not in log, log
        assert " ERROR " not in log, log


async def require_idle(node: NodeProcess) -> None:
    """Nothing is at work for anybody, and no connection is left but the one that asks."""
    async with Client([node.url]) as client:

        async def is_idle() -> bool:
            stats = await client.stats()
            return stats["http_connections"] == stats["http_requests_in_flight"] == 1

        await eventually(is_idle, within_s=10, what="no connection but this one is left")


def private_bytes(node: NodeProcess) -> int:
    """The memory that is the process's own; pages of its database are not."""
    status = Path(f"/proc/{node.pid}/status").read_text()
    return 1024 * int(status.partition("RssAnon:")[2].split()[0])
