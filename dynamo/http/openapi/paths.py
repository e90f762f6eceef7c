"""All paths, with what can be done there. Pure.

An operation is described once for each way to write its path; HEAD follows from GET.
"""

from collections.abc import Iterator

from dynamo.http.openapi.operations import (
    admin,
    bucket_types,
    lists,
    objects,
    properties,
    server,
)
from dynamo.http.openapi.operations.operation import OLD, PLAIN, TYPED, Operations


def paths() -> dict[str, Operations]:
    """Operations by path."""
    return dict(_paths())


def _paths() -> Iterator[tuple[str, Operations]]:
    yield from server.paths()
    yield from _below("/buckets", PLAIN)
    yield from _below("/types/{bucket_type}/buckets", TYPED)
    yield "/types/{bucket_type}/props", properties.of_type()
    yield from _old()
    yield from admin.paths()
    yield from bucket_types.paths()


def _below(buckets: str, style: str) -> Iterator[tuple[str, Operations]]:
    bucket = f"{buckets}/{{bucket}}"
    yield buckets, lists.buckets(style)
    yield f"{bucket}/keys", {**lists.keys(style), "post": objects.without_key(style)}
    yield f"{bucket}/props", properties.of_bucket(style)
    yield f"{bucket}/keys/{{key}}", objects.at_key(style)
    yield f"{bucket}/keys/{{key}}/preflist", objects.preference_list(style)


def _old() -> Iterator[tuple[str, Operations]]:
    yield "/riak", lists.buckets(OLD)
    yield (
        "/riak/{bucket}",
        {
            **lists.properties_and_keys(),
            "put": properties.change("changeOldBucketProperties", "bucket"),
            "post": objects.without_key(OLD),
        },
    )
    yield "/riak/{bucket}/{key}", objects.at_key(OLD)
