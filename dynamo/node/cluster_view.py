"""The cluster as this node sees it: facts, members, ring, and who can be reached now.

Facts arrive by gossip and are the same everywhere in the end; the ring follows from them. Who can
be reached is this node's own opinion, kept up by `heartbeats`. Jobs ask here and nowhere else where
a key lives.
"""

import logging
from collections.abc import Callable

from dynamo.core.facts import MEMBER, PROPERTIES, TYPE, Fact, FactBook
from dynamo.core.ids import NodeId
from dynamo.core.membership import MemberRecord, Membership, MemberState, decode_member
from dynamo.core.property_book import PropertyBook
from dynamo.core.ring import PreferenceList, Ring, RingMember, Slot
from dynamo.errors import CodecError, Overloaded

log = logging.getLogger(__name__)

FACTS_MAX = 8192
FACTS_BYTES_MAX = 64 * 2**20
"""Members, bucket types, changed buckets; a peer cannot fill the memory with them.

Of types and buckets that is four times what a node accepts from clients (`property_book`): nodes
that were cut off from each other may each have accepted that much, and whatever one has, all must
be able to take, or their books differ for ever.
"""

MEMBERS_MIN = 1024
MEMBERS_BYTES_MIN = 8 * 2**20
"""Room that only members get: who is there must be known, whatever there is of properties."""


class ClusterView:
    """What one node knows and thinks of its cluster.

    Attributes:
        me: this node.
        facts: all that gossip brought or this node said.
        membership: the member records among them.
        properties: the bucket types and bucket properties among them.
        ring: the placement that follows from the members.
        reachable: nodes that answer, this one included.
        on_change: called after a new fact was taken.
        on_return: called after a node became reachable.
    """

    def __init__(self, me: NodeId, partitions: int, properties: PropertyBook) -> None:
        self.me = me
        self.facts = FactBook()
        self.membership = Membership()
        self.properties = properties
        self.ring = Ring((), partitions)
        self.reachable: set[NodeId] = {me}
        self.on_change: list[Callable[[Fact], None]] = []
        self.on_return: list[Callable[[], None]] = []

    def learn(self, fact: Fact) -> bool:
        """Take a fact if it is new and makes sense. Returns whether it was taken.

        Raises:
            CodecError: the fact does not decode to what its name says.
            Overloaded: there is no room for it.
        """
        kind = fact.name[:1]
        if self.facts.lacks(fact):
            self._check_room(fact, is_member=kind == MEMBER)
        if kind == MEMBER:
            record = decode_member(fact)
            if any(token >= self.ring.partitions for token in record.tokens):
                raise CodecError(f"{record.node_id} claims a partition that does not exist")
            if not self.facts.merge(fact):
                return False
            self._apply_member(record)
        elif kind in (PROPERTIES, TYPE):
            news = self.properties.decode(fact)
            if not self.facts.merge(fact):
                return False
            self.properties.apply(news)
        else:
            # A later version's kind: passed on as it is, so that a cluster can be upgraded.
            if not self.facts.merge(fact):
                return False
        for changed in self.on_change:
            try:
                changed(fact)
            except Exception:  # the fact is taken; who comes next must hear of it all the same
                log.exception("a change was not acted upon", extra={"fact": repr(fact.name)})
        return True

    def _check_room(self, fact: Fact, *, is_member: bool) -> None:
        facts = self.facts
        spared, spared_bytes = (0, 0) if is_member else (MEMBERS_MIN, MEMBERS_BYTES_MIN)
        if facts.get(fact.name) is None and len(facts) >= FACTS_MAX - spared:
            raise Overloaded(f"{len(facts)} facts are known, and there is no room for another")
        growth_bytes = facts.growth_bytes(fact)
        if growth_bytes > 0 and facts.size_bytes + growth_bytes > FACTS_BYTES_MAX - spared_bytes:
            raise Overloaded(
                f"what is known takes {facts.size_bytes} bytes, there is no room for"
                f" {growth_bytes} more"
            )

    def _apply_member(self, record: MemberRecord) -> None:
        self.membership.apply(record)
        if record.state is MemberState.REMOVED:
            self.reachable.discard(record.node_id)
        self.ring = Ring(
            [
                RingMember(
                    node_id=holder.node_id,
                    tokens=holder.tokens,
                    weight=holder.weight,
                    zone=holder.zone,
                )
                for holder in self.membership.holders()
            ],
            self.ring.partitions,
        )
        log.info(
            "member record taken",
            extra={
                "member": record.node_id,
                "state": record.state.name.lower(),
                "incarnation": record.incarnation,
                "tokens": len(record.tokens),
            },
        )

    def reached(self, node: NodeId) -> None:
        """A member answers; those who wait for it to return are told."""
        if node not in self.reachable:
            self.reachable.add(node)
            for returned in self.on_return:
                returned()

    def say(self, record: MemberRecord) -> None:
        """Publish a record of this node's own making."""
        self.learn(record.to_fact())

    @property
    def my_record(self) -> MemberRecord | None:
        """This node's own record."""
        return self.membership.get(self.me)

    def is_removed(self, node: NodeId) -> bool:
        """Whether an operator removed a node from the cluster."""
        record = self.membership.get(node)
        return record is not None and record.state is MemberState.REMOVED

    def peers(self) -> set[NodeId]:
        """All other nodes that are not removed."""
        return {record.node_id for record in self.membership.present() if record.node_id != self.me}

    def preference_list(self, key: bytes, n: int) -> PreferenceList:
        """Who should hold an encoded key, and who stands in, whoever can be reached."""
        ring = self.ring
        return ring.preference_list(ring.partition_of(key), n)

    def slots(self, key: bytes, n: int, *, sloppy: bool) -> tuple[Slot, ...]:
        """Who is to be asked for an encoded key now, in order of preference.

        Strict: the primaries that can be reached. Sloppy: for each of the others, the next stand-in
        that can be.
        """
        ring = self.ring
        slots = ring.slots(ring.partition_of(key), n, self.reachable)
        if sloppy:
            return slots
        return tuple(slot for slot in slots if slot.stands_in_for is None)
