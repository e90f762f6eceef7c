"""Who belongs to the cluster: one record per node, and the rule which of two records counts.

A node writes its own record and raises its incarnation with every change; the one exception is a
removal, which an operator writes through any node and which wins over every other record of that
node, older or newer: a node that was away meanwhile cannot bring itself back
(Dynamo 4.8.1: joining and leaving are explicit; being unreachable changes nothing here).

    JOINING --(tokens chosen)--> MEMBER --(operator)--> LEAVING --(data moved)--> REMOVED
"""

import enum
from dataclasses import dataclass, replace
from typing import TypeVar

import msgpack

from dynamo.core.facts import MEMBER, Fact
from dynamo.core.ids import Address, NodeId, is_node_id
from dynamo.errors import CodecError

_T = TypeVar("_T")

TOKENS_MAX = 65536
INCARNATION_MAX = 2**48 - 1

INCARNATION_HEARD_MAX = 2**47
"""What one node says of another is below this, so that the other can rise above it."""


class MemberState(enum.IntEnum):
    """The stations of a node in its cluster. The numbers are on the wire and on disk."""

    JOINING = 1
    """It is known, and holds no part of the ring yet."""

    MEMBER = 2
    """It holds the partitions that its tokens give it."""

    LEAVING = 3
    """It still holds its partitions, and is handing them over."""

    REMOVED = 4
    """It is gone; nothing is sent to it any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRecord:
    """What all nodes know about one.

    Attributes:
        incarnation: rises with every change and every start.
        rpc: where peers dial it, unless their address map says otherwise.
        http: where clients reach it.
        weight: its share of the load, relative to the others'.
        zone: what fails together; replicas are spread over zones first. "" if there are none.
        tokens: its positions on the ring; empty while it joins.
    """

    node_id: NodeId
    incarnation: int
    state: MemberState
    rpc: Address
    http: Address
    weight: int
    zone: str
    tokens: tuple[int, ...]

    def to_fact(self) -> Fact:
        """The record as gossip carries it. REMOVED beats all others."""
        body: bytes = msgpack.packb(
            [
                self.incarnation,
                self.state,
                self.rpc,
                self.http,
                self.weight,
                self.zone,
                self.tokens,
            ]
        )
        return Fact(member_name(self.node_id), _version(self.incarnation, self.state), body)

    def removed(self) -> "MemberRecord":
        """The record that an operator's removal of this one makes."""
        return replace(self, state=MemberState.REMOVED, tokens=())


def member_name(node_id: NodeId) -> bytes:
    """The name of the fact that holds the record of `node_id`."""
    return MEMBER + node_id.encode()


def _version(incarnation: int, state: MemberState) -> bytes:
    return bytes([state is MemberState.REMOVED]) + incarnation.to_bytes(6, "big")


def leaves_room(fact: Fact) -> bool:
    """Whether the node that a member record is of can rise above it; above a removal none does."""
    return fact.version < _version(INCARNATION_HEARD_MAX, MemberState.MEMBER) or (
        fact.version >= _version(0, MemberState.REMOVED)
    )


def decode_member(fact: Fact) -> MemberRecord:
    """The record in a fact whose name begins with `MEMBER`.

    Raises:
        CodecError: it is none, or its version does not fit its body.
    """
    try:
        node_id = fact.name[1:].decode("ascii")
        incarnation, state, rpc, http, weight, zone, tokens = msgpack.unpackb(fact.body)
        record = MemberRecord(
            node_id=NodeId(node_id),
            incarnation=_checked(incarnation, int),
            state=MemberState(state),
            rpc=_address(rpc),
            http=_address(http),
            weight=_checked(weight, int),
            zone=_checked(zone, str),
            tokens=tuple(_checked(token, int) for token in tokens),
        )
    except CodecError:
        raise
    except Exception as error:  # msgpack raises many kinds, and so does taking its result apart
        raise CodecError(f"not a member record: {error}") from error
    if (
        not is_node_id(node_id)
        or not 0 < record.incarnation <= INCARNATION_MAX
        or not 0 < record.weight <= 1000
        or len(record.tokens) > TOKENS_MAX
        or any(token < 0 for token in record.tokens)
        or fact.version != _version(record.incarnation, record.state)
    ):
        raise CodecError(f"a member record of {node_id!r} is out of its limits")
    return record


def _checked(value: object, wanted: type[_T]) -> _T:
    if type(value) is not wanted:
        raise CodecError(f"a member record holds a {type(value).__name__}")
    return value


def _address(fields: object) -> Address:
    if type(fields) is not list or len(fields) != 2:
        raise CodecError("an address is a host and a port")
    port = _checked(fields[1], int)
    if not 0 <= port <= 65535:
        raise CodecError(f"{port} is no port")
    return Address(_checked(fields[0], str), port)


class Membership:
    """The records of all nodes, as this node knows them."""

    def __init__(self) -> None:
        self._records: dict[NodeId, MemberRecord] = {}

    def apply(self, record: MemberRecord) -> None:
        """Take a record whose fact was new to the book of facts."""
        self._records[record.node_id] = record

    def get(self, node_id: NodeId) -> MemberRecord | None:
        """The record of one node."""
        return self._records.get(node_id)

    def all(self) -> list[MemberRecord]:
        """All records, removed ones too, by node id."""
        return [self._records[node_id] for node_id in sorted(self._records)]

    def present(self) -> list[MemberRecord]:
        """The records of nodes that are not removed, by node id."""
        return [record for record in self.all() if record.state is not MemberState.REMOVED]

    def holders(self) -> list[MemberRecord]:
        """The records of nodes that hold parts of the ring, by node id."""
        return [
            record
            for record in self.present()
            if record.state in (MemberState.MEMBER, MemberState.LEAVING)
        ]

    def joining(self) -> list[MemberRecord]:
        """The records of nodes that wait for their tokens, by node id."""
        return [record for record in self.present() if record.state is MemberState.JOINING]
