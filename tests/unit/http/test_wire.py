import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from dynamo.core.codec import encode_context
from dynamo.core.ids import Actor
from dynamo.core.properties import NOTHING_ASKED, Asked
from dynamo.errors import BadRequest
from dynamo.http.routes import Style, Target
from dynamo.http.wire import (
    NO_PARAMETERS,
    Parameters,
    context_of,
    describe,
    indexes_of,
    is_media_type,
    links_of,
    parameters,
    parse_query,
)

HERE = Target(bucket=b"b", key=b"k")
A_COUNT = (
    " query parameter must be an integer or one of the following words: 'one', 'quorum' or 'all'"
)
A_FLAG = " query parameter must be true or false"


# -- parameters ----------------------------------------------------------------------------------


def test_no_query_asks_for_nothing() -> None:
    assert parameters("") is NO_PARAMETERS
    assert parameters("").asked is NOTHING_ASKED


@pytest.mark.parametrize("query", ["nosuch=1", "returnbody=yes", "r=default&pw=default", "&&;;="])
def test_a_query_without_counts_gets_the_quorum_that_is_kept_ready(query: str) -> None:
    assert parameters(query).asked is NOTHING_ASKED


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("r=1", Parameters(Asked(r=1))),
        ("r=%31", Parameters(Asked(r=1))),
        ("r=-1", Parameters(Asked(r=-1))),
        ("w=%2B2", Parameters(Asked(w=2))),
        ("r=one;w=all", Parameters(Asked(r="one", w="all"))),
        ("r=1&r=zzz", Parameters(Asked(r=1))),
        ("pr=quorum&pw=2&dw=0", Parameters(Asked(pr="quorum", pw=2, dw=0))),
        ("rw=3&node_confirms=2", Parameters(Asked(rw=3, node_confirms=2))),
        ("r=99999999999999999999", Parameters(Asked(r=2**31))),
        ("basic_quorum=TRUE", Parameters(Asked(basic_quorum=True))),
        ("notfound_ok=False", Parameters(Asked(notfound_ok=False))),
        ("sloppy_quorum=False", Parameters(Asked(sloppy_quorum=False))),
        ("sloppy_quorum=true", Parameters(Asked(sloppy_quorum=True))),
        ("sloppy_quorum=abc", NO_PARAMETERS),
        ("sloppy_quorum=", NO_PARAMETERS),
        ("r=backend&node_confirms=backend", NO_PARAMETERS),
        ("n_val=2", Parameters(Asked(n_val=2))),
        ("n_val=abc", NO_PARAMETERS),
        ("n_val=0", NO_PARAMETERS),
        ("asis=true&sync_on_write=ALL", NO_PARAMETERS),
        ("timeout=250", Parameters(timeout_ms=250)),
        ("timeout=0", Parameters(timeout_ms=0)),
        ("vtag=abc", Parameters(vtag="abc")),
        ("returnbody=true", Parameters(return_body=True)),
        ("returnbody=True", NO_PARAMETERS),
        ("trace=true", Parameters(trace=True)),
        ("trace=1", NO_PARAMETERS),
        ("x=" + "y" * 500, NO_PARAMETERS),
    ],
)
def test_parameters_are_read(query: str, wanted: Parameters) -> None:
    assert parameters(query) == wanted


@pytest.mark.parametrize(
    ("query", "text"),
    [
        *[(f"{name}=abc", name + A_COUNT) for name in ("r", "w", "dw", "rw", "pw", "pr")],
        *[
            (f"r={value}", "r" + A_COUNT)
            for value in ("", "1.5", "QUORUM", "BACKEND", "1_0", "%20", "+2", "٣")
        ],
        ("node_confirms=most", "node_confirms" + A_COUNT),
        *[(f"{n}=0", n + A_FLAG) for n in ("basic_quorum", "notfound_ok", "asis")],
        ("basic_quorum=", "basic_quorum" + A_FLAG),
        ("w=x&r=x", f"r{A_COUNT}\nw{A_COUNT}"),
        ("asis=x&pr=x", f"pr{A_COUNT}\nasis{A_FLAG}"),
        ("timeout=abc", 'Bad timeout value "abc"'),
        ("timeout=-1", 'Bad timeout value "-1"'),
        ("timeout=1&timeout=x&r=x", "r" + A_COUNT),
        ("timeout=x&r=x", 'Bad timeout value "x"'),
        (
            "sync_on_write=abc",
            "sync_on_write query parameter must be one of the following words: [default,\n"
            "                                                                   backend,\n"
            "                                                                   one,all]",
        ),
    ],
)
def test_wrong_parameters_have_riaks_texts(query: str, text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parameters(query)
    assert str(caught.value) == text


@given(query=st.text(max_size=60))
def test_any_query_is_read_or_refused(query: str) -> None:
    query = query.encode("utf-8", "replace").decode()
    parse_query(query)
    with contextlib.suppress(BadRequest):
        parameters(query)


@given(number=st.integers(1, 1200))
def test_numbers_of_any_length_are_read_or_refused(number: int) -> None:
    try:
        parameters("r=" + "9" * number)
    except BadRequest:
        assert number > 1000


# -- contexts ------------------------------------------------------------------------------------


def test_a_context_comes_back_as_it_went() -> None:
    context = {Actor(b"actor__a"): 3}
    text = base64.b64encode(encode_context(context)).decode()
    assert context_of(CIMultiDict({"x-riak-vclock": text})) == context
    assert context_of(CIMultiDict()) is None


@pytest.mark.parametrize("text", ["", "not!base64", "AAAA", "é", "QUJD\udcff", "A"])
def test_what_is_no_context_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="X-Riak-Vclock is not a context"):
        context_of(CIMultiDict({"X-Riak-Vclock": text}))


