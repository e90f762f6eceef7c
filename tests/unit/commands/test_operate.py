"""What the commands of an operator print, and the status they exit with."""

import functools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import unused_port
from rich.console import Console

from dynamo.client.errors import Unreachable
from dynamo.operate import divergence, hints, remove, status, tombstones, wait_for_hints
from dynamo.printing import Exit
from tests.unit.commands.asked import FakeNode, fake_node, printed

DIVERGENCE = {
    "node": "n1",
    "equal": False,
    "keys_left_out": True,
    "partitions": [
        {"partition": 0, "n_val": 3, "primaries": ["n1", "n2"], "silent": [], "equal": True},
        {"partition": 1, "n_val": 3, "primaries": ["n1", "n2"], "silent": ["n2"], "equal": False},
    ],
    "keys": [
        {
            "bucket_type": "default",
            "bucket": "b",
            "key": "[k]\udcff",
            "partition": 1,
            "digests": {"n1": "00ff", "n2": None},
        }
    ],
}


async def test_divergence_shows_what_is_not_equal_and_has_a_status_for_it(
    node: FakeNode, console: Console
) -> None:
    node.reports("/admin/divergence", DIVERGENCE)
    outcome = await divergence([node.url], console, keys_max=7, timeout_s=5, as_json=False)
    assert outcome is Exit.UNSETTLED
    assert "keys_max=7" in node.asked[0][2].split("&")
    lines = printed(console)
    assert lines[0][:3] == ["2", "partitions:", "1"]
    assert ["1", "3", "n1", "n2", "different", "n2"] in lines
    assert ["1", "default", "b", "[k]\\udcff", "n1:", "00ff", "n2:", "nothing"] in lines
    assert lines[-1] == ["and", "more", "keys"]


