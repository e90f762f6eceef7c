"""What can be done at which path. Pure.

Each operation is described once for each way to write its path; HEAD follows from GET.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from dynamo.http.openapi.answers import (
    ALWAYS,
    ANY,
    JSON,
    RECEIPT,
    SIBLINGS,
    VERSION,
    WHEN_WRITING,
    WITH_BODY,
    Answers,
    answer,
    bodies,
    json_of,
    shared,
    with_empty,
)
from dynamo.http.openapi.parameters import (
    ANY_OBJECT,
    CONDITIONS,
    DESCRIBING,
    READING,
    WRITING,
    references,
)
from dynamo.http.openapi.schemas import Json, named
from dynamo.http.wire import IF_NOT_MODIFIED, VCLOCK

Operations = Mapping[str, Json]
"""Operations by method, in lower case."""

_OLD, _PLAIN, _TYPED = "Old", "", "Typed"

OBJECTS: Final = "Objects"
BUCKETS: Final = "Buckets"
SERVER: Final = "Server"
ADMIN: Final = "Operators"

TAGS: Final = {
    OBJECTS: "Values by bucket and key, in three styles of path.",
    BUCKETS: "Properties of buckets and bucket types, lists of keys and buckets.",
    SERVER: "What a node says of itself.",
    ADMIN: "What an operator asks about the cluster, and about one key.",
}


def paths() -> dict[str, Operations]:
    """All paths with what can be done there."""
    return dict(_paths())


def _paths() -> Iterator[tuple[str, Operations]]:
    yield from _server()
    for style, prefix in ((_PLAIN, "/buckets"), (_TYPED, "/types/{bucket_type}/buckets")):
        yield prefix, _lists_buckets(style)
        yield f"{prefix}/{{bucket}}/keys", _keys(style)
        yield f"{prefix}/{{bucket}}/props", _bucket_properties(style)
        yield f"{prefix}/{{bucket}}/keys/{{key}}", _object(style)
        yield f"{prefix}/{{bucket}}/keys/{{key}}/preflist", _preference_list(style)
    yield "/types/{bucket_type}/props", _type_properties()
    yield "/riak", _lists_buckets(_OLD)
    yield "/riak/{bucket}", _old_bucket()
    yield "/riak/{bucket}/{key}", _object(_OLD)
    yield from _admin()


def _operation(
    tag: str,
    name: str,
    description: str,
    answers: Answers,
    *parameters: str,
    body: Json | None = None,
) -> Json:
    said: dict[str, object] = {
        "tags": [tag],
        "operationId": name,
        "summary": description.partition(":")[0].partition(";")[0].rstrip("."),
        "description": description,
    }
    if parameters:
        said["parameters"] = references(list(dict.fromkeys(parameters)))
    if body is not None:
        said["requestBody"] = body
    return {**said, "responses": dict(sorted(answers.items()))}


def _get(
    tag: str, name: str, description: str, answers: Answers, *parameters: str
) -> dict[str, Json]:
    """GET, and HEAD beside it."""
    head = _operation(
        tag, f"{name}Head", f"{description} Headers only.", with_empty(answers), *parameters
    )
    return {"get": _operation(tag, name, description, answers, *parameters), "head": head}


def _names(style: str, *names: str) -> tuple[str, ...]:
    return ("bucket_type", *names) if style == _TYPED else names


# -- objects -------------------------------------------------------------------------------------

_ONE: Final = answer("The one value, with what was stored along with it.", ANY, VERSION)
_SEVERAL: Final = answer(
    "Concurrent values: write one that supersedes them all, with this answer's context.",
    bodies(text_plain="SiblingTags", multipart_mixed="Siblings"),
    SIBLINGS,
)
_VALUE: Final[Json] = {
    "description": "The value: any bytes, of the media type that `Content-Type` says.",
    "content": {
        "text/plain": {"schema": {"type": "string"}},
        JSON: {"schema": {}},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    },
}


def _object(style: str) -> Operations:
    names = _names(style, "bucket", "key")
    return {
        **_get(
            OBJECTS,
            f"read{style}Object",
            "Read an object: its value, or all siblings.",
            {
                **ALWAYS,
                "200": _ONE,
                "400": shared("BadRead"),  # Riak leaves the type of one of its texts open
                "206": answer(
                    "The part that was asked for.",
                    ANY,
                    (*VERSION, "Content-Range", "Accept-Ranges"),
                ),
                "300": _SEVERAL,
                "304": answer("The client has it already.", None, ("ETag", "Vary", RECEIPT)),
                "404": shared("NotFound"),
                "406": shared("NotAcceptable"),
                "412": shared("ConditionFailed"),
            },
            *names,
            *READING,
            *ANY_OBJECT,
            "vtag",
            *CONDITIONS,
            "If-Modified-Since",
            "Range",
            "Accept-Charset",
        ),
        "put": _operation(
            OBJECTS,
            f"store{style}Object",
            "Store an object; with a context it supersedes what that covers, and nothing else.",
            {
                **_stored(style),
                "409": shared("NotUnmodified"),
                "412": shared("ConditionFailed"),
            },
            *names,
            *_STORING,
            *CONDITIONS,
            IF_NOT_MODIFIED,
            body=_VALUE,
        ),
        "post": _operation(
            OBJECTS,
            f"post{style}Object",
            "Store an object, as PUT does.",
            {**_stored(style), "412": shared("ConditionFailed")},
            *names,
            *_STORING,
            *CONDITIONS,
            body=_VALUE,
        ),
        "delete": _operation(
            OBJECTS,
            f"delete{style}Object",
            "Delete an object; with a context only what that covers.",
            {
                **WHEN_WRITING,
                "204": answer("A tombstone is stored.", None, ("Vary", RECEIPT)),
                "400": shared("BadDelete"),
                "404": shared("NotFound"),
                "412": shared("ConditionFailed"),
            },
            *names,
            *READING,
            *WRITING,
            "rw",
            *ANY_OBJECT,
            VCLOCK,
            *CONDITIONS,
        ),
    }


_STORING: Final = (*WRITING, *ANY_OBJECT, "returnbody", VCLOCK, *DESCRIBING)


def _stored(style: str) -> Answers:
    same = {name: f"$request.path.{name}" for name in _names(style, "bucket", "key")}
    follow = {
        "readIt": {"operationId": f"read{style}Object", "parameters": same},
        "deleteIt": {"operationId": f"delete{style}Object", "parameters": same},
    }
    return {
        **WITH_BODY,
        "200": _ONE,
        "204": answer(
            "It is stored; or `returnbody` shows a value without bytes.", None, VERSION, follow
        ),
        "300": _SEVERAL,
        "404": shared("UnknownType"),
        "406": shared("NotAcceptable"),
        "415": answer("`Content-Type` is no media type.", bodies(text_plain="Text")),
    }


def _post_keyless(style: str) -> Json:
    return _operation(
        OBJECTS,
        f"store{style}ObjectAnywhere",
        "Store an object under a key that the node draws.",
        {
            **WITH_BODY,
            "201": answer(
                "It is stored; `Location` says where.",
                {**ANY, **bodies(text_plain="Text", multipart_mixed="Siblings")},
                ("Location", *VERSION),
            ),
            "404": shared("UnknownType"),
            "406": shared("NotAcceptable"),
            "415": answer("`Content-Type` is no media type.", bodies(text_plain="Text")),
        },
        *_names(style, "bucket"),
        *_STORING,
        body=_VALUE,
    )


def _preference_list(style: str) -> Operations:
    return _get(
        OBJECTS,
        f"read{style}PreferenceList",
        "Read who is asked for a key now: primaries that can be reached, and their stand-ins.",
        {
            **ALWAYS,
            "200": answer("The list.", json_of("PreferenceList"), ("Vary",)),
            "404": shared("UnknownType"),
            "406": shared("NotAcceptable"),
        },
        *_names(style, "bucket", "key"),
    )


# -- buckets -------------------------------------------------------------------------------------


def _listed(schema: str) -> Answers:
    return {
        **ALWAYS,
        "200": answer("The list; a stream is a run of such objects.", json_of(schema), ("Vary",)),
        "404": shared("NoPath"),
        "406": shared("NotAcceptable"),
    }


def _lists_buckets(style: str) -> Operations:
    return _get(
        BUCKETS,
        f"list{style}Buckets",
        "List the buckets that hold keys; without `buckets` the list is empty.",
        _listed("BucketList"),
        *_names(style),
        "buckets",
        "timeout",
    )


def _keys(style: str) -> Operations:
    return {
        **_get(
            BUCKETS,
            f"list{style}Keys",
            "List the keys of a bucket; without `keys` the answer is an empty object.",
            _listed("KeyList"),
            *_names(style, "bucket"),
            "keys",
            "timeout",
        ),
        "post": _post_keyless(style),
    }


def _old_bucket() -> Operations:
    return {
        **_get(
            BUCKETS,
            "readOldBucket",
            "Read the properties of a bucket, and list its keys if that is asked for.",
            _listed("KeyList"),
            "bucket",
            "keys",
            "props",
            "timeout",
        ),
        "put": _change_properties("changeOldBucketProperties", "bucket"),
        "post": _post_keyless(_OLD),
    }


def _bucket_properties(style: str) -> Operations:
    names = _names(style, "bucket")
    return {
        **_get(
            BUCKETS,
            f"read{style}BucketProperties",
            "Read the properties of a bucket.",
            _shown(),
            *names,
        ),
        "put": _change_properties(f"change{style}BucketProperties", *names),
        "delete": _operation(
            BUCKETS,
            f"reset{style}BucketProperties",
            "Give a bucket the properties of its type back.",
            {
                **WHEN_WRITING,
                "204": answer("It has them.", None, ("Vary",)),
                "404": shared("NoPath"),
            },
            *names,
        ),
    }


def _type_properties() -> Operations:
    return {
        **_get(
            BUCKETS,
            "readTypeProperties",
            "Read the properties of a bucket type.",
            _shown(),
            "bucket_type",
        ),
        "put": _change_properties("changeTypeProperties", "bucket_type"),
    }


def _shown() -> Answers:
    return {
        **ALWAYS,
        "200": answer("All properties.", json_of("ShownProperties"), ("Vary",)),
        "404": shared("NoPath"),
        "406": shared("NotAcceptable"),
    }


def _change_properties(name: str, *names: str) -> Json:
    return _operation(
        BUCKETS,
        name,
        "Change properties: all of those given, or none if one of them is refused.",
        {
            **WITH_BODY,
            "204": answer("They are changed, on this node; others hear of it.", None, ("Vary",)),
            "400": answer(
                "What is wrong with the properties.",
                {**bodies(text_plain="Text"), **json_of("Reasons")},
                ("Vary",),
            ),
            "415": shared("NotUnderstood"),
        },
        *names,
        body={"required": True, "content": json_of("ChangedProperties")},
    )


# -- the server ----------------------------------------------------------------------------------


def _server() -> Iterator[tuple[str, Operations]]:
    yield (
        "/",
        _get(
            SERVER,
            "listResources",
            "List the resources that clients of Riak look for.",
            {
                **ALWAYS,
                "200": answer(
                    "Resource to path.",
                    {**bodies(text_html="Page"), **json_of("Resources")},
                    ("Link", "Vary"),
                ),
                "406": shared("NotAcceptable"),
            },
        ),
    )
    yield (
        "/ping",
        _get(
            SERVER,
            "ping",
            "Ask whether the node serves.",
            {**ALWAYS, "200": answer("It does.", bodies(text_html="Text"))},
        ),
    )
    yield (
        "/stats",
        _get(
            SERVER,
            "readStats",
            "Read what the node counts, by Riak's names and its own.",
            {
                **ALWAYS,
                "200": answer(
                    "All figures.", {**json_of("Stats"), **bodies(text_plain="Text")}, ("Vary",)
                ),
                "406": shared("NotAcceptable"),
            },
        ),
    )
    yield (
        "/metrics",
        _get(
            SERVER,
            "readMetrics",
            "Read what the node counts, for Prometheus.",
            {
                **ALWAYS,
                "200": answer(
                    "All figures, in the text format or as OpenMetrics.",
                    {
                        **bodies(text_plain="Text"),
                        "application/openmetrics-text": {"schema": named("Text")},
                    },
                    ("Vary",),
                ),
            },
        ),
    )
    yield (
        "/openapi.json",
        _get(
            SERVER,
            "readDescription",
            "Read this description.",
            {
                **ALWAYS,
                "200": answer("It is OpenAPI 3.1.", json_of("Description"), ("Vary",)),
                "406": shared("NotAcceptable"),
            },
        ),
    )


# -- operators -----------------------------------------------------------------------------------


def _admin() -> Iterator[tuple[str, Operations]]:
    yield "/admin/members", _report("readMembers", "Read who belongs to the cluster.", "Members")
    yield (
        "/admin/members/{node}",
        {
            "delete": _operation(
                ADMIN,
                "removeMember",
                "Remove a node from the cluster for good; others take its part over.",
                {**WHEN_WRITING, "204": answer("It is removed.", None, ("Vary",))},
                "node",
                "force",
            )
        },
    )
    yield "/admin/ring", _report("readRing", "Read who owns which partition.", "RingTable")
    yield "/admin/hints", _report("readHints", "Read what is kept for others.", "Hints")
    yield "/admin/hints/wait", {"post": _wait_for_hints()}
    yield (
        "/admin/divergence",
        _report(
            "readDivergence",
            "Compare the replicas of all partitions.",
            "Divergence",
            "keys_max",
            "timeout",
        ),
    )
    yield (
        "/admin/tombstones",
        _report("readTombstones", "Read what deleted keys wait for.", "Tombstones"),
    )
    yield "/admin/bucket-types", _report("listTypes", "List all bucket types.", "TypeList")
    yield (
        "/admin/bucket-types/{bucket_type}",
        {
            **_report(
                "readTypeStatus",
                "Read how far a bucket type has come.",
                "TypeStatus",
                "bucket_type",
                unknown=shared("UnknownType"),
            ),
            "put": _create_type(),
        },
    )
    yield "/admin/bucket-types/{bucket_type}/activate", {"post": _activate_type()}
    for style, path in _KEY_PATHS.items():
        names = _names(_TYPED if "Typed" in style else _PLAIN, "bucket", "key")
        where = "Read where a key lives: partition, primaries, stand-ins."
        yield (
            f"/admin/locate/{path}",
            _report(f"locate{style}", where, "Place", *names, unknown=shared("UnknownType")),
        )
        held = "Read what the asked node itself holds for a key."
        yield f"/admin/local/{path}", _report(f"readLocal{style}", held, "Held", *names)


_KEY_PATHS: Final = {
    "": "{bucket}/{key}",
    "Typed": "{bucket_type}/{bucket}/{key}",
    "WholePath": "buckets/{bucket}/keys/{key}",
    "TypedWholePath": "types/{bucket_type}/buckets/{bucket}/keys/{key}",
}


def _report(
    name: str, description: str, schema: str, *parameters: str, unknown: Json | None = None
) -> Operations:
    missing = {} if unknown is None else {"404": unknown}
    said = answer("As the asked node knows it.", json_of(schema), ("Vary",))
    return _get(ADMIN, name, description, {**ALWAYS, "200": said, **missing}, *parameters)


def _create_type() -> Json:
    return _operation(
        ADMIN,
        "createType",
        "Create a bucket type, or anew one that is not active.",
        {**WITH_BODY, "204": answer("It is created; activate it before use.", None, ("Vary",))},
        "bucket_type",
        body={"required": True, "content": json_of("ChangedProperties")},
    )


def _activate_type() -> Json:
    return _operation(
        ADMIN,
        "activateType",
        "Let a bucket type be used; refused as long as a node does not know it.",
        {
            **WHEN_WRITING,
            "200": answer("It is active.", json_of("TypeActivated"), ("Vary",)),
            "404": shared("UnknownType"),
        },
        "bucket_type",
    )


def _wait_for_hints() -> Json:
    return _operation(
        ADMIN,
        "waitForHints",
        "Wait until all hints that are held now are delivered, superseded or expired.",
        {
            **WHEN_WRITING,
            "200": answer("None is held any more.", json_of("HintsWaited"), ("Vary",)),
            "503": answer(
                "Some are held still, or the node is not to be asked now.",
                {**json_of("HintsWaited"), **bodies(text_plain="Text")},
                ("Retry-After", "X-Dynamo-Acks", "X-Dynamo-Definite", "Vary"),
            ),
        },
        "timeout_s",
    )
