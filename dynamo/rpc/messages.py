"""What nodes say to each other: one small class per message, and its checking on the way in.

A message is a NamedTuple, not a dataclass: it is its own wire form (msgpack writes a tuple as an
array), and it is made and read four times per client request. The field types in a class are what
`unpack` demands of a peer's bytes; anything else is a `ProtocolError`.

Nested values (siblings, contexts, member records) travel as bytes of their own encodings: whoever
uses them decodes and checks them, whoever only stores or compares them need not.
"""

from typing import Any, NamedTuple, get_type_hints

from dynamo.errors import ProtocolError

PROTOCOL_VERSION = 3

MISSING = b""
"""The encoded state (or clock) of a key that a replica does not hold."""


# -- requests ------------------------------------------------------------------------------------


class Heartbeat(NamedTuple):
    """Are you there? Answered by `Done`."""


class ReplicaPut(NamedTuple):
    """Merge `state` into what you hold for `key`. Answered by `Done` once it is durable.

    Attributes:
        key: encoded key.
        state: encoded siblings.
        stands_in_for: the node this copy is meant for, kept as a hint; "" if it is your own.
    """

    key: bytes
    state: bytes
    stands_in_for: str


class ReplicaGet(NamedTuple):
    """What do you hold for `key`? Answered by `Held`.

    Attributes:
        key: encoded key.
        stands_in_for: look among the hints for this node; "" for your own copy.
        version_only: answer with the clock instead of the whole state.
    """

    key: bytes
    stands_in_for: str
    version_only: bool


class ForwardPut(NamedTuple):
    """Coordinate this write: you hold the key, I do not. Answered by `PutDone`.

    Attributes:
        key: encoded key.
        value: encoded value.
        context: encoded context the client sent; b"" if none.
        quorum: n, w, pw, dw, node_confirms, sloppy (0 or 1).
        policy: how conflicts are treated, a `Conflicts` number.
        return_state: send the state after the write back.
        trace: send a receipt back.
    """

    key: bytes
    value: bytes
    context: bytes
    quorum: list[int]
    policy: int
    return_state: bool
    trace: bool


class GossipOffer(NamedTuple):
    """Push-pull, first half: the hash of all I know. Answered by `GossipDigest`."""

    view_hash: bytes


class GossipExchange(NamedTuple):
    """Push-pull, second half: facts you lack, names of facts I want. Answered by `GossipFacts`.

    Again until neither book has more to give: a message takes no more than a piece (`core/facts`).

    Attributes:
        facts: encoded facts.
        wanted: names of facts.
    """

    facts: list[bytes]
    wanted: list[bytes]


class ConfirmType(NamedTuple):
    """Know this bucket type, durably. Answered by `TypeHeld`.

    Attributes:
        fact: encoded fact.
    """

    fact: bytes


class ListKeys(NamedTuple):
    """Keys you hold of one bucket in one partition. Answered by `KeysPage`.

    Attributes:
        partition: which; of hints, the first.
        bucket: encoded bucket; the prefix of its keys. b"" for all buckets.
        after: the last encoded key of the page before; b"" for the first page.
        limit: at most this many keys.
        buckets_only: of each bucket no more than its first live key and the dead ones before it;
            not heeded where hints are listed.
        stands_in_for: list the hints for this node; "" for your own copies.
        policy: what counts as live, a `Conflicts` number.
        partitions: of hints, of how many partitions in a row; 1 of your own copies.
    """

    partition: int
    bucket: bytes
    after: bytes
    limit: int
    buckets_only: bool
    stands_in_for: str
    policy: int
    partitions: int = 1


class ReadTrees(NamedTuple):
    """Digests of your hash trees, of the partitions we share. Answered by `TreeDigests`.

    Attributes:
        n: of the trees for keys with so many replicas.
        partitions: a bit for each partition, those of the first 8 in the first byte, the lowest bit
            first. The trees of these side by side are one, see `core/merkle.py`.
        nodes: the numbers of nodes in it.
    """

    n: int
    partitions: bytes
    nodes: list[int]


