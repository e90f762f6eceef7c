"""What a node publishes holds at once; whether it is on the disk is said truly."""

from typing import cast

import pytest

from dynamo.core.facts import Fact
from dynamo.core.ids import DEFAULT_BUCKET_TYPE, Bucket, NodeId
from dynamo.core.property_book import PropertyBook
from dynamo.errors import OutcomeUnknown
from dynamo.node.cluster_view import ClusterView
from dynamo.node.fact_memory import FactMemory
from dynamo.node.gossip import Gossip
from dynamo.node.publishing import Publisher
from dynamo.storage.memory_engine import Disk, Fault, MemoryEngine

N1 = NodeId("n1")
BUCKET = Bucket(DEFAULT_BUCKET_TYPE, b"b")


class Pushes:
    """Takes the place of gossip."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []

    async def push(self, fact: Fact, *, peers_max: int) -> None:
        self.facts.append(fact)


class There:
    """A node's view, disk and gossip."""

    def __init__(self) -> None:
        self.view = ClusterView(N1, 8, PropertyBook({}, {}, claimant=N1))
        self.engine = MemoryEngine(Disk())
        self.pushes = Pushes()
        self.publisher = Publisher(
            self.view, FactMemory(self.engine, self.view.facts), cast("Gossip", self.pushes)
        )

    async def publish(self, r: int) -> None:
        await self.publisher.publish(self.view.properties.changed(BUCKET, {"r": r}, N1))

    @property
    def r(self) -> object:
        properties = self.view.properties.of(BUCKET)
        return None if properties is None else properties.r


async def test_what_is_published_holds_and_others_are_told() -> None:
    there = There()
    await there.publish(1)
    assert there.r == 1
    assert len(there.pushes.facts) == 1


async def test_what_holds_but_is_not_on_the_disk_is_not_said_to_have_had_no_effect() -> None:
    there = There()
    there.engine.fail_next_commit(Fault.FULL)
    with pytest.raises(OutcomeUnknown, match="it holds, but is not on this node's disk") as failed:
        await there.publish(1)
    assert not failed.value.definite
    assert there.r == 1
