"""The handshake: who dials, whom it wants, and the sentence with which it may be refused.

    dialler    [version, cluster, cluster fingerprint, own node id, wanted node id, ...]
    listener   [version, welcome?, the listener's node id or the reason of a refusal, ...]

Both are the first frame of their direction. The version comes first for ever, and so do the three
parts of the answer, so that any two versions can tell each other why they cannot talk; more may be
added at the ends. Sentences name both nodes: each side logs the same one.

The hello is also the moment from which a request says how old it is (`transit`).
"""

from dataclasses import dataclass
from typing import NamedTuple

import msgpack

from dynamo.config import BUCKET_SETTINGS
from dynamo.core.ids import NodeId, is_node_id
from dynamo.errors import HandshakeRefused, ProtocolError
from dynamo.rpc.frames import Body, frame
from dynamo.rpc.messages import PROTOCOL_VERSION

HELLO_BYTES_MAX = 4096
"""Bound of a connection's first frame: nobody has shown who they are yet."""

HANDSHAKE_S_MAX = 1.0
"""From hello to welcome, as the dialler sees it; later than that it hangs up without a request.

So a hello was under way for less than this, and a request looks younger than it is by less than
this: nothing that was sent longer ago than its timeout and this together has an effect any more."""

_SHOWN_CHARS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a node says it is.

    Attributes:
        node_id: its own name.
        cluster: its cluster's name.
        cluster_fingerprint: what must be equal on all nodes of a cluster, as readable text.
    """

    node_id: NodeId
    cluster: str
    cluster_fingerprint: str


class Judgement(NamedTuple):
    """What a listener thinks of a hello.

    Attributes:
        node: who dials; None if that cannot be known.
        refusal: why it is refused, "" if it is welcome.
        incompatible: for settings or a version that the two must have in common.
    """

    node: NodeId | None
    refusal: str
    incompatible: bool = False


def hello(me: Identity, wanted: NodeId) -> bytes:
    """The dialler's frame."""
    parts = (PROTOCOL_VERSION, me.cluster, me.cluster_fingerprint, me.node_id, wanted)
    return frame(msgpack.packb(parts))


def judge(me: Identity, body: Body) -> Judgement:
    """The listener's opinion of a hello.

    Raises:
        ProtocolError: it is no hello of any version.
    """
    version, rest = _parts(body, "hello")
    if version != PROTOCOL_VERSION:
        return Judgement(
            None,
            f"{me.node_id} speaks protocol version {PROTOCOL_VERSION},"
            f" the node that dials it version {version}",
            incompatible=True,
        )
    match rest:
        case [str(cluster), str(fingerprint), str(dialler), str(wanted), *_]:
            pass
        case _:
            raise ProtocolError("a hello has five parts")
    if not is_node_id(dialler) or not is_node_id(wanted):
        raise ProtocolError("a hello names two nodes")
    node = NodeId(dialler)
    if cluster != me.cluster:
        ours, theirs = _shown(me.cluster), _shown(cluster)
        return Judgement(node, f"{me.node_id} is of cluster {ours}, {dialler} of {theirs}")
    if fingerprint != me.cluster_fingerprint:
        return Judgement(node, _differing(me, fingerprint, dialler), incompatible=True)
    if wanted != me.node_id:
        return Judgement(node, f"{dialler} dialled {wanted}, but {me.node_id} listens there")
    return Judgement(node, "")


def _differing(me: Identity, fingerprint: str, dialler: str) -> str:
    if _but_for_bucket_types(fingerprint) == _but_for_bucket_types(me.cluster_fingerprint):
        return (
            f"{me.node_id} and {dialler} have different settings for bucket types: [cluster]"
            " bucket_types and bucket_defaults must be equal on all nodes"
        )
    return (
        f"{me.node_id} has the cluster settings {_shown(me.cluster_fingerprint)},"
        f" {dialler} has {_shown(fingerprint)}"
    )


def _but_for_bucket_types(fingerprint: str) -> list[str]:
    return [part for part in fingerprint.split(" ") if not part.startswith(f"{BUCKET_SETTINGS}=")]


def welcome(me: Identity) -> bytes:
    """The listener's frame if it takes the dialler in."""
    return frame(msgpack.packb((PROTOCOL_VERSION, True, me.node_id)))


def refuse(refusal: str, *, incompatible: bool = False) -> bytes:
    """The listener's frame if it does not."""
    return frame(msgpack.packb((PROTOCOL_VERSION, False, refusal, incompatible)))


def check_answer(body: Body, wanted: NodeId) -> None:
    """Return if the listener welcomes us and is the node we want.

    Raises:
        HandshakeRefused: it does not, or is not.
        ProtocolError: it is no answer of any version.
    """
    version, rest = _parts(body, "answer to a hello")
    match rest:
        case [bool(welcomed), str(text), *more]:
            pass
        case _:
            raise ProtocolError("an answer to a hello has three parts")
    of_another_version = version != PROTOCOL_VERSION
    if not welcomed:
        raise HandshakeRefused(
            text[:500] if text.isprintable() else _shown(text),
            incompatible=of_another_version or more[:1] == [True],
        )
    if of_another_version:
        raise HandshakeRefused(f"{wanted} speaks protocol version {version}", incompatible=True)
    if text != wanted:
        raise HandshakeRefused(f"{_shown(text)} listens where {wanted} was dialled")


def _parts(body: Body, what: str) -> tuple[int, list[object]]:
    try:
        # Another version may say anything behind its version: maps and extensions decode here.
        parts = msgpack.unpackb(body, strict_map_key=False, max_array_len=64)
    except Exception as error:  # the library raises many kinds
        raise ProtocolError(f"no {what}: {type(error).__name__} {error!s:.100}") from error
    match parts:
        case [int(version), *rest] if type(version) is int:
            return version, rest
    raise ProtocolError(f"no {what}: it has no version")


def _shown(text: str) -> str:
    """A peer's text as it may appear in a sentence: of one line and short."""
    return f"{text!r:.{_SHOWN_CHARS}}"
