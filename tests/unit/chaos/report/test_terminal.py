"""The verdict on the terminal and in a log."""

import io
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from chaos.judgement import Findings, Judgement, RuleOutcome, Verdict
from chaos.recording import Recording
from chaos.report.terminal import show
from tests.unit.chaos.report.synthetic import judgement_of, recording_of

PAGE = Path("/runs/half-split/7/report.html")


def printed(recording: Recording, judgement: Judgement, *, terminal: bool = False) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=terminal, color_system=None)
    show(console, recording, judgement, PAGE)
    return out.getvalue().splitlines()


@pytest.fixture(scope="module")
def recording() -> Recording:
    return recording_of(("refuse", "drop"), rate=300)[0]


def test_a_log_gets_plain_lines_of_eighty_columns(recording: Recording) -> None:
    lines = printed(recording, judgement_of(recording))
    assert lines[0] == "✔ PASS Half split: AP or CP is a choice of each request"
    assert max(map(len, lines)) <= 80
    assert not any("\x1b" in line or "│" in line for line in lines)
    assert lines[-2:] == [
        "page   /runs/half-split/7/report.html",
        "again  python -m chaos run half-split --seed 7",
    ]


def test_a_terminal_gets_a_frame_of_eighty_columns(recording: Recording) -> None:
    lines = printed(recording, judgement_of(recording), terminal=True)
    assert lines[0].startswith("╭─ ✔ PASS Half split")
    assert {len(line) for line in lines[:-2]} == {80}


def test_rules_figures_and_shares_stand_beside_their_predictions(recording: Recording) -> None:
    lines = [" ".join(line.split()) for line in printed(recording, judgement_of(recording))]
    assert "✔ no acknowledged write is lost" in lines
    assert "✔ p99 before the nodes knew 1,012 ms 1,000 ms +12" in lines
    assert "✘ reconnects a second (drop) 31 20 +11" in lines
    assert any(line.startswith("strict 2/2 38.6 (40) 39.9 (40)") for line in lines)
    assert any(line.startswith("strict 1/1 78.7 (71) ✘") for line in lines)


def test_a_sparkline_is_low_where_requests_were_not_answered(recording: Recording) -> None:
    lines = printed(recording, judgement_of(recording))
    begin = lines.index("Answered over time, refuse")
    strict, sloppy = lines[begin + 1].split("  ")[1], lines[begin + 2].split("  ")[1]
    assert set(sloppy.strip()) == {"█"}
    assert strict[:8] == "█" * 8
    assert "█" not in strict[8:24]


def test_what_broke_is_on_top_and_markup_is_only_text(recording: Recording) -> None:
    outcomes = (
        RuleOutcome(rule="calm", verdict=Verdict.PASS, said="well"),
        RuleOutcome(rule="[red]kept[/nonsense]", verdict=Verdict.FAIL, said="gone\x1b[2J\x07"),
    )
    judgement = msgspec.structs.replace(
        judgement_of(recording, Verdict.FAIL), findings=Findings(observed="", rules=outcomes)
    )
    lines = printed(recording, judgement)
    assert lines[0].startswith("✘ FAIL")
    broken = next(place for place, line in enumerate(lines) if "[red]kept[/nonsense]" in line)
    assert broken < next(place for place, line in enumerate(lines) if "calm" in line)
    assert not {"\x1b", "\x07"} & set("".join(lines))


def test_a_run_of_which_nothing_is_left_has_a_verdict(recording: Recording) -> None:
    empty = msgspec.structs.replace(recording, takes=())
    judgement = msgspec.structs.replace(
        judgement_of(recording, Verdict.INVALID), findings=Findings(observed="")
    )
    lines = printed(empty, judgement)
    assert lines[0].startswith("⚠ INVALID")
    assert any("no rule was looked at" in line for line in lines)
