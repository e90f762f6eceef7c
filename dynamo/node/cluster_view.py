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
from dynamo.errors import CodecError

log = logging.getLogger(__name__)

FACTS_MAX = 8192
"""Members, bucket types, changed buckets; a peer cannot fill the memory with them."""


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
        """
        if len(self.facts) >= FACTS_MAX and self.facts.get(fact.name) is None:
            raise CodecError(f"{FACTS_MAX} facts are known, and that is the most")
        kind = fact.name[:1]
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
