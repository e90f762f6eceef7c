"""Node processes: started, killed, paused, restarted, and gone at the end."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from dynamo.client.client import Client
from dynamo.cluster import LocalCluster
from dynamo.config import ClusterConfig, NodeConfig
from dynamo.core.ids import Address, NodeId
from dynamo.errors import DynamoError, StartupError
from dynamo.node_process import ProcessState
from dynamo.reports import members_of
from dynamo.settings import Settings, load
from tests.cluster.harness import eventually, free_base_port, is_alive

pytestmark = pytest.mark.cluster

N1, N2, N3 = NodeId("n1"), NodeId("n2"), NodeId("n3")


async def answers(url: str) -> bool:
    try:
        async with Client([url], timeout_s=0.5) as client:
            await client.ping()
        return True
    except DynamoError:
        return False


async def opinion_of(url: str, node: NodeId) -> str:
    async with Client([url], timeout_s=2.0) as client:
        report = await members_of(client)
    return next(member.opinion for member in report.members if member.node == node)


async def test_all_nodes_serve_and_know_each_other(cluster: LocalCluster) -> None:
    assert list(cluster.nodes) == [N1, N2, N3]
    for node in cluster.nodes.values():
        assert node.state is ProcessState.SERVING
        async with Client([node.url]) as client:
            report = await members_of(client)
        assert report.node == node.node_id
        assert [(m.node, m.state, m.opinion) for m in report.members] == [
            (n, "member", "up") for n in ("n1", "n2", "n3")
        ]


async def test_what_one_node_stores_every_node_reads(cluster: LocalCluster) -> None:
    first, *others = cluster.urls
    async with Client([first]) as client:
        await client.bucket("b").put("k", b"hello", content_type="text/plain", w="all")
    for url in others:
        async with Client([url]) as client:
            found = await client.bucket("b").get("k")
        assert found.value is not None
        assert found.value.body == b"hello"


async def test_a_killed_node_is_suspected_and_after_a_restart_trusted(
    cluster: LocalCluster,
) -> None:
    node = cluster.nodes[N2]
    await node.kill()
    assert (node.state, node.pid, node.exit_status) == (ProcessState.STOPPED, None, -9)
    assert not await answers(node.url)

    async def suspected() -> bool:
        return await opinion_of(cluster.urls[0], N2) != "up"

    async def trusted() -> bool:
        return await opinion_of(cluster.urls[0], N2) == "up"

    await eventually(suspected, within_s=10, what="n1 suspects n2")
    await node.restart()
    assert node.state is ProcessState.SERVING
    await eventually(trusted, within_s=10, what="n1 trusts n2 again")


async def test_a_node_that_dies_by_itself_has_died(cluster: LocalCluster) -> None:
    node = cluster.nodes[N3]
    os.kill(node.pid or 0, signal.SIGKILL)
    await eventually(lambda: node.state is ProcessState.DIED, within_s=10, what="n3 has died")
    assert (node.pid, node.exit_status) == (None, -9)


async def test_a_paused_node_is_silent_until_it_is_resumed(cluster: LocalCluster) -> None:
    node = cluster.nodes[N1]
    node.pause()
    states = [node.state]
    assert not await answers(node.url)
    node.resume()
    assert [*states, node.state] == [ProcessState.PAUSED, ProcessState.SERVING]
    await eventually(lambda: answers(node.url), within_s=10, what="n1 answers")


async def test_nothing_runs_after_the_end_not_even_a_paused_node(tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path, nodes=2, base_port=free_base_port(2))
    async with cluster:
        pids = [node.pid for node in cluster.nodes.values()]
        cluster.nodes[N2].pause()
    assert [pid for pid in pids if pid is None or is_alive(pid)] == []
    assert {node.exit_status for node in cluster.nodes.values()} == {0}
    assert {node.state for node in cluster.nodes.values()} == {ProcessState.STOPPED}


PAUSES_AND_DIES = """
import asyncio, os, signal, sys
from pathlib import Path
from dynamo.cluster import LocalCluster

