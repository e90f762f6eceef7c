"""The network of a cluster under test: a proxy for each directed link, and faults that compose.

    async with Mesh(api, nodes, clients, clock_s=...) as mesh:
        ... nodes dial mesh.peer_addresses(node), clients ask mesh.url(client, node)
        edge = await mesh.cut("halves", split((["n1", "n2"], ["n3", "n4", "n5"])), CutKind.DROP)
        edge = await mesh.heal("halves")

Faults have names and stand beside each other: a latency stays while a cut comes and goes, and what
two cuts have in common is healed with the last of them. After each change the server is asked for
everything, and what differs from what was meant is a `MeshError`: a network that is not as it
should be proves nothing.
"""

import asyncio
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

from chaos.errors import MeshError, SettingError
from chaos.links import (
    CutKind,
    Effect,
    Link,
    LinkState,
    Step,
    Toxic,
    Way,
    after,
    all_links,
    cut,
    disturb,
    state,
    steps,
)
from chaos.ports import HOST, free_ports
from chaos.recording import Edge
from chaos.toxiproxy.api import Api, ProxySpec, together
from chaos.toxiproxy.traffic import open_connections
from dynamo.core.ids import Address, NodeId, is_node_id

_FLUSH_S: Final = 0.1
"""What waited behind a stall has so long to flow before the stall is taken away."""

_ROUNDS_MAX: Final = 4  # two are usual where a stall ends
_PORT_TRIES: Final = 3


class NodePorts(NamedTuple):
    """Where a node listens itself."""

    node: NodeId
    rpc_port: int
    http_port: int


