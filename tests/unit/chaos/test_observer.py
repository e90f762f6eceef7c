"""What the observer makes of the nodes' answers, and of nodes that give none."""

import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from chaos.errors import ClusterError
from chaos.observer import Observer, Place
from chaos.recording import HeldValue, Placement, ReplicaState
from dynamo.errors import DynamoError

PLACE: Place = ("siblings", "b", "k")
LOCATE = "/admin/locate/types/siblings/buckets/b/keys/k"
LOCAL = "/admin/local/types/siblings/buckets/b/keys/k"
HOMES = {PLACE: ("n1", "n2")}

Json = dict[str, object]


@dataclass
class Door:
    """A node's HTTP door.

    Attributes:
        answers: by path; anything else ends with 503.
    """

    answers: dict[str, Json] = field(default_factory=dict)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path in self.answers:
            return web.json_response(self.answers[request.path])
        return web.json_response({"error": "not now"}, status=503)

    def holds(
        self, *values: bytes, digest: str | None = "d1", hinted_for: tuple[str, ...] = ()
    ) -> None:
        self.answers[LOCAL] = {
            "digest": digest,
            "values": [
                {
                    "body_base64": base64.b64encode(value).decode(),
                    "deleted": value == b"",
                    "modified_at_ms": 1_700_000_000_000 + number,
                }
                for number, value in enumerate(values)
            ],
            "hints": [{"for": node, "age_s": 3} for node in hinted_for],
        }


class Nodes:
    """Two of them, and who looks at them."""

    def __init__(self) -> None:
        self.doors = {"n1": Door(), "n2": Door()}
        for door in self.doors.values():
            door.answers["/stats"] = {"hints_held": 0, "node_gets_total": 3}
            door.answers["/admin/members"] = members(n1="up", n2="up")
        self.n1, self.n2 = self.doors.values()

    def compared(self, *, equal: bool = True, silent: tuple[str, ...] = ()) -> None:
        """What n1 says when it is asked whether all replicas are equal."""
        self.n1.answers["/admin/divergence"] = {
            "equal": equal,
            "partitions": [{"silent": []}, {"silent": list(silent)}],
        }


def members(**opinions: str) -> Json:
    return {"members": [{"node": node, "opinion": of} for node, of in opinions.items()]}


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


@pytest.fixture
async def observer(nodes: Nodes) -> AsyncIterator[Observer]:
    async with AsyncExitStack() as put_away:
        urls = {}
        for node, door in nodes.doors.items():
            application = web.Application()
            application.router.add_route("*", "/{path:.*}", door.answer)
            server = await put_away.enter_async_context(TestServer(application))
            urls[node] = str(server.make_url("")).rstrip("/")
        yield await put_away.enter_async_context(Observer(urls))


async def test_figures_are_numbers_and_whom_a_node_takes_for_up(
    nodes: Nodes, observer: Observer
) -> None:
    nodes.n1.answers["/stats"] = {"a": 1, "b": 0.5, "ready": True, "version": "0.1.0", "c": None}
    nodes.n1.answers["/admin/members"] = members(n1="up", n2="down")
    assert await observer.figures(["n1"]) == {"n1": {"a": 1, "b": 0.5, "up": 1}}


@pytest.mark.parametrize("path", ["/stats", "/admin/members"])
async def test_a_node_that_says_half_of_it_has_no_figures(
    nodes: Nodes, observer: Observer, path: str
) -> None:
    del nodes.n2.answers[path]
    assert (await observer.figures(["n1", "n2"])).keys() == {"n1"}


async def test_whom_a_node_takes_for_up_is_asked_of_that_node(
    nodes: Nodes, observer: Observer
) -> None:
    nodes.n2.answers["/admin/members"] = members(n1="suspect", n2="up", n3="up")
    assert await observer.up("n1") == {"n1", "n2"}
    assert await observer.up("n2") == {"n2", "n3"}
    del nodes.n2.answers["/admin/members"]
    with pytest.raises(DynamoError):
        await observer.up("n2")


