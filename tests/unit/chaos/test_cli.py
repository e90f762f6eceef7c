"""The command line: what it asks of the lab, what repeats it, how a wrong one is refused."""

import asyncio
import os
import shlex
import signal
import time
from pathlib import Path
from typing import NoReturn

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from chaos import batch
from chaos.batch import Batch
from chaos.cli import main
from chaos.errors import ServerMissing
from chaos.experiments.catalogue import ALL_CUTS, EXPERIMENTS
from chaos.judgement import Verdict
from chaos.links import Link
from chaos.recording import Run, save_run, save_take
from chaos.runner import Order
from tests.unit.chaos.checkers.histories import Told
from tests.unit.chaos.experiments.recordings import named


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Batch]:
    """What was to be run; nothing is, and all of it passes."""
    batches = []

    async def note(wanted: Batch, console: Console) -> Verdict:
        batches.append(wanted)
        return Verdict.PASS

    monkeypatch.setattr(batch, "perform", note)
    monkeypatch.chdir(tmp_path)
    return batches


def typed(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def refused(*arguments: str) -> str:
    """The sentence with which a wrong command line ends."""
    result = typed(*arguments)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    *_, last = result.output.strip().splitlines()
    assert last.startswith("Error: ")
    return last.removeprefix("Error: ")


def orders(batches: list[Batch]) -> list[Order]:
    return [order for wanted in batches for order in wanted.orders()]


def kept(directory: Path, command: str, takes: tuple[str, ...] = ()) -> str:
    """A run that was recorded with this command."""
    run = Run(
        experiment="baseline",
        seed=1,
        command=command,
        started_at="2026-11-20T17:00:00+0000",
        versions={},
        takes=takes,
    )
    save_run(directory, run)
    return str(directory)


# What is asked for


def test_an_experiment_is_run_by_its_name_or_its_number(asked: list[Batch]) -> None:
    for name in ("half-split", "E1", "e1"):
        assert typed("run", name).exit_code == 0
    assert {order.experiment.name for order in orders(asked)} == {"half-split"}


def test_what_is_as_usual_needs_not_be_typed_again(asked: list[Batch]) -> None:
    typed("run", "half-split", "--seed", "3")
    assert [order.command for order in orders(asked)] == ["python -m chaos run half-split --seed 3"]


def test_links_are_cut_in_all_ways_unless_some_are_chosen(asked: list[Batch]) -> None:
    typed("run", "half-split")
    typed("run", "half-split", "--cut", "stall", "--cut", "drop")
    assert [order.cuts for order in orders(asked)] == [ALL_CUTS, ("stall", "drop")]


def test_a_way_to_cut_that_is_asked_for_twice_is_tried_once(asked: list[Batch]) -> None:
    typed("run", "half-split", "--seed", "3", "--cut", "stall", "--cut", "stall")
    [order] = orders(asked)
    assert order.cuts == ("stall",)
    assert order.command == "python -m chaos run half-split --seed 3 --cut stall"


def test_a_set_is_a_run_of_each_in_a_directory_of_its_own(asked: list[Batch]) -> None:
    typed("run", "quick", "--seed", "5", "--out", "runs")
    [wanted] = asked
    assert wanted.directory.parent == Path("runs")
    assert wanted.directory.name.endswith("-quick")
    found = wanted.orders()
    assert [order.experiment.id for order in found] == ["E0", "E1", "E6", "E10", "E12", "E19"]
    assert [order.directory.name for order in found] == [one.experiment.name for one in found]
    assert {(order.seed, order.cuts) for order in found} == {(5, ("drop",))}


def test_a_single_run_is_kept_where_the_command_says(asked: list[Batch]) -> None:
    typed("run", "baseline", "--out", "runs")
    [order] = orders(asked)
    assert order.directory == asked[0].directory


def test_a_seed_that_nobody_gave_is_drawn_and_said(asked: list[Batch]) -> None:
    for _ in range(20):
        typed("run", "baseline")
    assert len({order.seed for order in orders(asked)}) > 1
    assert all(f"--seed {order.seed}" in order.command for order in orders(asked))


def test_the_lab_may_be_broken_on_purpose(asked: list[Batch]) -> None:
    typed(
        "run", "E1", "--bypass", "n1>n2", "--bypass", "n2>n1", "--node-command", "python 'a b.py'"
    )
    [order] = orders(asked)
    assert order.wiring.bypassed == {Link("n1", "n2"), Link("n2", "n1")}
    assert order.wiring.node_command == ("python", "a b.py")
    assert "--bypass 'n1>n2'" in order.command  # a shell would write to a file


@pytest.mark.parametrize(
    ("verdict", "status"), [(Verdict.PASS, 0), (Verdict.FAIL, 1), (Verdict.INVALID, 3)]
)
def test_the_exit_status_is_the_verdict(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verdict: Verdict, status: int
) -> None:
    async def end(wanted: Batch, console: Console) -> Verdict:
        return verdict

    monkeypatch.setattr(batch, "perform", end)
    monkeypatch.setattr(batch, "report", lambda directory, console: verdict)
    assert typed("run", "baseline").exit_code == status
    assert typed("report", str(tmp_path)).exit_code == status


def test_all_experiments_are_listed() -> None:
    output = typed("list").output
    assert all(one.name in output and one.id in output for one in EXPERIMENTS)
    assert "quick: E0 E1" in output


# What repeats it

CUTS = ("--cut", "drop", "--cut", "refuse")
BROKEN = ("--bypass", "n1>n2", "--bypass", "c1>n2", "--node-command", "python 'a b.py' --x \"y\"")

COMMANDS: list[tuple[str, ...]] = [("run", one.name, *CUTS, *BROKEN) for one in EXPERIMENTS]
COMMANDS += [("run", "half-split", *choices) for choices in ((), CUTS[:2], BROKEN)]
COMMANDS += [("run", "quick"), ("run", "quick", *CUTS, *BROKEN)]
COMMANDS += [
    ("matrix", *BROKEN),
    ("matrix", "--fault", "split", *CUTS),
    ("soak", "--duration-s", "25", *CUTS),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=shlex.join)
def test_the_command_of_a_run_repeats_it(
    asked: list[Batch], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    assert typed(*arguments).exit_code == 0
    first = orders(asked)
    for number, order in enumerate(first):
        again = typed("replay", kept(tmp_path / str(number), order.command))
        assert again.exit_code == 0, again.output
    second = orders(asked[1:])
    assert [repeated(order) for order in second] == [repeated(order) for order in first]


def repeated(order: Order) -> tuple[object, ...]:
    """All of an order that a second run must have in common with the first."""
    plans = order.experiment.takes(order.cuts, order.seed)
    return order.experiment.name, order.seed, plans, order.wiring, order.command


# Wrong command lines


def test_an_experiment_that_there_is_not_is_refused_with_those_there_are(
    asked: list[Batch],
) -> None:
    said = refused("run", "split-brain")
    assert said.startswith("there is no experiment 'split-brain'; there are: quick baseline ")
    assert asked == []


@pytest.mark.parametrize("link", ["n1", "n1>", ">n2", ">", ""])
def test_a_link_is_written_with_both_ends(asked: list[Batch], link: str) -> None:
    assert refused("run", "E0", "--bypass", link) == f"{link!r} is no link; write it as n1>n2"
    assert asked == []


def test_a_program_whose_quotes_do_not_end_is_refused(asked: list[Batch]) -> None:
    said = refused("run", "E0", "--node-command", "python 'a b.py")
    assert said == '"python \'a b.py" is no command: No closing quotation'
    assert asked == []


@pytest.mark.parametrize(
    "wrong", [("--cut", "snip"), ("--seed", "-1"), ("--seed", "x"), ("--sneeze", "3")]
)
def test_options_that_there_are_not_are_refused(asked: list[Batch], wrong: tuple[str, str]) -> None:
    assert wrong[0] in refused("run", "E0", *wrong)
    assert asked == []


def nothing_to_proxy(directory: Path, say: object) -> NoReturn:
    pytest.fail("Toxiproxy was looked for")


def test_a_link_that_there_is_not_is_refused_before_anything_is_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(batch, "toxiproxy", nothing_to_proxy)
    out = tmp_path / "runs"
    said = refused("run", "E0", "--bypass", "n1>n9", "--out", str(out))
    assert said == "no such links in baseline: n1>n9"
    said = refused("run", "quick", "--bypass", "n1>n2", "--bypass", "all1>n2", "--out", str(out))
    assert said == "no such links in half-split: all1>n2"
    assert not out.exists()


def test_where_nothing_can_be_kept_the_place_is_blamed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(batch, "toxiproxy", nothing_to_proxy)
    file = tmp_path / "file"
    file.write_text("")
    said = refused("run", "E0", "--out", str(file / "runs"))
    assert said.startswith(f"nothing can be kept in {file / 'runs'}/")
    assert said.endswith("-E0: Not a directory")


def test_a_run_has_its_directory_for_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(batch, "toxiproxy", nothing_to_proxy)
    monkeypatch.setattr(time, "strftime", lambda form: "now")
    (tmp_path / "now-E0").mkdir()
    said = refused("run", "E0", "--out", str(tmp_path))
    assert said == f"nothing can be kept in {tmp_path / 'now-E0'}: File exists"


def test_where_the_lab_cannot_work_it_says_so_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(wanted: Batch, console: Console) -> Verdict:
        raise ServerMissing("there is no Toxiproxy; get one")

    monkeypatch.setattr(batch, "perform", fail)
    assert refused("run", "E0") == "there is no Toxiproxy; get one"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyboardInterrupt(), "interrupted: there is no verdict"),
        (asyncio.CancelledError(), "interrupted: there is no verdict"),
        (KeyError("a bug"), "this is a fault of the lab's own: there is no verdict"),
    ],
)
def test_what_ends_without_a_verdict_has_not_the_status_of_one(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, said: str
) -> None:
    async def fail(wanted: Batch, console: Console) -> Verdict:
        raise error

    monkeypatch.setattr(batch, "perform", fail)
    assert refused("run", "E0") == said


