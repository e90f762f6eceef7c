"""The page of a run: whole, closed in itself, and safe whatever the run brought."""

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from chaos.errors import RecordingError
from chaos.judgement import Findings, Judgement, RuleOutcome, Verdict
from chaos.recording import Operation, Recording, Take, TakeHead
from chaos.report.build import build
from chaos.report.gallery import gallery_of
from chaos.report.notes import Notes
from chaos.report.page import page_of
from chaos.report.style import rules
from tests.unit.chaos.report.synthetic import judgement_of, recording_of

RAW = '<script>alert("1")</script>$x_{1}$\x1b[31m\x00\U0001f600'


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recording, notes = recording_of(rate=500)
    directory = tmp_path_factory.mktemp("run")
    build(recording, judgement_of(recording), directory, notes)
    return directory


@pytest.fixture(scope="module")
def page(built: Path) -> str:
    return (built / "report.html").read_text()


def page_alone(
    recording: Recording, judgement: Judgement, notes: Mapping[str, Notes] | None = None
) -> str:
    with rules():
        return page_of(recording, judgement, gallery_of(recording, judgement, notes or {}))


def nothing_found(recording: Recording, verdict: Verdict) -> Judgement:
    judgement = judgement_of(recording, verdict)
    return msgspec.structs.replace(judgement, findings=Findings(observed="The lab broke down."))


def without_pictures(recording: Recording) -> Recording:
    takes = tuple(
        Take(head=msgspec.structs.replace(take.head, faults=(), marks=()))
        for take in recording.takes
    )
    return msgspec.structs.replace(recording, takes=takes)


class Tags(HTMLParser):
    """Which elements a page has, and which of them were never closed."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.ids: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in {"meta", "br", "link"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def tags_of(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    assert not tags.open
    return tags


def test_everything_is_written_beside_the_recording(built: Path) -> None:
    names = {path.name for path in (built / "charts").iterdir()}
    assert names == {
        "cap-map.png",
        "availability.png",
        "staleness.png",
        "refuse-lanes-1.png",
        "refuse-timeline.png",
        "refuse-convergence.png",
        "refuse-links.png",
        "refuse-operations.png",
    }
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in (built / "charts").iterdir())
    assert {"report.html", "summary.json", "junit.xml"} <= {path.name for path in built.iterdir()}


def test_the_page_refers_to_nothing_but_itself(page: str) -> None:
    references = re.findall(r'(?:\bsrc|\bhref|\bcontent)\s*=\s*"([^"]*)"', page)
    outside = [one for one in references if not one.startswith(("#", "data:image/png;base64,"))]
    assert sorted(outside) == ["light dark", "width=device-width, initial-scale=1"]
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_ten_thousand_operations_stay_below_three_megabytes(page: str) -> None:
    assert len(page.encode()) < 3_000_000


def test_the_page_is_well_formed_and_needs_no_script(page: str) -> None:
    tags = tags_of(page)
    assert "script" not in tags.names
    assert len(tags.ids) == len(set(tags.ids))


def test_every_link_within_the_page_leads_somewhere(page: str) -> None:
    ids = set(tags_of(page).ids)
    assert set(re.findall(r'href="#([^"]+)"', page)) <= ids


def test_the_verdict_is_colour_word_and_sign(page: str) -> None:
    recording = without_pictures(recording_of(rate=5)[0])
    assert re.search(r'class="verdict pass"><strong>✔ PASS</strong>', page)
    for verdict, sign in ((Verdict.FAIL, "✘"), (Verdict.INVALID, "⚠")):
        other = page_alone(recording, nothing_found(recording, verdict))
        assert f'class="verdict {verdict}"><strong>{sign} {verdict.upper()}</strong>' in other


def test_texts_in_pictures_are_texts_and_parts_have_words_for_the_pointer(page: str) -> None:
    assert re.search(r"<text[^>]*>Latency, side A \(n1 n2\)</text>", page)
    assert "<title>cut: n1 n2 | n3 n4 n5, refuse, from 4.02 s" in page
    assert "<title>link n1&gt;n3: cut from 4.00 to 12.00 s</title>" in page


def test_what_broke_comes_first_and_a_rule_of_many_takes_comes_once() -> None:
    recording = without_pictures(recording_of(("refuse", "drop"), rate=5)[0])
    outcomes = (
        RuleOutcome(rule="calm", verdict=Verdict.PASS, said="All 3 held.", take="refuse"),
        RuleOutcome(rule="kept", verdict=Verdict.PASS, said="All 4 there.", take="refuse"),
        RuleOutcome(rule="kept", verdict=Verdict.FAIL, said="#7 is gone.", take="drop"),
    )
    findings = Findings(observed="One is gone.", rules=outcomes)
    judgement = msgspec.structs.replace(
        judgement_of(recording, Verdict.FAIL), findings=findings, takes=("refuse", "drop")
    )
    page = page_alone(recording, judgement)
    assert page.index("<strong>kept</strong>") < page.index("<strong>calm</strong>")
    assert page.count("<strong>kept</strong>") == 1
    assert "In 1 of 2 takes, such as drop: #7 is gone." in page


def test_what_came_over_the_wire_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    recording, notes = recording_of(rate=30)
    [take] = recording.takes
    spoilt = tuple(spoil(operation) for operation in take.operations)
    head = msgspec.structs.replace(
        take.head, problems=(RAW,), title=RAW, settings={"name": RAW}, sides={RAW: ("n1",)}
    )
    recording = msgspec.structs.replace(
        recording, takes=(msgspec.structs.replace(take, head=head, operations=spoilt),)
    )
    judgement = judgement_of(recording)
    [shown] = judgement.findings.lanes
    shown = msgspec.structs.replace(shown, title=RAW, operations=tuple(range(20)), highlight=(3,))
    found = Findings(observed=RAW, lanes=(shown,))
    judgement = msgspec.structs.replace(judgement, findings=found, hypothesis=RAW)
    page = build(recording, judgement, tmp_path, notes).read_text()
    assert "script" not in tags_of(page).names
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page


def spoil(operation: Operation) -> Operation:
    return msgspec.structs.replace(
        operation,
        key=RAW,
        error=RAW,
        client=RAW,
        side=RAW,
        written=RAW if operation.is_write else None,
        shown=(RAW,) if operation.shown is not None else None,
    )


def test_a_run_of_which_nothing_is_left_still_has_a_page(tmp_path: Path) -> None:
    recording, _ = recording_of(rate=5)
    empty = Take(head=TakeHead(name="t", title="nothing", duration_s=0, nodes=(), modes=()))
    for takes in ((), (empty,)):
        left = msgspec.structs.replace(recording, takes=takes)
        path = build(left, nothing_found(left, Verdict.INVALID), tmp_path)
        page = path.read_text()
        assert "⚠ INVALID" in page
        assert "No rule was looked at." in page
        assert "<svg" not in page
        tags_of(page)


def test_a_cluster_that_nobody_asked_is_drawn_from_its_samples() -> None:
    recording, _ = recording_of(rate=5)
    [take] = recording.takes
    quiet = msgspec.structs.replace(take, operations=())
    recording = msgspec.structs.replace(recording, takes=(quiet,))
    page = page_alone(recording, nothing_found(recording, Verdict.PASS))
    assert 'id="refuse-timeline"' in page
    assert "Hints held, all nodes together" in page
    assert "Latency" not in page


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    recording = without_pictures(recording_of(rate=5)[0])
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match="cannot write"):
        build(recording, nothing_found(recording, Verdict.PASS), tmp_path / "file")
