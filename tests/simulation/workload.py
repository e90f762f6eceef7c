"""Clients of a simulated cluster, and the history of what they tried and were told.

Each client remembers, per key, the values and the context it was last shown, and bases writes and
deletes on it, stale as it may be; or it writes blindly, or reads first. What it saw goes into the
history with the write: that is all the checks judge from.
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
from tests.simulation.asking import Seen, delete, get, key_of, put, seen_in
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
        siblings: the most values that one of them was shown at once.
        copies_may_go: a machine may lose what it holds, so some of what follows is not promised.
    """

    def __init__(self, *, copies_may_go: bool = False) -> None:
        self.reads: list[Read] = []
        self.violations: list[Violation] = []
        self.siblings = 0
        self.copies_may_go = copies_may_go
        self._writes: list[Write] = []
        self._ended: list[tuple[Outcome, WriteQuorum | None]] = []
        self._before: dict[str, frozenset[str]] = {}
        self._strict: dict[str, dict[str, WriteQuorum]] = {}
        self._deletes: dict[str, list[int]] = {}

    def invoke(self, key: str, value: str, saw: frozenset[str], *, deletes: bool = False) -> int:
        """A write is under way; returns its number."""
        self._writes.append(
            Write(key=key, value=value, saw=saw, outcome=Outcome.UNKNOWN, deletes=deletes)
        )
        self._ended.append((Outcome.UNKNOWN, None))
        self._before[value] = saw.union(*(self._before.get(seen, ()) for seen in saw))
        number = len(self._writes) - 1
        if deletes:
            self._deletes.setdefault(key, []).append(number)
        return number

    def show(self, key: str, values: frozenset[str]) -> None:
        """A client was shown this."""
        self.reads.append(Read(key=key, values=values))
        self.siblings = max(self.siblings, len(values))

    def up_to(self, values: frozenset[str]) -> frozenset[str]:
        """These values and all that come before them."""
        return values.union(*(self._before.get(value, ()) for value in values))

    def deleted(self, key: str) -> frozenset[str]:
        """What may be gone from a key because somebody deleted it, or tried to."""
        return frozenset[str]().union(
            *(
                self._before[self._writes[number].value]
                for number in self._deletes.get(key, ())
                if self._ended[number][0] is not Outcome.FAILED
            )
        )

    def must_show(self, key: str, quorum: ReadQuorum) -> set[str]:
        """What a read of a key that begins now has to show, or something after it.

        Strict quorums of which any two share a node: what one acknowledged, the next one sees.
        With `notfound_ok` off a read may end at the first replica that lacks the key, as Riak's do.
        """
        if self.copies_may_go or quorum.sloppy or not quorum.notfound_ok:
            return set()
        return {
            value
            for value, strict in self._strict.get(key, {}).items()
            if strict.needed + quorum.needed > quorum.n
        }

    def ended(self, number: int, outcome: Outcome, quorum: WriteQuorum) -> None:
        """A write ended for its client."""
        self._ended[number] = outcome, quorum
        write = self._writes[number]
        if outcome is Outcome.ACKNOWLEDGED and not quorum.sloppy and not write.deletes:
            self._strict.setdefault(write.key, {})[write.value] = quorum

    def write(self, number: int) -> Write:
        """What was invoked under that number; its outcome is not told."""
        return self._writes[number]

    @property
    def writes(self) -> list[Write]:
        """In the order in which they were invoked.

        What one machine alone acknowledged is in doubt where a machine may lose what it holds.
        """
        return [
            replace(write, outcome=self._outcome(outcome, quorum))
            for write, (outcome, quorum) in zip(self._writes, self._ended, strict=True)
        ]

    def _outcome(self, outcome: Outcome, quorum: WriteQuorum | None) -> Outcome:
        in_doubt = self.copies_may_go and quorum is not None and quorum.needed < 2
        return Outcome.UNKNOWN if in_doubt and outcome is Outcome.ACKNOWLEDGED else outcome

    def count(self, outcome: Outcome) -> int:
        """How many writes ended so."""
        return sum(ended is outcome for ended, _ in self._ended)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """What clients do.

    Attributes:
        clients: how many.
        keys: names.
        weights: how often a key is used, relative to the others; empty if all are alike.
        pause_s: mean time between two steps of a client.
        read, blind, update: shares of reads, of writes without a context, and of writes with the
            context at hand; what is left of 1 are writes that read first.
        delete: how many writes out of 1 are deletes.
        hints_stay: a stand-in's copy does not go for its age or its size.
        write_quorums: one is drawn for each write.
        read_quorums: one is drawn for each read.
        timeout_s: of a request.
    """

    clients: int
    keys: Sequence[str]
    pause_s: float
    write_quorums: Sequence[WriteQuorum]
    read_quorums: Sequence[ReadQuorum]
    weights: Sequence[float] = ()
    read: float = 0.3
    blind: float = 0.1
    update: float = 0.3
    delete: float = 0.0
    hints_stay: bool = True
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
                [key] = dice.choices(mix.keys, mix.weights or None)
                await self._step(key, dice.random())

    async def _step(self, key: str, kind: float) -> None:
        mix = self._mix
        if kind < mix.read:
            await self.get(key)
            return
        write = self.delete if self._dice.random() < mix.delete else self.put
        if kind < mix.read + mix.blind:
            await write(key, None)
        elif kind < mix.read + mix.blind + mix.update:
            await write(key, self._seen.get(key))
        elif await self.get(key):
            await write(key, self._seen[key])

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
        self._check_shown(key, self._seen[key].values, must_show, quorum)
        self._note(f"get {key} at {node} r={quorum.r}: {sorted(self._seen[key].values)}")
        return True

    def _check_shown(
        self, key: str, values: frozenset[str], must_show: set[str], quorum: ReadQuorum
    ) -> None:
        missing = must_show - self._history.up_to(values)
        if missing and (missing := missing - self._history.deleted(key)):
            self._violated("stale", key, f"a read with {quorum} did not show {sorted(missing)}")

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
        begun_s = self._world.loop.time()
        outcome, written = await self._outcome(what, node, work)
        if written is not None:
            self._note(f"{what}: {outcome.value} acks={written.acks}")
            self._check_copies(key, number, quorum, node, begun_s)
            if written.state is not None:
                self._show(key, written.state)
        self._history.ended(number, outcome, quorum)

    async def delete(self, key: str, seen: Seen | None) -> None:
        """Delete what was seen; without that, what the node finds."""
        self._writes += 1
        name, history, dice = f"{self._name}.{self._writes}x", self._history, self._dice
        read, write = dice.choice(self._mix.read_quorums), dice.choice(self._mix.write_quorums)
        node, timeout_s = self._home, self._mix.timeout_s
        what = f"delete {name} of {key} at {node} r={read.r} w={write.w}"
        must_show = history.must_show(key, read)
        numbers: list[int] = []

        def covers(values: frozenset[str]) -> None:
            self._note(f"{what} over {sorted(values)}")
            numbers.append(history.invoke(key, name, values, deletes=True))

        def overhear(state: Siblings) -> None:
            values = seen_in(state).values
            history.show(key, values)
            self._check_shown(key, values, must_show, read)
            covers(values)

        if seen is not None:
            covers(seen.values)
        begun_s = self._world.loop.time()
        work = delete(
            self._world,
            node,
            key_of(key),
            read,
            write,
            context=seen.context if seen else None,
            timeout_s=timeout_s,
            overhear=overhear,
        )
        outcome, deleted = await self._outcome(what, node, work)
        if not numbers:
            return  # Its read failed, or is still under way: nothing was written on its behalf.
        if deleted is not None:
            self._note(f"{what}: {outcome.value}{'' if deleted else ', nothing was there'}")
        if deleted:
            self._check_copies(key, numbers[0], write, node, begun_s)
        history.ended(numbers[0], outcome, write)

    async def _outcome(
        self, what: str, node: NodeId, work: Coroutine[Any, Any, T]
    ) -> tuple[Outcome, T | None]:
        """How a write ended, and what it answered."""
        try:
            return Outcome.ACKNOWLEDGED, await self._patiently(node, work)
        except DynamoError as error:
            outcome = Outcome.FAILED if error.definite else Outcome.UNKNOWN
            self._note(f"{what}: {outcome.value} {error!r}")
        except (ProcessDied, TimeoutError) as error:
            outcome = Outcome.UNKNOWN
            self._note(f"{what}: {outcome.value} {error!r}")
        return outcome, None

    def _check_copies(
        self, key: str, number: int, quorum: WriteQuorum, node: NodeId, begun_s: float
    ) -> None:
        """An acknowledgement means that so many nodes have the write on their disks.

        Those that died or lost their disk meanwhile may have had it, and so may any stand-in where
        hints do not stay. A stand-in's copy counts only if it may. What somebody has deleted since
        cannot be looked for.
        """
        world = self._world
        asked = world.machines[node].node
        write = self._history.write(number)
        if asked is None or (not write.deletes and write.value in self._history.deleted(key)):
            return  # It died with its last word, and whom it took for primaries is gone with it.
        wanted = primaries(asked, key_of(key), quorum.n)
        at_primaries, elsewhere = 0, 0
        states = held(world, key_of(key))
        for name in world.names:
            copy, hints = states.get(name, (None, {}))
            excused = name not in states or world.machines[name].lost_s >= begun_s
            if name in wanted and (excused or self._has(copy, write)):
                at_primaries += 1
            elif (
                excused
                or not self._mix.hints_stay
                or any(self._has(hint, write) for hint in hints.values())
            ):
                elsewhere += 1
        copies = at_primaries + (elsewhere if quorum.sloppy else 0)
        if at_primaries < quorum.pw or copies < quorum.needed:
            text = f"{write.value} was acknowledged with {quorum}; {copies} nodes have it"
            self._violated("copies", key, f"{text}, {at_primaries} of them primaries")

    def _has(self, state: bytes | None, write: Write) -> bool:
        if not state:
            return False
        values = seen_in(decode_siblings(state)).values
        if write.deletes:
            return not values & write.saw
        return write.value in self._history.up_to(values)

    def _show(self, key: str, state: Siblings) -> None:
        seen = self._seen[key] = seen_in(state)
        self._history.show(key, seen.values)

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
