"""Settings: what must be equal on all nodes of a cluster, and what one node decides for itself.

Two kinds, for two questions: `ClusterConfig` is fixed at the cluster's birth and compared at every
handshake, `NodeConfig` may differ from node to node and from start to start. `settings.py` reads
both from TOML files; the annotations here are its bounds, and their texts its error messages.
Relations between settings are checked here, so that no way of making one escapes them.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

import msgspec

from dynamo.core.ids import BUCKET_TYPE_BYTES_MAX, Address, NodeId
from dynamo.core.property_rules import coerced
from dynamo.errors import ConfigError

HASH_NAME: Final = "mmh3_x64_128"
"""The hash that places keys on the ring."""

FORMAT: Final = 2
"""Rises when keys, values, clocks or tokens get another meaning that old nodes cannot read."""

PARTITIONS_MIN: Final = 8
PARTITIONS_MAX: Final = 65536

BUCKET_SETTINGS: Final = "bucket_types"
"""What the digest of bucket types and defaults is called in a fingerprint."""

WILDCARD_HOSTS: Final = frozenset({"0.0.0.0", "::"})
"""Hosts to listen on that nobody can dial."""

Durability = Literal["fsync", "os"]
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]

# A description is what an error message says would have been right: "... but must be ...".
_NAME = msgspec.Meta(
    pattern=r"\A[a-z0-9][a-z0-9._-]{0,63}\Z",
    description="1 to 64 of a-z 0-9 . _ - with a letter or digit first",
)
_Name = Annotated[str, _NAME]
_NodeId = Annotated[NodeId, _NAME]
_Zone = Annotated[str, msgspec.Meta(max_length=64, description="a text of up to 64 characters")]
_Host = Annotated[
    str, msgspec.Meta(pattern=r"\A[^\s/@]{1,253}\Z", description="a host name or address, no port")
]
_AdvertiseHost = Annotated[
    str,
    msgspec.Meta(
        pattern=r"\A[^\s/@]{0,253}\Z", description='a host name or address, no port, or ""'
    ),
]
_Port = Annotated[
    int, msgspec.Meta(ge=1, le=65535, description="a port, a whole number from 1 to 65535")
]
_Weight = Annotated[int, msgspec.Meta(ge=1, le=1000, description="a whole number from 1 to 1000")]
_Bytes = Annotated[
    int,
    msgspec.Meta(
        ge=2**20, le=2**46, description="a whole number of bytes, 1 MiB (1048576) to 64 TiB"
    ),
]
_Count = Annotated[
    int, msgspec.Meta(ge=1, le=1_000_000, description="a whole number from 1 to 1000000")
]
_Seconds = Annotated[
    float, msgspec.Meta(ge=0.01, le=3600, description="a number of seconds from 0.01 to 3600")
]
_Age = Annotated[
    float, msgspec.Meta(ge=1, le=10 * 365 * 86400, description="a number of seconds from 1 on")
]
_ClockOffset = Annotated[
    float,
    msgspec.Meta(ge=-86_400, le=86_400, description="a number of seconds from -86400 to 86400"),
]
_Milliseconds = Annotated[
    float, msgspec.Meta(ge=1, le=60_000, description="a number of milliseconds from 1 to 60000")
]
_Switch = Annotated[bool, msgspec.Meta(description="true or false")]
_Phi = Annotated[float, msgspec.Meta(ge=0.1, le=100, description="a number from 0.1 to 100")]
_Partitions = Annotated[
    int,
    msgspec.Meta(
        ge=PARTITIONS_MIN,
        le=PARTITIONS_MAX,
        description=f"a power of two from {PARTITIONS_MIN} to {PARTITIONS_MAX}",
    ),
]
_Properties = Annotated[
    Mapping[str, object], msgspec.Meta(description="a table of bucket properties")
]
_BucketTypes = Annotated[
    Mapping[str, Mapping[str, object]],
    msgspec.Meta(description="a table of tables: bucket type, its properties"),
]


class Seed(NamedTuple):
    """A node to ask first about the cluster; written `n1@10.0.0.1:9098`."""

    node_id: NodeId
    address: Address


_Seeds = Annotated[tuple[Seed, ...], msgspec.Meta(description='a list of "id@host:port"')]
_Addresses = Annotated[
    Mapping[NodeId, Address], msgspec.Meta(description='a table of id = "host:port"')
]
_DataDir = Annotated[Path, msgspec.Meta(description="the path of a directory")]
_Durability = Annotated[Durability, msgspec.Meta(description='"fsync" or "os"')]
_LogLevel = Annotated[LogLevel, msgspec.Meta(description='"debug", "info", "warning" or "error"')]
_LogFormat = Annotated[LogFormat, msgspec.Meta(description='"text" or "json"')]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """What must be equal on all nodes of a cluster.

    Attributes:
        name: keeps clusters apart that can reach each other; a node of another name is refused.
        partitions: equal parts of the key space, the unit of placement and transfer (Dynamo 6.2);
            a power of two, fixed for the cluster's life. About 50 for each node expected.
        bucket_types: type name, and the properties its buckets start with where they differ from
            Riak's. Requests reach them as `/types/NAME/buckets/...`.
        bucket_defaults: properties of buckets without a type, where they differ from Riak's.
        stragglers_s_max: seconds after which nothing that was begun or sent has an effect any more.
            Deleted keys are forgotten only after three times that; no node may wait longer for a
            replica than this. Best several times `replica_timeout_s`: a replica that fails a write
            later than this is not replaced any more, and nobody keeps a hint for it.
    """

    name: _Name = "dynamo"
    partitions: _Partitions = 256
    bucket_types: _BucketTypes = field(default_factory=dict)
    bucket_defaults: _Properties = field(default_factory=dict)
    stragglers_s_max: _Seconds = 10.0

    def __post_init__(self) -> None:
        if self.partitions & (self.partitions - 1):
            raise ConfigError(
                f"[cluster] partitions is {self.partitions}, but must be a power of two"
                f" from {PARTITIONS_MIN} to {PARTITIONS_MAX}"
            )
        for name in self.bucket_types:
            if name in ("default", "any"):
                raise ConfigError(
                    f"[cluster] bucket_types cannot hold {name!r}: that name is reserved"
                    + ("; set bucket_defaults instead" if name == "default" else "")
                )
            if not 0 < len(name.encode()) <= BUCKET_TYPE_BYTES_MAX:
                raise ConfigError(
                    f"[cluster] bucket_types holds the name {name!r:.80},"
                    f" but a type's name has 1 to {BUCKET_TYPE_BYTES_MAX} bytes"
                )

    def fingerprint(self) -> str:
        """What two nodes must agree on to be of one cluster, readable enough for a refusal."""
        return (
            f"partitions={self.partitions} hash={HASH_NAME} format={FORMAT}"
            f" stragglers_s_max={self.stragglers_s_max:g}{self._bucket_settings()}"
        )

    def _bucket_settings(self) -> str:
        """The bucket types and defaults that are given, in a few digits; "" if there are none."""
        if not self.bucket_types and not self.bucket_defaults:
            return ""
        types = {name: coerced(given)[0] for name, given in self.bucket_types.items()}
        given = json.dumps([types, coerced(self.bucket_defaults)[0]], sort_keys=True, default=str)
        return f" {BUCKET_SETTINGS}={hashlib.blake2b(given.encode(), digest_size=4).hexdigest()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """What one node decides for itself.

    Attributes:
        node_id: the node's name, unique in its cluster and its own for ever.
        data_dir: what the node keeps on disk; relative to the directory of the settings file.
        http_host: where clients are listened for.
        http_port: see `http_host`.
        rpc_host: where other nodes are listened for.
        rpc_port: see `rpc_host`.
        advertise_host: what the node tells others to dial, for nodes and clients alike; "" for
            `rpc_host` and `http_host`. Needed if either is a wildcard such as 0.0.0.0.
        seeds: nodes that are asked first about the cluster, written "id@host:port", best the same
            few on all nodes, themselves included. The one with the lowest id founds the cluster,
            the others wait for it; with no seeds at all a node founds a cluster of its own.
        peer_addresses: peer, and the address to dial it at instead of the one it gossips.
        zone: what fails together (a rack, a room); replicas of a key go to distinct zones first.
        weight: this node's share of the data relative to others.
        durability: when a write counts as durable: "fsync" once it is on the disk, "os" once the
            operating system has it (survives the process, not the machine).
        map_bytes_max: upper bound of the store on disk, in bytes; the file is sparse and grows.
        queued_bytes_max: bytes of writes that may wait for the disk before more are refused; at
            least `object_bytes_max`.
        heartbeat_interval_s: seconds between heartbeats to each peer.
        gossip_interval_s: seconds between exchanges of membership with a peer drawn at random.
        suspect_phi: how improbable a peer's silence must be to suspect it, as -log10 of the
            probability (phi-accrual).
        replica_timeout_s: seconds until a replica that does not answer counts as failed for the
            request at hand; at most `request_timeout_s`.
        request_timeout_s: seconds for a whole client request that names no timeout.
        object_bytes_max: largest object, in bytes: its body and what is stored along with it.
        siblings_max: most siblings of one key; a write that would make more is refused.
        requests_in_flight_max: client requests at work at once; more are refused at once.
        queue_s_max: a client request that would have to wait longer than this, in seconds, is
            refused at once.
        hinted_handoff: whether hints are delivered; they are kept all the same.
        handoff_interval_s: seconds between looks for hints whose target is back.
        hints_bytes_max: most bytes of hints; the oldest go first, and anti-entropy makes good.
        hint_age_s_max: seconds after which a hint that could not be delivered goes too; no node
            drops any for its age before it has run for as long, as it cannot know how right its
            clock was.
        read_repair: whether a read sends replicas what it found them to lack.
        anti_entropy: whether replicas compare what they hold, and mend it.
        anti_entropy_interval_s: seconds between comparisons with a peer.
        tombstone_collection: whether keys deleted everywhere are forgotten.
        foreground_p99_ms_max: background work slows down while requests of clients take longer
            than this at the 99th percentile, or than 1.5 times what they take without it.
        clock_offset_s: for experiments: this node's clock is so wrong, in seconds; it runs as fast
            as ever, and nothing that is waited for gets longer or shorter.
        log_level: least level that is logged.
        log_format: "text" for people, "json" for one JSON object a line.
    """

    node_id: _NodeId
    data_dir: _DataDir
    http_host: _Host = "127.0.0.1"
    http_port: _Port = 8098
    rpc_host: _Host = "127.0.0.1"
    rpc_port: _Port = 9098
    advertise_host: _AdvertiseHost = ""
    seeds: _Seeds = ()
    peer_addresses: _Addresses = field(default_factory=dict)
    zone: _Zone = ""
    weight: _Weight = 1
    durability: _Durability = "fsync"
    map_bytes_max: _Bytes = 64 * 2**30
    queued_bytes_max: _Bytes = 64 * 2**20
    heartbeat_interval_s: _Seconds = 0.5
    gossip_interval_s: _Seconds = 0.5
    suspect_phi: _Phi = 8.0
    replica_timeout_s: _Seconds = 2.0
    request_timeout_s: _Seconds = 60.0
    object_bytes_max: _Bytes = 50 * 2**20
    siblings_max: _Count = 100
    requests_in_flight_max: _Count = 4096
    queue_s_max: _Seconds = 0.5
    hinted_handoff: _Switch = True
    handoff_interval_s: _Seconds = 2.0
    hints_bytes_max: _Bytes = 2**30
    hint_age_s_max: _Age = 7 * 86400.0
    read_repair: _Switch = True
    anti_entropy: _Switch = True
    anti_entropy_interval_s: _Seconds = 5.0
    tombstone_collection: _Switch = True
    foreground_p99_ms_max: _Milliseconds = 100.0
    clock_offset_s: _ClockOffset = 0.0
    log_level: _LogLevel = "info"
    log_format: _LogFormat = "text"

    def __post_init__(self) -> None:
        if not self.advertise_host and {self.rpc_host, self.http_host} & WILDCARD_HOSTS:
            raise ConfigError(
                "[node] advertise_host is empty, but must be set to what others can dial,"
                " as rpc_host or http_host is a wildcard"
            )
        if self.advertise_host in WILDCARD_HOSTS:
            raise ConfigError(
                f"[node] advertise_host is {self.advertise_host!r}, but must be"
                " what others can dial"
            )
        if (self.rpc_host, self.rpc_port) == (self.http_host, self.http_port):
            raise ConfigError(f"[node] rpc_port is {self.rpc_port}, but must differ from http_port")
        if self.replica_timeout_s > self.request_timeout_s:
            raise ConfigError(
                f"[node] replica_timeout_s is {self.replica_timeout_s:g}, but must be"
                f" at most request_timeout_s ({self.request_timeout_s:g})"
            )
        if self.queued_bytes_max < self.object_bytes_max:
            raise ConfigError(
                f"[node] queued_bytes_max is {self.queued_bytes_max}, but must be"
                f" at least object_bytes_max ({self.object_bytes_max})"
            )

    @property
    def http_address(self) -> Address:
        """Where clients are listened for."""
        return Address(self.http_host, self.http_port)

    @property
    def rpc_address(self) -> Address:
        """Where other nodes are listened for."""
        return Address(self.rpc_host, self.rpc_port)

    @property
    def advertised_http(self) -> Address:
        """Where others are told that this node serves HTTP."""
        return Address(self.advertise_host or self.http_host, self.http_port)

    @property
    def advertised_rpc(self) -> Address:
        """Where other nodes are told to dial this one."""
        return Address(self.advertise_host or self.rpc_host, self.rpc_port)