async def main():
    async with LocalCluster(Path(sys.argv[1]), nodes=1, base_port=int(sys.argv[2])) as cluster:
        [node] = cluster.nodes.values()
        node.pause()
        print(node.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux wakes who stands still")
async def test_a_paused_node_does_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PAUSES_AND_DIES, str(tmp_path), str(free_base_port(1))),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await parent.communicate()
    pid = int(said)
    try:
        await eventually(lambda: not is_alive(pid), within_s=10, what="the node has ended")
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def test_data_survives_the_death_of_all_nodes(tmp_path: Path) -> None:
    base_port = free_base_port(3)
    async with LocalCluster(tmp_path, nodes=3, base_port=base_port) as cluster:
        async with Client(cluster.urls) as client:
            await client.bucket("b").put("k", b"kept", w="all")
        await asyncio.gather(*(node.kill() for node in cluster.nodes.values()))
    async with LocalCluster(tmp_path, base_port=base_port) as again:
        for url in again.urls:
            async with Client([url]) as client:
                found = await client.bucket("b").get("k", r="all")
            assert found.value is not None
            assert found.value.body == b"kept"


async def test_nodes_may_move_to_other_ports_between_runs(tmp_path: Path) -> None:
    async with (
        LocalCluster(tmp_path, nodes=2, base_port=free_base_port(2)) as cluster,
        Client(cluster.urls) as client,
    ):
        await client.bucket("b").put("k", b"kept")
    async with (
        LocalCluster(tmp_path, base_port=free_base_port(2)) as moved,
        Client([moved.urls[1]]) as client,
    ):
        assert (await client.bucket("b").get("k")).value is not None


async def test_shared_settings_reach_every_node(tmp_path: Path) -> None:
    shared = Settings(
        cluster=ClusterConfig(name="other", bucket_types={"five": {"n_val": 5}}),
        node=NodeConfig(node_id=N1, data_dir=Path("data"), log_format="json"),
    )
    base_port = free_base_port(2)
    async with LocalCluster(tmp_path, nodes=2, base_port=base_port, shared=shared) as cluster:
        for node in cluster.nodes.values():
            async with Client([node.url]) as client:
                assert (await members_of(client)).cluster == "other"
                properties = await client.bucket("b", bucket_type="five").properties()
            assert properties["n_val"] == 5
            assert node.config.log_format == "json"


async def test_settings_may_be_adjusted_node_by_node(tmp_path: Path) -> None:
    """Peers dial n1 through an address of the test's choosing, and nowhere else."""
    base_port = free_base_port(3)
    detour = Address("127.0.0.1", base_port + 2)
    dialled = asyncio.Event()

    def adjust(config: NodeConfig) -> NodeConfig:
        return replace(config, peer_addresses={N1: detour}) if config.node_id == N2 else config

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dialled.set()
        writer.close()

    server = await asyncio.start_server(relay, *detour)
    cluster = LocalCluster(tmp_path, nodes=2, base_port=base_port, adjust=adjust)
    starting = asyncio.ensure_future(cluster.start())
    try:
        async with asyncio.timeout(30):
            await dialled.wait()
    finally:
        starting.cancel()
        await asyncio.wait([starting])
        server.close()
    assert [node.pid for node in cluster.nodes.values()] == [None, None]


@pytest.mark.parametrize("offset", [1, 1001])
async def test_a_taken_port_is_named_and_nothing_is_started(tmp_path: Path, offset: int) -> None:
    base_port = free_base_port(2)
    with socket.create_server(("127.0.0.1", base_port + offset)):
        cluster = LocalCluster(tmp_path, nodes=2, base_port=base_port)
        with pytest.raises(StartupError) as caught:
            await cluster.start()
    purpose = "HTTP of n2" if offset == 1 else "the peers of n2"
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{base_port + offset} for {purpose}: another process has it"
    )
    assert [node.pid for node in cluster.nodes.values()] == []


async def test_a_node_that_does_not_start_says_why_and_takes_the_others_with_it(
    tmp_path: Path,
) -> None:
    base_port = free_base_port(2)
    foreign = tmp_path / "n2" / "data" / "diary.txt"
    async with LocalCluster(tmp_path, nodes=2, base_port=base_port):
        pass
    for path in (tmp_path / "n2" / "data").rglob("*.json"):
        path.unlink()
    foreign.touch()
    cluster = LocalCluster(tmp_path, base_port=base_port)
    with pytest.raises(StartupError, match=r"n2 did not start: (?!Error).*diary\.txt"):
        await cluster.start()
    assert [node.pid for node in cluster.nodes.values()] == [None, None]
    assert foreign.exists()


async def test_the_log_of_the_run_before_is_kept(tmp_path: Path) -> None:
    base_port = free_base_port(1)
    for _ in range(2):
        async with LocalCluster(tmp_path, nodes=1, base_port=base_port) as cluster:
            assert "serves HTTP on" in cluster.nodes[N1].log_path.read_text()
    assert "serves HTTP on" in (tmp_path / "n1" / "log.old").read_text()
    assert cluster.nodes[N1].log_path.read_text().count("serves HTTP on") == 1


