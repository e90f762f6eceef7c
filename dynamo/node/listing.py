"""Listing keys and buckets: every partition is asked once, page by page.

A coverage plan: for each partition one replica that can be reached is enough, since each holds all
of the partition's keys but those it still has to be sent. This node's own partitions cost no
network. A replica that fails in the middle is followed by the next one, after the last key that was
seen.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

from dynamo.core.ids import Bucket, NodeId, decode_key, encode_bucket
from dynamo.errors import DeadlineExceeded, DynamoError, QuorumError
from dynamo.node.cluster_view import ClusterView
from dynamo.node.writes import Send
from dynamo.rpc.messages import KeysPage, ListKeys, Reply

PAGE_KEYS = 500


class Listing:
    """Answers what keys and buckets there are."""

    def __init__(
        self,
        view: ClusterView,
        send: Send,
        clock_s: Callable[[], float],
        *,
        replica_timeout_s: float,
    ) -> None:
        self._view = view
        self._send = send
        self._clock_s = clock_s
        self._replica_timeout_s = replica_timeout_s

    async def keys(self, bucket: Bucket, n: int, *, timeout_s: float) -> AsyncIterator[list[bytes]]:
        """The names of all live keys of a bucket, a page at a time, each once, in no order.

        Raises:
            BadRequest: the bucket is none.
            QuorumError: no replica of some partition can be reached.
            DeadlineExceeded: not in time.
        """
        deadline_s = self._clock_s() + timeout_s
        prefix = encode_bucket(bucket)
        for partition in range(self._view.ring.partitions):
            async for page in self._pages(partition, prefix, n, deadline_s, buckets_only=False):
                yield [decode_key(key).key for key in page]

    async def buckets(
        self, bucket_type: bytes, n: int, *, timeout_s: float
    ) -> AsyncIterator[list[bytes]]:
        """The names of all buckets of a type that hold live keys, each once, in no order.

        Raises:
            QuorumError: no replica of some partition can be reached.
            DeadlineExceeded: not in time.
        """
        deadline_s = self._clock_s() + timeout_s
        prefix = bytes([len(bucket_type)]) + bucket_type
        seen: set[bytes] = set()
        for partition in range(self._view.ring.partitions):
            async for page in self._pages(partition, prefix, n, deadline_s, buckets_only=True):
                new = {decode_key(key).bucket for key in page} - seen
                seen |= new
                if new:
                    yield sorted(new)

    async def _pages(
        self, partition: int, prefix: bytes, n: int, deadline_s: float, *, buckets_only: bool
    ) -> AsyncIterator[list[bytes]]:
        """The pages of one partition, from the first of its replicas that lasts."""
        after = b""
        replicas = self._replicas(partition, n)
        while replicas:
            request = ListKeys(partition, prefix, after, PAGE_KEYS, buckets_only)
            reply = await self._ask(replicas[0], request, deadline_s)
            if not isinstance(reply, KeysPage):
                replicas.pop(0)
                continue
            if reply.keys:
                yield reply.keys
            if not reply.last:
                return
            after = reply.last
        raise QuorumError("R", needed=1, got=0, definite=True)

    def _replicas(self, partition: int, n: int) -> list[NodeId]:
        view = self._view
        primaries = view.ring.preference_list(partition, n).primaries
        reachable = [node for node in primaries if node in view.reachable]
        return sorted(reachable, key=lambda node: node != view.me)

    async def _ask(self, node: NodeId, request: ListKeys, deadline_s: float) -> object:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Reply | DynamoError] = loop.create_future()

        def on_reply(_node: NodeId, reply: Reply | DynamoError) -> None:
            if not answered.done():
                answered.set_result(reply)

        remaining_s = deadline_s - self._clock_s()
        if remaining_s <= 0:
            raise DeadlineExceeded(definite=True)
        self._send(node, request, min(remaining_s, self._replica_timeout_s), on_reply)
        return await answered
