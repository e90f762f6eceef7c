"""What the runner makes of the nodes' logs, and of nodes that are not as the script left them."""

import asyncio
import itertools
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

import pytest

from chaos import runner, waiting
from chaos.errors import ClusterError, RecordingError
from chaos.experiments.baseline import Baseline
from chaos.lab import Wiring
from chaos.recording import Placement, Probe, Take, load, read_run
from chaos.runner import Order, _beside, _died, _last_look, _performed, _problems
from chaos.stage import Stage
from chaos.toxiproxy.api import Api
from tests.unit.chaos.stand_ins import NAMES, Cluster, Eyes


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for node in ("n1", "n2"):
        (tmp_path / node / "data").mkdir(parents=True)
        (tmp_path / node / "log").write_text("")
    return tmp_path


def logged(home: Path, node: str, *lines: object, log: str = "log") -> None:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (home / node / log).write_text("".join(f"{text}\n" for text in texts))


def test_what_nodes_usually_say_is_no_problem(home: Path) -> None:
    usual = {"level": "info", "message": "serving"}
    warning = {"level": "warning", "message": "an error of a peer"}
    logged(home, "n1", usual, warning, "", "[]", "3", "no JSON at all: error", '{"level": null}')
    assert _problems(home) == []


@pytest.mark.parametrize("level", ["error", "ERROR", "critical"])
def test_an_error_in_a_log_is_a_problem(home: Path, level: str) -> None:
    line = {"level": level, "message": "the store is gone"}
    logged(home, "n2", {"level": "info"}, line)
    assert _problems(home) == [f"n2: {json.dumps(line)}"]


@pytest.mark.parametrize(
    "line",
    [
        "Traceback (most recent call last):",
        "Task exception was never retrieved",
        "RuntimeWarning: coroutine 'f' was never awaited",
        '{"level": "info", "message": "Future exception was never retrieved"}',
    ],
)
def test_what_nobody_caught_is_a_problem_however_it_is_said(home: Path, line: str) -> None:
    logged(home, "n1", line)
    assert _problems(home) == [f"n1: {line}"]


def test_logs_that_were_put_aside_are_read_too(home: Path) -> None:
    logged(home, "n1", "Traceback: newer")
    logged(home, "n1", "Traceback: older", log="log.1")
    assert _problems(home) == ["n1: Traceback: newer", "n1: Traceback: older"]


def test_a_few_lines_and_not_their_whole_length_are_enough(home: Path) -> None:
    logged(home, "n1", *(["Traceback " + "x" * 10_000] * 100))
    found = _problems(home)
    assert len(found) == 20
    assert {len(line) for line in found} == {len("n1: ") + 500}


def test_a_log_that_is_no_text_is_read_all_the_same(home: Path) -> None:
    (home / "n1" / "log").write_bytes(b"\xff\xfe\nTraceback \xff\n")
    assert _problems(home) == ["n1: Traceback \ufffd"]


def test_what_nodes_stored_is_not_kept(home: Path) -> None:
    (home / "n1" / "data" / "data.mdb").write_bytes(b"much")
    _problems(home)
    assert not (home / "n1" / "data").exists()
    assert (home / "n1" / "log").exists()


# Who ends by himself


class Script(Baseline):
    """Does as it is told in place of a script."""

    def __init__(self, do: Callable[[], None]) -> None:
        self._do = do

    async def perform(self, stage: Stage) -> None:
        self._do()


WORKS = Probe(name="refuse", passed=True, said="as expected")


def nothing() -> None:
    """Leave all as it is."""


async def test_who_is_still_there_at_the_end_has_not_died() -> None:
    stage = Cluster().stage()
    assert await _performed(Script(nothing), stage, ()) == ""
    assert await _died(stage) == []
    assert stage.marks == []


async def test_a_node_that_ends_by_itself_is_a_problem_of_the_store() -> None:
    cluster = Cluster()

    def die() -> None:
        cluster.nodes["n2"].state = "died"

    stage = cluster.stage()
    assert await _performed(Script(die), stage, ()) == ""
    died = await _died(stage)
    assert died == ["n2 ended by itself; its last words: its last words"]
    assert cluster.done == ["n2 started"]
    assert stage.serving == NAMES


