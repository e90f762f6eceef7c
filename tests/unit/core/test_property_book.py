"""Bucket types in the property book: when they count, and what is refused."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo.core.facts import Fact, FactBook
from dynamo.core.ids import Bucket, NodeId
from dynamo.core.property_book import TYPES_MAX, PropertyBook
from dynamo.core.property_rules import TYPE_DEFAULTS
from dynamo.errors import BadRequest, CodecError, ConfigError

N1, N2 = NodeId("n1"), NodeId("n2")
CARTS = b"carts"
TYPE = Bucket(CARTS, b"")
BUCKET = Bucket(CARTS, b"b")


def taken(book: PropertyBook, fact: Fact) -> Fact:
    book.apply(book.decode(fact))
    return fact


def created(**given: object) -> PropertyBook:
    book = PropertyBook({}, {})
    taken(book, book.creation(CARTS, given, N1))
    return book


def activated(**given: object) -> PropertyBook:
    book = created(**given)
    taken(book, book.activation(CARTS, N2))
    return book


def n_val(book: PropertyBook, bucket: Bucket) -> int | None:
    properties = book.of(bucket)
    return None if properties is None else properties.n_val


# -- creation and activation ---------------------------------------------------------------------


def test_a_type_that_was_created_is_known_and_not_in_use() -> None:
    book = created(n_val=5)
    assert (book.of(TYPE), book.of(BUCKET)) == (None, None)
    known = book.known(BUCKET)
    assert known is not None
    assert (known.n_val, known.everything["active"]) == (5, False)
    assert book.types() == {b"default": True, CARTS: False}
    assert book.refused(BUCKET, {"n_val": 2}) == {"": "no_type"}


def test_a_type_that_was_activated_is_in_use_as_it_was_created() -> None:
    book = activated(n_val=5, allow_mult="false")
    properties = book.of(BUCKET)
    assert properties is not None
    assert properties.everything == {
        **TYPE_DEFAULTS,
        "n_val": 5,
        "allow_mult": False,
        "active": True,
        "claimant": N1,
    }
    assert book.known(BUCKET) is properties
    assert book.types() == {b"default": True, CARTS: True}


def test_a_type_can_be_created_anew_until_it_is_active() -> None:
    book = created(n_val=5)
    taken(book, book.creation(CARTS, {"r": 1}, N2))
    known = book.known(TYPE)
    assert known is not None
    assert (known.n_val, known.r, known.everything["claimant"]) == (3, 1, N2)
    taken(book, book.activation(CARTS, N1))
    with pytest.raises(BadRequest, match="carts is active already"):
        book.creation(CARTS, {}, N1)


def test_changes_of_an_active_type_show_in_its_buckets() -> None:
    book = activated(n_val=5)
    taken(book, book.changed(BUCKET, {"r": 1}, N1))
    taken(book, book.changed(TYPE, {"n_val": 4, "r": 2}, N1))
    properties = book.of(BUCKET)
    assert properties is not None
    assert (properties.n_val, properties.r) == (4, 1)
    assert n_val(book, Bucket(CARTS, b"other")) == 4


def test_changes_that_are_heard_before_their_type_count_once_it_is_heard() -> None:
    told = activated(n_val=5)
    change = taken(told, told.changed(TYPE, {"r": 1}, N1))
    of_bucket = taken(told, told.changed(BUCKET, {"w": 1}, N1))
    book = PropertyBook({}, {})
    taken(book, of_bucket)
    taken(book, change)
    assert book.of(BUCKET) is None
    taken(book, told.activation(CARTS, N1))
    properties = book.of(BUCKET)
    assert properties is not None
    assert (properties.n_val, properties.r, properties.w) == (5, 1, 1)


def test_the_settings_come_before_a_type_of_the_same_name() -> None:
    book = PropertyBook({"carts": {"n_val": 2}}, {}, claimant=N2)
    taken(book, activated(n_val=5).activation(CARTS, N1))
    properties = book.of(TYPE)
    assert properties is not None
    assert (properties.n_val, properties.everything["claimant"]) == (2, N2)
    assert not book.is_created(CARTS)


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"n_val": 0, "r": "most"}, {"n_val", "r"}),
        ({"last_write_wins": True}, {"dvv_enabled"}),
        ({"datatype": "tree"}, {"datatype"}),
        ({"datatype": "set", "allow_mult": False}, {"allow_mult"}),
        ({"datatype": "set", "write_once": True}, {"datatype"}),
        ({"active": True}, {"active"}),
        ({"active": False}, {"active"}),
        ({"claimant": "n1"}, {"claimant"}),
        ({"consistent": True}, {"consistent"}),
        ({"consistent": "maybe", "n_val": -1}, {"consistent", "n_val"}),
    ],
)
def test_a_type_that_cannot_be_is_refused_with_a_reason_for_each_property(
    given: dict[str, object], names: set[str]
) -> None:
    with pytest.raises(BadRequest, match="carts cannot be created: ") as refused:
        PropertyBook({}, {}).creation(CARTS, given, N1)
    reasons = str(refused.value).removeprefix("carts cannot be created: ").split("; ")
    assert {reason.split(":")[0] for reason in reasons} == names


def test_there_is_no_strong_consistency_and_it_says_so() -> None:
    with pytest.raises(BadRequest, match="consistent: there is no strong consistency here"):
        PropertyBook({}, {}).creation(CARTS, {"consistent": True}, N1)
    with pytest.raises(ConfigError, match="there is no strong consistency here"):
        PropertyBook({"t": {"consistent": True}}, {})


@pytest.mark.parametrize("name", [b"default", b"any"])
def test_a_reserved_name_is_refused(name: bytes) -> None:
    with pytest.raises(BadRequest, match="reserved"):
        PropertyBook({}, {}).creation(name, {}, N1)


def test_a_type_of_the_settings_is_not_created_and_not_activated() -> None:
    book = PropertyBook({"carts": {"active": False}}, {})
    with pytest.raises(BadRequest, match="carts is a bucket type of the settings"):
        book.creation(CARTS, {}, N1)
    with pytest.raises(BadRequest, match="where active is false"):
        book.awaits_activation(CARTS)


def test_what_was_not_created_does_not_await_its_activation() -> None:
    with pytest.raises(BadRequest, match=r"\\xffo is not an existing bucket type"):
        PropertyBook({}, {}).awaits_activation(b"\xffo")


def test_the_number_of_types_is_bounded_but_not_how_often_one_is_created() -> None:
    book = PropertyBook({}, {})
    for i in range(TYPES_MAX):
        taken(book, book.creation(b"t%d" % i, {}, N1))
    with pytest.raises(BadRequest, match=f"there are {TYPES_MAX} bucket types already"):
        book.creation(b"another", {}, N1)
    assert book.creation(b"t7", {"n_val": 1}, N1)


@pytest.mark.parametrize("name", ["write_once", "consistent"])
def test_what_is_settled_at_creation_cannot_be_set_in_a_bucket_without_a_type(name: str) -> None:
    book = PropertyBook({}, {})
    plain = Bucket(b"default", b"b")
    assert book.refused(plain, {name: True}) == (
        {"consistent": "there is no strong consistency here"} if name == "consistent" else {}
    ) | {name: f"cannot update {name} property"}
    assert book.refused(plain, {name: "false"}) == {}


def test_all_reasons_are_given_at_once() -> None:
    reasons = activated().refused(BUCKET, {"n_val": "x", "last_write_wins": True, "claimant": "n"})
    assert set(reasons) == {"n_val", "dvv_enabled", "claimant"}


# -- facts in any order --------------------------------------------------------------------------

_GIVEN = st.fixed_dictionaries({}, optional={"n_val": st.integers(1, 5), "r": st.just(1)})
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["create", "activate", "change", "hear"]),
        st.sampled_from([N1, N2]),
        _GIVEN,
    ),
    max_size=10,
)


@settings(max_examples=80)
@given(steps=_STEPS, shuffled=st.randoms(use_true_random=False))
def test_books_that_heard_the_same_in_any_order_hold_the_same_types(
    steps: list[tuple[str, NodeId, dict[str, object]]], shuffled: random.Random
) -> None:
    """And whatever was active once, anywhere, is active in the end."""
    books = {N1: PropertyBook({}, {}), N2: PropertyBook({}, {})}
    facts: list[Fact] = []
    was_active = False
    for step, node, given_ in steps:
        book = books[node]
        try:
            if step == "create":
                facts.append(taken(book, book.creation(CARTS, given_, node)))
            elif step == "activate" and book.is_created(CARTS):
                facts.append(taken(book, book.activation(CARTS, node)))
                was_active = True
            elif step == "change" and book.of(TYPE) is not None:
                facts.append(taken(book, book.changed(TYPE, given_, node)))
            elif step == "hear":
                for fact in FactBook(facts):
                    book.apply(book.decode(fact))
        except BadRequest as refused:
            assert "active already" in str(refused)  # noqa: PT017  only some creations are
    shown = set()
    for book in (*books.values(), PropertyBook({}, {})):
        shuffled.shuffle(facts)
        known = FactBook()
        for fact in facts:
            if known.merge(fact):
                taken(book, fact)
        properties = book.known(TYPE)
        shown.add(None if properties is None else str(sorted(properties.everything.items())))
        assert (book.of(BUCKET) is not None) == was_active
    assert len(shown) == 1


@settings(max_examples=60)
@given(name=st.binary(max_size=8), version=st.binary(max_size=12), body=st.binary(max_size=60))
def test_any_bytes_of_a_type_are_taken_or_refused(name: bytes, version: bytes, body: bytes) -> None:
    book = PropertyBook({}, {})
    fact = Fact(b"t" + name, version, body)
    try:
        book.decode(fact)
    except CodecError:
        return
    book.apply(book.decode(fact))
