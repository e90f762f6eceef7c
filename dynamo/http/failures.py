"""What errors of the store become for a client, here and nowhere else. Pure.

    BadRequest            400    the request is wrong
    NotReady              503    this node has not joined yet       Retry-After
    Overloaded            503    a bound was reached                Retry-After
    QuorumError           503    too few replicas                   Retry-After
    DeadlineExceeded      503    the time ran out                   Retry-After
    other RequestErrors   503    nobody knows how it ended          Retry-After
    CodecError            503    what a replica holds makes no sense    Retry-After
    anything else         500    the store's own fault

The answer to a write that failed says how far it came: `X-Dynamo-Acks`, how many nodes are known
to have it, and `X-Dynamo-Definite`, whether it certainly had no effect; where it may have had some,
a second line below Riak's text says so in words. The first line stays Riak's: clients match on it.
"""

from typing import Final

from dynamo.errors import BadRequest, CodecError, DynamoError, QuorumError, RequestError
from dynamo.http.reply import HTML, RETRY, Reply, receipt_line, text

WRITING: Final = frozenset({"PUT", "POST", "DELETE"})

_UNTYPED: Final = frozenset({"PW", "node_confirms"})
"""Texts whose type Riak leaves to chance; here that of a page is given for a delete only."""


def reply_to(error: DynamoError, method: str) -> Reply:
    """The answer to a request that ended with `error`."""
    said = f"{error}\n"
    if isinstance(error, BadRequest):
        return text(400, said)
    if isinstance(error, RequestError):
        reply = text(503, said)
        if isinstance(error, QuorumError) and error.what in _UNTYPED and method == "DELETE":
            reply = reply._replace(head=HTML)
        return failed(method, reply, error)
    if isinstance(error, CodecError):
        return failed(method, text(503, said), error)
    return failed(method, text(500, f"Error:\n{said}"), error)


def failed(method: str, reply: Reply, error: DynamoError | None) -> Reply:
    """`reply` to a request that failed, with what a client needs to know to go on."""
    head = reply.head
    body = reply.body
    if reply.status == 503:
        head += RETRY
    if method in WRITING:
        definite = reply.status == 503 if error is None else error.definite
        acks = error.acks if isinstance(error, RequestError) else 0
        head += f"X-Dynamo-Acks: {acks}\r\nX-Dynamo-Definite: {str(definite).lower()}\r\n"
        if reply.status == 503 and not definite:
            body += _in_doubt(acks)
    if error is not None and error.receipt:
        head += receipt_line(error.receipt)
    return reply._replace(head=head, body=body)


def _in_doubt(acks: int) -> bytes:
    """What is known of a write that failed and cannot be taken back."""
    nodes = {0: "no node that is known of", 1: "1 node"}.get(acks, f"{acks} nodes")
    return f"stored by {nodes}; it may still take effect\n".encode()
