"""Bugs to plant: each replaces one method of the product by a wrong one, for as long as it is on.

The store promises much, and a check that cannot fail promises nothing. These are the mistakes that
stores of this kind have made. They work in a simulation, where `test_planted_bugs` shows for each
which rule finds it, and in a real node process (`python -m tests.planted`). The product itself has
no switch for them.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from random import Random
from typing import Any, Final

from dynamo.core.codec import decode_value, only_tombstones
from dynamo.core.facts import Fact, FactBook
from dynamo.core.ids import ACTOR_BYTES, NodeId
from dynamo.core.quorum import WriteQuorum
from dynamo.core.ring import Slot
from dynamo.core.siblings import Siblings
from dynamo.errors import QuorumError
from dynamo.node import comparison, handoff, reads, writes
from dynamo.node.cluster_view import ClusterView
from dynamo.node.coordinator import Coordinator
from dynamo.node.holdings import Holdings
from dynamo.node.replica import DONE, Replica
from dynamo.node.tombstones import Tombstones
from dynamo.storage.engine import OnCommit
from dynamo.storage.hints import HintStore
from dynamo.storage.lmdb_engine import LmdbEngine
from dynamo.storage.memory_engine import Disk, MemoryEngine
from dynamo.storage.objects import ObjectStore

Wrong = Callable[..., Any]

Bug = Callable[[], AbstractContextManager[None]]

COMMIT_S = 0.2
"""How long a real disk then takes. A flush here takes a few milliseconds, and whoever kills a node
hits so small a gap too seldom; a disk under load has gaps of this size."""


@contextmanager
def replaced(owner: object, name: str, wrong: Callable[[Wrong], Wrong]) -> Iterator[None]:
    """While this lasts, `owner.name` is what `wrong` makes of it."""
    right = getattr(owner, name)
    setattr(owner, name, wrong(right))
    try:
        yield
    finally:
        setattr(owner, name, right)


@contextmanager
def acknowledges_before_commit() -> Iterator[None]:
    """A node answers when a write is on its way to the disk, be it a peer's or its own."""

    def wrong_put(right: Wrong) -> Wrong:
        def put(replica: Replica, request: object, respond: Wrong) -> None:
            right(replica, request, lambda reply: None)
            respond(DONE)

        return put

    def wrong_write(right: Wrong) -> Wrong:
        def write(objects: ObjectStore, key: bytes, update: object, on_done: OnCommit) -> bytes:
            state: bytes = right(objects, key, update, lambda error: None)
            asyncio.get_running_loop().call_soon(on_done, None)
            return state

        return write

    def slow_disk(right: Wrong) -> Wrong:
        def transact(engine: LmdbEngine, group: object) -> None:
            time.sleep(COMMIT_S)
            right(engine, group)

        return transact

    with (
        replaced(Replica, "put", wrong_put),
        replaced(ObjectStore, "write", wrong_write),
        replaced(LmdbEngine, "_transact", slow_disk),
    ):
        yield


@contextmanager
def keeps_hints_in_memory() -> Iterator[None]:
    """Hints are gone with the process."""

    def wrong(right: Wrong) -> Wrong:
        def init(hints: HintStore, _engine: object, *args: Any, **options: Any) -> None:
            right(hints, MemoryEngine(Disk()), *args, **options)

        return init

    with replaced(HintStore, "__init__", wrong):
        yield


@contextmanager
def counts_stand_ins_in_strict_mode() -> Iterator[None]:
    """Whoever takes a write counts, whether it may stand in or not."""

    def wrong_slots(right: Wrong) -> Wrong:
        def slots(view: ClusterView, key: bytes, n: int, *, sloppy: bool) -> tuple[Slot, ...]:
            found: tuple[Slot, ...] = right(view, key, n, sloppy=True)
            return found

        return slots

    def wrong_stand_ins(right: Wrong) -> Wrong:
        def stand_ins(it: Coordinator, key: bytes, quorum: WriteQuorum) -> list[NodeId]:
            found: list[NodeId] = right(it, key, replace(quorum, sloppy=True))
            return found

        return stand_ins

    with (
        replaced(ClusterView, "slots", wrong_slots),
        replaced(Coordinator, "_stand_ins", wrong_stand_ins),
    ):
        yield


@contextmanager
def merges_by_wall_clock() -> Iterator[None]:
    """Of concurrent values the newest by the clock on the wall stays."""

    def wrong(right: Wrong) -> Wrong:
        def merge(mine: Siblings, other: Siblings) -> Siblings:
            merged: Siblings = right(mine, other)
            if merged is mine or merged is other or len(merged) < 2:
                return merged
            newest, _ = max(merged.dots(), key=lambda entry: decode_value(entry[1]).modified_at_ms)
            return Siblings(
                entries={
                    actor: (
                        counter,
                        values[: counter - newest.counter + 1] if actor == newest.actor else (),
                    )
                    for actor, (counter, values) in merged.entries.items()
                }
            )

        return merge

    with replaced(Siblings, "merge", wrong):
        yield


