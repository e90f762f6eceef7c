"""Properties of buckets and bucket types. Pure.

They come from the rules that check them, so a new one is described as soon as it is known.
"""

from collections.abc import Mapping
from typing import Final

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
from dynamo.http.openapi.parts import FLAG, TEXT, Json, named, of, record, table


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


SCHEMAS: Final[Mapping[str, Json]] = {
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
