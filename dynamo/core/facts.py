"""What gossip carries: named, versioned facts, and the book a node keeps of them.

A fact is replaced by one of a higher version and by nothing else, so books that exchange facts in
any order, any number of times, end up equal (Dynamo 4.8.1: "an eventually consistent view of
membership"). The book knows nothing of what a fact says; member records, bucket types and bucket
properties give their facts names and versions.
"""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import msgpack

from dynamo.core.ids import NodeId, is_node_id
from dynamo.errors import CodecError, ProtocolError

NAME_BYTES_MAX = 506
"""A node keeps facts on its disk, by names of no more bytes than that."""

FACT_BYTES_MAX = 256 * 1024

PIECE_BYTES_MAX = 512 * 1024
PIECE_FACTS_MAX = 256
"""Books are exchanged in pieces of no more facts than that. Taking one keeps a node's loop busy for
10 to 20 ms, and for 80 ms if its properties are lists of nothing but small things."""


class Fact(NamedTuple):
    """One named statement.

    Attributes:
        name: what it is about; its first byte tells the kind (`MEMBER`, `PROPERTIES`, `TYPE`).
        version: compared as bytes, higher replaces lower.
        body: the statement, in the encoding of its kind. Decides between equal versions, which only
            a lost disk can bring about; any rule will do as long as all nodes have the same.
    """

    name: bytes
    version: bytes
    body: bytes


MEMBER = b"m"
PROPERTIES = b"p"
TYPE = b"t"

_COUNTER_BYTES = 6
_COUNTER_MAX = 2**47  # of what peers say: leaves room for counting on


class Revision(NamedTuple):
    """A version for facts that any node may write: how often it was, and by whom last.

    Two nodes that write at the same time make different versions, so one of them wins everywhere.
    """

    number: int
    by: NodeId

    def encode(self) -> bytes:
        """As bytes that compare as revisions do."""
        return self.number.to_bytes(_COUNTER_BYTES, "big") + self.by.encode()


def decode_revision(version: bytes) -> Revision:
    """The inverse of `Revision.encode`.

    Raises:
        CodecError: it is no number and a node's name.
    """
    number = int.from_bytes(version[:_COUNTER_BYTES], "big")
    by = version[_COUNTER_BYTES:].decode("ascii", "replace")
    if not is_node_id(by) or number > _COUNTER_MAX:
        raise CodecError("a version is a number and a node's name")
    return Revision(number, NodeId(by))


def encode_fact(fact: Fact) -> bytes:
    """A fact as bytes."""
    encoded: bytes = msgpack.packb(fact)
    return encoded


def decode_fact(data: bytes) -> Fact:
    """The inverse of `encode_fact`.

    Raises:
        CodecError: no fact, or one beyond the limits.
    """
    if len(data) > FACT_BYTES_MAX:
        raise CodecError(f"a fact has at most {FACT_BYTES_MAX} bytes, got {len(data)}")
    try:
        fields = msgpack.unpackb(data)
    except Exception as error:  # msgpack raises many kinds, ValueError and its own among them
        raise CodecError(f"not a fact: {error}") from error
    if (
        type(fields) is not list
        or len(fields) != 3
        or any(type(field) is not bytes for field in fields)
        or not 1 < len(fields[0]) <= NAME_BYTES_MAX
    ):
        raise CodecError("a fact is a name, a version and a body")
    return Fact(*fields)


def first_piece(facts: Iterable[Fact], bytes_max: int = PIECE_BYTES_MAX) -> list[bytes]:
    """The first of some facts, encoded: as many as one message takes, one at the least."""
    piece: list[bytes] = []
    room_bytes = bytes_max
    for fact in islice(facts, PIECE_FACTS_MAX):
        encoded = encode_fact(fact)
        room_bytes -= len(encoded)
        if piece and room_bytes < 0:
            break
        piece.append(encoded)
    return piece


def is_piece(encoded: list[bytes]) -> bool:
    """Whether these facts, encoded, are no more than one message may bring."""
    return len(encoded) <= PIECE_FACTS_MAX and sum(map(len, encoded)) <= PIECE_BYTES_MAX


