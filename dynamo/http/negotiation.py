"""What a client will take: media types, charsets, gzip, ranges, and If-... conditions. Pure.

Both sides of the conditions are known only after a read; that and the write that follows it are two
steps, so a condition guards against what was there before the request, not against a race.
"""

import re
from collections.abc import Mapping
from email.utils import mktime_tz, parsedate_tz
from functools import lru_cache
from typing import NamedTuple

Headers = Mapping[str, str]

NOT_MODIFIED = 304
FAILED = 412

_CACHED_CHARS_MAX = 256  # bounds what the caches below can hold on to
_TAG = re.compile(r'"([^"]*)"')
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_QUALITY = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)

ANYTHING = "*/*"


# -- media types ---------------------------------------------------------------------------------


def choose(accept: str | None, offers: tuple[str, ...]) -> str | None:
    """The offer that suits `accept` best, the first of equals; None if none is admitted.

    Args:
        accept: the header, None if there is none.
        offers: media types; parameters are not looked at.
    """
    if accept is None or accept == ANYTHING:
        return offers[0]
    if len(accept) > _CACHED_CHARS_MAX or sum(map(len, offers)) > _CACHED_CHARS_MAX:
        return _choose(accept, offers)
    return _choose_cached(accept, offers)


def _choose(accept: str, offers: tuple[str, ...]) -> str | None:
    for wanted in _by_quality(accept):
        for offer in offers:
            if _matches(wanted, offer.partition(";")[0].strip().lower()):
                return offer
    return None


_choose_cached = lru_cache(maxsize=256)(_choose)


def _matches(wanted: str, offer: str) -> bool:
    if wanted in (ANYTHING, "*"):
        return True
    if wanted.endswith("/*"):
        return offer.startswith(wanted[:-1])
    return wanted == offer


def _by_quality(listed: str) -> list[str]:
    """The names in a list of preferences, lower case, best first, without those at zero."""
    admitted = [entry for entry in _ranked(listed) if entry[1] > 0]
    return [name for name, _ in sorted(admitted, key=lambda entry: -entry[1])]


def _ranked(listed: str) -> list[tuple[str, float]]:
    """The names in a list of preferences, lower case, and how much each is wanted, 0 to 1."""
    ranked = []
    for entry in listed.split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        quality = 1.0
        for parameter in parameters:
            if match := _QUALITY.fullmatch(parameter):
                quality = float(match[1])
        if name:
            ranked.append((name.lower(), quality))
    return ranked


def charset_admitted(accept_charset: str | None, content_type: str) -> bool:
    """Whether a stored type's charset, if it names one, is among those the client takes."""
    if accept_charset is None:
        return True
    for parameter in content_type.split(";")[1:]:
        name, _, charset = parameter.strip().partition("=")
        if name.lower() == "charset":
            return not {charset.strip('"').lower(), "*"}.isdisjoint(_by_quality(accept_charset))
    return True


# -- content codings -----------------------------------------------------------------------------


def takes_gzip(accept_encoding: str | None) -> bool:
    """Whether an answer is best sent with gzip.

    Args:
        accept_encoding: the header, None if there is none. Riak's way to read it: of gzip and
            identity the one that it ranks higher, and identity where it only says `*`.
    """
    if accept_encoding is None:
        return False
    if len(accept_encoding) > _CACHED_CHARS_MAX:
        return _takes_gzip(accept_encoding)
    return _takes_gzip_cached(accept_encoding)


def _takes_gzip(accept_encoding: str) -> bool:
    ranked = dict(reversed(_ranked(accept_encoding)))  # the first of a name counts
    if "gzip" in ranked:
        return ranked["gzip"] > 0 and ranked["gzip"] >= ranked.get("identity", 0.0)
    return ranked.get("*", 0.0) > 0 and ranked.get("identity") == 0


_takes_gzip_cached = lru_cache(maxsize=256)(_takes_gzip)


# -- conditions ----------------------------------------------------------------------------------


class Current(NamedTuple):
    """What a condition is held against.

    Attributes:
        exists: there is a value that is no tombstone.
        tag: of the value, or of all siblings together; without quotes.
        modified_at_ms: when the newest of it was written; HTTP looks at whole seconds.
    """

    exists: bool
    tag: str
    modified_at_ms: int


def guards_read(headers: Headers) -> bool:
    """Whether a read has a condition at all: most have none, and are spared the rest."""
    return (
        "If-None-Match" in headers
        or "If-Match" in headers
        or "If-Modified-Since" in headers
        or "If-Unmodified-Since" in headers
    )


def guards_write(headers: Headers) -> bool:
    """Whether a write must read first, since it depends on what is there."""
    return "If-None-Match" in headers or "If-Match" in headers or "If-Unmodified-Since" in headers


def unmet(headers: Headers, current: Current, *, now_ms: int, reading: bool) -> int | None:
    """The status of the first condition that does not hold; None if all do.

    Args:
        headers: of the request.
        current: what is there.
        now_ms: wall clock.
        reading: a read that finds what the client has already is answered "not modified".
    """
    if_match = headers.get("If-Match")
    if if_match is not None and not (current.exists and _names(if_match, current.tag)):
        return FAILED
    if not current.exists:
        return None
    modified_s = current.modified_at_ms // 1000
    before_s = seconds_of(headers.get("If-Unmodified-Since"))
    if before_s is not None and modified_s > before_s:
        return FAILED
    if_none_match = headers.get("If-None-Match")
    if if_none_match is not None:
        if _names(if_none_match, current.tag):
            return NOT_MODIFIED if reading else FAILED
        return None  # tags are exact, times are whole seconds: the tag has the last word
    since_s = seconds_of(headers.get("If-Modified-Since")) if reading else None
    if since_s is not None and modified_s <= since_s <= now_ms // 1000:
        return NOT_MODIFIED
    return None


def _names(tags: str, tag: str) -> bool:
    return tags.strip() == "*" or tag in _TAG.findall(tags)


def seconds_of(date: str | None) -> int | None:
    """An HTTP date as seconds since 1970; None if there is none, or it is none."""
    if date is None:
        return None
    try:
        parsed = parsedate_tz(date)
        return None if parsed is None else int(mktime_tz(parsed))
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


# -- ranges --------------------------------------------------------------------------------------


def byte_range(wanted: str | None, size: int) -> tuple[int, int] | None:
    """Start and end (exclusive) of the part of a body that is wanted; None for all of it.

    Several parts, parts that cannot be read, and parts that begin beyond the end mean all of it: a
    server is free to ignore them.
    """
    match = None if wanted is None else _RANGE.fullmatch(wanted.strip())
    if match is None:
        return None
    first, last = match.groups()
    if first:
        start, end = int(first), min(int(last) + 1, size) if last else size
    else:
        start, end = max(size - int(last or 0), 0), size
    return (start, end) if start < end else None
