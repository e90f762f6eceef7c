"""The cluster, and one key in it, as an operator sees them. Pure."""

from collections.abc import Iterator
from typing import Final

from dynamo.http.openapi.answers import (
    TEXT_BODY,
    WHEN_WRITING,
    answer,
    done,
    in_json,
    json_of,
    shared,
)
from dynamo.http.openapi.operations.operation import (
    ADMIN,
    PLAIN,
    TYPED,
    Operations,
    names,
    operation,
    report,
)
from dynamo.http.openapi.parts import Json


def paths() -> Iterator[tuple[str, Operations]]:
    """The paths, with what can be done there."""
    yield "/admin/members", report("readMembers", "Read who belongs to the cluster.", "Members")
    yield "/admin/members/{node}", {"delete": _remove_member()}
    yield "/admin/ring", report("readRing", "Read who owns which partition.", "RingTable")
    yield "/admin/hints", report("readHints", "Read what is kept for others.", "Hints")
    yield "/admin/hints/wait", {"post": _wait_for_hints()}
    yield (
        "/admin/divergence",
        report(
            "readDivergence",
            "Compare the replicas of all partitions.",
            "Divergence",
            "keys_max",
            "timeout",
        ),
    )
    yield (
        "/admin/tombstones",
        report("readTombstones", "Read what deleted keys wait for.", "Tombstones"),
    )
    for style, form, key in _KEYS:
        yield f"/admin/locate/{key}", _locate(style, form)
        yield f"/admin/local/{key}", _held(style, form)


def _remove_member() -> Json:
    return operation(
        ADMIN,
        "removeMember",
        "Remove a node from the cluster for good; others take its part over.",
        {**WHEN_WRITING, "204": done("It is removed.")},
        "node",
        "force",
    )


def _wait_for_hints() -> Json:
    return operation(
        ADMIN,
        "waitForHints",
        "Wait until all hints that are held now are delivered, superseded or expired.",
        {
            **WHEN_WRITING,
            "200": in_json("None is held any more.", "HintsWaited"),
            "503": answer(
                "Some are held still, or the node is not to be asked now.",
                {**json_of("HintsWaited"), **TEXT_BODY},
                ("Retry-After", "X-Dynamo-Acks", "X-Dynamo-Definite", "Vary"),
            ),
        },
        "timeout_s",
    )


_KEYS: Final = (
    (PLAIN, "", "{bucket}/{key}"),
    (TYPED, "", "{bucket_type}/{bucket}/{key}"),
    (PLAIN, "WholePath", "buckets/{bucket}/keys/{key}"),
    (TYPED, "WholePath", "types/{bucket_type}/buckets/{bucket}/keys/{key}"),
)
"""Ways to say which key: style, what operations are told apart by, and how it is written."""


def _locate(style: str, form: str) -> Operations:
    return report(
        f"locate{style}{form}",
        "Read where a key lives: partition, primaries, stand-ins.",
        "Place",
        *names(style, "bucket", "key"),
        unknown=shared("UnknownType"),
    )


def _held(style: str, form: str) -> Operations:
    return report(
        f"readLocal{style}{form}",
        "Read what the asked node itself holds for a key.",
        "Held",
        *names(style, "bucket", "key"),
    )
