"""Whether a read is one whole request for data, told without parsing it. Pure.

An overloaded node refuses more requests than it serves, and parsing one costs as much as all else
that refusing it takes. Whatever is not plainly one whole request goes the long way, where it is
parsed properly and refused then.
"""

import re
from typing import Final

DATA_PATHS: Final = ("/buckets", "/types", "/riak")
"""Where the data is; what has other paths (`/ping`, `/stats`, `/metrics`, `/admin`) is about the
node, is asked when it is in trouble, and costs next to nothing."""

WHOLE_BYTES_MAX: Final = 4096
"""A larger request goes the long way. So much may be remembered of each connection."""

_FIRST_LINE: Final = re.compile(
    rb"(GET|HEAD|PUT|POST|DELETE) (?:/buckets|/types|/riak)[!-~]* HTTP/1\.1\r\n"
)
_LENGTH: Final = re.compile(rb"\r\ncontent-length: ?([0-9]{1,4})\r\n")
_UNUSUAL: Final = re.compile(rb"transfer-encoding|expect|upgrade|connection:(?! ?keep-alive\r\n)")


def method_of_whole(data: bytes) -> str | None:
    """The method if `data` is one whole request for data on a connection that stays, else None."""
    first = _FIRST_LINE.match(data)
    if first is None or len(data) > WHOLE_BYTES_MAX:
        return None
    head_end = data.find(b"\r\n\r\n") + 4
    if head_end < first.end():
        return None
    head = data[:head_end].lower()
    if _UNUSUAL.search(head):
        return None
    body_bytes = 0
    if b"content-length" in head:
        length = _LENGTH.search(head)
        if length is None or head.count(b"content-length") > 1:
            return None
        body_bytes = int(length[1])
    return first[1].decode() if len(data) == head_end + body_bytes else None
