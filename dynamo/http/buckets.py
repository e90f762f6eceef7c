"""Buckets over HTTP: their properties, the list of their keys, the list of buckets.

Lists come whole (`=true`) or as a stream of JSON objects, which follow each other without anything
between them. The status of a list is always 200: what goes wrong later is said in the last object.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import cast

from aiohttp import web

from dynamo.core.ids import DEFAULT_BUCKET_TYPE, Bucket, encode_bucket
from dynamo.errors import DeadlineExceeded, DynamoError, QuorumError
from dynamo.http.exchange import BodyReader
from dynamo.http.negotiation import choose
from dynamo.http.reply import (
    JSON,
    NO_PATH,
    NOT_ACCEPTABLE,
    STORED,
    UNSUPPORTED_MEDIA_TYPE,
    VARY,
    Reply,
    Stream,
    text,
)
from dynamo.http.routes import Style, Target
from dynamo.http.served import ServedNode
from dynamo.http.wire import parse_query, timeout_of

KEYS_TIMEOUT_MS = 480_000
BUCKETS_TIMEOUT_MS = 300_000

LIST_BYTES_MAX = 64 * 2**20
"""A list that comes whole is held in memory whole; a longer one has to be streamed."""

_BAD_BODY = """PUT must be a JSON object of the form:
{"props":{...bucket properties...}}"""


class Buckets:
    """Handlers for the paths of buckets and bucket types."""

    def __init__(self, node: ServedNode, bodies: BodyReader) -> None:
        self._node = node
        self._bodies = bodies

    # -- properties ------------------------------------------------------------------------------

    async def read_properties(self, request: web.BaseRequest, target: Target, query: str) -> Reply:
        """GET of the properties of a bucket, or of a type."""
        if choose(request.headers.get("Accept"), ("application/json",)) is None:
            return NOT_ACCEPTABLE
        shown = self._properties(target)
        return NO_PATH if shown is None else json_reply(shown)

    def _properties(self, target: Target) -> dict[str, object] | None:
        properties = self._node.properties.of(Bucket(target.bucket_type, target.bucket))
        if properties is None:
            return None
        name = {"name": as_text(target.bucket)} if target.bucket else {}
        return {"props": {**name, **properties.everything}}

    async def change_properties(
        self, request: web.BaseRequest, target: Target, query: str
    ) -> Reply:
        """PUT of some properties."""
        body = await self._bodies.read(request)
        if isinstance(body, Reply):
            return body
        changes = changes_in(body)
        if changes is None:
            what = "bucket" if target.bucket else "bucket type"
            return text(400, f"{what} {_BAD_BODY}")
        bucket = Bucket(target.bucket_type, target.bucket)
        if not _is_json(request):
            return UNSUPPORTED_MEDIA_TYPE
        if not target.bucket and target.bucket_type == DEFAULT_BUCKET_TYPE:
            return json_reply("no_default_update", 400)
        if self._node.properties.of(bucket) is None:
            return json_reply("no_type" if target.bucket else "not_active", 400)
        reasons = self._node.properties.refused(bucket, changes)
        if reasons:
            return json_reply(reasons, 400)
        await self._node.bucket_properties.change(bucket, changes)
        return STORED

    async def reset_properties(self, request: web.BaseRequest, target: Target, query: str) -> Reply:
        """DELETE of a bucket's own properties: back to those of its type."""
        bucket = Bucket(target.bucket_type, target.bucket)
        if self._node.properties.of(bucket) is None:
            return NO_PATH
        await self._node.bucket_properties.reset(bucket)
        return STORED

    # -- lists -----------------------------------------------------------------------------------

    async def keys(self, request: web.BaseRequest, target: Target, query: str) -> Reply | Stream:
        """GET of the keys of a bucket; on an old path along with its properties."""
        given = parse_query(query)
        wanted = given.get("keys")
        lists = wanted in ("true", "stream")
        # An old path without keys is one of properties, which know no timeout.
        asks_keys = lists or target.style is not Style.OLD
        timeout_s = _timeout_s(given, KEYS_TIMEOUT_MS) if asks_keys else 0.0
        if choose(request.headers.get("Accept"), ("application/json",)) is None:
            return NOT_ACCEPTABLE
        bucket = Bucket(target.bucket_type, target.bucket)
        properties = self._node.properties.of(bucket)
        if properties is None:
            return NO_PATH
        first: dict[str, object] = {}
        if target.style is Style.OLD and given.get("props") != "false":
            first = self._properties(target) or {}
        if not lists:
            lists_nothing = target.style is Style.OLD and not first
            return NO_PATH if lists_nothing else json_reply(first)
        encode_bucket(bucket)  # refused now if it is none, as long as a status can say so
        pages = self._node.listing.keys(
            bucket, properties.read_quorum(), properties.conflicts, timeout_s=timeout_s
        )
        if wanted == "true":
            return await _whole("keys", pages, first)
        return Stream(JSON + VARY, _streamed("keys", pages, first, old=target.style is Style.OLD))

    async def buckets(self, request: web.BaseRequest, target: Target, query: str) -> Reply | Stream:
        """GET of the buckets of a type that hold keys."""
        given = parse_query(query)
        timeout_s = _timeout_s(given, BUCKETS_TIMEOUT_MS)
        if choose(request.headers.get("Accept"), ("application/json",)) is None:
            return NOT_ACCEPTABLE
        properties = self._node.properties.of(Bucket(target.bucket_type, b""))
        if properties is None:
            return NO_PATH
        wanted = given.get("buckets")
        if wanted not in ("true", "stream"):
            return json_reply({"buckets": []})
        pages = self._node.listing.buckets(
            target.bucket_type,
            properties.read_quorum(),
            properties.conflicts,
            timeout_s=timeout_s,
        )
        if wanted == "true":
            return await _whole("buckets", pages, {})
        return Stream(JSON + VARY, _streamed("buckets", pages, {}, old=False))