async def test_divergence_of_equal_replicas_is_one_line_and_status_0(
    node: FakeNode, console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    equal = DIVERGENCE | {"equal": True, "partitions": [], "keys": [], "keys_left_out": False}
    node.reports("/admin/divergence", equal)
    ask = functools.partial(divergence, [node.url], console, keys_max=7, timeout_s=5)
    assert await ask(as_json=False) is Exit.DONE
    assert len(printed(console)) == 1
    assert await ask(as_json=True) is Exit.DONE
    assert json.loads(capsys.readouterr().out) == equal


def member(
    node: str, http: str, *, state: str = "member", opinion: str = "up"
) -> dict[str, object]:
    return {
        "node": node,
        "state": state,
        "incarnation": 1,
        "rpc": "h:9098",
        "http": http,
        "zone": "",
        "weight": 1,
        "tokens": 64,
        "opinion": opinion,
        "phi": 0.0,
    }


async def test_status_counts_what_the_others_say(node: FakeNode, console: Console) -> None:
    async with fake_node() as second:
        port_of_nobody = unused_port()
        third = f"127.0.0.1:{port_of_nobody}"
        for fake, opinion in ((node, "up"), (second, "down")):
            members = [
                member("n1", node.address),
                member("n2", second.address),
                member("n3", third, opinion=opinion),
                member("n4", third, state="removed"),
            ]
            me = "n1" if fake is node else "n2"
            fake.reports("/admin/members", {"node": me, "cluster": "c", "members": members})
        assert await status([node.url], console, as_json=False) is Exit.DONE
    first, _, *rows = printed(console)
    assert " ".join(first) == "cluster c, 3 nodes, 2 answer"
    assert [row[:6] for row in rows] == [
        ["n1", "member", "up:", "1", "of", "1"],
        ["n2", "member", "up:", "1", "of", "1"],
        ["n3", "member", "up:", "1", "of", "2"],
    ]


async def test_status_in_json_has_the_same(
    node: FakeNode, console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = {"node": "n1", "cluster": "c", "members": [member("n1", node.address)]}
    node.reports("/admin/members", alone)
    await status([node.url], console, as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["cluster"] == "c"
    assert [(m["node"], m["up_say"], m["asked"]) for m in shown["members"]] == [("n1", 0, 0)]


async def test_status_of_nobody_is_an_error(console: Console) -> None:
    with pytest.raises(Unreachable):
        await status([f"http://127.0.0.1:{unused_port()}"], console, as_json=False)


TOMBSTONES = {
    "node": "n1",
    "held": 9,
    "owned": 6,
    "oldest_ms": 1,
    "settling_s_max": 68.2,
    "waits": [
        {
            "reason": "n2 cannot be reached",
            "count": 4,
            "keys": [
                {"bucket_type": "default", "bucket": "b", "key": "[red]\udcff"},
                {"bucket_type": "default", "bucket": "b", "key": "other"},
            ],
        },
        {"reason": "settling", "count": 2, "keys": []},
    ],
}


async def test_tombstones_are_told_by_node_and_by_what_they_wait_for(
    node: FakeNode, console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    members = [
        member("n1", node.address),
        member("n2", f"127.0.0.1:{unused_port()}"),
        member("n3", "h:1", state="removed"),
    ]
    node.reports("/admin/members", {"node": "n1", "cluster": "c", "members": members})
    node.reports("/admin/tombstones", TOMBSTONES)
    assert await tombstones([node.url], console, as_json=False) is Exit.DONE
    lines = [" ".join(words) for words in printed(console)]
    assert lines == [
        "node holds is to forget of these wait for for example",
        "n1 9 6 4 n2 cannot be reached default/b/[red]\\udcff",
        "2 settling, 68 s at most",
        "n2 no answer",
    ]
    await tombstones([node.url], console, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"n1": TOMBSTONES, "n2": None}


# -- hints ---------------------------------------------------------------------------------------


def kept(target: str, hints: int, **but: object) -> dict[str, object]:
    row = {"for": target, "hints": hints, "bytes": 100 * hints, "oldest_age_s": 61.5}
    return row | {"reachable": True, "removed": False} | but


@asynccontextmanager
async def two_nodes_and_one_that_is_silent(node: FakeNode) -> AsyncIterator[FakeNode]:
    async with fake_node() as second:
        silent = f"127.0.0.1:{unused_port()}"
        members = [
            member("n1", node.address),
            member("n2", second.address),
            member("n3", silent),
            member("n4", silent, state="removed"),
        ]
        node.reports("/admin/members", {"node": "n1", "cluster": "c", "members": members})
        yield second


async def test_hints_are_listed_by_who_holds_them_and_for_whom(
    node: FakeNode, console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    async with two_nodes_and_one_that_is_silent(node) as second:
        rows = [kept("n3", 2, reachable=False), kept("n4", 1, removed=True, oldest_age_s=None)]
        node.reports("/admin/hints", {"node": "n1", "hints": rows})
        second.reports("/admin/hints", {"node": "n2", "hints": []})
        assert await hints([node.url], console, as_json=False) is Exit.DONE
        await hints([node.url], console, as_json=True)
    _, *shown = printed(console)
    assert shown == [
        ["n1", "n3", "2", "200", "62", "s", "down"],
        ["n1", "n4", "1", "100", "?", "removed"],
    ]
    told = capsys.readouterr()
    assert told.err == "no answer from n3: what is held there is not known\n"
    assert json.loads(told.out) == {"n1": rows, "n2": [], "n3": None}


async def test_waiting_for_hints_ends_when_all_nodes_say_so(
    node: FakeNode, console: Console
) -> None:
    alone = {"node": "n1", "cluster": "c", "members": [member("n1", node.address)]}
    node.reports("/admin/members", alone)
    node.says("POST /admin/hints/wait", body=b"{}")
    assert await wait_for_hints([node.url], console, timeout_s=7.5) is Exit.DONE
    assert "timeout_s=7.500" in node.asked[-1][2].split("&")


async def test_waiting_for_hints_tells_for_whom_some_are_left(
    node: FakeNode, console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    async with two_nodes_and_one_that_is_silent(node) as second:
        node.says("POST /admin/hints/wait", status=503, body=b"{}")
        node.reports("/admin/hints", {"node": "n1", "hints": [kept("n3", 2)]})
        second.says("POST /admin/hints/wait", body=b"{}")
        assert await wait_for_hints([node.url], console, timeout_s=0.2) is Exit.UNSETTLED
    assert int(Exit.UNSETTLED) == 5
    assert capsys.readouterr().err.splitlines() == [
        "hints are left: n1 holds 2 for n3",
        "no answer from n3: what is held there is not known",
    ]


class StartingNode(FakeNode):
    """Says that it is joining when it is first asked for its hints."""

    async def answer(self, request: web.Request) -> web.Response:
        answer = await super().answer(request)
        if request.path == "/admin/hints/wait":
            self.says("POST /admin/hints/wait", body=b"{}")
        return answer


async def test_a_node_that_starts_meanwhile_is_waited_for(console: Console) -> None:
    async with fake_node(StartingNode()) as node:
        alone = {"node": "n1", "cluster": "c", "members": [member("n1", node.address)]}
        node.reports("/admin/members", alone)
        node.says("POST /admin/hints/wait", status=503, body=b"joining\n")
        assert await wait_for_hints([node.url], console, timeout_s=30.0) is Exit.DONE
    assert [asked[1] for asked in node.asked].count("/admin/hints/wait") == 2


async def test_a_removal_is_asked_for_and_told(
    node: FakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    node.says("DELETE /admin/members/n3", status=204)
    await remove([node.url], "n3", even_if_up=True, timeout_s=5)
    (asked,) = node.asked
    assert asked[:2] == ("DELETE", "/admin/members/n3")
    assert asked[2].startswith("force=true")
    assert "n3 is removed" in capsys.readouterr().out
