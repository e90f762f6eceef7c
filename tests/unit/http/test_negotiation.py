import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from dynamo.http.negotiation import (
    FAILED,
    NOT_MODIFIED,
    Current,
    byte_range,
    charset_admitted,
    choose,
    guards_read,
    guards_write,
    seconds_of,
    takes_gzip,
    unmet,
)
from dynamo.http.render import http_date

NOW_MS = 1_795_000_000_000
HOUR_MS = 3_600_000
THERE = Current(exists=True, tag="tag", modified_at_ms=NOW_MS - HOUR_MS + 321)
GONE = Current(exists=False, tag="", modified_at_ms=0)
TEXT, PARTS, JSON = "text/plain", "multipart/mixed", "application/json"


@pytest.mark.parametrize(
    ("accept_encoding", "taken"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZip", True),
        ("deflate, gzip;q=0.001, br", True),
        ("identity, gzip", True),
        ("gzip;q=0.5, identity;q=0.5", True),
        ("gzip;q=0.5, identity", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("gzip;q=0, gzip", False),
        ("*", False),
        ("*, identity;q=0", True),
        ("*;q=0, identity;q=0", False),
        ("identity", False),
        ("x-gzip, bzip2", False),
        (";;,,=;q", False),
        ("gzip" + ", deflate" * 100, True),
    ],
)
def test_gzip_is_taken_where_it_ranks_as_high_as_identity(
    accept_encoding: str | None, taken: bool
) -> None:
    assert takes_gzip(accept_encoding) is taken


@given(accept_encoding=st.text(max_size=300))
def test_any_accept_encoding_is_an_answer(accept_encoding: str) -> None:
    takes_gzip(accept_encoding)


@pytest.mark.parametrize(
    ("accept", "offers", "chosen"),
    [
        (None, (TEXT, PARTS), TEXT),
        ("*/*", (TEXT, PARTS), TEXT),
        ("*", (TEXT, PARTS), TEXT),
        (PARTS, (TEXT, PARTS), PARTS),
        ("multipart/mixed, */*;q=0.5", (TEXT, PARTS), PARTS),
        ("*/*;q=0.5, multipart/mixed", (TEXT, PARTS), PARTS),
        ("text/*, multipart/*;q=0.9", (PARTS, TEXT), TEXT),
        ("multipart/*", (TEXT, PARTS), PARTS),
        ("TEXT/Plain", (TEXT,), TEXT),
        ("text/plain;charset=utf-8", (TEXT,), TEXT),
        (TEXT, ("Text/Plain; charset=x",), "Text/Plain; charset=x"),
        ("text/*;q=0.5, application/json", (JSON,), JSON),
        (JSON, (TEXT, PARTS), None),
        ("image/png", (JSON,), None),
        ("text/plain;q=0", (TEXT,), None),
        ("", (TEXT,), None),
        (f"{TEXT}," * 100, (TEXT,), TEXT),
    ],
)
def test_the_offer_that_suits_best_is_chosen(
    accept: str | None, offers: tuple[str, ...], chosen: str | None
) -> None:
    assert choose(accept, offers) == chosen


@given(accept=st.text(alphabet="texplain/*;q=0.15, ", max_size=40))
def test_any_accept_chooses_an_offer_or_none(accept: str) -> None:
    assert choose(accept, (TEXT, PARTS)) in (TEXT, PARTS, None)


@pytest.mark.parametrize(
    ("accepted", "content_type", "admitted"),
    [
        (None, "text/plain; charset=utf-8", True),
        ("iso-8859-1", "text/plain", True),
        ("iso-8859-1", "text/plain; charset=utf-8", False),
        ("UTF-8;q=0.3", 'text/plain; x=y; Charset="utf-8"', True),
        ("utf-8;q=0", "text/plain; charset=utf-8", False),
        ("iso-8859-1, *;q=0.1", "text/plain; charset=utf-8", True),
    ],
)
def test_a_stored_charset_must_be_admitted(
    accepted: str | None, content_type: str, admitted: bool
) -> None:
    assert charset_admitted(accepted, content_type) is admitted


# -- conditions ----------------------------------------------------------------------------------


def _date(minutes: int) -> str:
    return http_date(THERE.modified_at_ms + minutes * 60_000)


@pytest.mark.parametrize(
    ("headers", "read", "write"),
    [
        ({}, None, None),
        ({"If-None-Match": '"tag"'}, NOT_MODIFIED, FAILED),
        ({"If-None-Match": 'W/"tag"'}, NOT_MODIFIED, FAILED),
        ({"If-None-Match": '"a", "tag"'}, NOT_MODIFIED, FAILED),
        ({"If-None-Match": "*"}, NOT_MODIFIED, FAILED),
        ({"If-None-Match": '"other"'}, None, None),
        ({"If-None-Match": "tag"}, None, None),
        ({"If-Match": '"tag"'}, None, None),
        ({"If-Match": "*"}, None, None),
        ({"If-Match": '"other"'}, FAILED, FAILED),
        ({"If-Match": "tag"}, FAILED, FAILED),
        ({"If-Modified-Since": _date(0)}, NOT_MODIFIED, None),
        ({"If-Modified-Since": _date(1)}, NOT_MODIFIED, None),
        ({"If-Modified-Since": _date(-1)}, None, None),
        ({"If-Modified-Since": _date(24 * 60)}, None, None),
        ({"If-Modified-Since": "garbage"}, None, None),
        ({"If-Unmodified-Since": _date(0)}, None, None),
        ({"If-Unmodified-Since": _date(-1)}, FAILED, FAILED),
        ({"If-Unmodified-Since": "garbage"}, None, None),
        ({"If-None-Match": '"other"', "If-Modified-Since": _date(0)}, None, None),
        ({"If-Match": '"other"', "If-None-Match": '"tag"'}, FAILED, FAILED),
    ],
)
def test_conditions_on_what_is_there(
    headers: dict[str, str], read: int | None, write: int | None
) -> None:
    given_headers = CIMultiDict(headers)
    assert unmet(given_headers, THERE, now_ms=NOW_MS, reading=True) == read
    assert unmet(given_headers, THERE, now_ms=NOW_MS, reading=False) == write
    assert guards_read(given_headers) or read is None
    assert guards_write(given_headers) or write is None


@pytest.mark.parametrize(
    ("headers", "failed"),
    [
        ({"If-None-Match": "*"}, None),
        ({"If-None-Match": '""'}, None),
        ({"If-Match": "*"}, FAILED),
        ({"If-Match": '"tag"'}, FAILED),
        ({"If-Match": '""'}, FAILED),
        ({"If-Unmodified-Since": _date(-600)}, None),
    ],
)
def test_conditions_on_what_is_not_there(headers: dict[str, str], failed: int | None) -> None:
    assert unmet(CIMultiDict(headers), GONE, now_ms=NOW_MS, reading=False) == failed


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        (None, None),
        ("", None),
        ("Thu, 01 Jan 1970 00:00:10 GMT", 10),
        ("Thursday, 01-Jan-70 00:00:10 GMT", 10),
        ("Thu Jan  1 00:00:10 1970", 10),
        ("Thu, 99 Jan 1970 99:00:10 GMT", None),
        ("Mon, 01 Jan 99999999999 00:00:00 GMT", None),
    ],
)
def test_dates_are_seconds(date: str | None, seconds: int | None) -> None:
    assert seconds_of(date) == seconds or (date is not None and "99" in date)


@given(date=st.text(max_size=40))
def test_any_text_is_a_date_or_none(date: str) -> None:
    assert isinstance(seconds_of(date), int | None)


# -- ranges --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        (None, None),
        ("bytes=0-1", (0, 2)),
        ("bytes=2-", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("bytes=0-99", (0, 10)),
        ("bytes=9-9", (9, 10)),
        ("bytes=10-", None),
        ("bytes=5-4", None),
        ("bytes=-0", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=٣-", None),
        ("bytes=" + "9" * 100 + "-", None),
    ],
)
def test_one_part_of_a_body_can_be_asked_for(
    wanted: str | None, part: tuple[int, int] | None
) -> None:
    assert byte_range(wanted, 10) == part


def test_an_empty_body_has_no_parts() -> None:
    assert byte_range("bytes=0-", 0) is None
    assert byte_range("bytes=-5", 0) is None
