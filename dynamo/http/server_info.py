"""What a client asks about the server itself: `/`, `/ping`, `/stats`."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

from aiohttp import web

from dynamo.core.figures import Figure, named
from dynamo.core.ring import Ring
from dynamo.http.buckets import json_bytes
from dynamo.http.last_minute import LastMinute
from dynamo.http.machine import machine_figures
from dynamo.http.negotiation import choose
from dynamo.http.reply import HTML, JSON, NOT_ACCEPTABLE, PLAIN, Reply
from dynamo.http.routes import Target
from dynamo.http.served import ServedNode

RIAK_VERSION = "3.0.16"
"""The Riak whose interface this is; clients look here for what they may use, not for a name."""

_RESOURCES = {
    "riak_kv_wm_buckets": "/buckets",
    "riak_kv_wm_bucket_type": "/types",
    "riak_kv_wm_keylist": "/buckets",
    "riak_kv_wm_object": "/buckets",
    "riak_kv_wm_ping": "/ping",
    "riak_kv_wm_preflist": "/buckets",
    "riak_kv_wm_props": "/buckets",
    "riak_kv_wm_stats": "/stats",
}
"""What works here. Clients take the first path of a name, so the path of today is the only one."""

_RESOURCE_LINKS = (
    "Link: " + ",".join(f'<{path}>; rel="{name}"' for name, path in _RESOURCES.items()) + "\r\n"
)
_RESOURCE_LIST = (
    "<html><body><ul>"
    + "".join(f'<li><a href="{path}">{name}</a></li>' for name, path in _RESOURCES.items())
    + "</ul></body></html>"
).encode()

_OK = Reply(200, HTML, b"OK")

_RECENT: Final = frozenset(
    {"vnode_gets", "vnode_puts", "read_repairs", "node_get_fsm_rejected", "node_put_fsm_rejected"}
)
"""Counts that `/stats` shows for the last minute too; the node has those of what it coordinates."""

_NOTHING_HERE: Final = dict.fromkeys(
    (
        "index_fsm_active",
        "pbc_active",
        "pbc_connects",
        "pbc_connects_total",
        "postcommit_fail",
        "precommit_fail",
        "skipped_read_repairs",
        "skipped_read_repairs_total",
        "vnode_counter_update",
        "vnode_counter_update_total",
        "vnode_index_reads",
        "vnode_index_reads_total",
        "vnode_index_writes",
        "vnode_index_writes_total",
        "vnode_map_update",
        "vnode_map_update_total",
        "vnode_set_update",
        "vnode_set_update_total",
    ),
    0,
)
"""What Riak counts and never happens here; a chart of it shows so instead of a gap."""

_VERSIONS: Final = {
    "riak_api_version": RIAK_VERSION,
    "riak_core_version": RIAK_VERSION,
    "riak_kv_version": RIAK_VERSION,
    **{f"{name}_version": version(name) for name in ("aiohttp", "dynamo", "lmdb")},
    "python_version": sys.version.partition(" ")[0],
}


class ServerInfo:
    """Handlers for the server's own paths."""

    def __init__(self, node: ServedNode, figures: Sequence[Figure]) -> None:
        """Ready.

        Args:
            node: the node served.
            figures: what the HTTP interface counts itself.
        """
        self._node = node
        self._figures = figures
        self._minute = LastMinute((*node.operations.figures, *figures), _RECENT)
        self._owned: tuple[Ring, str] | None = None

    def look(self, now_s: float) -> None:
        """Look at what is counted; to be called at least once a second."""
        self._minute.look(now_s)

    async def root(self, request: web.BaseRequest, target: Target, query: str) -> Reply:
        """GET of the list of resources."""
        form = choose(request.headers.get("Accept"), ("text/html", "application/json"))
        head = _RESOURCE_LINKS + "Vary: Accept\r\n"
        if form == "text/html":
            return Reply(200, HTML + head, _RESOURCE_LIST)
        return NOT_ACCEPTABLE if form is None else Reply(200, JSON + head, json_bytes(_RESOURCES))

    async def ping(self, request: web.BaseRequest, target: Target, query: str) -> Reply:
        """GET: the node is there, and serves; before it does nobody comes here."""
        return _OK

    async def stats(self, request: web.BaseRequest, target: Target, query: str) -> Reply:
        """GET of what node and interface count."""
        form = choose(request.headers.get("Accept"), ("application/json", "text/plain"))
        if form is None:
            return NOT_ACCEPTABLE
        stats = self.everything()
        vary = "Vary: Accept\r\n"
        if form == "text/plain":
            pretty = json.dumps(stats, indent=4, sort_keys=True) + "\n"
            return Reply(200, PLAIN + vary, pretty.encode())
        return Reply(200, JSON + vary, json_bytes(stats))

    def everything(self) -> dict[str, object]:
        """All that `/stats` shows."""
        node = self._node
        return {
            **_NOTHING_HERE,
            **node.operations.read_stats(),
            **named(self._figures),
            **self._minute.counted(),
            **machine_figures(node.config.data_dir),
            **_VERSIONS,
            "nodename": node.config.node_id,
            "ring_creation_size": node.ring.partitions,
            "ring_ownership": self._ownership(),
            "storage_backend": "lmdb",
        }

    def _ownership(self) -> str:
        """Who owns how many partitions, as a term of Erlang; worked out once for each ring."""
        ring = self._node.ring
        if self._owned is None or self._owned[0] is not ring:
            owned = sorted(Counter(ring.owners()).items())
            terms = ",".join(f"{{'{node}',{partitions}}}" for node, partitions in owned)
            self._owned = (ring, f"[{terms}]")
        return self._owned[1]
