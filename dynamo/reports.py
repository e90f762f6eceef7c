"""What nodes report of their cluster, as values: who belongs to it, and where a key lives.

`/admin` answers in JSON, which is whatever a server sent; what is used of it is checked here once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from dynamo.client.answers import JsonObject
from dynamo.client.client import Client
from dynamo.client.errors import BadAnswer

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One node as another sees it.

    Attributes:
        state: its station in the cluster: joining, member, leaving, removed.
        rpc: `host:port` for other nodes.
        http: `host:port` for clients.
        tokens: how many positions on the ring it has.
        opinion: whether the reporting node can reach it: up, suspect, down.
    """

    node: str
    state: str
    rpc: str
    http: str
    zone: str
    tokens: int
    opinion: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """The cluster as `node` sees it."""

    node: str
    cluster: str
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What clients ask of a node.

    Attributes:
        node_gets: reads it coordinated in the last minute.
        node_puts: writes it coordinated in the last minute.
    """

    node_gets: int
    node_puts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A node that is to hold a key."""

    node: str
    http: str
    opinion: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """Where a key lives.

    Attributes:
        primaries: who should hold it, in the order of the preference list.
        stand_ins: who would hold it for a primary that cannot be reached, in order.
    """

    partition: int
    primaries: tuple[Holder, ...]
    stand_ins: tuple[Holder, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedPartition:
    """The replicas of one partition, for keys that have so many replicas.

    Attributes:
        primaries: who should hold it.
        silent: those of them that could not be compared.
        equal: whether the others hold the same.
    """

    partition: int
    n_val: int
    primaries: tuple[str, ...]
    silent: tuple[str, ...]
    equal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DivergentKey:
    """A key whose replicas differ.

    Attributes:
        digests: of the state at each replica; None where there is none.
    """

    bucket_type: str
    bucket: str
    key: str
    partition: int
    digests: Mapping[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """Whether the replicas of all partitions are equal.

    Attributes:
        equal: all were compared and are.
        keys_left_out: there may be more keys than these.
    """

    equal: bool
    keys_left_out: bool
    partitions: tuple[ComparedPartition, ...]
    keys: tuple[DivergentKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyName:
    """A key; bytes that are no text are lone surrogates."""

    bucket_type: str
    bucket: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TombstoneWait:
    """Deleted keys that wait for the same.

    Attributes:
        keys: some of the `count`.
    """

    reason: str
    count: int
    keys: tuple[KeyName, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstones:
    """The deleted keys of one node.

    Attributes:
        owned: how many of those held are its to forget.
        settling_s_max: how long it takes to forget a key that nothing stands in the way of.
        waits: what those owned wait for.
    """

    node: str
    held: int
    owned: int
    settling_s_max: float
    waits: tuple[TombstoneWait, ...]


class HintsFor(msgspec.Struct, frozen=True, kw_only=True):
    """What a node keeps for another.

    Attributes:
        target: for whom.
        hints: how many.
        size_bytes: of keys and states.
        oldest_age_s: since the oldest came; None if that cannot be told now.
        reachable: whether the target is, from there.
        removed: whether the target was removed, so that others are to have them.
    """

    target: str = msgspec.field(name="for")
    hints: int
    size_bytes: int = msgspec.field(name="bytes")
    oldest_age_s: float | None
    reachable: bool
    removed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """What `node` keeps for others."""

    node: str
    hints: tuple[HintsFor, ...]


async def members_of(client: Client) -> Members:
    """Who belongs to the cluster, as the node that answers sees it.

    Raises:
        ClientError: no node answers, or not with this.
    """
    return checked(await client.members(), Members)


def checked(report: JsonObject, cls: type[_T]) -> _T:
    """A report as a value of `cls`; what `cls` does not name is left out.

    Raises:
        BadAnswer: it is none.
    """
    try:
        return msgspec.convert(report, cls)
    except msgspec.ValidationError as error:
        raise BadAnswer(f"a report that is none: {error}", definite=True) from error


def seen_up(node: str, reports: Sequence[Members]) -> tuple[int, int]:
    """How many others say that `node` is up, of how many that were asked."""
    opinions = [
        member.opinion
        for report in reports
        if report.node != node
        for member in report.members
        if member.node == node
    ]
    return opinions.count("up"), len(opinions)
