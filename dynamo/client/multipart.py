"""Siblings as they come: `multipart/mixed` taken apart, byte for byte. Pure.

    CRLF --boundary CRLF  name: text CRLF ...  CRLF  body  CRLF --boundary ... --boundary-- CRLF

Bodies are binary and may hold anything, line ends too, only not the boundary; the library's mail
parser would treat them as lines.
"""

import re

from dynamo.client.errors import BadAnswer

_BOUNDARY = re.compile(r'multipart/mixed\s*;.*\bboundary="?([^";\s]{1,70})"?\s*', re.IGNORECASE)

Part = tuple[dict[str, str], bytes]
"""Headers (lower case names, repeated ones joined by `, `) and body."""


def boundary_of(content_type: str) -> str:
    """The boundary that a Content-Type names.

    Raises:
        BadAnswer: it is no `multipart/mixed` with a boundary.
    """
    match = _BOUNDARY.fullmatch(content_type)
    if match is None:
        raise BadAnswer(f"siblings come as {content_type[:80]!r}")
    return match[1]


def split_parts(body: bytes, boundary: str) -> list[Part]:
    """The parts between the boundaries.

    Raises:
        BadAnswer: `body` does not begin, go on or end as it must.
    """
    delimiter = rb"\r\n--" + re.escape(boundary.encode()) + rb"(?=\r\n|--)"
    # A body may begin with its first boundary right away; the line end before it is then implied.
    before, *parts = re.split(delimiter, body if body[:2] == b"\r\n" else b"\r\n" + body)
    if before or len(parts) < 2 or parts[-1] not in (b"--", b"--\r\n"):
        raise BadAnswer("siblings are cut short or do not keep to their boundary")
    return [_part(part) for part in parts[:-1]]


def _part(part: bytes) -> Part:
    head, separator, body = part.partition(b"\r\n\r\n")
    if not separator:
        raise BadAnswer("a sibling has no end of headers")
    headers: dict[str, str] = {}
    # Every line is preceded by a line end, so the first piece is empty.
    for line in head.decode("utf-8", "surrogateescape").split("\r\n")[1:]:
        name, colon, text = line.partition(":")
        if not colon:
            raise BadAnswer(f"a sibling has a header {line[:80]!r}")
        name, text = name.strip().lower(), text.strip()
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers, body
