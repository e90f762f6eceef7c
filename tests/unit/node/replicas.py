"""Replicas that answer when the test says so: what a read or a write sends is kept in a list."""

import asyncio
from dataclasses import dataclass, field

from dynamo.core.ids import NodeId
from dynamo.errors import DynamoError
from dynamo.node.writes import OnReply
from dynamo.rpc.messages import Reply, Request

N1, N2, N3, N4, N5 = (NodeId(f"n{i}") for i in range(1, 6))


@dataclass
class Replicas:
    """Stands where peers and this node's own replica stand.

    Attributes:
        asked: who was asked what and not answered yet, in order.
    """

    asked: list[tuple[NodeId, Request, OnReply]] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def send(self, node: NodeId, request: Request, timeout_s: float, on_reply: OnReply) -> None:
        assert timeout_s > 0
        self.asked.append((node, request, on_reply))
        self._news.set()

    async def until(self, names: list[NodeId]) -> None:
        """Wait until just these have requests to answer."""
        while self.names() != names:
            self._news.clear()
            await self._news.wait()

    def names(self) -> list[NodeId]:
        return [node for node, _, _ in self.asked]

    def request_to(self, wanted: NodeId) -> Request:
        return next(request for node, request, _ in self.asked if node == wanted)

    def answer(self, wanted: NodeId, reply: Reply | DynamoError) -> None:
        """Answer the oldest request to `wanted`."""
        position = self.names().index(wanted)
        node, _, on_reply = self.asked.pop(position)
        on_reply(node, reply)
