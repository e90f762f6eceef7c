"""Whose a local cluster's directory is, and who may use it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dynamo.cluster_directory import DATA, MARKER, SHARED, ClusterDirectory
from dynamo.core.ids import NodeId
from dynamo.errors import StartupError
from dynamo.storage.directory import DataDirectory


def made_before(path: Path, nodes: int) -> None:
    directory = ClusterDirectory(path, nodes=nodes, fresh=False)
    for number in range(1, nodes + 1):
        home = directory.of_node(NodeId(f"n{number}"))
        (home / DATA).mkdir()
        (home / "kept").touch()
    directory.close()


def refusal(path: Path, *, nodes: int | None = None, fresh: bool = False) -> str:
    with pytest.raises(StartupError) as caught:
        ClusterDirectory(path, nodes=nodes, fresh=fresh)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def nodes_of(path: Path, *, nodes: int | None = None, fresh: bool = False) -> int:
    directory = ClusterDirectory(path, nodes=nodes, fresh=fresh)
    directory.close()
    return directory.nodes


def test_a_new_directory_is_for_five_nodes(tmp_path: Path) -> None:
    assert nodes_of(tmp_path / "new") == 5


def test_an_empty_directory_is_taken(tmp_path: Path) -> None:
    assert nodes_of(tmp_path, nodes=2) == 2
    assert (tmp_path / MARKER).exists()


def test_a_directory_runs_again_with_as_many_nodes_as_before(tmp_path: Path) -> None:
    made_before(tmp_path, 3)
    assert nodes_of(tmp_path) == 3


@pytest.mark.parametrize("nodes", [2, 4])
def test_more_or_fewer_nodes_than_before_are_refused(tmp_path: Path, nodes: int) -> None:
    made_before(tmp_path, 3)
    assert refusal(tmp_path, nodes=nodes) == (
        f"{tmp_path} holds the data of a cluster of 3 nodes, which {nodes} cannot run; start 3,"
        " or use another --data-dir, or --fresh to forget the data"
    )
    assert (tmp_path / "n3" / "kept").exists()


def test_a_start_that_stored_nothing_does_not_say_how_many_nodes_there_are(tmp_path: Path) -> None:
    directory = ClusterDirectory(tmp_path, nodes=3, fresh=False)
    for number in (1, 2, 3):
        directory.of_node(NodeId(f"n{number}"))
    directory.close()
    assert nodes_of(tmp_path, nodes=2) == 2
    made_before(tmp_path, 2)
    assert nodes_of(tmp_path) == 2


def test_data_of_another_cluster_is_refused_with_what_would_be_right(tmp_path: Path) -> None:
    made_before(tmp_path, 1)
    DataDirectory(
        tmp_path / "n1" / DATA, cluster="local", node_id=NodeId("n1"), partitions=64
    ).close()
    directory = ClusterDirectory(tmp_path, nodes=None, fresh=False)
    directory.require_birth("local", 64)
    with pytest.raises(StartupError, match=r'cluster with name = "local", .*; set name = "local"'):
        directory.require_birth("dynamo", 64)
    with pytest.raises(StartupError, match=r"set partitions = 64 under \[cluster\] .*--fresh"):
        directory.require_birth("local", 256)
    directory.close()


def test_a_node_that_runs_already_is_named_with_its_process(tmp_path: Path) -> None:
    made_before(tmp_path, 1)
    directory = ClusterDirectory(tmp_path, nodes=None, fresh=False)
    data = DataDirectory(tmp_path / "n1" / DATA, cluster="c", node_id=NodeId("n1"), partitions=64)
    with pytest.raises(StartupError, match=f"n1 of .* runs already, as process {os.getpid()}, "):
        directory.require_idle(NodeId("n1"))
    data.close()
    directory.require_idle(NodeId("n1"))
    directory.require_idle(NodeId("n2"))
    directory.close()


def test_fresh_forgets_the_shared_settings(tmp_path: Path) -> None:
    made_before(tmp_path, 1)
    (tmp_path / SHARED).touch()
    assert nodes_of(tmp_path) == 1
    assert (tmp_path / SHARED).exists()
    nodes_of(tmp_path, fresh=True)
    assert not (tmp_path / SHARED).exists()


def test_fresh_forgets_the_nodes_and_nothing_else(tmp_path: Path) -> None:
    made_before(tmp_path, 3)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "n3x").mkdir()
    assert nodes_of(tmp_path, nodes=2, fresh=True) == 2
    assert {path.name for path in tmp_path.iterdir()} == {MARKER, "notes.txt", "n3x"}


def test_fresh_does_not_touch_a_directory_without_our_marker(tmp_path: Path) -> None:
    kept = tmp_path / "n1" / "kept"
    kept.parent.mkdir()
    kept.touch()
    assert "holds files that no local cluster put there" in refusal(tmp_path, fresh=True)
    assert kept.exists()


def test_fresh_does_not_follow_a_link_out_of_the_directory(tmp_path: Path) -> None:
    made_before(tmp_path / "ours", 1)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (tmp_path / "ours" / "n2").symlink_to(outside)
    refusal(tmp_path / "ours", fresh=True)
    assert (outside / "kept").exists()


@pytest.mark.parametrize("fresh", [False, True])
def test_a_directory_in_use_is_refused_and_left_alone(tmp_path: Path, fresh: bool) -> None:
    made_before(tmp_path, 1)
    holder = ClusterDirectory(tmp_path, nodes=None, fresh=False)
    said = refusal(tmp_path, fresh=fresh)
    holder.close()
    assert f"{tmp_path} is in use by process {os.getpid()} or nodes of it" in said
    assert (tmp_path / "n1" / "kept").exists()


def test_a_directory_stays_taken_while_a_process_that_inherited_it_lives(tmp_path: Path) -> None:
    directory = ClusterDirectory(tmp_path, nodes=1, fresh=False)
    heir = subprocess.Popen(
        [sys.executable, "-c", "input()"],
        stdin=subprocess.PIPE,
        pass_fds=(directory.lock_fd,),
    )
    with heir:
        directory.close()
        assert "is in use" in refusal(tmp_path)
        assert heir.stdin is not None
        heir.stdin.write(b"\n")
    assert nodes_of(tmp_path, nodes=1) == 1


@pytest.mark.parametrize("content", ["", '{"process": ', '{"process": 1}', "[]", "\0" * 9])
def test_what_the_marker_says_of_an_earlier_process_is_not_believed(
    tmp_path: Path, content: str
) -> None:
    made_before(tmp_path, 2)
    (tmp_path / MARKER).write_text(content)
    assert nodes_of(tmp_path) == 2
    assert json.loads((tmp_path / MARKER).read_text()) == {"process": os.getpid(), "nodes": 2}


def test_a_marker_that_cannot_be_read_by_a_refused_process_names_nobody(tmp_path: Path) -> None:
    holder = ClusterDirectory(tmp_path, nodes=1, fresh=False)
    (tmp_path / MARKER).write_text("garbage")
    said = refusal(tmp_path)
    holder.close()
    assert "is in use by another process or nodes of it" in said


def test_a_directory_in_one_that_does_not_exist_is_named(tmp_path: Path) -> None:
    none = tmp_path / "none"
    assert refusal(none / "data") == f"cannot use {none / 'data'}: there is no directory {none}"


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert refusal(file) == f"cannot use {file}: it is not a directory"
    assert refusal(file / "data") == f"cannot use {file / 'data'}: it is not a directory"


def test_a_refused_process_holds_nothing(tmp_path: Path) -> None:
    made_before(tmp_path, 2)
    refusal(tmp_path, nodes=1)
    assert nodes_of(tmp_path) == 2
