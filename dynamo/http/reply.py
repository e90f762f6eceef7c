"""What a resource answers: a status, header lines and a body, or a body that comes in pieces. Pure.

Header lines are ready-made text: an answer has the same half dozen headers again and again, and a
dictionary of them costs more than all else that is done for a request.
"""

from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import NamedTuple


class Reply(NamedTuple):
    """A whole answer.

    Attributes:
        head: header lines, each ended by CRLF; bytes that are no UTF-8 as surrogates. Length,
            date and connection are not among them.
        body: not sent if the request was HEAD, but its length is.
        close: end the connection afterwards.
    """

    status: int
    head: str = ""
    body: bytes = b""
    close: bool = False


class Stream(NamedTuple):
    """An answer of unknown length; its status is 200, whatever comes of it later."""

    head: str
    chunks: AsyncGenerator[bytes, None]


VARY = "Vary: Accept-Encoding\r\n"
VARY_SIBLINGS = "Vary: Accept, Accept-Encoding\r\n"
PLAIN = "Content-Type: text/plain\r\n"
HTML = "Content-Type: text/html\r\n"
JSON = "Content-Type: application/json\r\n"
RETRY = "Retry-After: 1\r\n"


def text(status: int, said: str) -> Reply:
    """A sentence in plain text."""
    return Reply(status, PLAIN, said.encode("utf-8", "surrogateescape"))


def page(status: int, head: str = "") -> Reply:
    """A status that speaks for itself."""
    phrase = HTTPStatus(status).phrase
    body = (
        f"<html><head><title>{status} {phrase}</title></head><body><h1>{phrase}</h1></body></html>"
    )
    return Reply(status, HTML + head, body.encode())


def receipt_line(receipt: str) -> str:
    """The header line with an encoded receipt."""
    return f"X-Dynamo-Replicas: {receipt}\r\n"


def unknown_type(bucket_type: bytes) -> Reply:
    """The path names a bucket type that this cluster does not have."""
    return text(404, f"Unknown bucket type: {bucket_type.decode('utf-8', 'surrogateescape')}")


NO_PATH = page(404)
FORBIDDEN = page(403)
NOT_ACCEPTABLE = page(406)
CONFLICT = page(409)
PRECONDITION_FAILED = page(412)
UNSUPPORTED_MEDIA_TYPE = page(415)
NOT_IMPLEMENTED = page(501)

NOT_FOUND = text(404, "not found\n")
STORED = Reply(204, VARY)
