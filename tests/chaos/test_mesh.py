"""The mesh: what it lets through and what not, faults that stand beside each other, honesty."""

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from chaos.errors import MeshError, SettingError
from chaos.links import (
    AddToxic,
    CutKind,
    Link,
    LinkState,
    Step,
    Stream,
    bandwidth,
    between,
    isolate,
    latency,
    one_way,
    replies_only,
    requests_only,
    split,
)
from chaos.mesh import Mesh, NodePorts
from chaos.ports import HOST, free_base_port, free_ports
from chaos.probes import FRAME, Answer, Connection
from chaos.recording import Edge
from chaos.toxiproxy.api import Api, ProxySpec
from dynamo.core.ids import Address, NodeId
from tests.cluster.harness import eventually

pytestmark = pytest.mark.chaos

NODES = [NodeId(f"n{i}") for i in range(1, 5)]
N1, N2, N3, N4 = NODES
UP, DOWN = Stream.UPSTREAM, Stream.DOWNSTREAM


@dataclass
class Network:
    """A mesh between nodes that send back what they get.

    Attributes:
        got: for each node, the bytes that it got.
    """

    mesh: Mesh
    got: dict[str, int] = field(default_factory=dict)
    listeners: list[asyncio.Server] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)

    async def listen(self, node: str, port: int) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.writers.append(writer)
            with suppress(ConnectionError):
                while piece := await reader.read(65_536):
                    self.got[node] += len(piece)
                    writer.write(piece)
                    await writer.drain()
            writer.close()

        self.got[node] = 0
        self.listeners.append(await asyncio.start_server(serve, HOST, port))

    async def dial(self, source: NodeId, target: NodeId) -> Connection:
        connection = await Connection.to(self.mesh.peer_addresses(source)[target])
        self.connections.append(connection)
        return connection

    async def ask(self, source: NodeId, target: NodeId) -> Answer:
        """What comes of a request on a new connection."""
        try:
            connection = await self.dial(source, target)
        except ConnectionRefusedError:
            return Answer.REFUSED
        return await connection.ask()

    async def reached(self) -> set[tuple[str, str]]:
        """Who has answers from whom."""
        pairs = [(a, b) for a in NODES for b in NODES if a != b]
        answers = await asyncio.gather(*(self.ask(a, b) for a, b in pairs))
        return {pair for pair, answer in zip(pairs, answers, strict=True) if answer is Answer.OK}

    async def broken(self) -> list[Link]:
        """Links that are not as they should be."""
        return [link for link, found in (await self.mesh.states()).items() if found != LinkState()]

    async def close(self) -> None:
        for connection in self.connections:
            connection.close()
        for listener in self.listeners:
            listener.close()
        for writer in self.writers:
            writer.transport.abort()
        for listener in self.listeners:
            await listener.wait_closed()


@asynccontextmanager
async def network(
    api: Api,
    *,
    bypassed: Collection[Link] = (),
    clock_s: Callable[[], float] | None = None,
) -> AsyncIterator[Network]:
    base_port = free_base_port(len(NODES))
    ports = [NodePorts(node, base_port + 1000 + i, base_port + i) for i, node in enumerate(NODES)]
    clock_s = clock_s or asyncio.get_running_loop().time
    async with Mesh(api, ports, ["c1"], clock_s=clock_s, bypassed=bypassed) as mesh:
        made = Network(mesh)
        try:
            for node in ports:
                await made.listen(node.node, node.rpc_port)
            await made.listen("http of n2", ports[1].http_port)
            yield made
        finally:
            await made.close()


@pytest.fixture
async def net(toxiproxy: Api) -> AsyncIterator[Network]:
    async with network(toxiproxy) as made:
        yield made


EVERYBODY = {(a, b) for a in NODES for b in NODES if a != b}

# Wiring


async def test_each_link_has_an_address_of_its_own_that_leads_to_its_target(net: Network) -> None:
    addresses = [a for node in NODES for a in net.mesh.peer_addresses(node).values()]
    assert len(set(addresses)) == len(addresses) == 12
    assert all(address.port < 32_768 for address in addresses)
    for target in NODES:
        before = net.got[target]
        for source in NODES:
            if source != target:
                assert await net.ask(source, target) is Answer.OK
        assert net.got[target] == before + 3 * len(FRAME)


