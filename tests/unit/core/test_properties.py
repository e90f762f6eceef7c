import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo.core import property_book
from dynamo.core.fact_json import BODY_BYTES_MAX
from dynamo.core.facts import PROPERTIES, Fact, FactBook
from dynamo.core.ids import Bucket, NodeId
from dynamo.core.properties import Asked, Properties
from dynamo.core.property_book import (
    BOOK_BYTES_MAX,
    CHANGED_BUCKETS_MAX,
    PropertyBook,
)
from dynamo.core.property_rules import DEFAULTS, DEPTH_MAX, TYPE_DEFAULTS
from dynamo.core.quorum import Conflicts, ReadQuorum, WriteQuorum
from dynamo.errors import BadRequest, CodecError, ConfigError

N1 = NodeId("n1")
N2 = NodeId("n2")
PLAIN = Bucket(b"default", b"b")
TYPED = Bucket(b"t", b"b")
TYPE = Bucket(b"t", b"")
BEYOND_3 = "Specified w/dw/pw/node_confirms values invalid for bucket n value of 3"


def book(
    types: dict[str, dict[str, object]] | None = None, defaults: dict[str, object] | None = None
) -> PropertyBook:
    return PropertyBook({"t": {}} if types is None else types, defaults or {})


def of(kept: PropertyBook, bucket: Bucket) -> Properties:
    properties = kept.of(bucket)
    assert properties is not None
    return properties


def change(kept: PropertyBook, bucket: Bucket, changes: dict[str, object]) -> Fact:
    fact = kept.changed(bucket, changes, N1)
    kept.apply(kept.decode(fact))
    return fact


# -- what a bucket has ---------------------------------------------------------------------------


def test_a_bucket_without_a_type_has_riaks_defaults() -> None:
    properties = of(book(), PLAIN)
    assert properties.everything == DEFAULTS
    assert properties.conflicts is Conflicts.LATEST
    assert properties.read_quorum() == ReadQuorum(n=3, r=2)
    assert properties.write_quorum() == WriteQuorum(n=3, w=2, dw=2)


def test_a_bucket_of_a_type_keeps_siblings() -> None:
    properties = of(book(), TYPED)
    assert properties.everything == TYPE_DEFAULTS
    assert properties.conflicts is Conflicts.SIBLINGS


@pytest.mark.parametrize(
    ("changes", "conflicts"),
    [
        ({"allow_mult": False}, Conflicts.LATEST),
        ({"last_write_wins": True, "dvv_enabled": False}, Conflicts.LAST_WRITE_WINS),
        ({"write_once": True}, Conflicts.LAST_WRITE_WINS),
    ],
)
def test_properties_choose_how_conflicts_are_treated(
    changes: dict[str, object], conflicts: Conflicts
) -> None:
    assert of(book({"t": changes}), TYPED).conflicts is conflicts


def test_an_unknown_type_has_no_properties() -> None:
    assert book().of(Bucket(b"nosuch", b"b")) is None


def test_a_type_that_is_not_active_is_unknown() -> None:
    assert book({"t": {"active": False}}).of(TYPED) is None


def test_settings_give_the_types_and_the_defaults() -> None:
    kept = book({"t": {"n_val": 5, "r": "one"}}, {"n_val": 1})
    assert of(kept, TYPED).read_quorum() == ReadQuorum(n=5, r=1)
    assert of(kept, PLAIN).read_quorum() == ReadQuorum(n=1, r=1)


