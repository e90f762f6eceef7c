"""Whose data directory it is, and what stands in the way."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dynamo.core.ids import NodeId
from dynamo.errors import StartupError
from dynamo.storage.directory import DataDirectory

A = NodeId("a")


def opened(
    path: Path, *, cluster: str = "shop", node_id: NodeId = A, partitions: int = 64
) -> DataDirectory:
    return DataDirectory(path, cluster=cluster, node_id=node_id, partitions=partitions)


def refusal(path: Path, **other: object) -> str:
    with pytest.raises(StartupError) as refused:
        opened(path, **other)  # type: ignore[arg-type]
    assert str(path) in str(refused.value)
    return str(refused.value)


def test_a_missing_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    directory = opened(tmp_path / "var" / "data")
    assert directory.path == tmp_path / "var" / "data"
    assert directory.engine_path.is_dir()
    directory.close()


def test_its_own_node_opens_it_again(tmp_path: Path) -> None:
    opened(tmp_path).close()
    opened(tmp_path).close()


def test_a_second_opening_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    first = opened(tmp_path)
    assert "in use by another process" in refusal(tmp_path)
    first.close()
    opened(tmp_path).close()


def test_the_lock_of_a_process_ends_with_it(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys; from dynamo.storage.directory import DataDirectory;"
        "DataDirectory(pathlib.Path(sys.argv[1]), cluster='shop', node_id='a', partitions=64);"
        "print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        assert f"({holder.pid})" in refusal(tmp_path)
        holder.kill()
    opened(tmp_path).close()


def test_another_nodes_data_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    assert "belongs to node 'a', and this node has node 'b'" in refusal(
        tmp_path, node_id=NodeId("b")
    )


def test_another_clusters_data_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    assert "belongs to cluster 'shop'" in refusal(tmp_path, cluster="bank")


def test_another_partition_count_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    assert "belongs to partitions 64, and this node has partitions 128" in refusal(
        tmp_path, partitions=128
    )


def test_a_refused_directory_is_not_left_locked(tmp_path: Path) -> None:
    opened(tmp_path).close()
    refusal(tmp_path, cluster="bank")
    opened(tmp_path).close()


def test_foreign_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("chapter one")
    assert "thesis.tex" in refusal(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_fresh_file_system_and_a_first_start_cut_off_are_empty(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "lock").write_text("12\n")
    (tmp_path / "format.json.new").write_text("{")
    opened(tmp_path).close()


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    file = tmp_path / "format.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 3}))
    assert "format 3, and this program knows format 2" in refusal(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"what": "data of something else"}', ""])
def test_a_format_file_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "format.json").write_text(content)
    refusal(tmp_path)


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert "data is not a directory" in refusal(tmp_path / "data")
    (tmp_path / "above").write_text("")
    assert "above is not a directory" in refusal(tmp_path / "above" / "data")


def test_a_place_where_nothing_can_be_made_is_refused() -> None:
    # Nobody can make directories here, root included.
    assert "cannot be used" in refusal(Path("/proc/self/data"))


def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    assert f"at {tmp_path / 'lock'}" in refusal(tmp_path)