async def test_a_client_reaches_the_http_port_of_a_node(net: Network) -> None:
    host, _, port = net.mesh.url("c1", N2).removeprefix("http://").rpartition(":")
    connection = await Connection.to(Address(host, int(port)))
    net.connections.append(connection)
    assert await connection.ask() is Answer.OK
    assert net.got["http of n2"] == len(FRAME)


# Cuts


@pytest.mark.parametrize("kind", CutKind)
async def test_a_split_separates_its_sides_and_nobody_else(net: Network, kind: CutKind) -> None:
    within = {(N1, N2), (N2, N1), (N3, N4), (N4, N3)}
    await net.mesh.cut("halves", split(([N1, N2], [N3, N4])), kind)
    assert await net.reached() == within
    await net.mesh.heal("halves")
    assert await net.reached() == EVERYBODY
    assert await net.broken() == []


@pytest.mark.parametrize("kind", [CutKind.DROP, CutKind.STALL])
async def test_one_way_stops_requests_of_one_and_replies_of_the_same(
    net: Network, kind: CutKind
) -> None:
    await net.mesh.cut("deaf", one_way([N1], [N2]), kind)
    assert await net.ask(N1, N2) is Answer.SILENCE
    assert await net.ask(N2, N1) is Answer.SILENCE
    assert (net.got[N1], net.got[N2]) == (len(FRAME), 0)
    assert await net.ask(N1, N3) is Answer.OK


async def test_requests_and_replies_can_be_lost_apart(net: Network) -> None:
    await net.mesh.cut("asked", requests_only(one_way([N1], [N2])), CutKind.DROP)
    await net.mesh.cut("said", replies_only(one_way([N1], [N3])), CutKind.DROP)
    assert await net.ask(N1, N2) is Answer.SILENCE
    assert await net.ask(N2, N1) is Answer.OK
    assert await net.ask(N1, N3) is Answer.OK
    before = net.got[N1]
    assert await net.ask(N3, N1) is Answer.SILENCE
    assert net.got[N1] == before + len(FRAME), "it was asked, and only the reply was lost"


async def test_a_cut_of_clients_leaves_the_nodes_alone(net: Network) -> None:
    await net.mesh.cut("lonely", between("c1", N2), CutKind.REFUSE)
    _, _, port = net.mesh.url("c1", N2).rpartition(":")
    with pytest.raises(ConnectionRefusedError):
        await Connection.to(Address(HOST, int(port)))
    assert await net.reached() == EVERYBODY


# Faults beside each other


@pytest.mark.parametrize("kind", CutKind)
async def test_a_latency_stays_while_a_cut_comes_and_goes(net: Network, kind: CutKind) -> None:
    slow = latency(UP, 20, 5)
    await net.mesh.toxify("wan", net.mesh.node_links, slow)
    before = await net.mesh.states()
    await net.mesh.cut("pair", between(N1, N2), kind)
    assert await net.ask(N1, N2) is not Answer.OK
    await net.mesh.heal("pair")
    assert await net.mesh.states() == before
    assert before[Link(N1, N2)] == LinkState(toxics={"wan.latency_upstream": slow})
    assert before[Link("c1", N2)] == LinkState()
    assert await net.ask(N1, N2) is Answer.OK


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (CutKind.REFUSE, CutKind.DROP),
        (CutKind.DROP, CutKind.DROP),
        (CutKind.DROP, CutKind.STALL),
        (CutKind.STALL, CutKind.DROP),
        (CutKind.STALL, CutKind.REFUSE),
    ],
)
async def test_what_two_cuts_share_is_healed_with_the_last(
    net: Network, first: CutKind, second: CutKind
) -> None:
    await net.mesh.cut("pair", between(N1, N2), first)
    await net.mesh.cut("alone", isolate(N1, NODES), second)
    await net.mesh.heal("pair")
    answers = await asyncio.gather(net.ask(N1, N2), net.ask(N1, N3), net.ask(N2, N3))
    assert [answer is Answer.OK for answer in answers] == [False, False, True]
    await net.mesh.heal("alone")
    assert await net.broken() == []
    assert await net.ask(N1, N2) is Answer.OK


