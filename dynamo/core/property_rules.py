"""Which bucket properties there are, what they start as, and which values they may take.

Names, defaults, coercions and reasons of refusal are Riak's, so that its clients can read the
properties of a bucket, change one and write the whole set back. What the store does not use itself
(hooks, vector clock pruning, a backend's name) is kept and shown all the same.
"""

from collections.abc import Callable, Iterable, Mapping

from dynamo.core.quorum import N_MAX

COUNT_MAX = 2**31
"""A whole number beyond this is a mistake, and some clients read them into 32 bits."""

WORDS = frozenset({"one", "quorum", "all"})
DATATYPES = frozenset({"counter", "set", "map", "hll", "gset"})

DEFAULTS: Mapping[str, object] = {
    "allow_mult": False,
    "basic_quorum": False,
    "big_vclock": 50,
    "chash_keyfun": {"mod": "riak_core_util", "fun": "chash_std_keyfun"},
    "dvv_enabled": False,
    "dw": "quorum",
    "last_write_wins": False,
    "linkfun": {"mod": "riak_kv_wm_link_walker", "fun": "mapreduce_linkfun"},
    "n_val": 3,
    "node_confirms": 0,
    "notfound_ok": True,
    "old_vclock": 86400,
    "postcommit": [],
    "pr": 0,
    "precommit": [],
    "pw": 0,
    "r": "quorum",
    "rw": "quorum",
    "sloppy_quorum": True,
    "small_vclock": 50,
    "sync_on_write": "backend",
    "w": "quorum",
    "write_once": False,
    "young_vclock": 20,
}
"""Buckets without a type."""

TYPE_DEFAULTS: Mapping[str, object] = {
    **DEFAULTS,
    "allow_mult": True,
    "dvv_enabled": True,
    "active": True,
}
"""Buckets of a type."""

DEPTH_MAX = 32
"""Of lists and objects in the value of a property; Riak's have three."""

HLL_PRECISION = 14
"""Of a type of datatype `hll` that says nothing else."""

NOT_CONSISTENT = "there is no strong consistency here"

_SET_AT_CREATION = ("write_once", "consistent")

_KEPT = frozenset({"backend", "claimant", "datatype"})


def coerced(properties: Mapping[str, object]) -> tuple[dict[str, object], dict[str, str]]:
    """Each property by itself: the values in the form they are kept in, and what is wrong.

    Returns:
        The properties whose values are good, and for the others name and reason.
    """
    good: dict[str, object] = {}
    reasons: dict[str, str] = {}
    for name, value in properties.items():
        check = _CHECKS.get(name)
        try:
            good[name] = _kept(value) if check is None else check(value)
        except ValueError as refusal:
            reasons[name] = str(refusal)
    return good, reasons


def contradictions(properties: Mapping[str, object], *, typed: bool) -> dict[str, str]:
    """What is wrong with a whole set of properties, each of which is good by itself.

    Args:
        properties: all of a bucket.
        typed: it has a type; only there does `datatype` mean anything.
    """
    reasons: dict[str, str] = {}
    if properties["last_write_wins"] and properties["dvv_enabled"]:
        reasons["dvv_enabled"] = "If last_write_wins is true, dvv_enabled must be false"
    if properties.get("consistent"):
        reasons["consistent"] = NOT_CONSISTENT
    datatype = properties.get("datatype")
    if typed and datatype is not None:
        if not isinstance(datatype, str) or datatype not in DATATYPES:
            reasons["datatype"] = f"{datatype!r:.80} not supported for bucket datatype property"
        elif properties["write_once"]:
            reasons["datatype"] = "Write once buckets must not have datatype defined"
        if not properties["allow_mult"]:
            reasons["allow_mult"] = "Data Type buckets must be allow_mult=true"
    return reasons


def of_type(given: Mapping[str, object]) -> dict[str, object]:
    """All properties of a bucket type that was given these, which are good."""
    made = {**TYPE_DEFAULTS, **given}
    if made.get("datatype") == "hll":
        made.setdefault("hll_precision", HLL_PRECISION)
    return made


def refused_at_creation(given: Mapping[str, object]) -> dict[str, str]:
    """Why no bucket type can be created with these properties: reasons by property."""
    good, reasons = coerced(given)
    reasons |= contradictions(of_type(good), typed=True)
    if "active" in given:
        reasons["active"] = "Cannot modify active property"
    if "claimant" in given:
        reasons["claimant"] = "Invalid claimant"
    return reasons


