"""Properties of buckets and of bucket types. Pure."""

from typing import Final

from dynamo.http.openapi.answers import (
    TEXT_BODY,
    WHEN_WRITING,
    WITH_BODY,
    WITH_FORMS,
    Answers,
    answer,
    done,
    in_json,
    json_of,
    shared,
)
from dynamo.http.openapi.operations.operation import BUCKETS, Operations, get, names, operation
from dynamo.http.openapi.parts import Json

CHANGES: Final[Json] = {"required": True, "content": json_of("ChangedProperties")}
"""The body that gives properties."""

_SHOWN: Final[Answers] = {
    **WITH_FORMS,
    "200": in_json("All properties.", "ShownProperties"),
    "404": shared("NoPath"),
}
_CHANGED: Final[Answers] = {
    **WITH_BODY,
    "204": done("They are changed, on this node; others hear of it."),
    "400": answer(
        "What is wrong with the properties.", {**TEXT_BODY, **json_of("Reasons")}, ("Vary",)
    ),
    "415": shared("NotUnderstood"),
}


def of_bucket(style: str) -> Operations:
    """Those of a bucket."""
    in_path = names(style, "bucket")
    return {
        **get(
            BUCKETS,
            f"read{style}BucketProperties",
            "Read the properties of a bucket.",
            _SHOWN,
            *in_path,
        ),
        "put": change(f"change{style}BucketProperties", *in_path),
        "delete": operation(
            BUCKETS,
            f"reset{style}BucketProperties",
            "Give a bucket the properties of its type back.",
            {**WHEN_WRITING, "204": done("It has them."), "404": shared("NoPath")},
            *in_path,
        ),
    }


def of_type() -> Operations:
    """Those of a bucket type."""
    return {
        **get(
            BUCKETS,
            "readTypeProperties",
            "Read the properties of a bucket type.",
            _SHOWN,
            "bucket_type",
        ),
        "put": change("changeTypeProperties", "bucket_type"),
    }


def change(name: str, *in_path: str) -> Json:
    """PUT of properties."""
    return operation(
        BUCKETS,
        name,
        "Change properties: all of those given, or none if one of them is refused.",
        _CHANGED,
        *in_path,
        body=CHANGES,
    )
