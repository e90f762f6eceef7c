"""Clients of a simulated cluster, and the history of what they tried and were told.

Each client remembers, per key, the values and the context it was last shown, and bases writes on
it, stale as it may be; or it writes blindly, or reads first. What it saw goes into the history with
the write: that is all the checks judge from.
"""

import asyncio
import random
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from dynamo.core.codec import decode_siblings
from dynamo.core.ids import NodeId
from dynamo.core.quorum import ReadQuorum, WriteQuorum
from dynamo.core.siblings import Siblings
from dynamo.errors import DynamoError
from tests.simulation.asking import Seen, get, key_of, put, seen_in
from tests.simulation.checks import Outcome, Read, Violation, Write
from tests.simulation.copies import held, primaries
from tests.simulation.process import ProcessDied
from tests.simulation.world import World

T = TypeVar("T")

OVERTIME_S = 1.0
"""What a client waits beyond its request's timeout before it hangs up."""


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
        self._strict: dict[str, dict[str, WriteQuorum]] = {}

    def invoke(self, key: str, value: str, saw: frozenset[str]) -> int:
        """A write is under way; returns its number."""
        self._writes.append(Write(key=key, value=value, saw=saw, outcome=Outcome.UNKNOWN))
        self._outcomes.append(Outcome.UNKNOWN)
        self._before[value] = saw.union(*(self._before.get(seen, ()) for seen in saw))
        return len(self._writes) - 1

    def up_to(self, values: frozenset[str]) -> frozenset[str]:
        """These values and all that come before them."""
        return values.union(*(self._before.get(value, ()) for value in values))

    def must_show(self, key: str, quorum: ReadQuorum) -> set[str]:
        """What a read of a key that begins now has to show, or something after it.

        Strict quorums of which any two share a node: what one acknowledged, the next one sees.
        With `notfound_ok` off a read may end at the first replica that lacks the key, as Riak's do.
        """
        if quorum.sloppy or not quorum.notfound_ok:
            return set()
        return {
            value
            for value, strict in self._strict.get(key, {}).items()
            if strict.needed + quorum.needed > quorum.n
        }

    def ended(self, number: int, outcome: Outcome, quorum: WriteQuorum) -> None:
        """A write ended for its client."""
        self._outcomes[number] = outcome
        if outcome is Outcome.ACKNOWLEDGED and not quorum.sloppy:
            write = self._writes[number]
            self._strict.setdefault(write.key, {})[write.value] = quorum

    @property
    def writes(self) -> list[Write]:
        """In the order in which they were invoked."""
        return [
            replace(write, outcome=outcome)
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
        must_show = self._history.must_show(key, quorum)
        work = get(self._world, node, key_of(key), quorum, timeout_s=timeout_s)
        try:
            state = await self._patiently(node, work)
        except (DynamoError, ProcessDied, TimeoutError) as error:
            self._note(f"get {key} at {node} r={quorum.r}: {error!r}")
            return False
        self._show(key, state)
        if missing := must_show - self._history.up_to(self._seen[key].values):
            self._violated("stale", key, f"a read with {quorum} did not show {sorted(missing)}")
        self._note(f"get {key} at {node} r={quorum.r}: {sorted(self._seen[key].values)}")
        return True

    async def put(self, key: str, seen: Seen | None) -> None:
        """Write a new value over what was seen."""
        self._writes += 1
        text = f"{self._name}.{self._writes}"
        saw = seen.values if seen else frozenset[str]()
        number = self._history.invoke(key, text, saw)
        quorum = self._dice.choice(self._mix.write_quorums)
        node, timeout_s = self._home, self._mix.timeout_s
        what = f"put {text} to {key} at {node} w={quorum.w} over {sorted(saw)}"
        self._note(what)
        work = put(
            self._world,
            node,
            key_of(key),
            text,
            quorum,
            context=seen.context if seen else None,
            timeout_s=timeout_s,
            return_state=self._dice.random() < 0.3,
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
            self._check_copies(key, text, quorum, node)
            if written.state is not None:
                self._show(key, written.state)
        self._history.ended(number, outcome, quorum)

    def _check_copies(self, key: str, value: str, quorum: WriteQuorum, node: NodeId) -> None:
        """An acknowledgement means that so many nodes have the write on their disks.

        Those that died meanwhile may have had it. A stand-in's copy counts only if it may.
        """
        asked = self._world.machines[node].node
        if asked is None:
            return  # It died with its last word; whom it took for primaries is gone with it.
        wanted = primaries(asked, key_of(key), quorum.n)
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
        return value in self._history.up_to(seen_in(decode_siblings(state)).values)

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
