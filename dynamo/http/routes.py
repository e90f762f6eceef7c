"""Which resource a path names: the URL map of Riak's HTTP API, and of `/admin`. Pure.

    /riak/B[/K]                      old
    /buckets/B/keys[/K], /props      the default bucket type
    /buckets/B/keys/K/preflist       who is asked for a key
    /types/T/buckets/B/...           any bucket type; /types/default is the default one

The raw path is split at slashes first, empty parts dropped, and each part decoded by itself: so
`%2F` is a slash inside a name, and doubled or trailing slashes do not matter. Names are bytes.
"""

import enum
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from dynamo.core.ids import DEFAULT_BUCKET_TYPE


class Resource(enum.Enum):
    """What a path can name."""

    ROOT = enum.auto()
    PING = enum.auto()
    STATS = enum.auto()
    METRICS = enum.auto()
    DESCRIPTION = enum.auto()
    OBJECT = enum.auto()
    PREFLIST = enum.auto()
    KEYS = enum.auto()
    BUCKETS = enum.auto()
    OLD_BUCKET = enum.auto()
    BUCKET_PROPERTIES = enum.auto()
    TYPE_PROPERTIES = enum.auto()
    ADMIN_MEMBERS = enum.auto()
    ADMIN_MEMBER = enum.auto()
    ADMIN_RING = enum.auto()
    ADMIN_LOCATE = enum.auto()
    ADMIN_LOCAL = enum.auto()
    ADMIN_HINTS = enum.auto()
    ADMIN_HINTS_WAIT = enum.auto()
    ADMIN_DIVERGENCE = enum.auto()
    ADMIN_TOMBSTONES = enum.auto()
    ADMIN_BUCKET_TYPES = enum.auto()
    ADMIN_BUCKET_TYPE = enum.auto()
    ADMIN_BUCKET_TYPE_ACTIVATE = enum.auto()


class Style(enum.Enum):
    """The three ways to write a path; answers refer to other paths in the style of the request."""

    OLD = enum.auto()
    BUCKETS = enum.auto()
    TYPES = enum.auto()


class Target(NamedTuple):
    """Whom a path is about; parts that a path lacks are empty."""

    style: Style = Style.BUCKETS
    bucket_type: bytes = DEFAULT_BUCKET_TYPE
    bucket: bytes = b""
    key: bytes = b""


Route = tuple[Resource, Target]

_NOBODY = Target()
_ALONE = {
    "ping": Resource.PING,
    "stats": Resource.STATS,
    "metrics": Resource.METRICS,
    "openapi.json": Resource.DESCRIPTION,
    "buckets": Resource.BUCKETS,
}
_ADMIN: dict[tuple[str, ...], Resource] = {
    ("members",): Resource.ADMIN_MEMBERS,
    ("ring",): Resource.ADMIN_RING,
    ("hints",): Resource.ADMIN_HINTS,
    ("hints", "wait"): Resource.ADMIN_HINTS_WAIT,
    ("divergence",): Resource.ADMIN_DIVERGENCE,
    ("tombstones",): Resource.ADMIN_TOMBSTONES,
    ("bucket-types",): Resource.ADMIN_BUCKET_TYPES,
}


def resolve(path: str) -> Route | None:
    """The resource and its target; None if the path names nothing here.

    Args:
        path: as it came, without the query.
    """
    if not path.startswith("/"):
        path = _without_authority(path)
    match [part for part in path.split("/") if part]:
        case ["buckets", bucket, "keys", key]:
            target = Target(Style.BUCKETS, DEFAULT_BUCKET_TYPE, decode(bucket), decode(key))
            return Resource.OBJECT, target
        case ["buckets", bucket, "keys", key, "preflist"]:
            return Resource.PREFLIST, Target(bucket=decode(bucket), key=decode(key))
        case ["types", bucket_type, *rest]:
            return _typed(decode(bucket_type), rest)
        case ["buckets", bucket, kind]:
            return _in_bucket(Target(bucket=decode(bucket)), kind)
        case ["riak", *names] if len(names) <= 2:
            return _old([decode(name) for name in names])
        case ["admin", report, *names]:
            return _admin(report, names)
        case [word] if word in _ALONE:
            return _ALONE[word], _NOBODY
        case []:
            return Resource.ROOT, _NOBODY
    return None


def decode(part: str) -> bytes:
    """A name as bytes: `%XX` decoded, `+` a blank, malformed sequences left as they are."""
    if "+" in part:
        part = part.replace("+", " ")
    if "%" in part:
        return unquote_to_bytes(part.encode("utf-8", "surrogateescape"))
    return part.encode("utf-8", "surrogateescape")


def _without_authority(path: str) -> str:
    """A request may name its host (`GET http://host/path`), as it does through a proxy."""
    scheme, separator, rest = path.partition("://")
    if separator and scheme.lower() in ("http", "https"):
        return "/" + rest.partition("/")[2]
    return "/" + path


def _typed(bucket_type: bytes, rest: list[str]) -> Route | None:
    target = Target(Style.TYPES, bucket_type)
    match rest:
        case ["buckets", bucket, "keys", key]:
            return Resource.OBJECT, target._replace(bucket=decode(bucket), key=decode(key))
        case ["buckets", bucket, "keys", key, "preflist"]:
            return Resource.PREFLIST, target._replace(bucket=decode(bucket), key=decode(key))
        case ["buckets", bucket, kind]:
            return _in_bucket(target._replace(bucket=decode(bucket)), kind)
        case ["buckets"]:
            return Resource.BUCKETS, target
        case ["props"]:
            return Resource.TYPE_PROPERTIES, target
    return None


def _in_bucket(target: Target, kind: str) -> Route | None:
    if kind == "keys":
        return Resource.KEYS, target
    if kind == "props":
        return Resource.BUCKET_PROPERTIES, target
    return None


def _old(names: list[bytes]) -> Route:
    target = Target(Style.OLD, DEFAULT_BUCKET_TYPE, *names)
    if len(names) == 2:
        return Resource.OBJECT, target
    return (Resource.OLD_BUCKET if names else Resource.BUCKETS), target


def _admin(report: str, names: list[str]) -> Route | None:
    """`/admin/locate/B/K`, `/admin/locate/T/B/K`, or a whole object path after the report."""
    if (resource := _ADMIN.get((report, *names))) is not None:
        return resource, _NOBODY
    if report == "members" and len(names) == 1:
        return Resource.ADMIN_MEMBER, Target(key=decode(names[0]))
    if report == "bucket-types":
        return _admin_bucket_type(names)
    if report not in ("locate", "local"):
        return None
    resource = Resource.ADMIN_LOCATE if report == "locate" else Resource.ADMIN_LOCAL
    match names:
        case [bucket, key]:
            return resource, Target(bucket=decode(bucket), key=decode(key))
        case [bucket_type, bucket, key]:
            return resource, Target(Style.TYPES, decode(bucket_type), decode(bucket), decode(key))
        case ["buckets", _, "keys", _] | ["types", _, "buckets", _, "keys", _]:
            route = resolve("/" + "/".join(names))
            return None if route is None else (resource, route[1])
    return None


def _admin_bucket_type(names: list[str]) -> Route | None:
    """`/admin/bucket-types/T`, and its activation below it."""
    match names:
        case [bucket_type]:
            return Resource.ADMIN_BUCKET_TYPE, Target(Style.TYPES, decode(bucket_type))
        case [bucket_type, "activate"]:
            return Resource.ADMIN_BUCKET_TYPE_ACTIVATE, Target(Style.TYPES, decode(bucket_type))
    return None
