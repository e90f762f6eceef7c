"""Requests as Riak's HTTP API writes them: parameters, contexts, values in headers. Pure.

Error texts are Riak's to the letter where Riak has one: clients match on them.
"""

import base64
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from dynamo.core.codec import decode_context
from dynamo.core.properties import NOTHING_ASKED, Asked, Count
from dynamo.core.property_rules import COUNT_MAX, WORDS
from dynamo.core.siblings import Context
from dynamo.core.values import Link, Value
from dynamo.errors import BadRequest, CodecError
from dynamo.http.routes import Style, Target, decode

Headers = Mapping[str, str]
"""Names without regard to case; `items()` may have a name more than once."""

VCLOCK = "X-Riak-Vclock"
IF_NOT_MODIFIED = "X-Riak-If-Not-Modified"

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,1000}")
_MEDIA_TYPE = re.compile(r"[^/;]+/[^/;]+(?:;|\Z)")
_TERMS = re.compile(r",\s")
_LINK = re.compile(
    r"\s*<(?:/buckets/([^/>]+)/keys/([^/>]+)|/riak/([^/>]+)/([^/>]+))>\s*;\s*riaktag=\"([^\"]+)\"\s*"
)
_LINK_UP = re.compile(r"\s*<(?:/buckets|/riak)/([^/>]+)>\s*;\s*rel=\"up\"\s*")

_OURS = "x-riak-"
_META = "x-riak-meta-"
_INDEX = "x-riak-index-"

QUORUM_PARAMETERS = ("r", "w", "dw", "rw", "pw", "pr", "node_confirms")
BOOLEAN_PARAMETERS = ("basic_quorum", "notfound_ok", "asis")
SYNC_WORDS = frozenset({"default", "backend", "one", "all"})
_SLOPPY = {"true": True, "false": False}
"""Not a parameter in Riak, which ignores it; so what is neither is ignored here."""

_BAD_SYNC = (
    "sync_on_write query parameter must be one of the following words: [default,\n"
    + " " * 67
    + "backend,\n"
    + " " * 67
    + "one,all]"
)
"""Riak's own line breaks: it is how its runtime prints a list."""

_CACHED_CHARS_MAX = 128  # bounds what the cache of queries can hold on to


# -- parameters ----------------------------------------------------------------------------------


class Parameters(NamedTuple):
    """What the query of a request for an object says.

    Attributes:
        timeout_ms: None if it does not say.
        vtag: which sibling is wanted.
        trace: a receipt is wanted.
    """

    asked: Asked = NOTHING_ASKED
    timeout_ms: int | None = None
    vtag: str | None = None
    return_body: bool = False
    trace: bool = False


NO_PARAMETERS = Parameters()


def parse_query(query: str) -> dict[str, str]:
    """Names and values; the first of a name counts, `;` separates as `&` does."""
    found: dict[str, str] = {}
    for entry in query.replace(";", "&").split("&"):
        name, _, value = entry.partition("=")
        found.setdefault(_text(name), _text(value))
    return found


def parameters(query: str) -> Parameters:
    """The parameters of a request for an object.

    Raises:
        BadRequest: some are wrong; the text has a line for each.
    """
    if not query:
        return NO_PARAMETERS
    if len(query) > _CACHED_CHARS_MAX:
        return _parameters(query)
    return _parameters_cached(query)


def _parameters(query: str) -> Parameters:
    given = parse_query(query)
    timeout_ms = timeout_of(given)
    wrong: list[str] = []
    counts = {name: _count(name, given, wrong) for name in QUORUM_PARAMETERS}
    if given.get("sync_on_write", "default").lower() not in SYNC_WORDS:
        wrong.append(_BAD_SYNC)
    flags = {name: _flag(name, given, wrong) for name in BOOLEAN_PARAMETERS}
    if wrong:
        raise BadRequest("\n".join(wrong))
    asked = Asked(
        n_val=_n_val(given),
        **counts,
        basic_quorum=flags["basic_quorum"],
        notfound_ok=flags["notfound_ok"],
        sloppy_quorum=_SLOPPY.get(given.get("sloppy_quorum", "").lower()),
    )
    return Parameters(
        asked=NOTHING_ASKED if asked == NOTHING_ASKED else asked,
        timeout_ms=timeout_ms,
        vtag=given.get("vtag"),
        return_body=given.get("returnbody") == "true",
        trace=given.get("trace") == "true",
    )


_parameters_cached = lru_cache(maxsize=256)(_parameters)


def timeout_of(given: Mapping[str, str]) -> int | None:
    """The `timeout` parameter in milliseconds; what nobody will live to see is cut off.

    Raises:
        BadRequest: it is no whole number of at least 0.
    """
    value = given.get("timeout")
    if value is None:
        return None
    if _WHOLE_NUMBER.fullmatch(value) and int(value) >= 0:
        return min(int(value), COUNT_MAX)
    raise BadRequest(f'Bad timeout value "{value}"')


def _count(name: str, given: Mapping[str, str], wrong: list[str]) -> Count | None:
    value = given.get(name, "default")
    if value in ("default", "backend"):  # Riak takes the latter too, a word of `sync_on_write`
        return None
    if value in WORDS:
        return value
    if _WHOLE_NUMBER.fullmatch(value):
        return min(int(value), COUNT_MAX)
    wrong.append(
        f"{name} query parameter must be an integer or"
        " one of the following words: 'one', 'quorum' or 'all'"
    )
    return None


def _flag(name: str, given: Mapping[str, str], wrong: list[str]) -> bool | None:
    value = given.get(name, "default").lower()
    if value not in ("true", "false", "default"):
        wrong.append(f"{name} query parameter must be true or false")
    return None if value == "default" else value == "true"


