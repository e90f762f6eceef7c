"""What travels as JSON or text, as JSON Schema, by name. Pure.

Bucket properties come from the rules that check them, so a new one is described as soon as it is
known.
"""

from collections.abc import Mapping
from typing import Final

from dynamo.core.membership import MemberState
from dynamo.core.property_rules import (
    BOOLEANS,
    COUNT_MAX,
    DEFAULTS,
    POSITIVES,
    QUORUMS,
    QUORUMS_FROM_0,
    WORDS,
    known_names,
    wanted,
)
from dynamo.core.quorum import N_MAX
from dynamo.core.receipts import Outcome

Json = Mapping[str, object]
"""A part of the description."""

TEXT: Final[Json] = {"type": "string"}
WHOLE: Final[Json] = {"type": "integer", "minimum": 0}
NUMBER: Final[Json] = {"type": "number", "minimum": 0}
FLAG: Final[Json] = {"type": "boolean"}
BASE64: Final[Json] = {"type": "string", "contentEncoding": "base64"}


def named(name: str) -> Json:
    """A reference to a schema of this file."""
    return {"$ref": f"#/components/schemas/{name}"}


def of(description: str, schema: Json) -> Json:
    """A schema with a sentence about it."""
    return {**schema, "description": description}


def array(items: Json) -> Json:
    """Any number of the same."""
    return {"type": "array", "items": items}


def or_null(schema: Json) -> Json:
    """The same, or nothing."""
    return {"anyOf": [schema, {"type": "null"}]}


def table(values: Json, keys: str) -> Json:
    """An object whose keys are no fixed names."""
    return {"type": "object", "additionalProperties": values, "description": keys}


