"""Bucket properties: what a bucket, and a request on top of it, wants of N, R, W and conflicts.

    Riak's defaults  <-  the type's settings  <-  changes to the type  <-  changes to the bucket

Each layer overrides the ones before it, name by name, so a change to a type shows through in its
buckets that did not set the property themselves. Changes are facts that gossip carries; of two
changes made to one bucket at the same time, one is taken whole, the same one by every node.
(Dynamo 4.5: N, R and W are for the application to choose.)
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, cast

from dynamo.core.facts import NAME_BYTES_MAX, PROPERTIES, Fact
from dynamo.core.ids import (
    BUCKET_BYTES_MAX,
    BUCKET_TYPE_BYTES_MAX,
    DEFAULT_BUCKET_TYPE,
    Bucket,
    NodeId,
    is_node_id,
)
from dynamo.core.property_rules import (
    DEFAULTS,
    TYPE_DEFAULTS,
    coerced,
    contradictions,
    forbidden_changes,
)
from dynamo.core.quorum import Conflicts, ReadQuorum, WriteQuorum
from dynamo.errors import BadRequest, CodecError, ConfigError

Count = int | str
"""How many of N: a number, or one of `one`, `quorum`, `all`."""

CHANGES_BYTES_MAX = 64 * 1024
CHANGED_BUCKETS_MAX = 4096
"""Changes are gossiped to all nodes and kept in memory; many buckets alike want a bucket type."""

_COUNTER_BYTES = 6
_COUNTER_MAX = 2**47  # of what peers say: leaves room for counting on


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one request asks for instead of its bucket's properties; None where it does not say.

    Attributes:
        n_val: look only at so many of the key's replicas; ignored above the bucket's own.
        rw: of a delete, for both its halves, if neither `r` nor `w` is given.
    """

    n_val: int | None = None
    r: Count | None = None
    w: Count | None = None
    rw: Count | None = None
    pr: Count | None = None
    pw: Count | None = None
    dw: Count | None = None
    node_confirms: Count | None = None
    basic_quorum: bool | None = None
    notfound_ok: bool | None = None
    sloppy_quorum: bool | None = None


NOTHING_ASKED = Asked()


@dataclass(frozen=True, kw_only=True)
class Properties:
    """All properties of a bucket; as fields those that the store acts on.

    Not slotted, unlike other values: it caches what a request that asks for nothing gets.

    Attributes:
        everything: all of them by name, as JSON has them; the bucket's name is not among them.
    """

    n_val: int
    r: Count
    w: Count
    rw: Count
    pr: Count
    pw: Count
    dw: Count
    node_confirms: Count
    basic_quorum: bool
    notfound_ok: bool
    allow_mult: bool
    last_write_wins: bool
    write_once: bool
    sloppy_quorum: bool
    everything: Mapping[str, object]

    @classmethod
    def of(cls, everything: Mapping[str, object]) -> "Properties":
        """From a complete set of checked properties."""

        def count(name: str) -> Count:
            return cast("Count", everything[name])

        return cls(
            n_val=cast("int", everything["n_val"]),
            r=count("r"),
            w=count("w"),
            rw=count("rw"),
            pr=count("pr"),
            pw=count("pw"),
            dw=count("dw"),
            node_confirms=count("node_confirms"),
            basic_quorum=everything["basic_quorum"] is True,
            notfound_ok=everything["notfound_ok"] is True,
            allow_mult=everything["allow_mult"] is True,
            last_write_wins=everything["last_write_wins"] is True,
            write_once=everything["write_once"] is True,
            sloppy_quorum=everything["sloppy_quorum"] is True,
            everything=everything,
        )

    @cached_property
    def conflicts(self) -> Conflicts:
        """How concurrent values are treated. `write_once` keys are not meant to have any."""
        if self.last_write_wins or self.write_once:
            return Conflicts.LAST_WRITE_WINS
        return Conflicts.SIBLINGS if self.allow_mult else Conflicts.LATEST

    def read_quorum(self, asked: Asked = NOTHING_ASKED) -> ReadQuorum:
        """What a read needs.

        Raises:
            BadRequest: more is asked for than there are replicas.
        """
        return self._default_read if asked is NOTHING_ASKED else self._read(asked, self.r)

    def write_quorum(self, asked: Asked = NOTHING_ASKED) -> WriteQuorum:
        """What a write needs.

        Raises:
            BadRequest: more is asked for than there are replicas.
        """
        return self._default_write if asked is NOTHING_ASKED else self._write(asked, self.w)

    def delete_quorums(self, asked: Asked = NOTHING_ASKED) -> tuple[ReadQuorum, WriteQuorum]:
        """What a delete needs: of reading what is there, and of writing the tombstone.

        Raises:
            BadRequest: more is asked for than there are replicas.
        """
        if asked.r is not None or asked.w is not None:
            return self.read_quorum(asked), self.write_quorum(asked)
        both = self.rw if asked.rw is None else asked.rw
        return self._read(asked, both), self._write(asked, both)

    @cached_property
    def _default_read(self) -> ReadQuorum:
        return self._read(NOTHING_ASKED, self.r)

    @cached_property
    def _default_write(self) -> WriteQuorum:
        return self._write(NOTHING_ASKED, self.w)

    def _n(self, asked: Asked) -> int:
        return min(self.n_val, asked.n_val or self.n_val)

    def _read(self, asked: Asked, r: Count) -> ReadQuorum:
        n = self._n(asked)
        quorum = ReadQuorum(
            n=n,
            r=max(_number(_first(asked.r, r), n), 1),
            pr=_number(_first(asked.pr, self.pr), n),
            node_confirms=_number(_first(asked.node_confirms, self.node_confirms), n),
            basic_quorum=_either(asked.basic_quorum, self.basic_quorum),
            notfound_ok=_either(asked.notfound_ok, self.notfound_ok),
            sloppy=_either(asked.sloppy_quorum, self.sloppy_quorum),
        )
        _check_against_n(n, quorum.r, quorum.pr, quorum.node_confirms)
        return quorum

    def _write(self, asked: Asked, w: Count) -> WriteQuorum:
        n = self._n(asked)
        quorum = WriteQuorum(
            n=n,
            w=_number(_first(asked.w, w), n),
            pw=_number(_first(asked.pw, self.pw), n),
            dw=_number(_first(asked.dw, self.dw), n),
            node_confirms=_number(_first(asked.node_confirms, self.node_confirms), n),
            sloppy=_either(asked.sloppy_quorum, self.sloppy_quorum),
        )
        _check_against_n(n, quorum.w, quorum.pw, quorum.dw, quorum.node_confirms)
        return quorum