def _n_val(given: Mapping[str, str]) -> int | None:
    """Not a parameter in Riak, which ignores it; so what cannot be an `n_val` is ignored here."""
    value = given.get("n_val", "")
    if _WHOLE_NUMBER.fullmatch(value) and 1 <= int(value) <= COUNT_MAX:
        return int(value)
    return None


def _text(part: str) -> str:
    return decode(part).decode("utf-8", "surrogateescape")


# -- contexts ------------------------------------------------------------------------------------


def context_of(headers: Headers, name: str = VCLOCK) -> Context | None:
    """The causal context a client sends back; None if it sends none.

    Raises:
        BadRequest: it is no context.
    """
    text = headers.get(name)
    if text is None:
        return None
    try:
        return decode_context(base64.b64decode(text, validate=True))
    except (ValueError, CodecError) as error:
        raise BadRequest(f"{name} is not a context that was read here: {error}") from error


# -- values --------------------------------------------------------------------------------------


def is_media_type(content_type: str) -> bool:
    """Whether it has the form `type/subtype`, whatever follows."""
    return _MEDIA_TYPE.match(content_type) is not None


DESCRIBED_BYTES_MAX = 2**20
"""More than a head can say about a value, but for indexes: their field is stored with each term."""

_ENTRY_BYTES = 4  # what the encoding of a value adds to each text, about


def value_bytes(value: Value) -> int:
    """How much of a value is stored: its body and what goes along with it, to a few bytes."""
    texts = [value.content_type, value.content_encoding]
    texts += [text for entry in (*value.meta, *value.indexes) for text in entry]
    size = sum([len(text.encode("utf-8", "surrogateescape")) for text in texts])
    size += sum([len(name) for link in value.links for name in link])
    entries = len(texts) + 3 * len(value.links)
    return len(value.body) + size + _ENTRY_BYTES * entries


class Described(NamedTuple):
    """What the headers of a store say about the value in its body."""

    content_type: str
    content_encoding: str
    meta: tuple[tuple[str, str], ...]
    links: tuple[Link, ...]
    indexes: tuple[tuple[str, str], ...]

    def value(self, body: bytes, modified_at_ms: int) -> Value:
        """The value, now that its body is there."""
        return Value(
            body=body,
            content_type=self.content_type,
            content_encoding=self.content_encoding,
            meta=self.meta,
            links=self.links,
            indexes=self.indexes,
            modified_at_ms=modified_at_ms,
        )


def describe(headers: Headers, content_type: str, target: Target) -> Described:
    """What the headers of a store say.

    Args:
        headers: of the request.
        content_type: of them; stored byte for byte.
        target: where the value goes.

    Raises:
        BadRequest: a header is wrong.
    """
    meta: dict[str, str] = {}
    indexed: dict[str, str] = {}
    links: list[str] = []
    content_encoding = ""
    for name, value in headers.items():
        name = name.lower()
        if name.startswith(_OURS):
            if name.startswith(_META):
                _add(meta, name[len(_META) :], value)
            elif name.startswith(_INDEX):
                _add(indexed, name[len(_INDEX) :], value)
        elif name == "link":
            links.append(value)
        elif name == "content-encoding":
            content_encoding = value
    return Described(
        _kept(content_type) if ";" in content_type else content_type,
        content_encoding,
        tuple(meta.items()),
        links_of(links, target) if links else (),
        indexes_of(indexed) if indexed else (),
    )


def _kept(content_type: str) -> str:
    """A media type and its charset; other parameters are not Riak's to keep."""
    media_type, *parameters = content_type.split(";")
    for parameter in parameters:
        name, _, charset = parameter.partition("=")
        if name.strip().lower() == "charset" and charset.strip():
            return f"{media_type.strip()}; charset={charset.strip()}"
    return media_type.strip()


def _add(lines: dict[str, str], name: str, value: str) -> None:
    lines[name] = f"{lines[name]}, {value}" if name in lines else value


def indexes_of(lines: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Field and term for each entry; sorted, no term of a field twice.

    Raises:
        BadRequest: a field has no type, or a term is not of it; a line for each.
    """
    entries: list[tuple[str, str]] = []
    wrong: list[str] = []
    for field, line in lines.items():
        terms = _TERMS.split(line)
        if field.endswith("_bin"):
            entries += [(field, term) for term in sorted(set(terms))]
        elif field.endswith("_int"):
            bad = [term for term in terms if not _WHOLE_NUMBER.fullmatch(term)]
            wrong += [f"Could not parse field '{field}', value '{term}'." for term in bad]
            if not bad:
                entries += [(field, str(number)) for number in sorted(set(map(int, terms)))]
        else:
            wrong.append(f"Unknown field type for field: '{field}'.")
    if wrong:
        raise BadRequest("\n".join(wrong))
    return tuple(entries)


def links_of(lines: Iterable[str], target: Target) -> tuple[Link, ...]:
    """The links of `Link` headers; the bucket's own is allowed, and left out.

    Raises:
        BadRequest: something else is in them.
    """
    links: list[Link] = []
    for entry in ",".join(lines).split(","):
        if match := _LINK.fullmatch(entry):
            bucket, key, old_bucket, old_key, tag = match.groups()
            links.append((decode(bucket or old_bucket), decode(key or old_key), decode(tag)))
        elif match := _LINK_UP.fullmatch(entry):
            if decode(match[1]) != target.bucket:
                raise _bad_link(target)
        elif entry.strip():
            raise _bad_link(target)
    return tuple(links)


def _bad_link(target: Target) -> BadRequest:
    form = "/riak/BUCKET/KEY" if target.style is Style.OLD else "/buckets/BUCKET/keys/KEY"
    return BadRequest(f'Invalid Link header. Links must be of the form\n<{form}>; riaktag="TAG"')