def record(description: str, required: Mapping[str, Json], **optional: Json) -> Json:
    """An object with fixed names and no others."""
    return {
        "type": "object",
        "description": description,
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


# -- properties ----------------------------------------------------------------------------------


def _whole_number(lowest: int, highest: int) -> Json:
    return {"type": "integer", "minimum": lowest, "maximum": highest}


def _count_or_word(lowest: int) -> Json:
    """How many of N: a number, or a word."""
    return {
        "oneOf": [
            _whole_number(lowest, COUNT_MAX),
            {"type": "string", "enum": sorted(WORDS)},
        ]
    }


_SHOWN: Final[Mapping[str, Json]] = {
    **dict.fromkeys(BOOLEANS, FLAG),
    **dict.fromkeys(POSITIVES, _whole_number(1, COUNT_MAX)),
    **dict.fromkeys(QUORUMS, _count_or_word(1)),
    **dict.fromkeys(QUORUMS_FROM_0, _count_or_word(0)),
    "n_val": _whole_number(1, N_MAX),
    "sync_on_write": {"type": "string", "enum": ["backend", "one", "all"]},
    "hll_precision": _whole_number(4, 16),
}
_TAKEN: Final[Json] = {
    "anyOf": [
        FLAG,
        {"type": "integer"},
        {"type": "string", "pattern": "^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$"},
    ]
}

_USES: Final = {
    "active": "Whether the bucket type can be used; types only.",
    "allow_mult": "Whether concurrent values are kept and shown as siblings.",
    "backend": "Kept and shown, without effect here.",
    "basic_quorum": "Whether a read without `notfound_ok` gives up at a majority of not-founds.",
    "big_vclock": "Kept and shown; contexts are not pruned here.",
    "chash_keyfun": "Kept and shown; keys are placed by one hash here.",
    "claimant": "The node through which the bucket type was made; types only.",
    "consistent": "Strong consistency, which is not to be had here.",
    "datatype": "Set when the bucket type is created.",
    "dvv_enabled": "Kept and shown; contexts are dotted version vectors always.",
    "dw": "Replicas that must hold a write on disk.",
    "hll_precision": "Kept and shown.",
    "last_write_wins": "Whether clocks decide between concurrent values, which loses some.",
    "linkfun": "Kept and shown, without effect here.",
    "n_val": "Replicas of each key.",
    "node_confirms": "Distinct nodes that must answer a read or hold a write.",
    "notfound_ok": "Whether 'I hold nothing' is a good answer to a read.",
    "old_vclock": "Kept and shown; contexts are not pruned here.",
    "postcommit": "Kept and shown; hooks are not run here.",
    "pr": "Primaries that must answer a read.",
    "precommit": "Kept and shown; hooks are not run here.",
    "pw": "Primaries that must hold a write.",
    "r": "Replicas that must answer a read.",
    "rw": "For both halves of a delete, where neither `r` nor `w` is given.",
    "sloppy_quorum": "Whether stand-ins take the place of primaries that cannot be reached.",
    "small_vclock": "Kept and shown; contexts are not pruned here.",
    "stat_tracked": "Kept and shown, without effect here.",
    "sync_on_write": "Kept and shown; how writes reach the disk is a setting of the node.",
    "w": "Replicas that must hold a write.",
    "write_once": "Whether keys are written once only; set when the bucket type is created.",
    "young_vclock": "Kept and shown; contexts are not pruned here.",
}


def _properties() -> Json:
    shown: dict[str, object] = {
        "name": of("The bucket's name; not among the properties of a type.", TEXT)
    }
    for name in sorted(known_names()):
        default = {"default": DEFAULTS[name]} if name in DEFAULTS else {}
        shown[name] = {**_SHOWN.get(name, {}), "description": _use(name), **default}
    return {
        "type": "object",
        "description": "All properties of a bucket or type; names not listed are kept and shown.",
        "properties": shown,
    }


def _changes() -> Json:
    taken = {
        name: of(_use(name), _TAKEN if name in BOOLEANS else _SHOWN.get(name, {}))
        for name in sorted(known_names())
    }
    return {
        "type": "object",
        "description": "The properties to change; all others stay as they are.",
        "properties": taken,
    }


def _use(name: str) -> str:
    checked = name in _SHOWN
    return f"{_USES[name]} Takes {wanted(name)}." if checked else _USES[name]


# -- objects and lists ---------------------------------------------------------------------------

_MS: Final = of("Milliseconds since it began.", NUMBER)
_NODE: Final = of("A node's name.", TEXT)


def _asked(description: str) -> Json:
    """Nodes that were asked for something, as a receipt tells it."""
    of_a_node = record(
        "One node that was asked.",
        {
            "node": _NODE,
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
    {"coordinator": _NODE, "replicas": _asked("Who was asked, in that order.")},
    version=of("What was answered or stored: equal tags are equal versions.", TEXT),
    met_ms=of("When the quorum was met; without `trace` the answer would have gone out.", NUMBER),
    took_ms=_MS,
    repairs=_asked("Primaries that lacked something, and were sent it."),
    hints=_asked("Hints that the coordinator keeps itself."),
    forwarded_by=of("The node that had the request, if another coordinated it.", TEXT),
    hop_ms=of("What the way between these two took.", NUMBER),
)

_OBJECTS: Final[Mapping[str, Json]] = {
    "Text": of("A short text.", TEXT),
    "Page": of("A status as a short HTML page.", TEXT),
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
    "Names": of(
        "Names as text; bytes that are no UTF-8 are lone surrogates (U+DC80 to U+DCFF).",
        array(TEXT),
    ),
    "KeyList": {
        "type": "object",
        "description": "Keys of a bucket, in no order; an error instead if not all could be found.",
        "properties": {
            "keys": named("Names"),
            "props": named("Properties"),
            "error": named("ListError"),
        },
        "additionalProperties": False,
    },
    "BucketList": {
        "type": "object",
        "description": "Buckets of a type; an error instead if not all could be found.",
        "properties": {"buckets": named("Names"), "error": named("ListError")},
        "additionalProperties": False,
    },
    "ListError": of(
        "Why a list has an end here: `timeout`, `insufficient_vnodes_available`, or a sentence.",
        TEXT,
    ),
    "Properties": _properties(),
    "ShownProperties": record("What GET of properties shows.", {"props": named("Properties")}),
    "PropertyChanges": _changes(),
    "ChangedProperties": {
        "type": "object",
        "description": "What PUT of properties takes.",
        "properties": {"props": named("PropertyChanges")},
        "required": ["props"],
    },
    "Reasons": of(
        "Why properties are refused, by name; or one word about the type.",
        {"anyOf": [table(TEXT, "Property to reason."), TEXT]},
    ),
}


# -- the server ----------------------------------------------------------------------------------

_OPINION: Final = of("What the asked node thinks of it.", {"enum": ["up", "suspect", "down"]})
_HTTP: Final = of("Where it serves HTTP.", TEXT)
_PLACED: Final = array(
    record(
        "A node in a preference list.",
        {"node": _NODE, "http": or_null(_HTTP), "opinion": _OPINION},
    )
)
_DIGEST: Final = {"type": "string", "pattern": "^[0-9a-f]+$"}
_KEY: Final[Mapping[str, Json]] = {"bucket_type": TEXT, "bucket": TEXT, "key": TEXT}
_HELD: Final[Mapping[str, Json]] = {
    "held": of("Whether there is anything of the key.", FLAG),
    "digest": of("Equal digests are equal states.", or_null(_DIGEST)),
    "context": of("What this copy has seen.", or_null(BASE64)),
    "values": array(
        record(
            "A value of the key.",
            {
                "dot": of("The write that made it: actor and counter.", TEXT),
                "deleted": of("A tombstone.", FLAG),
                "content_type": TEXT,
                "body_base64": BASE64,
                "modified_at_ms": of("Wall clock of its coordinator.", {"type": "integer"}),
            },
        )
    ),
}

_SERVER: Final[Mapping[str, Json]] = {
    "Resources": table(TEXT, "Resource to path."),
    "Stats": table(
        {
            "anyOf": [
                {"type": ["number", "string", "boolean"]},
                array({"type": ["string", "object"]}),
            ]
        },
        "Figure to value: times in microseconds, `_total` since start, others of the last minute.",
    ),
    "Description": of("This description.", {"type": "object"}),
    "Members": record(
        "Who belongs to the cluster.",
        {
            "node": of("The asked node.", TEXT),
            "cluster": of("The cluster's name.", TEXT),
            "members": array(
                record(
                    "One member.",
                    {
                        "node": _NODE,
                        "state": of(
                            "Its station in the cluster.",
                            {"enum": [state.name.lower() for state in MemberState]},
                        ),
                        "incarnation": of("Rises with each change of its record.", WHOLE),
                        "rpc": of("Where its peers reach it.", TEXT),
                        "http": _HTTP,
                        "zone": of("Replicas of a key are spread over zones.", TEXT),
                        "weight": of("Its share of the ring, beside those of others.", NUMBER),
                        "tokens": of("Partitions that it owns.", WHOLE),
                        "opinion": _OPINION,
                        "phi": of("How sure the asked node is that it is gone.", NUMBER),
                    },
                )
            ),
        },
    ),
    "RingTable": record(
        "Who owns which partition.",
        {
            "partitions": WHOLE,
            "n_val": of("Replicas that `loads` is for.", WHOLE),
            "owners": of("The first primary of each partition.", array(_NODE)),
            "loads": table(
                record(
                    "What falls to one node.",
                    {
                        "partitions": of("Of which it is the first primary.", WHOLE),
                        "replicas": of("Of which it is a primary.", WHOLE),
                    },
                ),
                "Node to load.",
            ),
        },
    ),
    "TypeList": record(
        "All bucket types, the default one first.",
        {
            "types": array(
                record("A bucket type.", {"name": TEXT, "active": of("It can be used.", FLAG)})
            )
        },
    ),
    "TypeStatus": record(
        "How far a bucket type has come.",
        {
            "name": TEXT,
            "active": of("It can be used.", FLAG),
            "created": of("It was made while the cluster ran, not by the settings.", FLAG),
            "unaware": table(TEXT, "Nodes that have not confirmed that they know it, and why."),
            "props": named("Properties"),
        },
    ),
    "TypeActivated": record(
        "A bucket type that is active now.",
        {"name": TEXT, "was_active": of("It was active before.", FLAG)},
    ),
    "PreferenceList": record(
        "Who is asked for a key now.",
        {
            "preflist": array(
                record(
                    "One replica.",
                    {
                        "partition": WHOLE,
                        "node": _NODE,
                        "primary": of("Not a stand-in.", FLAG),
                    },
                )
            )
        },
    ),
    "Place": record(
        "Where a key lives.",
        {"partition": WHOLE, "n_val": WHOLE, "primaries": _PLACED, "stand_ins": _PLACED},
    ),
    "Held": record(
        "What the asked node itself holds for a key.",
        {
            **_HELD,
            "hints": array(record("A copy kept for another node.", {"for": _NODE, **_HELD})),
        },
    ),
    "Hints": record(
        "What the asked node keeps for others.",
        {
            "node": _NODE,
            "hints": array(
                record(
                    "What is kept for one node.",
                    {
                        "for": _NODE,
                        "hints": of("How many writes.", WHOLE),
                        "bytes": WHOLE,
                        "oldest_age_s": or_null(NUMBER),
                        "reachable": FLAG,
                        "removed": FLAG,
                    },
                )
            ),
        },
    ),
    "HintsWaited": record(
        "How a wait for hints ended.",
        {
            "node": _NODE,
            "waited_for": of("Hints that were held when it began.", WHOLE),
            "held": of("Those of them that are still held.", WHOLE),
            "for": table(WHOLE, "Node to hints of these that are held for it."),
        },
    ),
    "Divergence": record(
        "Whether the replicas of each partition are equal.",
        {
            "node": _NODE,
            "equal": of("Every replica was compared, and all are equal.", FLAG),
            "keys_left_out": of("More keys than these may differ.", FLAG),
            "partitions": array(
                record(
                    "The replicas of one partition, for keys with so many of them.",
                    {
                        "partition": WHOLE,
                        "n_val": WHOLE,
                        "primaries": array(_NODE),
                        "silent": of("Those of them that were not compared.", array(_NODE)),
                        "equal": of("Whether the others hold the same.", FLAG),
                    },
                )
            ),
            "keys": array(
                record(
                    "A key whose replicas differ.",
                    {
                        **_KEY,
                        "partition": WHOLE,
                        "digests": table(or_null(_DIGEST), "Primary to digest of its copy."),
                    },
                )
            ),
        },
    ),
    "Tombstones": record(
        "Deleted keys that the asked node holds.",
        {
            "node": _NODE,
            "held": WHOLE,
            "owned": of("How many of those are its to forget.", WHOLE),
            "oldest_ms": of("When the oldest was made.", or_null({"type": "integer"})),
            "settling_s_max": of("How long forgetting takes that nothing hinders.", NUMBER),
            "waits": array(
                record(
                    "Deleted keys that wait for the same.",
                    {
                        "reason": TEXT,
                        "count": WHOLE,
                        "keys": of("Some of them.", array(record("A key.", _KEY))),
                    },
                )
            ),
        },
    ),
}

SCHEMAS: Final[Mapping[str, Json]] = {**_OBJECTS, **_SERVER}
"""All of them."""
