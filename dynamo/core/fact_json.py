"""JSON as the body of a fact: one object, bounded, and the same for whoever reads it."""

import json
from collections.abc import Mapping

from dynamo.errors import BadRequest, CodecError

BODY_BYTES_MAX = 64 * 1024


def to_body(said: Mapping[str, object], what: str) -> bytes:
    """An object as bytes; `what` it is stands in the error.

    Raises:
        BadRequest: it is too large, or holds what JSON does not have.
    """
    try:
        body = json.dumps(said, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"{what} that are no JSON: {error}") from error
    if len(body) > BODY_BYTES_MAX:
        raise BadRequest(f"{what} take at most {BODY_BYTES_MAX} bytes, got {len(body)}")
    return body


def from_body(body: bytes) -> dict[str, object]:
    """The inverse of `to_body`.

    Raises:
        CodecError: this is no such object.
    """
    if len(body) > BODY_BYTES_MAX:
        raise CodecError(f"a statement takes at most {BODY_BYTES_MAX} bytes, got {len(body)}")
    try:
        said = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise CodecError(f"not JSON: {error}") from error
    if not isinstance(said, dict):
        raise CodecError("not a JSON object")
    return said


def _no_number(text: str) -> object:
    raise ValueError(f"{text} is no JSON")
