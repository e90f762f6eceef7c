"""`python -m chaos`: what an engineer types."""

import asyncio
import random
import shlex
import signal
import time
import traceback
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from chaos import batch
from chaos.doctor import examine
from chaos.errors import LabError, RecordingError, SettingError
from chaos.experiment import Experiment
from chaos.experiments.catalogue import ALL_CUTS, EXPERIMENTS, SETS, named
from chaos.experiments.matrix import FAULTS, Matrix
from chaos.experiments.soak import Soak
from chaos.judgement import Verdict
from chaos.lab import Wiring
from chaos.links import CutKind, Link
from chaos.recording import read_run

STATUS: Final = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INVALID: 3}
"""Exit status; 2 is what a wrong command line ends with, and a lab that cannot do its work."""

_SEED_MAX: Final = 10**6

_SOAK_S_MAX: Final = 3600.0
"""What is recorded is kept in memory until it is judged: 8 MB a minute."""


class _CannotWork(click.ClickException):
    exit_code = 2


class _Group(click.Group):
    """Ends with one sentence where the lab cannot do its work.

    Whatever goes wrong, the status is not that of a verdict: Python's own for a failure is that of
    FAIL.
    """

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except LabError as error:
            raise _CannotWork(str(error)) from error
        except (KeyboardInterrupt, asyncio.CancelledError) as error:
            raise _CannotWork("interrupted: there is no verdict") from error
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            traceback.print_exc()
            raise _CannotWork("this is a fault of the lab's own: there is no verdict") from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Break a real cluster on this machine, and see what it costs.

    Nodes are real processes, links are real connections through Toxiproxy. Every run ends with a
    verdict on the store's promises and leaves a page to read.

    \b
    Exit status: 0 PASS, 1 FAIL, 2 the lab could not do its work, 3 INVALID.

    \b
    Begin with:
      python -m chaos doctor
      python -m chaos run half-split
      python -m chaos run quick
    """  # noqa: D301 - the backslashes are click's


_out = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("chaos-runs"),
    show_default=True,
    help="Where runs are kept.",
)
_seed = click.option(
    "--seed",
    type=click.IntRange(0, _SEED_MAX),
    help="Of everything that the lab draws; drawn itself if not given, and said.",
)
_cut = click.option(
    "--cut",
    "cuts",
    type=click.Choice([str(kind) for kind in CutKind]),
    multiple=True,
    help="How links may be cut, by experiments that leave it open. May be repeated.",
)
_node_command = click.option(
    "--node-command",
    default="",
    help="Program that is a node in place of `python -m dynamo`, to try one that is broken.",
)
_bypass = click.option(
    "--bypass",
    "bypassed",
    multiple=True,
    metavar="LINK",
    help="Leave a link, such as n1>n2, out of the mesh: to see that the lab notices.",
)


@main.command("list")
def list_() -> None:
    """Show all experiments."""
    table = Table("", "name", "what", box=None, pad_edge=False)
    for experiment in EXPERIMENTS:
        table.add_row(experiment.id, experiment.name, experiment.title)
    console = Console()
    console.print(table)
    for name, those in SETS.items():
        console.print(f"\n{name}: {' '.join(those.ids)}", highlight=False)


@main.command()
@click.argument("name")
@_seed
@_cut
@_out
@_node_command
@_bypass
def run(
    name: str,
    seed: int | None,
    cuts: tuple[str, ...],
    out: Path,
    node_command: str,
    bypassed: tuple[str, ...],
) -> None:
    """Run the experiment, or set of experiments, called NAME.

    NAME may be an experiment's number too, such as E1.
    """
    usual = SETS[name].cuts if name in SETS else ALL_CUTS
    _perform(name, named(name), seed, cuts or usual, out, node_command, bypassed)


@main.command()
@_seed
@click.option(
    "--fault",
    "faults",
    type=click.Choice(FAULTS),
    multiple=True,
    help="Under which fault, beside none; under all if not given. May be repeated.",
)
@_cut
@_out
@_node_command
@_bypass
def matrix(
    seed: int | None,
    faults: tuple[str, ...],
    cuts: tuple[str, ...],
    out: Path,
    node_command: str,
    bypassed: tuple[str, ...],
) -> None:
    """Measure every mode under every fault, and draw the CAP map."""
    _perform("matrix", [Matrix(faults or FAULTS)], seed, cuts, out, node_command, bypassed)


@main.command()
@_seed
@click.option(
    "--duration-s",
    type=click.FloatRange(10, _SOAK_S_MAX),
    default=60.0,
    show_default=True,
    help="How long faults are drawn, in rounds of a minute.",
)
@_cut
@_out
@_node_command
@_bypass
def soak(
    seed: int | None,
    duration_s: float,
    cuts: tuple[str, ...],
    out: Path,
    node_command: str,
    bypassed: tuple[str, ...],
) -> None:
    """Break whatever a seed says.

    It is judged at the end, from what it recorded of all rounds. For more than an hour, take
    another seed.
    """
    _perform("soak", [Soak(duration_s)], seed, cuts, out, node_command, bypassed)


@main.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
def report(directory: Path) -> None:
    """Judge the run in DIRECTORY again, from its files, and write its report anew."""
    raise SystemExit(STATUS[batch.report(directory, Console())])


@main.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
def replay(directory: Path) -> None:
    """Run again what was run in DIRECTORY, with the same seed.

    The lab draws the same; what the machine does to the timing of processes it cannot repeat.
    """
    command = read_run(directory).command
    try:
        arguments = shlex.split(command)
        typed = arguments[arguments.index("chaos") + 1 :]
    except ValueError:
        raise RecordingError(f"{directory} does not say what was run: {command!r}") from None
    main(typed)


@main.command()
def doctor() -> None:
    """See that everything is there to run experiments, and get what is missing."""
    console = Console(highlight=False)
    probes = asyncio.run(examine(lambda line: console.print(line, markup=False)))
    for probe in probes:
        sign = "✔" if probe.passed else "✘"
        console.print(f"{sign} {probe.name}: {probe.said}", markup=False)
    if not all(probe.passed for probe in probes):
        raise SystemExit(2)


def _perform(
    title: str,
    experiments: Sequence[Experiment],
    seed: int | None,
    cuts: tuple[str, ...],
    out: Path,
    node_command: str,
    bypassed: tuple[str, ...],
) -> None:
    if seed is None:
        seed = random.randrange(_SEED_MAX)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    order = batch.Batch(
        title=title,
        experiments=experiments,
        seed=seed,
        cuts=tuple(dict.fromkeys(cuts)) or ALL_CUTS,
        options=_options(cuts, node_command, bypassed),
        directory=out / f"{stamp}-{title}",
        wiring=Wiring(
            node_command=_program(node_command),
            bypassed=frozenset(map(_link, bypassed)),
        ),
    )
    raise SystemExit(STATUS[asyncio.run(_until_told(batch.perform(order, Console())))])


async def _until_told(work: Coroutine[None, None, Verdict]) -> Verdict:
    """Have SIGTERM end it as Ctrl-C does: with all put away."""
    main = asyncio.current_task()
    assert main is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, main.cancel)
    return await work


def _options(cuts: Sequence[str], node_command: str, bypassed: Sequence[str]) -> str:
    """What repeats the choices, as it is typed."""
    chosen = [f"--cut {cut}" for cut in dict.fromkeys(cuts) if tuple(cuts) != ALL_CUTS]
    chosen += [f"--bypass {shlex.quote(link)}" for link in bypassed]
    if node_command:
        chosen.append(f"--node-command {shlex.quote(node_command)}")
    return " ".join(chosen)


def _program(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise SettingError(f"{text!r} is no command: {error}") from error


def _link(text: str) -> Link:
    source, arrow, target = text.partition(">")
    if not (source and arrow and target):
        raise SettingError(f"{text!r} is no link; write it as n1>n2")
    return Link(source, target)