class ListTreeKeys(NamedTuple):
    """The keys below nodes of your hash trees. Answered by `TreeKeys`.

    Attributes:
        n: see `ReadTrees`.
        partitions: see `ReadTrees`.
        nodes: ascending, none below another.
        after: the last key of the page before; b"" for the first page.
        limit: look at no more than this many keys.
    """

    n: int
    partitions: bytes
    nodes: list[int]
    after: bytes
    limit: int


class TombstoneAsk(NamedTuple):
    """How do you stand to these deleted keys? Answered by `TombstoneStands`.

    Whoever is asked begins to watch each key, or goes on with it.

    Attributes:
        keys: encoded keys.
    """

    keys: list[bytes]


class TombstoneCollect(NamedTuple):
    """Forget these deleted keys, as long as you hold just this. Answered by `TombstonesKept`.

    Attributes:
        keys: encoded keys.
        digests: of each, the digest of the state.
    """

    keys: list[bytes]
    digests: list[bytes]


# -- replies -------------------------------------------------------------------------------------


class Done(NamedTuple):
    """It is done; for a write: durable."""


class Held(NamedTuple):
    """An encoded state or clock, as asked; `MISSING` if there is none."""

    data: bytes


class PutDone(NamedTuple):
    """The write met its quorum.

    Attributes:
        acks: how many physical nodes have it, so far.
        state: the state after the write if it was asked for, else b"".
        receipt: JSON (`core/receipts.py`) if it was asked for, else "".
    """

    acks: int
    state: bytes
    receipt: str


class GossipDigest(NamedTuple):
    """Names and versions of all facts; both empty when the hashes were equal."""

    names: list[bytes]
    versions: list[bytes]


class GossipFacts(NamedTuple):
    """The first of the facts wanted, as many as one message takes; none if there are none."""

    facts: list[bytes]


class TypeHeld(NamedTuple):
    """What a node knows of a bucket type, and whom it knows to be in the cluster at that moment.

    Attributes:
        fact: the newest of that name, encoded; durable if it is the one that was sent.
        members: names of the records of all nodes that are not removed.
    """

    fact: bytes
    members: list[bytes]


class KeysPage(NamedTuple):
    """Encoded keys in the order of their places on the disk.

    Attributes:
        keys: those of which a client would be shown a value.
        dead: those of which there is something, but no such value.
        last: the last key looked at, to go on after; b"" if there are no others.
    """

    keys: list[bytes]
    dead: list[bytes]
    last: bytes


class TreeDigests(NamedTuple):
    """Digests of nodes of hash trees.

    Attributes:
        digests: in the order of the nodes asked for; none if `absent` names any partition.
        absent: partitions among those asked for that this node cannot compare now, as it is no
            replica of theirs, or their trees are not loaded. A bit for each, or b"" if none.
        ns: every n for which this node holds keys.
    """

    digests: list[int]
    absent: bytes
    ns: list[int]


class TreeKeys(NamedTuple):
    """Keys in the order of the trees.

    Attributes:
        keys: encoded.
        digests: of each key.
        last: the last key looked at, to go on after; b"" if there are no others.
    """

    keys: list[bytes]
    digests: list[int]
    last: bytes


class TombstoneStands(NamedTuple):
    """How a node stands to deleted keys.

    Attributes:
        facts: the hash of all that it knows of the cluster.
        clock_ms: its clock; only what passes between two answers means anything.
        digests: of each key the digest of its own copy, b"" if it has none.
        watches: of each key the number of the watch over it, the same as long as nothing came for
            the key; or less than one, a `Standing`, if something is in the way.
    """

    facts: bytes
    clock_ms: int
    digests: list[bytes]
    watches: list[int]


class TombstonesKept(NamedTuple):
    """All the others are forgotten, and that is durable.

    Attributes:
        keys: encoded keys.
    """

    keys: list[bytes]


