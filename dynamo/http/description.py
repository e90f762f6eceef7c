"""`/openapi.json`: the interface described for people and programs, in OpenAPI 3.1."""

from importlib.metadata import version

from aiohttp import web

from dynamo.http.negotiation import choose
from dynamo.http.openapi.document import document_bytes
from dynamo.http.reply import JSON, NOT_ACCEPTABLE, VARY, Reply
from dynamo.http.routes import Target

_FORMS = ("application/json", "application/vnd.oai.openapi+json")


class Description:
    """The handler for `/openapi.json`."""

    def __init__(self) -> None:
        self._version = version("dynamo")

    async def read(self, request: web.BaseRequest, target: Target, query: str) -> Reply:
        """GET of the description."""
        if choose(request.headers.get("Accept"), _FORMS) is None:
            return NOT_ACCEPTABLE
        return Reply(200, JSON + VARY, document_bytes(self._version))
