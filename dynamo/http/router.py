"""Which handler answers a request: the table of resources and methods, and what is asked before.

No application and no router of a framework stand between the server and the handlers.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from dynamo.core.figures import Figure
from dynamo.errors import NotReady
from dynamo.http.admin import Admin
from dynamo.http.bucket_types import BucketTypes
from dynamo.http.buckets import Buckets
from dynamo.http.description import Description
from dynamo.http.exchange import BodyReader
from dynamo.http.failures import WRITING
from dynamo.http.metrics import Metrics
from dynamo.http.objects import Objects
from dynamo.http.preflist import Preflist
from dynamo.http.reply import FORBIDDEN, NO_PATH, NOT_IMPLEMENTED, Reply, Stream, page
from dynamo.http.routes import Resource, Target, resolve
from dynamo.http.served import ServedNode
from dynamo.http.server_info import ServerInfo

PROPERTIES_BYTES_MAX: Final = 128 * 1024
"""Of a body with properties. A bucket may have 64 KiB of them; to read so much JSON, look at it and
write it again takes some milliseconds on the loop."""

_PROPERTIES_AT_ONCE: Final = 64

_KNOWN_METHODS: Final = WRITING | {"GET", "HEAD", "OPTIONS", "TRACE", "CONNECT"}
_ALWAYS_THERE: Final = frozenset(
    {
        Resource.ROOT,
        Resource.STATS,
        Resource.METRICS,
        Resource.DESCRIPTION,
        Resource.ADMIN_MEMBERS,
        Resource.ADMIN_RING,
        Resource.ADMIN_LOCATE,
        Resource.ADMIN_LOCAL,
        Resource.ADMIN_TOMBSTONES,
        Resource.ADMIN_HINTS,
        Resource.ADMIN_HINTS_WAIT,
    }
)
"""What a node answers before it has joined: questions about itself."""

Handler = Callable[[web.BaseRequest, Target, str], Awaitable[Reply | Stream]]


class Router:
    """Knows the handlers of all resources."""

    def __init__(
        self,
        node: ServedNode,
        info: ServerInfo,
        figures: Sequence[Figure],
        *,
        reading_bytes_max: int,
    ) -> None:
        """Ready.

        Args:
            node: the node served.
            info: answers questions about the server.
            figures: what the interface counts itself.
            reading_bytes_max: of all bodies of objects on their way in.
        """
        self._node = node
        bodies = BodyReader(
            body_bytes_max=node.config.object_bytes_max, reading_bytes_max=reading_bytes_max
        )
        small_bodies = BodyReader(
            body_bytes_max=PROPERTIES_BYTES_MAX,
            reading_bytes_max=_PROPERTIES_AT_ONCE * PROPERTIES_BYTES_MAX,
        )
        objects = Objects(node, bodies)
        buckets = Buckets(node, small_bodies)
        admin = Admin(node)
        types = BucketTypes(node, small_bodies)
        metrics = Metrics((*node.operations.figures, *figures), node.config.node_id)
        properties = {**_get(buckets.read_properties), "PUT": buckets.change_properties}
        self._handlers: Mapping[Resource, Mapping[str, Handler]] = {
            Resource.ROOT: _get(info.root),
            Resource.PING: _get(info.ping),
            Resource.STATS: _get(info.stats),
            Resource.METRICS: _get(metrics.scrape),
            Resource.DESCRIPTION: _get(Description().read),
            Resource.OBJECT: {
                **_get(objects.read),
                "POST": objects.store,
                "PUT": objects.store,
                "DELETE": objects.delete,
            },
            Resource.PREFLIST: _get(Preflist(node).read),
            Resource.KEYS: {**_get(buckets.keys), "POST": objects.store},
            Resource.BUCKETS: _get(buckets.buckets),
            Resource.OLD_BUCKET: {
                **_get(buckets.keys),
                "PUT": buckets.change_properties,
                "POST": objects.store,
            },
            Resource.BUCKET_PROPERTIES: {**properties, "DELETE": buckets.reset_properties},
            Resource.TYPE_PROPERTIES: properties,
            Resource.ADMIN_MEMBERS: _get(admin.members),
            Resource.ADMIN_MEMBER: {"DELETE": admin.remove},
            Resource.ADMIN_RING: _get(admin.ring),
            Resource.ADMIN_LOCATE: _get(admin.locate),
            Resource.ADMIN_LOCAL: _get(admin.local),
            Resource.ADMIN_HINTS: _get(admin.hints),
            Resource.ADMIN_HINTS_WAIT: {"POST": admin.wait_for_hints},
            Resource.ADMIN_DIVERGENCE: _get(admin.divergence),
            Resource.ADMIN_TOMBSTONES: _get(admin.tombstones),
            Resource.ADMIN_BUCKET_TYPES: _get(types.list),
            Resource.ADMIN_BUCKET_TYPE: {**_get(types.status), "PUT": types.create},
            Resource.ADMIN_BUCKET_TYPE_ACTIVATE: {"POST": types.activate},
        }

    @property
    def methods(self) -> Mapping[Resource, frozenset[str]]:
        """What can be asked of each resource."""
        return {resource: frozenset(of_it) for resource, of_it in self._handlers.items()}

    async def reply(self, request: web.BaseRequest) -> Reply | Stream:
        """The answer of the handler that is responsible, or why there is none.

        Raises:
            NotReady: this node does not serve yet.
            DynamoError: whatever comes of it.
        """
        path, _, query = request.raw_path.partition("#")[0].partition("?")
        route = resolve(path)
        if route is None:
            return NO_PATH
        resource, target = route
        handlers = self._handlers[resource]
        handler = handlers.get(request.method)
        if handler is None:
            if request.method not in _KNOWN_METHODS:
                return NOT_IMPLEMENTED
            return page(405, f"Allow: {', '.join(_advertised(resource, handlers))}\r\n")
        if _is_forged(request.headers):
            return FORBIDDEN
        if not self._node.serving and resource not in _ALWAYS_THERE:
            raise NotReady("joining")
        return await handler(request, target, query)


def _get(handler: Handler) -> dict[str, Handler]:
    return {"HEAD": handler, "GET": handler}


def _advertised(resource: Resource, handlers: Mapping[str, Handler]) -> list[str]:
    """Methods for `Allow`.

    A list of keys does not mention that objects can be posted to it: these are two resources on one
    path, and Riak speaks of the one that a GET would find.
    """
    lists = resource in (Resource.KEYS, Resource.OLD_BUCKET)
    return [method for method in handlers if not (lists and method == "POST")]


def _is_forged(headers: Mapping[str, str]) -> bool:
    """Whether a page of another origin made a browser send this (Riak's checks)."""
    if headers.get("Origin") == "null":
        return True
    referer = headers.get("Referer")
    if referer is None:
        return False
    try:
        origin = urlsplit(referer)
        return origin.scheme != "http" or origin.netloc.lower() != headers.get("Host", "").lower()
    except ValueError:
        return True