class Failed(NamedTuple):
    """The request was not done.

    Attributes:
        code: a `FailureCode` number.
        text: what to tell the client.
        what: the quorum that fell short, "" for other failures.
        needed: of a quorum.
        got: of a quorum.
        definite: nothing was stored anywhere.
        acks: how many nodes are known to have stored a write.
        receipt: of a write, JSON (`core/receipts.py`) if it was asked for, else "".
    """

    code: int
    text: str
    what: str
    needed: int
    got: int
    definite: bool
    acks: int = 0
    receipt: str = ""


Request = (
    Heartbeat
    | ReplicaPut
    | ReplicaGet
    | ForwardPut
    | GossipOffer
    | GossipExchange
    | ConfirmType
    | ListKeys
    | ReadTrees
    | ListTreeKeys
    | TombstoneAsk
    | TombstoneCollect
)
Reply = (
    Done
    | Held
    | PutDone
    | GossipDigest
    | GossipFacts
    | TypeHeld
    | KeysPage
    | TreeDigests
    | TreeKeys
    | TombstoneStands
    | TombstonesKept
    | Failed
)
Message = Request | Reply

# Numbers on the wire; never reused for something else.
_NUMBERS: dict[type[Message], int] = {
    Heartbeat: 1,
    ReplicaPut: 2,
    ReplicaGet: 3,
    ForwardPut: 4,
    GossipOffer: 5,
    GossipExchange: 6,
    ListKeys: 7,
    ReadTrees: 8,
    ListTreeKeys: 9,
    TombstoneAsk: 14,
    TombstoneCollect: 15,
    ConfirmType: 16,
    Done: 64,
    Held: 65,
    PutDone: 66,
    GossipDigest: 67,
    GossipFacts: 68,
    KeysPage: 69,
    TreeDigests: 70,
    TreeKeys: 71,
    TombstoneStands: 76,
    TombstonesKept: 77,
    TypeHeld: 78,
    Failed: 127,
}


def number_of(message: Message) -> int:
    """The wire number of a message's class."""
    return _NUMBERS[type(message)]


def unpack(number: object, fields: object) -> Message:
    """The message that a peer sent, every field of the type its class says.

    Raises:
        ProtocolError: unknown number, wrong count of fields, or a field of another type.
    """
    shape = _SHAPES.get(number) if type(number) is int else None
    if shape is None:
        shown = number if type(number) is int else type(number).__name__
        raise ProtocolError(f"unknown message number {shown}")
    cls, types, item_types = shape
    # All types in one comparison: half the time of one by one, and this runs four times a PUT.
    if type(fields) is not list or [*map(type, fields)] != types:
        raise _wrong_fields(cls, types, fields)
    for position, item_type in item_types:
        _check_items(cls, position, fields[position], item_type)
    # What NamedTuple's _make does, without counting the fields again.
    message: Message = tuple.__new__(cls, fields)
    return message


def _check_items(cls: type[Message], position: int, items: list[object], wanted: type) -> None:
    for item in items:
        if type(item) is not wanted:
            raise _wrong_field(cls, position, item)


def _wrong_fields(cls: type[Message], types: list[type], fields: object) -> ProtocolError:
    if type(fields) is list and len(fields) == len(types):
        for position, (field, wanted) in enumerate(zip(fields, types, strict=True)):
            if type(field) is not wanted:
                return _wrong_field(cls, position, field)
    # Not the fields themselves: a peer may have sent 64 MiB of them.
    got = len(fields) if type(fields) is list else type(fields).__name__
    return ProtocolError(f"{cls.__name__} has {len(types)} fields, got {got}")


def _wrong_field(cls: type[Message], position: int, field: object) -> ProtocolError:
    name = cls._fields[position]
    return ProtocolError(f"{cls.__name__}.{name} is of type {type(field).__name__}")


def _shape(cls: type[Message]) -> tuple[type[Message], list[type], list[tuple[int, type]]]:
    hints: dict[str, Any] = get_type_hints(cls)
    types = [hints[name] for name in cls._fields]
    items = [(i, t.__args__[0]) for i, t in enumerate(types) if hasattr(t, "__args__")]
    return cls, [getattr(t, "__origin__", t) for t in types], items


_SHAPES = {number: _shape(cls) for cls, number in _NUMBERS.items()}
