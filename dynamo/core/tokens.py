"""Which tokens a joining node takes, so that the load gets level and nobody else's tokens move.

Dynamo's strategy 3 (6.2) gives each of S nodes Q/S tokens and deals tokens anew when S changes.
Here a token stays for as long as its node is a member, and a newcomer cuts spans short instead: a
token set inside a span takes the part of it that lies counter-clockwise.

    owner    A A A A A A|B B B|      the spans of two tokens
    owner    A A A A A A|C C|B|      C has taken two partitions from B, and moved nothing else

Here is decided who chooses when, and how many tokens; `dynamo.core.token_search` finds the places.
The answer depends on nothing but the arguments, so every node works out the same for everyone.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from dynamo.core.ids import NodeId
from dynamo.core.ring import RingMember, check_partitions, token_owners
from dynamo.core.token_search import Outcome, Situation, fair_shares, search
from dynamo.errors import ConfigError

TOKENS_PER_NODE = 7
"""Of a node of average weight; a few more where that makes the load more level.

More tokens spread the load of a lost node wider, but each owns at least its own partition, so all
of them must stay well below Q: Q=256 stays level to 30 nodes, Q=1024 to 100. The number is odd
because spans that halve evenly make patterns which hold back the level of three replicas.
"""

_MORE_TOKENS = (0, 1, 2)
"""Tried one after the other until the load is level."""

_NODES_MIN = 8
"""A ring too small for this many nodes of `TOKENS_PER_NODE` gives each fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Joiner:
    """A node that has no tokens yet; its fields mean what `RingMember`'s do."""

    node_id: NodeId
    weight: int = 1
    zone: str = ""


def choose_tokens(
    existing: Iterable[RingMember], joiners: Iterable[Joiner], partitions: int, n: int = 3
) -> dict[NodeId, tuple[int, ...]]:
    """The tokens that each joiner should take, given those that are taken.

    Joiners are served by node id, each seeing the choice of those before it, so nodes that start
    at the same moment work out one answer. The load is made level for one replica and for `n`.
    A ring that is nearly full gives newcomers fewer tokens, and so less load than their share.

    Raises:
        ConfigError: every partition is somebody's token already.
    """
    check_partitions(partitions)
    line = sorted(joiners, key=lambda joiner: joiner.node_id)
    members = sorted(existing, key=lambda member: member.node_id)
    ids = token_owners(members, partitions)
    holding = set(ids.values())
    nodes: list[RingMember | Joiner] = [m for m in members if m.node_id in holding]
    number = {node.node_id: i for i, node in enumerate(nodes)}
    owners = {token: number[node_id] for token, node_id in ids.items()}
    weight_of_all = sum(node.weight for node in [*nodes, *line])
    count_of_all = len(nodes) + len(line)
    chosen: dict[NodeId, tuple[int, ...]] = {}
    for joiner in line:
        nodes.append(joiner)
        if len(owners) == partitions:
            raise ConfigError(
                f"there is no room for {joiner.node_id}: all {partitions} partitions are tokens"
                f" of {len(nodes) - 1} other nodes"
            )
        situation = Situation(
            partitions=partitions,
            n=n,
            weights=[node.weight for node in nodes],
            zones=[node.zone for node in nodes],
            owners=dict(owners),
        )
        tokens = _choose(situation, joiner.weight * count_of_all / weight_of_all)
        owners.update(dict.fromkeys(tokens, len(nodes) - 1))
        chosen[joiner.node_id] = tokens
    return chosen


def _choose(situation: Situation, relative_weight: float) -> tuple[int, ...]:
    counts = _token_counts(situation, relative_weight)
    if not situation.owners:
        return tuple(situation.partitions * i // counts[0] - 1 for i in range(1, counts[0] + 1))
    outcomes = []
    for count in counts:
        outcomes.append(search(situation, count))
        if not outcomes[-1].overload:
            break
    return Outcome.best(outcomes).tokens


def _token_counts(situation: Situation, relative_weight: float) -> list[int]:
    """How many tokens the newcomer may try, best first.

    No more than the partitions of its share, and than half of those left: others will join.
    """
    share = fair_shares(situation.weights, situation.partitions, 1)[-1]
    most = min(int(share), (situation.partitions - len(situation.owners)) // 2)
    for_small_rings = situation.partitions // _NODES_MIN
    usual = (min(TOKENS_PER_NODE + more, for_small_rings) for more in _MORE_TOKENS)
    wanted = (round(count * relative_weight) for count in usual)
    return list(dict.fromkeys(max(1, min(count, most)) for count in wanted))
