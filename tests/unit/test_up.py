"""What `dynamo up` says when something happens to a node."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from dynamo.cluster import LocalCluster
from dynamo.config import ClusterConfig, NodeConfig
from dynamo.core.ids import NodeId
from dynamo.node_process import NodeProcess, ProcessState
from dynamo.reports import Load
from dynamo.settings import Settings
from dynamo.up import Sight, events, overview


@pytest.fixture
def node(tmp_path: Path) -> NodeProcess:
    config = NodeConfig(node_id=NodeId("n2"), data_dir=Path("data"))
    process = NodeProcess(Settings(cluster=ClusterConfig(), node=config), tmp_path, lock_fd=-1)
    process.log_path.write_text("first\nlast words\n")
    return process


def sight(state: ProcessState = ProcessState.SERVING, *, up_by: int = 4, asked: int = 4) -> Sight:
    return Sight(state=state, up_by=up_by, asked=asked, load=None)


def test_nothing_is_said_of_a_node_that_is_well(node: NodeProcess) -> None:
    assert events(node, None, sight()) == []
    assert events(node, sight(), sight()) == []


def test_a_death_is_told_once_with_its_last_words_and_the_way_back(node: NodeProcess) -> None:
    died = sight(ProcessState.DIED)
    lines = events(node, sight(), died)
    assert lines[0].startswith("n2 died, ")
    assert lines[0].endswith("last in its log: last words")
    assert lines[1] == f"  start it again with: dynamo serve --config {node.settings_path}"
    assert events(node, died, died) == []


def test_a_change_of_what_the_others_say_is_told(node: NodeProcess) -> None:
    assert events(node, sight(), sight(up_by=3)) == ["n2 is suspected by some"]
    assert events(node, sight(up_by=3), sight(up_by=0)) == ["n2 is suspected by all"]
    assert events(node, sight(up_by=0), sight()) == ["n2 is up"]


def test_a_node_that_is_suspected_from_the_start_is_told(node: NodeProcess) -> None:
    assert events(node, None, sight(up_by=0)) == ["n2 is suspected by all"]


def test_silence_of_all_others_is_no_news_of_this_one(node: NodeProcess) -> None:
    assert events(node, sight(), sight(up_by=0, asked=0)) == []


def test_a_missing_log_has_no_last_words(node: NodeProcess) -> None:
    node.log_path.unlink()
    assert node.last_words() == f"no log at {node.log_path}: No such file or directory"
    node.log_path.write_text(" \n")
    assert node.last_words() == "it said nothing"


def test_a_node_that_somebody_started_again_serves_elsewhere(node: NodeProcess) -> None:
    died = sight(ProcessState.DIED)
    again = replace(died, elsewhere=77)
    assert (died.process, again.process) == ("died", "serving elsewhere")
    assert events(node, died, again) == ["n2 serves again as process 77, started by hand"]
    assert events(node, again, again) == []


def shown(tmp_path: Path, nodes: int, *, width: int, height: int) -> list[str]:
    cluster = LocalCluster(tmp_path)
    for number in range(1, nodes + 1):
        config = NodeConfig(
            node_id=NodeId(f"n{number}"), data_dir=Path("d"), http_port=18097 + number
        )
        settings = Settings(cluster=ClusterConfig(), node=config)
        cluster.nodes[config.node_id] = NodeProcess(settings, tmp_path, lock_fd=-1)
    died = replace(
        sight(ProcessState.DIED), elsewhere=4_000_000, load=Load(node_gets=10**6, node_puts=10**6)
    )
    console = Console(file=io.StringIO(), width=width, height=height, soft_wrap=True)
    console.print(overview(cluster, dict.fromkeys(cluster.nodes, died), console))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [52, 80, 120])
def test_addresses_and_processes_are_whole_at_any_width(tmp_path: Path, width: int) -> None:
    lines = shown(tmp_path, 9, width=width, height=24)
    assert len(lines) == 10
    for number, line in enumerate(lines[1:], start=1):
        assert f"127.0.0.1:{18097 + number} " in line
        assert "serving elsewhere" in line
        assert "up: 4 of 4" in line
        assert len(line.rstrip()) <= width


def test_nodes_that_there_is_no_room_for_are_counted(tmp_path: Path) -> None:
    lines = shown(tmp_path, 9, width=80, height=8)
    assert len(lines) == 7
    assert lines[-1].rstrip() == "4 more nodes; a window with more lines shows them"
    assert shown(tmp_path, 6, width=80, height=8)[-1].startswith("n6 ")