@contextmanager
def reuses_dots_after_a_restart() -> Iterator[None]:
    """A node mints as the actor that it was before, whatever became of its disk."""

    def wrong(right: Wrong) -> Wrong:
        def init(holdings: Holdings, view: ClusterView, *args: Any, **options: Any) -> None:
            right(holdings, view, *args, **options)
            always = Random(f"the actor of {view.me}")
            minter = holdings.objects._minter
            minter._draw = lambda: always.randbytes(ACTOR_BYTES)
            minter.renew()

        return init

    with replaced(Holdings, "__init__", wrong):
        yield


@contextmanager
def drops_hints_before_they_are_confirmed() -> Iterator[None]:
    """A hint goes when it was sent, whatever its target answers, or if it does not."""

    def wrong(_: Wrong) -> Wrong:
        return lambda node, reply: handoff._Outcome.DELIVERED

    with replaced(handoff, "_outcome_of", wrong):
        yield


@contextmanager
def forgets_tombstones_early() -> Iterator[None]:
    """A node forgets a deleted key soon after it has stored the tombstone, whoever else has it."""

    def wrong(_: Wrong) -> Wrong:
        async def step(it: Tombstones) -> None:
            for partition in it._store.partitions():
                for key, _ in it._store.page(partition, b"", 1000)[0]:
                    state = it._objects.newest(key)
                    if state is not None and only_tombstones(state):
                        it._objects.forget(key, state, lambda error: None)
            await asyncio.sleep(1.0)

        return step

    with replaced(Tombstones, "step", wrong):
        yield


@contextmanager
def compares_counts_of_keys() -> Iterator[None]:
    """An exchange takes two listings of the same length for equal."""

    def wrong(right: Wrong) -> Wrong:
        def differences(ours: dict[bytes, int], theirs: dict[bytes, int]) -> list[object]:
            found: list[object] = right(ours, theirs)
            return [] if len(ours) == len(theirs) else found

        return differences

    with replaced(comparison, "_differences", wrong):
        yield


@contextmanager
def repairs_with_the_older_state() -> Iterator[None]:
    """A read sends replicas that are behind a state from before the newest writes."""

    def wrong(right: Wrong) -> Wrong:
        def encode(state: Siblings) -> bytes:
            older = {
                actor: (counter - 1, values[1:])
                for actor, (counter, values) in state.entries.items()
                if counter > 1
            }
            encoded: bytes = right(Siblings(entries=older))
            return encoded

        return encode

    with replaced(reads, "encode_siblings", wrong):
        yield


@contextmanager
def ignores_contexts() -> Iterator[None]:
    """Every write is stored as one whose client was shown nothing."""

    def wrong(right: Wrong) -> Wrong:
        def put(
            it: Coordinator, key: object, value: object, _: object, *args: Any, **o: Any
        ) -> Any:
            return right(it, key, value, None, *args, **o)

        return put

    with replaced(Coordinator, "put", wrong):
        yield


@contextmanager
def calls_timeouts_definite() -> Iterator[None]:
    """A write that too few replicas answered in time is said to have failed for certain."""

    def wrong(_: Wrong) -> Wrong:
        def error(
            what: str, *, needed: int, got: int, definite: bool, acks: int = 0
        ) -> QuorumError:
            return QuorumError(what, needed=needed, got=got, definite=True)

        return error

    with replaced(writes, "QuorumError", wrong):
        yield


@contextmanager
def gossip_revives_the_removed() -> Iterator[None]:
    """What is heard last is believed, not what is newest."""

    def wrong(right: Wrong) -> Wrong:
        def merge(book: FactBook, fact: Fact) -> bool:
            known = book._facts.get(fact.name)
            if known is not None and known != fact:
                del book._facts[fact.name]
            taken: bool = right(book, fact)
            return taken

        return merge

    with replaced(FactBook, "merge", wrong):
        yield


BUGS: Final[Mapping[str, Bug]] = {
    bug.__name__: bug
    for bug in (
        acknowledges_before_commit,
        keeps_hints_in_memory,
        counts_stand_ins_in_strict_mode,
        merges_by_wall_clock,
        reuses_dots_after_a_restart,
        drops_hints_before_they_are_confirmed,
        forgets_tombstones_early,
        compares_counts_of_keys,
        repairs_with_the_older_state,
        ignores_contexts,
        calls_timeouts_definite,
        gossip_revives_the_removed,
    )
}
"""By name, as `python -m tests.planted NAME serve ...` wants it."""
