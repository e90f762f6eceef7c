"""The directory of a local cluster: whose it is, who uses it, and what lies where.

    data_dir/dynamo-up.json   marks the directory as ours, and is locked while it is in use
    data_dir/n1/node.toml     the node's settings, written anew at every start
    data_dir/n1/log           its standard output and error; log.old is of the run before
    data_dir/n1/data/         what it stores
    data_dir/dynamo-up.toml   the settings shared by all nodes, as they were given last

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

SHARED: Final = "dynamo-up.toml"

DATA: Final = "data"
"""What a node stores, in the directory that is its own."""

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
            StartupError: the directory is in use, not ours, not writable, or holds the data of
                more or fewer nodes.
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

    @property
    def shared_path(self) -> Path:
        """Where the settings are kept that the nodes have in common; there may be none."""
        return self.path / SHARED

    def require_birth(self, cluster: str, partitions: int) -> None:
        """Make sure that the data here is of a cluster with that name and number of partitions.

        Raises:
            StartupError: it is not.
        """
        for _, directory in self._node_directories():
            try:
                born = json.loads((directory / DATA / "format.json").read_bytes())
            except (OSError, ValueError):
                continue  # nothing stored yet, or damaged, of which the node itself tells more
            for name, ours in (("cluster", cluster), ("partitions", partitions)):
                theirs = born.get(name, ours) if isinstance(born, dict) else ours
                if theirs != ours:
                    setting = "name" if name == "cluster" else name
                    raise StartupError(
                        f"{self.path} holds the data of a cluster with {setting} ="
                        f" {json.dumps(theirs)}, and the settings say {json.dumps(ours)}; set"
                        f" {setting} = {json.dumps(theirs)} under [cluster] in a file given with"
                        " --config, or use another --data-dir, or --fresh to forget the data"
                    )

    def require_idle(self, node_id: NodeId) -> None:
        """Make sure that the node does not run already, started by hand.

        Raises:
            StartupError: it does.
        """
        try:
            fd = os.open(self.path / node_id / DATA / "lock", os.O_RDONLY)
        except OSError:
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
            raise StartupError(
                f"{node_id} of {self.path} runs already, as process {holder}, which was started"
                f" by hand; stop it first (kill {holder})"
            ) from None
        finally:
            os.close(fd)

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
        self.shared_path.unlink(missing_ok=True)

    def _count(self, nodes: int | None) -> int:
        before = max((number for number, _ in self._node_directories()), default=0)
        if nodes is None or not before or nodes == before:
            return nodes or before or NODES_DEFAULT
        if any((directory / DATA).exists() for _, directory in self._node_directories()):
            # A node left out is one that is down, and its share of the data with it. One that is
            # added owns keys that it gets from others only in time; a read meanwhile may miss them.
            raise StartupError(
                f"{self.path} holds the data of a cluster of {before}"
                f" {'node' if before == 1 else 'nodes'}, which {nodes} cannot run; start {before},"
                " or use another --data-dir, or --fresh to forget the data"
            )
        for _, directory in list(self._node_directories()):
            shutil.rmtree(directory)  # of a start that was cut off before it stored anything
        return nodes


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
