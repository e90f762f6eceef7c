"""A comparison that cannot fail proves nothing: every part of an answer is made to differ here."""

from collections.abc import Mapping

import pytest

from tests.conformance.comparing import differences, learn, outcome
from tests.conformance.pairs import Pairs
from tests.conformance.record import Exchange
from tests.unit.http.talk import Told

OBJECT = {
    "content-type": "text/plain",
    "etag": '"riaks-tag"',
    "x-riak-vclock": "riaks-context",
    "last-modified": "Fri, 20 Nov 2026 06:32:13 GMT",
    "link": '</buckets/b>; rel="up", </buckets/b/keys/o>; riaktag="t"',
    "vary": "Accept-Encoding",
    "x-riak-meta-color": "red",
    "x-riak-index-a_int": "1, 2",
}
OURS = OBJECT | {
    "etag": '"our-tag"',
    "x-riak-vclock": "our-context",
    "last-modified": "Sat, 21 Nov 2026 06:32:13 GMT",
    "link": '</buckets/b/keys/o>; riaktag="t", </buckets/b>; rel="up"',
    "x-riak-index-a_int": "2, 1",
    "server": "dynamo",
}


def _told(body: str = "", status: int = 200, headers: Mapping[str, str] = OURS) -> Told:
    return Told(status, dict(headers), body.encode())


def _recorded(expected: Told, method: str = "GET") -> Exchange:
    return Exchange("001-it", "up", method, "/buckets/b/keys/k", expected=expected)


def _json(body: str) -> Told:
    return _told(body, headers={"content-type": "application/json"})


def _siblings(boundary: str, *parts: tuple[str, str]) -> Told:
    """A multipart answer; of each part the vtag and the value."""
    texts = [
        f"\r\n--{boundary}\r\nContent-Type: text/plain\r\nEtag: {vtag}\r\n\r\n{value}"
        for vtag, value in parts
    ]
    kind = f"multipart/mixed; boundary={boundary}"
    body = "".join([*texts, f"\r\n--{boundary}--\r\n"])
    return _told(body, 300, {"content-type": kind})


def test_what_a_server_chooses_and_the_order_of_lists_are_no_difference() -> None:
    assert differences(_recorded(_told("v", headers=OBJECT)), _told("v"), Pairs()) == []


@pytest.mark.parametrize("name", OBJECT)
def test_a_header_that_is_missing_is_a_difference(name: str) -> None:
    headers = {other: text for other, text in OURS.items() if other != name}
    exchange = _recorded(_told("v", headers=OBJECT))
    assert differences(exchange, _told("v", headers=headers), Pairs()) == [name]


@pytest.mark.parametrize("name", ["x-riak-deleted", "x-riak-meta-size", "content-encoding"])
def test_a_header_too_many_is_a_difference(name: str) -> None:
    exchange = _recorded(_told("v", headers=OBJECT))
    assert differences(exchange, _told("v", headers={**OURS, name: "x"}), Pairs()) == [name]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("content-type", "text/plain; charset=utf-8"),
        ("link", '</buckets/b>; rel="up"'),
        ("vary", "Accept"),
        ("x-riak-meta-color", "blue"),
        ("x-riak-index-a_int", "1,2"),
    ],
)
def test_a_header_that_says_something_else_is_a_difference(name: str, text: str) -> None:
    exchange = _recorded(_told("v", headers=OBJECT))
    assert differences(exchange, _told("v", headers={**OURS, name: text}), Pairs()) == [name]


def test_status_and_body_are_compared() -> None:
    exchange = _recorded(_told("v", headers=OBJECT))
    assert differences(exchange, _told("w", 300), Pairs()) == ["status", "body"]


def test_of_a_head_only_the_head_is_compared() -> None:
    exchange = _recorded(_told(headers=OBJECT), "HEAD")
    assert differences(exchange, _told("v"), Pairs()) == []


def test_of_a_page_about_an_error_only_status_and_allowed_methods_are_compared() -> None:
    recorded = {"content-type": "text/html", "allow": "GET, HEAD"}
    exchange = _recorded(_told("<html>it crashed</html>", 405, recorded))
    plain = {"content-type": "text/plain"}
    same = _told("no", 405, {**plain, "allow": "HEAD, GET"})
    other = _told("no", 400, {**plain, "allow": "PUT"})
    assert differences(exchange, same, Pairs()) == []
    assert differences(exchange, other, Pairs()) == ["status", "allow"]


@pytest.mark.parametrize("name", ["etag", "x-riak-vclock"])
def test_what_was_the_same_for_riak_has_to_be_the_same_here(name: str) -> None:
    exchange = _recorded(_told("v", headers=OBJECT))
    pairs = Pairs()
    learn(exchange, _told("v"), pairs)
    changed = _told("v", headers=OURS | {name: '"another"'})
    assert differences(exchange, changed, pairs) == [name]


