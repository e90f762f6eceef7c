"""What schemathesis is told about this interface that a description cannot say.

Choices are made by checksums of what was drawn: the same seed sends the same.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import schemathesis
from jsonschema_rs import validator_for
from schemathesis import Case, CheckContext, HookContext, Response

NAMES = {
    "bucket_type": ["default", "multi", "lww", "strict"],
    "bucket": ["carts", "a b", "ünï/cödé"],
    "key": ["alice", "bob", "%"],
}
"""Few, so that requests meet what others left behind."""

CHANGED = "changed"
"""The bucket and type whose properties are changed: the others go on under sensible ones."""

ACCEPTS = [None, None, None, "*/*", "multipart/mixed", "application/json;q=0.5, */*;q=0.1", "x/y"]

_seen: dict[str, dict[str, str]] = {}
"""Contexts and tags that answers showed, by path: what is drawn is never one."""


def _choice(drawn: object, among: int) -> int:
    return zlib.crc32(repr(drawn).encode("utf-8", "replace")) % among


# -- requests ------------------------------------------------------------------------------------


@schemathesis.hook
def map_path_parameters(context: HookContext, path_parameters: dict[str, Any]) -> dict[str, Any]:
    """Most names are of those few; some stay as they were drawn."""
    return _renamed(path_parameters, NAMES)


def _renamed(drawn: dict[str, Any], names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    for name, pool in names.items():
        if name in (drawn or {}):
            chosen = _choice((name, drawn[name]), len(pool) + 1)
            drawn[name] = [*pool, drawn[name]][chosen]
    return drawn


@schemathesis.hook
def map_query(context: HookContext, query: dict[str, Any]) -> dict[str, Any]:
    """Every third parameter stays: all at once are hardly ever met."""
    return _thinned(query)


@schemathesis.hook
def map_headers(context: HookContext, headers: dict[str, Any]) -> dict[str, Any]:
    """Every third header stays."""
    return _thinned(headers)


def _thinned(drawn: dict[str, Any]) -> dict[str, Any]:
    whole = repr(drawn)
    for name in list(drawn or {}):
        if _choice((name, whole), 3):
            del drawn[name]
    return drawn


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    """`Accept` is no parameter in OpenAPI; and some send back what they were shown."""
    drawn = (case.query, case.body)
    if case.method == "PUT" and case.path.endswith(("/props", "/riak/{bucket}")):
        for name in case.path_parameters:
            case.path_parameters[name] = CHANGED
    if "Content-Encoding" in case.headers:
        # Whoever reads a value back would decode what was never encoded.
        case.headers["Content-Encoding"] = "x-own"
    accept = ACCEPTS[_choice(drawn, len(ACCEPTS))]
    if accept is not None:
        case.headers.setdefault("Accept", accept)
    for name, text in _seen.get(case.formatted_path, {}).items():
        if _choice((name, drawn), 3) == 0:
            case.headers[name] = text


# -- answers -------------------------------------------------------------------------------------


@schemathesis.hook
def after_call(context: HookContext, case: Case[Any], response: Response) -> None:
    """A streamed list is a run of JSON objects; it is checked as the one list that it makes."""
    headers = {name: lines[0] for name, lines in response.headers.items()}
    shown = {
        name: headers[source]
        for name, source in (
            ("X-Riak-Vclock", "x-riak-vclock"),
            ("X-Riak-If-Not-Modified", "x-riak-vclock"),
            ("If-None-Match", "etag"),
        )
        if source in headers
    }
    if shown:
        _seen[case.formatted_path] = shown
    is_json = headers.get("content-type", "").startswith("application/json")
    if is_json and headers.get("transfer-encoding") == "chunked":
        response.content = json.dumps(_joined(response.content.decode())).encode()


def _joined(run: str) -> dict[str, object]:
    whole: dict[str, object] = {}
    decoder, at = json.JSONDecoder(), 0
    while at < len(run):
        said, at = decoder.raw_decode(run, at)
        for name, value in said.items():
            held = whole.get(name)
            whole[name] = held + value if isinstance(held, list) else value
    return whole


@schemathesis.check
def receipt_conformance(ctx: CheckContext, response: Response, case: Case[Any]) -> bool | None:
    """A receipt is what the description says it is: JSON in a header, which is not looked into."""
    for receipt in response.headers.get("x-dynamo-replicas", []):
        raw = case.operation.schema.raw_schema
        schema = {"$ref": "#/components/schemas/Receipt", "components": raw["components"]}
        validator_for(schema).validate(json.loads(receipt))
    return None
