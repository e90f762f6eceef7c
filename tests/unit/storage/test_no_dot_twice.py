"""Whatever a disk forgets, no dot names two writes and no write covers one it never saw.

One node coordinates writes and each goes out to another replica at once, as it does in a cluster,
while the node's own disk fails commits, crashes, is wiped, corrupted, or comes back from a backup.
The other replica must then hold exactly the values that no client overwrote: a reused dot would
take the place of another value there, and a dot minted from a state that lacks an earlier one would
declare that one's value gone (riak's kv679 family of lost writes).
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dynamo.core.codec import decode_siblings, encode_siblings
from dynamo.core.ids import Actor, Dot
from dynamo.core.siblings import EMPTY, Siblings
from dynamo.storage.engine import Put, Table
from dynamo.storage.memory_engine import Disk, Fault, MemoryEngine
from dynamo.storage.objects import ObjectStore
from tests.unit.storage import samples

KEYS = [samples.key(b"1"), samples.key(b"2")]

some_key = st.sampled_from(KEYS)


class ForgetfulNode(RuleBasedStateMachine):
    """A node whose disk forgets, another replica that does not, and what clients wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.dice = random.Random(0)
        self.disk = Disk()
        self.backup = Disk()
        self.elsewhere: dict[bytes, Siblings] = dict.fromkeys(KEYS, EMPTY)
        self.live: dict[bytes, set[bytes]] = {key: set() for key in KEYS}
        self.overwritten: set[bytes] = set()
        self.minted: dict[tuple[bytes, Dot], bytes] = {}
        self.numbers = iter(range(10**9))
        self.start()

    def start(self) -> None:
        self.engine = MemoryEngine(self.disk)
        self.store = ObjectStore(self.engine, lambda key: 0, self.dice)

    def on_loop(self, do: Callable[[], Any]) -> Any:
        async def doing() -> Any:
            return do()

        return self.loop.run_until_complete(doing())

    @rule(key=some_key, shown=st.sampled_from(["nothing", "here", "elsewhere"]))
    def write(self, key: bytes, shown: str) -> None:
        seen = EMPTY
        if shown == "here":
            seen = decode_siblings(self.store.get(key) or b"")
        elif shown == "elsewhere":
            seen = self.elsewhere[key]
        value = b"%d" % next(self.numbers)

        def update(state: Siblings, actor: Actor, floor: int) -> Siblings:
            return state.write(actor, value, seen.context(), floor)

        encoded = self.on_loop(lambda: self.store.write(key, update, lambda error: None))
        self.overwritten |= {value for _, value in seen.dots()}
        self.live[key].add(value)
        self.elsewhere[key] = self.elsewhere[key].merge(decode_siblings(encoded))

    @rule(key=some_key)
    def repair(self, key: bytes) -> None:
        state = encode_siblings(self.elsewhere[key])
        self.on_loop(lambda: self.store.merge(key, state, lambda error: None))

    @rule()
    def settle(self) -> None:
        async def settled() -> None:
            told = self.loop.create_future()
            self.engine.commit((), told.set_result)
            await told

        self.loop.run_until_complete(settled())

    @rule(after=st.integers(0, 2))
    def fill_disk(self, after: int) -> None:
        self.engine.fail_next_commit(Fault.FULL, after=after)

    @rule()
    def break_disk(self) -> None:
        self.engine.fail_next_commit(Fault.FLUSH)

    @rule()
    def crash(self) -> None:
        self.engine.crash()
        self.start()

    @rule()
    def back_up(self) -> None:
        self.backup = self.disk.copy()

    @rule()
    def crash_and_restore(self) -> None:
        self.engine.crash()
        self.disk.restore(self.backup)
        self.start()

    @rule()
    def crash_and_lose_the_disk(self) -> None:
        self.engine.crash()
        self.disk.wipe()
        self.start()

    @precondition(lambda self: self.disk.scan(Table.OBJECTS, b"", None, 1))
    @rule(data=st.data())
    def corrupt(self, data: st.DataObject) -> None:
        rows = self.disk.scan(Table.OBJECTS, b"", None, 2)
        place, record = data.draw(st.sampled_from(rows))
        self.disk.apply(Put(Table.OBJECTS, place, record[:-1]))

    @invariant()
    def elsewhere_has_just_what_nobody_overwrote(self) -> None:
        for key in KEYS:
            dots = self.elsewhere[key].dots()
            assert {value for _, value in dots} == self.live[key] - self.overwritten
            for dot, value in dots:
                assert self.minted.setdefault((key, dot), value) == value

    @invariant()
    def what_is_here_adds_nothing(self) -> None:
        for key in KEYS:
            here = decode_siblings(self.store.get(key) or b"")
            assert self.elsewhere[key].merge(here) == self.elsewhere[key]

    def teardown(self) -> None:
        self.engine.crash()
        self.loop.close()


TestForgetfulNode = ForgetfulNode.TestCase
TestForgetfulNode.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
