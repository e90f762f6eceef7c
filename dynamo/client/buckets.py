"""One bucket as an application uses it: get, put, delete, update, list, describe."""

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace

from dynamo.client.answers import Answer, Json, JsonObject, expect, found, json_object, was_there
from dynamo.client.errors import BadAnswer
from dynamo.client.headers import RECEIPT, VCLOCK, write_headers
from dynamo.client.listing import Listing
from dynamo.client.paths import Name, Option, Quorum, admin_path, bucket_path, key_path, name_bytes
from dynamo.client.transport import Request, Transport
from dynamo.client.values import Context, Found, Resolver
from dynamo.core.ids import Bucket, Key
from dynamo.core.receipts import Receipt, decode_receipt
from dynamo.core.values import Value
from dynamo.errors import BadRequest, CodecError, DynamoError

DEFAULT_CONTENT_TYPE = "application/octet-stream"

OnReceipt = Callable[[Receipt], None]
"""Told what each replica did for a request, also where it failed, before the request returns."""

LISTING_S = 300.0
"""How long a listing may take: it reads every key of the bucket."""

# Siblings whole and at once; a server that knows only the lone form is fine too.
_ACCEPT = {"accept": "multipart/mixed, */*;q=0.9"}


class BucketClient:
    """One bucket of a cluster. Made by `Client.bucket`.

    The quorum options say how many replicas must answer, `sloppy_quorum` whether stand-ins may be
    among them, all in Riak's terms; left out, the bucket's properties hold. `timeout_s` covers all
    attempts together.

    Every method may raise the errors that dynamo/client/errors.py draws.
    """

    def __init__(
        self,
        transport: Callable[[], Transport],
        bucket: Bucket,
        *,
        timeout_s: float,
        resolve: Resolver | None,
        on_receipt: OnReceipt | None = None,
    ) -> None:
        self._transport = transport
        self._bucket = bucket
        self._path = bucket_path(bucket)
        self._timeout_s = timeout_s
        self._resolve = resolve
        self._on_receipt = on_receipt

    async def get(
        self,
        key: Name,
        *,
        r: Quorum | None = None,
        pr: Quorum | None = None,
        node_confirms: Quorum | None = None,
        basic_quorum: bool | None = None,
        notfound_ok: bool | None = None,
        sloppy_quorum: bool | None = None,
        timeout_s: float | None = None,
    ) -> Found:
        """What is stored under `key`; a missing key is an answer, not an error."""
        options: list[Option] = [
            ("r", r),
            ("pr", pr),
            ("node_confirms", node_confirms),
            ("basic_quorum", basic_quorum),
            ("notfound_ok", notfound_ok),
            ("sloppy_quorum", sloppy_quorum),
        ]
        path = key_path(self._key(key))
        request = Request(method="GET", path=path, options=options, headers=_ACCEPT)
        answer = await self._ask(request, timeout_s)
        return found(answer, read=True, resolve=self._resolve)

    async def put(
        self,
        key: Name,
        value: Value | bytes,
        *,
        content_type: str | None = None,
        context: Context | None = None,
        w: Quorum | None = None,
        pw: Quorum | None = None,
        dw: Quorum | None = None,
        node_confirms: Quorum | None = None,
        sloppy_quorum: bool | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """Store `value` in place of everything that `context` has seen.

        Without a context the write is concurrent with whatever is there. `content_type` belongs
        to plain bytes; a `Value` has its own.
        """
        options: list[Option] = [("w", w), ("pw", pw), ("dw", dw), ("node_confirms", node_confirms)]
        options.append(("sloppy_quorum", sloppy_quorum))
        request = self._write(key, _as_value(value, content_type), context, options)
        answer = await self._ask(request, timeout_s)
        expect(answer, 204, read=False)

    async def put_returning(
        self,
        key: Name,
        value: Value | bytes,
        *,
        content_type: str | None = None,
        context: Context | None = None,
        w: Quorum | None = None,
        pw: Quorum | None = None,
        dw: Quorum | None = None,
        node_confirms: Quorum | None = None,
        sloppy_quorum: bool | None = None,
        timeout_s: float | None = None,
    ) -> Found:
        """As `put`, and show what is there after it, with the context for the next write."""
        options: list[Option] = [("w", w), ("pw", pw), ("dw", dw), ("node_confirms", node_confirms)]
        options += [("sloppy_quorum", sloppy_quorum), ("returnbody", True)]
        request = self._write(key, _as_value(value, content_type), context, options)
        answer = await self._ask(request, timeout_s)
        return found(answer, read=False, resolve=self._resolve)

    async def delete(
        self,
        key: Name,
        *,
        context: Context | None = None,
        r: Quorum | None = None,
        pr: Quorum | None = None,
        w: Quorum | None = None,
        pw: Quorum | None = None,
        dw: Quorum | None = None,
        sloppy_quorum: bool | None = None,
        timeout_s: float | None = None,
    ) -> bool:
        """Delete everything that `context` has seen; without one, what the server sees now.

        Returns:
            False if there was nothing.
        """
        options: list[Option] = [("r", r), ("pr", pr), ("w", w), ("pw", pw), ("dw", dw)]
        options.append(("sloppy_quorum", sloppy_quorum))
        headers = {} if context is None else {VCLOCK: str(context)}
        path = key_path(self._key(key))
        request = Request(method="DELETE", path=path, options=options, headers=headers)
        answer = await self._ask(request, timeout_s)
        return was_there(answer)

    async def update(
        self,
        key: Name,
        change: Callable[[Value | None], Value | bytes | None],
        *,
        timeout_s: float | None = None,
    ) -> Value | None:
        """Read, change, write, with the context carried from the read to the write.

        This excludes nobody: two updates at once leave siblings, which the resolver makes one of
        at the next read.

        Args:
            key: what to update.
            change: from the value there (None if none) to the new one; None leaves it as it is.
                Bytes keep the content type of what was there.
            timeout_s: for the read and for the write, each.

        Returns:
            What was written, or None.
        """
        found_before = await self.get(key, timeout_s=timeout_s)
        before = found_before.value
        changed = change(before)
        if changed is None:
            return None
        value = _as_value(changed, None if before is None else before.content_type)
        await self.put(key, value, context=found_before.context, timeout_s=timeout_s)
        return value

    async def list_keys(self, *, timeout_s: float = LISTING_S) -> AsyncIterator[str]:
        """The keys of the bucket in no order, as the cluster finds them; costly."""
        listing = Listing("keys")
        request = Request(method="GET", path=f"{self._path}/keys", options=[("keys", "stream")])
        async for chunk in self._transport().stream(request, timeout_s):
            for key in listing.feed(chunk):
                yield key
        if not listing.finished:
            raise BadAnswer("a listing that breaks off", definite=True)

    async def properties(self) -> JsonObject:
        """The bucket's properties, by name."""
        answer = await self._exchange(Request(method="GET", path=f"{self._path}/props"))
        properties = json_object(answer).get("props")
        if not isinstance(properties, dict):
            raise BadAnswer("bucket properties without 'props'", definite=True)
        return properties

    async def set_properties(self, changes: Mapping[str, Json]) -> None:
        """Change some properties; the others stay."""
        body = json.dumps({"props": dict(changes)}).encode()
        headers = {"content-type": "application/json"}
        path = f"{self._path}/props"
        request = Request(method="PUT", path=path, headers=headers, body=body, is_idempotent=True)
        expect(await self._exchange(request), 204, read=False)

    async def reset_properties(self) -> None:
        """Back to the bucket type's properties."""
        request = Request(method="DELETE", path=f"{self._path}/props", is_idempotent=True)
        expect(await self._exchange(request), 204, read=False)

    async def locate(self, key: Name) -> JsonObject:
        """Which partition and which nodes `key` belongs to."""
        return await self._report("locate", key)

    async def local(self, key: Name) -> JsonObject:
        """What the node that answers holds for `key` itself."""
        return await self._report("local", key)

    async def _report(self, report: str, key: Name) -> JsonObject:
        path = admin_path(report, self._key(key))
        return json_object(await self._exchange(Request(method="GET", path=path)))

    async def _exchange(self, request: Request) -> Answer:
        return await self._transport().exchange(request, self._timeout_s)

    def _write(
        self, key: Name, value: Value, context: Context | None, options: list[Option]
    ) -> Request:
        return Request(
            method="PUT",
            path=key_path(self._key(key)),
            options=options,
            headers=_ACCEPT | write_headers(value, context),
            body=value.body,
        )

    async def _ask(self, request: Request, timeout_s: float | None) -> Answer:
        """The answer to a request for an object, with its receipt if one is wanted."""
        time_s = self._timeout_s if timeout_s is None else timeout_s
        if self._on_receipt is None:
            return await self._transport().exchange(request, time_s)
        request = replace(request, options=[*request.options, ("trace", True)])
        try:
            answer = await self._transport().exchange(request, time_s)
        except DynamoError as error:
            self._tell(error.receipt)
            raise
        self._tell(answer.headers.get(RECEIPT, ""))
        return answer

    def _tell(self, receipt: str) -> None:
        if receipt and self._on_receipt is not None:
            with contextlib.suppress(CodecError):  # what was done stands, with or without receipt
                self._on_receipt(decode_receipt(receipt))

    def _key(self, key: Name) -> Key:
        return Key(*self._bucket, name_bytes(key))


def _as_value(value: Value | bytes, content_type: str | None) -> Value:
    if isinstance(value, Value):
        return value
    if not isinstance(value, bytes):
        raise BadRequest(f"a value is bytes or a Value, and this is of type {type(value).__name__}")
    return Value(body=value, content_type=content_type or DEFAULT_CONTENT_TYPE)