# -- values --------------------------------------------------------------------------------------


def test_headers_describe_a_value() -> None:
    headers = CIMultiDict(
        [
            ("Content-Type", "ignored here"),
            ("Content-Encoding", "gzip"),
            ("X-Riak-Meta-Color", "Blue"),
            ("x-riak-meta-color", "red, green"),
            ("X-RIAK-META-Empty", ""),
            ("X-Riak-Meta-", "no name"),
            ("X-Riak-Index-Age_int", "5, 07"),
            ("x-riak-index-age_INT", "5"),
            ("x-riak-index-name_bin", "Zed, yy,z"),
            ("X-Riak-ClientId", "abc"),
            ("Link", '</buckets/b>; rel="up", </buckets/x%2Cy/keys/a+b>; riaktag="t%20u"'),
            ("link", '</riak/b/c>;riaktag="!@#%^&*)"'),
        ]
    )
    value = describe(headers, "text/plain;charset=x", HERE).value(b"body", 7)
    assert value.body == b"body"
    assert value.content_type == "text/plain; charset=x"
    assert value.content_encoding == "gzip"
    assert value.meta == (("color", "Blue, red, green"), ("empty", ""), ("", "no name"))
    assert value.indexes == (
        ("age_int", "5"),
        ("age_int", "7"),
        ("name_bin", "Zed"),
        ("name_bin", "yy,z"),
    )
    assert value.links == ((b"x,y", b"a b", b"t u"), (b"b", b"c", b"!@#%^&*)"))
    assert value.modified_at_ms == 7


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ({"f": "1"}, "Unknown field type for field: 'f'."),
        ({"f_txt": "1"}, "Unknown field type for field: 'f_txt'."),
        ({"f_int": ""}, "Could not parse field 'f_int', value ''."),
        ({"f_int": "5,7"}, "Could not parse field 'f_int', value '5,7'."),
        ({"f_int": "5, x"}, "Could not parse field 'f_int', value 'x'."),
        ({"f_int": "5, ٣"}, "Could not parse field 'f_int', value '٣'."),
        (
            {"f": "1", "g_int": "x"},
            "Unknown field type for field: 'f'.\nCould not parse field 'g_int', value 'x'.",
        ),
    ],
)
def test_wrong_index_entries_have_riaks_texts(lines: dict[str, str], text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        indexes_of(lines)
    assert str(caught.value) == text


def test_numbers_are_indexed_in_one_form_and_in_order() -> None:
    assert [term for _, term in indexes_of({"f_int": "10, 9, +9, 009, -3"})] == ["-3", "9", "10"]


@pytest.mark.parametrize(
    "line",
    [
        "garbage",
        '<http://example.com/>; rel="next"',
        '</buckets/b/keys/k>; rel="next"',
        '</buckets/b/keys/k>; riaktag=""',
        "</buckets/b/keys/k>",
        '</buckets/other>; rel="up"',
        '</buckets/b/keys/a,b>; riaktag="t"',
        '</types/t/buckets/b/keys/k>; riaktag="t"',
        '</buckets/b/keys/k>; riaktag="t" x',
    ],
)
def test_other_links_are_refused_in_the_style_of_the_path(line: str) -> None:
    with pytest.raises(BadRequest) as caught:
        links_of([line], HERE)
    assert str(caught.value) == (
        'Invalid Link header. Links must be of the form\n</buckets/BUCKET/keys/KEY>; riaktag="TAG"'
    )
    with pytest.raises(BadRequest, match="\n</riak/BUCKET/KEY>; riaktag="):
        links_of([line], HERE._replace(style=Style.OLD))


def test_no_links_are_links_too() -> None:
    assert links_of(["", " , "], HERE) == ()


def test_three_hundred_links_fit_into_a_line() -> None:
    line = ", ".join(f'</buckets/bucket/keys/key{i:03}>; riaktag="friend"' for i in range(300))
    assert 14_000 < len(line) < 64 * 1024
    assert len(links_of([line], HERE)) == 300


@given(line=st.text(alphabet='</>;"= abrkeysuctiglp%,', max_size=60))
def test_any_link_line_is_read_or_refused(line: str) -> None:
    with contextlib.suppress(BadRequest):
        links_of([line], HERE)


@pytest.mark.parametrize("text", ["a/b", "text/plain; charset=x", "a/b;c/d", "Text/X-y+z ;q"])
def test_media_types_have_two_names(text: str) -> None:
    assert is_media_type(text)


@pytest.mark.parametrize("text", ["", "text", "text/", "/plain", "a/b/c", ";a/b", "text; a/b"])
def test_other_texts_are_no_media_types(text: str) -> None:
    assert not is_media_type(text)
