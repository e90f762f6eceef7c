"""`/buckets/B/keys/K/preflist`: who is asked for a key now, as Riak 2.1 tells it.

In Riak each entry has a partition of its own, since a replica is the next partition's. Here a key
lies in one partition, which several nodes hold, so all entries name that.
"""

from aiohttp import web

from dynamo.core.ids import Bucket, Key, encode_key
from dynamo.http.buckets import json_reply
from dynamo.http.negotiation import choose
from dynamo.http.reply import NOT_ACCEPTABLE, Reply, unknown_type
from dynamo.http.routes import Target
from dynamo.http.served import ServedNode


class Preflist:
    """The handler for the preference lists of keys."""

    def __init__(self, node: ServedNode) -> None:
        self._node = node

    async def read(self, request: web.BaseRequest, target: Target, query: str) -> Reply:
        """GET: the primaries that can be reached, and who stands in for the others."""
        if choose(request.headers.get("Accept"), ("application/json",)) is None:
            return NOT_ACCEPTABLE
        node, ring = self._node, self._node.ring
        properties = node.properties.of(Bucket(target.bucket_type, target.bucket))
        if properties is None:
            return unknown_type(target.bucket_type)
        encoded = encode_key(Key(target.bucket_type, target.bucket, target.key))
        partition = ring.partition_of(encoded)
        reachable = {peer for peer in ring.nodes if node.operations.opinion(peer) == "up"}
        slots = ring.slots(partition, properties.n_val, reachable)
        return json_reply(
            {
                "preflist": [
                    {"partition": partition, "node": slot.node, "primary": not slot.stands_in_for}
                    for slot in slots
                    if properties.sloppy_quorum or not slot.stands_in_for
                ]
            }
        )