@pytest.mark.parametrize(
    ("types", "defaults", "sentence"),
    [
        ({"t": {"n_val": "many"}}, {}, r"bucket_types\.t: n_val is 'many': not_integer"),
        ({}, {"r": "most"}, r"bucket_defaults: r is 'most': not_valid_quorum"),
        ({"t": {"n_val": 65}}, {}, r"n_val is 65: not above 64"),
        ({"t": {"last_write_wins": True}}, {}, "dvv_enabled is True: If last_write_wins is true"),
        ({"t": {"datatype": "tree"}}, {}, "'tree' not supported"),
        ({"t": {"datatype": ["set"]}}, {}, "not supported"),
        ({"t": {"datatype": "set", "allow_mult": False}}, {}, "must be allow_mult=true"),
    ],
)
def test_wrong_settings_are_named(
    types: dict[str, dict[str, object]], defaults: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        book(types, defaults)


# -- changes -------------------------------------------------------------------------------------


def test_changes_add_up_and_leave_the_rest() -> None:
    kept = book()
    change(kept, PLAIN, {"n_val": 5})
    change(kept, PLAIN, {"allow_mult": "TRUE", "r": 1})
    properties = of(kept, PLAIN)
    assert (properties.n_val, properties.allow_mult, properties.r) == (5, True, 1)
    assert properties.w == "quorum"
    assert of(kept, Bucket(b"default", b"other")).n_val == 3


def test_a_reset_bucket_is_as_its_type() -> None:
    kept = book({"t": {"n_val": 4}})
    change(kept, TYPED, {"n_val": 5})
    fact = kept.reset(TYPED, N1)
    assert fact is not None
    kept.apply(kept.decode(fact))
    assert of(kept, TYPED).n_val == 4
    assert kept.reset(TYPED, N1) is None


def test_a_change_of_a_type_shows_in_buckets_that_did_not_set_the_property() -> None:
    kept = book()
    change(kept, TYPED, {"n_val": 5})
    change(kept, TYPE, {"n_val": 4, "r": "all"})
    assert (of(kept, TYPED).n_val, of(kept, TYPED).r) == (5, "all")
    assert of(kept, Bucket(b"t", b"other")).n_val == 4
    assert of(kept, TYPE).n_val == 4
    assert of(kept, PLAIN).n_val == 3


def test_a_change_of_a_bucket_keeps_what_its_type_changed_before() -> None:
    kept = book()
    change(kept, TYPE, {"n_val": 4})
    change(kept, TYPED, {"r": 1})
    assert (of(kept, TYPED).n_val, of(kept, TYPED).r) == (4, 1)


def test_all_that_is_shown_can_be_written_back() -> None:
    kept = book({"t": {}, "c": {"datatype": "counter"}})
    for bucket in (PLAIN, TYPED, TYPE, Bucket(b"c", b"b")):
        shown = {"name": "b", **of(kept, bucket).everything}
        assert kept.refused(bucket, shown) == {}
        change(kept, bucket, shown)
        assert of(kept, bucket).everything == {k: v for k, v in shown.items() if k != "name"}


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        *[(name, "maybe", "not_boolean") for name in ("allow_mult", "notfound_ok", "dvv_enabled")],
        *[(name, None, "not_boolean") for name in ("basic_quorum", "sloppy_quorum")],
        *[("n_val", value, "not_integer") for value in (0, -1, "3", 1.5, True, None, [3])],
        ("n_val", 65, "not above 64"),
        ("old_vclock", 0, "not_integer"),
        *[("r", value, "not_valid_quorum") for value in (0, "default", "zzz", True, 1.0, 2**40)],
        *[(name, -1, "not_valid_quorum") for name in ("dw", "pr", "pw", "node_confirms")],
        ("sync_on_write", "never", "not_valid_sync_param"),
        ("hll_precision", 17, "hll_precision must be an integer between 4 and 16"),
    ],
)
def test_a_value_that_cannot_be_has_riaks_reason(name: str, value: object, reason: str) -> None:
    assert book().refused(PLAIN, {name: value, "n_val_too": 1}) == {name: reason}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("allow_mult", 1),
        ("allow_mult", "False"),
        ("pr", 0),
        ("dw", "all"),
        ("young_vclock", "unchecked"),
        ("foo", {"bar": [1]}),
        ("precommit", "x"),
        ("datatype", "counter"),
        ("r", 9),
    ],
)
def test_a_bucket_without_a_type_takes_nearly_anything(name: str, value: object) -> None:
    assert book().refused(PLAIN, {name: value}) == {}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"claimant": "n9"}, {"claimant"}),
        ({"active": False}, {"active"}),
        ({"write_once": True}, {"write_once"}),
        ({"consistent": True}, {"consistent"}),
        ({"datatype": "set"}, {"datatype"}),
        ({"last_write_wins": True}, {"dvv_enabled"}),
        ({"r": "zzz", "w": "zzz"}, {"r", "w"}),
    ],
)
def test_a_type_refuses_what_was_settled_at_its_creation(
    changes: dict[str, object], names: set[str]
) -> None:
    kept = book()
    assert set(kept.refused(TYPE, changes)) == names
    assert set(kept.refused(TYPED, changes)) == names


