"""Member records: which of two counts, and what bytes may pass for one."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo.core.facts import Fact, FactBook
from dynamo.core.ids import Address, NodeId
from dynamo.core.membership import (
    INCARNATION_HEARD_MAX,
    MemberRecord,
    Membership,
    MemberState,
    decode_member,
    leaves_room,
)
from dynamo.errors import CodecError

RECORD = MemberRecord(
    node_id=NodeId("n1"),
    incarnation=3,
    state=MemberState.MEMBER,
    rpc=Address("10.0.0.1", 9098),
    http=Address("10.0.0.1", 8098),
    weight=2,
    zone="rack-a",
    tokens=(1, 5, 200),
)


def test_record_survives_gossip() -> None:
    assert decode_member(RECORD.to_fact()) == RECORD


def test_later_incarnation_wins_whatever_the_state() -> None:
    book = FactBook([RECORD.to_fact()])
    assert book.merge(replace(RECORD, incarnation=4, state=MemberState.LEAVING).to_fact())
    assert not book.merge(RECORD.to_fact())


@pytest.mark.parametrize("incarnation", [1, 3, 4])
def test_removal_wins_over_every_incarnation(incarnation: int) -> None:
    other = replace(RECORD, incarnation=incarnation).to_fact()
    book = FactBook([other])
    assert book.merge(RECORD.removed().to_fact())
    assert not book.merge(other), "gossip must not revive a removed node"


@given(st.permutations([MemberState.JOINING, MemberState.MEMBER, MemberState.REMOVED]))
def test_records_of_one_incarnation_settle_the_same_way_in_any_order(
    states: list[MemberState],
) -> None:
    book = FactBook(replace(RECORD, state=state).to_fact() for state in states)
    fact = book.get(b"mn1")
    assert fact is not None
    assert decode_member(fact).state is MemberState.REMOVED


def test_membership_tells_holders_from_joiners_and_removed_ones() -> None:
    membership = Membership()
    for node, state in [
        ("a", MemberState.JOINING),
        ("b", MemberState.MEMBER),
        ("c", MemberState.LEAVING),
        ("d", MemberState.REMOVED),
    ]:
        membership.apply(replace(RECORD, node_id=NodeId(node), state=state))
    assert [record.node_id for record in membership.holders()] == ["b", "c"]
    assert [record.node_id for record in membership.joining()] == ["a"]
    assert [record.node_id for record in membership.present()] == ["a", "b", "c"]
    assert [record.node_id for record in membership.all()] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    "change",
    [
        {"node_id": "UPPER"},
        {"incarnation": 0},
        {"weight": 0},
        {"weight": 1001},
        {"tokens": (-1,)},
        {"rpc": Address("h", 70000)},
    ],
)
def test_record_out_of_its_limits_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(CodecError):
        decode_member(replace(RECORD, **change).to_fact())  # type: ignore[arg-type]


def test_a_record_leaves_its_node_room_to_rise_unless_it_is_at_the_bound() -> None:
    last = replace(RECORD, incarnation=INCARNATION_HEARD_MAX - 1)
    answer = replace(RECORD, incarnation=INCARNATION_HEARD_MAX)
    assert leaves_room(last.to_fact())
    assert not leaves_room(answer.to_fact())
    assert leaves_room(answer.removed().to_fact()), "nobody rises above a removal"
    assert decode_member(answer.to_fact()) == answer


def test_version_that_does_not_fit_the_body_is_refused() -> None:
    fact = RECORD.to_fact()
    with pytest.raises(CodecError):
        decode_member(fact._replace(version=b"\xff" * 7))


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_any_bytes_are_a_record_or_refused(name: bytes, body: bytes) -> None:
    with pytest.raises(CodecError):
        decode_member(Fact(b"m" + name, b"v", body))
