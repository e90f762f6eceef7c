"""What a status, its headers and its body mean together."""

import pytest

from dynamo.client.answers import Answer, expect, failure, found, json_object, was_there
from dynamo.client.errors import BadAnswer, Refused, Unavailable
from dynamo.client.values import Context
from dynamo.core.values import Value
from dynamo.errors import DeadlineExceeded, QuorumError

VCLOCK = {"x-riak-vclock": "AQI="}
CONTEXT = Context(b"\1\2")
TYPED = {"content-type": "text/plain"}


def answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    lines = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status=status, headers=lines, body=body)


def value_answer(status: int, body: bytes = b"", content_type: str = "text/plain") -> Answer:
    return answer(status, body, content_type=content_type, x_riak_vclock="AQI=")


def test_a_200_is_one_value() -> None:
    shown = found(value_answer(200, b"hello"), read=True, resolve=None)
    assert shown.value == Value(body=b"hello", content_type="text/plain")
    assert shown.context == CONTEXT


def test_a_204_with_a_context_is_an_empty_value() -> None:
    shown = found(value_answer(204), read=False, resolve=None)
    assert shown.value == Value(body=b"", content_type="text/plain")


def test_a_300_is_siblings_and_a_tombstone_is_one_of_them() -> None:
    body = (
        b"\r\n--x\r\nContent-Type: text/plain\r\n\r\nA"
        b"\r\n--x\r\nContent-Type: application/octet-stream\r\nX-Riak-Deleted: true\r\n\r\n"
        b"\r\n--x--\r\n"
    )
    shown = found(value_answer(300, body, "multipart/mixed; boundary=x"), read=True, resolve=None)
    assert shown.siblings == (
        Value(body=b"A", content_type="text/plain"),
        Value(body=b"", deleted=True),
    )
    assert shown.context == CONTEXT


def test_a_missing_key_is_an_answer() -> None:
    shown = found(answer(404, b"not found\n"), read=True, resolve=None)
    assert (shown.siblings, shown.context) == ((), None)


def test_a_deleted_key_has_a_context_but_no_value() -> None:
    gone = answer(404, b"not found\n", x_riak_deleted="true", x_riak_vclock="AQI=")
    shown = found(gone, read=True, resolve=None)
    assert (shown.siblings, shown.context) == ((), CONTEXT)


def test_a_404_for_another_reason_is_an_error() -> None:
    with pytest.raises(Refused, match="Unknown bucket type: nosuch") as caught:
        found(answer(404, b"Unknown bucket type: nosuch"), read=True, resolve=None)
    assert caught.value.status == 404
    assert caught.value.definite


@pytest.mark.parametrize(
    "nonsense",
    [
        answer(200, b"no context", content_type="text/plain"),
        answer(200, b"no type", x_riak_vclock="AQI="),
        answer(200, b"", content_type="text/plain", x_riak_vclock="?"),
        value_answer(300, b"Siblings:\na\nb\n"),
        value_answer(300, b"\r\n--x\r\n", "multipart/mixed; boundary=x"),
        value_answer(201),
        value_answer(302),
    ],
)
@pytest.mark.parametrize("read", [True, False])
def test_nonsense_is_an_error_and_leaves_only_a_write_in_doubt(
    nonsense: Answer, read: bool
) -> None:
    with pytest.raises(BadAnswer) as caught:
        found(nonsense, read=read, resolve=None)
    assert caught.value.definite is read


def test_a_delete_tells_whether_there_was_something() -> None:
    assert was_there(answer(204))
    assert not was_there(answer(404, b"not found\n"))
    with pytest.raises(Refused, match="403: no"):
        was_there(answer(403, b"no"))


def test_below_500_nothing_failed() -> None:
    assert all(failure(answer(status), read=False) is None for status in (200, 300, 404, 499))


@pytest.mark.parametrize("what", ["R", "PR", "W", "PW", "DW", "node_confirms"])
def test_an_unsatisfied_quorum_tells_its_numbers(what: str) -> None:
    body = f"{what}-value unsatisfied: 1/2\nstored by 3 nodes; it may still take effect\n"
    error = failure(answer(503, body.encode(), x_dynamo_acks="3"), read=False)
    assert isinstance(error, QuorumError)
    assert (error.what, error.got, error.needed, error.definite) == (what, 1, 2, False)
    assert error.acks == 3


def test_a_timeout_tells_how_many_acknowledged() -> None:
    body = b"request timed out\nstored by 1 node; it may still take effect\n"
    error = failure(answer(503, body, x_dynamo_acks="1"), read=False)
    assert isinstance(error, DeadlineExceeded)
    assert (error.acks, error.definite) == (1, False)


def test_any_other_failure_keeps_status_and_text() -> None:
    error = failure(answer(500, b"Error:\noverload\n", x_dynamo_acks="2"), read=False)
    assert isinstance(error, Unavailable)
    assert (error.status, error.acks, error.definite) == (500, 2, False)
    assert "overload" in str(error)


@pytest.mark.parametrize(
    ("header", "read", "definite"),
    [("true", False, True), ("false", False, False), ("", False, False), ("false", True, True)],
)
@pytest.mark.parametrize("text", [b"PW-value unsatisfied: 0/2", b"request timed out", b"starting"])
def test_a_failed_write_is_definite_only_if_the_server_says_so(
    text: bytes, header: str, read: bool, definite: bool
) -> None:
    error = failure(answer(503, text, x_dynamo_definite=header), read=read)
    assert error is not None
    assert error.definite is definite


def test_a_silent_server_acknowledged_nothing_we_know_of() -> None:
    error = failure(answer(502, b"x", x_dynamo_acks="many"), read=False)
    assert isinstance(error, Unavailable)
    assert error.acks is None


def test_json_must_be_an_object() -> None:
    assert json_object(answer(200, b'{"a":[1]}')) == {"a": [1]}
    for body in (b"", b"<html>", b"[1]", b"\xff"):
        with pytest.raises(BadAnswer, match="not "):
            json_object(answer(200, body))


def test_an_unexpected_success_is_nonsense() -> None:
    with pytest.raises(BadAnswer, match="unexpected status 200"):
        expect(answer(200), 204, read=False)
