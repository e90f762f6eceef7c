"""What gossip carries: named, versioned facts, and the book a node keeps of them.

A fact is replaced by one of a higher version and by nothing else, so books that exchange facts in
any order, any number of times, end up equal (Dynamo 4.8.1: "an eventually consistent view of
membership"). The book knows nothing of what a fact says; member records, bucket types and bucket
properties give their facts names and versions.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgpack

from dynamo.core.ids import NodeId, is_node_id
from dynamo.errors import CodecError

NAME_BYTES_MAX = 506
"""A node keeps facts on its disk, by names of no more bytes than that."""

FACT_BYTES_MAX = 256 * 1024


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


class FactBook:
    """All facts a node knows, the newest of each name."""

    def __init__(self, facts: Iterable[Fact] = ()) -> None:
        self._facts: dict[bytes, Fact] = {}
        self._hash: bytes | None = None
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
        known = self._facts.get(fact.name)
        if known is not None and (known.version, known.body) >= (fact.version, fact.body):
            return False
        self._facts[fact.name] = fact
        self._hash = None
        return True

    @property
    def hash(self) -> bytes:
        """Equal for equal books, 16 bytes."""
        if self._hash is None:
            digest = hashlib.blake2b(digest_size=16)
            for name in sorted(self._facts):
                digest.update(encode_fact(self._facts[name]))
            self._hash = digest.digest()
        return self._hash

    def digest(self) -> tuple[list[bytes], list[bytes]]:
        """Names, and a fingerprint of version and body for each."""
        names = sorted(self._facts)
        return names, [fingerprint(self._facts[name]) for name in names]

    def compare(
        self, names: list[bytes], fingerprints: list[bytes]
    ) -> tuple[list[Fact], list[bytes]]:
        """Hold another book's digest against this one.

        Returns:
            The facts that the other may lack, and the names whose facts this book may lack. A name
            on which both differ is in both: who is newer shows when the fact arrives.
        """
        other = dict(zip(names, fingerprints, strict=False))
        offered = [
            fact for name, fact in self._facts.items() if other.get(name) != fingerprint(fact)
        ]
        wanted = [
            name
            for name, theirs in other.items()
            if name not in self._facts or fingerprint(self._facts[name]) != theirs
        ]
        return offered, wanted


def fingerprint(fact: Fact) -> bytes:
    """Version and body of a fact in 8 bytes."""
    return hashlib.blake2b(fact.version + b"\0" + fact.body, digest_size=8).digest()
