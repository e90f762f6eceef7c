"""A value as a client stored it: the body and everything that travels with it."""

from dataclasses import dataclass

Link = tuple[bytes, bytes, bytes]
"""Bucket, key and tag that a value points to (Riak's `Link` header)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One stored value.

    Attributes:
        body: the bytes stored.
        content_type: as the client sent it, `charset` parameter included.
        content_encoding: as the client sent it, empty if it did not.
        meta: names (lower case) and texts of the client's own metadata.
        links: what it points to.
        indexes: field (lower case, with its suffix) and term, one pair per entry.
        modified_at_ms: wall clock of the coordinator at the write. It orders writes only where
            `last_write_wins` or `allow_mult=false` asks for it.
        deleted: this is a tombstone; the other fields are empty.

    Texts hold header bytes decoded with `surrogateescape`.
    """

    body: bytes
    content_type: str = "application/octet-stream"
    content_encoding: str = ""
    meta: tuple[tuple[str, str], ...] = ()
    links: tuple[Link, ...] = ()
    indexes: tuple[tuple[str, str], ...] = ()
    modified_at_ms: int = 0
    deleted: bool = False
