"""Lists of buckets and of keys. Pure."""

from dynamo.http.openapi.answers import WITH_FORMS, Answers, in_json, shared
from dynamo.http.openapi.operations.operation import BUCKETS, Operations, get, names


def buckets(style: str) -> Operations:
    """The buckets of a type."""
    return get(
        BUCKETS,
        f"list{style}Buckets",
        "List the buckets that hold keys; without `buckets` the list is empty.",
        _listed("BucketList"),
        *names(style),
        "buckets",
        "timeout",
    )


def keys(style: str) -> Operations:
    """The keys of a bucket."""
    return get(
        BUCKETS,
        f"list{style}Keys",
        "List the keys of a bucket; without `keys` the answer is an empty object.",
        _listed("KeyList"),
        *names(style, "bucket"),
        "keys",
        "timeout",
    )


def properties_and_keys() -> Operations:
    """Both, as the old style of path has them."""
    return get(
        BUCKETS,
        "readOldBucket",
        "Read the properties of a bucket, and list its keys if that is asked for.",
        _listed("KeyList"),
        "bucket",
        "keys",
        "props",
        "timeout",
    )


def _listed(schema: str) -> Answers:
    return {
        **WITH_FORMS,
        "200": in_json("The list; a stream is a run of such objects.", schema),
        "404": shared("NoPath"),
    }
