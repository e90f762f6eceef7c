"""What a request says in its path, its query and its headers. Pure.

Names and words come from the code that reads them. A parameter without an entry here is an error
when the description is put together.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from dynamo.core.ids import BUCKET_BYTES_MAX, BUCKET_TYPE_BYTES_MAX, KEY_BYTES_MAX
from dynamo.core.property_rules import COUNT_MAX, WORDS
from dynamo.http.admin import DIVERGENT_KEYS_DEFAULT, HINTS_WAIT_S_DEFAULT, HINTS_WAIT_S_MAX
from dynamo.http.openapi.parts import BASE64, TEXT, WHOLE, Json, reference
from dynamo.http.wire import (
    BOOLEAN_PARAMETERS,
    IF_NOT_MODIFIED,
    QUORUM_PARAMETERS,
    SYNC_WORDS,
    VCLOCK,
)

_QUORUM: Final[Json] = {
    "oneOf": [
        {"type": "integer", "minimum": 0, "maximum": COUNT_MAX},
        {"type": "string", "enum": ["default", *sorted(WORDS)]},
    ]
}
_FLAG: Final[Json] = {"type": "string", "enum": ["true", "false", "default"]}
_TRUE_OR_FALSE: Final[Json] = {"type": "string", "enum": ["true", "false"]}
_MILLISECONDS: Final[Json] = {"type": "integer", "minimum": 0}

_USES: Final = {
    "r": "Replicas that must answer a read.",
    "w": "Replicas that must hold the write.",
    "dw": "Replicas that must hold the write on disk; every acknowledgement means that here.",
    "rw": "For both halves of a delete, if neither `r` nor `w` is given.",
    "pw": "Primaries that must hold the write; stand-ins do not count.",
    "pr": "Primaries that must answer a read; stand-ins do not count.",
    "node_confirms": "Distinct nodes that must answer a read or hold a write.",
    "basic_quorum": "Without `notfound_ok`, give up at a majority of not-founds.",
    "notfound_ok": "Whether 'I hold nothing' is a good answer.",
    "asis": "Checked, and without effect.",
}


def _parameter(place: str, name: str, description: str, schema: Json) -> Json:
    required = {"required": True} if place == "path" else {}
    return {"name": name, "in": place, "description": description, **required, "schema": schema}


def _query(name: str, description: str, schema: Json) -> Json:
    return _parameter("query", name, description, schema)


def _header(name: str, description: str, schema: Json) -> Json:
    return _parameter("header", name, description, schema)


def _name(name: str, description: str, chars_max: int, example: str) -> Json:
    schema = {"type": "string", "minLength": 1, "maxLength": chars_max}
    return {**_parameter("path", name, description, schema), "example": example}


_PATH: Final = (
    _name("bucket_type", "A bucket type's name.", BUCKET_TYPE_BYTES_MAX, "default"),
    _name("bucket", "A bucket's name; `%2F` is a slash in it.", BUCKET_BYTES_MAX, "carts"),
    _name("key", "A key; `%2F` is a slash in it.", KEY_BYTES_MAX, "alice"),
    _name("node", "A node's name.", 64, "n3"),
)

_QUERY: Final = (
    *(_query(name, _USES[name], _QUORUM) for name in QUORUM_PARAMETERS),
    *(_query(name, _USES[name], _FLAG) for name in BOOLEAN_PARAMETERS),
    _query(
        "sync_on_write",
        "Checked, and without effect: how writes reach the disk is a setting of the node.",
        {"type": "string", "enum": sorted(SYNC_WORDS)},
    ),
    _query(
        "sloppy_quorum",
        "Whether stand-ins take the place of primaries that cannot be reached.",
        _TRUE_OR_FALSE,
    ),
    _query(
        "trace",
        "Whether `X-Dynamo-Replicas` tells what became of the request at each replica; it then"
        " waits for all who were asked.",
        _TRUE_OR_FALSE,
    ),
    _query(
        "n_val",
        "Look at the first so many of the key's replicas only; ignored above the bucket's own.",
        WHOLE,
    ),
    _query("timeout", "Milliseconds for the whole request.", _MILLISECONDS),
    _query("vtag", "Show the one sibling with this tag.", TEXT),
    _query("returnbody", "Whether to answer with what a read would show.", _TRUE_OR_FALSE),
    _query(
        "keys",
        "List the keys: whole, or as a run of JSON objects that ends with an empty list.",
        {"type": "string", "enum": ["true", "stream"]},
    ),
    _query(
        "buckets",
        "List the buckets: whole, or as a run of JSON objects that ends with an empty list.",
        {"type": "string", "enum": ["true", "stream"]},
    ),
    _query("props", "Whether properties go before the keys.", _TRUE_OR_FALSE),
    _query("force", "Remove it although it is up.", _TRUE_OR_FALSE),
    _query(
        "timeout_s",
        "Seconds to wait.",
        {
            "type": "number",
            "minimum": 0,
            "maximum": HINTS_WAIT_S_MAX,
            "default": HINTS_WAIT_S_DEFAULT,
        },
    ),
    _query(
        "keys_max",
        "How many keys that differ are named.",
        {"type": "integer", "minimum": 0, "maximum": 999_999, "default": DIVERGENT_KEYS_DEFAULT},
    ),
)

_TAGS: Final[Json] = {"type": "string", "examples": ["*", '"5a0e2c91d3b7f486"']}
_DATE: Final[Json] = {"type": "string", "examples": ["Tue, 02 Oct 2007 07:00:00 GMT"]}

_HEADERS: Final = (
    _header(VCLOCK, "The context of an earlier answer: what is superseded.", BASE64),
    _header(
        IF_NOT_MODIFIED,
        "Store only if the object is there and its context is this one.",
        BASE64,
    ),
    _header("If-None-Match", "Go on only if none of these tags is there.", _TAGS),
    _header("If-Match", "Go on only if one of these tags is there.", _TAGS),
    _header("If-Modified-Since", "Show only what is newer.", _DATE),
    _header("If-Unmodified-Since", "Go on only if nothing newer is there.", _DATE),
    _header(
        "Range",
        "Show one part of the body; what cannot be shown as one part is shown whole.",
        {"type": "string", "examples": ["bytes=0-99"]},
    ),
    _header("Accept-Charset", "Charsets of text that are taken.", TEXT),
    _header(
        "Link",
        "Links to other objects, separated by commas; kept, and shown in the style of the path.",
        {"type": "string", "examples": ['</buckets/carts/keys/bob>; riaktag="friend"']},
    ),
    _header(
        "X-Riak-Meta-Note",
        "Stands for all headers that begin with `X-Riak-Meta-`: kept and shown.",
        TEXT,
    ),
    _header(
        "X-Riak-Index-Name_bin",
        "Stands for all `X-Riak-Index-..._bin`: terms, separated by comma and blank.",
        TEXT,
    ),
    _header(
        "X-Riak-Index-Year_int",
        "Stands for all `X-Riak-Index-..._int`: whole numbers, separated by comma and blank.",
        {"type": "string", "pattern": r"^[+-]?[0-9]{1,18}(, [+-]?[0-9]{1,18})*$"},
    ),
    _header(
        "Content-Encoding",
        "Kept and shown; what it means is the clients' affair.",
        {"type": "string", "examples": ["gzip"]},
    ),
)

PARAMETERS: Final[Mapping[str, Json]] = {
    str(parameter["name"]): parameter for parameter in (*_PATH, *_QUERY, *_HEADERS)
}
"""All of them, by name; no name means two things."""

CONDITIONS: Final = ("If-None-Match", "If-Match", "If-Unmodified-Since")
READING: Final = ("r", "pr", "node_confirms", "basic_quorum", "notfound_ok")
WRITING: Final = ("w", "dw", "pw", "node_confirms", "sync_on_write", "asis")
ANY_OBJECT: Final = ("n_val", "sloppy_quorum", "timeout", "trace")
DESCRIBING: Final = (
    "Content-Encoding",
    "Link",
    "X-Riak-Meta-Note",
    "X-Riak-Index-Name_bin",
    "X-Riak-Index-Year_int",
)


def references(names: Sequence[str]) -> list[Json]:
    """References to parameters.

    Raises:
        KeyError: there is none of that name.
    """
    return [reference("parameters", name, PARAMETERS) for name in names]
