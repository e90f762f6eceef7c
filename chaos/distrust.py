"""The lab looks at itself before it says anything about the store.

A cut that leaks, or a fault that never came about, would let every store pass. So each primitive is
proved on a scratch connection, and each cluster is first cut apart completely: whoever still hears
another is not wired through the mesh.
"""

import asyncio
from typing import Final
from urllib.parse import urlsplit

from chaos.errors import ClusterError
from chaos.lab import Lab
from chaos.links import CutKind, Link, Way, split
from chaos.recording import Probe
from chaos.waiting import until
from dynamo.core.ids import NodeId
from dynamo.errors import DynamoError

_SILENT_S: Final = 0.3
"""What was under way when the links were cut has arrived, or never will."""

_HEARTBEATS: Final = 3
_TRIES: Final = 3
_CONNECT_S_MAX: Final = 2.0
_ACQUAINTED_S_MAX: Final = 15.0
_HEARD: Final = "requests_from_peers_total"


async def leak_test(lab: Lab, heartbeat_interval_s: float) -> Probe:
    """With all links cut, no node hears another for some heartbeats, and no client reaches a node.

    Afterwards all is as before. A node that a busy machine held up may still read what was sent
    before the cut, or answer late; so it is looked at again. Through a leak it hears on and on.

    Raises:
        ClusterError: the nodes do not find each other again.
    """
    clients = sorted(lab.mesh.client_links)
    ways = split([[node] for node in lab.nodes]) | {Way(*link) for link in clients}
    await lab.mesh.cut("leak test", ways, CutKind.REFUSE)
    try:
        reached = await asyncio.gather(*(_leads_somewhere(lab, link) for link in clients))
        for _ in range(_TRIES):
            await asyncio.sleep(_SILENT_S)
            leak = await _leak(lab, _HEARTBEATS * heartbeat_interval_s)
            if not leak:
                break
    finally:
        await lab.mesh.heal("leak test")
    await acquainted(lab)
    past = [f"{link} led on" for link, is_open in zip(clients, reached, strict=True) if is_open]
    if past:
        leak = f"with all links cut, {', '.join(past)}: some link leads past the mesh"
    said = leak or (
        f"with all links cut, no node heard another for {_HEARTBEATS} heartbeats, and no client"
        " reached a node"
    )
    return Probe(name="leak test", passed=not leak, said=said)


async def _leak(lab: Lab, during_s: float) -> str:
    """Who heard another in a time, in words; "" if nobody did."""
    nodes = list(lab.nodes)
    before = await lab.observer.figures(nodes)
    await asyncio.sleep(during_s)
    after = await lab.observer.figures(nodes)
    if not before.keys() == after.keys() == set(nodes):
        return "a node did not answer while all links were cut"
    heard = {node: int(after[node][_HEARD] - before[node][_HEARD]) for node in nodes}
    listed = ", ".join(f"{node} heard {count} requests" for node, count in heard.items() if count)
    return listed and f"with all links cut, {listed}: some link leads past the mesh"


async def _leads_somewhere(lab: Lab, link: Link) -> bool:
    """Whether a client's connection is taken."""
    url = urlsplit(lab.mesh.url(link.source, NodeId(link.target)))
    try:
        async with asyncio.timeout(_CONNECT_S_MAX):
            _, writer = await asyncio.open_connection(url.hostname, url.port)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True


async def acquainted(lab: Lab) -> None:
    """Wait until every node takes every other for up.

    Raises:
        ClusterError: they do not, in time.
    """
    everyone = set(lab.nodes)

    async def all_do() -> bool:
        try:
            return all([await lab.observer.up(node) == everyone for node in lab.nodes])
        except DynamoError:
            return False

    if not await until(all_do, within_s=_ACQUAINTED_S_MAX):
        raise ClusterError(
            f"after {_ACQUAINTED_S_MAX:g} s the nodes of a healthy cluster do not all reach each"
            " other"
        )
