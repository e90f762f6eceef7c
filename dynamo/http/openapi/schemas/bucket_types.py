"""What an operator is told about bucket types. Pure."""

from collections.abc import Mapping
from typing import Final

from dynamo.http.openapi.parts import FLAG, TEXT, Json, array, named, of, record, table

SCHEMAS: Final[Mapping[str, Json]] = {
    "TypeList": record(
        "All bucket types, the default one first.",
        {
            "types": array(
                record("A bucket type.", {"name": TEXT, "active": of("It can be used.", FLAG)})
            )
        },
    ),
    "TypeStatus": record(
        "How far a bucket type has come.",
        {
            "name": TEXT,
            "active": of("It can be used.", FLAG),
            "created": of("It was made while the cluster ran, not by the settings.", FLAG),
            "unaware": table(TEXT, "Nodes that have not confirmed that they know it, and why."),
            "props": named("Properties"),
        },
    ),
    "TypeActivated": record(
        "A bucket type that is active now.",
        {"name": TEXT, "was_active": of("It was active before.", FLAG)},
    ),
}
