"""Changing the properties of buckets."""

from collections.abc import Mapping

from dynamo.core.ids import BUCKET_BYTES_MAX, Bucket
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
        if len(bucket.bucket) > BUCKET_BYTES_MAX:
            raise BadRequest(
                f"a bucket has 1 to {BUCKET_BYTES_MAX} bytes, got {len(bucket.bucket)}"
            )
        fact = self._view.properties.changed(bucket, changes, self._view.me)
        await self._publisher.publish(fact)

    async def reset(self, bucket: Bucket) -> None:
        """Give a bucket its type's properties back.

        Raises:
            StorageError: as `change`.
        """
        fact = self._view.properties.reset(bucket, self._view.me)
        if fact is not None:
            await self._publisher.publish(fact)
