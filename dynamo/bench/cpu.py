"""CPU time and memory of processes, from the system's own account of them (`man proc`)."""

import os
from collections.abc import Sequence
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def parse_stat(text: str, ticks_per_s: int) -> float:
    """Seconds of CPU, user and system, all threads, that a `/proc/PID/stat` line tells.

    Raises:
        ValueError: it is no such line.
    """
    # The name is in parentheses and may hold blanks and parentheses itself.
    fields = text.rpartition(")")[2].split()
    if len(fields) < 13:
        raise ValueError(f"not a process's stat line: {text[:80]!r}")
    user, system = int(fields[11]), int(fields[12])
    return (user + system) / ticks_per_s


def cpu_s(pids: Sequence[int]) -> float | None:
    """Seconds of CPU these processes have used together; None if one of them is gone."""
    try:
        return sum(parse_stat(Path(f"/proc/{pid}/stat").read_text(), _TICKS_PER_S) for pid in pids)
    except OSError:
        return None


def rss_bytes(pid: int) -> int | None:
    """What a process holds in memory, pages it maps from files included; None if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return None