def test_a_data_type_cannot_change_and_keeps_siblings() -> None:
    kept = book({"t": {"datatype": "hll", "hll_precision": 14}})
    assert set(kept.refused(TYPED, {"datatype": "set"})) == {"datatype"}
    assert set(kept.refused(TYPED, {"allow_mult": False})) == {"allow_mult"}
    assert set(kept.refused(TYPED, {"hll_precision": 15})) == {"hll_precision"}
    assert kept.refused(TYPED, {"hll_precision": 13, "datatype": "hll"}) == {}


def test_changes_to_an_unknown_type_are_refused() -> None:
    assert book().refused(Bucket(b"nosuch", b"b"), {"n_val": 3}) == {"": "no_type"}


def test_refused_changes_make_no_fact() -> None:
    with pytest.raises(BadRequest, match="n_val: not_integer"):
        book().changed(PLAIN, {"n_val": 0}, N1)


def test_changes_that_are_too_large_or_no_json_make_no_fact() -> None:
    with pytest.raises(BadRequest, match=f"at most {BODY_BYTES_MAX} bytes"):
        book().changed(PLAIN, {"foo": "x" * BODY_BYTES_MAX}, N1)
    with pytest.raises(BadRequest, match="no JSON"):
        book().changed(PLAIN, {"foo": float("inf")}, N1)


def test_the_number_of_changed_buckets_is_bounded() -> None:
    kept = book()
    for i in range(CHANGED_BUCKETS_MAX):
        fact = Fact(b"p\7default%d" % i, b"\0\0\0\0\0\1n1", b'{"n_val":4}')
        kept.apply(kept.decode(fact))
    with pytest.raises(BadRequest, match="bucket type"):
        kept.changed(PLAIN, {"n_val": 4}, N1)
    assert kept.changed(Bucket(b"default", b"7"), {"n_val": 5}, N1)