def forbidden_changes(
    current: Mapping[str, object], changes: Mapping[str, object]
) -> dict[str, str]:
    """Changes that a bucket type, or a bucket of one, refuses once the type is there."""
    reasons = forbidden_always(current, changes)
    if "claimant" in changes:
        reasons["claimant"] = "Cannot update claimant property"
    if changes.get("active", True) is not True:
        reasons["active"] = "Cannot modify active property"
    if "datatype" in changes and changes["datatype"] != current.get("datatype"):
        reasons["datatype"] = (
            "Cannot update datatype on existing bucket"
            if "datatype" in current
            else "Cannot add datatype to existing bucket"
        )
    precision, precision_now = changes.get("hll_precision"), current.get("hll_precision")
    if isinstance(precision, int) and isinstance(precision_now, int) and precision > precision_now:
        reasons["hll_precision"] = f"Cannot increase hll_precision above {precision_now}"
    return reasons


def forbidden_always(
    current: Mapping[str, object], changes: Mapping[str, object]
) -> dict[str, str]:
    """Changes that every bucket refuses, of a type or of none."""
    return {
        name: f"cannot update {name} property"
        for name in _SET_AT_CREATION
        if name in changes and bool(changes[name]) != bool(current.get(name))
    }


def known_names() -> frozenset[str]:
    """All properties that mean something here or to a client of Riak; others are only kept."""
    return frozenset(TYPE_DEFAULTS) | frozenset(_CHECKS) | _KEPT


def wanted(name: str) -> str:
    """Which values a property may have, in words; it is one that can be refused."""
    return _WANTED[name]


# -- single values -------------------------------------------------------------------------------


def _kept(value: object, deep: int = 0) -> object:
    """A value that only clients understand; it has to fit into the frames of any interpreter."""
    if deep > DEPTH_MAX:
        raise ValueError(f"nested more than {DEPTH_MAX} deep")
    inside: Iterable[object] = ()
    if isinstance(value, Mapping):
        inside = value.values()
    elif isinstance(value, list):
        inside = value
    for item in inside:
        _kept(item, deep + 1)
    return value


def _boolean(value: object) -> bool:
    if isinstance(value, int):  # bool is one
        return value > 0
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError("not_boolean")


def _is_count(value: object, lowest: int, highest: int = COUNT_MAX) -> bool:
    return type(value) is int and lowest <= value <= highest  # a bool is an int, and no count


def _positive(value: object) -> object:
    if _is_count(value, 1):
        return value
    raise ValueError("not_integer")


def _n_val(value: object) -> object:
    if _is_count(value, N_MAX + 1):
        raise ValueError(f"not above {N_MAX}")
    return _positive(value)


def _quorum_from(lowest: int) -> Callable[[object], object]:
    def check(value: object) -> object:
        if _is_count(value, lowest) or (isinstance(value, str) and value in WORDS):
            return value
        raise ValueError("not_valid_quorum")

    return check


def _sync_on_write(value: object) -> object:
    if isinstance(value, str) and value in ("backend", "one", "all"):
        return value
    raise ValueError("not_valid_sync_param")


def _hll_precision(value: object) -> object:
    if _is_count(value, 4, 16):
        return value
    raise ValueError("hll_precision must be an integer between 4 and 16")


BOOLEANS = (
    "allow_mult",
    "basic_quorum",
    "consistent",
    "dvv_enabled",
    "last_write_wins",
    "notfound_ok",
    "sloppy_quorum",
    "stat_tracked",
    "write_once",
)
POSITIVES = ("big_vclock", "old_vclock", "small_vclock")
QUORUMS = ("r", "rw", "w")
QUORUMS_FROM_0 = ("dw", "pr", "pw", "node_confirms")

_CHECKS: Mapping[str, Callable[[object], object]] = {
    **dict.fromkeys(BOOLEANS, _boolean),
    **dict.fromkeys(POSITIVES, _positive),
    **dict.fromkeys(QUORUMS, _quorum_from(1)),
    **dict.fromkeys(QUORUMS_FROM_0, _quorum_from(0)),
    "n_val": _n_val,
    "sync_on_write": _sync_on_write,
    "hll_precision": _hll_precision,
}

_WANTED: Mapping[str, str] = {
    **dict.fromkeys(BOOLEANS, "true or false"),
    **dict.fromkeys(POSITIVES, "a whole number from 1"),
    **dict.fromkeys(QUORUMS, 'a whole number from 1, "one", "quorum" or "all"'),
    **dict.fromkeys(QUORUMS_FROM_0, 'a whole number from 0, "one", "quorum" or "all"'),
    "n_val": f"a whole number from 1 to {N_MAX}",
    "sync_on_write": '"backend", "one" or "all"',
    "hll_precision": "a whole number from 4 to 16",
    "consistent": f"false: {NOT_CONSISTENT}",
    "datatype": f"one of {', '.join(sorted(DATATYPES))}",
}
