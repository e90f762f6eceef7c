"""What the commands about a key print, and the status they exit with."""

import json
import sys

import pytest
from rich.console import Console

from dynamo.ask import delete, get, locate, put
from dynamo.client.errors import BadAnswer
from dynamo.errors import BadRequest, QuorumError
from dynamo.printing import Exit
from tests.unit.commands.asked import FakeNode, printed

CONTEXT = "Y29udGV4dA=="
VALUE = "GET /buckets/b/keys/k"
SHOWN = {"X-Riak-Vclock": CONTEXT, "Content-Type": "text/plain"}
SIBLINGS = {
    "X-Riak-Vclock": CONTEXT,
    "Content-Type": "multipart/mixed; boundary=x",
}
TWO = (
    b"\r\n--x\r\nContent-Type: text/plain\r\n\r\nred"
    b"\r\n--x\r\nContent-Type: text/plain\r\nX-Riak-Meta-who: me\r\n\r\ngreen\r\n--x--\r\n"
)


async def test_a_value_is_printed_byte_for_byte(
    node: FakeNode, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    node.says(VALUE, body=b"\xff\x00red", headers=SHOWN)
    assert await get(node.target(), r=None, as_json=False) is Exit.DONE
    assert capfdbinary.readouterr().out == b"\xff\x00red"


async def test_a_terminal_gets_a_line_end_after_the_value(
    node: FakeNode, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    node.says(VALUE, body=b"red", headers=SHOWN)
    await get(node.target(), r=None, as_json=False)
    assert capsys.readouterr().out == "red\n"


async def test_a_read_asks_for_as_many_replicas_as_it_was_told(node: FakeNode) -> None:
    node.says(VALUE, body=b"red", headers=SHOWN)
    await get(node.target(), r="all", as_json=True)
    assert "r=all" in node.asked[0][2].split("&")


async def test_a_missing_key_has_a_status_of_its_own(
    node: FakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await get(node.target(), r=None, as_json=False) is Exit.NOT_FOUND
    assert capsys.readouterr() == ("", "not found\n")


async def test_siblings_are_all_shown_with_the_write_that_settles_them(
    node: FakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    node.says("GET /buckets/b/keys/a key", status=300, body=TWO, headers=SIBLINGS)
    assert await get(node.target("a key"), r=None, as_json=False) is Exit.SIBLINGS
    assert capsys.readouterr().out.splitlines() == [
        "--- sibling 1 of 2: text/plain, 3 bytes",
        "red",
        "--- sibling 2 of 2: text/plain, 5 bytes",
        "green",
        "--- 2 concurrent writes; a write with this context replaces them:",
        f"dynamo put --context {CONTEXT} --type default b 'a key' VALUE",
    ]


async def test_json_shows_siblings_whole(
    node: FakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    node.says(VALUE, status=300, body=TWO.replace(b"red", b"\xff"), headers=SIBLINGS)
    assert await get(node.target(), r=None, as_json=True) is Exit.SIBLINGS
    assert json.loads(capsys.readouterr().out) == {
        "context": CONTEXT,
        "siblings": [
            {"content_type": "text/plain", "deleted": False, "meta": {}, "body_base64": "/w=="},
            {
                "content_type": "text/plain",
                "deleted": False,
                "meta": {"who": "me"},
                "body": "green",
            },
        ],
    }


async def test_a_write_carries_its_context_and_type(node: FakeNode) -> None:
    node.says("PUT /buckets/b/keys/k", status=204)
    outcome = await put(node.target(), b"red", content_type="text/x", context=CONTEXT, w=2)
    assert outcome is Exit.DONE
    (method, path, query, body) = node.asked[0]
    assert (method, path, body) == ("PUT", "/buckets/b/keys/k", b"red")
    assert {"w=2", "dw=2"} <= set(query.split("&"))
    assert node.headers[0]["x-riak-vclock"] == CONTEXT
    assert node.headers[0]["content-type"] == "text/x"


async def test_a_context_that_is_none_is_refused_before_anything_is_sent(node: FakeNode) -> None:
    with pytest.raises(BadRequest, match="not a context"):
        await put(node.target(), b"red", content_type="text/x", context="!", w=None)
    with pytest.raises(BadRequest, match="not a context"):
        await delete(node.target(), context="!", r=None, w=None)
    assert node.asked == []


async def test_a_delete_says_whether_there_was_something(
    node: FakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await delete(node.target(), context=None, r=None, w=None) is Exit.NOT_FOUND
    assert capsys.readouterr().err == "not found\n"
    node.says("DELETE /buckets/b/keys/k", status=204)
    assert await delete(node.target(), context=None, r=None, w=None) is Exit.DONE


async def test_a_delete_asks_for_as_many_replicas_as_it_was_told(node: FakeNode) -> None:
    await delete(node.target(), context=None, r="one", w=1)
    assert {"r=one", "w=1", "dw=1"} <= set(node.asked[0][2].split("&"))


async def test_a_deleted_sibling_is_shown_as_deleted(
    node: FakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    deleted = TWO.replace(b"X-Riak-Meta-who: me", b"X-Riak-Deleted: true").replace(b"green", b"")
    node.says(VALUE, status=300, body=deleted, headers=SIBLINGS)
    assert await get(node.target(), r=None, as_json=False) is Exit.SIBLINGS
    assert "--- sibling 2 of 2: deleted" in capsys.readouterr().out.splitlines()


RECEIPT = (
    '{"write":{"coordinator":"n1","forwarded_by":"n5","version":"00ff","met_ms":1.5,"replicas":['
    '{"node":"n1","answer":"stored","ms":1.25},'
    '{"node":"n2","answer":"no answer","reason":"n2 did not answer in time","ms":2000},'
    '{"node":"n4","stands_in_for":"n2","answer":"stored","ms":2001}],'
    '"hints":[{"node":"n1","stands_in_for":"n3","answer":"stored","ms":2}]}}'
)


async def test_a_receipt_is_printed_replica_by_replica(node: FakeNode, console: Console) -> None:
    node.says("PUT /buckets/b/keys/k", status=204, headers={"X-Dynamo-Replicas": RECEIPT})
    await put(node.target(), b"x", content_type="a/b", context=None, w=None, trace=console)
    assert "trace=true" in node.asked[0][2].split("&")
    head, _, *rows = [" ".join(row) for row in printed(console)]
    assert head == "write coordinated by n1 for n5, its quorum met after 1.5 ms"
    assert rows == [
        "n1 primary stored 00ff 1.25",
        "n2 primary no answer: n2 did not answer in time 2000",
        "n4 stand-in for n2 stored 00ff 2001",
        "n1 hint for n3 stored 00ff 2",
    ]


async def test_a_request_that_fails_prints_its_receipt_first(
    node: FakeNode, console: Console
) -> None:
    receipt = '{"read":{"coordinator":"n1","replicas":[{"node":"n1","answer":"missing","ms":1}]}}'
    headers = {"X-Dynamo-Replicas": receipt}
    node.says(VALUE, status=503, body=b"R-value unsatisfied: 1/2\n", headers=headers)
    with pytest.raises(QuorumError):
        await get(node.target(), r=None, as_json=False, trace=console)
    assert " ".join(printed(console)[0]) == "read coordinated by n1, its quorum was not met"


async def test_a_receipt_that_makes_no_sense_is_passed_over(
    node: FakeNode, console: Console
) -> None:
    node.says("DELETE /buckets/b/keys/k", status=204, headers={"X-Dynamo-Replicas": "["})
    outcome = await delete(node.target(), context=None, r=None, w=None, trace=console)
    assert outcome is Exit.DONE
    assert printed(console) == []


def holder(node: str, opinion: str = "up") -> dict[str, str]:
    return {"node": node, "http": f"{node}:8098", "opinion": opinion}


LOCATED = {
    "partition": 17,
    "primaries": [holder("n2"), holder("n3", "suspect")],
    "stand_ins": [holder("n1")],
}


async def test_locate_shows_primaries_before_stand_ins(node: FakeNode, console: Console) -> None:
    node.reports("/admin/locate/types/default/buckets/b/keys/k", LOCATED)
    assert await locate(node.target(), console, as_json=False) is Exit.DONE
    first, _, *rows = printed(console)
    assert first == ["partition", "17"]
    assert rows == [
        ["n2", "primary", "n2:8098", "up"],
        ["n3", "primary", "n3:8098", "suspect"],
        ["n1", "stand-in", "n1:8098", "up"],
    ]


async def test_locate_gives_json_as_the_node_sent_it(
    node: FakeNode, console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    node.reports("/admin/locate/types/default/buckets/b/keys/k", LOCATED)
    await locate(node.target(), console, as_json=True)
    assert json.loads(capsys.readouterr().out) == LOCATED


async def test_a_report_that_is_none_is_an_error(node: FakeNode, console: Console) -> None:
    node.reports("/admin/locate/types/default/buckets/b/keys/k", {"partition": "x"})
    with pytest.raises(BadAnswer, match="a report that is none"):
        await locate(node.target(), console, as_json=False)
