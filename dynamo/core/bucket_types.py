"""Bucket types made while the cluster runs: what is gossiped of each.

A type is created first, and may be created anew until it is activated; from then on there are
buckets of it, and it stays as it is for ever but for changes of its properties, which are facts of
their own. So a type that is active wins over all that are not: whoever creates it anew without
having heard of its activation changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dynamo.core.fact_json import from_body, to_body
from dynamo.core.facts import TYPE, Fact, Revision, decode_revision
from dynamo.core.ids import BUCKET_TYPE_BYTES_MAX, DEFAULT_BUCKET_TYPE, NodeId, is_node_id
from dynamo.core.property_rules import coerced, contradictions, of_type
from dynamo.errors import BadRequest, CodecError

RESERVED = frozenset({DEFAULT_BUCKET_TYPE, b"any"})
"""Names that no type can have: buckets without one are of the first, Riak keeps the second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketType:
    """A bucket type as its creator made it.

    Attributes:
        given: the properties in which it differs from the defaults of types.
        active: there may be buckets of it.
        claimant: who created it.
    """

    name: bytes
    given: Mapping[str, object]
    active: bool
    claimant: NodeId

    @property
    def everything(self) -> dict[str, object]:
        """All properties that its buckets start with."""
        return {**of_type(self.given), "active": self.active, "claimant": self.claimant}

    def activated(self) -> "BucketType":
        """The same, in use."""
        return replace(self, active=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeStatus:
    """How far a bucket type has come.

    Attributes:
        active: it is in use.
        created: it was created while the cluster ran; else it is in the settings.
        unaware: which nodes have not confirmed that they know it, and why; nobody is asked about a
            type that is active.
        everything: all its properties.
    """

    active: bool
    created: bool
    unaware: Mapping[NodeId, str]
    everything: Mapping[str, object]


def check_type_name(name: bytes) -> None:
    """Return if a type may be called that.

    Raises:
        BadRequest: it may not; the text says why.
    """
    if name in RESERVED:
        raise BadRequest(f"the name '{name.decode()}' is reserved: no bucket type can have it")
    if not 0 < len(name) <= BUCKET_TYPE_BYTES_MAX:
        raise BadRequest(f"a bucket type has 1 to {BUCKET_TYPE_BYTES_MAX} bytes, got {len(name)}")
    if not _is_text(name) or name in (b".", b".."):
        raise BadRequest("the name of a bucket type is printable text in UTF-8, and no . or ..")


def type_fact_name(name: bytes) -> bytes:
    """The name of the fact about a type."""
    return TYPE + name


def encode_type(made: BucketType, by: NodeId, before: Fact | None) -> Fact:
    """The fact that says what a type is, to follow on the one known before.

    Raises:
        BadRequest: the properties are too large or no JSON.
    """
    number = _revision(before.version).number if before else 0
    said = {"props": dict(made.given), "active": made.active, "claimant": made.claimant}
    body = to_body(said, "the properties of a bucket type")
    version = bytes([made.active]) + Revision(number + 1, by).encode()
    return Fact(type_fact_name(made.name), version, body)


def decode_type(fact: Fact) -> BucketType:
    """The type that a fact tells of.

    Raises:
        CodecError: it tells of none, or of one that cannot be.
    """
    name = fact.name[len(TYPE) :]
    _revision(fact.version)
    try:
        check_type_name(name)
    except BadRequest as error:
        raise CodecError(f"not a bucket type: {error}") from error
    match from_body(fact.body):
        case {"props": dict(given), "active": bool(active), "claimant": str(claimant)} if (
            is_node_id(claimant) and fact.version[0] == active
        ):
            good, reasons = coerced(given)
            reasons |= contradictions(of_type(good), typed=True)
            if reasons:
                raise CodecError(f"a bucket type that cannot be: {reasons}")
            return BucketType(name=name, given=good, active=active, claimant=NodeId(claimant))
    raise CodecError("a bucket type has props, active and claimant")


def _revision(version: bytes) -> Revision:
    """How often a type was made; before it stands whether it is active, as that decides first."""
    if version[:1] not in (b"\0", b"\1"):
        raise CodecError("a bucket type is active or not")
    return decode_revision(version[1:])


def _is_text(name: bytes) -> bool:
    try:
        return name.decode().isprintable()
    except UnicodeDecodeError:
        return False
