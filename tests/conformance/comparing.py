"""Whether an answer is the one that was recorded: which of its parts differ. Pure.

Compared are the status, the headers that a client of Riak acts on, and the body: JSON by value and
lists of names without their order, wherever a stream of them is cut; siblings without their order;
anything else byte by byte. The text of a page for people is not compared, nor are the headers of
one that tells of an error. What a server chooses has to be there, and has to be the same whenever
Riak's was the same.
"""

import email.policy
import json
import re
from collections.abc import Iterator
from email.parser import BytesParser
from typing import Final, NamedTuple

from tests.conformance.pairs import Pairs
from tests.conformance.record import Exchange
from tests.unit.http.talk import Told

_CHOSEN: Final = ("etag", "x-riak-vclock")
_COMPARED: Final = (
    "accept-ranges",
    "allow",
    "content-encoding",
    "content-range",
    "content-type",
    *_CHOSEN,
    "last-modified",
    "link",
    "location",
    "x-riak-deleted",
)
_CLIENTS_OWN: Final = ("x-riak-index-", "x-riak-meta-")
_LISTS: Final = ("allow", "vary", "x-riak-index-")
_OF_PARTS: Final = ("content-type", "link", "x-riak-deleted", *_CLIENTS_OWN)

_AS_IF_ABSENT: Final = (("sloppy_quorum", True), ("write_once", False))
"""Properties that Riak does not show, or not everywhere, at their defaults."""

_NODES: Final = frozenset({"claimant"})
"""Properties that name a node, each cluster's own."""


class Part(NamedTuple):
    """One sibling of a multipart answer."""

    vtag: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def differences(exchange: Exchange, told: Told, pairs: Pairs) -> list[str]:
    """The parts of an answer that differ from the recorded one: `status`, header names, `body`."""
    expected = exchange.expected
    assert expected is not None, "nothing to compare with"
    found = ["status"] if told.status != expected.status else []
    names = _headers_compared(exchange, expected, told)
    found += [name for name in names if not _same_header(name, expected, told, pairs)]
    if exchange.method != "HEAD" and not _same_body(expected, told, pairs):
        found.append("body")
    return found


def learn(exchange: Exchange, told: Told, pairs: Pairs) -> None:
    """Pair what Riak chose in its answer with what was chosen here."""
    expected = exchange.expected
    assert expected is not None, "nothing to learn from"
    for name in (*_CHOSEN, "last-modified"):
        if name in expected.headers and name in told.headers:
            pairs.learn(expected.headers[name].strip('"'), told.headers[name].strip('"'))
    if "location" in expected.headers and "location" in told.headers:
        pairs.learn(_last(expected.headers["location"]), _last(told.headers["location"]))
    here = {part[1:]: part.vtag for part in _parts(told)}
    for part in _parts(expected):
        if part[1:] in here:
            pairs.learn(part.vtag, here[part[1:]])


def outcome(told: Told, differing: list[str]) -> str:
    """An answer that differs in few words: the status and, of a failure, its first line.

    Where that is as recorded, the parts that are not follow.
    """
    words = [str(told.status)]
    if told.status >= 400 and told.headers.get("content-type") == "text/plain":
        words.append(told.text.partition("\n")[0])
    if "status" not in differing:
        words.append(f"({', '.join(differing)})")
    return " ".join(words)


# -- headers -------------------------------------------------------------------------------------


def _headers_compared(exchange: Exchange, expected: Told, told: Told) -> list[str]:
    if expected.status >= 400 and _is_page(expected):
        return ["allow"]
    everywhere = {*expected.headers, *told.headers}
    clients_own = sorted(name for name in everywhere if name.startswith(_CLIENTS_OWN))
    of_caches = ["vary"] if exchange.method == "GET" and told.status in (200, 300) else []
    return [*_COMPARED, *of_caches, *clients_own]


def _is_page(expected: Told) -> bool:
    return b"<html" in expected.body.lower()