async def test_faults_that_begin_at_the_same_moment_all_come_about(net: Network) -> None:
    await asyncio.gather(
        net.mesh.toxify("wan", net.mesh.node_links, latency(UP, 1)),
        net.mesh.cut("one", between(N1, N2), CutKind.DROP),
        net.mesh.cut("two", between(N1, N2), CutKind.REFUSE),
        net.mesh.toxify("thin", [Link(N4, N3)], bandwidth(DOWN, 50)),
    )
    states = await net.mesh.states()
    assert not states[Link(N1, N2)].enabled
    assert set(states[Link(N1, N2)].toxics) == {
        "wan.latency_upstream",
        "drop_upstream",
        "drop_downstream",
    }
    assert set(states[Link(N4, N3)].toxics) == {"wan.latency_upstream", "thin.bandwidth_downstream"}
    await net.mesh.reset()
    assert await net.broken() == []


async def test_a_fault_of_the_same_name_takes_the_place_of_the_other(net: Network) -> None:
    link = Link(N1, N2)
    await net.mesh.toxify("wan", [link], latency(UP, 5), latency(DOWN, 5))
    await net.mesh.toxify("wan", [link], latency(UP, 9))
    assert (await net.mesh.states())[link].toxics == {"wan.latency_upstream": latency(UP, 9)}


# Stalls: what was seen to block the server for good, or to let bytes slip through


async def test_a_stall_keeps_every_byte_and_delivers_it_whatever_happens_meanwhile(
    net: Network,
) -> None:
    links = [Link(N1, N2)]
    await net.mesh.toxify("wan", links, latency(UP, 5))
    connection = await net.dial(N1, N2)
    assert await connection.ask() is Answer.OK
    await net.mesh.cut("pair", one_way([N1], [N2]), CutKind.STALL)
    before = net.got[N2]
    for _ in range(5):
        await connection.send(FRAME)
        await asyncio.sleep(0.02)  # so that they go in pieces of their own
    async with asyncio.timeout(10):
        await net.mesh.toxify("wan", links, latency(UP, 9))
        await net.mesh.toxify("thin", links, bandwidth(UP, 50))
        await net.mesh.heal("wan")
        assert net.got[N2] == before, "nothing slipped through"
        await net.mesh.heal("pair")
    assert await connection.hear(5 * len(FRAME), 5) is Answer.OK
    assert net.got[N2] == before + 5 * len(FRAME)
    assert (await net.mesh.states())[links[0]].toxics == {
        "thin.bandwidth_upstream": bandwidth(UP, 50)
    }


async def test_a_stall_of_replies_that_nobody_awaits_any_more_ends_at_once(net: Network) -> None:
    connections = [await net.dial(N1, N2) for _ in range(4)]
    for connection in connections:
        assert await connection.ask() is Answer.OK
    await net.mesh.cut("mute", replies_only(one_way([N2], [N1])), CutKind.STALL)
    before = net.got[N2]
    for _ in range(8):
        for connection in connections:
            await connection.send(FRAME)
        await asyncio.sleep(0.01)
    await eventually(
        lambda: net.got[N2] == before + 32 * len(FRAME), within_s=5, what="all was asked"
    )
    for connection in connections:
        connection.close()
    async with asyncio.timeout(4):  # 5 s and more, where the toxic is simply removed
        await net.mesh.heal("mute")
        assert await net.ask(N1, N2) is Answer.OK


# Honesty


