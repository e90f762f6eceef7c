"""Where a key lives: partition, owner, preference list, and who stands in for whom.

The key space is cut into Q equal partitions (Dynamo 6.2, strategy 3: the unit of placement,
transfer and comparison) that lie in a circle. A token is a partition that a member took when it
joined. Walking clockwise from a partition, the tokens met name the nodes that hold it, nearest
first (4.2, 4.3):

    partition   0 1 2 3 4 5 6 7
    token         A     B   C        A owns 7 0 1, B owns 2 3 4, C owns 5 6

A ring is a pure function of its members: there is no master and no ring file, and equal views make
equal rings. `dynamo.core.tokens` chooses the tokens of those who join.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from mmh3 import hash64

from dynamo.core.ids import NodeId
from dynamo.errors import ConfigError

PARTITIONS_MAX = 2**16
"""A partition costs every node a table entry, a Merkle tree and a range on disk."""

_HASH_BITS = 64

_Node = TypeVar("_Node")


@dataclass(frozen=True, slots=True, kw_only=True)
class RingMember:
    """What a member says of itself, as far as placement depends on it.

    Attributes:
        tokens: the partitions that it took when it joined; without any it owns nothing.
        weight: its share of the load relative to the others', at least 1. Only the choice of
            tokens asks for it.
        zone: nodes of one zone may fail together. The empty name is a zone like any other, so a
            cluster that names none has one, and one zone makes no difference.
    """

    node_id: NodeId
    tokens: tuple[int, ...] = ()
    weight: int = 1
    zone: str = ""


class Slot(NamedTuple):
    """One place of a preference list, and who fills it now.

    Attributes:
        stands_in_for: the primary whose place it is while that cannot be reached; None if `node`
            is a primary itself.
    """

    node: NodeId
    stands_in_for: NodeId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceList:
    """All nodes of the ring, in the order in which a partition prefers them.

    Attributes:
        primaries: the first n, who hold the partition; the first of all owns it.
        stand_ins: the others, best first.
        slots: what `Ring.slots` answers while every primary can be reached.
    """

    primaries: tuple[NodeId, ...]
    stand_ins: tuple[NodeId, ...]
    slots: tuple[Slot, ...]


class Ring:
    """The placement of all partitions.

    A preference list is worked out when it is first asked for, and kept: all partitions of a token
    share one for each n.

    Attributes:
        partitions: Q.
        nodes: those who own anything, by node id.
    """

    def __init__(self, members: Iterable[RingMember], partitions: int) -> None:
        """The ring of these members, in whatever order they come.

        Raises:
            ConfigError: `partitions` is no power of two up to `PARTITIONS_MAX`.
        """
        check_partitions(partitions)
        members = sorted(members, key=lambda member: member.node_id)
        owners = token_owners(members, partitions)
        owning = set(owners.values())
        self.partitions = partitions
        self.nodes = tuple(sorted(owning))
        self._hash_shift = _HASH_BITS + 1 - partitions.bit_length()
        self._tokens = sorted(owners)
        self._owners = [owners[token] for token in self._tokens]
        self._token_at = _nearest_tokens(self._tokens, partitions)
        self._zones = {m.node_id: m.zone for m in members if m.node_id in owning}
        self._lost = {
            m.node_id: lost
            for m in members
            if (lost := tuple(token for token in m.tokens if owners[token] != m.node_id))
        }
        self._lists: dict[int, dict[int, PreferenceList]] = {}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ring):
            return NotImplemented
        mine = self.partitions, self._tokens, self._owners, self._zones, self._lost
        return mine == (
            other.partitions,
            other._tokens,
            other._owners,
            other._zones,
            other._lost,
        )

    def partition_of(self, encoded_key: bytes) -> int:
        """The partition of a key: the top bits of the first half of its 128-bit mmh3 (x64)."""
        return hash64(encoded_key, signed=False)[0] >> self._hash_shift

    def preference_list(self, partition: int, n: int) -> PreferenceList:
        """Who holds a partition, and who would stand in.

        The clockwise walk, rearranged by `zones_apart`. Raising n only appends to the primaries.
        """
        token = self._token_at[partition]
        try:
            return self._lists[n][token]
        except KeyError:
            made = self._preference_list(token, n)
            self._lists.setdefault(n, {})[token] = made
            return made

    def slots(self, partition: int, n: int, reachable: Container[NodeId]) -> tuple[Slot, ...]:
        """The sloppy slots of a partition, in order of its primaries (Dynamo 4.6).

        A primary that cannot be reached gives its place to the next stand-in that can be, and has
        no slot once these run out.
        """
        preference = self.preference_list(partition, n)
        for node in preference.primaries:
            if node not in reachable:
                return _slots_around(preference, reachable)
        return preference.slots

    def lost_tokens(self, node: NodeId) -> tuple[int, ...]:
        """The tokens of `node` that a member with a lower id claims too, and keeps."""
        return self._lost.get(node, ())

    def owners(self) -> tuple[NodeId, ...]:
        """Who owns each partition, that is, comes first in its preference list; () if no one."""
        return tuple(self._owners[token] for token in self._token_at) if self._owners else ()

    def loads(self, n: int) -> dict[NodeId, int]:
        """How many partitions each node holds as a primary, by node id."""
        loads = dict.fromkeys(self.nodes, 0)
        for partition in range(self.partitions):
            for node in self.preference_list(partition, n).primaries:
                loads[node] += 1
        return loads

    def _preference_list(self, token: int, n: int) -> PreferenceList:
        assert n > 0, "a partition is held by someone"
        walk = dict.fromkeys(self._owners[token:] + self._owners[:token])
        nodes = tuple(zones_apart(list(walk), self._zones))
        return PreferenceList(
            primaries=nodes[:n],
            stand_ins=nodes[n:],
            slots=tuple(Slot(node) for node in nodes[:n]),
        )


def check_partitions(partitions: int) -> None:
    """Refuse a number of partitions that no ring can have.

    Raises:
        ConfigError: it is no power of two up to `PARTITIONS_MAX`.
    """
    if not 0 < partitions <= PARTITIONS_MAX or partitions & (partitions - 1):
        raise ConfigError(
            f"partitions is {partitions}, but must be a power of two up to {PARTITIONS_MAX}"
        )


def token_owners(members: Iterable[RingMember], partitions: int) -> dict[int, NodeId]:
    """Who has which token. A token that two members claim belongs to the lower node id."""
    owners: dict[int, NodeId] = {}
    for member in sorted(members, key=lambda member: member.node_id):
        for token in member.tokens:
            assert 0 <= token < partitions, f"{member.node_id} claims partition {token}"
            owners.setdefault(token, member.node_id)
    return owners


def zones_apart(walk: Sequence[_Node], zones: Mapping[_Node, str]) -> list[_Node]:
    """The nodes of a walk so that each of its beginnings is spread over zones as far as can be.

    First the nearest node of every zone, then the second nearest of every zone, and so on; within
    each of these rounds the order of the walk stays.
    """
    met: dict[str, int] = {}
    rounds: dict[_Node, int] = {}
    for node in walk:
        zone = zones[node]
        rounds[node] = met[zone] = met.get(zone, 0) + 1
    return sorted(walk, key=rounds.__getitem__)


def _nearest_tokens(tokens: Sequence[int], partitions: int) -> list[int]:
    """For each partition, which of the sorted tokens a clockwise walk meets first."""
    nearest: list[int] = []
    for index, token in enumerate(tokens):
        nearest += [index] * (token + 1 - len(nearest))
    return nearest + [0] * (partitions - len(nearest))


def _slots_around(preference: PreferenceList, reachable: Container[NodeId]) -> tuple[Slot, ...]:
    stand_ins = filter(reachable.__contains__, preference.stand_ins)
    slots: list[Slot] = []
    for slot in preference.slots:
        if slot.node in reachable:
            slots.append(slot)
        elif (stand_in := next(stand_ins, None)) is not None:
            slots.append(Slot(stand_in, slot.node))
    return tuple(slots)
