"""What a client asks about the server itself: `/`, `/ping`, `/stats`."""

import json
from collections.abc import Sequence

from aiohttp import web

from dynamo.core.figures import Figure, named
from dynamo.http.buckets import json_bytes
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
    "riak_kv_wm_props": "/buckets",
    "riak_kv_wm_stats": "/stats",
}
_RESOURCE_LINKS = (
    "Link: " + ",".join(f'<{path}>; rel="{name}"' for name, path in _RESOURCES.items()) + "\r\n"
)
_RESOURCE_LIST = (
    "<html><body><ul>"
    + "".join(f'<li><a href="{path}">{name}</a></li>' for name, path in _RESOURCES.items())
    + "</ul></body></html>"
).encode()

_OK = Reply(200, HTML, b"OK")


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
        stats = {
            **self._node.operations.read_stats(),
            **named(self._figures),
            "nodename": self._node.config.node_id,
            "ring_creation_size": self._node.ring.partitions,
            "riak_core_version": RIAK_VERSION,
            "riak_kv_version": RIAK_VERSION,
            "storage_backend": "lmdb",
        }
        vary = "Vary: Accept, Accept-Encoding\r\n"
        if form == "text/plain":
            pretty = json.dumps(stats, indent=4, sort_keys=True) + "\n"
            return Reply(200, PLAIN + vary, pretty.encode())
        return Reply(200, JSON + vary, json_bytes(stats))
