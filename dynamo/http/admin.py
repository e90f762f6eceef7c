"""`/admin`: what an operator asks a node about the cluster, and about one key. JSON throughout.

    /admin/members        who belongs to the cluster, and what this node thinks of each
    /admin/members/N      DELETE removes node N for good; `?force=true` also if it is up
    /admin/ring           who owns which partition
    /admin/locate/B/K     where a key lives: partition, primaries, stand-ins
    /admin/local/B/K      what this very node holds for a key: values, dots, context, hints

A bucket type goes before the bucket: `/admin/local/T/B/K`.
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable
from urllib.parse import parse_qs

from aiohttp import web

from dynamo.core.codec import decode_siblings, decode_value, encode_context
from dynamo.core.ids import Bucket, Key, NodeId, encode_key
from dynamo.http.buckets import json_reply
from dynamo.http.reply import STORED, Reply, unknown_type
from dynamo.http.routes import Target
from dynamo.http.served import ServedNode


class Admin:
    """Handlers for `/admin`."""

    def __init__(self, node: ServedNode) -> None:
        self._node = node

    async def members(self, request: web.BaseRequest, target: Target, query: str) -> Reply:
        """Who belongs to the cluster."""
        node = self._node
        return json_reply(
            {
                "node": node.config.node_id,
                "cluster": node.cluster.name,
                "members": list(node.operations.members()),
            }
        )

    async def remove(self, request: web.BaseRequest, target: Target, query: str) -> Reply:
        """Remove a node from the cluster for good."""
        name = target.key.decode("utf-8", "replace")
        force = parse_qs(query).get("force", ["false"])[-1] == "true"
        await self._node.removal.remove(NodeId(name), even_if_up=force)
        return STORED

    async def ring(self, request: web.BaseRequest, target: Target, query: str) -> Reply:
        """Who owns which partition, and how much falls to each for keys of the default type."""
        ring = self._node.ring
        properties = self._node.properties.of(Bucket(target.bucket_type, b""))
        n = properties.n_val if properties else 1
        owners = ring.owners()
        owned = Counter(owners)
        return json_reply(
            {
                "partitions": ring.partitions,
                "n_val": n,
                "owners": owners,
                "loads": {
                    node: {"partitions": owned[node], "replicas": replicas}
                    for node, replicas in ring.loads(n).items()
                },
            }
        )

    async def locate(self, request: web.BaseRequest, target: Target, query: str) -> Reply:
        """Where a key lives."""
        ring = self._node.ring
        properties = self._node.properties.of(Bucket(target.bucket_type, target.bucket))
        if properties is None:
            return unknown_type(target.bucket_type)
        partition = ring.partition_of(_encoded(target))
        preferred = ring.preference_list(partition, properties.n_val)
        return json_reply(
            {
                "partition": partition,
                "n_val": properties.n_val,
                "primaries": self._described(preferred.primaries),
                "stand_ins": self._described(preferred.stand_ins),
            }
        )

    def _described(self, nodes: Iterable[NodeId]) -> list[dict[str, object]]:
        members = self._node.operations.members()
        addresses = {member["node"]: member["http"] for member in members}
        return [
            {
                "node": node,
                "http": addresses.get(node),
                "opinion": self._node.operations.opinion(node),
            }
            for node in nodes
        ]

    async def local(self, request: web.BaseRequest, target: Target, query: str) -> Reply:
        """What this node itself holds for a key, whoever should hold it."""
        own, hints = self._node.operations.local(_encoded(target))
        return json_reply(
            {
                **_held(own),
                "hints": [{"for": node, **_held(state)} for node, state in hints.items()],
            }
        )


def _encoded(target: Target) -> bytes:
    return encode_key(Key(target.bucket_type, target.bucket, target.key))


def _held(encoded: bytes | None) -> dict[str, object]:
    """One copy; two nodes that show the same digest hold the same state."""
    if encoded is None:
        return {"held": False, "digest": None, "context": None, "values": []}
    state = decode_siblings(encoded)
    values = [(dot, decode_value(value)) for dot, value in state.dots()]
    return {
        "held": True,
        "digest": hashlib.blake2b(encoded, digest_size=16).hexdigest(),
        "context": base64.b64encode(encode_context(state.context())).decode(),
        "values": [
            {
                "dot": f"{dot.actor.hex()}:{dot.counter}",
                "deleted": value.deleted,
                "content_type": value.content_type,
                "body_base64": base64.b64encode(value.body).decode(),
                "modified_at_ms": value.modified_at_ms,
            }
            for dot, value in values
        ],
    }
