"""Collecting tombstones: a deleted key is forgotten once nothing can bring its value back.

Riak and Cassandra forget by time (`delete_mode`, `gc_grace_seconds`), and whoever was away for
longer brings the value back; here every node must have said that it has nothing, however long that
takes, so a node that is down keeps tombstones waiting.

    ask       all nodes that are not removed, those that join too: the digest of your copy, whether
              you keep a hint, and the number of your watch over the key; forget what you minted of
              it from nothing (`afresh`)
    wait      `settle_s`, ask again, wait, ask again
    collect   tell the primaries to drop the key if they still hold just that, this node last

Every primary must hold this very tombstone, durably, nobody else anything, and nobody a hint; all
answers, and the facts that all nodes know (with them members, ring, and n of every bucket), must be
the same three times. Anything else, and it begins anew some other time.

Why nothing older can arrive afterwards. A state is *stale* if a value lives in it that this
tombstone has seen.

* Disks. When a node first answers it holds nothing stale, and nothing of the key is on its way to
  its disk. Whatever comes for the key later, for the own copy or as a hint, ends the watch, even if
  it goes again before the next question; so does a new start of the process, wiped or not, and that
  changes the facts too. Three equal answers show that no disk held anything stale in between.
* Memory. So a stale state in the memory of a write or read was there before all had answered the
  first time. `stragglers_s_max` later it is sent nowhere any more, and what was sent is refused
  when its timeout (no longer than that) and what a handshake may take are over: all before the
  second question, which `settle_s` sees to.
* A process that stands still between its look at the clock and its sending, or between its look at
  a message's age and its storing, has gone on before it answers the second question. What it sends
  then is too old before the third, and what it stores ends the watch.
* A machine that is suspended takes its clock along, and what it holds in memory stays young: each
  node's own clock must have gone on by `settle_s` from answer to answer.
* A node that joins has nothing. From one that was removed nobody takes writes who knows, and all
  know the same. A second collector with another view of the ring cannot go on, for the same reason;
  one with the same view does the same.
* Now nothing stale is left anywhere, for ever: a word to drop the key that comes late, or to some
  primaries only, leaves tombstones, not values. A tombstone that stayed may spread again, and is
  collected again. What is written meanwhile has dots above all that it covers (`Siblings.write`).

Not covered is a disk that goes back: a node restored from a backup older than the collection, or a
machine that loses what its disk had confirmed. Such a node is to be started empty instead.

So whoever sends on a state that was read from a disk must do so within `stragglers_s_max`, or keep
it on the disk until it has arrived.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from dynamo.core.codec import only_tombstones
from dynamo.core.ids import Bucket, NodeId, decode_key
from dynamo.core.tombstones import TombstoneReport, TombstoneWait
from dynamo.errors import DynamoError, StorageError
from dynamo.node.cluster_view import ClusterView
from dynamo.node.pacing import Pacer
from dynamo.node.stats import Counters
from dynamo.node.tombstone_watch import KEYS_MAX, Standing
from dynamo.node.writes import Send
from dynamo.rpc.messages import (
    Reply,
    Request,
    TombstoneAsk,
    TombstoneCollect,
    TombstonesKept,
    TombstoneStands,
)
from dynamo.storage.objects import ObjectStore
from dynamo.storage.tombstones import Tombstone, TombstoneStore

log = logging.getLogger(__name__)

ROUNDS: Final = 3

SETTLING_MAX = 10_000
"""Keys collected together; they are watched everywhere meanwhile."""

PAUSE_S = 5.0
"""Between one look at tombstones and the next."""

PATIENCE = 1.1
"""A wait is so much longer than what is asked of the clocks of others, which may go slower."""

SAMPLE_KEYS_MAX = 5

LOOK_SHARE = 0.5
"""How much of `settle_s` a look may take. Watches last three times as long: until they are asked
for again, also where the pace is slow and many keys are asked about before."""

COUNTED_MAX = 5000
"""As many are counted anew for an operator (5 ms); of more, the last look is told of."""

_COUNTED_AT_ONCE = 1000

NOT_LOOKED_AT = "not looked at yet"
SETTLING = "settling"
SWITCHED_OFF = "collection is switched off"

_STANDINGS = {
    int(Standing.BUSY): "{} is storing it",
    int(Standing.HINT): "{} keeps a hint",
    int(Standing.FULL): "{} watches too many keys",
}


@dataclass(slots=True)
class Waiting:
    """What this node's own tombstones wait for: those of the partitions that it owns.

    Attributes:
        owned: how many there are.
        oldest_ms: since when the oldest of them waits; None if there is none.
        counts: how many wait, by reason; those that settle are not among them.
        samples: some keys for each reason, encoded.
        settling: keys on their way through the rounds, encoded.
    """

    owned: int = 0
    oldest_ms: int | None = None
    counts: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[bytes]] = field(default_factory=dict)
    settling: list[bytes] = field(default_factory=list)

    def found(self, tombstones: Iterable[Tombstone]) -> None:
        """They are there."""
        for tombstone in tombstones:
            self.owned += 1
            self.oldest_ms = min(self.oldest_ms or tombstone.since_ms, tombstone.since_ms)

    def wait(self, reason: str, key: bytes) -> None:
        """A key waits for something."""
        self.counts[reason] += 1
        sample = self.samples.setdefault(reason, [])
        if len(sample) < SAMPLE_KEYS_MAX:
            sample.append(key)

    def reasons(self) -> list[tuple[str, int, list[bytes]]]:
        """Each reason, how many wait for it, and some of them; the most frequent first."""
        told = [(reason, count, self.samples[reason]) for reason, count in self.counts.items()]
        if self.settling:
            told.append((SETTLING, len(self.settling), self.settling[:SAMPLE_KEYS_MAX]))
        return sorted(told, key=lambda entry: (-entry[1], entry[0]))


class _Candidate(NamedTuple):
    """A key that could be collected, as all answered.

    Attributes:
        digest: tells its state, at every primary.
        primaries: who holds it.
        watches: of all nodes, by node id.
    """

    key: bytes
    digest: bytes
    primaries: tuple[NodeId, ...]
    watches: tuple[int, ...]


class _Round(NamedTuple):
    """The answers about some keys.

    Attributes:
        facts: what all know.
        clocks_ms: of all nodes.
        candidates: keys with nothing in their way.
    """

    facts: bytes
    clocks_ms: Mapping[NodeId, int]
    candidates: Sequence[_Candidate]

    @property
    def keys(self) -> list[bytes]:
        return [candidate.key for candidate in self.candidates]


_NOTHING = _Round(b"", {}, ())


class _Place(NamedTuple):
    """Where a look begins: in a partition, behind an entry of its list."""

    partition: int
    after: bytes


_BEGIN = _Place(0, b"")


class Tombstones:
    """Collects the tombstones of the partitions that one node owns.

    Attributes:
        waiting: what they wait for, by the last look at them; None before the first.
    """

    def __init__(
        self,
        view: ClusterView,
        store: TombstoneStore,
        objects: ObjectStore,
        send: Send,
        pacer: Pacer,
        counters: Counters,
        clock_s: Callable[[], float],
        *,
        collects: bool,
        settle_s: float,
        call_timeout_s: float,
    ) -> None:
        """Nothing is asked yet.

        Args:
            view: the cluster as this node sees it.
            store: which keys are deleted.
            objects: the states of keys.
            send: how to ask, this node itself too.
            pacer: the gate of background work.
            counters: where those collected are counted.
            clock_s: the loop's clock.
            collects: whether `step` is ever called.
            settle_s: nothing that was begun or sent has an effect any more after this.
            call_timeout_s: how long an answer may take.
        """
        self.waiting: Waiting | None = None
        self._view = view
        self._store = store
        self._objects = objects
        self._send = send
        self._pacer = pacer
        self._counters = counters
        self._clock_s = clock_s
        self._collects = collects
        self._settle_s = settle_s
        self._call_timeout_s = call_timeout_s
        self._next = _BEGIN

    @property
    def held(self) -> int:
        """Tombstones that this node holds, whoever is to collect them."""
        return self._store.held

    def report(self) -> TombstoneReport:
        """What an operator is told."""
        waiting, held = self.waiting or Waiting(), self.held
        owned = self._owned_now() if held <= COUNTED_MAX else waiting.owned
        reasons = waiting.reasons()
        # What was deleted since, and all before the first look.
        others = owned - sum(count for _, count, _ in reasons)
        if others > 0:
            reasons.append((NOT_LOOKED_AT if self._collects else SWITCHED_OFF, others, []))
        return TombstoneReport(
            held=held,
            owned=owned,
            oldest_ms=waiting.oldest_ms,
            settling_s_max=(ROUNDS - 1) * self._settle_s * PATIENCE,
            waits=[
                TombstoneWait(reason=reason, count=count, keys=[decode_key(key) for key in keys])
                for reason, count, keys in reasons
            ],
        )

    def _owned_now(self) -> int:
        return sum(len(page) for page, _ in self._pages(_BEGIN, COUNTED_MAX))

    async def step(self) -> None:
        """Look at tombstones, collect what can be, and pause."""
        try:
            await self._look_and_collect()
        except DynamoError as error:  # the disk, most likely
            log.warning("collecting stopped", extra={"reason": str(error)})
        await asyncio.sleep(PAUSE_S)

    async def _look_and_collect(self) -> None:
        found = Waiting()
        rounds = await self._look(found)
        await self._count(found)
        found.settling = [key for one in rounds for key in one.keys]
        self.waiting = found
        for _ in range(ROUNDS - 1):
            if rounds:
                await asyncio.sleep(self._settle_s * PATIENCE)
                rounds = [await self._look_again(one, found) for one in rounds]
                rounds = [one for one in rounds if one.candidates]
                found.settling = [key for one in rounds for key in one.keys]
        for one in rounds:
            await self._collect(one.candidates, found)
        found.settling = []

    # -- looking ---------------------------------------------------------------------------------

    async def _look(self, found: Waiting) -> list[_Round]:
        """Go through tombstones of this node's own partitions, from where the last look ended.

        It ends behind the last of them, when as many settle as may, or when its time is up: watches
        do not last for ever. The next look is at those behind, so that all have their turn.
        """
        rounds: list[_Round] = []
        settling = 0
        until_s = self._clock_s() + self._settle_s * LOOK_SHARE
        for tombstones, behind in self._pages(self._next, KEYS_MAX):
            if settling + KEYS_MAX > SETTLING_MAX or self._clock_s() > until_s:
                break
            self._next = behind
            await self._pacer.admit(len(tombstones) + 1)
            keys = [one.key for one in tombstones if self._is_deleted(one.key)]
            if keys:
                rounds.append(await self._ask(keys, found))
                settling += len(rounds[-1].candidates)
        else:
            self._next = _BEGIN
        return [one for one in rounds if one.candidates]

    async def _count(self, found: Waiting) -> None:
        """Count all that are there, looked at or not.

        Not paced, at some 1 us each, but others have their turn between.
        """
        for tombstones, _ in self._pages(_BEGIN, _COUNTED_AT_ONCE):
            found.found(tombstones)
            await asyncio.sleep(0)

    def _pages(self, begin: _Place, limit: int) -> Iterator[tuple[list[Tombstone], _Place]]:
        """The tombstones of this node's own partitions, with each page where to go on behind it."""
        for partition in self._store.partitions():
            after, more = begin.after if partition == begin.partition else b"", True
            while more and partition >= begin.partition and self._owns(partition):
                tombstones, after = self._store.page(partition, after, limit)
                more = after != b""
                yield tombstones, _Place(partition, after) if more else _Place(partition + 1, b"")

    def _owns(self, partition: int) -> bool:
        primaries = self._view.ring.preference_list(partition, 1).primaries
        return primaries == (self._view.me,)

    def _is_deleted(self, key: bytes) -> bool:
        """Whether the entry of a key is right; one that is not, for certain, is struck out."""
        newest = self._objects.newest(key)
        if newest is not None and only_tombstones(newest):
            return True
        if newest == self._objects.get(key):
            self._store.strike(key, _struck)
        return False

    async def _look_again(self, before: _Round, found: Waiting) -> _Round:
        """Ask once more about the candidates; those that are not as they were drop out."""
        await self._pacer.admit(len(before.candidates))
        now = await self._ask(before.keys, found)
        if (slow := self._unlike(before, now)) is not None:
            _wait_all(now.keys, slow, found)
            return _NOTHING
        was = {candidate.key: candidate for candidate in before.candidates}
        same: list[_Candidate] = []
        for candidate in now.candidates:
            if candidate == was[candidate.key]:
                same.append(candidate)
            else:
                found.wait("something came for it meanwhile", candidate.key)
        return now._replace(candidates=same)

    def _unlike(self, before: _Round, now: _Round) -> str | None:
        """Why two rounds do not go together."""
        if now.facts != before.facts:
            return "the cluster changed meanwhile"
        for node, clock_ms in now.clocks_ms.items():
            if clock_ms - before.clocks_ms[node] < self._settle_s * 1000:
                return f"{node} stood still meanwhile"
        return None

    # -- asking ----------------------------------------------------------------------------------

    async def _ask(self, keys: list[bytes], found: Waiting) -> _Round:
        """Ask all nodes about some keys, and note for which of them something is in the way."""
        nodes = [record.node_id for record in self._view.membership.present()]
        for node in nodes:
            if node not in self._view.reachable:
                _wait_all(keys, f"{node} cannot be reached", found)
                return _NOTHING
        facts = self._view.facts.hash
        replies = await self._send_all({node: TombstoneAsk(keys) for node in nodes})
        answers: dict[NodeId, TombstoneStands] = {}
        for node, reply in replies.items():
            obstacle = _obstacle(node, reply, len(keys), facts)
            if obstacle is not None or not isinstance(reply, TombstoneStands):
                _wait_all(keys, obstacle or "", found)
                return _NOTHING
            answers[node] = reply
        candidates: list[_Candidate] = []
        for place, key in enumerate(keys):
            judged = self._judge(key, place, answers)
            if isinstance(judged, str):
                found.wait(judged, key)
            else:
                candidates.append(judged)
        clocks_ms = {node: answer.clock_ms for node, answer in answers.items()}
        return _Round(facts, clocks_ms, candidates)

    def _judge(
        self, key: bytes, place: int, answers: Mapping[NodeId, TombstoneStands]
    ) -> _Candidate | str:
        """Whether a key can be collected by these answers, the reason if it cannot."""
        bucket_type, bucket, _ = decode_key(key)
        properties = self._view.properties.of(Bucket(bucket_type, bucket))
        if properties is None:
            return "its bucket type is not known here"
        primaries = self._view.preference_list(key, properties.n_val).primaries
        wanted = answers[self._view.me].digests[place]
        for node, answer in answers.items():
            watch, digest = answer.watches[place], answer.digests[place]
            if watch < 1:
                return _STANDINGS.get(watch, "{} has an obstacle").format(node)
            if node not in primaries:
                if digest:
                    return f"{node} holds a copy that is not its"
            elif not digest:
                return f"{node} does not hold it"
            elif digest != wanted:
                return f"{node} holds another state"
        watches = tuple(answer.watches[place] for answer in answers.values())
        return _Candidate(key, wanted, primaries, watches)

    async def _send_all(
        self, requests: Mapping[NodeId, Request]
    ) -> dict[NodeId, Reply | DynamoError]:
        """Ask each node its own, and wait until all have answered or failed; in the same order."""
        replies: dict[NodeId, Reply | DynamoError] = {}
        all_in: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_reply(node: NodeId, reply: Reply | DynamoError) -> None:
            replies[node] = reply
            if len(replies) == len(requests) and not all_in.done():
                all_in.set_result(None)

        for node, request in requests.items():
            self._send(node, request, self._call_timeout_s, on_reply)
        await all_in
        return {node: replies[node] for node in requests}

    # -- collecting ------------------------------------------------------------------------------

    async def _collect(self, candidates: Sequence[_Candidate], found: Waiting) -> None:
        """Have the primaries drop what is settled, and this node as well when all others have."""
        me = self._view.me
        asked: dict[NodeId, TombstoneCollect] = {}
        for key, digest, primaries, _ in candidates:
            for node in primaries:
                if node != me:
                    request = asked.setdefault(node, TombstoneCollect([], []))
                    request.keys.append(key)
                    request.digests.append(digest)
        kept: set[bytes] = set()
        if asked:
            for node, reply in (await self._send_all(asked)).items():
                kept |= set(_kept(asked[node], reply))
        mine = [one for one in candidates if one.key not in kept]
        if mine:
            request = TombstoneCollect([one.key for one in mine], [one.digest for one in mine])
            kept |= set(_kept(request, (await self._send_all({me: request}))[me]))
        for candidate in candidates:
            if candidate.key in kept:
                found.wait("not all have dropped it yet", candidate.key)
            else:
                found.owned -= 1
                self._counters.tombstones_collected += 1
        log.info("tombstones collected", extra={"keys": len(candidates) - len(kept)})


def _obstacle(node: NodeId, reply: Reply | DynamoError, count: int, facts: bytes) -> str | None:
    """Why an answer is of no use."""
    if not isinstance(reply, TombstoneStands):
        return f"{node} did not answer"
    if len(reply.digests) != count or len(reply.watches) != count:
        return f"{node} answered nonsense"
    if reply.facts != facts:
        return f"{node} has other news of the cluster"
    return None


def _kept(request: TombstoneCollect, reply: Reply | DynamoError) -> list[bytes]:
    """Which keys a node may still hold."""
    return reply.keys if isinstance(reply, TombstonesKept) else request.keys


def _wait_all(keys: Iterable[bytes], reason: str, found: Waiting) -> None:
    for key in keys:
        found.wait(reason, key)


def _struck(error: StorageError | None) -> None:
    """An entry that could not be struck out is found again."""
    if error is not None:
        log.warning("a wrong entry could not be struck out", extra={"reason": str(error)})
