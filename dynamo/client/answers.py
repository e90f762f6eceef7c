"""What an answer of the server means: a value, an error, or nonsense. Pure.

A status tells little here: a 404 may be a missing key (normal) or an unknown bucket type (an
error), and a 503 to a write may or may not have had effect. `X-Dynamo-Definite: true` says that it
had none; without that word a write is in doubt.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from dynamo.client.errors import BadAnswer, ClientError, Refused, Unavailable
from dynamo.client.headers import DELETED, read_context, read_value
from dynamo.client.multipart import boundary_of, split_parts
from dynamo.client.values import Found, Resolver
from dynamo.core.values import Value
from dynamo.errors import DeadlineExceeded, QuorumError, RequestError

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
JsonObject = dict[str, Json]

_NOT_FOUND = b"not found"
_TIMED_OUT = "request timed out"
_UNSATISFIED = re.compile(r"(R|PR|W|PW|DW|node_confirms)-value unsatisfied: (\d+)/(\d+)")
_TEXT_MAX = 300  # characters of a server's text that an error quotes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One whole answer of a server.

    Attributes:
        headers: names in lower case, repeated ones joined by `, `.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


def failure(answer: Answer, *, read: bool) -> ClientError | RequestError | None:
    """The error that a status of 500 or more stands for; None for any other."""
    if answer.status < 500:
        return None
    text = _text(answer)
    definite = read or answer.headers.get("x-dynamo-definite", "").lower() == "true"
    acks_text = answer.headers.get("x-dynamo-acks", "")
    acks = int(acks_text) if acks_text.isdecimal() else None
    reason = text.partition("\n")[0]  # a second line says in words what the headers say
    if unsatisfied := _UNSATISFIED.fullmatch(reason):
        what, got, needed = unsatisfied.groups()
        return QuorumError(
            what, needed=int(needed), got=int(got), definite=definite, acks=acks or 0
        )
    if answer.status == 503 and reason == _TIMED_OUT:
        return DeadlineExceeded(acks=acks or 0, definite=definite)
    return Unavailable(answer.status, text, acks=acks, definite=definite)


def found(answer: Answer, *, read: bool, resolve: Resolver | None) -> Found:
    """What a read shows, or a write that asked for the value back.

    Raises:
        Refused: the server says that the request is wrong.
        BadAnswer: the answer cannot be what it claims to be.
    """
    try:
        siblings = _siblings(answer)
        return Found(siblings=siblings, context=read_context(answer.headers), resolve=resolve)
    except BadAnswer as error:
        error.definite = read
        raise


def was_there(answer: Answer) -> bool:
    """Whether a delete found something to delete.

    Raises:
        Refused: the server says that the request is wrong.
        BadAnswer: this is no answer to a delete.
    """
    if _is_not_found(answer):
        return False
    expect(answer, 204, read=False)
    return True


def expect(answer: Answer, *statuses: int, read: bool) -> None:
    """Make sure that the status is one of these.

    Raises:
        Refused: the server says that the request is wrong.
        BadAnswer: it is something else.
    """
    if answer.status in statuses:
        return
    if 400 <= answer.status < 500:
        raise Refused(answer.status, _text(answer))
    raise BadAnswer(f"unexpected status {answer.status}: {_text(answer)}", definite=read)


def json_object(answer: Answer) -> JsonObject:
    """The JSON object of a 200.

    Raises:
        Refused: the server says that the request is wrong.
        BadAnswer: it is no JSON object.
    """
    expect(answer, 200, read=True)
    try:
        parsed = json.loads(answer.body)
    except ValueError as error:
        raise BadAnswer(f"not JSON: {_text(answer)}", definite=True) from error
    if not isinstance(parsed, dict):
        raise BadAnswer(f"not a JSON object: {_text(answer)}", definite=True)
    return parsed


def _siblings(answer: Answer) -> tuple[Value, ...]:
    if _is_not_found(answer):
        return ()
    # 204: the value written is empty, and was asked for back.
    expect(answer, 200, 204, 300, read=False)
    if "x-riak-vclock" not in answer.headers:
        raise BadAnswer(f"a value without X-Riak-Vclock (status {answer.status})")
    if answer.status != 300:
        return (read_value(answer.headers, answer.body),)
    boundary = boundary_of(answer.headers.get("content-type", ""))
    return tuple(read_value(*part) for part in split_parts(answer.body, boundary))


def _is_not_found(answer: Answer) -> bool:
    return answer.status == 404 and (DELETED in answer.headers or answer.body.strip() == _NOT_FOUND)


def _text(answer: Answer) -> str:
    return answer.body.decode("utf-8", "replace").strip()[:_TEXT_MAX]
