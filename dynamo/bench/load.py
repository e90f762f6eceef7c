"""Keeps the connections of the load up, and ends requests that get no answer."""

import asyncio
from contextlib import suppress

from dynamo.bench.connection import Connection, Phase
from dynamo.bench.plan import Plan
from dynamo.bench.requests import Requests
from dynamo.bench.route import Route
from dynamo.bench.schedule import TICK_S, OpenLoop

DIAL_S = 1.0
"""How long a connection may take to come about; the other nodes are waiting to be loaded."""

CLOSE_S = 1.0
"""How long the loop may take to report the end of a connection; it does so at once, as a rule."""

SWEEP_S = 0.05
"""How often overdue requests are looked for; a look costs no more than a few requests."""


class Load:
    """The connections of a plan during one phase."""

    def __init__(self, plan: Plan, phase: Phase, kind: type[Connection]) -> None:
        self._plan = plan
        self._phase = phase
        self._kind = kind
        self._requests = [Requests(plan, node) for node in plan.nodes]
        self._up: dict[Connection, tuple[Route, int]] = {}

    @property
    def busy(self) -> bool:
        """A request is under way."""
        return any(connection.sent_s is not None for connection in self._up)

    async def run(self) -> None:
        """Carry the load until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._plan.connections):
                home = number % len(self._plan.nodes)
                group.create_task(self._keep_up(Route(nodes=len(self._plan.nodes), home=home)))
            group.create_task(self._sweep())
            if isinstance(self._phase.pace, OpenLoop):
                group.create_task(self._hand_out())

    async def _keep_up(self, route: Route) -> None:
        """One connection, dialled anew whenever it ends."""
        while True:
            node, wait_s = route.pick(self._phase.now_s())
            await asyncio.sleep(wait_s)
            connection = await self._dial(node)
            if connection is None:
                route.failed(node, self._phase.now_s())
                continue
            self._up[connection] = (route, node)
            try:
                await connection.ended.wait()
                if connection.has_worked:
                    route.worked(node)
                if not connection.left:
                    route.failed(node, self._phase.now_s())
            finally:
                connection.close()
                del self._up[connection]
                with suppress(TimeoutError):
                    async with asyncio.timeout(CLOSE_S):
                        await connection.ended.wait()

    async def _dial(self, node: int) -> Connection | None:
        address = self._plan.nodes[node]
        try:
            async with asyncio.timeout(min(DIAL_S, self._plan.timeout_s)):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: self._kind(self._phase, self._requests[node]),
                    address.host,
                    address.port,
                )
        except OSError as error:
            self._phase.tally.dials_failed[_reason(error)] += 1
            return None
        return connection

    async def _sweep(self) -> None:
        """Now and then, end what is overdue and send home whose home may be back."""
        while True:
            now_s = self._phase.now_s()
            for connection, (route, node) in self._up.items():
                connection.leave = route.should_go_home(node, now_s)
                sent_s = connection.sent_s
                if sent_s is not None and now_s - sent_s > self._plan.timeout_s:
                    connection.give_up("timeout")
                elif connection.leave and sent_s is None:
                    connection.close()
            self._phase.tally.fold()
            await asyncio.sleep(SWEEP_S)

    async def _hand_out(self) -> None:
        """In an open loop: give requests that are due to connections that are free."""
        while True:
            now_s = self._phase.now_s()
            while self._phase.idle:
                began_s = self._phase.pace.next(now_s)
                if began_s is None:
                    break
                self._phase.idle.pop().begin(began_s, now_s)
            await asyncio.sleep(TICK_S)


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    return "refused" if isinstance(error, ConnectionRefusedError) else "unreachable"
