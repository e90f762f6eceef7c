"""Opening a data directory: whose it is, that nobody else has it open, that it can be written.

    data/
      format.json   what this is, format version, and the cluster, node and partitions it belongs to
      lock          held (flock) for as long as a process uses the directory
      engine/       the storage engine's own files

The format file is written once and proves that the rest is ours: a directory with files and
without it is somebody else's and left alone. Actors are not kept here, on purpose
(`core/actors.py`).
"""

import fcntl
import json
import os
from pathlib import Path
from typing import Final

from dynamo.core.ids import NodeId
from dynamo.errors import StartupError

FORMAT_VERSION: Final = 2

_WHAT: Final = "data of a dynamo node"
_FORMAT_FILE: Final = "format.json"
_FORMAT_FILE_NEW: Final = "format.json.new"
_LOCK_FILE: Final = "lock"
_ENGINE: Final = "engine"

# What may lie in a directory that has no format file yet: ours of a first start that was cut off,
# and what a freshly made ext file system holds when it is mounted as the data directory.
_HARMLESS: Final = frozenset({_LOCK_FILE, _FORMAT_FILE_NEW, "lost+found"})


class DataDirectory:
    """A data directory, ours alone until `close`.

    Attributes:
        path: the directory.
        engine_path: the directory in it that is the storage engine's; it exists.
    """

    def __init__(self, path: Path, *, cluster: str, node_id: NodeId, partitions: int) -> None:
        """Open the directory, and make it if there is none.

        Raises:
            StartupError: it cannot be used, or not by this node.
        """
        self.path = path
        self.engine_path = path / _ENGINE
        owner = {"cluster": cluster, "node": node_id, "partitions": partitions}
        try:
            _make_directory(path)
            _check_not_foreign(path)
            self._lock = _lock(path)
        except OSError as error:
            raise StartupError(_obstacle(path, error)) from error
        try:
            if not _check_format(path, owner):
                _write_format(path, owner)
            _make_directory(self.engine_path)
        except OSError as error:
            self.close()
            raise StartupError(_obstacle(path, error)) from error
        except StartupError:
            self.close()
            raise

    def close(self) -> None:
        """Let others have it."""
        os.close(self._lock)


def sync_directory(path: Path) -> None:
    """Make the entries of a directory durable: a file's own fsync does not cover its name."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _make_directory(path: Path) -> None:
    if path.is_dir():
        return
    _make_directory(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)


def _check_not_foreign(path: Path) -> None:
    names = set(os.listdir(path))
    if _FORMAT_FILE in names:
        return
    foreign = sorted(names - _HARMLESS)
    if foreign:
        raise StartupError(
            f"the directory {path} holds files ({foreign[0]}) but no {_FORMAT_FILE},"
            " so it is not a data directory; give an empty or a new one"
        )


def _lock(path: Path) -> int:
    """The descriptor that holds the lock; its process is named in the file, for people."""
    lock = os.open(path / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    except BlockingIOError as error:
        holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
        os.close(lock)
        raise StartupError(f"{path} is in use by another process ({holder})") from error
    except OSError:
        os.close(lock)
        raise
    return lock


def _check_format(path: Path, owner: dict[str, object]) -> bool:
    """Whether there is a format file; it names this version and `owner`, or we refuse."""
    file = path / _FORMAT_FILE
    try:
        found = json.loads(file.read_bytes())
    except FileNotFoundError:
        return False
    except ValueError as error:
        raise StartupError(f"{file} is damaged: {error}") from error
    if not isinstance(found, dict) or found.get("what") != _WHAT:
        raise StartupError(f"{file} is not of this store, so {path} is not a data directory")
    version = found.get("format")
    if version != FORMAT_VERSION:
        raise StartupError(
            f"{path} has data of format {version}, and this program knows format {FORMAT_VERSION}"
        )
    for name, ours in owner.items():
        if found.get(name) != ours:
            raise StartupError(
                f"{path} belongs to {name} {found.get(name)!r}, and this node has {name} {ours!r}"
            )
    return True


def _write_format(path: Path, owner: dict[str, object]) -> None:
    content = {"what": _WHAT, "format": FORMAT_VERSION, **owner}
    new = path / _FORMAT_FILE_NEW
    with new.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path / _FORMAT_FILE)
    sync_directory(path)


def _obstacle(path: Path, error: OSError) -> str:
    """One sentence: where, and what is in the way."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return f"{path} cannot be a data directory: {error.filename} is not a directory"
    where = "" if error.filename in (None, str(path)) else f" at {error.filename}"
    return f"{path} cannot be used as a data directory{where}: {error.strerror}"
