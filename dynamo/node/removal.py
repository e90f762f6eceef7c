"""Removing a node from the cluster for good, by an operator's word (Dynamo 4.8.1).

Being away changes nothing about who belongs to the cluster; this does. The removed node's part of
the ring falls to others, who get their copies from the replicas that are left, and hints kept for
it go to them too. It never comes back: what it holds may have been deleted and forgotten since, so
its name stays removed and its requests are refused. A machine that is to serve again gets a new
name and an empty directory.
"""

import logging

from dynamo.core.ids import NodeId
from dynamo.core.membership import MemberState
from dynamo.errors import BadRequest
from dynamo.node.cluster_view import ClusterView
from dynamo.node.publishing import Publisher

log = logging.getLogger(__name__)


class Removal:
    """Removes other nodes."""

    def __init__(self, view: ClusterView, publisher: Publisher) -> None:
        self._view = view
        self._publisher = publisher

    async def remove(self, node: NodeId, *, even_if_up: bool) -> None:
        """Remove `node`; every node hears of it by gossip. Removing it again changes nothing.

        Args:
            node: whom; not this node itself, which could not tell the others any more.
            even_if_up: also if it can be reached. What only it holds is lost then.

        Raises:
            BadRequest: it is not known, this node itself, the last that holds a part of the ring,
                or can be reached.
            StorageError: the removal could not be written down here; gossip may spread it all the
                same.
        """
        view = self._view
        record = view.membership.get(node)
        if record is None:
            raise BadRequest(f"{node} is not known here")
        if record.state is MemberState.REMOVED:
            return
        if node == view.me:
            raise BadRequest(f"{node} cannot remove itself: ask another node")
        if [holder.node_id for holder in view.membership.holders()] == [node]:
            raise BadRequest(f"{node} is the last node that holds a part of the ring")
        if node in view.reachable and not even_if_up:
            raise BadRequest(f"{node} is up: stop it first, or what only it holds is lost")
        log.warning("a node is removed", extra={"member": node})
        await self._publisher.publish(record.removed().to_fact())
