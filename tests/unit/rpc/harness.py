"""What the tests of this folder share: identities, two wires, a transport in memory, waiting."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgpack

from dynamo.core.ids import Address, NodeId
from dynamo.rpc.caller import PeersLimits
from dynamo.rpc.frames import frame
from dynamo.rpc.handshake import Identity
from dynamo.rpc.messages import Done, GossipOffer, Reply, Request
from dynamo.rpc.peers import Peers
from dynamo.rpc.server import Handle, Respond, Server, ServerLimits
from dynamo.rpc.wire import Listener, ProtocolFactory, TcpWire, Wire

N1 = NodeId("n1")
N2 = NodeId("n2")
N3 = NodeId("n3")

UNHANDLED = GossipOffer(b"")

PATIENCE_S = 10.0
"""For what must come; nothing waits this long unless it is broken."""


def identity(node: NodeId, cluster: str = "books", fingerprint: str = "partitions=256") -> Identity:
    return Identity(node_id=node, cluster=cluster, cluster_fingerprint=fingerprint)


def hello_of_version(version: int) -> bytes:
    return frame(msgpack.packb([version, "something", {"else": 1}]))


async def until(condition: Callable[[], object]) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.002)


class PortWire(TcpWire):
    """Listens on a port that the system chooses, and says which; the second time, on that one."""

    def __init__(self) -> None:
        self.port = 0

    async def listen(self, address: Address, factory: ProtocolFactory) -> Listener:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(factory, address.host, self.port)
        self.port = server.sockets[0].getsockname()[1]
        return server

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.port)


def answer_done(_node: NodeId, _request: Request, _deadline_s: float, respond: Respond) -> None:
    respond(Done())


class Held:
    """A handler that keeps what it was asked until told to answer."""

    def __init__(self) -> None:
        self.requests: list[tuple[NodeId, Request, float]] = []
        self.responds: list[Respond] = []

    def __call__(self, node: NodeId, request: Request, deadline_s: float, respond: Respond) -> None:
        self.requests.append((node, request, deadline_s))
        self.responds.append(respond)

    def answer_all(self) -> None:
        responds, self.responds = self.responds, []
        for respond in responds:
            respond(Done())


class Outcomes:
    """An `on_reply` that remembers."""

    def __init__(self) -> None:
        self.all: list[Reply | Exception] = []

    def __call__(self, _node: NodeId, outcome: Reply | Exception) -> None:
        self.all.append(outcome)

    def __len__(self) -> int:
        return len(self.all)

    @property
    def kinds(self) -> list[type]:
        return [type(outcome) for outcome in self.all]


@asynccontextmanager
async def serving(
    handle: Handle = answer_done,
    me: Identity | None = None,
    wire: PortWire | None = None,
    limits: ServerLimits | None = None,
) -> AsyncIterator[tuple[Server, PortWire]]:
    wire = wire or PortWire()
    server = Server(wire, me or identity(N2), handle, limits=limits or ServerLimits())
    await server.start(Address("127.0.0.1", 0))
    try:
        yield server, wire
    finally:
        await server.close()


class Seen:
    """What the hooks of a `Peers` were told, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, NodeId]] = []

    def outcome(self, node: NodeId, ok: bool) -> None:
        self.events.append(("ok" if ok else "bad", node))

    def connected(self, node: NodeId) -> None:
        self.events.append(("connected", node))

    def lost(self, node: NodeId) -> None:
        self.events.append(("lost", node))


@asynccontextmanager
async def peering(
    addresses: dict[NodeId, Address],
    me: Identity | None = None,
    seen: Seen | None = None,
    limits: PeersLimits | None = None,
    kind: type[Peers] = Peers,
    wire: Wire | None = None,
) -> AsyncIterator[Peers]:
    """Peers that hold connections to whoever has an address now."""
    seen = seen or Seen()
    peers = kind(
        wire or TcpWire(),
        me or identity(N1),
        resolve=addresses.get,
        dice=random.Random(1),
        on_outcome=seen.outcome,
        on_connected=seen.connected,
        on_lost=seen.lost,
        limits=limits or PeersLimits(),
    )
    peers.keep(addresses)
    try:
        yield peers
    finally:
        await peers.close()


async def connect(peers: Peers, *nodes: NodeId) -> None:
    peers.keep(nodes)
    await until(lambda: peers.connected == set(nodes))


class MemoryTransport(asyncio.Transport):
    """Keeps what is written; nothing is read from it by itself."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self.writes: list[bytes] = []
        self.unread_bytes = 0
        self.reading = True
        protocol.connection_made(self)

    def feed(self, data: bytes) -> None:
        """Bytes come from the peer."""
        self.protocol.data_received(data)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self._closing
        self.writes.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.unread_bytes

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("10.0.0.1", 4000) if name == "peername" else default

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()


async def tick() -> None:
    """One turn of the loop, and the one after it."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
