"""Siblings of an object, what became of a request for it, and who is asked. Pure."""

from collections.abc import Mapping
from typing import Final

from dynamo.core.receipts import Outcome
from dynamo.http.openapi.parts import FLAG, NODE, NUMBER, TEXT, WHOLE, Json, array, of, record

_MS: Final = of("Milliseconds since it began.", NUMBER)


def _asked(description: str) -> Json:
    """Nodes that were asked for something, as a receipt tells it."""
    of_a_node = record(
        "One node that was asked.",
        {
            "node": NODE,
            "answer": of("What came of it.", {"enum": [outcome.value for outcome in Outcome]}),
        },
        stands_in_for=of("The primary in whose place it was asked.", TEXT),
        version=of("What it holds: equal tags are equal versions.", TEXT),
        reason=of("Why it failed.", TEXT),
        ms=_MS,
    )
    return of(description, array(of_a_node))


_ACCOUNT: Final = record(
    "What became of one read or write.",
    {"coordinator": NODE, "replicas": _asked("Who was asked, in that order.")},
    version=of("What was answered or stored: equal tags are equal versions.", TEXT),
    met_ms=of("When the quorum was met; without `trace` the answer would have gone out.", NUMBER),
    took_ms=_MS,
    repairs=_asked("Primaries that lacked something, and were sent it."),
    hints=_asked("Hints that the coordinator keeps itself."),
    forwarded_by=of("The node that had the request, if another coordinated it.", TEXT),
    hop_ms=of("What the way between these two took.", NUMBER),
)

SCHEMAS: Final[Mapping[str, Json]] = {
    "SiblingTags": of(
        "The tag of each sibling, for `?vtag=`, one a line after `Siblings:`.",
        {"type": "string", "pattern": "^Siblings:\n([0-9A-Za-z]+\n)*$"},
    ),
    "Siblings": of("One part for each sibling, with headers of its own.", TEXT),
    "Receipt": record(
        "What a request really achieved; a delete without a context has both halves.",
        {},
        read=_ACCOUNT,
        write=_ACCOUNT,
    ),
    "PreferenceList": record(
        "Who is asked for a key now.",
        {
            "preflist": array(
                record(
                    "One replica.",
                    {
                        "partition": WHOLE,
                        "node": NODE,
                        "primary": of("Not a stand-in.", FLAG),
                    },
                )
            )
        },
    ),
}
