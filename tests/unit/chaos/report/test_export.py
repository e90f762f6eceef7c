"""The judgement for programs: JSON that comes back whole, and JUnit that is never too green."""

from xml.etree import ElementTree

import msgspec
import pytest

from chaos.judgement import Availability, Figure, Findings, Judgement, RuleOutcome, Verdict
from chaos.report.export import junit_of, summary_of
from tests.unit.chaos.report.synthetic import judgement_of, recording_of

RECORDING, _ = recording_of(rate=5)


def judged(verdict: Verdict, *rules: RuleOutcome, measured: float = 41.0) -> Judgement:
    figures = (
        Figure(label="answered", measured=measured, predicted=40.0, tolerance=3.0, unit="%"),
        Figure(label="only measured", measured=1.0),
        Figure(label="held to nothing", measured=1.0, predicted=9.0),
    )
    shares = (
        Availability(take="t", mode="strict 2/2", side="A", action="read", measured=40, requests=9),
        Availability(
            take="t",
            mode="strict 2/2",
            side="B",
            action="read",
            measured=40,
            predicted=measured,
            requests=9,
        ),
    )
    findings = Findings(observed="So it was.", rules=rules, figures=figures, availability=shares)
    return msgspec.structs.replace(judgement_of(RECORDING, verdict), findings=findings)


def suite_of(judgement: Judgement) -> ElementTree.Element:
    return ElementTree.fromstring(junit_of(judgement))


def counts(suite: ElementTree.Element) -> tuple[int, ...]:
    """Tests, failures, errors and skipped ones as the head says; the cases must agree."""
    names = ("failure", "error", "skipped")
    found = (len(suite.findall("testcase")), *(len(suite.findall(f".//{one}")) for one in names))
    said = tuple(int(suite.attrib[one]) for one in ("tests", "failures", "errors", "skipped"))
    assert found == said
    return said


def test_a_case_for_the_verdict_each_rule_and_each_number_held_to_a_prediction() -> None:
    suite = suite_of(judged(Verdict.PASS, RuleOutcome(rule="r", verdict=Verdict.PASS, said="s")))
    assert counts(suite) == (4, 0, 0, 0)
    assert [case.attrib["name"] for case in suite.findall("testcase")] == [
        "verdict",
        "r",
        "answered",
        "availability of strict 2/2, side B, reads",
    ]


def test_a_broken_rule_and_a_number_that_is_off_are_failures_that_say_why() -> None:
    broken = RuleOutcome(rule="kept", verdict=Verdict.FAIL, said="#7 is gone.", take="drop")
    suite = suite_of(judged(Verdict.FAIL, broken, measured=50.0))
    assert counts(suite) == (4, 4, 0, 0)
    case = suite.find("testcase[@name='kept']")
    assert case is not None
    assert case.attrib["classname"] == "chaos.half-split.drop"
    assert case[0].attrib["message"] == "#7 is gone."


def test_an_invalid_run_is_an_error_and_its_numbers_prove_nothing() -> None:
    suite = suite_of(judged(Verdict.INVALID, measured=50.0))
    assert counts(suite) == (3, 0, 1, 2)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_run_without_any_finding_is_as_green_as_its_verdict(verdict: Verdict) -> None:
    judgement = msgspec.structs.replace(judged(verdict), findings=Findings(observed=""))
    green = counts(suite_of(judgement))[1:3] == (0, 0)
    assert green == (verdict is Verdict.PASS)


def test_what_xml_cannot_hold_does_not_break_the_file() -> None:
    said = "\x00\x1b[31m\ud800<&>\"'"
    suite = suite_of(judged(Verdict.FAIL, RuleOutcome(rule=said, verdict=Verdict.FAIL, said=said)))
    assert counts(suite)[0] == 4


def test_the_summary_is_the_judgement() -> None:
    judgement = judgement_of(RECORDING)
    assert msgspec.json.decode(summary_of(judgement), type=Judgement) == judgement
