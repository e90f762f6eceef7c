"""`/admin`: what an operator asks a node about the cluster, and about one key. JSON throughout.

    /admin/members        who belongs to the cluster, and what this node thinks of each
    /admin/members/N      DELETE removes node N for good; `?force=true` also if it is up
    /admin/ring           who owns which partition
    /admin/locate/B/K     where a key lives: partition, primaries, stand-ins
    /admin/local/B/K      what this very node holds for a key: values, dots, context, hints
    /admin/hints          what this node keeps for others
    /admin/hints/wait     POST answers when all that it keeps now is gone, or after `?timeout_s=30`
    /admin/divergence     whether the replicas of each partition are equal; `?keys_max=100` names
                          so many of the keys that are not, `?timeout=60000` takes so many ms
    /admin/tombstones     deleted keys this very node holds, and what those it is to forget wait for
    /admin/bucket-types   see `bucket_types`

A bucket type goes before the bucket: `/admin/local/T/B/K`.
"""

import base64
import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from urllib.parse import parse_qs

from aiohttp import web

from dynamo.core.codec import decode_siblings, decode_value, encode_context
from dynamo.core.divergence import DivergentKey
from dynamo.core.ids import Bucket, Key, NodeId, encode_key
from dynamo.errors import BadRequest
from dynamo.http.buckets import as_text, json_reply
from dynamo.http.reply import RETRY, STORED, Reply, unknown_type
from dynamo.http.routes import Target
from dynamo.http.served import ServedNode
from dynamo.http.wire import parse_query, timeout_of

HINTS_WAIT_S_DEFAULT = 30.0
HINTS_WAIT_S_MAX = 3600.0
DIVERGENCE_TIMEOUT_MS = 60_000
DIVERGENT_KEYS_DEFAULT = 100
DIVERGENT_KEYS_MAX = 1000


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

    async def hints(self, request: web.BaseRequest, target: Target, query: str) -> Reply:
        """What this node keeps for others."""
        node = self._node
        return json_reply({"node": node.config.node_id, "hints": list(node.operations.hints())})

    async def wait_for_hints(self, request: web.BaseRequest, target: Target, query: str) -> Reply:
        """Wait until all hints that are held now are gone: 200; or for as long as asked: 503."""
        waited = await self._node.operations.wait_for_hints(_wait_s(query))
        said = {"node": self._node.config.node_id, **waited}
        if not waited["held"]:
            return json_reply(said)
        reply = json_reply(said, 503)
        return reply._replace(head=reply.head + RETRY)

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

    async def tombstones(self, request: web.BaseRequest, target: Target, query: str) -> Reply:
        """How many deleted keys this node holds, and what those that it is to forget wait for."""
        report = self._node.operations.tombstones()
        return json_reply(
            {
                "node": self._node.config.node_id,
                "held": report.held,
                "owned": report.owned,
                "oldest_ms": report.oldest_ms,
                "settling_s_max": round(report.settling_s_max, 1),
                "waits": [
                    {
                        "reason": wait.reason,
                        "count": wait.count,
                        "keys": [_named(key) for key in wait.keys],
                    }
                    for wait in report.waits
                ],
            }
        )

    async def divergence(self, request: web.BaseRequest, target: Target, query: str) -> Reply:
        """Whether the replicas are equal."""
        given = parse_query(query)
        timeout_ms = min(timeout_of(given) or DIVERGENCE_TIMEOUT_MS, DIVERGENCE_TIMEOUT_MS)
        report = await self._node.divergence.report(
            keys_max=_keys_max(given), timeout_s=timeout_ms / 1000
        )
        return json_reply(
            {
                "node": self._node.config.node_id,
                "equal": report.equal,
                "keys_left_out": report.keys_left_out,
                "partitions": [asdict(found) for found in report.partitions],
                "keys": [_divergent(found) for found in report.keys],
            }
        )


def _keys_max(given: Mapping[str, str]) -> int:
    text = given.get("keys_max", str(DIVERGENT_KEYS_DEFAULT))
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        raise BadRequest(f'Bad keys_max value "{text[:80]}"')
    return min(int(text), DIVERGENT_KEYS_MAX)


def _named(key: Key) -> dict[str, str]:
    return {name: as_text(part) for name, part in key._asdict().items()}


def _divergent(found: DivergentKey) -> dict[str, object]:
    return {
        **_named(found.key),
        "partition": found.partition,
        "digests": {
            node: None if digest is None else f"{digest:016x}"
            for node, digest in found.digests.items()
        },
    }


def _wait_s(query: str) -> float:
    said = parse_query(query).get("timeout_s", str(HINTS_WAIT_S_DEFAULT))
    try:
        wait_s = float(said)
    except ValueError:
        wait_s = math.nan
    if not 0 <= wait_s <= HINTS_WAIT_S_MAX:
        raise BadRequest(f"timeout_s is {said!r:.80}, but must be from 0 to {HINTS_WAIT_S_MAX:g}")
    return wait_s


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