def full(*, types: bool = False) -> PropertyBook:
    """A book in which one more byte has no room; `types`: it has a type that is not active."""
    kept = book()
    if types:
        kept.apply(kept.decode(kept.creation(b"later", {}, N1)))
    large: dict[str, object] = {"foo": "x" * 60_000}
    for i in range(BOOK_BYTES_MAX // 60_000 + 1):
        try:
            change(kept, Bucket(b"default", b"%d" % i), large)
        except BadRequest:
            break
    change(
        kept, Bucket(b"default", b"rest"), {"foo": "x" * (BOOK_BYTES_MAX - kept.size_bytes - 31)}
    )
    assert BOOK_BYTES_MAX - 10 < kept.size_bytes <= BOOK_BYTES_MAX
    return kept


def test_what_all_properties_and_types_take_together_is_bounded() -> None:
    kept = full()
    with pytest.raises(BadRequest, match=f"at most {BOOK_BYTES_MAX} bytes together; reset buckets"):
        kept.changed(PLAIN, {"n_val": 4}, N1)
    with pytest.raises(BadRequest, match=f"at most {BOOK_BYTES_MAX} bytes together"):
        kept.creation(b"new", {"n_val": 4}, N1)
    reset = kept.reset(Bucket(b"default", b"0"), N1)
    assert reset is not None
    kept.apply(kept.decode(reset))
    change(kept, PLAIN, {"n_val": 4})
    assert of(kept, PLAIN).n_val == 4


def test_a_full_book_takes_what_needs_no_more_room_than_before() -> None:
    kept = full(types=True)
    first = Bucket(b"default", b"0")
    change(kept, first, {"foo": "y" * 60_000})
    kept.apply(kept.decode(kept.activation(b"later", N1)))
    assert of(kept, Bucket(b"later", b"b")).n_val == 3


def test_what_others_accepted_at_the_same_time_is_taken_by_a_full_book() -> None:
    kept, other = full(), book()
    heard = change(other, PLAIN, {"foo": "x" * 60_000, "n_val": 5})
    kept.apply(kept.decode(heard))
    assert of(kept, PLAIN).n_val == 5
    with pytest.raises(BadRequest, match="together"):
        kept.changed(TYPED, {"n_val": 4}, N1)


# -- facts ---------------------------------------------------------------------------------------


def test_the_name_of_a_fact_tells_type_and_bucket_apart() -> None:
    kept = book({"t": {}, "tb": {}})
    names = {
        kept.changed(bucket, {"n_val": 4}, N1).name
        for bucket in (TYPED, TYPE, PLAIN, Bucket(b"tb", b""), Bucket(b"t", b"\x01t"))
    }
    assert len(names) == 5
    assert all(name.startswith(PROPERTIES) for name in names)


_CHANGES = st.fixed_dictionaries(
    {}, optional={"n_val": st.integers(1, 5), "r": st.sampled_from(["one", 1]), "x": st.text()}
)
_STEPS = st.lists(
    st.tuples(st.sampled_from([N1, N2]), st.sampled_from([PLAIN, TYPED, TYPE]), _CHANGES),
    max_size=8,
)


@settings(max_examples=60)
@given(steps=_STEPS, shuffled=st.randoms(use_true_random=False))
def test_books_that_saw_the_same_facts_in_any_order_are_alike(
    steps: list[tuple[NodeId, Bucket, dict[str, object]]], shuffled: random.Random
) -> None:
    """Two nodes change properties at the same time; a third hears of it in its own order."""
    books = {N1: book(), N2: book(), NodeId("n3"): book()}
    facts = []
    for node, bucket, changes in steps:
        fact = books[node].changed(bucket, changes, node)
        books[node].apply(books[node].decode(fact))
        facts.append(fact)
    for kept in books.values():
        shuffled.shuffle(facts)
        # A fact book stands between the books: it drops what is older than what it has.
        known = FactBook()
        for fact in facts:
            if known.merge(fact):
                kept.apply(kept.decode(fact))
    for bucket in (PLAIN, TYPED, TYPE):
        assert len({json.dumps(of(kept, bucket).everything) for kept in books.values()}) == 1


def test_a_fact_about_a_type_that_is_not_in_the_settings_changes_nothing_here() -> None:
    kept = book({})
    for bucket in (TYPED, TYPE):
        kept.apply(kept.decode(book().changed(bucket, {"n_val": 4}, N1)))
    assert kept.of(TYPED) is None


def reset(kept: PropertyBook, bucket: Bucket) -> None:
    fact = kept.reset(bucket, N1)
    assert fact is not None
    kept.apply(kept.decode(fact))


def test_buckets_that_were_reset_leave_their_places_to_others() -> None:
    kept = book()
    for i in range(CHANGED_BUCKETS_MAX + 100):
        bucket = Bucket(PLAIN.bucket_type, b"%d" % i)
        kept.apply(kept.decode(kept.changed(bucket, {"n_val": 4}, N1)))
        reset(kept, bucket)
    kept.apply(kept.decode(kept.changed(PLAIN, {"n_val": 4}, N1)))
    assert of(kept, PLAIN).n_val == 4


def test_so_many_buckets_are_remembered_and_a_type_can_still_be_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(property_book, "REMEMBERED_BUCKETS_MAX", 3)
    kept = book()
    for name in (b"1", b"2", b"3"):
        bucket = Bucket(PLAIN.bucket_type, name)
        kept.apply(kept.decode(kept.changed(bucket, {"n_val": 4}, N1)))
        reset(kept, bucket)
    with pytest.raises(BadRequest, match="3 buckets have properties of their own or had some"):
        kept.changed(PLAIN, {"n_val": 4}, N1)
    kept.changed(Bucket(PLAIN.bucket_type, b"2"), {"n_val": 4}, N1)
    kept.changed(TYPE, {"n_val": 4}, N1)


def test_a_bucket_that_its_type_was_set_against_can_still_be_changed() -> None:
    kept = book()
    kept.apply(kept.decode(kept.changed(TYPED, {"dvv_enabled": True}, N1)))
    whole = {"last_write_wins": True, "dvv_enabled": False}
    kept.apply(kept.decode(kept.changed(TYPE, whole, N1)))
    kept.apply(kept.decode(kept.changed(TYPED, {"n_val": 4}, N1)))
    assert of(kept, TYPED).n_val == 4
    assert kept.refused(TYPED, {"dvv_enabled": True})


@pytest.mark.parametrize("deep", [1, 16, DEPTH_MAX, DEPTH_MAX + 1, 500, 960])
def test_a_value_is_nested_so_far_and_no_further_wherever_it_is_read(deep: int) -> None:
    value: object = 1
    for level in range(deep):
        value = [value] if level % 2 else {"a": value}
    kept = book()
    if deep > DEPTH_MAX:
        assert kept.refused(PLAIN, {"deep": value}) == {"deep": "nested more than 32 deep"}
        said = b'{"deep":%b1%b}' % (b"[" * deep, b"]" * deep)
        fact = Fact(b"p\7defaultb", b"\0\0\0\0\0\1n1", said)
        with pytest.raises(CodecError):
            kept.decode(fact)
    else:
        kept.apply(kept.decode(kept.changed(PLAIN, {"deep": value}, N1)))
        assert of(kept, PLAIN).everything["deep"] == value


_GOOD = Fact(b"p\1tb", b"\0\0\0\0\0\1n1", b'{"n_val":4}')


@pytest.mark.parametrize(
    "fact",
    [
        _GOOD._replace(name=b"p"),
        _GOOD._replace(name=b"p\0b"),
        _GOOD._replace(name=b"p\x09tb"),
        _GOOD._replace(name=b"p\1t" + b"b" * 401),
        _GOOD._replace(name=b"p\x41" + b"t" * 65),
        _GOOD._replace(version=b""),
        _GOOD._replace(version=b"\0\0\0\0\0\1"),
        _GOOD._replace(version=b"\0\0\0\0\0\1\xff"),
        _GOOD._replace(version=b"\xff" * 6 + b"n1"),
        _GOOD._replace(body=b""),
        _GOOD._replace(body=b"[]"),
        _GOOD._replace(body=b'{"n_val":0}'),
        _GOOD._replace(body=b'{"foo":NaN}'),
        _GOOD._replace(body=b"[" * 100_000),
        _GOOD._replace(body=b'{"foo":"' + b"x" * BODY_BYTES_MAX + b'"}'),
    ],
)
def test_a_fact_that_says_no_properties_is_refused(fact: Fact) -> None:
    book().decode(_GOOD)
    with pytest.raises(CodecError):
        book().decode(fact)


@settings(max_examples=100)
@given(name=st.binary(max_size=12), version=st.binary(max_size=12), body=st.binary(max_size=30))
def test_any_bytes_are_a_fact_or_a_codec_error(name: bytes, version: bytes, body: bytes) -> None:
    fact = Fact(b"p" + name, version, body)
    kept = book()
    try:
        kept.decode(fact)
    except CodecError:
        return
    kept.apply(kept.decode(fact))


# -- quorums -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "quorum"),
    [
        (Asked(r="one"), ReadQuorum(n=3, r=1)),
        (Asked(r="all"), ReadQuorum(n=3, r=3)),
        (Asked(r="quorum", pr="quorum"), ReadQuorum(n=3, r=2, pr=2)),
        (Asked(r=3, node_confirms=2), ReadQuorum(n=3, r=3, node_confirms=2)),
        (Asked(r=0), ReadQuorum(n=3, r=1)),
        (Asked(r=-7, pr=-7), ReadQuorum(n=3, r=1)),
        (Asked(w=9), ReadQuorum(n=3, r=2)),
        (Asked(n_val=1), ReadQuorum(n=1, r=1)),
        (Asked(n_val=2), ReadQuorum(n=2, r=2)),
        (Asked(n_val=9), ReadQuorum(n=3, r=2)),
        (Asked(notfound_ok=False), ReadQuorum(n=3, r=2, notfound_ok=False)),
        (Asked(basic_quorum=True), ReadQuorum(n=3, r=2, basic_quorum=True)),
        (Asked(sloppy_quorum=False), ReadQuorum(n=3, r=2, sloppy=False)),
    ],
)
def test_a_read_asks_for_its_own_quorum(asked: Asked, quorum: ReadQuorum) -> None:
    assert of(book(), PLAIN).read_quorum(asked) == quorum


