"""What a node takes of the facts it hears: bounded, with room to spare for what others accepted."""

import pytest

from dynamo.core.facts import FACT_BYTES_MAX, Fact
from dynamo.core.ids import Address, NodeId
from dynamo.core.membership import MemberRecord, MemberState
from dynamo.core.property_book import BOOK_BYTES_MAX, PropertyBook
from dynamo.errors import Overloaded
from dynamo.node.cluster_view import FACTS_BYTES_MAX, FACTS_MAX, MEMBERS_MIN, ClusterView

N1 = NodeId("n1")


def view() -> ClusterView:
    return ClusterView(N1, 32, PropertyBook({}, {}))


def record(number: int) -> Fact:
    return MemberRecord(
        node_id=NodeId(f"n{number}"),
        incarnation=1,
        state=MemberState.JOINING,
        rpc=Address("h", 1),
        http=Address("h", 2),
        weight=1,
        zone="",
        tokens=(),
    ).to_fact()


def later(number: int, body: bytes = b"") -> Fact:
    """A fact of a kind that a later version may have."""
    return Fact(b"?%d" % number, b"1", body)


def fill(known: ClusterView) -> int:
    """Tell large facts until there is no room; returns how many."""
    body = bytes(FACT_BYTES_MAX - 100)
    for number in range(FACTS_BYTES_MAX // len(body) + 1):
        try:
            known.learn(later(number, body))
        except Overloaded:
            return number
    raise AssertionError("there is no bound")


def test_the_bytes_of_facts_are_bounded_well_above_what_clients_may_change() -> None:
    known = view()
    count = fill(known)
    assert 3 * BOOK_BYTES_MAX < known.facts.size_bytes <= FACTS_BYTES_MAX
    assert len(known.facts) == count
    # What is not new, or takes no more room than before, needs none.
    assert not known.learn(later(0))
    assert known.learn(later(0)._replace(version=b"2"))


def test_the_number_of_facts_is_bounded() -> None:
    known = view()
    for number in range(FACTS_MAX - MEMBERS_MIN):
        known.learn(later(number))
    with pytest.raises(Overloaded, match="there is no room for another"):
        known.learn(later(FACTS_MAX))
    assert known.learn(later(0)._replace(version=b"2"))
    assert known.learn(record(2))


def test_members_have_room_when_nothing_else_has() -> None:
    known = view()
    fill(known)
    for number in range(2, 20):
        assert known.learn(record(number))
    assert len(known.peers()) == 18