async def test_where_objects_belong_is_as_the_ring_has_it(nodes: Nodes, observer: Observer) -> None:
    nodes.n1.answers[LOCATE] = {
        "primaries": [{"node": "n2"}, {"node": "n1"}],
        "stand_ins": [{"node": "n3"}],
    }
    [found] = await observer.locate([PLACE])
    assert found == Placement(bucket="b", key="k", primaries=("n2", "n1"), stand_ins=("n3",))


async def test_a_cluster_that_does_not_say_where_objects_belong_ends_the_run(
    observer: Observer,
) -> None:
    with pytest.raises(ClusterError, match="does not say where keys belong"):
        await observer.locate([PLACE])


async def test_a_dump_is_what_each_node_holds(nodes: Nodes, observer: Observer) -> None:
    nodes.n1.holds(b"x", b"", digest="d7")
    nodes.n2.holds(digest=None, hinted_for=("n1",))
    states = await observer.dump(["n1", "n2"], [PLACE], {PLACE: ("n1",)})
    held = (
        HeldValue(text="x", modified_at_ms=1_700_000_000_000),
        HeldValue(text="", deleted=True, modified_at_ms=1_700_000_000_001),
    )
    assert states == (
        ReplicaState(node="n1", bucket="b", key="k", primary=True, digest="d7", values=held),
        ReplicaState(
            node="n2", bucket="b", key="k", primary=False, digest=None, hinted_for=("n1",)
        ),
    )


async def test_bytes_that_are_no_text_of_the_lab_are_shown_as_such(
    nodes: Nodes, observer: Observer
) -> None:
    nodes.n1.holds(b"\xff\xfe")
    [state] = await observer.dump(["n1"], [PLACE], HOMES)
    assert state.values[0].text == "not a text of this lab: //4="


async def test_without_one_node_there_is_no_dump(nodes: Nodes, observer: Observer) -> None:
    nodes.n1.holds(b"x")
    with pytest.raises(ClusterError, match="a node does not say what it holds"):
        await observer.dump(["n1", "n2"], [PLACE], HOMES)


@pytest.mark.parametrize(("digest", "unlike"), [("d1", 0), ("d2", 1), (None, 1)])
async def test_objects_diverge_if_their_homes_hold_them_unlike(
    nodes: Nodes, observer: Observer, digest: str | None, unlike: int
) -> None:
    nodes.n1.holds(b"x", digest="d1")
    nodes.n2.holds(b"x", digest=digest)
    assert await observer.divergent([PLACE], HOMES) == unlike


async def test_a_home_that_does_not_answer_is_not_unlike(nodes: Nodes, observer: Observer) -> None:
    nodes.n1.holds(b"x")
    assert await observer.divergent([PLACE], HOMES) == 0


async def test_all_is_equal_if_no_hint_is_left_and_all_trees_agree(
    nodes: Nodes, observer: Observer
) -> None:
    nodes.compared()
    assert await observer.all_equal(["n1", "n2"])


async def test_a_hint_that_is_left_has_yet_to_arrive(nodes: Nodes, observer: Observer) -> None:
    nodes.compared()
    nodes.n2.answers["/stats"]["hints_held"] = 1
    assert not await observer.all_equal(["n1", "n2"])


async def test_of_a_node_that_does_not_answer_nobody_knows(
    nodes: Nodes, observer: Observer
) -> None:
    nodes.compared()
    del nodes.n2.answers["/stats"]
    assert not await observer.all_equal(["n1", "n2"])


async def test_trees_that_differ_are_not_equal(nodes: Nodes, observer: Observer) -> None:
    nodes.compared(equal=False)
    assert not await observer.all_equal(["n1", "n2"])


async def test_trees_of_a_silent_replica_are_not_equal(nodes: Nodes, observer: Observer) -> None:
    nodes.compared(silent=("n2",))
    assert not await observer.all_equal(["n1", "n2"])


async def test_if_nobody_compares_it_is_not_known(nodes: Nodes, observer: Observer) -> None:
    assert not await observer.all_equal(["n1", "n2"])
