"""The keys that a stand-in holds hints of, gathered for many partitions in one pass.

Hints for one target stand in the order of their places, which says nothing of partitions: to list
those of one partition all are looked at. So a listing gathers as many partitions at a time as it
has room for; all of them, unless there are very many hints.

Hints have places of another length than objects, so that long keys may stand in another order there
than in what they are merged with: nothing of a partition is told before all of it is there.
"""

import asyncio
from collections.abc import Callable
from functools import partial

from dynamo.core.ids import NodeId
from dynamo.core.ring import PARTITIONS_MAX, Slot
from dynamo.errors import DynamoError
from dynamo.rpc.messages import KeysPage, ListKeys, Reply
from dynamo.storage.hint_rows import prefix_of
from dynamo.storage.records import place_of

HINTED_BYTES_MAX = 16 * 2**20
"""Of keys that a stand-in lists of one partition; of 256, that is 4 GiB of keys in all."""

GATHERED_BYTES_MAX = 2 * 2**20
"""Of keys of several partitions, which wait for their turn; of more, fewer partitions at a time."""

Keys = tuple[list[bytes], list[bytes]]
"""Live ones and dead ones, in no order."""

Follower = Callable[[Keys | None], None]
"""Gets the hinted keys of one partition; None if they cannot be had."""

Ask = Callable[[NodeId, ListKeys, Callable[[NodeId, Reply | DynamoError], None]], bool]
"""Ask a node. Returns False, and does not, if there is no time left or nobody waits any more."""


class HintedKeys:
    """What the stand-ins of one listing hold, as far as it was asked for.

    Attributes:
        at_once: how many partitions are gathered in one pass.
    """

    def __init__(
        self,
        request: ListKeys,
        ask: Ask,
        is_wanted: Callable[[KeysPage], bool],
        partition_of: Callable[[bytes], int],
        partitions_in_all: int,
    ) -> None:
        """Nothing is asked yet.

        Args:
            request: what to ask, but for partitions, target, and where to go on.
            ask: how.
            is_wanted: whether a page has such keys as were asked for, and not too many.
            partition_of: the partition of an encoded key.
            partitions_in_all: of the ring.
        """
        self.at_once = PARTITIONS_MAX
        self._request = request
        self._ask = ask
        self._is_wanted = is_wanted
        self._partition_of = partition_of
        self._partitions_in_all = partitions_in_all
        self._passes: dict[Slot, _Pass] = {}

    def follow(self, slot: Slot, partition: int, follower: Follower) -> None:
        """Let `follower` have, now or later, what a stand-in holds of a partition; but once."""
        under_way = self._passes.get(slot)
        if under_way is not None and under_way.gathers(partition):
            under_way.add(partition, follower)
            return
        until = min(partition + self.at_once, self._partitions_in_all)
        under_way = self._passes[slot] = _Pass(self, slot, range(partition, until))
        under_way.add(partition, follower)
        under_way.go_on()

    # -- for passes ------------------------------------------------------------------------------

    def ask(
        self,
        slot: Slot,
        partitions: range,
        after: bytes,
        on_reply: Callable[[NodeId, Reply | DynamoError], None],
    ) -> bool:
        """Ask a stand-in for a page; see `Ask`."""
        request = self._request._replace(
            partition=partitions.start,
            partitions=len(partitions),
            stands_in_for=slot.stands_in_for or "",
            after=after,
        )
        return self._ask(slot.node, request, on_reply)

    def by_partition(self, page: KeysPage, partitions: range) -> dict[int, Keys] | None:
        """The keys of a page; None if they are not such as were asked for."""
        if not self._is_wanted(page):
            return None
        keys: dict[int, Keys] = {}
        for position, some in enumerate((page.keys, page.dead)):
            for key in some:
                partition = self._partition_of(key)
                if partition not in partitions:
                    return None
                keys.setdefault(partition, ([], []))[position].append(key)
        return keys


class _Pass:
    """One pass through the hints for a target."""

    def __init__(self, hinted: HintedKeys, slot: Slot, partitions: range) -> None:
        assert slot.stands_in_for is not None, "a primary has no hints"
        self._hinted = hinted
        self._slot = slot
        self._partitions = partitions
        self._prefix = prefix_of(slot.stands_in_for)
        self._after = b""
        self._keys: dict[int, Keys] = {}
        self._size_bytes = 0
        self._followers: list[tuple[int, Follower]] = []
        self._is_over = False
        self._has_failed = False

    def gathers(self, partition: int) -> bool:
        """Whether the keys of a partition are here, or can be hoped for."""
        return partition in self._partitions and not self._has_failed

    def add(self, partition: int, follower: Follower) -> None:
        """Tell `follower`, at the end or now if that has come."""
        if self._is_over:
            follower(self._keys.pop(partition, ([], [])))
        else:
            self._followers.append((partition, follower))

    def go_on(self) -> None:
        """Ask for the next page."""
        if not self._hinted.ask(self._slot, self._partitions, self._after, self._on_reply):
            self._fail()

    def _on_reply(self, _node: NodeId, reply: Reply | DynamoError) -> None:
        if type(reply) is not KeysPage or not self._take(reply):
            self._fail()
        elif self._size_bytes > GATHERED_BYTES_MAX and len(self._partitions) > 1:
            self._narrow()
        elif self._size_bytes > HINTED_BYTES_MAX:
            self._fail()
        elif reply.last:
            self._after = reply.last
            # Soon, not now: this node answers itself at once, and others have to have their turn.
            asyncio.get_running_loop().call_soon(self.go_on)
        else:
            self._is_over = True
            for partition, follower in self._given_up():
                self.add(partition, follower)

    def _take(self, page: KeysPage) -> bool:
        """Note what was answered. Returns False if it makes no sense, or might never end."""
        place = partial(place_of, self._prefix)
        if page.last and place(page.last) <= place(self._after):
            return False
        fresh = self._hinted.by_partition(page, self._partitions)
        if fresh is None:
            return False
        for partition, (live, dead) in fresh.items():
            keys = self._keys.setdefault(partition, ([], []))
            keys[0].extend(live)
            keys[1].extend(dead)
        self._size_bytes += sum(map(len, page.keys)) + sum(map(len, page.dead))
        return True

    def _narrow(self) -> None:
        """Have it begun anew, with half the partitions."""
        self._hinted.at_once = min(self._hinted.at_once, len(self._partitions) // 2)
        self._has_failed = True
        for partition, follower in self._given_up():
            self._hinted.follow(self._slot, partition, follower)

    def _fail(self) -> None:
        self._has_failed = True
        for _, follower in self._given_up():
            follower(None)

    def _given_up(self) -> list[tuple[int, Follower]]:
        followers, self._followers = self._followers, []
        self._keys = self._keys if self._is_over else {}
        return followers
