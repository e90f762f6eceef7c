"""The directory of a local cluster: whose it is, who uses it, and what lies where.

    data_dir/dynamo-up.json   marks the directory as ours, and is locked while it is in use
    data_dir/n1/node.toml     the node's settings, written anew at every start
    data_dir/n1/log           its standard output and error; log.old is of the run before
    data_dir/n1/data/         what it stores

The lock belongs to the open file, which the node processes inherit: it is free once all of them are
gone, however they ended. So no process number in a file has to be believed, and none can be stale.
"""

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dynamo.core.ids import NodeId
from dynamo.errors import StartupError

MARKER: Final = "dynamo-up.json"

NODES_DEFAULT: Final = 5


class ClusterDirectory:
    """A directory that this process holds.

    Attributes:
        path: absolute.
        lock_fd: the locked file, to be inherited by every process that works here.
        nodes: how many nodes the cluster here has.
    """

    def __init__(self, path: Path, *, nodes: int | None, fresh: bool) -> None:
        """Make or take `path`.

        Args:
            path: a directory of ours, an empty one, or one that does not exist in one that does.
            nodes: how many nodes to run; None for as many as there are, 5 if there are none.
            fresh: forget what an earlier cluster stored here.

        Raises:
            StartupError: the directory is in use, not ours, not writable, or of more nodes.
        """
        self.path = path.absolute()
        with _as_startup_error(self.path):
            self._make()
            self.lock_fd = self._lock()
        try:
            with _as_startup_error(self.path):
                if fresh:
                    self._forget()
                self.nodes = self._count(nodes)
                self._sign()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the directory; it stays taken while processes that inherited it live."""
        os.close(self.lock_fd)

    def of_node(self, node_id: NodeId) -> Path:
        """Where a node's files are; the directory exists afterwards.

        Raises:
            StartupError: it cannot be made.
        """
        directory = self.path / node_id
        with _as_startup_error(directory):
            directory.mkdir(exist_ok=True)
        return directory

    def _make(self) -> None:
        self.path.mkdir(exist_ok=True)
        names = os.listdir(self.path)
        if names and MARKER not in names:
            raise StartupError(
                f"{self.path} holds files that no local cluster put there;"
                " choose an empty directory or one that does not exist"
            )

    def _lock(self) -> int:
        fd = os.open(self.path / MARKER, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise StartupError(
                f"{self.path} is in use by{self._holder()} or nodes of it that still run"
                f" (see: pgrep -af {self.path})"
            ) from None
        return fd

    def _holder(self) -> str:
        try:
            return f" process {int(json.loads((self.path / MARKER).read_bytes())['process'])}"
        except (ValueError, KeyError, TypeError, OSError):
            return " another process"

    def _sign(self) -> None:
        """Say who is here; the numbers are for people, the lock is what counts."""
        text = json.dumps({"process": os.getpid(), "nodes": self.nodes}) + "\n"
        os.ftruncate(self.lock_fd, 0)
        os.pwrite(self.lock_fd, text.encode(), 0)

    def _node_directories(self) -> Iterator[tuple[int, Path]]:
        for entry in self.path.iterdir():
            if found := re.fullmatch(r"n([1-9][0-9]*)", entry.name):
                yield int(found.group(1)), entry

    def _forget(self) -> None:
        for _, directory in list(self._node_directories()):
            shutil.rmtree(directory)

    def _count(self, nodes: int | None) -> int:
        before = max((number for number, _ in self._node_directories()), default=0)
        if nodes is not None and nodes < before:
            # A node that is only left out is one that is down, and its share of the data with it.
            raise StartupError(
                f"{self.path} belongs to a cluster of {before} nodes, which {nodes} cannot run;"
                f" start {before} or more, or a fresh cluster"
            )
        return nodes or before or NODES_DEFAULT


@contextmanager
def _as_startup_error(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise StartupError(f"cannot use {path}: there is no directory {path.parent}") from error
    except (FileExistsError, NotADirectoryError) as error:
        raise StartupError(f"cannot use {path}: it is not a directory") from error
    except OSError as error:
        raise StartupError(f"cannot use {error.filename or path}: {error.strerror}") from error
