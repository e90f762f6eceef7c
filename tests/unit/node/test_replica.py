"""What a replica refuses."""

import random

import pytest

from dynamo.core.codec import decode_value, encode_value
from dynamo.core.values import Value
from dynamo.errors import BadRequest, CodecError
from dynamo.node.replica import Replica
from dynamo.node.stats import Counters
from dynamo.rpc.messages import ListKeys
from dynamo.storage.hints import HintStore
from dynamo.storage.memory_engine import Disk, MemoryEngine
from dynamo.storage.objects import ObjectStore


@pytest.mark.parametrize("partition", [-1, 8, 70_000])
async def test_partitions_that_do_not_exist_are_not_listed(partition: int) -> None:
    engine = MemoryEngine(Disk())
    objects = ObjectStore(engine, lambda key: 0, random.Random(1))
    replica = Replica(objects, HintStore(engine), Counters(), lambda: 0, partitions=8)
    with pytest.raises(BadRequest, match="no partition"):
        replica.list_keys(ListKeys(partition, b"", b"", 10, buckets_only=False))


@pytest.mark.parametrize("modified_at_ms", [-1, 2**53 + 1])
def test_a_value_of_an_impossible_time_is_none(modified_at_ms: int) -> None:
    with pytest.raises(CodecError, match="of the time"):
        decode_value(encode_value(Value(body=b"x", modified_at_ms=modified_at_ms)))
