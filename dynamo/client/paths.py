"""Names and options as the request line of Riak's HTTP API wants them. Pure.

Names are byte strings; a `str` stands for its UTF-8 form. What is no UTF-8 survives as surrogates,
so a name that a listing showed can be used again.
"""

from collections.abc import Iterable
from typing import Literal
from urllib.parse import quote

from dynamo.core.ids import DEFAULT_BUCKET_TYPE, Bucket, Key, encode_bucket, encode_key
from dynamo.errors import BadRequest

Name = str | bytes
Quorum = int | Literal["one", "quorum", "all", "default"]
Option = tuple[str, str | int | None]
"""A query parameter; None leaves it out, so the bucket's property holds."""


def name_bytes(name: Name) -> bytes:
    """A name as the bytes it stands for.

    Raises:
        BadRequest: it is neither text nor bytes, or holds a character that is none.
    """
    if isinstance(name, bytes):
        return name
    if not isinstance(name, str):
        raise BadRequest(f"a name is text or bytes, and this is of type {type(name).__name__}")
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise BadRequest(f"not a name: {name!r}") from error


def bucket_path(bucket: Bucket) -> str:
    """The path that everything in this bucket begins with.

    Raises:
        BadRequest: a name is empty or too long.
    """
    encode_bucket(bucket)  # it knows the limits; asked here, the error needs no round trip
    if bucket.bucket_type == DEFAULT_BUCKET_TYPE:
        return f"/buckets/{_quoted(bucket.bucket)}"
    return f"/types/{_quoted(bucket.bucket_type)}/buckets/{_quoted(bucket.bucket)}"


def key_path(key: Key) -> str:
    """The path of an object.

    Raises:
        BadRequest: a name is empty or too long.
    """
    encode_key(key)
    return f"{bucket_path(Bucket(key.bucket_type, key.bucket))}/keys/{_quoted(key.key)}"


def admin_path(report: str, key: Key) -> str:
    """The path of what the cluster says about a key; the type is always named.

    Raises:
        BadRequest: a name is empty or too long.
    """
    encode_key(key)
    names = (_quoted(name) for name in key)
    return "/admin/{}/types/{}/buckets/{}/keys/{}".format(report, *names)


def query_text(options: Iterable[Option]) -> str:
    """Options as `name=value&...`, those that are None left out."""
    return "&".join(
        f"{name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in options
        if value is not None
    )


def _quoted(name: bytes) -> str:
    # A segment of dots alone means a directory to some software on the way.
    return quote(name, safe="") if name.strip(b".") else "%2E" * len(name)
