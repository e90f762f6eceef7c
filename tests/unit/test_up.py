"""What `dynamo up` says when something happens to a node."""

from pathlib import Path

import pytest

from dynamo.config import ClusterConfig, NodeConfig
from dynamo.core.ids import NodeId
from dynamo.node_process import NodeProcess, ProcessState
from dynamo.settings import Settings
from dynamo.up import Sight, events


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
