"""Values that are known to be large are read one or two at a time."""

import asyncio

import pytest

from dynamo.core.ids import Key
from dynamo.core.quorum import ReadQuorum
from dynamo.core.siblings import Siblings
from dynamo.http import large_reads
from dynamo.http.app import HttpServer
from dynamo.http.large_reads import AT_ONCE_MAX, VALUE_BYTES, LargeReads
from dynamo.node.tracing import Trace
from tests.unit.http.fake_node import FakeCoordinator, FakeNode
from tests.unit.http.talk import connected

K = "/buckets/b/keys/k"


class CountingCoordinator(FakeCoordinator):
    """Reads take some turns of the loop, and until they may end."""

    at_once = at_once_max = 0
    may_end = asyncio.Event()

    async def get(
        self, key: Key, quorum: ReadQuorum, *, timeout_s: float, trace: Trace | None = None
    ) -> Siblings:
        self.at_once += 1
        self.at_once_max = max(self.at_once, self.at_once_max)
        try:
            for _ in range(20):
                await asyncio.sleep(0)
            await self.may_end.wait()
            return await super().get(key, quorum, timeout_s=timeout_s, trace=trace)
        finally:
            self.at_once -= 1


@pytest.mark.parametrize(
    ("size", "at_once_max"), [(VALUE_BYTES, 10), (VALUE_BYTES + 1, AT_ONCE_MAX)]
)
@pytest.mark.parametrize("is_read_first", [False, True])
async def test_few_large_values_are_read_at_once(
    size: int, at_once_max: int, is_read_first: bool
) -> None:
    node = FakeNode(object_bytes_max=2**22)
    node.coordinator = coordinator = CountingCoordinator(node.wall_ms)
    coordinator.may_end = asyncio.Event()
    coordinator.may_end.set()
    servers = [HttpServer(node, node.config) for _ in range(2)]
    for server in servers:
        await server.start()
    asked = servers[is_read_first]  # the second has stored nothing itself
    async with connected(servers[0]) as talk, connected(asked) as other:
        await talk.put(K, bytes(size))
        if is_read_first:
            await other.get(K)
    coordinator.at_once_max = 0

    async def read() -> bytes:
        async with connected(asked) as talk:
            return (await talk.get(K)).body

    assert set(await asyncio.gather(*(read() for _ in range(10)))) == {bytes(size)}
    assert coordinator.at_once_max <= at_once_max
    for server in servers:
        await server.stop()


async def test_who_gets_no_turn_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_reads, "TURN_S_MAX", 0.01)
    node = FakeNode(object_bytes_max=2**22)
    node.coordinator = coordinator = CountingCoordinator(node.wall_ms)
    coordinator.may_end = asyncio.Event()
    server = HttpServer(node, node.config)
    await server.start()
    async with connected(server) as one, connected(server) as two, connected(server) as three:
        await one.put(K, bytes(VALUE_BYTES + 1))
        waiting = [asyncio.create_task(talk.get(K)) for talk in (one, two)]
        async with asyncio.timeout(10.0):
            while coordinator.at_once < AT_ONCE_MAX:  # noqa: ASYNC110
                await asyncio.sleep(0)
        told = await three.get(K)
        assert (told.status, told.headers["retry-after"]) == (503, "1")
        assert told.text == "too many large values are being read\n"
        coordinator.may_end.set()
        assert [(await answer).status for answer in waiting] == [200, 200]
    await server.stop()


def test_so_many_keys_are_remembered_and_no_more() -> None:
    reads = LargeReads()
    keys = [Key(b"default", b"b", b"%d" % i) for i in range(5000)]
    for key in keys:
        reads.note(key)
    assert sum(reads.expects(key) for key in keys) == 4096
    assert reads.expects(keys[-1])
    assert not reads.expects(keys[0])
