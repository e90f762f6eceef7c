"""The verdict on the terminal: the same words as the page, in 80 columns.

Elsewhere than on a terminal it is plain text without frames, colours or control codes, so that a
log file reads well.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from chaos.judgement import Availability, Figure, Judgement, Verdict
from chaos.recording import Recording, Take
from chaos.report.grouping import rules_of
from chaos.report.times import (
    answered_by_bin,
    bins_of,
    fault_spans,
    load_of,
    modes_of,
    until_s,
)
from chaos.report.words import MEANINGS, NOTHING, SIGNS, apart, clean, number

_COLOURS: Final[dict[Verdict, str]] = {
    Verdict.PASS: "green",
    Verdict.FAIL: "red",
    Verdict.INVALID: "yellow",
}
_BLOCKS = "▁▂▃▄▅▆▇█"
_BINS_MAX = 48
_TAKES_MAX = 3


def show(console: Console, recording: Recording, judgement: Judgement, page: Path) -> None:
    """Print the verdict and what it rests on."""
    body = Group(*_body(recording, judgement))
    title = _verdict(judgement)
    if console.is_terminal:
        colour = _COLOURS[judgement.verdict]
        console.print(Panel(body, title=title, title_align="left", border_style=colour))
    else:
        console.print(title)
        console.print(body)
    console.print(_line("page   ", str(page)), soft_wrap=True)
    console.print(_line("again  ", judgement.command), soft_wrap=True)


def summarise(
    console: Console, title: str, judgements: Sequence[Judgement], overview: Path
) -> None:
    """Print a line for each of several runs."""
    table = _plain_table()
    for judgement in judgements:
        table.add_row(_verdict(judgement))
    console.print()
    console.print(Text(f"{title}, all together", style="bold"))
    console.print(table)
    console.print(_line("page   ", str(overview)), soft_wrap=True)


def _verdict(judgement: Judgement) -> Text:
    sign, colour = SIGNS[judgement.verdict], _COLOURS[judgement.verdict]
    text = Text(f"{sign} {judgement.verdict.upper()} ", style=f"bold {colour}")
    return text.append(clean(judgement.title), style="bold")


def _line(name: str, said: str) -> Text:
    return Text(name, style="dim").append(clean(said), style="not dim")


def _body(recording: Recording, judgement: Judgement) -> Iterator[RenderableType]:
    found = judgement.findings
    yield _story(judgement)
    yield _heading("Safety rules")
    yield _rules(judgement)
    figures = [figure for figure in found.figures if figure.measured is not None]
    if figures:
        yield _heading("Figures")
        yield _figures(figures, several=len(recording.takes) > 1)
    if found.availability:
        yield _heading("Answered while the fault lasted, % (predicted)")
        yield from _availability(found.availability)
    takes = [take for take in recording.takes if load_of(take)]
    for take in takes[:_TAKES_MAX]:
        yield _heading(f"Answered over time, {clean(take.name)}")
        yield _sparklines(take)
    if len(takes) > _TAKES_MAX:
        yield Text(f"and {len(takes) - _TAKES_MAX} more takes in the page", style="dim")


def _heading(text: str) -> RenderableType:
    return Padding(Text(text, style="bold"), (1, 0, 0, 0), expand=False)


def _plain_table() -> Table:
    return Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))


def _story(judgement: Judgement) -> Table:
    table = _plain_table()
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, said in (
        ("", MEANINGS[judgement.verdict]),
        ("hypothesis", judgement.hypothesis),
        ("broken", judgement.faults),
        ("predicted", judgement.predicted),
        ("observed", judgement.findings.observed),
    ):
        table.add_row(name, Text(clean(said)))
    return table


def _rules(judgement: Judgement) -> RenderableType:
    rules = rules_of(judgement.findings.rules)
    if not rules:
        return Text("no rule was looked at", style="dim")
    table = _plain_table()
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for rule in rules:
        text = Text(clean(rule.name), style="bold" if rule.verdict is not Verdict.PASS else "")
        text.append(f"\n{clean(rule.said)}", style="not bold dim")
        table.add_row(Text(SIGNS[rule.verdict], style=_COLOURS[rule.verdict]), text)
    return table


def _figures(figures: Sequence[Figure], *, several: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("")
    table.add_column("", overflow="fold")
    for title in ("measured", "predicted", "apart"):
        table.add_column(title, justify="right", no_wrap=True)
    for figure in figures:
        name = f"{figure.label} ({figure.take})" if figure.take and several else figure.label
        table.add_row(
            _held(figure),
            Text(clean(name)),
            number(figure.measured, figure.unit),
            number(figure.predicted, figure.unit),
            apart(figure),
        )
    return table


def _held(figure: Figure) -> Text:
    if figure.tolerance is None:
        return Text("")
    verdict = Verdict.PASS if figure.holds else Verdict.FAIL
    return Text(SIGNS[verdict], style=_COLOURS[verdict])


def _availability(found: Sequence[Availability]) -> Iterator[RenderableType]:
    takes = tuple(dict.fromkeys(one.take for one in found))
    for take in takes[:_TAKES_MAX]:
        cells = [one for one in found if one.take == take]
        if len(takes) > 1:
            yield Text(clean(take), style="dim")
        yield _cells(cells)
    if len(takes) > _TAKES_MAX:
        yield Text(f"and {len(takes) - _TAKES_MAX} more takes in the page", style="dim")


def _cells(cells: Sequence[Availability]) -> Table:
    columns = tuple(dict.fromkeys((one.side, one.action) for one in cells))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("")
    for side, action in columns:
        table.add_column(Text(clean(f"{side} {action}s")), justify="right", no_wrap=True)
    for mode in dict.fromkeys(one.mode for one in cells):
        of_mode = {(one.side, one.action): one for one in cells if one.mode == mode}
        shares = [_cell(of_mode.get(column)) for column in columns]
        table.add_row(Text(clean(mode)), *shares)
    return table


def _cell(one: Availability | None) -> Text:
    if one is None:
        return Text(NOTHING)
    text = Text(number(one.measured))
    if one.predicted is not None:
        text.append(f" ({number(one.predicted)})", style="dim")
    if not one.holds:
        text.append(f" {SIGNS[Verdict.FAIL]}", style="red")
    return text


def _sparklines(take: Take) -> Table:
    load, bins = load_of(take), bins_of(until_s(take), _BINS_MAX)
    table = _plain_table()
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    for mode in modes_of(take):
        shares = answered_by_bin([one for one in load if one.mode == mode], bins)
        table.add_row(Text(clean(mode)), Text("".join(_block(share) for share in shares)))
    spans = fault_spans(take)
    if spans:
        places = ((number_ + 0.5) * bins.step_s for number_ in range(bins.count))
        faults = ("━" if any(span.holds(at_s) for span in spans) else " " for at_s in places)
        table.add_row(Text("fault", style="dim"), Text("".join(faults), style="dim"))
    return table


def _block(share: float | None) -> str:
    if share is None:
        return " "
    # Only what is whole looks whole.
    return _BLOCKS[int(share / 100 * (len(_BLOCKS) - 1))]
