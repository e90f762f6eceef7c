"""The whole description, as it is served. Pure."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Final

from dynamo.http.openapi.answers import HEADERS, RESPONSES
from dynamo.http.openapi.operations.operation import TAGS
from dynamo.http.openapi.parameters import PARAMETERS
from dynamo.http.openapi.parts import Json
from dynamo.http.openapi.paths import paths
from dynamo.http.openapi.schemas import (
    admin,
    bucket_types,
    lists,
    objects,
    properties,
    server,
    texts,
)

_ABOUT = """\
A leaderless key-value store after Amazon's Dynamo, with the HTTP interface of Riak KV.

Any node takes any request. `Accept` chooses between forms of an answer, `Accept-Encoding: gzip` is
honoured, and an unknown query parameter is ignored. A method that a path does not have is answered
`405` with `Allow`, a path that does not exist `404`, a method that HTTP does not have `501`.
Names in paths are bytes: each part is percent-decoded by itself, and `+` is a blank.
Before its path is looked at, a request may be answered `400`, if it is none; `431`, if its head is
too large; `503`, if too much is at work or held. The connection ends with a `400` or `431`.
Answers with values carry `X-Riak-Meta-...` and `X-Riak-Index-...` as they were stored.
"""


_SCHEMAS: Final[Mapping[str, Json]] = {
    **texts.SCHEMAS,
    **objects.SCHEMAS,
    **lists.SCHEMAS,
    **properties.SCHEMAS,
    **server.SCHEMAS,
    **admin.SCHEMAS,
    **bucket_types.SCHEMAS,
}


def document(version: str) -> Json:
    """The description as an object; `version` is the program's."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dynamo",
            "version": version,
            "summary": "Riak KV's HTTP API, and what is beyond it.",
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The node that was asked."}],
        "tags": [{"name": name, "description": said} for name, said in TAGS.items()],
        "paths": paths(),
        "components": {
            "schemas": _SCHEMAS,
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "responses": RESPONSES,
        },
    }


@cache
def document_bytes(version: str) -> bytes:
    """The same as JSON; made when it is first asked for."""
    return json.dumps(document(version), separators=(",", ":")).encode()
