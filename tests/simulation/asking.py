"""Reading and writing at one node of a simulated cluster, and what a client is shown."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

from dynamo.core.conflicts import shown
from dynamo.core.ids import DEFAULT_BUCKET_TYPE, Key
from dynamo.core.quorum import Conflicts, ReadQuorum, WriteQuorum
from dynamo.core.siblings import Context, Siblings
from dynamo.core.values import Value
from dynamo.node.coordinator import Written
from dynamo.node.node import Node
from dynamo.node.tracing import Trace
from tests.simulation.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a client was shown of a key; tombstones are in the context alone."""

    values: frozenset[str]
    context: Context


def seen_in(state: Siblings) -> Seen:
    """What a client is shown of a state, in a bucket that keeps siblings."""
    values = frozenset(
        value.body.decode() for _, value in shown(state, Conflicts.SIBLINGS) if not value.deleted
    )
    return Seen(values=values, context=state.context())


def key_of(name: str) -> Key:
    """A key in the one bucket of all simulations."""
    return Key(DEFAULT_BUCKET_TYPE, b"b", name.encode())


async def put(
    world: World,
    at: str,
    key: Key,
    text: str,
    quorum: WriteQuorum,
    *,
    context: Context | None = None,
    timeout_s: float = 10.0,
    return_state: bool = False,
) -> Written:
    """Write at a node; raises what the node raises, or `ProcessDied`."""
    return await world.call(
        at,
        lambda node: node.coordinator.put(
            key,
            Value(body=text.encode(), modified_at_ms=node.wall_ms()),
            context,
            quorum,
            Conflicts.SIBLINGS,
            timeout_s=timeout_s,
            return_state=return_state,
        ),
    )


async def get(
    world: World, at: str, key: Key, quorum: ReadQuorum, *, timeout_s: float = 10.0
) -> Siblings:
    """Read at a node; raises what the node raises, or `ProcessDied`."""
    return await world.call(at, lambda node: node.coordinator.get(key, quorum, timeout_s=timeout_s))


async def delete(
    world: World,
    at: str,
    key: Key,
    read: ReadQuorum,
    write: WriteQuorum,
    *,
    context: Context | None = None,
    timeout_s: float = 10.0,
    overhear: Callable[[Siblings], None] = lambda state: None,
) -> bool:
    """Delete at a node; raises what the node raises, or `ProcessDied`.

    Without a context the node reads before it deletes, and tells nobody what it found. The checks
    must know what a delete covers, so `overhear` is called with it.
    """

    async def deleted(node: Node) -> bool:
        coordinator = copy.copy(node.coordinator)

        async def get(
            key: Key, quorum: ReadQuorum, *, timeout_s: float, trace: Trace | None = None
        ) -> Siblings:
            state = await node.coordinator.get(key, quorum, timeout_s=timeout_s, trace=trace)
            overhear(state)
            return state

        coordinator.get = get  # type: ignore[method-assign]
        return await coordinator.delete(
            key, context, read, write, Conflicts.SIBLINGS, timeout_s=timeout_s
        )

    return await world.call(at, deleted)