@pytest.mark.parametrize("nodes", [1, 2])
async def test_few_nodes_hold_as_many_replicas_as_they_are(tmp_path: Path, nodes: int) -> None:
    shared = Settings(
        cluster=ClusterConfig(bucket_types={"some": {}, "five": {"n_val": 5}}),
        node=NodeConfig(node_id=N1, data_dir=Path("data")),
    )
    base_port = free_base_port(nodes)
    async with (
        LocalCluster(tmp_path, nodes=nodes, base_port=base_port, shared=shared) as cluster,
        Client(cluster.urls) as client,
    ):
        for bucket_type, n_val in (("default", nodes), ("some", nodes), ("five", 5)):
            bucket = client.bucket("b", bucket_type=bucket_type)
            assert (await bucket.properties())["n_val"] == n_val
        await client.bucket("b").put("k", b"hello")
        found = await client.bucket("b").get("k")
        assert found.value is not None
        assert found.value.body == b"hello"


async def test_shared_settings_are_remembered_until_others_are_given(tmp_path: Path) -> None:
    base_port = free_base_port(1)

    def shared(**n_vals: int) -> Settings:
        types = {name: {"n_val": n_val} for name, n_val in n_vals.items()}
        node = NodeConfig(node_id=N1, data_dir=Path("data"), log_format="json")
        return Settings(cluster=ClusterConfig(name="other", bucket_types=types), node=node)

    async def types_of(given: Settings | None) -> tuple[list[str], str]:
        async with LocalCluster(tmp_path, nodes=1, base_port=base_port, shared=given) as cluster:
            (settings,) = (load(node.settings_path) for node in cluster.nodes.values())
            return list(settings.cluster.bucket_types), settings.node.log_format

    assert await types_of(shared(one=1)) == (["one"], "json")
    assert await types_of(None) == (["one"], "json")
    assert await types_of(shared(two=1)) == (["two"], "json")
    assert await types_of(None) == (["two"], "json")
    default = NodeConfig(node_id=N1, data_dir=Path("data"))
    with pytest.raises(StartupError, match=r'set name = "other" under \[cluster\] in a file given'):
        await types_of(Settings(cluster=ClusterConfig(), node=default))
    assert await types_of(None) == (["two"], "json")


@pytest.fixture
async def lone(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    async with LocalCluster(tmp_path / "data", nodes=1, base_port=free_base_port(1)) as made:
        yield made


async def test_a_wiped_node_starts_with_nothing_and_keeps_its_name(lone: LocalCluster) -> None:
    node = lone.nodes[N1]
    async with Client(lone.urls) as client:
        await client.bucket("b").put("k", b"lost")
        await node.kill()
        log = node.log_path.read_text()
        node.wipe()
        assert node.settings_path.exists()
        await node.restart()
        assert (await client.bucket("b").get("k")).siblings == ()
        assert (await members_of(client)).node == N1
    assert node.log_path.read_text().startswith(log)


async def test_other_settings_hold_from_the_next_start_on(lone: LocalCluster) -> None:
    """Here a clock that is an hour slow: values are dated by it, and nothing takes longer."""
    node = lone.nodes[N1]

    async def dated_s(client: Client) -> float:
        found = await client.bucket("b").put_returning("k", b"v")
        assert found.value is not None
        return found.value.modified_at_ms / 1000

    async with Client(lone.urls) as client:
        right_s = await dated_s(client)
        node.reconfigure(lambda config: replace(config, clock_offset_s=-3600.0))
        assert await dated_s(client) >= right_s
        await node.restart()
        wrong_s = await dated_s(client)
    assert right_s - 3600 <= wrong_s < right_s - 3000
    assert load(node.settings_path).node.clock_offset_s == -3600


async def test_a_paused_node_can_be_killed_and_started_again(lone: LocalCluster) -> None:
    node = lone.nodes[N1]
    node.pause()
    await node.kill()
    node.resume()
    assert (node.state, node.pid, node.exit_status) == (ProcessState.STOPPED, None, -9)
    await node.restart()
    assert await answers(node.url)


async def test_another_program_may_run_in_place_of_a_node(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "import sys; sys.exit(' '.join(sys.argv[1:]))", "odd")
    cluster = LocalCluster(tmp_path, nodes=1, base_port=free_base_port(1), command=command)
    settings_path = tmp_path / "n1" / "node.toml"
    with pytest.raises(StartupError) as caught:
        await cluster.start()
    said = f"odd serve --config {settings_path} --stop-on-eof"
    assert str(caught.value) == f"n1 did not start: {said}"
