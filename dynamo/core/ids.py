"""The names of things: nodes, actors, dots, keys, and how a key becomes bytes.

A key is three byte strings (bucket type, bucket, key). Their encoding puts lengths before the
first two, so it is unambiguous, and all keys of one bucket share a prefix: a bucket is one
contiguous range of a partition.
"""

import re
from typing import NamedTuple, NewType

from dynamo.errors import BadRequest, CodecError

NodeId = NewType("NodeId", str)
"""A node's name, unique in its cluster: lower-case letters, digits, `.`, `_`, `-`, at most 64."""

Actor = NewType("Actor", bytes)
"""Who minted a dot: 8 random bytes, drawn anew at every start of a node and after every loss."""

ACTOR_BYTES = 8

# Partition, type and bucket always fit an LMDB key (511 bytes), with room for a digest.
BUCKET_TYPE_BYTES_MAX = 64
BUCKET_BYTES_MAX = 400
KEY_BYTES_MAX = 8192

DEFAULT_BUCKET_TYPE = b"default"

_NODE_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def is_node_id(text: str) -> bool:
    """Whether `text` may name a node."""
    return _NODE_ID.fullmatch(text) is not None


class Address(NamedTuple):
    """Where something listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Dot(NamedTuple):
    """One write event: the `counter`-th of `actor` (Almeida et al., dotted version vectors)."""

    actor: Actor
    counter: int


class Bucket(NamedTuple):
    """A namespace of keys, with properties of its own."""

    bucket_type: bytes
    bucket: bytes


class Key(NamedTuple):
    """What a client calls a key, whole."""

    bucket_type: bytes
    bucket: bytes
    key: bytes


def encode_bucket(bucket: Bucket) -> bytes:
    """The bytes that the encodings of all keys of this bucket begin with, and no others do.

    Raises:
        BadRequest: a name is empty or too long.
    """
    if not 0 < len(bucket.bucket_type) <= BUCKET_TYPE_BYTES_MAX:
        raise BadRequest(
            f"a bucket type has 1 to {BUCKET_TYPE_BYTES_MAX} bytes, got {len(bucket.bucket_type)}"
        )
    if not 0 < len(bucket.bucket) <= BUCKET_BYTES_MAX:
        raise BadRequest(f"a bucket has 1 to {BUCKET_BYTES_MAX} bytes, got {len(bucket.bucket)}")
    return b"%c%b%b%b" % (
        len(bucket.bucket_type),
        bucket.bucket_type,
        len(bucket.bucket).to_bytes(2, "big"),
        bucket.bucket,
    )


def encode_key(key: Key) -> bytes:
    """A key as bytes: length of type (1 byte), type, length of bucket (2), bucket, key.

    Raises:
        BadRequest: a name is empty or too long.
    """
    if not 0 < len(key.key) <= KEY_BYTES_MAX:
        raise BadRequest(f"a key has 1 to {KEY_BYTES_MAX} bytes, got {len(key.key)}")
    return encode_bucket(Bucket(key.bucket_type, key.bucket)) + key.key


def decode_key(data: bytes) -> Key:
    """The inverse of `encode_key`.

    Raises:
        CodecError: `data` is no encoded key.
    """
    try:
        type_end = 1 + data[0]
        bucket_start = type_end + 2
        bucket_end = bucket_start + int.from_bytes(data[type_end:bucket_start], "big")
        key = Key(data[1:type_end], data[bucket_start:bucket_end], data[bucket_end:])
        if encode_key(key) == data:
            return key
    except (IndexError, BadRequest):
        pass
    raise CodecError(f"not an encoded key: {data[:32]!r}")
