"""The smallest parts of the description: references, and words of JSON Schema. Pure."""

from collections.abc import Mapping
from typing import Final

Json = Mapping[str, object]
"""A part of the description."""

TEXT: Final[Json] = {"type": "string"}
WHOLE: Final[Json] = {"type": "integer", "minimum": 0}
NUMBER: Final[Json] = {"type": "number", "minimum": 0}
FLAG: Final[Json] = {"type": "boolean"}
BASE64: Final[Json] = {"type": "string", "contentEncoding": "base64"}


def named(schema: str) -> Json:
    """A reference to a schema."""
    return {"$ref": f"#/components/schemas/{schema}"}


def reference(kind: str, name: str, there: Mapping[str, Json]) -> Json:
    """A reference to a component of that kind; `there` are those that are described.

    Raises:
        KeyError: there is none of that name.
    """
    if name not in there:
        raise KeyError(name)
    return {"$ref": f"#/components/{kind}/{name}"}


def of(description: str, schema: Json) -> Json:
    """A schema with a sentence about it."""
    return {**schema, "description": description}


def array(items: Json) -> Json:
    """Any number of the same."""
    return {"type": "array", "items": items}


def or_null(schema: Json) -> Json:
    """The same, or nothing."""
    return {"anyOf": [schema, {"type": "null"}]}


def table(values: Json, keys: str) -> Json:
    """An object whose keys are no fixed names."""
    return {"type": "object", "additionalProperties": values, "description": keys}


def record(description: str, required: Mapping[str, Json], **optional: Json) -> Json:
    """An object with fixed names and no others."""
    return {
        "type": "object",
        "description": description,
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


NODE: Final = of("A node's name.", TEXT)
