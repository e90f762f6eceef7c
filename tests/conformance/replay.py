"""Sends the requests of a record to a server, one after the other, and compares its answers.

Two things stand in for the leisure with which they were recorded. What only makes ready, while all
nodes are up, is done when all replicas have it, so that what asks a single one finds it. And the
request that has a millisecond is sent again while the machine is too slow for it.
"""

import asyncio
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.conformance.comparing import differences, learn, outcome
from tests.conformance.pairs import Pairs
from tests.conformance.record import Exchange
from tests.unit.http.talk import HeaderLines, Talk, Told

ANSWER_S_MAX = 30.0

HURRIED = frozenset({"242-q-timeout-1"})
HURRIED_TRIALS_MAX = 200


class Differing(NamedTuple):
    """An answer that is not the recorded one."""

    exchange: Exchange
    told: Told
    outcome: str


class Replay:
    """One server, and what it chose so far in the place of what Riak chose."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pairs = Pairs()

    async def play(self, exchanges: Iterable[Exchange]) -> dict[str, Differing]:
        """Exchanges in their order; the names of those whose answers differ, and how."""
        found = {}
        for exchange in exchanges:
            await asyncio.sleep(exchange.wait_s)
            if exchange.expected is None:
                await self._ask(_whole(exchange) if exchange.state == "up" else exchange)
                continue
            told = await self._ask(exchange)
            for _ in range(HURRIED_TRIALS_MAX if exchange.name in HURRIED else 0):
                if told.status == exchange.expected.status:
                    break
                told = await self._ask(exchange)
            parts = differences(exchange, told, self._pairs)
            learn(exchange, told, self._pairs)
            if parts:
                found[exchange.name] = Differing(exchange, told, outcome(told, parts))
        return found

    async def _ask(self, exchange: Exchange) -> Told:
        translated = self._pairs.translated
        headers = [(name, translated(text)) for name, text in exchange.headers]
        return await ask(
            self._url, exchange.method, translated(exchange.path), headers, exchange.body
        )


async def ask(
    url: str, method: str, path: str, headers: HeaderLines = (), body: bytes | None = None
) -> Told:
    """One request on a connection of its own."""
    address = urlsplit(url)
    async with asyncio.timeout(ANSWER_S_MAX):
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            return await Talk(reader, writer).ask(method, path, headers, body)
        finally:
            writer.close()


def _whole(exchange: Exchange) -> Exchange:
    """The same, answered when all replicas have answered: a receipt is asked for."""
    path = exchange.path
    return exchange._replace(path=f"{path}{'&' if '?' in path else '?'}trace=true")
