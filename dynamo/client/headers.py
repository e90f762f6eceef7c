"""A value as header lines, and header lines as a value. Pure.

Header names are lower case here; texts hold the bytes sent, decoded with `surrogateescape`.
"""

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import quote, unquote_to_bytes

from dynamo.client.errors import BadAnswer
from dynamo.client.values import Context
from dynamo.core.values import Link, Value
from dynamo.errors import BadRequest

VCLOCK = "x-riak-vclock"
DELETED = "x-riak-deleted"
RECEIPT = "x-dynamo-replicas"

_META = "x-riak-meta-"
_INDEX = "x-riak-index-"
_LINK = re.compile(r"\s*<([^>]*)>\s*;\s*(riaktag|rel)=\"([^\"]*)\"\s*")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNSENDABLE = re.compile(r"[\r\n\0]")


def write_headers(value: Value, context: Context | None) -> dict[str, str]:
    """The headers of a request that stores `value` after what `context` has seen.

    Raises:
        BadRequest: a text cannot be sent in a header.
    """
    headers = {"content-type": value.content_type}
    if value.content_encoding:
        headers["content-encoding"] = value.content_encoding
    if context is not None:
        headers[VCLOCK] = str(context)
    headers.update((_META + name, text) for name, text in value.meta)
    for field, term in value.indexes:
        name = _INDEX + field
        headers[name] = f"{headers[name]}, {term}" if name in headers else term
    if value.links:
        headers["link"] = ", ".join(_link_text(link) for link in value.links)
    for name, text in headers.items():
        _check(name, text)
    return headers


def read_value(headers: Mapping[str, str], body: bytes) -> Value:
    """The value that these headers describe.

    Raises:
        BadAnswer: a header that must be there is not, or one cannot be read.
    """
    if headers.get(DELETED) == "true":
        return Value(body=b"", modified_at_ms=_modified_at_ms(headers), deleted=True)
    if "content-type" not in headers:
        raise BadAnswer("a value without Content-Type")
    return Value(
        body=body,
        content_type=headers["content-type"],
        content_encoding=headers.get("content-encoding", ""),
        meta=tuple(
            (name.removeprefix(_META), text)
            for name, text in headers.items()
            if name.startswith(_META)
        ),
        links=_links(headers.get("link", "")),
        indexes=tuple(
            (name.removeprefix(_INDEX), term)
            for name, text in headers.items()
            if name.startswith(_INDEX)
            for term in text.split(", ")
        ),
        modified_at_ms=_modified_at_ms(headers),
    )


def read_context(headers: Mapping[str, str]) -> Context | None:
    """The context these headers carry, if any.

    Raises:
        BadAnswer: it is no base64.
    """
    text = headers.get(VCLOCK)
    if text is None:
        return None
    try:
        return Context.parse(text)
    except BadRequest as error:
        raise BadAnswer(f"X-Riak-Vclock is {error}") from error


def _check(name: str, text: str) -> None:
    if _TOKEN.fullmatch(name) is None:
        raise BadRequest(f"not a header name: {name[:80]!r}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadRequest(f"header {name!r} holds bytes that are no text") from error
    if _UNSENDABLE.search(text):
        raise BadRequest(f"header {name!r} holds a line end or a zero")


def _modified_at_ms(headers: Mapping[str, str]) -> int:
    text = headers.get("last-modified")
    if text is None:
        return 0
    try:
        moment = parsedate_to_datetime(text)
    except ValueError as error:
        raise BadAnswer(f"Last-Modified is no date: {text[:80]!r}") from error
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)


def _link_text(link: Link) -> str:
    bucket, key, tag = (quote(name, safe="") for name in link)
    return f'</buckets/{bucket}/keys/{key}>; riaktag="{tag}"'


def _links(text: str) -> tuple[Link, ...]:
    """The links of a `Link` line; the bucket's own (`rel="up"`) is none."""
    links = []
    for entry in text.split(",") if text else ():
        match = _LINK.fullmatch(entry)
        if match is None:
            raise BadAnswer(f"Link cannot be read: {entry[:80]!r}")
        path, kind, tag = match.groups()
        names = path.split("/")
        if kind == "rel":
            continue
        if len(names) != 5 or (names[1], names[3]) != ("buckets", "keys"):
            raise BadAnswer(f"Link cannot be read: {entry[:80]!r}")
        links.append((_name(names[2]), _name(names[4]), _name(tag)))
    return tuple(links)


def _name(text: str) -> bytes:
    return unquote_to_bytes(text.replace("+", " "))
