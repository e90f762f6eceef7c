"""What an operator is told about the cluster, and about one key. Pure."""

from collections.abc import Mapping
from typing import Final

from dynamo.core.membership import MemberState
from dynamo.http.openapi.parts import (
    BASE64,
    FLAG,
    NODE,
    NUMBER,
    TEXT,
    WHOLE,
    Json,
    array,
    of,
    or_null,
    record,
    table,
)

_OPINION: Final = of("What the asked node thinks of it.", {"enum": ["up", "suspect", "down"]})
_HTTP: Final = of("Where it serves HTTP.", TEXT)
_PLACED: Final = array(
    record(
        "A node in a preference list.",
        {"node": NODE, "http": or_null(_HTTP), "opinion": _OPINION},
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

SCHEMAS: Final[Mapping[str, Json]] = {
    "Members": record(
        "Who belongs to the cluster.",
        {
            "node": of("The asked node.", TEXT),
            "cluster": of("The cluster's name.", TEXT),
            "members": array(
                record(
                    "One member.",
                    {
                        "node": NODE,
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
            "owners": of("The first primary of each partition.", array(NODE)),
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
    "Place": record(
        "Where a key lives.",
        {"partition": WHOLE, "n_val": WHOLE, "primaries": _PLACED, "stand_ins": _PLACED},
    ),
    "Held": record(
        "What the asked node itself holds for a key.",
        {
            **_HELD,
            "hints": array(record("A copy kept for another node.", {"for": NODE, **_HELD})),
        },
    ),
    "Hints": record(
        "What the asked node keeps for others.",
        {
            "node": NODE,
            "hints": array(
                record(
                    "What is kept for one node.",
                    {
                        "for": NODE,
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
            "node": NODE,
            "waited_for": of("Hints that were held when it began.", WHOLE),
            "held": of("Those of them that are still held.", WHOLE),
            "for": table(WHOLE, "Node to hints of these that are held for it."),
        },
    ),
    "Divergence": record(
        "Whether the replicas of each partition are equal.",
        {
            "node": NODE,
            "equal": of("Every replica was compared, and all are equal.", FLAG),
            "keys_left_out": of("More keys than these may differ.", FLAG),
            "partitions": array(
                record(
                    "The replicas of one partition, for keys with so many of them.",
                    {
                        "partition": WHOLE,
                        "n_val": WHOLE,
                        "primaries": array(NODE),
                        "silent": of("Those of them that were not compared.", array(NODE)),
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
            "node": NODE,
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