async def test_what_a_node_holds_that_cannot_be_started_again_is_not_known() -> None:
    cluster = Cluster()

    def die() -> None:
        cluster.nodes["n2"].state = "died"
        cluster.nodes["n2"].comes_back = False

    stage = cluster.stage()
    assert await _performed(Script(die), stage, ()) == ""
    assert len(await _died(stage)) == 1
    stage.placements["siblings", "b", "k"] = Placement(
        bucket="b", key="k", primaries=NAMES, stand_ins=()
    )
    assert {state.node for state in await stage.dump()} == {"n1", "n3"}


async def test_what_a_script_cannot_do_without_a_node_is_no_failure_of_the_lab() -> None:
    cluster = Cluster()

    def die() -> None:
        cluster.nodes["n2"].state = "died"
        raise ClusterError("the nodes do not know whom they reach")

    said = await _performed(Script(die), cluster.stage(), (WORKS,))
    assert said == "the nodes do not know whom they reach"
    assert cluster.said == [f"cut short: {said}"]


def fail() -> None:
    raise ClusterError("the cluster does not take it")


async def test_what_a_script_cannot_do_with_tools_that_do_not_work_is_recorded() -> None:
    """Who reaches another past the mesh never takes it for down, and scripts wait for that."""
    leaks = Probe(name="leak test", passed=False, said="n2 heard 7 requests")
    said = await _performed(Script(fail), Cluster().stage(), (WORKS, leaks))
    assert said == "the cluster does not take it"


async def test_what_a_script_cannot_do_with_all_nodes_and_tools_ends_the_run() -> None:
    with pytest.raises(ClusterError, match="does not take it"):
        await _performed(Script(fail), Cluster().stage(), (WORKS,))


async def test_a_script_that_leaves_a_node_stopped_is_wrong() -> None:
    cluster = Cluster()

    def stop() -> None:
        cluster.nodes["n2"].state = "stopped"

    with pytest.raises(ClusterError, match="n2 is stopped at the end, though nobody left it so"):
        await _performed(Script(stop), cluster.stage(), ())


# The end of a take, and of a run


async def test_the_last_look_shows_all_who_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_LOOK_S", 0.0)
    cluster = Cluster()
    figures = cluster.observer.seen.pop("n2")
    looks = itertools.count(1)

    async def look(nodes: Iterable[str]) -> dict[str, dict[str, float]]:
        if next(looks) == 3:
            cluster.observer.seen["n2"] = figures
        return await Eyes.figures(cluster.observer, nodes)

    monkeypatch.setattr(cluster.observer, "figures", look)
    await _last_look(cluster.sampler, NAMES)
    assert [set(sample.nodes) for sample in cluster.sampler.samples] == [
        {"n1", "n3"},
        {"n1", "n3"},
        {"n1", "n2", "n3"},
    ]


async def test_who_tells_no_figures_at_the_end_ends_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "_LAST_LOOK_S_MAX", 0.01)
    cluster = Cluster()
    del cluster.observer.seen["n2"]
    with pytest.raises(ClusterError, match="a node does not tell its figures"):
        await _last_look(cluster.sampler, NAMES)


async def test_a_run_that_is_interrupted_says_what_it_was_and_cannot_be_judged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def fail(*_: object) -> Take:
        raise ClusterError("no cluster")

    monkeypatch.setattr(runner, "_perform", fail)
    order = Order(
        experiment=Baseline(),
        seed=7,
        cuts=(),
        command="python -m chaos run baseline --seed 7",
        directory=tmp_path,
        wiring=Wiring(),
    )
    with pytest.raises(ClusterError, match="no cluster"):
        await runner.run(order, cast("Api", None), "2.12.0", Silent())
    assert read_run(tmp_path).command == order.command
    with pytest.raises(RecordingError, match="cannot read"):
        load(tmp_path)


class Silent:
    """Progress that nobody waits for."""

    def begin(self, plan: object) -> None:
        pass

    def say(self, text: str) -> None:
        pass


# What is done beside


async def test_what_is_done_beside_has_ended_with_the_block() -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)  # putting away takes its time
            ended.append("put away")

    async with _beside(work()):
        await asyncio.sleep(0)
    assert ended == ["put away"]


async def test_what_fails_beside_fails_who_waits_for_it() -> None:
    async def work() -> None:
        raise ClusterError("no probes")

    with pytest.raises(ClusterError, match="no probes"):
        async with _beside(work()) as working:
            await working
