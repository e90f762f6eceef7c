"""Reading and writing at one node of a simulated cluster, and what a client is shown."""

from dataclasses import dataclass

from dynamo.core.conflicts import shown
from dynamo.core.ids import DEFAULT_BUCKET_TYPE, Key
from dynamo.core.quorum import Conflicts, ReadQuorum, WriteQuorum
from dynamo.core.siblings import Context, Siblings
from dynamo.core.values import Value
from dynamo.node.coordinator import Written
from tests.simulation.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a client was shown of a key."""

    values: frozenset[str]
    context: Context


def seen_in(state: Siblings) -> Seen:
    """What a client is shown of a state, in a bucket that keeps siblings."""
    values = frozenset(value.body.decode() for _, value in shown(state, Conflicts.SIBLINGS))
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
