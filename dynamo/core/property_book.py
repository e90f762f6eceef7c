"""The properties of all buckets: of the settings, of types made since, and as clients changed them.

    Riak's defaults  <-  the type  <-  changes to the type  <-  changes to the bucket

Each layer overrides the ones before it, name by name, so a change to a type shows through in its
buckets that did not set the property themselves. Types and changes are facts that gossip carries;
of two changes made to one bucket at the same time, one is taken whole, the same one by every node.
"""

from collections.abc import Mapping
from typing import NamedTuple

from dynamo.core.bucket_types import (
    BucketType,
    check_type_name,
    decode_type,
    encode_type,
)
from dynamo.core.fact_json import from_body, to_body
from dynamo.core.facts import (
    NAME_BYTES_MAX,
    PROPERTIES,
    TYPE,
    Fact,
    Revision,
    decode_revision,
)
from dynamo.core.ids import (
    BUCKET_BYTES_MAX,
    BUCKET_TYPE_BYTES_MAX,
    DEFAULT_BUCKET_TYPE,
    Bucket,
    NodeId,
)
from dynamo.core.properties import Properties
from dynamo.core.property_rules import (
    DEFAULTS,
    coerced,
    contradictions,
    forbidden_always,
    forbidden_changes,
    of_type,
    refused_at_creation,
)
from dynamo.errors import BadRequest, CodecError, ConfigError

CHANGED_BUCKETS_MAX = 4096
"""Changes are gossiped to all nodes and kept in memory; many buckets alike want a bucket type."""

REMEMBERED_BUCKETS_MAX = 6144
"""Those that were reset among them: it is remembered, or an older change would come back."""

TYPES_MAX = 256
"""Made while the cluster runs; types are for kinds of data, not for customers or days."""

BOOK_BYTES_MAX = 16 * 2**20
"""What clients' changes and types may take together: 4 KiB for each of the buckets above, where a
full set of Riak's properties takes one. A node that starts is told all of it before it serves, and
every node keeps it in memory, parsed, where lists of small things take twenty times as much."""


class _Change(NamedTuple):
    """What a bucket, or a type as a whole, does not have as its type was made."""

    bucket: Bucket
    version: bytes
    properties: Mapping[str, object]
    size_bytes: int


class _Created(NamedTuple):
    """A type made while the cluster runs."""

    fact: Fact
    bucket_type: BucketType

    @property
    def size_bytes(self) -> int:
        return _size_bytes(self.fact)


News = _Change | _Created
"""What a fact says, decoded: whatever cannot be is found out before the fact is taken."""


