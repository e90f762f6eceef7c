"""Changing the properties of buckets."""

from collections.abc import Mapping

from dynamo.core.facts import NAME_BYTES_MAX, Fact
from dynamo.core.ids import Bucket
from dynamo.errors import BadRequest
from dynamo.node.cluster_view import ClusterView
from dynamo.node.publishing import Publisher


class BucketProperties:
    """Publishes what clients set."""

    def __init__(self, view: ClusterView, publisher: Publisher) -> None:
        self._view = view
        self._publisher = publisher

    async def change(self, bucket: Bucket, changes: Mapping[str, object]) -> None:
        """Change properties of a bucket.

        Raises:
            BadRequest: the changes are refused.
            StorageError: they could not be written down here; gossip may spread them all the same.
        """
        await self._publish(self._view.properties.changed(bucket, changes, self._view.me))

    async def reset(self, bucket: Bucket) -> None:
        """Give a bucket its type's properties back."""
        fact = self._view.properties.reset(bucket, self._view.me)
        if fact is not None:
            await self._publish(fact)

    async def _publish(self, fact: Fact) -> None:
        if len(fact.name) > NAME_BYTES_MAX:
            raise BadRequest("the bucket's name is too long to have properties of its own")
        await self._publisher.publish(fact)
