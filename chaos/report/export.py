"""The judgement for programs: JSON, and JUnit's XML as CI servers read it."""

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

import msgspec

from chaos.judgement import Availability, Figure, Judgement, Verdict
from chaos.report.words import MEANINGS, clean, number


def summary_of(judgement: Judgement) -> bytes:
    """The whole judgement as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(judgement), indent=1) + b"\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One test case."""

    name: str
    take: str
    verdict: Verdict
    said: str


def junit_of(judgement: Judgement) -> bytes:
    """A test case for the verdict, and one for each rule and each number held to a prediction.

    FAIL becomes a failure and INVALID an error. In a run that is invalid as a whole, numbers that
    are off are skipped: nothing may be concluded from them.
    """
    cases = list(_cases(judgement))
    suite = ElementTree.Element(
        "testsuite",
        name=clean(f"chaos {judgement.experiment}"),
        tests=str(len(cases)),
        failures=str(sum(_is_failure(case, judgement) for case in cases)),
        errors=str(sum(case.verdict is Verdict.INVALID for case in cases)),
        skipped=str(sum(_is_skipped(case, judgement) for case in cases)),
        timestamp=clean(judgement.started_at),
    )
    properties = ElementTree.SubElement(suite, "properties")
    facts = {"seed": str(judgement.seed), "command": judgement.command, **judgement.versions}
    for name, value in facts.items():
        ElementTree.SubElement(properties, "property", name=clean(name), value=clean(value))
    for case in cases:
        _add(suite, case, judgement)
    document: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _cases(judgement: Judgement) -> Iterator[_Case]:
    found = judgement.findings
    said = f"{MEANINGS[judgement.verdict]} {found.observed}"
    yield _Case(name="verdict", take="", verdict=judgement.verdict, said=said)
    for rule in found.rules:
        yield _Case(name=rule.rule, take=rule.take, verdict=rule.verdict, said=rule.said)
    for figure in found.figures:
        if figure.tolerance is not None and figure.predicted is not None:
            yield _figure_case(figure)
    for one in found.availability:
        if one.predicted is not None:
            yield _availability_case(one)


def _figure_case(figure: Figure) -> _Case:
    return _Case(
        name=figure.label,
        take=figure.take,
        verdict=Verdict.PASS if figure.holds else Verdict.FAIL,
        said=f"measured {number(figure.measured, figure.unit)}, predicted"
        f" {number(figure.predicted, figure.unit)}, may differ by {number(figure.tolerance)}",
    )


def _availability_case(one: Availability) -> _Case:
    return _Case(
        name=f"availability of {one.mode}, side {one.side}, {one.action}s",
        take=one.take,
        verdict=Verdict.PASS if one.holds else Verdict.FAIL,
        said=f"measured {number(one.measured, '%')}, predicted {number(one.predicted, '%')},"
        f" may differ by {number(one.tolerance)}",
    )


def _is_skipped(case: _Case, judgement: Judgement) -> bool:
    return judgement.verdict is Verdict.INVALID and case.verdict is Verdict.FAIL


def _is_failure(case: _Case, judgement: Judgement) -> bool:
    return case.verdict is Verdict.FAIL and not _is_skipped(case, judgement)


def _add(suite: ElementTree.Element, case: _Case, judgement: Judgement) -> None:
    place = ".".join(part for part in ("chaos", judgement.experiment, case.take) if part)
    element = ElementTree.SubElement(
        suite, "testcase", classname=clean(place), name=clean(case.name)
    )
    if _is_skipped(case, judgement):
        ElementTree.SubElement(element, "skipped", message=clean(case.said))
    elif case.verdict is Verdict.FAIL:
        ElementTree.SubElement(element, "failure", message=clean(case.said))
    elif case.verdict is Verdict.INVALID:
        ElementTree.SubElement(element, "error", message=clean(case.said))
    else:
        ElementTree.SubElement(element, "system-out").text = clean(case.said)
