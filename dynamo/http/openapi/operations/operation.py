"""How one operation is described, whatever its subject. Pure."""

from collections.abc import Mapping
from typing import Final

from dynamo.http.openapi.answers import ALWAYS, Answers, in_json, with_empty
from dynamo.http.openapi.parameters import references
from dynamo.http.openapi.parts import Json

Operations = Mapping[str, Json]
"""Operations by method, in lower case."""

OLD, PLAIN, TYPED = "Old", "", "Typed"
"""Styles of path, as the names of operations tell them apart."""

OBJECTS: Final = "Objects"
BUCKETS: Final = "Buckets"
SERVER: Final = "Server"
ADMIN: Final = "Operators"

TAGS: Final = {
    OBJECTS: "Values by bucket and key, in three styles of path.",
    BUCKETS: "Properties of buckets and bucket types, lists of keys and buckets.",
    SERVER: "What a node says of itself.",
    ADMIN: "What an operator asks about the cluster, and about one key.",
}


def operation(
    tag: str,
    name: str,
    description: str,
    answers: Answers,
    *parameters: str,
    body: Json | None = None,
) -> Json:
    """One operation; its summary is the description up to the first colon or semicolon."""
    said: dict[str, object] = {
        "tags": [tag],
        "operationId": name,
        "summary": description.partition(":")[0].partition(";")[0].rstrip("."),
        "description": description,
    }
    if parameters:
        said["parameters"] = references(list(dict.fromkeys(parameters)))
    if body is not None:
        said["requestBody"] = body
    return {**said, "responses": dict(sorted(answers.items()))}


def get(
    tag: str, name: str, description: str, answers: Answers, *parameters: str
) -> dict[str, Json]:
    """GET, and HEAD beside it."""
    head = operation(
        tag, f"{name}Head", f"{description} Headers only.", with_empty(answers), *parameters
    )
    return {"get": operation(tag, name, description, answers, *parameters), "head": head}


def report(
    name: str, description: str, schema: str, *parameters: str, unknown: Json | None = None
) -> dict[str, Json]:
    """What an operator is told; `unknown` answers who asks about what is not there."""
    missing = {} if unknown is None else {"404": unknown}
    answers = {**ALWAYS, "200": in_json("As the asked node knows it.", schema), **missing}
    return get(ADMIN, name, description, answers, *parameters)


def names(style: str, *below_type: str) -> tuple[str, ...]:
    """The names that a path of this style leaves open."""
    return ("bucket_type", *below_type) if style == TYPED else below_type
