"""What comes back: statuses, the headers with them, and what their bodies are. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from dynamo.http.openapi.parts import BASE64, TEXT, WHOLE, Json, named, reference

Answers = Mapping[str, Json]
"""Answers by status."""

_HEADERS: Final[Mapping[str, tuple[str, Json]]] = {
    "X-Riak-Vclock": ("The context: send it back with a write that supersedes this.", BASE64),
    "ETag": ("A name for this very version.", {"type": "string", "pattern": '^".*"$'}),
    "Last-Modified": ("When the newest value was stored.", TEXT),
    "Link": ("Links of the value, and one up to its bucket.", TEXT),
    "X-Riak-Deleted": ("There is a tombstone.", {"type": "string", "const": "true"}),
    "X-Dynamo-Replicas": (
        "What became of the request at each replica, where `trace=true` asks for it.",
        {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": named("Receipt"),
        },
    ),
    "Vary": ("Which headers of the request the answer depends on.", TEXT),
    "Location": ("The path of the object that was made.", {"type": "string", "pattern": "^/"}),
    "Content-Encoding": ("As it was stored; or `gzip`, where the client takes it.", TEXT),
    "Content-Range": ("Which part of the body this is.", TEXT),
    "Accept-Ranges": ("Parts of a body can be asked for.", TEXT),
    "Retry-After": ("Seconds after which to try again.", WHOLE),
    "X-Dynamo-Acks": ("Nodes that are known to hold the write.", WHOLE),
    "X-Dynamo-Definite": (
        "Whether the write certainly had no effect.",
        {"type": "string", "enum": ["true", "false"]},
    ),
}

HEADERS: Final[Mapping[str, Json]] = {
    name: {"description": said, "schema": schema} for name, (said, schema) in _HEADERS.items()
}

RECEIPT: Final = "X-Dynamo-Replicas"
SIBLINGS: Final = ("X-Riak-Vclock", "ETag", "Last-Modified", "Vary", RECEIPT)
VERSION: Final = (*SIBLINGS, "Link", "Content-Encoding")


def bodies(**schemas: str) -> Json:
    """Media types (their slash written as `_`) and the names of what they hold."""
    return {
        kind.replace("_", "/", 1): {"schema": named(schema)} for kind, schema in schemas.items()
    }


TEXT_BODY: Final = bodies(text_plain="Text")
PAGE_BODY: Final = bodies(text_html="Page")
JSON: Final = "application/json"
ANY: Final[Json] = {"*/*": {}}
"""What was stored: any bytes, whatever the media type says."""


def json_of(schema: str) -> Json:
    """A body in JSON."""
    return {JSON: {"schema": named(schema)}}


def answer(
    description: str,
    content: Json | None = None,
    headers: Sequence[str] = (),
    links: Json | None = None,
) -> Json:
    """One answer.

    Raises:
        KeyError: there is no description of one of the headers.
    """
    said: dict[str, object] = {"description": description}
    if headers:
        said["headers"] = {name: reference("headers", name, HEADERS) for name in headers}
    if content is not None:
        said["content"] = content
    if links is not None:
        said["links"] = links
    return said


def in_json(description: str, schema: str) -> Json:
    """One answer in JSON, in forms that `Accept` chooses between."""
    return answer(description, json_of(schema), ("Vary",))


def done(description: str) -> Json:
    """One answer without a body."""
    return answer(description, None, ("Vary",))


RESPONSES: Final[Mapping[str, Json]] = {
    "BadRequest": answer(
        "Something in the request is wrong; the text says what, a line for each.", TEXT_BODY
    ),
    "BadRead": answer("Something in the request is wrong; a text says what, a line for each."),
    "BadDelete": answer(
        "Something in the request is wrong; the text says what, a line for each.",
        {**TEXT_BODY, **PAGE_BODY},
    ),
    "Forbidden": answer(
        "A page of another origin seems to have made a browser send this: `Origin: null`, or a"
        " `Referer` elsewhere.",
        PAGE_BODY,
    ),
    "NoPath": answer("No such bucket type.", PAGE_BODY),
    "UnknownType": answer("No such bucket type.", TEXT_BODY),
    "NotFound": answer(
        "No value is there, or no such bucket type; of a deleted key the tombstone is told.",
        {**TEXT_BODY, **PAGE_BODY},
        ("X-Riak-Deleted", "X-Riak-Vclock", RECEIPT),
    ),
    "NotAcceptable": answer("`Accept` admits no form that there is.", PAGE_BODY),
    "BodyTooSlow": answer("The body did not arrive in time.", TEXT_BODY),
    "NotUnmodified": answer(
        "The object is not what `X-Riak-If-Not-Modified` says.", PAGE_BODY, (RECEIPT,)
    ),
    "ConditionFailed": answer("A condition of the request does not hold.", PAGE_BODY, (RECEIPT,)),
    "TooLarge": answer(
        "The body is larger than a body may be, or with what is stored along with it.", TEXT_BODY
    ),
    "NotUnderstood": answer("The body's media type is none, or not the one needed.", PAGE_BODY),
    "Unavailable": answer(
        "Too few replicas answered, the time ran out, too much is at work, or the node has not"
        " joined yet.",
        {**TEXT_BODY, **PAGE_BODY},
        ("Retry-After", RECEIPT),
    ),
    "WriteUnavailable": answer(
        "Too few replicas hold the write, the time ran out, or too much is at work; the headers"
        " say how far it came.",
        {**TEXT_BODY, **PAGE_BODY},
        ("Retry-After", "X-Dynamo-Acks", "X-Dynamo-Definite", RECEIPT),
    ),
}
"""Answers that many operations have, by name."""


def shared(name: str) -> Json:
    """A reference to one of them.

    Raises:
        KeyError: there is none of that name.
    """
    return reference("responses", name, RESPONSES)


ALWAYS: Final[Answers] = {
    "400": shared("BadRequest"),
    "403": shared("Forbidden"),
    "503": shared("Unavailable"),
}
"""What any request may be answered."""

WITH_FORMS: Final[Answers] = {**ALWAYS, "406": shared("NotAcceptable")}
"""The same where `Accept` chooses between forms, and nothing is written."""

WHEN_WRITING: Final[Answers] = {**ALWAYS, "503": shared("WriteUnavailable")}

WITH_BODY: Final[Answers] = {
    **WHEN_WRITING,
    "408": shared("BodyTooSlow"),
    "413": shared("TooLarge"),
}


def with_empty(answers: Answers) -> Answers:
    """The same answers to HEAD: status and headers without a body."""
    return {status: _without_body(said) for status, said in answers.items()}


def _without_body(said: Json) -> Json:
    reference = said.get("$ref")
    if isinstance(reference, str):
        said = RESPONSES[reference.rpartition("/")[2]]
    return {name: part for name, part in said.items() if name not in ("content", "links")}
