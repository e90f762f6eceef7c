"""What becomes of concurrent values: which are kept at a write, which are shown at a read.

    bucket property      at a write through a replica              at a read
    allow_mult           what the client's context covers goes     all siblings
    neither              that, and all that the replica holds      the newest by wall clock
    last_write_wins      all that the replica holds, and the       the newest
                         write's time is raised above theirs

Dynamo (4.4) leaves conflicts to the client or to "last write wins" by time, and so does Riak. In a
bucket without siblings a write must not pile up beside those it did not see: clients of such
buckets seldom send contexts, and a thousand blind writes would be a thousand values kept and one
shown. So the second line replaces what its coordinator holds; values written through different
coordinators at the same time are both kept, and merged, until the next write, and the reader sees
the newer. Nothing there depends on clocks but the order of truly concurrent writes.

`last_write_wins` promises more: of any two writes, one of which came after the other at some
replica, the later has the higher time, however the clocks are set. That is a hybrid logical clock
(Kulkarni et al., "Logical Physical Clocks", 2014) without its counter: times here are whole
milliseconds of which a key uses up one per write at most.
"""

import enum
from dataclasses import replace

from dynamo.core.codec import (
    clock_of,
    decode_clock,
    decode_siblings,
    decode_value,
    encode_value,
    only_tombstones,
)
from dynamo.core.ids import Actor, Dot
from dynamo.core.quorum import Conflicts
from dynamo.core.siblings import Context, Siblings
from dynamo.core.values import Value


def written(
    state: Siblings,
    actor: Actor,
    floor: int,
    value: bytes,
    context: Context,
    conflicts: Conflicts,
) -> Siblings:
    """The state after a write through a replica that held `state`.

    Args:
        state: what the replica holds.
        actor: who mints the dot.
        floor: see `Siblings.write`.
        value: encoded.
        context: what the client was shown; empty if nothing.
        conflicts: the bucket's policy.

    Raises:
        CodecError: a value that must be looked at is none.
    """
    if conflicts is Conflicts.SIBLINGS:
        return state.write(actor, value, context, floor)
    held = state.context()
    if conflicts is Conflicts.LATEST:
        return state.write(actor, value, _joined(held, context), floor)
    return state.write(actor, _raised_above(state, value), held, floor)


def shown(state: Siblings, conflicts: Conflicts) -> list[tuple[Dot, Value]]:
    """What a client is shown of a state, tombstones included; in the same order on every node.

    Raises:
        CodecError: a stored value is none.
    """
    values = [(dot, decode_value(encoded)) for dot, encoded in state.dots()]
    if conflicts is Conflicts.SIBLINGS or len(values) < 2:
        return values
    return [max(values, key=_time_and_dot)]


def is_live(state: Siblings) -> bool:
    """Whether any value of a state is not a tombstone.

    Raises:
        CodecError: a stored value is none.
    """
    return any(not decode_value(encoded).deleted for _, encoded in state.dots())


class Liveness(enum.Enum):
    """What one replica's siblings say of whether their key is live."""

    LIVE = "live"
    """A client is shown a value, unless another replica holds only tombstones."""

    DEAD = "dead"
    """A client is shown no value, unless another replica holds one."""

    UNSETTLED = "unsettled"
    """That depends on which of their values other replicas know to be gone."""


def liveness(encoded: bytes, conflicts: Conflicts) -> Liveness:
    """What encoded siblings say of their key by themselves.

    Where only the newest value is shown, siblings with a value and a tombstone say nothing: which
    is the newest may have been replaced elsewhere, by a clock that is behind.

    Values are decoded only where there are several, of which one is shown: who lists keys asks this
    of every one.

    Raises:
        CodecError: the siblings or a value are none.
    """
    if only_tombstones(encoded):
        return Liveness.DEAD
    clock = decode_clock(clock_of(encoded))
    values = sum(counter - gone for counter, gone in clock.entries.values())
    if values < 2 or conflicts is Conflicts.SIBLINGS:
        return Liveness.LIVE if values else Liveness.DEAD
    state = decode_siblings(encoded)
    is_mixed = any(decode_value(value).deleted for _, value in state.dots())
    return Liveness.UNSETTLED if is_mixed else Liveness.LIVE


def _time_and_dot(entry: tuple[Dot, Value]) -> tuple[int, Dot]:
    dot, value = entry
    return value.modified_at_ms, dot


def _joined(one: Context, other: Context) -> Context:
    if not other:
        return one
    joined = dict(one)
    for actor, counter in other.items():
        joined[actor] = max(counter, joined.get(actor, 0))
    return joined


def _raised_above(state: Siblings, value: bytes) -> bytes:
    """`value` with a time later than that of any value in `state`."""
    if not len(state):
        return value
    newest_ms = max(decode_value(encoded).modified_at_ms for _, encoded in state.dots())
    decoded = decode_value(value)
    if decoded.modified_at_ms > newest_ms:
        return value
    return encode_value(replace(decoded, modified_at_ms=newest_ms + 1))
