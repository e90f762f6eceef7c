"""Several experiments one after the other, each judged and reported; what the commands do."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from chaos import runner
from chaos.errors import RecordingError, SettingError
from chaos.experiment import Experiment
from chaos.experiments.catalogue import named
from chaos.judgement import Judgement, Verdict, overall
from chaos.judging import judge, notes
from chaos.lab import Wiring
from chaos.links import all_links
from chaos.progress import Bar
from chaos.recording import Recording, load
from chaos.report import terminal
from chaos.report.build import build
from chaos.report.overview import build_overview
from chaos.runner import Order
from chaos.toxiproxy.getting import toxiproxy


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a command asks for.

    Attributes:
        title: what it is called, e.g. `quick`.
        options: what else has to be typed to repeat it, beside the name and the seed.
        directory: where it is kept: the run itself, or a directory for each run of a set.
    """

    title: str
    experiments: Sequence[Experiment]
    seed: int
    cuts: tuple[str, ...]
    options: str
    directory: Path
    wiring: Wiring

    def orders(self) -> list[Order]:
        """A run for each experiment."""
        several = len(self.experiments) > 1
        return [
            Order(
                experiment=experiment,
                seed=self.seed,
                cuts=self.cuts,
                command=f"{experiment.command} --seed {self.seed} {self.options}".strip(),
                directory=self.directory / experiment.name if several else self.directory,
                wiring=self.wiring,
            )
            for experiment in self.experiments
        ]


async def perform(batch: Batch, console: Console) -> Verdict:
    """Run, judge and report each experiment.

    Raises:
        LabError: the lab could not do its work; what was done is kept.
    """
    orders = batch.orders()
    expected_s = sum(plan.expected_s for order in orders for plan in order.plans())
    for order in orders:
        _require_links(order)
    _make(batch.directory)
    judgements = []
    async with AsyncExitStack() as put_away:
        bar = Bar(console, expected_s)
        await put_away.enter_async_context(bar.shown())
        bar.say("looking for Toxiproxy")
        api, version = await put_away.enter_async_context(toxiproxy(batch.directory, bar.say))
        for order in orders:
            bar.of(order.experiment)
            recording = await runner.run(order, api, version, bar)
            bar.say("judging, and drawing the report")
            judgements.append(_report(order.experiment, recording, order.directory, console))
    if len(judgements) > 1:
        overview = build_overview(batch.title, judgements, batch.directory)
        terminal.summarise(console, batch.title, judgements, overview)
    return overall(judgement.verdict for judgement in judgements)


def _require_links(order: Order) -> None:
    """Refuse to leave links out of a mesh that has no such links."""
    for plan in order.plans():
        unknown = order.wiring.bypassed - all_links(plan.nodes, [one.name for one in plan.clients])
        if unknown:
            listed = ", ".join(map(str, sorted(unknown)))
            raise SettingError(f"no such links in {order.experiment.name}: {listed}")


def _make(directory: Path) -> None:
    """Make the directory of a run; nobody else's, and before anything is started."""
    try:
        directory.mkdir(parents=True)
    except OSError as error:
        raise SettingError(f"nothing can be kept in {directory}: {error.strerror}") from error


def report(directory: Path, console: Console) -> Verdict:
    """Judge a run again, from its files, and write its report anew.

    Raises:
        RecordingError: there is no run, its files are broken, or it is of a time when the
            experiment left something else behind.
        SettingError: it is of an experiment that this lab does not have.
    """
    recording = load(directory)
    [experiment] = named(recording.run.experiment)
    try:
        return _report(experiment, recording, directory, console).verdict
    except (AssertionError, LookupError, RuntimeError, StopIteration, ValueError) as error:
        raise RecordingError(
            f"{directory} is not what {experiment.name} leaves behind now: {error!r}"
        ) from error


def _report(
    experiment: Experiment, recording: Recording, directory: Path, console: Console
) -> Judgement:
    judgement = judge(experiment, recording)
    path = build(recording, judgement, directory, notes(recording))
    terminal.show(console, recording, judgement, path)
    return judgement
