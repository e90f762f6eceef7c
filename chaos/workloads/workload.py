"""What all workloads are: steps of clients, over objects that nobody else uses.

Several workloads, and one workload in several modes, run side by side in one cluster; so each has
a bucket of its own, named after both.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from random import Random
from typing import Final

from chaos.clients import LabClient, Reply
from chaos.errors import ClusterError
from chaos.modes import Mode
from chaos.observer import Place
from chaos.recording import Outcome

PRELOAD: Final = "preload"
"""The note of operations that put objects in place before anything is broken."""

UNKNOWN_MAX: Final = 8
"""Writes of one client to a key of which it does not know what became, before it looks again.

Each may be there as a sibling, since all have the context of the last answer; the store takes 100.
"""

_PRELOADS_AT_ONCE: Final = 8
_PRELOAD_TRIES: Final = 3


class Workload(ABC):
    """One pattern of use in one mode.

    Attributes:
        name: as it stands in the history; distinct where one mode has two variants.
        mode: what its clients choose.
        bucket: whose objects it uses.
        keys: of these objects.
    """

    def __init__(self, name: str, mode: Mode, *, keys: int) -> None:
        self.name = name
        self.mode = mode
        self.bucket = f"{name}-{mode.slug}"
        self.keys = tuple(f"k{number}" for number in range(keys))

    def objects(self) -> tuple[Place, ...]:
        """All places it touches."""
        return tuple((str(self.mode.conflicts), self.bucket, key) for key in self.keys)

    async def prepare(self, clients: Mapping[str, LabClient]) -> None:  # noqa: B027 - few need it
        """Put in place what must be there before the first step.

        Args:
            clients: all of the take, by name.

        Raises:
            ClusterError: the cluster does not take it.
        """

    @abstractmethod
    async def step(self, client: LabClient, dice: Random, intended_s: float) -> None:
        """What a client does at one arrival.

        Args:
            client: does it.
            dice: for all choices; nobody else draws from it.
            intended_s: when the first request is due; others follow as soon as they can.
        """

    async def _get(
        self, client: LabClient, key: str, dice: Random, intended_s: float | None = None
    ) -> Reply:
        node = client.draw_node(dice)
        return await client.get(self.mode, self.name, self.bucket, key, node, intended_s=intended_s)

    async def _put(
        self,
        client: LabClient,
        key: str,
        dice: Random,
        *,
        based_on: Reply | None,
        payload: str = "",
        returning: bool = False,
        intended_s: float | None = None,
    ) -> Reply:
        return await client.put(
            self.mode,
            self.name,
            self.bucket,
            key,
            client.draw_node(dice),
            based_on=based_on,
            payload=payload,
            returning=returning,
            intended_s=intended_s,
        )

    async def _delete(self, client: LabClient, key: str, dice: Random, *, based_on: Reply) -> Reply:
        node = client.draw_node(dice)
        return await client.delete(self.mode, self.name, self.bucket, key, node, based_on=based_on)

    async def _preload(
        self, writers: Mapping[str, LabClient], payload: str = ""
    ) -> dict[str, Reply]:
        """Write each key once.

        Args:
            writers: key, and who writes it.
            payload: what every value is about.

        Returns:
            For each key, what showed it with its context.

        Raises:
            ClusterError: the cluster does not take it.
        """
        room = asyncio.Semaphore(_PRELOADS_AT_ONCE)

        async def of(number: int, key: str) -> Reply:
            client = writers[key]
            async with room:
                for attempt in range(_PRELOAD_TRIES):
                    node = client.nodes[(number + attempt) % len(client.nodes)]
                    reply = await client.put(
                        self.mode,
                        self.name,
                        self.bucket,
                        key,
                        node,
                        payload=payload,
                        returning=True,
                        note=PRELOAD,
                    )
                    if reply.is_ok:
                        return reply
            raise ClusterError(f"the cluster did not take {key} of {self.bucket} before the start")

        replies = await asyncio.gather(*(of(n, key) for n, key in enumerate(writers)))
        return dict(zip(writers, replies, strict=True))


class Memory:
    """What clients were last shown of each key, to base their next write of it on.

    The lanes of a client share it: they are one program that does several things at a time.
    """

    def __init__(self) -> None:
        self._first: Mapping[str, Reply] = {}
        self._last: dict[tuple[str, str], Reply] = {}
        self._unknown: dict[tuple[str, str], int] = {}

    def begin(self, shown: Mapping[str, Reply]) -> None:
        """What all clients know from the start, by key."""
        self._first = shown

    def of(self, client: LabClient, key: str) -> Reply | None:
        """What a client was last shown of a key with a context; None if it never was."""
        return self._last.get((client.home, key)) or self._first.get(key)

    def must_look(self, client: LabClient, key: str) -> bool:
        """Whether a client has to read a key before it may write it again; see `UNKNOWN_MAX`."""
        return self._unknown.get((client.home, key), 0) >= UNKNOWN_MAX

    def note(self, client: LabClient, key: str, reply: Reply) -> None:
        """Keep what a client was shown. Without a context it is no better than what it had."""
        which = (client.home, key)
        if reply.outcome is Outcome.INFO:
            self._unknown[which] = self._unknown.get(which, 0) + 1
        elif reply.is_ok:
            self._unknown.pop(which, None)
        if reply.context is not None:
            self._last[which] = reply
