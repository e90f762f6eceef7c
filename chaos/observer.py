"""What can be seen of a cluster from outside, past the mesh: figures, places, states of replicas.

The lab looks at the nodes' own doors, not through the links that it breaks, so it sees both sides
of a cut. Looking changes nothing: `/admin/local` reads one node's disk and repairs nobody.
"""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Final, Self, TypeVar, cast

from chaos.errors import ClusterError
from chaos.recording import HeldValue, Placement, ReplicaState
from dynamo.client.client import Client
from dynamo.errors import DynamoError

Place = tuple[str, str, str]
"""Bucket type, bucket, key."""

_LOOK_S_MAX: Final = 2.0
_DUMP_S_MAX: Final = 60.0
_AT_ONCE: Final = 8  # requests to one node

_T = TypeVar("_T")


class Observer:
    """Eyes on every node, for use inside `async with`."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        """Name the nodes and where each serves HTTP itself."""
        self._urls = dict(urls)
        self._eyes: dict[str, Client] = {}
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for node, url in self._urls.items():
            client = Client([url], timeout_s=_LOOK_S_MAX, rest_s=0.0)
            self._eyes[node] = await self._open.enter_async_context(client)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._open.aclose()

    async def figures(self, nodes: Iterable[str]) -> dict[str, dict[str, float]]:
        """The `/stats` of the nodes that answer, numbers only, and `up`: whom they take for up."""

        async def of(node: str) -> dict[str, float]:
            eye = self._eyes[node]
            stats, up = await asyncio.gather(eye.stats(), self.up(node))
            numbers = {
                name: value
                for name, value in stats.items()
                if isinstance(value, int | float) and not isinstance(value, bool)
            }
            return numbers | {"up": len(up)}

        return await self._of_each(nodes, of)

    async def up(self, node: str) -> frozenset[str]:
        """The members that a node takes to be up, itself included.

        Raises:
            DynamoError: it does not answer.
        """
        report = await self._eyes[node].members()
        members = cast("Sequence[Mapping[str, object]]", report["members"])
        return frozenset(str(m["node"]) for m in members if m["opinion"] == "up")

    async def locate(self, places: Iterable[Place]) -> tuple[Placement, ...]:
        """Where objects belong, as the first node sees it.

        Raises:
            ClusterError: it does not say.
        """
        eye = self._eyes[next(iter(self._urls))]

        async def of(place: Place) -> Placement:
            bucket_type, bucket, key = place
            found = await eye.bucket(bucket, bucket_type=bucket_type).locate(key)
            return Placement(
                bucket=bucket,
                key=key,
                primaries=_nodes(found["primaries"]),
                stand_ins=_nodes(found["stand_ins"]),
            )

        try:
            return tuple(await _few_at_once(places, of))
        except DynamoError as error:
            raise ClusterError(f"the cluster does not say where keys belong: {error}") from error

    async def dump(
        self,
        nodes: Sequence[str],
        places: Sequence[Place],
        primaries: Mapping[Place, Sequence[str]],
    ) -> tuple[ReplicaState, ...]:
        """What each of the nodes holds of each object.

        Raises:
            ClusterError: one does not say.
        """

        async def of_node(node: str) -> list[ReplicaState]:
            return await _few_at_once(
                places, lambda place: self._held(node, place, node in primaries[place])
            )

        try:
            async with asyncio.timeout(_DUMP_S_MAX):
                found = await asyncio.gather(*map(of_node, nodes))
        except (DynamoError, TimeoutError) as error:
            raise ClusterError(f"a node does not say what it holds: {error!r}") from error
        return tuple(state for states in found for state in states)

    async def divergent(
        self, places: Iterable[Place], primaries: Mapping[Place, Sequence[str]]
    ) -> int | None:
        """How many of the objects are not held alike by those of their homes that answer."""

        async def differs(place: Place) -> bool:
            held = await self._of_each(
                primaries[place], lambda node: self._held(node, place, primary=True)
            )
            return len({state.digest for state in held.values()}) > 1

        with suppress(DynamoError):
            return sum(await _few_at_once(places, differs))
        return None

    async def all_equal(self, nodes: Sequence[str]) -> bool:
        """Whether no hint is kept, and the hash trees of all replicas are equal."""
        figures = await self.figures(nodes)
        if len(figures) < len(nodes) or any(of["hints_held"] for of in figures.values()):
            return False
        with suppress(DynamoError):
            report = await self._eyes[nodes[0]].divergence(keys_max=1)
            partitions = cast("Sequence[Mapping[str, object]]", report["partitions"])
            return report["equal"] is True and not any(part["silent"] for part in partitions)
        return False

    async def _held(self, node: str, place: Place, primary: bool) -> ReplicaState:
        bucket_type, bucket, key = place
        found = await self._eyes[node].bucket(bucket, bucket_type=bucket_type).local(key)
        values = cast("Sequence[Mapping[str, object]]", found["values"])
        hints = cast("Sequence[Mapping[str, object]]", found["hints"])
        return ReplicaState(
            node=node,
            bucket=bucket,
            key=key,
            primary=primary,
            digest=cast("str | None", found["digest"]),
            values=tuple(
                HeldValue(
                    text=_text(str(value["body_base64"])),
                    deleted=value["deleted"] is True,
                    modified_at_ms=cast("int", value["modified_at_ms"]),
                )
                for value in values
            ),
            hinted_for=tuple(str(hint["for"]) for hint in hints),
        )

    async def _of_each(
        self, nodes: Iterable[str], of: Callable[[str], Awaitable[_T]]
    ) -> dict[str, _T]:
        """What `of` finds at each node that answers."""

        async def one(node: str) -> tuple[str, _T] | None:
            with suppress(DynamoError):
                return node, await of(node)
            return None

        return dict(filter(None, await asyncio.gather(*map(one, nodes))))


def _nodes(entries: object) -> tuple[str, ...]:
    return tuple(str(e["node"]) for e in cast("Sequence[Mapping[str, object]]", entries))


def _text(body_base64: str) -> str:
    try:
        return base64.b64decode(body_base64).decode()
    except (binascii.Error, UnicodeDecodeError):
        return f"not a text of this lab: {body_base64[:60]}"


_S = TypeVar("_S")


async def _few_at_once(items: Iterable[_S], of: Callable[[_S], Awaitable[_T]]) -> list[_T]:
    """`of` each, in order, a few at a time."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(item: _S) -> _T:
        async with places:
            return await of(item)

    return list(await asyncio.gather(*map(one, items)))