def as_text(name: bytes) -> str:
    """A name for JSON; bytes that are no UTF-8 become lone surrogates."""
    return name.decode("utf-8", "surrogateescape")


def json_bytes(said: object) -> bytes:
    """JSON without blanks, in pure ASCII: clients decode streams in blocks, cut anywhere."""
    return json.dumps(said, separators=(",", ":")).encode()


def json_reply(said: object, status: int = 200) -> Reply:
    """An answer in JSON."""
    return Reply(status, JSON + VARY, json_bytes(said))


def _is_json(request: web.BaseRequest) -> bool:
    media_type = request.headers.get("Content-Type", "").partition(";")[0]
    return media_type.strip().lower() == "application/json"


def changes_in(body: bytes) -> Mapping[str, object] | None:
    """The properties in the body of a PUT; None if it has another form."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    changes = said.get("props") if isinstance(said, dict) else None
    return cast("Mapping[str, object]", changes) if isinstance(changes, dict) else None


def _timeout_s(given: Mapping[str, str], otherwise_ms: int) -> float:
    timeout_ms = timeout_of(given)
    return min(otherwise_ms if timeout_ms is None else timeout_ms, otherwise_ms) / 1000


async def _whole(
    name: str, pages: AsyncIterator[list[bytes]], first: Mapping[str, object]
) -> Reply:
    # Each page becomes JSON as it comes: all of them at once would hold up everybody else.
    parts: list[bytes] = []
    size = 0
    try:
        async for page in pages:
            part = json_bytes([as_text(entry) for entry in page])[1:-1]
            parts.append(part)
            size += len(part) + 1
            if size > LIST_BYTES_MAX:
                return json_reply({"error": f"longer than {LIST_BYTES_MAX} bytes: stream it"})
    except DynamoError as error:
        return json_reply({"error": _reason(error)})
    head = json_bytes({**first, name: []}).removesuffix(b"]}")
    return Reply(200, JSON + VARY, b"%b%b]}" % (head, b",".join(parts)))


async def _streamed(
    name: str, pages: AsyncIterator[list[bytes]], first: Mapping[str, object], *, old: bool
) -> AsyncGenerator[bytes, None]:
    if old:
        yield json_bytes(first)
    try:
        async for page in pages:
            yield json_bytes({name: [as_text(entry) for entry in page]})
    except DynamoError as error:
        yield json_bytes({"error": _reason(error)})
        return
    yield json_bytes({name: []})


def _reason(error: DynamoError) -> str:
    """In Riak's words, where it has some."""
    if isinstance(error, DeadlineExceeded):
        return "timeout"
    if isinstance(error, QuorumError):
        return "insufficient_vnodes_available"
    return str(error)
