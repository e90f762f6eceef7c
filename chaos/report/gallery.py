"""Which pictures a run has, and in what order they are looked at."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from chaos.judgement import Judgement
from chaos.recording import Recording, Take
from chaos.report.charts.availability import availability
from chaos.report.charts.cap_map import cap_map
from chaos.report.charts.convergence import convergence
from chaos.report.charts.lanes import lanes
from chaos.report.charts.links import links
from chaos.report.charts.operations import operations
from chaos.report.charts.staleness import staleness
from chaos.report.charts.timeline import timeline
from chaos.report.notes import NO_NOTES, Notes
from chaos.report.style import Chart


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """All pictures of a run.

    Attributes:
        of_run: those that compare modes, or takes.
        by_take: the others, by the name of their take.
    """

    of_run: tuple[Chart, ...]
    by_take: Mapping[str, tuple[Chart, ...]]

    @property
    def charts(self) -> tuple[Chart, ...]:
        """Every one of them."""
        return (*self.of_run, *(chart for charts in self.by_take.values() for chart in charts))


def gallery_of(recording: Recording, judgement: Judgement, notes: Mapping[str, Notes]) -> Gallery:
    """What there is to see is drawn; what was not measured is left out."""
    found = judgement.findings
    of_run = (cap_map(found.cap), availability(found.availability), staleness(found.staleness))
    return Gallery(
        of_run=tuple(chart for chart in of_run if chart is not None),
        by_take={
            take.name: tuple(_charts_of(take, judgement, notes.get(take.name, NO_NOTES)))
            for take in recording.takes
        },
    )


def _charts_of(take: Take, judgement: Judgement, notes: Notes) -> Iterator[Chart]:
    shown = [one for one in judgement.findings.lanes if one.take == take.name]
    charts = (
        *(lanes(take, one, number) for number, one in enumerate(shown, start=1)),
        timeline(take, notes),
        convergence(take),
        links(take),
        operations(take, notes),
    )
    return (chart for chart in charts if chart is not None)