def _same_header(name: str, expected: Told, told: Told, pairs: Pairs) -> bool:
    recorded, here = expected.headers.get(name), told.headers.get(name)
    if name == "content-type" and not expected.body and not told.body:
        return True  # the type of nothing; Riak names that of the request
    if recorded is None or here is None:
        return recorded == here
    if name in _CHOSEN:
        return pairs.agree(recorded.strip('"'), here.strip('"'))
    if name == "last-modified":
        return True
    if name == "location":
        return recorded.rpartition("/")[0] == here.rpartition("/")[0]
    return _normal(name, pairs.translated(recorded)) == _normal(name, here)


def _normal(name: str, text: str) -> list[str]:
    if name.startswith(_LISTS):
        return sorted(text.split(", "))
    if name == "link":
        return sorted(re.split(r",\s*", text))
    if name == "content-type":
        return re.sub(r"boundary=\w+", "boundary=", text).split("; ")
    return [text]


def _last(location: str) -> str:
    return location.rpartition("/")[2]


# -- bodies --------------------------------------------------------------------------------------


def _same_body(expected: Told, told: Told, pairs: Pairs) -> bool:
    if _is_page(expected):
        return True
    kinds = [_kind(expected), _kind(told)]
    if kinds == ["application/json"] * 2:
        return _same_json(expected.body, told.body)
    if kinds == ["multipart/mixed"] * 2:
        return sorted(part[1:] for part in _parts(expected)) == sorted(
            part[1:] for part in _parts(told)
        )
    recorded = expected.body.decode("utf-8", "surrogateescape")
    here = told.body.decode("utf-8", "surrogateescape")
    if recorded.startswith("Siblings:\n"):
        form = rf"Siblings:\n(\w+\n){{{recorded.count(chr(10)) - 1}}}"
        return re.fullmatch(form, here) is not None
    return pairs.translated(recorded) == here


def _kind(told: Told) -> str:
    return told.headers.get("content-type", "").partition(";")[0]


def _parts(told: Told) -> list[Part]:
    """The siblings in a multipart answer; none in any other."""
    kind = told.headers.get("content-type", "")
    if not kind.startswith("multipart/mixed"):
        return []
    head = f"Content-Type: {kind}\r\n\r\n".encode()
    message = BytesParser(policy=email.policy.HTTP).parsebytes(head + told.body)
    parts = []
    for part in message.iter_parts():
        body = part.get_payload(decode=True)
        headers = {name.lower(): str(text) for name, text in part.items()}
        kept = sorted((name, text) for name, text in headers.items() if name.startswith(_OF_PARTS))
        assert isinstance(body, bytes)
        parts.append(Part(headers.get("etag", ""), tuple(kept), body))
    return parts


def _same_json(recorded: bytes, here: bytes) -> bool:
    try:
        documents = list(_documents(here.decode()))
    except ValueError:
        return False
    return _value(list(_documents(recorded.decode()))) == _value(documents)


def _documents(text: str) -> Iterator[object]:
    """JSON values that follow each other."""
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        document, end = decoder.raw_decode(text)
        yield document
        text = text[end:]


def _value(documents: list[object]) -> object:
    """What a run of JSON values says: a stream of names is one list of names, and its end."""
    for name in ("keys", "buckets"):
        pages = [page[name] for page in documents if isinstance(page, dict) and set(page) == {name}]
        if pages and len(pages) == len(documents):
            ended = len(pages) > 1 and not pages[-1]
            return name, sorted(entry for page in pages for entry in page), ended
    return [_properties(document) for document in documents]


def _properties(document: object) -> object:
    """JSON, without what is no difference if it has the properties of a bucket."""
    if not isinstance(document, dict) or not isinstance(document.get("props"), dict):
        return document
    kept = {
        name: "a node" if name in _NODES else value
        for name, value in document["props"].items()
        if (name, value) not in _AS_IF_ABSENT
    }
    return {**document, "props": kept}
