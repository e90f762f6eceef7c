"""The page: one HTML file that opens without a network, and works without a script."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files

import jinja2
from markupsafe import Markup

from chaos.judgement import Figure, Judgement, RuleOutcome, Verdict
from chaos.recording import Recording, Take
from chaos.report.gallery import Gallery
from chaos.report.grouping import rules_of
from chaos.report.style import Chart
from chaos.report.svg import svg_of
from chaos.report.words import MEANINGS, SIGNS, apart, clean, counted, number

_OPEN_TAKES_MAX = 3
_PROBLEMS_MAX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    """A chart as the page has it."""

    chart: Chart
    svg: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    """A take as the page has it.

    Attributes:
        opened: whether it is unfolded at first.
        facts: what was done and counted, by name.
        rules: what came of the rules here, the worst first.
    """

    take: Take
    opened: bool
    facts: Mapping[str, str]
    rules: tuple[RuleOutcome, ...]
    figures: tuple[Figure, ...]
    pictures: tuple[_Picture, ...]
    problems: tuple[str, ...]


def page_of(recording: Recording, judgement: Judgement, gallery: Gallery) -> str:
    """All of it; whatever came from outside is escaped."""
    found = judgement.findings
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            css=Markup(files("chaos.report").joinpath("page.css").read_text()),
            judgement=judgement,
            found=found,
            sign=SIGNS,
            meaning=MEANINGS[judgement.verdict],
            rules=rules_of(found.rules),
            figures=[one for one in found.figures if _is_of_run(one, recording)],
            facts=_facts(recording, judgement),
            pictures=[_picture(chart) for chart in gallery.of_run],
            sections=list(_sections(recording, judgement, gallery)),
        )
    )


def environment() -> jinja2.Environment:
    """Templates of pages; whatever is put into one is escaped."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("chaos.report", "."),
        autoescape=True,
        finalize=_printable,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(number=number, apart=apart)
    return made


def _is_of_run(figure: Figure, recording: Recording) -> bool:
    """Whether it stands on top: it speaks of all takes, or there is only one."""
    return not figure.take or len(recording.takes) <= 1


def _printable(value: object) -> object:
    """Texts from outside lose what cannot be printed; markup is ours."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _picture(chart: Chart) -> _Picture:
    return _Picture(chart=chart, svg=Markup(svg_of(chart)))


def _facts(recording: Recording, judgement: Judgement) -> dict[str, str]:
    operations = sum(len(take.operations) for take in recording.takes)
    cuts = dict.fromkeys(take.head.cut for take in recording.takes if take.head.cut)
    return {
        "experiment": judgement.experiment,
        "started": judgement.started_at,
        "seed": str(judgement.seed),
        "requests": f"{operations:,} in {counted(len(recording.takes), 'take')}",
        "kinds of cut": ", ".join(cuts) or "none",
        **judgement.versions,
    }


def _sections(recording: Recording, judgement: Judgement, gallery: Gallery) -> Iterator[_Section]:
    few = len(recording.takes) <= _OPEN_TAKES_MAX
    for number_, take in enumerate(recording.takes):
        outcomes = [one for one in judgement.findings.rules if one.take == take.name]
        broken = any(one.verdict is not Verdict.PASS for one in outcomes)
        yield _Section(
            take=take,
            opened=few or broken or number_ == 0,
            facts=_facts_of(take),
            rules=tuple(one for rule in rules_of(outcomes) for one in rule.outcomes),
            figures=tuple(
                one
                for one in judgement.findings.figures
                if one.take == take.name and not _is_of_run(one, recording)
            ),
            pictures=tuple(_picture(chart) for chart in gallery.by_take.get(take.name, ())),
            problems=take.head.problems[:_PROBLEMS_MAX],
        )


def _facts_of(take: Take) -> dict[str, str]:
    head = take.head
    facts = {
        "nodes": " ".join(head.nodes),
        "modes": ", ".join(mode.name for mode in head.modes),
        "lasted": number(head.duration_s, "s"),
        "requests": f"{len(take.operations):,}",
    }
    if head.cut:
        facts["cut"] = head.cut
    facts |= {f"side {side}": " ".join(nodes) for side, nodes in head.sides.items()}
    if head.hints:
        facts["hints"] = ", ".join(f"{count:,} {name}" for name, count in head.hints.items())
    if head.settings:
        facts["settings"] = ", ".join(f"{name} = {value}" for name, value in head.settings.items())
    facts |= {name: number(value) for name, value in head.figures.items()}
    return facts
