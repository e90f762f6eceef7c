"""What `/stats` tells of the process and its machine, by Riak's names and in its units.

An Erlang machine counts its memory by what it is for; here it is one process's, so all of it is the
system's. A figure that cannot be had is 0.
"""

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

_LOAD_UNIT: Final = 256
_STATM: Final = Path("/proc/self/statm")

Figures = dict[str, int | list[dict[str, int | str]]]


def machine_figures(data_dir: Path) -> Figures:
    """Load, memory and disk as they are now.

    Args:
        data_dir: on the disk that is asked about.
    """
    resident_bytes = _resident_bytes()
    load = _load()
    memory_bytes, free_bytes = _pages("SC_PHYS_PAGES"), _pages("SC_AVPHYS_PAGES")
    return {
        "cpu_avg1": load[0],
        "cpu_avg5": load[1],
        "cpu_avg15": load[2],
        "memory_code": 0,
        "memory_ets": 0,
        "memory_processes": 0,
        "memory_system": resident_bytes,
        "memory_total": resident_bytes,
        "mem_total": memory_bytes,
        "mem_allocated": max(memory_bytes - free_bytes, 0),
        "disk": _disk(data_dir),
        "sys_process_count": threading.active_count(),
    }


def _resident_bytes() -> int:
    with suppress(OSError, ValueError, IndexError):
        return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _pages(name: str) -> int:
    """Bytes of so many pages."""
    with suppress(OSError, ValueError):
        return max(os.sysconf(name), 0) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _load() -> list[int]:
    """Of 1, 5 and 15 minutes; 256 is one processor at work all the time."""
    with suppress(OSError):
        return [round(load * _LOAD_UNIT) for load in os.getloadavg()]
    return [0, 0, 0]


def _disk(data_dir: Path) -> list[dict[str, int | str]]:
    """Size in KiB, use in percent."""
    with suppress(OSError):
        found = os.statvfs(data_dir)
        if found.f_blocks:
            used = found.f_blocks - found.f_bfree
            return [
                {
                    "id": str(data_dir),
                    "size": found.f_blocks * found.f_frsize // 1024,
                    "used": round(100 * used / (used + found.f_bavail)) if used else 0,
                }
            ]
    return []
