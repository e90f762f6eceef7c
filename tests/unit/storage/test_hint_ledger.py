"""Whatever a disk refuses and whenever a node dies, no hint is lost unaccounted for.

A store of hints takes writes, is told of deliveries, loses hints to its limits, and is killed with
commits half done; its disk fills up and fails. In every state of that disk the ledger must add up,
records and rows must fit each other, and what was acknowledged must be there until it was delivered
or, where there are limits, counted as expired.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dynamo.core.codec import decode_siblings, encode_siblings
from dynamo.core.ids import Actor, NodeId
from dynamo.core.siblings import EMPTY
from dynamo.errors import StorageError
from dynamo.storage.engine import Table
from dynamo.storage.hint_rows import HintCounts, unseal_hint, unseal_ledger, unseal_row
from dynamo.storage.hints import HintStore
from dynamo.storage.memory_engine import Disk, Fault, MemoryEngine
from tests.unit.storage import samples

TARGETS = (NodeId("n1"), NodeId("n2"))
KEYS = (samples.key(b"1"), samples.key(b"2"), samples.key(b"3" * 600))

Place = tuple[NodeId, bytes]

some_place = st.tuples(st.sampled_from(TARGETS), st.sampled_from(KEYS))


class Keeper(RuleBasedStateMachine):
    """A store of hints without limits.

    Attributes:
        owed: values that were acknowledged and are not known to have been delivered.
        order: places in the order of their last acknowledged write.
    """

    BYTES_MAX = 2**30

    def __init__(self) -> None:
        super().__init__()
        self.disk = Disk()
        self.owed: dict[Place, set[bytes]] = {}
        self.order: list[Place] = []
        self.numbers = iter(range(10**9))
        self.now_ms = 0
        self.start()

    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.engine = MemoryEngine(self.disk)
        self.store = HintStore(self.engine, bytes_max=self.BYTES_MAX)
        self.order = [
            (row.target, row.key) for row in sorted(self.rows(), key=lambda row: row.sequence)
        ]

    def on_loop(self, do: Callable[[], Any]) -> Any:
        async def doing() -> Any:
            return do()

        return self.loop.run_until_complete(doing())

    # -- what happens ------------------------------------------------------------------------------

    @rule(place=some_place, later_ms=st.integers(0, 10))
    def merge(self, place: Place, later_ms: int) -> None:
        number = next(self.numbers)
        self.now_ms += later_ms
        text = b"%d" % number
        state = encode_siblings(EMPTY.write(Actor(b"%08d" % number), text, {}, 0))

        def ended(error: StorageError | None) -> None:
            if error is None:
                self.owed.setdefault(place, set()).add(text)
                self.order = [other for other in self.order if other != place] + [place]

        self.on_loop(lambda: self.store.merge(*place, state, self.now_ms, ended))

    @rule(place=some_place)
    def deliver(self, place: Place) -> None:
        """What is sent is what is held; more may come before it is dropped."""
        state = self.store.get(*place)
        if state is not None:
            self.owed.get(place, set()).difference_update(_values(state))
            self.on_loop(lambda: self.store.drop(*place, state, lambda error: None))

    @rule()
    def settle(self) -> None:
        self.loop.run_until_complete(self.store.close())
        fresh = HintStore(MemoryEngine(self.disk), bytes_max=self.BYTES_MAX)
        assert self.store.targets() == fresh.targets()
        assert self.store.bytes_held == fresh.bytes_held
        assert self.store.counts == fresh.counts
        self.check_order()
        self.loop.close()
        self.start()

    def check_order(self) -> None:
        held = {(row.target, row.key) for row in self.rows()}
        wanted = [place for place in self.order if place in held]
        rows = sorted(self.rows(), key=lambda row: row.sequence)
        assert [(row.target, row.key) for row in rows] == wanted

    @rule(after=st.integers(0, 2))
    def fill_disk(self, after: int) -> None:
        self.engine.fail_next_commit(Fault.FULL, after=after)

    @rule()
    def break_disk(self) -> None:
        self.engine.fail_next_commit(Fault.FLUSH)

    @rule(survives=st.booleans())
    def crash(self, survives: bool) -> None:
        self.engine.crash(self.engine.under_way if survives else 0)
        self.loop.close()
        self.start()

    # -- what must hold ----------------------------------------------------------------------------

    def rows(self) -> list[Any]:
        found = self.disk.scan(Table.HINT_ORDER, b"", None, 1_000)
        return [unseal_row(place, sealed) for place, sealed in found]

    @invariant()
    def the_ledger_adds_up(self) -> None:
        held = len(self.disk.scan(Table.HINTS, b"", None, 1_000))
        sealed = self.disk.get(Table.META, b"hints")
        counts = HintCounts() if sealed is None else unseal_ledger(sealed, held=0)
        assert counts.stored == counts.delivered + counts.superseded + counts.expired + held
        counts = self.store.counts
        gone = counts.delivered + counts.superseded + counts.expired
        assert counts.stored == gone + self.store.hints_held

    @invariant()
    def every_record_has_its_row(self) -> None:
        found = self.disk.scan(Table.HINTS, b"", None, 1_000)
        records = [unseal_hint(place, record)[0] for place, record in found]
        assert sorted(records) == sorted(self.rows())

    @invariant()
    def what_was_acknowledged_is_held_until_it_is_delivered(self) -> None:
        for place, owed in self.owed.items():
            assert owed <= _values(self.store.get(*place) or b"")

    def teardown(self) -> None:
        self.engine.crash()
        self.loop.close()


class FullKeeper(Keeper):
    """A store that holds a few hints at most, and not for long."""

    BYTES_MAX = 150

    @rule()
    def grow_old(self) -> None:
        self.now_ms += 20
        self.on_loop(lambda: self.store.expire(self.now_ms - 20))

    @invariant()
    def what_was_acknowledged_is_held_until_it_is_delivered(self) -> None:
        """Or until it has expired, which the ledger tells."""
        if not self.store.counts.expired:
            super().what_was_acknowledged_is_held_until_it_is_delivered()


def _values(state: bytes) -> set[bytes]:
    return {value for _, value in decode_siblings(state).dots()}


TestKeeper = Keeper.TestCase
TestKeeper.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestFullKeeper = FullKeeper.TestCase
TestFullKeeper.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
