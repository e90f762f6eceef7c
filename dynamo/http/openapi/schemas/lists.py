"""Lists of keys and of buckets. Pure."""

from collections.abc import Mapping
from typing import Final

from dynamo.http.openapi.parts import TEXT, Json, array, named, of

SCHEMAS: Final[Mapping[str, Json]] = {
    "Names": of(
        "Names as text; bytes that are no UTF-8 are lone surrogates (U+DC80 to U+DCFF).",
        array(TEXT),
    ),
    "KeyList": {
        "type": "object",
        "description": "Keys of a bucket, in no order; an error instead if not all could be found.",
        "properties": {
            "keys": named("Names"),
            "props": named("Properties"),
            "error": named("ListError"),
        },
        "additionalProperties": False,
    },
    "BucketList": {
        "type": "object",
        "description": "Buckets of a type; an error instead if not all could be found.",
        "properties": {"buckets": named("Names"), "error": named("ListError")},
        "additionalProperties": False,
    },
    "ListError": of(
        "Why a list has an end here: `timeout`, `insufficient_vnodes_available`, or a sentence.",
        TEXT,
    ),
}
