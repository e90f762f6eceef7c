"""What the lab says of the machine it is on."""

from pathlib import Path

import pytest

from chaos.doctor import PACKAGES, examine
from chaos.probes import NAMES
from tests.chaos.conftest import NOWHERE

pytestmark = pytest.mark.chaos


async def test_where_all_is_there_everything_is_found_and_tried(
    toxiproxy_bin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOXIPROXY_BIN", str(toxiproxy_bin))
    probes = await examine(print)
    assert [f"{probe.name}: {probe.said}" for probe in probes if not probe.passed] == []
    names = [probe.name for probe in probes]
    assert names == ["Python", *PACKAGES, "ports", "Toxiproxy", *NAMES]
    said = {probe.name: probe.said for probe in probes}
    assert said["Toxiproxy"] == f"2.12.0: {toxiproxy_bin}, named by $TOXIPROXY_BIN"


async def test_a_server_that_is_none_is_named_with_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "fake"
    fake.write_text("#!/bin/sh\necho I am something else\n")
    fake.chmod(0o755)
    monkeypatch.setenv("TOXIPROXY_BIN", str(fake))
    monkeypatch.setenv("TOXIPROXY_URL", NOWHERE)
    *_, last = await examine(print)
    assert (last.name, last.passed) == ("Toxiproxy", False)
    assert "I am something else" in last.said
    assert str(fake) in last.said
