"""How a node tells its cluster something new: here at once, durably, everywhere else by gossip."""

from dynamo.core.facts import Fact
from dynamo.errors import OutcomeUnknown, Overloaded, StorageError
from dynamo.node.cluster_view import ClusterView
from dynamo.node.fact_memory import FactMemory
from dynamo.node.gossip import Gossip
from dynamo.node.joining import PUSH_PEERS_MAX


class Publisher:
    """Publishes facts that clients and operators make."""

    def __init__(self, view: ClusterView, memory: FactMemory, gossip: Gossip) -> None:
        self._view = view
        self._memory = memory
        self._gossip = gossip

    async def publish(self, fact: Fact, *, peers_max: int = PUSH_PEERS_MAX) -> None:
        """Return once the fact is on disk here and so many of the peers in reach were told.

        It is learnt before it is written down, or two changes that come at once would both follow
        on the same one and take each other's place.

        Raises:
            CodecError: the fact makes no sense, or there are too many.
            OutcomeUnknown: it holds, but is not on the disk here yet.
        """
        self._view.learn(fact)
        try:
            await self._memory.keep_durably(fact.name)
        except (StorageError, Overloaded) as error:
            raise OutcomeUnknown(
                f"it holds, but is not on this node's disk yet: {error}"
            ) from error
        await self._gossip.push(fact, peers_max=peers_max)
