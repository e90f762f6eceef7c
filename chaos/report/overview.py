"""The overview of several runs: one page with a verdict for each, and the way to its own page."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from markupsafe import Markup

from chaos.judgement import Judgement, RuleOutcome, Verdict, overall
from chaos.report.build import PAGE, write
from chaos.report.page import environment
from chaos.report.words import MEANINGS, SIGNS

OVERVIEW: Final = "index.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One run as the overview has it.

    Attributes:
        page: where its own page is, from the overview.
        broken: rules that did not hold.
    """

    judgement: Judgement
    page: str
    broken: tuple[RuleOutcome, ...]


def build_overview(title: str, judgements: Sequence[Judgement], directory: Path) -> Path:
    """Write it and tell where it is.

    Args:
        title: what was run.
        judgements: each of a run in the directory of its experiment's name.
        directory: of all of them.

    Raises:
        RecordingError: the directory cannot be written to.
    """
    verdict = overall(judgement.verdict for judgement in judgements)
    page = (
        environment()
        .get_template("overview.html.j2")
        .render(
            css=Markup(files("chaos.report").joinpath("page.css").read_text()),
            title=title,
            verdict=verdict,
            sign=SIGNS,
            meaning=MEANINGS[verdict],
            entries=[
                _Entry(
                    judgement=judgement,
                    page=f"{judgement.experiment}/{PAGE}",
                    broken=tuple(
                        one for one in judgement.findings.rules if one.verdict is not Verdict.PASS
                    ),
                )
                for judgement in judgements
            ],
        )
    )
    write(directory / OVERVIEW, page.encode())
    return directory / OVERVIEW
