"""Clients of a simulated cluster, and the history of what they tried and were told.

Each client remembers, per key, the values and the context it was last shown, and bases writes on
it, stale as it may be; or it writes blindly, or reads first. What it saw goes into the history with
the write: that is all the checks judge from.
"""

import asyncio
import random
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from dynamo.core.codec import decode_siblings
from dynamo.core.conflicts import shown
from dynamo.core.ids import DEFAULT_BUCKET_TYPE, Key, NodeId
from dynamo.core.quorum import Conflicts, ReadQuorum, WriteQuorum
from dynamo.core.siblings import Context, Siblings
from dynamo.core.values import Value
from dynamo.errors import DynamoError
from tests.simulation.checks import Outcome, Read, Violation, Write
from tests.simulation.copies import held, primaries
from tests.simulation.process import ProcessDied
from tests.simulation.world import World

T = TypeVar("T")

OVERTIME_S = 1.0
"""What a client waits beyond its request's timeout before it hangs up."""


def key_of(name: str) -> Key:
    """A key in the one bucket of all simulations."""
    return Key(DEFAULT_BUCKET_TYPE, b"b", name.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a client was shown of a key."""

    values: frozenset[str]
    context: Context


def seen_in(state: Siblings) -> Seen:
    """What a client is shown of a state, in a bucket that keeps siblings."""
    values = frozenset(value.body.decode() for _, value in shown(state, Conflicts.SIBLINGS))
    return Seen(values=values, context=state.context())


class History:
    """What all clients tried and were told.

    Attributes:
        reads: what they were shown.
        violations: what they noticed at once.
    """

    def __init__(self) -> None:
        self.reads: list[Read] = []
        self.violations: list[Violation] = []
        self._writes: list[Write] = []
        self._outcomes: list[Outcome] = []
        self._before: dict[str, frozenset[str]] = {}

    def invoke(self, key: str, value: str, saw: frozenset[str]) -> int:
        """A write is under way; returns its number."""
        self._writes.append(Write(key=key, value=value, saw=saw, outcome=Outcome.UNKNOWN))
        self._outcomes.append(Outcome.UNKNOWN)
        self._before[value] = saw.union(*(self._before[seen] for seen in saw))
        return len(self._writes) - 1

    def is_in(self, value: str, values: frozenset[str]) -> bool:
        """Whether a value is among others, or comes before one of them."""
        return value in values or any(value in self._before[other] for other in values)

    def ended(self, number: int, outcome: Outcome) -> None:
        """A write ended for its client."""
        self._outcomes[number] = outcome

    @property
    def writes(self) -> list[Write]:
        """In the order in which they were invoked."""
        return [
            Write(key=write.key, value=write.value, saw=write.saw, outcome=outcome)
            for write, outcome in zip(self._writes, self._outcomes, strict=True)
        ]

    def count(self, outcome: Outcome) -> int:
        """How many writes ended so."""
        return self._outcomes.count(outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """What clients do.

    Attributes:
        clients: how many.
        keys: names.
        pause_s: mean time between two steps of a client.
        read, blind, update: shares of reads, of writes without a context, and of writes with the
            context at hand; what is left of 1 are writes that read first.
        write_quorums: one is drawn for each write.
        read_quorums: one is drawn for each read.
        timeout_s: of a request.
    """

    clients: int
    keys: Sequence[str]
    pause_s: float
    write_quorums: Sequence[WriteQuorum]
    read_quorums: Sequence[ReadQuorum]
    read: float = 0.3
    blind: float = 0.1
    update: float = 0.3
    timeout_s: float = 3.0


class Client:
    """One client."""

    def __init__(self, world: World, name: str, mix: Mix, history: History) -> None:
        self._world = world
        self._name = name
        self._mix = mix
        self._history = history
        self._dice: random.Random = world.dice(f"client/{name}")
        self._home = self._dice.choice(world.names)
        self._seen: dict[str, Seen] = {}
        self._writes = 0

    async def run(self, until_s: float) -> None:
        """Do one thing after the other."""
        loop, dice, mix = self._world.loop, self._dice, self._mix
        while loop.time() < until_s:
            await asyncio.sleep(dice.expovariate(1.0) * mix.pause_s)
            if dice.random() < 0.2:
                self._home = dice.choice(self._world.names)
            if self._world.machines[self._home].serving:
                await self._step(dice.choice(mix.keys), dice.random())

    async def _step(self, key: str, kind: float) -> None:
        mix = self._mix
        if kind < mix.read:
            await self.get(key)
        elif kind < mix.read + mix.blind:
            await self.put(key, None)
        elif kind < mix.read + mix.blind + mix.update:
            await self.put(key, self._seen.get(key))
        elif await self.get(key):
            await self.put(key, self._seen[key])

    async def get(self, key: str) -> bool:
        """Read; returns whether there was an answer."""
        quorum = self._dice.choice(self._mix.read_quorums)
        node, timeout_s = self._home, self._mix.timeout_s
        work = self._world.call(
            node, lambda at: at.coordinator.get(key_of(key), quorum, timeout_s=timeout_s)
        )
        try:
            state = await self._patiently(node, work)
        except (DynamoError, ProcessDied, TimeoutError) as error:
            self._note(f"get {key} at {node} r={quorum.r}: {error!r}")
            return False
        self._show(key, state)
        self._note(f"get {key} at {node} r={quorum.r}: {sorted(self._seen[key].values)}")
        return True

    async def put(self, key: str, seen: Seen | None) -> None:
        """Write a new value over what was seen."""
        self._writes += 1
        text = f"{self._name}.{self._writes}"
        saw = seen.values if seen else frozenset[str]()
        context = seen.context if seen else None
        number = self._history.invoke(key, text, saw)
        quorum = self._dice.choice(self._mix.write_quorums)
        return_state = self._dice.random() < 0.3
        node, timeout_s = self._home, self._mix.timeout_s
        what = f"put {text} to {key} at {node} w={quorum.w} over {sorted(saw)}"
        self._note(what)
        work = self._world.call(
            node,
            lambda at: at.coordinator.put(
                key_of(key),
                Value(body=text.encode(), modified_at_ms=at.wall_ms()),
                context,
                quorum,
                Conflicts.SIBLINGS,
                timeout_s=timeout_s,
                return_state=return_state,
            ),
        )
        outcome = Outcome.UNKNOWN
        try:
            written = await self._patiently(node, work)
        except DynamoError as error:
            outcome = Outcome.FAILED if error.definite else Outcome.UNKNOWN
            self._note(f"{what}: {outcome.value} {error!r}")
        except (ProcessDied, TimeoutError) as error:
            self._note(f"{what}: {outcome.value} {error!r}")
        else:
            outcome = Outcome.ACKNOWLEDGED
            self._note(f"{what}: {outcome.value} acks={written.acks}")
            self._check_copies(key, text, quorum)
            if written.state is not None:
                self._show(key, written.state)
        self._history.ended(number, outcome)

    def _check_copies(self, key: str, value: str, quorum: WriteQuorum) -> None:
        """An acknowledgement means that so many nodes have the write on their disks.

        Those that died meanwhile may have had it. A stand-in's copy counts only if it may.
        """
        wanted = primaries(self._world, key_of(key), quorum.n)
        at_primaries, elsewhere = 0, 0
        states = held(self._world, key_of(key))
        for name in self._world.names:
            copy, hints = states.get(name, (None, {}))
            if name in wanted and (name not in states or self._has(copy, value)):
                at_primaries += 1
            elif name not in states or any(self._has(hint, value) for hint in hints.values()):
                elsewhere += 1
        copies = at_primaries + (elsewhere if quorum.sloppy else 0)
        if at_primaries < quorum.pw or copies < quorum.needed:
            text = f"{value} was acknowledged with {quorum}; {copies} nodes have it, {at_primaries}"
            self._violated("copies", key, f"{text} of them primaries")

    def _has(self, state: bytes | None, value: str) -> bool:
        if not state:
            return False
        return self._history.is_in(value, seen_in(decode_siblings(state)).values)

    def _show(self, key: str, state: Siblings) -> None:
        seen = self._seen[key] = seen_in(state)
        self._history.reads.append(Read(key=key, values=seen.values))

    async def _patiently(self, node: NodeId, work: Coroutine[Any, Any, T]) -> T:
        """Wait for an answer, and hang up a while after the request's own deadline."""
        begun_s = self._world.loop.time()
        try:
            async with asyncio.timeout(self._mix.timeout_s + OVERTIME_S):
                return await work
        except TimeoutError:
            machine = self._world.machines[node]
            if not machine.frozen and machine.thawed_s < begun_s:
                self._violated("deadline", "*", f"{node} did not answer {self._name} in time")
            raise

    def _violated(self, rule: str, key: str, text: str) -> None:
        self._history.violations.append(Violation(rule=rule, key=key, text=text))
        self._note(f"{rule}: {text}")

    def _note(self, text: str) -> None:
        self._world.trace.note(f"{self._name} {text}")
