"""What a benchmark run is asked to do, whole: with it and the seed a run can be repeated. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote, urlsplit


class Operation(StrEnum):
    """What a request does."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Where a node listens for HTTP."""

    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> "Node":
        """A node from `http://host:port`.

        Raises:
            ValueError: it is something else.
        """
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or not parts.port or parts.path.strip("/"):
            raise ValueError(f"not a node: {url!r} (should look like http://127.0.0.1:8098)")
        return cls(host=parts.hostname, port=parts.port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All parameters of a run.

    Attributes:
        nodes: connections are dealt out to them in turn.
        rate: requests a second at fixed instants (open loop); None for as many as the connections
            carry, each sending the next request when it has its answer (closed loop).
        read_fraction: share of reads; the others are writes.
        contexts: a write first reads the key and hands on the context it got. Otherwise writes
            are blind: each is concurrent with what is there.
        n_val: the bucket's `n_val` is set to it first; None leaves the bucket alone.
        quorums: query parameters (`r`, `pr`, `w`, `pw`, `dw`) and their values.
        warmup_s: load before the measured time, on top of `duration_s`.
        timeout_s: a request without an answer after this long has failed.
        deadline_s: an answer later than this after its request began is of no use to anybody, and
            counts as late; None if all are of use.
        preload: write every key once before.
        seed: of the keys' order and the value's bytes.
    """

    nodes: tuple[Node, ...]
    bucket_type: str
    bucket: str
    connections: int
    rate: float | None
    read_fraction: float
    keys: int
    value_bytes: int
    contexts: bool
    n_val: int | None
    quorums: tuple[tuple[str, str], ...]
    duration_s: float
    warmup_s: float
    timeout_s: float
    deadline_s: float | None
    preload: bool
    seed: int

    @property
    def bucket_path(self) -> str:
        """The path that all keys' paths begin with."""
        bucket = f"/buckets/{quote(self.bucket, safe='')}"
        if self.bucket_type == "default":
            return bucket
        return f"/types/{quote(self.bucket_type, safe='')}{bucket}"