class FactBook:
    """All facts a node knows, the newest of each name.

    Attributes:
        size_bytes: of all of them.
    """

    def __init__(self, facts: Iterable[Fact] = ()) -> None:
        self._facts: dict[bytes, Fact] = {}
        self._digests: dict[bytes, bytes] = {}
        self._hash: bytes | None = None
        self.size_bytes = 0
        for fact in facts:
            self.merge(fact)

    def __iter__(self) -> Iterator[Fact]:
        return iter(self._facts.values())

    def __len__(self) -> int:
        return len(self._facts)

    def get(self, name: bytes) -> Fact | None:
        """The fact of that name."""
        return self._facts.get(name)

    def merge(self, fact: Fact) -> bool:
        """Take `fact` if it is new. Returns whether it was."""
        if not self.lacks(fact):
            return False
        self.size_bytes += self.growth_bytes(fact)
        self._facts[fact.name] = fact
        # Once for each fact: a node is asked for its hash far more often than it learns anything.
        self._digests[fact.name] = hashlib.blake2b(encode_fact(fact), digest_size=16).digest()
        self._hash = None
        return True

    def lacks(self, fact: Fact) -> bool:
        """Whether this book knows nothing as new as `fact`."""
        known = self._facts.get(fact.name)
        return known is None or (known.version, known.body) < (fact.version, fact.body)

    def growth_bytes(self, fact: Fact) -> int:
        """By how much this book would grow if it took `fact`; below 0 if it would shrink."""
        known = self._facts.get(fact.name)
        return _size_bytes(fact) - (0 if known is None else _size_bytes(known))

    @property
    def hash(self) -> bytes:
        """Equal for equal books, 16 bytes."""
        if self._hash is None:
            digests = self._digests
            joined = b"".join([digests[name] for name in sorted(digests)])
            self._hash = hashlib.blake2b(joined, digest_size=16).digest()
        return self._hash

    def fingerprint(self, name: bytes) -> bytes | None:
        """What tells the fact of that name from all others, 8 bytes; None if there is none."""
        digest = self._digests.get(name)
        return None if digest is None else digest[:8]

    def digest(self) -> tuple[list[bytes], list[bytes]]:
        """Names, and the fingerprint of each one's fact."""
        names = sorted(self._facts)
        return names, [self._digests[name][:8] for name in names]


class Trade:
    """One side's list of what two books have yet to give each other, from piece to piece.

    What both have to say of the members goes first: whoever hears half of it knows whom to ask for
    the other half.
    """

    def __init__(
        self,
        book: FactBook,
        names: list[bytes],
        fingerprints: list[bytes],
        bytes_max: int = PIECE_BYTES_MAX,
    ) -> None:
        """From the other book's digest.

        A name on which both books differ is given and wanted: who is newer shows when the fact
        arrives.
        """
        self._book = book
        self._bytes_max = bytes_max
        self._wanted = {
            name: theirs
            for name, theirs in zip(names, fingerprints, strict=False)
            if book.fingerprint(name) != theirs
        }
        there = dict(zip(names, fingerprints, strict=False))
        self._offered = sorted(
            fact.name for fact in book if there.get(fact.name) != book.fingerprint(fact.name)
        )
        self._given = 0
        self._asked: list[bytes] = []

    def next_piece(self) -> tuple[list[bytes], list[bytes]]:
        """Facts to give, encoded, and names of facts to ask for; neither when the books are equal.

        What was heard from others meanwhile is not asked for.
        """
        self._asked = list(islice(self._missing(), PIECE_FACTS_MAX))
        rest = (self._book.get(name) for name in self._offered[self._given :])
        piece = first_piece((fact for fact in rest if fact is not None), self._bytes_max)
        self._given += len(piece)
        return piece, self._asked

    def _missing(self) -> Iterator[bytes]:
        fingerprint = self._book.fingerprint
        return (name for name, theirs in self._wanted.items() if fingerprint(name) != theirs)

    def got(self, names: Iterable[bytes]) -> None:
        """The other gave the facts of these names.

        Raises:
            ProtocolError: none of those that it was asked for, though it had named them.
        """
        given = set(names)
        if self._asked and given.isdisjoint(self._asked):
            raise ProtocolError(f"{len(self._wanted)} facts were named, and are not given")
        for name in given:
            self._wanted.pop(name, None)


def _size_bytes(fact: Fact) -> int:
    return len(fact.name) + len(fact.version) + len(fact.body)
