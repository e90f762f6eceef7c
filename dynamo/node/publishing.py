"""How a node tells its cluster something new: here at once, durably, everywhere else by gossip."""

from dynamo.core.facts import Fact
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

        Raises:
            CodecError: the fact makes no sense, or there are too many.
            StorageError: it could not be written down here; gossip may spread it all the same.
            Overloaded: too much waits for the disk; likewise.
        """
        self._view.learn(fact)
        await self._memory.keep_durably(fact.name)
        await self._gossip.push(fact, peers_max=peers_max)
