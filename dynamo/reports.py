"""What nodes report of their cluster, as values: who belongs to it, and where a key lives.

`/admin` answers in JSON, which is whatever a server sent; what is used of it is checked here once.
"""

from collections.abc import Sequence
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
