"""Hosts and links in memory, in the place of TCP: a `Wire` for each node of a simulation.

What is cut is a directed link, "bytes from host a to host b", whoever dialled: requests of a on
connections of its own, and replies of a on connections that b dialled. A connection attempt needs
both directions and is repeated every second until it gets through or the caller tires of it.

A host can be killed loudly (its kernel closes what the process had open) or lose its power (silence
until it is on again; then its kernel resets what it does not know).
"""

import asyncio
import errno
import random
from collections.abc import Iterable, Iterator

from dynamo.core.ids import Address
from dynamo.rpc.wire import Listener, ProtocolFactory
from tests.simulation.connection import End, Host, Pipe
from tests.simulation.links import Cut, Link, Weather
from tests.simulation.loop import VirtualLoop
from tests.simulation.process import Process
from tests.simulation.trace import Trace

# Linux sends the first packet of a connection this long (six times in fact) before it gives up.
DIAL_S_MAX = 127.0
DIAL_AGAIN_S = 1.0


class Network:
    """All hosts and links of one simulation."""

    def __init__(
        self, loop: VirtualLoop, dice: random.Random, weather: Weather, trace: Trace
    ) -> None:
        self.loop = loop
        self.trace = trace
        self._dice = dice
        self._weather = weather
        self._hosts: dict[str, Host] = {}
        self._links: dict[tuple[str, str], Link] = {}

    def host(self, name: str) -> Host:
        """The machine of that name."""
        return self._hosts.setdefault(name, Host(name))

    def link(self, source: str, target: str) -> Link:
        """The direction from `source` to `target`."""
        link = self._links.get((source, target))
        if link is None:
            link = Link(source, target, self._weather, self._dice)
            self._links[source, target] = link
        return link

    def boot(self, process: Process) -> "HostWire":
        """Give a process the network of the machine that has its name."""
        host = self.host(process.name)
        assert host.process is None, f"{host.name} runs already"
        host.process = process
        host.powered = True
        return HostWire(self, host, process)

    def kill(self, name: str, *, silent: bool = False) -> None:
        """The process is gone; `silent`: the machine lost its power."""
        host = self.host(name)
        host.process = None
        host.powered = not silent
        host.listening.clear()
        for end in host.ends:
            end.vanish(silent=silent)
        host.ends.clear()

    # -- cuts --------------------------------------------------------------------------------------

    def cut(self, source: str, target: str, mode: Cut) -> None:
        """Cut the direction from `source` to `target`."""
        link = self.link(source, target)
        self._reopen(link)
        link.cut = mode
        if mode is Cut.REFUSE:
            self.reset(source, target)

    def heal(self, source: str, target: str) -> None:
        """Open the direction again."""
        self._reopen(self.link(source, target))

    def heal_all(self) -> None:
        """Open everything."""
        for link in self._links.values():
            self._reopen(link)

    def reset(self, a: str, b: str) -> None:
        """Break the connections between two hosts, whoever dialled them."""
        for host, other in ((a, b), (b, a)):
            for end in self._ends_between(host, other):
                error = ConnectionResetError("connection reset by peer")
                self.loop.call_later(self.link(other, host).latency_s(), end.break_off, error)

    def _ends_between(self, host: str, other: str) -> Iterator[End]:
        for end in self.host(host).ends:
            if end.get_extra_info("peername")[0] == other:
                yield end

    def _reopen(self, link: Link) -> None:
        link.cut = None
        stalled, link.stalled = link.stalled, []
        for arrive in stalled:
            self.loop.call_later(link.latency_s(), arrive)

    # -- connections -------------------------------------------------------------------------------

    async def connect(self, source: Host, address: Address, factory: ProtocolFactory) -> None:
        """Dial; see `Wire.dial`. Runs in the dialling process."""
        process = source.process
        assert process is not None
        there, back = self.link(source.name, address.host), self.link(address.host, source.name)
        await self._pass((there, back), self.host(address.host))
        target = self.host(address.host)
        accept = target.listening.get(address.port)
        if target.process is None or accept is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens on {address}")
        near = Address(source.name, source.next_port())
        name = f"{near}>{address}"
        out, back_in = self._pipe(there, name), self._pipe(back, f"{address}>{near}")
        client = End(self.loop, process, source, out, near, address, self.trace)
        server = End(self.loop, target.process, target, back_in, address, near, self.trace)
        out.sender, out.receiver = client, server
        back_in.sender, back_in.receiver = server, client
        source.keep(client)
        target.keep(server)
        self.trace.mark(f"{name} connected")
        accepting = target.process.context
        self.loop.call_soon(lambda: server.join(out, accept()), context=accepting)
        client.join(back_in, factory())

    async def _pass(self, links: Iterable[Link], target: Host) -> None:
        """Wait until one packet has gone there and one back."""
        give_up_s = self.loop.time() + DIAL_S_MAX
        for link in links:
            await asyncio.sleep(link.latency_s())
            while link.cut is not None or not target.powered:
                if link.cut is Cut.REFUSE:
                    raise ConnectionRefusedError(errno.ECONNREFUSED, f"no way to {target.name}")
                if self.loop.time() >= give_up_s:
                    raise TimeoutError(errno.ETIMEDOUT, f"no answer from {target.name}")
                await asyncio.sleep(DIAL_AGAIN_S)

    def _pipe(self, link: Link, name: str) -> Pipe:
        return Pipe(self.loop, link, self.trace, name)


class HostWire:
    """The network as one process sees it. After its death it leads nowhere."""

    def __init__(self, network: Network, host: Host, process: Process) -> None:
        self._network = network
        self._host = host
        self._process = process

    async def dial(self, address: Address, factory: ProtocolFactory) -> None:
        self._check()
        await self._network.connect(self._host, address, factory)

    async def listen(self, address: Address, factory: ProtocolFactory) -> Listener:
        self._check()
        if address.host != self._host.name:
            raise OSError(errno.EADDRNOTAVAIL, f"{address} is not an address of {self._host.name}")
        if address.port in self._host.listening:
            raise OSError(errno.EADDRINUSE, f"{address} is taken")
        self._host.listening[address.port] = factory
        return _Listening(self._host, address.port, factory)

    def _check(self) -> None:
        if self._host.process is not self._process:
            raise OSError(errno.ENETDOWN, f"{self._host.name} is switched off")


class _Listening:
    """A port of a host that is listened on."""

    def __init__(self, host: Host, port: int, factory: ProtocolFactory) -> None:
        self._host = host
        self._port = port
        self._factory = factory

    def close(self) -> None:
        if self._host.listening.get(self._port) is self._factory:
            del self._host.listening[self._port]
