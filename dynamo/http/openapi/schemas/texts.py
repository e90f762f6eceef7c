"""Bodies of text that any request may be answered with. Pure."""

from collections.abc import Mapping
from typing import Final

from dynamo.http.openapi.parts import TEXT, Json, of

SCHEMAS: Final[Mapping[str, Json]] = {
    "Text": of("A short text.", TEXT),
    "Page": of("A status as a short HTML page.", TEXT),
}
