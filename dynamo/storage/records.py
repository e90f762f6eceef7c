"""What a key and its state look like on the disk: places and sealed records.

    place    prefix | encoded key                                    up to 510 bytes
             its first 495 bytes | BLAKE2b-128 of the encoded key    if that is longer: 511 bytes
    record   checksum (8 bytes) | body
    body     payload                                                 of a place up to 510 bytes
             u16 length of the encoded key | encoded key | payload   of one of 511

An LMDB key has at most 511 bytes and a client's key up to 8 KiB, so long ones are cut and end in a
digest; the length tells the two kinds apart, so they cannot collide. Places, not encoded keys, are
what the disk is ordered by: two long keys that begin alike stand in the order of their digests.

The checksum is half of MurmurHash3-128 over the body, seeded by the place, so that a record found
under another's place is refused as well. It is measured twice as fast as the CRC-32 of zlib
(0.28 us against 0.5 us for 1 KiB) and misses a random error once in 2^64 instead of 2^32. What
CRC adds, the proof that short bursts are found, is worth less here: what goes wrong below a file
system are whole sectors and pages.
"""

import hashlib
import zlib

import mmh3

from dynamo.errors import Corrupted
from dynamo.storage.engine import KEY_BYTES_MAX

_DIGEST_BYTES = 16
_CHECKSUM_BYTES = 8
_LENGTH_BYTES = 2


def place_of(prefix: bytes, key: bytes) -> bytes:
    """Where the record of an encoded key is kept, under `prefix`."""
    place = prefix + key
    if len(place) < KEY_BYTES_MAX:
        return place
    digest = hashlib.blake2b(key, digest_size=_DIGEST_BYTES).digest()
    return place[: KEY_BYTES_MAX - _DIGEST_BYTES] + digest


def after_prefix(prefix: bytes) -> bytes | None:
    """The first place behind all that begin with `prefix`; None if nothing can be behind them."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None


def seal(place: bytes, key: bytes, payload: bytes) -> bytes:
    """The record of `key`, whose place is `place`."""
    if len(place) == KEY_BYTES_MAX:
        payload = len(key).to_bytes(_LENGTH_BYTES, "big") + key + payload
    return _checksum(place, payload) + payload


def unseal(place: bytes, prefix_bytes: int, record: bytes) -> tuple[bytes, bytes]:
    """The encoded key and the payload of the record found at `place`.

    Args:
        place: where it was found.
        prefix_bytes: how many bytes of the place are not the key's.
        record: what was found.

    Raises:
        Corrupted: this is not what was sealed for that place.
    """
    body = record[_CHECKSUM_BYTES:]
    if _checksum(place, body) != record[:_CHECKSUM_BYTES]:
        raise Corrupted(f"the record of {place[:64]!r} does not match its checksum")
    if len(place) < KEY_BYTES_MAX:
        return place[prefix_bytes:], body
    key_end = _LENGTH_BYTES + int.from_bytes(body[:_LENGTH_BYTES], "big")
    return body[_LENGTH_BYTES:key_end], body[key_end:]


def _checksum(place: bytes, body: bytes) -> bytes:
    checksum: bytes = mmh3.hash_bytes(body, zlib.crc32(place))[:_CHECKSUM_BYTES]
    return checksum
