"""What a node says of itself. Pure."""

from collections.abc import Mapping
from typing import Final

from dynamo.http.openapi.parts import TEXT, Json, array, of, table

SCHEMAS: Final[Mapping[str, Json]] = {
    "Resources": table(TEXT, "Resource to path."),
    "Stats": table(
        {
            "anyOf": [
                {"type": ["number", "string", "boolean"]},
                array({"type": ["string", "object"]}),
            ]
        },
        "Figure to value: times in microseconds, `_total` since start, others of the last minute.",
    ),
    "Description": of("This description.", {"type": "object"}),
}