@pytest.mark.parametrize(
    ("asked", "quorum"),
    [
        (Asked(w="all", dw=0), WriteQuorum(n=3, w=3)),
        (Asked(w=-1), WriteQuorum(n=3, w=0, dw=2)),
        (Asked(pw="one"), WriteQuorum(n=3, w=2, dw=2, pw=1)),
        (Asked(node_confirms="all"), WriteQuorum(n=3, w=2, dw=2, node_confirms=3)),
        (Asked(r=9, pr=9), WriteQuorum(n=3, w=2, dw=2)),
        (Asked(n_val=1), WriteQuorum(n=1, w=1, dw=1)),
        (Asked(sloppy_quorum=False), WriteQuorum(n=3, w=2, dw=2, sloppy=False)),
    ],
)
def test_a_write_asks_for_its_own_quorum(asked: Asked, quorum: WriteQuorum) -> None:
    assert of(book(), PLAIN).write_quorum(asked) == quorum


@pytest.mark.parametrize("asked", [Asked(r=4), Asked(pr=4), Asked(node_confirms=4)])
def test_a_read_cannot_ask_for_more_than_there_are(asked: Asked) -> None:
    with pytest.raises(BadRequest, match=BEYOND_3):
        of(book(), PLAIN).read_quorum(asked)