@pytest.mark.parametrize("name", ["etag", "x-riak-vclock"])
def test_what_was_new_for_riak_has_to_be_new_here(name: str) -> None:
    pairs = Pairs()
    learn(_recorded(_told("v", headers=OBJECT)), _told("v"), pairs)
    news = _recorded(_told("v", headers=OBJECT | {name: '"riaks-next"'}))
    assert differences(news, _told("v"), pairs) == [name]


def test_location_is_compared_but_for_the_key_that_was_drawn() -> None:
    exchange = _recorded(_told("", 201, {"location": "/buckets/b/keys/DrawnByRiak"}), "POST")
    drawn = _told("", 201, {"location": "/buckets/b/keys/DrawnHere"})
    elsewhere = _told("", 201, {"location": "/riak/b/DrawnHere"})
    assert differences(exchange, drawn, Pairs()) == []
    assert differences(exchange, elsewhere, Pairs()) == ["location"]


def test_json_is_compared_by_value() -> None:
    exchange = _recorded(_json('{"a": [1, 2], "b": true}'))
    assert differences(exchange, _json('{"b":true,"a":[1,2]}'), Pairs()) == []
    for other in ('{"b":true,"a":[2,1]}', '{"b":true}', "{", ""):
        assert differences(exchange, _json(other), Pairs()) == ["body"]


@pytest.mark.parametrize("name", ["keys", "buckets"])
def test_a_stream_of_names_may_be_cut_anywhere_but_has_to_be_whole_and_ended(name: str) -> None:
    recorded = f'{{"{name}":["a"]}}{{"{name}":["b","c"]}}{{"{name}":[]}}'
    exchange = _recorded(_json(recorded))
    same = f'{{"{name}":["c","a"]}}{{"{name}":["b"]}}{{"{name}":[]}}'
    endless, poorer = same.removesuffix(f'{{"{name}":[]}}'), same.replace('"c",', "")
    twice = same.replace('"c"', '"c","b"')
    assert differences(exchange, _json(same), Pairs()) == []
    for other in (endless, poorer, twice):
        assert differences(exchange, _json(other), Pairs()) == ["body"]


def test_properties_may_name_another_node_but_have_to_say_the_same() -> None:
    exchange = _recorded(_json('{"props":{"n_val":3,"claimant":"riak1"}}'))
    same = '{"props":{"claimant":"n1","n_val":3,"sloppy_quorum":true,"write_once":false}}'
    assert differences(exchange, _json(same), Pairs()) == []
    for old, new in (
        ('"n_val":3', '"n_val":2'),
        ('"claimant":"n1",', ""),
        ('"sloppy_quorum":true', '"sloppy_quorum":false'),
        ('"write_once":false', '"write_once":true'),
    ):
        assert differences(exchange, _json(same.replace(old, new)), Pairs()) == ["body"]


def test_siblings_as_text_are_as_many_as_riaks() -> None:
    plain = {"content-type": "text/plain"}
    exchange = _recorded(_told("Siblings:\nr1\nr2\n", 300, plain))
    assert differences(exchange, _told("Siblings:\no1\no2\n", 300, plain), Pairs()) == []
    for other in ("Siblings:\no1\n", "Siblings:\no1\no2\no3\n", "Siblings:\n\n\n"):
        assert differences(exchange, _told(other, 300, plain), Pairs()) == ["body"]


def test_siblings_in_parts_are_riaks_in_any_order() -> None:
    exchange = _recorded(_siblings("riaks", ("r1", "milk"), ("r2", "bread")))
    same = _siblings("ours", ("o2", "bread"), ("o1", "milk"))
    assert differences(exchange, same, Pairs()) == []
    for others in (
        [("o1", "milk")],
        [("o1", "milk"), ("o2", "tea")],
        [("o1", "milk"), ("o2", "bread"), ("o3", "bread")],
    ):
        assert differences(exchange, _siblings("ours", *others), Pairs()) == ["body"]


def test_vtags_are_paired_by_the_values_they_stand_for() -> None:
    exchange = _recorded(_siblings("riaks", ("r1", "milk"), ("r2", "bread")))
    pairs = Pairs()
    learn(exchange, _siblings("ours", ("o2", "bread"), ("o1", "milk")), pairs)
    assert pairs.translated("/buckets/b/keys/k?vtag=r2") == "/buckets/b/keys/k?vtag=o2"


def test_a_value_that_contains_another_is_translated_as_a_whole() -> None:
    pairs = Pairs()
    pairs.learn("abc", "1")
    pairs.learn("abcdef", "2")
    assert pairs.translated("abcdef abc") == "2 1"


def test_an_outcome_says_the_status_and_what_else_is_needed_to_tell_it_apart() -> None:
    plain = {"content-type": "text/plain"}
    short = _told("W-value unsatisfied: 2/3\nmore\n", 503, plain)
    assert outcome(short, ["status", "body"]) == "503 W-value unsatisfied: 2/3"
    assert outcome(short, ["body"]) == "503 W-value unsatisfied: 2/3 (body)"
    assert outcome(_told("v", 200, plain), ["link", "body"]) == "200 (link, body)"