def _first(asked: Count | None, otherwise: Count) -> Count:
    return otherwise if asked is None else asked


def _either(asked: bool | None, otherwise: bool) -> bool:
    return otherwise if asked is None else asked


def _number(count: Count, n: int) -> int:
    """A count as a number of replicas; Riak takes negative ones, they ask for nothing."""
    if isinstance(count, int):
        return max(count, 0)
    return {"one": 1, "quorum": n // 2 + 1, "all": n}[count]


def _check_against_n(n: int, *counts: int) -> None:
    if max(counts) > n:
        raise BadRequest(
            f"Specified w/dw/pw/node_confirms values invalid for bucket n value of {n}"
        )


class _Change(NamedTuple):
    version: bytes
    properties: Mapping[str, object]


class PropertyBook:
    """The properties of all buckets, as the settings have them and as clients changed them.

    A bucket with the empty name, which no client can address, stands for its type as a whole.
    """

    def __init__(
        self,
        bucket_types: Mapping[str, Mapping[str, object]],
        bucket_defaults: Mapping[str, object],
    ) -> None:
        """From the settings.

        Raises:
            ConfigError: a property has a value that it cannot have.
        """
        self._settings = {
            DEFAULT_BUCKET_TYPE: _from_settings("bucket_defaults", DEFAULTS, bucket_defaults)
        }
        for name, properties in bucket_types.items():
            made = _from_settings(f"bucket_types.{name}", TYPE_DEFAULTS, properties)
            if made["active"] is True:
                self._settings[name.encode()] = made
        self._changes: dict[Bucket, _Change] = {}
        self._types: dict[bytes, Properties] = {}
        self._buckets: dict[Bucket, Properties] = {}
        for bucket_type in self._settings:
            self._compute_type(bucket_type)

    def of(self, bucket: Bucket) -> Properties | None:
        """The properties of a bucket, or of a type; None if there is no such type."""
        return self._buckets.get(bucket) or self._types.get(bucket.bucket_type)

    def refused(self, bucket: Bucket, changes: Mapping[str, object]) -> dict[str, str]:
        """Why these changes cannot be made: reasons by property; empty if they can be."""
        current = self.of(bucket)
        if current is None:
            return {"": "no_type"}
        good, reasons = coerced(changes)
        typed = bucket.bucket_type != DEFAULT_BUCKET_TYPE
        if typed:
            reasons |= forbidden_changes(current.everything, good)
        return reasons or contradictions({**current.everything, **good}, typed=typed)

    def changed(self, bucket: Bucket, changes: Mapping[str, object], by: NodeId) -> Fact:
        """The fact that says these changes, on top of those made before. Nothing is applied yet.

        Raises:
            BadRequest: they are refused, or there are too many.
        """
        reasons = self.refused(bucket, changes)
        if reasons:
            raise BadRequest("; ".join(f"{name}: {reason}" for name, reason in reasons.items()))
        before = self._changes.get(bucket)
        if before is None and len(self._changes) >= CHANGED_BUCKETS_MAX:
            raise BadRequest(
                f"at most {CHANGED_BUCKETS_MAX} buckets have properties of their own;"
                " give a bucket type the properties, and put the buckets there"
            )
        kept, _ = coerced({name: value for name, value in changes.items() if name != "name"})
        return self._fact(bucket, {**before.properties, **kept} if before else kept, by)

    def reset(self, bucket: Bucket, by: NodeId) -> Fact | None:
        """The fact that says that a bucket is back to its type's properties; None if it is."""
        return self._fact(bucket, {}, by) if bucket in self._buckets else None

    def _fact(self, bucket: Bucket, properties: Mapping[str, object], by: NodeId) -> Fact:
        before = self._changes.get(bucket)
        counter = int.from_bytes(before.version[:_COUNTER_BYTES], "big") if before else 0
        try:
            body = json.dumps(properties, allow_nan=False, separators=(",", ":")).encode()
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"properties that are no JSON: {error}") from error
        if len(body) > CHANGES_BYTES_MAX:
            raise BadRequest(
                f"the properties of one bucket take at most {CHANGES_BYTES_MAX} bytes,"
                f" got {len(body)}"
            )
        version = (counter + 1).to_bytes(_COUNTER_BYTES, "big") + by.encode()
        return Fact(_fact_name(bucket), version, body)

    def check(self, fact: Fact) -> None:
        """See whether a fact that came by gossip says properties.

        Raises:
            CodecError: it does not.
        """
        _bucket_of(fact.name)
        _properties_of(fact)

    def apply(self, fact: Fact) -> None:
        """Take a fact that was checked; an older one than the one known changes nothing."""
        bucket = _bucket_of(fact.name)
        known = self._changes.get(bucket)
        if known is not None and known.version > fact.version:
            return
        self._changes[bucket] = _Change(fact.version, _properties_of(fact))
        if bucket.bucket_type not in self._settings:
            return  # this node's settings lack the type; the next start may know it
        if bucket.bucket:
            self._compute_bucket(bucket)
        else:
            self._compute_type(bucket.bucket_type)

    def _compute_type(self, bucket_type: bytes) -> None:
        change = self._changes.get(Bucket(bucket_type, b""))
        everything = {**self._settings[bucket_type], **(change.properties if change else {})}
        self._types[bucket_type] = Properties.of(everything)
        for bucket in self._changes:
            if bucket.bucket_type == bucket_type and bucket.bucket:
                self._compute_bucket(bucket)

    def _compute_bucket(self, bucket: Bucket) -> None:
        changes = self._changes[bucket].properties
        if changes:
            base = self._types[bucket.bucket_type].everything
            self._buckets[bucket] = Properties.of({**base, **changes})
        else:
            self._buckets.pop(bucket, None)