def test_a_run_that_is_told_to_end_puts_all_away(monkeypatch: pytest.MonkeyPatch) -> None:
    done = []

    async def last(wanted: Batch, console: Console) -> Verdict:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.sleep(60)
        finally:
            done.append("put away")
        return Verdict.PASS

    monkeypatch.setattr(batch, "perform", last)
    assert refused("run", "E0") == "interrupted: there is no verdict"
    assert done == ["put away"]


@pytest.mark.parametrize("command", ["report", "replay"])
def test_a_directory_that_is_no_run_is_refused(command: str, tmp_path: Path) -> None:
    said = refused(command, str(tmp_path))
    assert said == f"cannot read {tmp_path / 'run.json'}: No such file or directory"
    (tmp_path / "run.json").write_text("{}")
    assert "is no recording of this lab" in refused(command, str(tmp_path))
    assert "does not exist" in refused(command, str(tmp_path / "nowhere"))


def test_a_report_on_nothing_is_invalid(tmp_path: Path) -> None:
    assert typed("report", kept(tmp_path, "python -m chaos run baseline")).exit_code == 3


def test_a_run_of_which_an_experiment_can_conclude_nothing_is_refused(tmp_path: Path) -> None:
    told = Told()
    told.ends(told.write("x"))
    for name in ("mesh", "direct"):
        save_take(tmp_path, named(told.take(), name))
    kept(tmp_path, "python -m chaos run baseline", takes=("mesh",))
    said = refused("report", str(tmp_path))
    assert said == f"{tmp_path} is not what baseline leaves behind now: KeyError('direct')"


@pytest.mark.parametrize("command", ["", "make coffee", "python -m chaos run 'half"])
def test_a_run_that_does_not_say_what_repeats_it_is_not_repeated(
    asked: list[Batch], tmp_path: Path, command: str
) -> None:
    said = refused("replay", kept(tmp_path, command))
    assert said == f"{tmp_path} does not say what was run: {command!r}"
    assert asked == []


def test_what_was_run_with_an_experiment_that_is_gone_is_not_repeated(
    asked: list[Batch], tmp_path: Path
) -> None:
    said = refused("replay", kept(tmp_path, "python -m chaos run gone --seed 1"))
    assert said.startswith("there is no experiment 'gone'")
    assert asked == []