@pytest.mark.parametrize("asked", [Asked(w=4), Asked(pw=4), Asked(dw=4), Asked(node_confirms=4)])
def test_a_write_cannot_ask_for_more_than_there_are(asked: Asked) -> None:
    with pytest.raises(BadRequest, match=BEYOND_3):
        of(book(), PLAIN).write_quorum(asked)


def test_a_bucket_may_ask_for_more_than_there_are_and_then_fails_every_request() -> None:
    kept = book()
    change(kept, PLAIN, {"r": 9})
    for _ in range(2):
        with pytest.raises(BadRequest, match=BEYOND_3):
            of(kept, PLAIN).read_quorum()
    assert of(kept, PLAIN).read_quorum(Asked(r=1)).r == 1


@pytest.mark.parametrize(
    ("asked", "r", "w"),
    [
        (Asked(), 3, 3),
        (Asked(rw="one"), 1, 1),
        (Asked(rw="one", r=2), 2, 2),
        (Asked(rw="one", w=3), 2, 3),
    ],
)
def test_rw_counts_for_a_delete_that_names_neither_half(asked: Asked, r: int, w: int) -> None:
    read, write = of(book({}, {"rw": "all"}), PLAIN).delete_quorums(asked)
    assert (read.r, write.w) == (r, w)


@given(n=st.integers(1, 9))
def test_words_stand_for_shares_of_n(n: int) -> None:
    properties = of(book({}, {"n_val": n}), PLAIN)
    counts = [properties.read_quorum(Asked(r=word)).r for word in ("one", "quorum", "all")]
    assert counts == [1, n // 2 + 1, n]
    assert counts[1] * 2 > n
