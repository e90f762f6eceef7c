"""Objects: read, store, delete; and who is asked for one. Pure."""

from typing import Final

from dynamo.http.openapi.answers import (
    ANY,
    JSON,
    RECEIPT,
    SIBLINGS,
    TEXT_BODY,
    VERSION,
    WHEN_WRITING,
    WITH_BODY,
    WITH_FORMS,
    Answers,
    answer,
    bodies,
    in_json,
    shared,
)
from dynamo.http.openapi.operations.operation import OBJECTS, Operations, get, names, operation
from dynamo.http.openapi.parameters import (
    ANY_OBJECT,
    CONDITIONS,
    DESCRIBING,
    READING,
    WRITING,
)
from dynamo.http.openapi.parts import Json
from dynamo.http.wire import IF_NOT_MODIFIED, VCLOCK

_ONE: Final = answer("The one value, with what was stored along with it.", ANY, VERSION)
_SEVERAL: Final = answer(
    "Concurrent values: write one that supersedes them all, with this answer's context.",
    bodies(text_plain="SiblingTags", multipart_mixed="Siblings"),
    SIBLINGS,
)
_READ: Final[Answers] = {
    **WITH_FORMS,
    "200": _ONE,
    "400": shared("BadRead"),  # Riak leaves the type of one of its texts open
    "206": answer(
        "The part that was asked for.", ANY, (*VERSION, "Content-Range", "Accept-Ranges")
    ),
    "300": _SEVERAL,
    "304": answer("The client has it already.", None, ("ETag", "Vary", RECEIPT)),
    "404": shared("NotFound"),
    "412": shared("ConditionFailed"),
}
_DELETED: Final[Answers] = {
    **WHEN_WRITING,
    "204": answer("A tombstone is stored.", None, ("Vary", RECEIPT)),
    "400": shared("BadDelete"),
    "404": shared("NotFound"),
    "412": shared("ConditionFailed"),
}

_STORING: Final = (*WRITING, *ANY_OBJECT, "returnbody", VCLOCK, *DESCRIBING)
_VALUE: Final[Json] = {
    "description": "The value: any bytes, of the media type that `Content-Type` says.",
    "content": {
        "text/plain": {"schema": {"type": "string"}},
        JSON: {"schema": {}},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    },
}
_WITH_VALUE: Final[Answers] = {
    **WITH_BODY,
    "404": shared("UnknownType"),
    "406": shared("NotAcceptable"),
    "415": answer("`Content-Type` is no media type.", TEXT_BODY),
}


def at_key(style: str) -> Operations:
    """An object under its key."""
    in_path = names(style, "bucket", "key")
    return {
        **get(
            OBJECTS,
            f"read{style}Object",
            "Read an object: its value, or all siblings.",
            _READ,
            *in_path,
            *READING,
            *ANY_OBJECT,
            "vtag",
            *CONDITIONS,
            "If-Modified-Since",
            "Range",
            "Accept-Charset",
        ),
        "put": operation(
            OBJECTS,
            f"store{style}Object",
            "Store an object; with a context it supersedes what that covers, and nothing else.",
            {**_stored(style), "409": shared("NotUnmodified")},
            *in_path,
            *_STORING,
            *CONDITIONS,
            IF_NOT_MODIFIED,
            body=_VALUE,
        ),
        "post": operation(
            OBJECTS,
            f"post{style}Object",
            "Store an object, as PUT does.",
            _stored(style),
            *in_path,
            *_STORING,
            *CONDITIONS,
            body=_VALUE,
        ),
        "delete": operation(
            OBJECTS,
            f"delete{style}Object",
            "Delete an object; with a context only what that covers.",
            _DELETED,
            *in_path,
            *READING,
            *WRITING,
            "rw",
            *ANY_OBJECT,
            VCLOCK,
            *CONDITIONS,
        ),
    }


def _stored(style: str) -> Answers:
    same = {name: f"$request.path.{name}" for name in names(style, "bucket", "key")}
    follow = {
        "readIt": {"operationId": f"read{style}Object", "parameters": same},
        "deleteIt": {"operationId": f"delete{style}Object", "parameters": same},
    }
    return {
        **_WITH_VALUE,
        "200": _ONE,
        "204": answer(
            "It is stored; or `returnbody` shows a value without bytes.", None, VERSION, follow
        ),
        "300": _SEVERAL,
        "412": shared("ConditionFailed"),
    }


def without_key(style: str) -> Json:
    """POST of an object to a bucket."""
    return operation(
        OBJECTS,
        f"store{style}ObjectAnywhere",
        "Store an object under a key that the node draws.",
        {
            **_WITH_VALUE,
            "201": answer(
                "It is stored; `Location` says where.",
                {**ANY, **bodies(text_plain="Text", multipart_mixed="Siblings")},
                ("Location", *VERSION),
            ),
        },
        *names(style, "bucket"),
        *_STORING,
        body=_VALUE,
    )


def preference_list(style: str) -> Operations:
    """Who is asked for a key."""
    return get(
        OBJECTS,
        f"read{style}PreferenceList",
        "Read who is asked for a key now: primaries that can be reached, and their stand-ins.",
        {
            **WITH_FORMS,
            "200": in_json("The list.", "PreferenceList"),
            "404": shared("UnknownType"),
        },
        *names(style, "bucket", "key"),
    )
