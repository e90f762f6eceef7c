import os
from pathlib import Path

import pytest

from dynamo.http import machine
from dynamo.http.machine import machine_figures


def test_load_is_told_in_parts_of_256(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (0.5, 1.0, 2.25))
    told = machine_figures(Path("/"))
    assert [told[f"cpu_avg{minutes}"] for minutes in (1, 5, 15)] == [128, 256, 576]


def test_a_disk_is_told_in_kib_and_percent(tmp_path: Path) -> None:
    disks = machine_figures(tmp_path)["disk"]
    assert isinstance(disks, list)
    [disk] = disks
    size, used = disk["size"], disk["used"]
    assert list(disk) == ["id", "size", "used"]
    assert disk["id"] == str(tmp_path)
    assert isinstance(size, int)
    assert isinstance(used, int)
    assert size > 0
    assert 0 <= used <= 100


def test_what_cannot_be_had_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> tuple[float, float, float]:
        raise OSError

    monkeypatch.setattr(os, "getloadavg", fails)
    monkeypatch.setattr(machine, "_STATM", Path("/nosuch/statm"))
    told = machine_figures(Path("/nosuch"))
    assert (told["disk"], told["memory_total"], told["cpu_avg1"]) == ([], 0, 0)