class PropertyBook:
    """The properties of all buckets, and the bucket types there are.

    A bucket with the empty name, which no client can address, stands for its type as a whole.

    Attributes:
        size_bytes: of the names and bodies of all facts taken.
    """

    def __init__(
        self,
        bucket_types: Mapping[str, Mapping[str, object]],
        bucket_defaults: Mapping[str, object],
        *,
        claimant: NodeId | None = None,
    ) -> None:
        """From the settings.

        Args:
            bucket_types: by name, what of each differs from the defaults of types.
            bucket_defaults: what buckets without a type differ in from Riak's.
            claimant: the node that is shown as the creator of these types.

        Raises:
            ConfigError: a property has a value that it cannot have.
        """
        self._settings = {DEFAULT_BUCKET_TYPE: _defaults_from_settings(bucket_defaults)}
        claimed = {} if claimant is None else {"claimant": claimant}
        for name, properties in bucket_types.items():
            self._settings[name.encode()] = {**_type_from_settings(name, properties), **claimed}
        self._created: dict[bytes, _Created] = {}
        self._changes: dict[Bucket, _Change] = {}
        self._types: dict[bytes, Properties] = {}
        self._waiting: dict[bytes, Properties] = {}
        self._buckets: dict[Bucket, Properties] = {}
        self.size_bytes = 0
        for bucket_type in self._settings:
            self._compute_type(bucket_type)

    def of(self, bucket: Bucket) -> Properties | None:
        """The properties of a bucket, or of a type; None if there is no such type in use."""
        return self._buckets.get(bucket) or self._types.get(bucket.bucket_type)

    def known(self, bucket: Bucket) -> Properties | None:
        """The same, and those of a type that is not active here: others may use it already."""
        return self.of(bucket) or self._waiting.get(bucket.bucket_type)

    # -- types -----------------------------------------------------------------------------------

    def types(self) -> dict[bytes, bool]:
        """All types by name, and whether each is active; the default one first."""
        active = dict.fromkeys(self._types, True) | dict.fromkeys(self._waiting, False)
        return {name: active[name] for name in sorted(active, key=_default_first)}

    def creation(self, name: bytes, given: Mapping[str, object], by: NodeId) -> Fact:
        """The fact that says that there is such a type, not active yet. Nothing is applied yet.

        Raises:
            BadRequest: there can be no such type, there is one in use, or there are too many.
        """
        check_type_name(name)
        shown = name.decode()
        if name in self._settings:
            raise BadRequest(f"{shown} is a bucket type of the settings; it cannot be created here")
        if name in self._types:
            raise BadRequest(f"{shown} is active already; it can be updated, not created anew")
        if name not in self._created and len(self._created) >= TYPES_MAX:
            raise BadRequest(f"there are {TYPES_MAX} bucket types already, that is the most")
        reasons = refused_at_creation(given)
        if reasons:
            raise BadRequest(f"{shown} cannot be created: {_listed(reasons)}")
        good, _ = coerced(given)
        made = BucketType(name=name, given=good, active=False, claimant=by)
        return self._type_fact(made, by)

    def activation(self, name: bytes, by: NodeId) -> Fact:
        """The fact that says that a type which was created is active. Nothing is applied yet."""
        return self._type_fact(self._created[name].bucket_type.activated(), by)

    def is_created(self, name: bytes) -> bool:
        """Whether a type was made while the cluster ran; the settings come before that."""
        return name in self._created and name not in self._settings

    def awaits_activation(self, name: bytes) -> Fact:
        """The fact about a type that was created and is not active.

        Raises:
            BadRequest: there is none of that name, or it is in the settings and switched off there.
        """
        if self.is_created(name):
            return self._created[name].fact
        shown = name.decode("utf-8", "backslashreplace")
        if name in self._settings:
            raise BadRequest(f"{shown} is a bucket type of the settings, where active is false")
        raise BadRequest(f"{shown} is not an existing bucket type")

    def _type_fact(self, made: BucketType, by: NodeId) -> Fact:
        before = self._created.get(made.name)
        fact = encode_type(made, by, before.fact if before else None)
        self._check_room(fact, before)
        return fact

    # -- changes ---------------------------------------------------------------------------------

    def refused(self, bucket: Bucket, changes: Mapping[str, object]) -> dict[str, str]:
        """Why these changes cannot be made: reasons by property; empty if they can be."""
        current = self.of(bucket)
        if current is None:
            return {"": "no_type"}
        good, reasons = coerced(changes)
        typed = bucket.bucket_type != DEFAULT_BUCKET_TYPE
        forbidden = forbidden_changes if typed else forbidden_always
        made = contradictions({**current.everything, **good}, typed=typed)
        if bucket.bucket:
            # A change to its type may have set a bucket against itself: that is not this change's.
            was = contradictions(current.everything, typed=typed)
            made = {name: why for name, why in made.items() if name in good or name not in was}
        return made | forbidden(current.everything, good) | reasons

    def changed(self, bucket: Bucket, changes: Mapping[str, object], by: NodeId) -> Fact:
        """The fact that says these changes, on top of those made before. Nothing is applied yet.

        Raises:
            BadRequest: they are refused, or there are too many.
        """
        reasons = self.refused(bucket, changes)
        if reasons:
            raise BadRequest(_listed(reasons))
        before = self._changes.get(bucket)
        if bucket.bucket:
            self._check_count(bucket, before)
        kept, _ = coerced({name: value for name, value in changes.items() if name != "name"})
        return self._fact(bucket, {**before.properties, **kept} if before else kept, by)

    def _check_count(self, bucket: Bucket, before: "_Change | None") -> None:
        if bucket not in self._buckets and len(self._buckets) >= CHANGED_BUCKETS_MAX:
            raise BadRequest(
                f"at most {CHANGED_BUCKETS_MAX} buckets have properties of their own;"
                " give a bucket type the properties, and put the buckets there"
            )
        if before is None and len(self._changes) >= REMEMBERED_BUCKETS_MAX:
            raise BadRequest(
                f"{REMEMBERED_BUCKETS_MAX} buckets have properties of their own or had some, and"
                " that is the most; only these can be changed"
            )

    def reset(self, bucket: Bucket, by: NodeId) -> Fact | None:
        """The fact that says that a bucket is back to its type's properties; None if it is."""
        return self._fact(bucket, {}, by) if bucket in self._buckets else None

    def _fact(self, bucket: Bucket, properties: Mapping[str, object], by: NodeId) -> Fact:
        before = self._changes.get(bucket)
        number = decode_revision(before.version).number if before else 0
        body = to_body(properties, "the properties of one bucket")
        fact = Fact(_fact_name(bucket), Revision(number + 1, by).encode(), body)
        self._check_room(fact, before)
        return fact

    def _check_room(self, fact: Fact, before: News | None) -> None:
        """What does not take more room than before is made even when there is none.

        What is heard from other nodes is not held against this bound: they may have accepted it at
        the same time.
        """
        growth_bytes = _size_bytes(fact) - (before.size_bytes if before else 0)
        if growth_bytes > 0 and self.size_bytes + growth_bytes > BOOK_BYTES_MAX:
            raise BadRequest(
                f"all bucket types and the properties of all buckets take at most {BOOK_BYTES_MAX}"
                " bytes together; reset buckets that need none of their own, or give a bucket type"
                " the properties and put the buckets there"
            )

    # -- facts -----------------------------------------------------------------------------------

    def decode(self, fact: Fact) -> News:
        """What a fact says of properties, or of a type.

        Raises:
            CodecError: nothing that could be.
        """
        if fact.name[:1] == TYPE:
            return _Created(fact, decode_type(fact))
        bucket, properties = _bucket_of(fact.name), _properties_of(fact)
        return _Change(bucket, fact.version, properties, _size_bytes(fact))

    def apply(self, news: News) -> None:
        """Take what a fact says; an older one than the one known changes nothing."""
        if isinstance(news, _Created):
            self._apply_type(news)
        else:
            self._apply_change(news)

    def _apply_type(self, news: "_Created") -> None:
        name = news.bucket_type.name
        known = self._created.get(name)
        if known is not None and known.fact.version > news.fact.version:
            return
        self.size_bytes += news.size_bytes - (known.size_bytes if known else 0)
        self._created[name] = news
        if name not in self._settings:
            self._compute_type(name)

    def _apply_change(self, news: "_Change") -> None:
        bucket = news.bucket
        known = self._changes.get(bucket)
        if known is not None and known.version > news.version:
            return
        self.size_bytes += news.size_bytes - (known.size_bytes if known else 0)
        self._changes[bucket] = news
        if bucket.bucket and bucket.bucket_type in self._types:
            self._compute_bucket(bucket)
        elif not bucket.bucket and self._start_of(bucket.bucket_type) is not None:
            self._compute_type(bucket.bucket_type)

    def _start_of(self, bucket_type: bytes) -> Mapping[str, object] | None:
        """What a type was made with; None if this node has not heard of it."""
        if (start := self._settings.get(bucket_type)) is not None:
            return start
        created = self._created.get(bucket_type)
        return None if created is None else created.bucket_type.everything

    def _compute_type(self, bucket_type: bytes) -> None:
        start = self._start_of(bucket_type)
        assert start is not None, "there is such a type"
        change = self._changes.get(Bucket(bucket_type, b""))
        properties = Properties.of({**start, **(change.properties if change else {})})
        if start.get("active", True) is not True:
            self._waiting[bucket_type] = properties
            return
        self._waiting.pop(bucket_type, None)
        self._types[bucket_type] = properties
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


