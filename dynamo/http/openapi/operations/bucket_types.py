"""Bucket types, as an operator makes them. Pure."""

from collections.abc import Iterator

from dynamo.http.openapi.answers import WHEN_WRITING, WITH_BODY, done, in_json, shared
from dynamo.http.openapi.operations.operation import ADMIN, Operations, operation, report
from dynamo.http.openapi.operations.properties import CHANGES
from dynamo.http.openapi.parts import Json


def paths() -> Iterator[tuple[str, Operations]]:
    """The paths, with what can be done there."""
    yield "/admin/bucket-types", report("listTypes", "List all bucket types.", "TypeList")
    status = report(
        "readTypeStatus",
        "Read how far a bucket type has come.",
        "TypeStatus",
        "bucket_type",
        unknown=shared("UnknownType"),
    )
    yield "/admin/bucket-types/{bucket_type}", {**status, "put": _create()}
    yield "/admin/bucket-types/{bucket_type}/activate", {"post": _activate()}


def _create() -> Json:
    return operation(
        ADMIN,
        "createType",
        "Create a bucket type, or anew one that is not active.",
        {**WITH_BODY, "204": done("It is created; activate it before use.")},
        "bucket_type",
        body=CHANGES,
    )


def _activate() -> Json:
    return operation(
        ADMIN,
        "activateType",
        "Let a bucket type be used; refused as long as a node does not know it.",
        {
            **WHEN_WRITING,
            "200": in_json("It is active.", "TypeActivated"),
            "404": shared("UnknownType"),
        },
        "bucket_type",
    )
