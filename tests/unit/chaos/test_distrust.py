"""The leak test: who is heard although all links are cut, and who cannot be asked."""

import asyncio
from collections.abc import Callable, Iterable
from itertools import repeat

import pytest

from chaos import distrust, waiting
from chaos.distrust import acquainted, leak_test
from chaos.errors import ClusterError
from chaos.links import Link
from chaos.recording import Probe
from tests.unit.chaos.stand_ins import NAMES, Cluster, Eyes

HEARD = "requests_from_peers_total"

Change = Callable[[Eyes], None]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distrust, "_SILENT_S", 0.0)
    monkeypatch.setattr(waiting, "_LOOK_S", 0.0)


class Watched(Eyes):
    """After each look something changes, for as long as there is a change left."""

    def __init__(self, eyes: Eyes, changes: Iterable[Change]) -> None:
        super().__init__(eyes.seen, eyes.opinions)
        self._changes = iter(changes)

    async def figures(self, nodes: Iterable[str]) -> dict[str, dict[str, float]]:
        seen = await super().figures(nodes)
        next(self._changes, nothing)(self)
        return seen


def nothing(eyes: Eyes) -> None:
    """Leave all as it is."""


async def looked_at(changes: Iterable[Change], cluster: Cluster | None = None) -> Probe:
    cluster = cluster or Cluster()
    cluster.observer = Watched(cluster.observer, changes)
    probe = await leak_test(cluster.lab, 0.0)
    assert probe.name == "leak test"
    return probe


async def test_silence_passes() -> None:
    cluster = Cluster()
    probe = await looked_at([], cluster)
    assert probe.passed
    assert probe.said == (
        "with all links cut, no node heard another for 3 heartbeats, and no client reached a node"
    )
    pairs = " ".join(f"{a}->{b}" for a in NAMES for b in NAMES if a != b)
    assert cluster.done == [f"leak test: refuse {pairs}", "leak test healed"]


async def test_who_hears_another_is_named() -> None:
    def leak(eyes: Eyes) -> None:
        eyes.seen["n2"][HEARD] += 4

    probe = await looked_at(repeat(leak))
    assert not probe.passed
    assert "n2 heard 4 requests: some link leads past the mesh" in probe.said
    assert "n1" not in probe.said


async def test_what_was_under_way_when_the_links_were_cut_is_no_leak() -> None:
    def arrive(eyes: Eyes) -> None:
        eyes.seen["n2"][HEARD] += 1

    assert (await looked_at([arrive])).passed
    assert (await looked_at([arrive, nothing, arrive])).passed
    assert not (await looked_at([arrive, nothing] * 3)).passed


@pytest.mark.parametrize("looks", [0, 1])
async def test_of_a_node_that_does_not_answer_nothing_is_known(looks: int) -> None:
    def fall_silent(eyes: Eyes) -> None:
        eyes.seen.pop("n3", None)

    cluster = Cluster()
    if not looks:
        fall_silent(cluster.observer)
    probe = await looked_at(repeat(fall_silent), cluster)
    assert not probe.passed
    assert probe.said == "a node did not answer while all links were cut"


async def test_a_node_that_answers_late_is_looked_at_again() -> None:
    cluster = Cluster()
    figures = cluster.observer.seen.pop("n3")

    def speak(eyes: Eyes) -> None:
        eyes.seen["n3"] = figures

    assert (await looked_at([speak], cluster)).passed


async def test_a_client_that_reaches_a_node_is_named() -> None:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    cluster = Cluster()
    async with await asyncio.start_server(take, "127.0.0.1", 0) as open_server:
        host, port = open_server.sockets[0].getsockname()
        cluster.mesh.urls = {
            Link("c1", "n1"): "http://127.0.0.1:1",
            Link("c1", "n2"): f"http://{host}:{port}",
        }
        probe = await looked_at([], cluster)
    assert not probe.passed
    assert probe.said == "with all links cut, c1>n2 led on: some link leads past the mesh"
    assert "c1->n1 c1->n2" in cluster.done[0]


async def test_the_links_are_open_again_however_it_ends() -> None:
    def break_down(eyes: Eyes) -> None:
        eyes.broken = RuntimeError("no more looks")

    cluster = Cluster()
    with pytest.raises(RuntimeError, match="no more looks"):
        await looked_at([break_down], cluster)
    assert cluster.mesh.lasting == set()


async def test_a_node_that_says_late_whom_it_reaches_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster()
    opinion = cluster.observer.opinions.pop("n2")
    up = cluster.observer.up

    async def said_late(node: str) -> frozenset[str]:
        try:
            return await up(node)
        finally:
            if node == "n2":
                cluster.observer.opinions["n2"] = opinion

    monkeypatch.setattr(cluster.observer, "up", said_late)
    await acquainted(cluster.lab)
    assert cluster.observer.looks == 5


async def test_nodes_that_do_not_find_each_other_again_end_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(distrust, "_ACQUAINTED_S_MAX", 0.01)
    cluster = Cluster()
    cluster.divided("n1 n2", "n3")
    with pytest.raises(ClusterError, match=r"after 0\.01 s the nodes of a healthy cluster do not"):
        await leak_test(cluster.lab, 0.0)
    assert cluster.mesh.lasting == set()
