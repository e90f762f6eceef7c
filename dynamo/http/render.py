"""Stored values as Riak's HTTP API writes them: header lines, siblings, tags, dates. Pure."""

from collections.abc import Iterable
from email.utils import formatdate
from functools import lru_cache
from typing import Final
from urllib.parse import quote_plus

import mmh3

from dynamo.core.ids import Dot
from dynamo.core.values import Link, Value
from dynamo.http.routes import Style, Target

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TAG_OF_DOT: Final = 0
_TAG_OF_CONTEXT: Final = 1


# -- tags and dates ------------------------------------------------------------------------------


def vtag(dot: Dot) -> str:
    """The tag of one value: a name for its dot, the same on every node, that fits into a URL."""
    return _tag(dot.actor + dot.counter.to_bytes(8, "big"), _TAG_OF_DOT)


def siblings_tag(context: bytes) -> str:
    """The tag of a whole state with siblings, from its encoded context."""
    return _tag(context, _TAG_OF_CONTEXT)


def _tag(name: bytes, kind: int) -> str:
    number: int = mmh3.hash64(name, kind, signed=False)[0]
    return f"{number:016x}"


def base62(number: int, digits: int) -> str:
    """The lowest `digits` digits of a number; for keys and boundaries nobody drew before."""
    text = []
    for _ in range(digits):
        number, low = divmod(number, 62)
        text.append(_DIGITS[low])
    return "".join(text)


def http_date(at_ms: int) -> str:
    """A moment in the form HTTP wants, in whole seconds."""
    return _http_date(at_ms // 1000)


@lru_cache(maxsize=1024)
def _http_date(at_s: int) -> str:
    try:
        return formatdate(at_s, usegmt=True)
    except (ValueError, OverflowError, OSError):
        return formatdate(0, usegmt=True)  # a clock beyond the year 9999 set it


# -- paths and links -----------------------------------------------------------------------------


def quote(name: bytes) -> str:
    """A name as it stands in a `Link` or `Location`."""
    return quote_plus(name)


def location(target: Target) -> str:
    """The path of an object, in the style of the request that made it."""
    path = _path(target.style, target.bucket, target.key)
    if target.style is Style.TYPES:
        return f"/types/{quote(target.bucket_type)}{path}"
    return path


def _path(style: Style, bucket: bytes, key: bytes) -> str:
    if style is Style.OLD:
        return f"/riak/{quote(bucket)}/{quote(key)}"
    return f"/buckets/{quote(bucket)}/keys/{quote(key)}"


@lru_cache(maxsize=1024)
def _link_up(style: Style, bucket: bytes) -> str:
    prefix = "riak" if style is Style.OLD else "buckets"
    return f'Link: </{prefix}/{quote(bucket)}>; rel="up"'


def link_line(target: Target, links: Iterable[Link]) -> str:
    """The links of a value, and the one up to its bucket, as one header line without its end.

    A link knows no bucket type; its path is written as for the default one.
    """
    line = _link_up(target.style, target.bucket)
    for bucket, key, tag in links:
        line += f', <{_path(target.style, bucket, key)}>; riaktag="{quote(tag)}"'
    return line


# -- values --------------------------------------------------------------------------------------


def value_lines(value: Value, target: Target) -> str:
    """The header lines that say what a value is; tag, time and context are not among them."""
    if value.deleted:
        return (
            f"Content-Type: application/octet-stream\r\n{link_line(target, ())}\r\n"
            "X-Riak-Deleted: true\r\n"
        )
    lines = f"Content-Type: {value.content_type}\r\n{link_line(target, value.links)}\r\n"
    if value.content_encoding:
        lines += f"Content-Encoding: {value.content_encoding}\r\n"
    for name, text in value.meta:
        lines += f"X-Riak-Meta-{name}: {text}\r\n"
    return lines


def index_lines(value: Value) -> str:
    """One line for each indexed field of a lone value: header names are not repeated."""
    if not value.indexes:
        return ""
    fields: dict[str, str] = {}
    for field, term in value.indexes:
        fields[field] = f"{fields[field]}, {term}" if field in fields else term
    return "".join([f"x-riak-index-{field}: {terms}\r\n" for field, terms in fields.items()])


def siblings_text(dots: Iterable[Dot]) -> bytes:
    """The plain form of siblings: their tags, by which each can be asked for."""
    return ("Siblings:\n" + "".join([f"{vtag(dot)}\n" for dot in dots])).encode()


def siblings_multipart(
    siblings: Iterable[tuple[Dot, Value]], target: Target, boundary: str
) -> bytes:
    """The whole form of siblings: one part each.

    The line end before the first boundary belongs to it, and clients count on it being there.
    """
    pieces: list[bytes] = []
    for dot, value in siblings:
        head = (
            f"\r\n--{boundary}\r\n{value_lines(value, target)}"
            f"Etag: {vtag(dot)}\r\nLast-Modified: {http_date(value.modified_at_ms)}\r\n"
            + "".join([f"x-riak-index-{field}: {term}\r\n" for field, term in value.indexes])
            + "\r\n"
        )
        pieces += (head.encode("utf-8", "surrogateescape"), value.body)
    pieces.append(f"\r\n--{boundary}--\r\n".encode())
    return b"".join(pieces)
