"""`/admin/bucket-types`: which bucket types there are, and making new ones.

    /admin/bucket-types             all types, and whether each is active
    /admin/bucket-types/T           how far type T has come, and its properties; PUT creates it,
                                    with {"props":{...what differs from the defaults of types...}}
    /admin/bucket-types/T/activate  POST lets it be used, once every node knows it

The properties of a type that is active are changed as Riak has it, by PUT of `/types/T/props`.
"""

from aiohttp import web

from dynamo.http.buckets import as_text, changes_in, json_reply
from dynamo.http.exchange import BodyReader
from dynamo.http.reply import STORED, Reply, text
from dynamo.http.routes import Target
from dynamo.http.served import ServedNode

_BAD_BODY = 'a bucket type is created by a JSON object of the form {"props":{...}}\n'


class BucketTypes:
    """Handlers for `/admin/bucket-types`."""

    def __init__(self, node: ServedNode, bodies: BodyReader) -> None:
        self._node = node
        self._bodies = bodies

    async def list(self, request: web.BaseRequest, target: Target, query: str) -> Reply:
        """All types, the default one first."""
        known = self._node.bucket_types.known()
        types = [{"name": as_text(name), "active": active} for name, active in known.items()]
        return json_reply({"types": types})

    async def status(self, request: web.BaseRequest, target: Target, query: str) -> Reply:
        """How far a type has come; nodes that have not heard of it are told of it."""
        status = await self._node.bucket_types.status(target.bucket_type)
        if status is None:
            return _unknown(target)
        return json_reply(
            {
                "name": as_text(target.bucket_type),
                "active": status.active,
                "created": status.created,
                "unaware": status.unaware,
                "props": status.everything,
            }
        )

    async def create(self, request: web.BaseRequest, target: Target, query: str) -> Reply:
        """Create a type, or anew one that is not active yet."""
        body = await self._bodies.read(request)
        if isinstance(body, Reply):
            return body
        given = changes_in(body)
        if given is None:
            return text(400, _BAD_BODY)
        await self._node.bucket_types.create(target.bucket_type, given)
        return STORED

    async def activate(self, request: web.BaseRequest, target: Target, query: str) -> Reply:
        """Let a type be used."""
        if target.bucket_type not in self._node.bucket_types.known():
            return _unknown(target)
        is_new = await self._node.bucket_types.activate(target.bucket_type)
        return json_reply({"name": as_text(target.bucket_type), "was_active": not is_new})


def _unknown(target: Target) -> Reply:
    return text(404, f"{as_text(target.bucket_type)} is not an existing bucket type\n")