def _from_settings(
    where: str, defaults: Mapping[str, object], properties: Mapping[str, object]
) -> dict[str, object]:
    good, reasons = coerced(properties)
    made = {**defaults, **good}
    reasons = reasons or contradictions(made, typed=defaults is TYPE_DEFAULTS)
    for name, reason in reasons.items():
        value = properties.get(name, made.get(name))
        raise ConfigError(f"[cluster] {where}: {name} is {value!r:.80}: {reason}")
    return made


# -- facts ---------------------------------------------------------------------------------------


def _fact_name(bucket: Bucket) -> bytes:
    return PROPERTIES + bytes([len(bucket.bucket_type)]) + bucket.bucket_type + bucket.bucket


def _bucket_of(name: bytes) -> Bucket:
    type_end = 2 + name[1] if len(name) > 1 else 0
    bucket = Bucket(name[2:type_end], name[type_end:])
    if (
        not 0 < len(bucket.bucket_type) == type_end - 2 <= BUCKET_TYPE_BYTES_MAX
        or len(bucket.bucket) > BUCKET_BYTES_MAX
        or len(name) > NAME_BYTES_MAX
    ):
        raise CodecError(f"not the name of a bucket: {name[:80]!r}")
    return bucket


def _properties_of(fact: Fact) -> dict[str, object]:
    """The properties a fact says, in the form they are kept in."""
    writer = fact.version[_COUNTER_BYTES:]
    counter = int.from_bytes(fact.version[:_COUNTER_BYTES], "big")
    try:
        if not is_node_id(writer.decode("ascii")) or counter > _COUNTER_MAX:
            raise CodecError("a version of bucket properties is a counter and a node's name")
        said = json.loads(fact.body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise CodecError(f"not bucket properties: {error}") from error
    if not isinstance(said, dict) or len(fact.body) > CHANGES_BYTES_MAX:
        raise CodecError("bucket properties are one JSON object")
    good, reasons = coerced(said)
    if reasons:
        raise CodecError(f"bucket properties that cannot be: {reasons}")
    return good


def _no_number(text: str) -> object:
    raise ValueError(f"{text} is no JSON")