async def test_an_edge_begins_before_the_first_request_and_ends_after_the_last_reply(
    toxiproxy: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count()
    taken: list[int] = []
    take = Api.take

    async def noted(self: Api, proxy: str, step: Step) -> None:
        taken.append(next(ticks))
        await take(self, proxy, step)
        taken.append(next(ticks))

    monkeypatch.setattr(Api, "take", noted)
    async with network(toxiproxy, clock_s=lambda: float(next(ticks))) as net:
        edge = await net.mesh.cut("pair", between(N1, N2), CutKind.DROP)
    assert edge == Edge(from_s=min(taken) - 1.0, until_s=max(taken) + 1.0)
    assert len(taken) == 8


async def test_a_change_that_does_not_come_about_is_an_error(
    net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Api.take

    async def forgetful(self: Api, proxy: str, step: Step) -> None:
        if not (proxy.endswith("n1~n2") and isinstance(step, AddToxic)):
            await take(self, proxy, step)

    monkeypatch.setattr(Api, "take", forgetful)
    with pytest.raises(MeshError, match=r"others: n1>n2$"):
        await net.mesh.cut("halves", split(([N1, N2], [N3, N4])) | between(N1, N2), CutKind.DROP)


async def test_a_proxy_that_somebody_else_removed_is_an_error(net: Network, toxiproxy: Api) -> None:
    name = next(name for name in await toxiproxy.proxies() if name.endswith("n3~n1"))
    await toxiproxy.delete([name])
    with pytest.raises(MeshError, match="n3>n1"):
        await net.mesh.cut("pair", between(N1, N2), CutKind.REFUSE)


async def test_the_proxies_of_others_are_left_alone(toxiproxy: Api) -> None:
    theirs = ProxySpec("theirs", Address(HOST, *free_ports(1)), Address(HOST, 1))
    slow = AddToxic("slow", latency(UP, 5))
    await toxiproxy.create(theirs)
    await toxiproxy.take("theirs", slow)
    before = await toxiproxy.proxies()
    async with network(toxiproxy) as net:
        await net.mesh.cut("pair", between(N1, N2), CutKind.REFUSE)
        await net.mesh.reset()
    assert await toxiproxy.proxies() == before


async def test_nothing_is_left_of_a_mesh_whose_user_failed(toxiproxy: Api) -> None:
    before = await toxiproxy.proxies()

    async def fail() -> None:
        async with network(toxiproxy) as net:
            await net.mesh.cut("pair", between(N1, N2), CutKind.STALL)
            raise RuntimeError("an experiment's own")

    with pytest.raises(RuntimeError, match="an experiment's own"):
        await fail()
    assert await toxiproxy.proxies() == before


async def test_a_bypassed_link_ignores_every_fault_and_the_mesh_does_not_notice(
    toxiproxy: Api,
) -> None:
    async with network(toxiproxy, bypassed=[Link(N1, N3)]) as net:
        await net.mesh.cut("halves", split(([N1, N2], [N3, N4])), CutKind.DROP)
        assert await net.reached() == {(N1, N2), (N2, N1), (N3, N4), (N4, N3), (N1, N3)}


async def test_what_does_not_exist_is_refused(net: Network, toxiproxy: Api) -> None:
    with pytest.raises(SettingError, match="no fault 'b'"):
        await net.mesh.heal("b")
    with pytest.raises(SettingError, match="n1>n9"):
        await net.mesh.toxify("wan", [Link(N1, "n9")], latency(UP, 5))
    for nodes, clients in (([N1, N1], []), ([N1], ["n1"]), ([NodeId("a/b")], [])):
        with pytest.raises(SettingError):
            Mesh(toxiproxy, [NodePorts(n, 1, 2) for n in nodes], clients, clock_s=float)
    with pytest.raises(SettingError, match="n1>n9"):
        Mesh(toxiproxy, [NodePorts(N1, 1, 2)], clock_s=float, bypassed=[Link(N1, "n9")])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of open connections")
async def test_the_bytes_of_a_link_are_those_that_came_back_on_it(net: Network) -> None:
    connection = await net.dial(N1, N2)
    assert await connection.ask() is Answer.OK

    async def carried(link: str) -> int:
        return (await net.mesh.link_bytes())[link]

    await eventually_is(lambda: carried("n1>n2"), len(FRAME))
    await net.mesh.cut("mute", replies_only(one_way([N2], [N1])), CutKind.DROP)
    assert await connection.ask() is Answer.SILENCE
    assert await carried("n1>n2") == len(FRAME)
    connection.close()
    await net.mesh.heal("mute")
    assert await net.ask(N1, N2) is Answer.OK
    await eventually_is(lambda: carried("n1>n2"), 2 * len(FRAME))
    assert await carried("n2>n1") == 0


async def eventually_is(carried: Callable[[], Awaitable[int]], count: int) -> None:
    async def is_so() -> bool:
        return await carried() == count

    await eventually(is_so, within_s=5, what=f"{count} bytes were carried")
