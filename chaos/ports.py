"""Free ports that stay free while nobody listens on them.

All are below 32768: from there on the kernel takes the ports of outgoing connections, and one of
these may take the port of a link or node just while that is down.
"""

import random
import socket
from collections import deque
from collections.abc import Collection
from typing import Final

from chaos.errors import MeshError
from dynamo.cluster import RPC_PORT_OFFSET

HOST: Final = "127.0.0.1"

_LINKS: Final = range(10_000, 18_000)
_NODES: Final = range(18_000, 31_000, 50)

_TRIES: Final = 100

_REMEMBERED: Final = 2000

_handed_out: Final[deque[int]] = deque(maxlen=_REMEMBERED)
"""The last ones given are not given again: who got one may not listen on it yet. A cluster with all
its links and probes takes about a hundred; those of clusters long gone may be used again."""


def free_ports(count: int, *, avoid: Collection[int] = ()) -> tuple[int, ...]:
    """Ports that nobody listens on, in ascending order, drawn so that two labs rarely meet.

    Args:
        count: how many.
        avoid: those that will be needed for something else.

    Raises:
        MeshError: there are not so many.
    """
    free: list[int] = []
    for port in random.sample(_LINKS, len(_LINKS)):
        if len(free) == count:
            return tuple(sorted(free))
        if port not in avoid and port not in _handed_out and is_free(port):
            _handed_out.append(port)
            free.append(port)
    raise MeshError(f"no {count} free ports from {_LINKS.start} to {_LINKS.stop} on {HOST}")


def free_base_port(nodes: int) -> int:
    """A base port for a local cluster: its block, and the block for the peers above it, are free.

    Raises:
        MeshError: there is none.
    """
    for base_port in random.sample(_NODES, _TRIES):
        ports = (base_port + i + offset for i in range(nodes) for offset in (0, RPC_PORT_OFFSET))
        if all(map(is_free, ports)):
            return base_port
    raise MeshError(f"no {nodes} free ports in a row from {_NODES.start} to {_NODES.stop}")


def is_free(port: int) -> bool:
    """Whether a server could listen on it now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