def _defaults_from_settings(given: Mapping[str, object]) -> dict[str, object]:
    good, reasons = coerced(given)
    made = {**DEFAULTS, **good}
    _check_settings(
        "bucket_defaults", {**made, **given}, reasons or contradictions(made, typed=False)
    )
    return made


def _type_from_settings(name: str, given: Mapping[str, object]) -> dict[str, object]:
    good, reasons = coerced(given)
    made = of_type(good)
    where = f"bucket_types.{name}"
    _check_settings(where, {**made, **given}, reasons or contradictions(made, typed=True))
    return made


def _check_settings(where: str, values: Mapping[str, object], reasons: Mapping[str, str]) -> None:
    for name, reason in reasons.items():
        raise ConfigError(f"[cluster] {where}: {name} is {values[name]!r:.80}: {reason}")


def _listed(reasons: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items())


def _default_first(name: bytes) -> tuple[bool, bytes]:
    return name != DEFAULT_BUCKET_TYPE, name


# -- facts ---------------------------------------------------------------------------------------


def _size_bytes(fact: Fact) -> int:
    # Without the version: a fact must not be too large for the length of a node's name.
    return len(fact.name) + len(fact.body)


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
    decode_revision(fact.version)
    good, reasons = coerced(from_body(fact.body))
    if reasons:
        raise CodecError(f"bucket properties that cannot be: {reasons}")
    return good
