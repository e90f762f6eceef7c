"""A cluster as an application uses it: several endpoints, one client.

    async with Client(["http://127.0.0.1:8098", "http://127.0.0.1:8099"]) as client:
        carts = client.bucket("carts", bucket_type="multi", resolve=union)
        cart = await carts.get("alice")
        await carts.put("alice", b"...", context=cart.context)

Any node answers for any key (Dynamo 4.3), so the endpoints are equal: they are used in turn, and
where one fails the next is asked if that is safe.
"""

import json
from collections.abc import Sequence
from types import TracebackType
from typing import Self
from urllib.parse import quote

from dynamo.client.answers import JsonObject, expect, json_object
from dynamo.client.buckets import BucketClient, OnReceipt
from dynamo.client.endpoints import Endpoints
from dynamo.client.errors import Unavailable
from dynamo.client.paths import Name, Option, name_bytes
from dynamo.client.transport import Request, Transport, checked_timeout_s
from dynamo.client.values import Resolver
from dynamo.core.ids import DEFAULT_BUCKET_TYPE, Bucket
from dynamo.errors import BadRequest


class Client:
    """Connections to one cluster, for use inside `async with`.

    What is asked of the cluster as such (`stats`, `members`, `ring`) is answered by one node, as
    that node sees it; a client of that endpoint alone asks a certain node.
    """

    def __init__(
        self, endpoints: Sequence[str], *, timeout_s: float = 10.0, rest_s: float = 2.0
    ) -> None:
        """Name the cluster; nothing is sent yet.

        Args:
            endpoints: `http://host:port` of one or more nodes.
            timeout_s: how long one operation may take, over all attempts and endpoints.
            rest_s: how long an endpoint that failed is tried last.

        Raises:
            ConfigError: an endpoint is no such URL, or there is none.
            BadRequest: `timeout_s` is no finite positive number.
        """
        self._endpoints = Endpoints(endpoints, rest_s=rest_s)
        self._timeout_s = checked_timeout_s(timeout_s)
        self._transport: Transport | None = None

    async def __aenter__(self) -> Self:
        self._transport = Transport(self._endpoints)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        transport, self._transport = self._opened(), None
        await transport.close()

    def bucket(
        self,
        name: Name,
        *,
        bucket_type: Name = DEFAULT_BUCKET_TYPE,
        resolve: Resolver | None = None,
        on_receipt: OnReceipt | None = None,
    ) -> BucketClient:
        """A bucket to work with.

        Args:
            name: the bucket.
            bucket_type: where its default properties come from.
            resolve: how to make one value of siblings; without it they raise `Conflict`.
            on_receipt: told what each replica did for each request for an object. These then take
                until every replica has answered, and not only as many as must.

        Raises:
            BadRequest: a name is empty or too long.
        """
        bucket = Bucket(name_bytes(bucket_type), name_bytes(name))
        return BucketClient(
            self._opened,
            bucket,
            timeout_s=self._timeout_s,
            resolve=resolve,
            on_receipt=on_receipt,
        )

    async def ping(self) -> None:
        """Return if a node answers."""
        request = Request(method="GET", path="/ping")
        expect(await self._opened().exchange(request, self._timeout_s), 200, read=True)

    async def stats(self) -> JsonObject:
        """A node's figures, by Riak's names."""
        return await self._report("/stats")

    async def members(self) -> JsonObject:
        """Who belongs to the cluster."""
        return await self._report("/admin/members")

    async def hints(self) -> JsonObject:
        """What a node keeps for others that were away."""
        return await self._report("/admin/hints")

    async def wait_for_hints(self, wait_s: float) -> bool:
        """Wait until what a node keeps for others now is gone; False if it is not in that time.

        The client's own `timeout_s` has to be longer.
        """
        option: tuple[Option, ...] = (("timeout_s", f"{wait_s:.3f}"),)
        request = Request(method="POST", path="/admin/hints/wait", options=option)
        try:
            answer = await self._opened().exchange(request, self._timeout_s)
        except Unavailable as error:
            if error.status == 503:
                return False
            raise
        expect(answer, 200, read=False)
        return True

    async def ring(self) -> JsonObject:
        """Who owns which partition."""
        return await self._report("/admin/ring")

    async def divergence(self, *, keys_max: int) -> JsonObject:
        """Whether the replicas of each partition are equal, and some of the keys that are not."""
        return await self._report("/admin/divergence", ("keys_max", str(keys_max)))

    async def tombstones(self) -> JsonObject:
        """How many deleted keys a node holds, and what those that are its to forget wait for."""
        return await self._report("/admin/tombstones")

    async def bucket_types(self) -> JsonObject:
        """All bucket types, and whether each is active."""
        return await self._report("/admin/bucket-types")

    async def bucket_type(self, name: str) -> JsonObject:
        """How far a bucket type has come, and its properties.

        Raises:
            Refused: there is none of that name; `status` is 404.
        """
        return await self._report(_type_path(name))

    async def create_bucket_type(self, name: str, properties: JsonObject) -> None:
        """Create a bucket type, or anew one that is not active.

        Raises:
            Refused: there can be no such type, or there is one in use.
        """
        await self._put_properties(_type_path(name), properties)

    async def activate_bucket_type(self, name: str) -> bool:
        """Let a bucket type be used. Returns False if it is active already.

        Raises:
            Refused: there is none of that name, or not every node knows it.
        """
        path = f"{_type_path(name)}/activate"
        request = Request(method="POST", path=path, is_idempotent=True)
        answer = await self._opened().exchange(request, self._timeout_s)
        return json_object(answer).get("was_active") is not True

    async def update_bucket_type(self, name: str, properties: JsonObject) -> None:
        """Change properties of a bucket type that is active.

        Raises:
            Refused: it is not, or they cannot be changed.
        """
        await self._put_properties(f"/types/{_quoted(name)}/props", properties)

    async def _put_properties(self, path: str, properties: JsonObject) -> None:
        request = Request(
            method="PUT",
            path=path,
            headers={"Content-Type": "application/json"},
            body=json.dumps({"props": properties}).encode(),
            is_idempotent=True,
        )
        expect(await self._opened().exchange(request, self._timeout_s), 204, read=False)

    async def remove(self, node: str, *, even_if_up: bool = False) -> None:
        """Remove a node from the cluster for good.

        Raises:
            Refused: it cannot be removed; `even_if_up` if it only must not be up.
        """
        force: tuple[Option, ...] = (("force", "true"),) if even_if_up else ()
        path = f"/admin/members/{quote(node, safe='')}"
        request = Request(method="DELETE", path=path, options=force)
        expect(await self._opened().exchange(request, self._timeout_s), 204, read=False)

    async def _report(self, path: str, *options: Option) -> JsonObject:
        request = Request(method="GET", path=path, options=options)
        return json_object(await self._opened().exchange(request, self._timeout_s))

    def _opened(self) -> Transport:
        if self._transport is None:
            raise BadRequest("the client is not open: use it inside `async with Client(...)`")
        return self._transport


def _type_path(name: str) -> str:
    return f"/admin/bucket-types/{_quoted(name)}"


def _quoted(name: str) -> str:
    """A bucket type's name in a path.

    Raises:
        BadRequest: it is none, or names another path.
    """
    if name in ("", ".", ".."):
        raise BadRequest(f"not the name of a bucket type: {name!r}")
    return quote(name_bytes(name), safe="")