class Mesh:
    """Proxies between nodes, and between clients and nodes, on ports that stay the same.

    Its proxies have names that nobody else's have, and no others are touched.

    Attributes:
        links: all that there are.
        bypassed: links that are not in use, since the address given for them is the node's own: a
            deliberate sabotage, to see that the lab notices. The mesh itself does not.
    """

    def __init__(
        self,
        api: Api,
        nodes: Sequence[NodePorts],
        clients: Sequence[str] = (),
        *,
        clock_s: Callable[[], float],
        bypassed: Collection[Link] = (),
    ) -> None:
        """Nothing happens yet.

        Args:
            api: of the server.
            nodes: all that will ever be: one that joins later dials the same addresses.
            clients: names that no node has.
            clock_s: a monotonic clock, for the edges of faults.
            bypassed: see the class.

        Raises:
            SettingError: a name is wrong or there twice, or a bypassed link does not exist.
        """
        self._ports = {node.node: node for node in nodes}
        _require_names([node.node for node in nodes], clients)
        self.links = all_links(self._ports, clients)
        self.bypassed = frozenset(bypassed)
        if not self.bypassed <= self.links:
            raise SettingError(f"no such links: {_listed(self.bypassed - self.links)}")
        self._api = api
        self._clock_s = clock_s
        self._clients = frozenset(clients)
        self._prefix = f"lab-{secrets.token_hex(4)}"
        self._specs: dict[Link, ProxySpec] = {}
        self._effects: dict[str, Effect] = {}
        self._one_at_a_time = asyncio.Lock()
        self._carried: dict[Link, int] = {}

    async def __aenter__(self) -> Self:
        await self._create()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        names, self._specs = [spec.name for spec in self._specs.values()], {}
        try:
            await self._api.delete(names)
        except MeshError:
            if exc is None:  # what went wrong before says more
                raise

    async def _create(self) -> None:
        taken = {port for node in self._ports.values() for port in (node.rpc_port, node.http_port)}
        for attempt in range(_PORT_TRIES):
            ports = free_ports(len(self.links), avoid=taken)
            specs = {
                link: self._spec(link, port)
                for link, port in zip(sorted(self.links), ports, strict=True)
            }
            try:
                await self._api.populate(specs.values())
            except MeshError as error:  # somebody may have taken a port in between
                if "address already in use" not in str(error) or attempt == _PORT_TRIES - 1:
                    raise
            else:
                self._specs = specs
                return

    def _spec(self, link: Link, port: int) -> ProxySpec:
        node = self._ports[NodeId(link.target)]
        upstream = node.http_port if link.source in self._clients else node.rpc_port
        name = f"{self._prefix}.{link.source}~{link.target}"
        return ProxySpec(name, Address(HOST, port), Address(HOST, upstream))

    def peer_addresses(self, node: NodeId) -> dict[NodeId, Address]:
        """What the node is to dial for each of the others."""
        return {other: self._dialled(Link(node, other)) for other in self._ports if other != node}

    def url(self, client: str, node: NodeId) -> str:
        """Where the client is to ask the node."""
        return f"http://{self._dialled(Link(client, node))}"

    def _dialled(self, link: Link) -> Address:
        spec = self._specs[link]
        return spec.upstream if link in self.bypassed else spec.listen

    def links_of(self, node: str) -> frozenset[Link]:
        """All links between other nodes and this one, in both directions; none of clients."""
        return frozenset(
            link for link in self.links if node in link and link.source not in self._clients
        )

    @property
    def node_links(self) -> frozenset[Link]:
        """All links between nodes."""
        return frozenset(link for link in self.links if link.source not in self._clients)

    @property
    def client_links(self) -> frozenset[Link]:
        """All links of clients."""
        return self.links - self.node_links

    async def cut(self, name: str, ways: Iterable[Way], kind: CutKind) -> Edge:
        """Let nothing pass on these ways, until `heal(name)`.

        Raises:
            SettingError: see `links.cut`.
            MeshError: it did not come about.
        """
        return await self.apply(name, cut(frozenset(ways), kind, self.links))

    async def toxify(self, name: str, links: Iterable[Link], *toxics: Toxic) -> Edge:
        """Put toxics on links, beside what is there, until `heal(name)`.

        Raises:
            SettingError: there is no such link.
            MeshError: it did not come about.
        """
        return await self.apply(name, disturb(name, links, toxics))

    async def apply(self, name: str, effect: Effect) -> Edge:
        """Have a fault of this name, in place of one that there is.

        Raises:
            SettingError: it is about links that do not exist.
            MeshError: it did not come about.
        """
        if not effect.links <= self.links:
            raise SettingError(f"no such links: {_listed(effect.links - self.links)}")
        return await self._change(lambda: self._effects.update({name: effect}))

    async def heal(self, name: str) -> Edge:
        """End a fault; what others have in common with it stays.

        Where it was a stall, what waited is let go within the edge.

        Raises:
            SettingError: there is no such fault.
            MeshError: it is not over.
        """
        if name not in self._effects:
            raise SettingError(f"no fault {name!r} to heal, of {sorted(self._effects)}")
        return await self._change(lambda: self._effects.pop(name))

    async def reset(self) -> Edge:
        """End all faults.

        Raises:
            MeshError: they are not over.
        """
        return await self._change(self._effects.clear)

    async def _change(self, edit: Callable[[], object]) -> Edge:
        async with self._one_at_a_time:
            edit()
            wanted = {link: state(link, self._effects.values()) for link in self._specs}
            actual = await self._read()
            edge, actual = await self._round(actual, wanted)
            for _ in range(_ROUNDS_MAX):
                if not _plan(actual, wanted):
                    return edge
                await asyncio.sleep(_FLUSH_S)
                _, actual = await self._round(actual, wanted)
        raise MeshError(f"links did not become what was meant: {_listed(_plan(actual, wanted))}")

    async def _round(
        self, actual: Mapping[Link, LinkState], wanted: Mapping[Link, LinkState]
    ) -> tuple[Edge, dict[Link, LinkState]]:
        """Take the next steps on all links at once; when, and what the links are like then."""
        plan = _plan(actual, wanted)
        from_s = self._clock_s()
        async with together() as group:
            for link, its_steps in plan.items():
                group.create_task(self._take(link, its_steps))
        edge = Edge(from_s=from_s, until_s=self._clock_s())
        seen = await self._read()
        wrong = [link for link in seen if seen[link] != after(actual[link], plan.get(link, ()))]
        if wrong:
            raise MeshError(f"the server took changes and has others: {_listed(wrong)}")
        return edge, seen

    async def _take(self, link: Link, its_steps: Iterable[Step]) -> None:
        for step in its_steps:
            await self._api.take(self._specs[link].name, step)

    async def _read(self) -> dict[Link, LinkState]:
        """What all links are like, as the server has them."""
        proxies = await self._api.proxies()
        found = {link: proxies.get(spec.name) for link, spec in self._specs.items()}
        states: dict[Link, LinkState] = {}
        for link, proxy in found.items():
            if proxy is None or proxy.spec != self._specs[link]:
                raise MeshError(f"somebody else changed or removed the proxy of {link}")
            states[link] = proxy.state
        return states

    async def states(self) -> dict[Link, LinkState]:
        """What all links are like, as the server has them.

        Raises:
            MeshError: it cannot be asked, or proxies are missing.
        """
        async with self._one_at_a_time:
            return await self._read()

    async def link_bytes(self) -> dict[str, int]:
        """For each link, the bytes of replies that reached its source since the start.

        A link on which this stands still carries no answers, however much is sent into it. Where
        the system does not tell of open connections, only those count that have ended.

        Raises:
            MeshError: the server cannot be asked.
        """
        ended = await self._api.sent_bytes()
        of_port = {spec.listen.port: link for link, spec in self._specs.items()}
        now = {link: ended.get(spec.name, 0) for link, spec in self._specs.items()}
        for connection in open_connections(of_port):
            now[of_port[connection.port]] += connection.sent_bytes
        for link, carried in now.items():
            # One that ends just now may be missing in both, or be in both, for a moment.
            self._carried[link] = max(carried, self._carried.get(link, 0))
        return {str(link): self._carried[link] for link in sorted(now)}


def _plan(
    actual: Mapping[Link, LinkState], wanted: Mapping[Link, LinkState]
) -> dict[Link, tuple[Step, ...]]:
    found = ((link, steps(actual[link], wanted[link])) for link in sorted(wanted))
    return {link: its_steps for link, its_steps in found if its_steps}


def _require_names(nodes: Sequence[str], clients: Sequence[str]) -> None:
    names = [*nodes, *clients]
    wrong = [name for name in names if not is_node_id(name)]
    if wrong:
        raise SettingError(f"these cannot name a node or client: {', '.join(wrong)}")
    if len(set(names)) < len(names):
        raise SettingError(f"a name is there twice: {', '.join(names)}")


def _listed(links: Iterable[Link]) -> str:
    return ", ".join(map(str, sorted(links)))
