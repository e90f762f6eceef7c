"""All workloads on real nodes that nobody breaks: everything is answered, and nothing is lost."""

import asyncio
from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest

from chaos.clients import History, LabClient
from chaos.load import Load, Stream
from chaos.modes import BUCKET_TYPES, Conflicts, Mode
from chaos.observer import Observer
from chaos.recording import Operation, Outcome
from chaos.workloads.blind import Blind
from chaos.workloads.cart import Cart
from chaos.workloads.deletes import Deletes
from chaos.workloads.elements import cart_outcome, set_outcome
from chaos.workloads.registers import Registers
from chaos.workloads.set_add import SetAdd
from dynamo.cluster import LocalCluster
from dynamo.config import ClusterConfig, NodeConfig
from dynamo.core.ids import NodeId
from dynamo.settings import Settings
from tests.cluster.harness import free_base_port

pytestmark = pytest.mark.cluster

MODE = Mode(r=2, w=2, sloppy=False)
LWW = Mode(r=2, w=2, sloppy=False, conflicts=Conflicts.LWW)
LOAD_S = 2.0


async def test_on_a_healthy_cluster_all_is_answered_and_no_element_is_lost(tmp_path: Path) -> None:
    shared = Settings(
        cluster=ClusterConfig(bucket_types=BUCKET_TYPES),
        node=NodeConfig(node_id=NodeId("n1"), data_dir=Path("data")),
    )
    cluster = LocalCluster(tmp_path / "data", nodes=3, base_port=free_base_port(3), shared=shared)
    loop = asyncio.get_running_loop()
    history = History(loop.time)
    several = [Registers(MODE, keys=20), SetAdd(MODE), Cart(MODE, keys=2), Deletes(MODE)]
    locked = SetAdd(LWW, lock=asyncio.Lock(), name="set-add-locked")
    workloads = [*several, locked, Blind(MODE, keys=2)]
    async with AsyncExitStack() as put_away:
        await put_away.enter_async_context(cluster)
        urls = {str(node): process.url for node, process in cluster.nodes.items()}
        clients = {
            name: await put_away.enter_async_context(
                LabClient(name, "A", urls, history, timeout_s=10.0)
            )
            for name in ("c1", "c2", "c3")
        }
        for workload in workloads:
            await workload.prepare(clients)
        streams = [
            Stream(
                workload=workload,
                client=client,
                rate_hz=8,
                sequential=workload.name in ("set-add", "set-add-locked"),
                at_random=workload.name == "registers",
            )
            for workload in workloads
            for client in clients.values()
        ]
        load = Load(streams, history, Random(7))
        async with load.running():
            await asyncio.sleep(LOAD_S)
        places = [place for workload in workloads for place in workload.objects()]
        observer = await put_away.enter_async_context(Observer(urls))
        held = await observer.dump(list(urls), places, {place: list(urls) for place in places})

    by_place = defaultdict[tuple[str, str], list[Operation]](list)
    for operation in history.operations():
        by_place[operation.place].append(operation)
        assert operation.outcome is Outcome.OK, operation
    assert set(by_place) <= {(bucket, key) for _, bucket, key in places}
    assert (load.never_sent, history.under_way) == (0, 0)
    final = defaultdict[tuple[str, str], set[str]](set)
    for state in held:
        final[state.bucket, state.key] |= {v.text for v in state.values if not v.deleted}
    for workload in (several[1], locked):
        place = (workload.bucket, "k0")
        outcome = set_outcome(by_place[place], final[place])
        assert outcome.acknowledged
        assert outcome.acknowledged == outcome.survivors, workload.name
    for key in several[2].keys:
        place = (several[2].bucket, key)
        assert cart_outcome(by_place[place], final[place]).lost == set()
