"""One question to one node, and its answer, for jobs that have time to wait."""

import asyncio

from dynamo.core.ids import NodeId
from dynamo.errors import DynamoError
from dynamo.node.writes import Send
from dynamo.rpc.failures import to_error
from dynamo.rpc.messages import Failed, Reply, Request


async def call(send: Send, node: NodeId, request: Request, timeout_s: float) -> Reply:
    """Ask a peer, or this node itself, and wait for the answer.

    Raises:
        DynamoError: there is none, or it is that the request failed.
    """
    answered: asyncio.Future[Reply | DynamoError] = asyncio.get_running_loop().create_future()

    def on_reply(_node: NodeId, reply: Reply | DynamoError) -> None:
        if not answered.done():
            answered.set_result(reply)

    send(node, request, timeout_s, on_reply)
    reply = await answered
    if isinstance(reply, DynamoError):
        raise reply
    if isinstance(reply, Failed):
        raise to_error(reply)
    return reply
